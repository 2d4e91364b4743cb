"""ScanNet, as its SensReader exports it: ``color/``, ``depth/``, ``pose/``, ``intrinsic/``.

Frame 0 is ``color/0.jpg``, ``depth/0.png`` (millimetres) and ``pose/0.txt``. Poses are 4x4
camera-to-world in a z-up world; a lost track is written as -inf. Colour (1296x968) and depth
(640x480) are two cameras.

Explained in notebook 12 (own scan).
"""

from pathlib import Path

from leovl_mini.scans.capture import Camera, Capture, Frame, frame_number, read_matrix

FILES = "ScanNet (color/ + depth/ + pose/ + intrinsic/)"


def recognise(path: Path) -> bool:
    return (path / "intrinsic" / "intrinsic_depth.txt").is_file() and (path / "pose").is_dir()


def read(path: Path) -> Capture:
    camera, depth_camera = (
        Camera(read_matrix(file, (4, 4)), file)
        for file in (path / "intrinsic" / f"intrinsic_{name}.txt" for name in ("color", "depth"))
    )
    frames = []
    for pose in sorted((path / "pose").glob("*.txt"), key=frame_number):
        image, depth = path / "color" / f"{pose.stem}.jpg", path / "depth" / f"{pose.stem}.png"
        matrix = read_matrix(pose, (4, 4))
        frames.append(Frame(pose.stem, image, depth, matrix, pose, camera, depth_camera))
    return Capture(path, frames, up="z")
