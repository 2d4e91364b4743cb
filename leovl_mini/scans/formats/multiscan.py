"""MultiScan, frames exported from its streams: ``SCAN.jsonl``, ``color/``, ``depth/``.

Frame 0 is ``color/0.png`` and ``depth/0.png`` (millimetres). Each line of the ``.jsonl`` is one
frame's camera: ``transform`` (16 numbers, camera-to-world, **column by column**) and ``intrinsics``
(9 numbers, column by column). Cameras are ARKit's: x right, **y up, z backward**, in a y-up world.
MultiScan's tools number colour images in a row and depth maps by their place in the stream: the two
are paired in order, and the depth map's number finds the line. ``SCAN.json`` (optional) gives the
resolution of the colour stream, to which the intrinsics belong; exported images may be smaller.

Explained in notebook 12 (own scan).
"""

import json
from pathlib import Path

import numpy as np

from leovl_mini.scans.capture import Camera, Capture, Frame, frame_number, read_json, read_lines
from leovl_mini.scans.scene import InputError

FILES = "MultiScan (.jsonl + color/ + depth/)"

OPENCV_FROM_ARKIT = np.diag([1.0, -1, -1, 1])


def recognise(path: Path) -> bool:
    return any(path.glob("*.jsonl")) and (path / "color").is_dir()


def read(path: Path) -> Capture:
    source, *others = sorted(path.glob("*.jsonl"))
    if others:
        names = ", ".join(file.name for file in (source, *others))
        raise InputError(f"{path} holds several .jsonl files ({names}); keep the one of this scan.")
    lines = [line for line in read_lines(source) if line.strip()]
    size = read_resolution(source.with_suffix(".json"))
    images, depths = (
        sorted((path / name).glob("*.png"), key=frame_number) for name in ("color", "depth")
    )
    if len(images) != len(depths):
        raise InputError(
            f"{path}: {len(images)} images in color/ but {len(depths)} depth maps in depth/; "
            "export both at one step."
        )
    frames = []
    for image, depth in zip(images, depths, strict=True):
        row = frame_number(depth)
        if row >= len(lines):
            raise InputError(f"{source} has {len(lines)} lines, but {depth} is frame {row}.")
        pose, matrix = read_line(lines[row], f"{source}, line {row + 1}")
        camera = Camera(matrix, source, size)
        frames.append(Frame(depth.stem, image, depth, pose @ OPENCV_FROM_ARKIT, source, camera))
    return Capture(path, frames, up="y")


def read_resolution(metadata: Path) -> tuple[int, int] | None:
    """(height, width) of the colour stream."""
    if not metadata.exists():
        return None
    content = read_json(metadata)
    try:
        height, width = content["streams"][0]["resolution"]
        return int(height), int(width)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"{metadata}: no valid streams[0].resolution [height, width]: {error!r}."
        ) from None


def read_line(line: str, where: str) -> tuple[np.ndarray, np.ndarray]:
    """One frame's pose (4,4) and camera matrix (3,3)."""
    try:
        entry = json.loads(line)
        pose, camera = (np.array(entry[key], dtype=float) for key in ("transform", "intrinsics"))
        return pose.reshape(4, 4).T, camera.reshape(3, 3).T
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{where}: no valid transform (16 numbers) and intrinsics (9 numbers): {error}."
        ) from None
