"""What a reader returns: where the frames are on disk and how to interpret them. No image is opened
yet.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from leovl_mini.scans.scene import InputError, Object


@dataclass
class Camera:
    """A 3x3 camera matrix, the file it comes from (for messages) and the (height, width) it belongs
    to, if that is known.
    """

    matrix: np.ndarray
    source: Path
    size: tuple[int, int] | None = None


@dataclass
class Frame:
    """One colour image with its depth image and camera. ``camera_to_world`` may hold non-finite
    values: a lost track.
    """

    name: str
    rgb: Path
    depth: Path
    camera_to_world: np.ndarray  # (4,4), in the capture's own world, metres
    pose_source: Path  # the file the pose comes from
    camera: Camera  # of the colour image
    depth_camera: Camera | None = (
        None  # of the depth image; None: the colour camera at the depth's resolution
    )
    instances: Path | None = None


@dataclass
class Capture:
    """All frames of one folder. ``depth_scale``: raw integer depth values per metre (float depth
    images hold metres).
    """

    path: Path
    frames: list[Frame]
    depth_scale: float = 1000.0
    up: str | None = None  # axis of the capture's world that points up, where the layout says so
    floor: float | None = None  # height of the floor along it, metres, where known
    objects: list[Object] = field(
        default_factory=list
    )  # in the capture's world, which must then be z-up with its floor at 0
    notes: list[str] = field(default_factory=list)


def read_numbers(path: Path, columns: tuple[int, ...]) -> np.ndarray:
    """Rows of numbers from a text file (blank and # lines skipped); each row must have one of the
    given lengths.
    """
    rows = []
    for number, line in enumerate(read_lines(path), start=1):
        text = line.split("#")[0].replace(",", " ").split()
        if not text:
            continue
        try:
            rows.append([float(x) for x in text])
        except ValueError:
            raise InputError(
                f"{path}, line {number}: expected numbers, found {line.strip()[:40]!r}."
            ) from None
        if len(text) not in columns or len(text) != len(rows[0]):
            wanted = " or ".join(map(str, columns))
            same = " (all rows must have the same length)" if len(text) in columns else ""
            raise InputError(
                f"{path}, line {number}: expected {wanted} numbers, found {len(text)}{same}."
            )
    if not rows:
        raise InputError(
            f"{path} is empty; expected rows of {' or '.join(map(str, columns))} numbers."
        )
    return np.array(rows)


def read_lines(path: Path) -> list[str]:
    """A text file's lines; a missing or binary file becomes a ``InputError``."""
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        raise InputError(f"{path} is missing; this layout needs it.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None


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


def read_image(path: Path) -> np.ndarray:
    """Decode an image file completely; missing, truncated and foreign files become a
    ``InputError`` that names them.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return np.asarray(
                image.convert("RGB")
                if image.mode in ("P", "LA", "RGBA", "CMYK", "YCbCr")
                else image
            )
    except FileNotFoundError:
        raise InputError(f"{path} is missing; the capture lists this frame.") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(
            f"{path} is not a complete image ({error}); copy it again or remove its frame."
        ) from None


def read_pgm(path: Path) -> np.ndarray:
    """A binary PGM's raw values. Pillow would stretch them to 0..65535 where the header names a
    smaller maximum.
    """
    try:
        data = path.read_bytes()
        header = re.match(rb"P5\s+(?:#.*\s+)*(\d+)\s+(\d+)\s+(\d+)\s", data)
        width, height, maximum = map(int, header.groups())
        values = np.frombuffer(
            data, ">u2" if maximum > 255 else np.uint8, width * height, header.end()
        )
    except FileNotFoundError:
        raise InputError(f"{path} is missing; the capture lists this frame.") from None
    except (OSError, AttributeError, ValueError) as error:
        raise InputError(
            f"{path} is not a complete PGM image ({error}); copy it again or remove its frame."
        ) from None
    return values.astype(values.dtype.newbyteorder("=")).reshape(height, width)


def read_rgb(path: Path) -> np.ndarray:
    """(H,W,3) uint8; grey images are repeated over the channels."""
    image = read_image(path)
    if image.dtype != np.uint8:
        raise InputError(
            f"{path}: a colour image must have 8 bits per channel; found {image.dtype}."
        )
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image


def read_depth(path: Path) -> np.ndarray:
    """(H,W) raw values: 16-bit integers in the layout's unit, or floats in metres."""
    image = read_pgm(path) if path.suffix == ".pgm" else read_image(path)
    if image.ndim != 2 or image.dtype == np.uint8:
        raise InputError(
            f"{path}: a depth image must have one channel of 16-bit integers or floats (8 bits lose too much)."
        )
    return image
