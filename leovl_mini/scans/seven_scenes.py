"""7-Scenes and tsdf-fusion: ``frame-000000.color.png|jpg``, ``.depth.png`` (millimetres),
``.pose.txt`` (4x4 camera-to-world).

tsdf-fusion adds ``camera-intrinsics.txt``; 7-Scenes publishes no calibration file, and the usual
values are those of its Kinect: focal length 585, principal point (320, 240) at 640x480. In 7-Scenes
colour and depth are not registered to each other.
"""

from pathlib import Path

import numpy as np

from leovl_mini.scans.capture import Camera, Capture, Frame, read_camera, read_matrix
from leovl_mini.scans.scene import InputError

KINECT = np.array([[585.0, 0, 320], [0, 585, 240], [0, 0, 1]])


def recognise(path: Path) -> bool:
    return any(path.glob("frame-*.pose.txt"))


def read(path: Path) -> Capture:
    calibration = next(
        (
            f
            for f in (path / "camera-intrinsics.txt", path.parent / "camera-intrinsics.txt")
            if f.exists()
        ),
        None,
    )
    camera = (
        read_camera(calibration)
        if calibration
        else Camera(KINECT, path / "camera-intrinsics.txt (missing: Kinect assumed)")
    )
    frames = []
    for pose in sorted(path.glob("frame-*.pose.txt")):
        name = pose.name.removesuffix(".pose.txt")
        colour = next(
            (f for f in (path / f"{name}.color.png", path / f"{name}.color.jpg") if f.exists()),
            None,
        )
        if colour is None:
            raise InputError(
                f"{path / name}.color.png (or .jpg) is missing; every pose needs its image."
            )
        frames.append(
            Frame(name, colour, path / f"{name}.depth.png", read_matrix(pose, (4, 4)), pose, camera)
        )
    notes = (
        []
        if calibration
        else [
            "no camera-intrinsics.txt: the 7-Scenes Kinect is assumed (585, 585, 320, 240); colour may be off by some pixels"
        ]
    )
    return Capture(path, frames, notes=notes)
