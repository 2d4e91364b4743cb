"""What a file format returns, and how the formats read text files. No image is opened yet.

Explained in notebook 12 (own scan).
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from leovl_mini.scans.scene import InputError, Object


@dataclass
class Camera:
    """A 3x3 camera matrix, the file it comes from (for messages) and the (height, width) it belongs
    to, if that is known.
    """

    matrix: np.ndarray
    file: Path
    size: tuple[int, int] | None = None


@dataclass
class Frame:
    """One colour image with its depth image and camera.

    ``camera_to_world`` may hold non-finite values: the tracking was lost. ``camera`` belongs to the
    colour image; without a ``depth_camera`` it is taken for the depth image as well, at that
    image's resolution.
    """

    name: str
    rgb: Path
    depth: Path
    camera_to_world: np.ndarray  # (4,4), in the capture's own world, metres
    pose_file: Path  # where the pose comes from, for messages
    camera: Camera
    depth_camera: Camera | None = None
    instances: Path | None = None


@dataclass
class Capture:
    """All frames of one folder.

    ``depth_scale`` counts the raw integer depth values of one metre (float depth images hold
    metres). ``up`` is the axis of the capture's world that points up and ``floor`` the floor's
    height along it in metres, where the file format says so. ``objects`` are in the capture's
    world, which must then be z-up with its floor at 0.
    """

    path: Path
    frames: list[Frame]
    depth_scale: float = 1000.0
    up: str | None = None
    floor: float | None = None
    objects: list[Object] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


# -- text files ------------------------------------------------------------------------------------


def read_text(path: Path) -> str:
    """The content of a text file; a missing or binary file becomes an ``InputError``."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path} is missing; this file format needs it.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None


def read_lines(path: Path) -> list[str]:
    """A text file's lines."""
    return read_text(path).splitlines()


def read_numbers(path: Path, columns: tuple[int, ...]) -> np.ndarray:
    """Rows of numbers from a text file (blank and # lines skipped); each row must have one of the
    given lengths, all the same one.
    """
    rows = []
    wanted = " or ".join(map(str, columns))
    for number, line in enumerate(read_lines(path), start=1):
        words = line.split("#")[0].replace(",", " ").split()
        if not words:
            continue
        where = f"{path}, line {number}"
        try:
            rows.append([float(word) for word in words])
        except ValueError:
            raise InputError(f"{where}: expected numbers, found {line.strip()[:40]!r}.") from None
        if len(words) not in columns:
            raise InputError(f"{where}: expected {wanted} numbers, found {len(words)}.")
        if len(words) != len(rows[0]):
            raise InputError(
                f"{where}: found {len(words)} numbers, but the first row has {len(rows[0])}; "
                "all rows must have the same length."
            )
    if not rows:
        raise InputError(f"{path} is empty; expected rows of {wanted} numbers.")
    return np.array(rows)


def read_matrix(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """One matrix of exactly ``shape`` from a text file."""
    matrix = read_numbers(path, (shape[1],))
    if matrix.shape != shape:
        raise InputError(
            f"{path}: expected a {shape[0]}x{shape[1]} matrix, found {len(matrix)} rows."
        )
    return matrix


def read_camera(path: Path) -> Camera:
    """A 3x3 camera matrix from a text file."""
    return Camera(read_matrix(path, (3, 3)), path)


def read_json(path: Path) -> object:
    """The content of a JSON file."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not a JSON file: {error}.") from None


# -- what several formats share --------------------------------------------------------------------


def pinhole(fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
    """The 3x3 camera matrix of focal lengths and principal point, all in pixels."""
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


def rigid(rotations: Rotation, translations: np.ndarray) -> np.ndarray:
    """Poses (N,4,4) of N rotations and translations (N,3)."""
    poses = np.tile(np.eye(4), (len(translations), 1, 1))
    poses[:, :3, :3] = rotations.as_matrix()
    poses[:, :3, 3] = translations
    return poses


def frame_number(file: Path) -> int:
    """Frames that are numbered without leading zeros: 10.txt comes after 9.txt."""
    if not file.stem.isdigit():
        raise InputError(f"{file}: frames are named by their number (0, 1, 2, ...).")
    return int(file.stem)


def files_by_stem(folder: Path) -> dict[str, Path]:
    """The files of a folder by their name without its ending, hidden ones left out."""
    return {
        file.stem: file
        for file in sorted(folder.iterdir())
        if file.is_file() and not file.name.startswith(".")
    }


def first_existing(*files: Path) -> Path | None:
    """The first of the files that is there."""
    return next((file for file in files if file.exists()), None)


def nearest_in_time(times: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every wanted time the index of the nearest of the sorted ``times``, and the gap (s)."""
    after = np.minimum(np.searchsorted(times, wanted), len(times) - 1)
    before = np.maximum(after - 1, 0)
    index = np.where(np.abs(times[before] - wanted) < np.abs(times[after] - wanted), before, after)
    return index, np.abs(times[index] - wanted)
