"""The plain format: ``poses.txt``, ``K.txt``, ``images/``, ``depth/``.

The one to write for a scan of your own:

- ``poses.txt``: one row per frame, 16 (or 12) numbers, row-major camera-to-world in metres
- ``K.txt``: the 3x3 camera matrix of the images (``K_depth.txt`` beside it if the depth camera is
  another one)
- ``images/NAME.png|jpg`` and ``depth/NAME.png`` (16-bit millimetres) or ``depth/NAME.tiff`` (float
  metres)
- ``frames.txt`` (optional): the frame names in the order of the poses; otherwise the sorted names
  of the images
- ``instances/NAME.png`` (optional, 16-bit ids) and ``scene.json`` (optional: up, floor, objects),
  as the bundled rooms have

Explained in notebook 12 (own scan).
"""

from pathlib import Path

import numpy as np

from leovl_mini.scans.capture import (
    Capture,
    Frame,
    files_by_stem,
    read_camera,
    read_json,
    read_lines,
    read_numbers,
)
from leovl_mini.scans.gravity import AXES
from leovl_mini.scans.scene import InputError, Object

FILES = "poses.txt + K.txt + images/ + depth/"


def recognise(path: Path) -> bool:
    return (path / "images").is_dir() and (path / "depth").is_dir()


def read(path: Path) -> Capture:
    images, depths = files_by_stem(path / "images"), files_by_stem(path / "depth")
    masks = files_by_stem(path / "instances") if (path / "instances").is_dir() else {}
    names = frame_names(path / "frames.txt", images)
    poses = read_numbers(path / "poses.txt", (16, 12))
    if len(poses) != len(names):
        raise InputError(
            f"{path / 'poses.txt'} has {len(poses)} rows for {len(names)} frames; "
            "it needs one row per frame."
        )
    if poses.shape[1] == 12:
        poses = np.hstack([poses, np.tile([0.0, 0, 0, 1], (len(poses), 1))])
    camera = read_camera(path / "K.txt")
    depth_camera = read_camera(path / "K_depth.txt") if (path / "K_depth.txt").exists() else None

    frames = []
    for name, pose in zip(names, poses.reshape(-1, 4, 4), strict=True):
        for folder, files in (("images", images), ("depth", depths)):
            if name not in files:
                raise InputError(
                    f"{path / folder / name}.* is missing: each frame needs an image "
                    "and a depth map of that name."
                )
        files = images[name], depths[name]
        cameras = camera, depth_camera
        frames.append(Frame(name, *files, pose, path / "poses.txt", *cameras, masks.get(name)))
    return Capture(path, frames, **read_extras(path / "scene.json"))


def frame_names(file: Path, images: dict[str, Path]) -> list[str]:
    """The names of the frames in the order of the poses. A listed name may have the image's ending
    or not; a time stamp's last digits are no ending.
    """
    listed = [line.strip() for line in read_lines(file) if line.strip()] if file.exists() else []
    return [n if n in images else Path(n).stem for n in listed] or sorted(images)


def read_extras(file: Path) -> dict:
    """What only labelled scenes have: the up axis, the floor height and the objects."""
    if not file.exists():
        return {}
    data = read_json(file)
    try:
        up, floor = data.get("up"), data.get("floor")
        if up is not None and up not in AXES:
            raise ValueError(f"up must be one of {', '.join(AXES)}, not {up!r}")
        return {
            "up": up,
            "floor": None if floor is None else float(floor),
            "objects": [read_object(entry) for entry in data.get("objects", [])],
        }
    except KeyError as error:
        raise InputError(
            f"{file} is not a valid scene description: an object has no {error}."
        ) from None
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is not a valid scene description: {error}.") from None


def read_object(entry: dict) -> Object:
    values = {
        key: tuple(map(float, value)) if isinstance(value, list) else value
        for key, value in entry.items()
    }
    if any(len(values[key]) != 3 for key in ("center", "size")):
        raise ValueError("an object's center and size need three numbers each")
    return Object(**values)
