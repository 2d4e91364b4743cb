"""3RScan: ``sequence/_info.txt`` and ``frame-000000.color.jpg``, ``.depth.pgm`` (millimetres),
``.pose.txt`` (4x4 camera-to-world).

The world is z-up. The phone was held upright, so the images lie on their side: colour 960x540,
depth 224x172, two cameras.
"""

from pathlib import Path

import numpy as np

from leovl_mini.scans.capture import Camera, Capture, Frame, read_lines, read_matrix
from leovl_mini.scans.scene import InputError


def recognise(path: Path) -> bool:
    return any((folder / "_info.txt").is_file() for folder in (path, path / "sequence"))


def read(path: Path) -> Capture:
    """``path`` is the scan's folder or the ``sequence`` folder in it."""
    folder = path if (path / "_info.txt").is_file() else path / "sequence"
    info_file = folder / "_info.txt"
    info = dict(line.split("=", 1) for line in read_lines(info_file) if "=" in line)
    info = {key.strip(): value.split() for key, value in info.items()}
    try:
        sizes = [
            (int(info[f"m_{k}Height"][0]), int(info[f"m_{k}Width"][0])) for k in ("color", "depth")
        ]
        matrices = [
            np.array(info[f"m_calibration{k}Intrinsic"], dtype=float).reshape(4, 4)
            for k in ("Color", "Depth")
        ]
        depth_scale = float(info["m_depthShift"][0])
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(
            f"{info_file}: no valid image sizes, calibration (16 numbers each) and m_depthShift ({error})."
        ) from None
    cameras = [
        Camera(matrix, info_file, size) for matrix, size in zip(matrices, sizes, strict=True)
    ]
    frames = []
    for pose in sorted(folder.glob("frame-*.pose.txt")):
        name = pose.name.removesuffix(".pose.txt")
        images = folder / f"{name}.color.jpg", folder / f"{name}.depth.pgm"
        frames.append(Frame(name, *images, read_matrix(pose, (4, 4)), pose, *cameras))
    return Capture(path, frames, depth_scale=depth_scale, up="z")
