"""7-Scenes and tsdf-fusion: frames as ``.color.png`` (or jpg), ``.depth.png``, ``.pose.txt``.

Depth is in millimetres, a pose a 4x4 camera-to-world matrix: ``frame-000000.pose.txt``. tsdf-fusion
adds ``camera-intrinsics.txt``; 7-Scenes publishes no calibration file, and the usual values are
those of its Kinect: focal length 585, principal point (320, 240) at 640x480. In 7-Scenes colour and
depth are not registered to each other.

Explained in notebook 12 (own scan).
"""

from pathlib import Path

from leovl_mini.scans.capture import (
    Camera,
    Capture,
    Frame,
    first_existing,
    pinhole,
    read_camera,
    read_matrix,
)
from leovl_mini.scans.scene import InputError

FILES = "7-Scenes or tsdf-fusion (frame-*.pose.txt)"

KINECT = pinhole(585.0, 585.0, 320.0, 240.0)


def recognise(path: Path) -> bool:
    return any(path.glob("frame-*.pose.txt"))


def read(path: Path) -> Capture:
    camera, notes = calibration(path)
    frames = []
    for pose in sorted(path.glob("frame-*.pose.txt")):
        name = pose.name.removesuffix(".pose.txt")
        image = first_existing(path / f"{name}.color.png", path / f"{name}.color.jpg")
        if image is None:
            raise InputError(
                f"{path / name}.color.png (or .jpg) is missing; every pose needs its image."
            )
        depth = path / f"{name}.depth.png"
        frames.append(Frame(name, image, depth, read_matrix(pose, (4, 4)), pose, camera))
    return Capture(path, frames, notes=notes)


def calibration(path: Path) -> tuple[Camera, list[str]]:
    """The camera of ``camera-intrinsics.txt``; without one, the Kinect and a note that says so."""
    name = "camera-intrinsics.txt"
    file = first_existing(path / name, path.parent / name)
    if file:
        return read_camera(file), []
    note = (
        f"no {name}: the 7-Scenes Kinect is assumed (585, 585, 320, 240); "
        "colour may be off by some pixels"
    )
    return Camera(KINECT, path / f"{name} (missing: Kinect assumed)"), [note]
