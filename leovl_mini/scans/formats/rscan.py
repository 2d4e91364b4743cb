"""3RScan: ``sequence/_info.txt`` and frames as ``.color.jpg``, ``.depth.pgm``, ``.pose.txt``.

Depth is in millimetres, a pose a 4x4 camera-to-world matrix: ``frame-000000.pose.txt``. The world
is z-up. The phone was held upright, so the images lie on their side: colour 960x540, depth 224x172,
two cameras.

Explained in notebook 12 (own scan).
"""

from pathlib import Path

import numpy as np

from leovl_mini.scans.capture import Camera, Capture, Frame, read_lines, read_matrix
from leovl_mini.scans.scene import InputError

FILES = "3RScan (sequence/_info.txt)"


def recognise(path: Path) -> bool:
    return any((folder / "_info.txt").is_file() for folder in (path, path / "sequence"))


def read(path: Path) -> Capture:
    """``path`` is the scan's folder or the ``sequence`` folder in it."""
    folder = path if (path / "_info.txt").is_file() else path / "sequence"
    camera, depth_camera, depth_scale = read_info(folder / "_info.txt")
    frames = []
    for pose in sorted(folder.glob("frame-*.pose.txt")):
        name = pose.name.removesuffix(".pose.txt")
        image, depth = folder / f"{name}.color.jpg", folder / f"{name}.depth.pgm"
        frames.append(
            Frame(name, image, depth, read_matrix(pose, (4, 4)), pose, camera, depth_camera)
        )
    return Capture(path, frames, depth_scale=depth_scale, up="z")


def read_info(file: Path) -> tuple[Camera, Camera, float]:
    """The cameras of colour and depth, and the depth values of a metre."""
    entries = dict(line.split("=", 1) for line in read_lines(file) if "=" in line)
    info = {key.strip(): value.split() for key, value in entries.items()}
    try:
        cameras = [
            Camera(
                np.array(info[f"m_calibration{name.title()}Intrinsic"], dtype=float).reshape(4, 4),
                file,
                (int(info[f"m_{name}Height"][0]), int(info[f"m_{name}Width"][0])),
            )
            for name in ("color", "depth")
        ]
        return *cameras, float(info["m_depthShift"][0])
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(
            f"{file}: no valid image sizes, calibration (16 numbers each) "
            f"and m_depthShift ({error})."
        ) from None
