"""ScanNet, as its SensReader exports it: ``color/0.jpg``, ``depth/0.png`` (millimetres),
``pose/0.txt``, ``intrinsic/*.txt``.

Poses are 4x4 camera-to-world in a z-up world; a lost track is written as -inf. Colour (1296x968)
and depth (640x480) are two cameras.
"""

from pathlib import Path

from leovl_mini.scans.capture import Camera, Capture, Frame, read_matrix
from leovl_mini.scans.scene import InputError


def recognise(path: Path) -> bool:
    return (path / "intrinsic" / "intrinsic_depth.txt").is_file() and (path / "pose").is_dir()


def read(path: Path) -> Capture:
    cameras = [
        Camera(read_matrix(file, (4, 4)), file)
        for file in (path / "intrinsic" / f"intrinsic_{k}.txt" for k in ("color", "depth"))
    ]
    poses = sorted((path / "pose").glob("*.txt"), key=frame_number)
    return Capture(
        path,
        [
            Frame(
                p.stem,
                path / "color" / f"{p.stem}.jpg",
                path / "depth" / f"{p.stem}.png",
                read_matrix(p, (4, 4)),
                p,
                *cameras,
            )
            for p in poses
        ],
        up="z",
    )


def frame_number(file: Path) -> int:
    """Frames are numbered without leading zeros: 10.txt comes after 9.txt."""
    if not file.stem.isdigit():
        raise InputError(f"{file}: frames are named by their number (0.txt, 1.txt, ...).")
    return int(file.stem)
