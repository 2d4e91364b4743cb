"""Decode one frame: image files to tensors, and colour onto the depth camera.

Explained in notebook 12 (own scan).
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int32, UInt8
from PIL import Image
from torch import Tensor

from leovl_mini.scans.capture import Camera, Frame
from leovl_mini.scans.geometry import pixel_grid
from leovl_mini.scans.scene import InputError, check_intrinsics, clean_depth


@dataclass
class View:
    """A decoded frame: everything at the resolution and in the camera of its depth image.
    ``note`` says what was adjusted, if anything.
    """

    rgb: UInt8[Tensor, "H W 3"]
    depth: Float32[Tensor, "H W"]  # metres, 0 = none
    intrinsics: Float32[Tensor, "3 3"]
    camera_to_world: Float32[Tensor, "4 4"]
    instances: Int32[Tensor, "H W"] | None
    name: str
    note: str = ""


def load_frame(frame: Frame, depth_scale: float) -> View:
    """Decode one frame. Colour is resampled onto the depth camera where the two cameras differ.

    ``depth_scale`` counts the raw integer values of one metre. Raises ``InputError`` for files that
    are missing or broken and for a camera that cannot belong to them.
    """
    colour, raw = read_rgb(frame.rgb), read_depth(frame.depth)
    depth = torch.from_numpy(clean_depth(raw, depth_scale if raw.dtype.kind in "ui" else 1.0))
    size, depth_size = colour.shape[:2], tuple(depth.shape)
    colour_camera = camera_matrix(frame.camera, size)
    if frame.depth_camera is None:
        depth_camera = rescale_intrinsics(colour_camera, size, depth_size)
    else:
        depth_camera = camera_matrix(frame.depth_camera, depth_size)

    rgb, note = torch.from_numpy(colour.copy()), ""
    if size != depth_size or not torch.allclose(colour_camera, depth_camera, atol=0.01):
        rgb = resample_colour(rgb, colour_camera, depth_camera, depth_size)
        note = "colour ({1}x{0}) resampled onto the depth camera ({3}x{2})".format(
            *size, *depth_size
        )
    instances = None
    if frame.instances is not None:
        instances = torch.from_numpy(read_image(frame.instances).astype(np.int32))
        if instances.shape != depth.shape:
            raise InputError(
                f"{frame.instances}: the instance mask must have the size of the depth map."
            )
    pose = torch.from_numpy(np.asarray(frame.camera_to_world, dtype=np.float32))
    return View(rgb, depth, depth_camera, pose, instances, frame.name, note)


# -- cameras ---------------------------------------------------------------------------------------


def camera_matrix(camera: Camera, size: tuple[int, int]) -> Float32[Tensor, "3 3"]:
    """A checked camera matrix for an image of this (height, width)."""
    own_size = camera.size or size
    K = check_intrinsics(camera.matrix, own_size, str(camera.file))
    return rescale_intrinsics(torch.from_numpy(K), own_size, size)


def rescale_intrinsics(
    K: Float32[Tensor, "3 3"], old: tuple[int, int], new: tuple[int, int]
) -> Float32[Tensor, "3 3"]:
    """The same camera at another resolution (height, width); pixel centres are integers, so edges
    lie at -0.5.
    """
    if tuple(old) == tuple(new):
        return K
    sy, sx = new[0] / old[0], new[1] / old[1]
    scale = [[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1]]
    return torch.tensor(scale, dtype=K.dtype) @ K


def resample_colour(
    rgb: UInt8[Tensor, "h w 3"],
    colour_K: Float32[Tensor, "3 3"],
    depth_K: Float32[Tensor, "3 3"],
    size: tuple[int, int],
) -> UInt8[Tensor, "H W 3"]:
    """Colour as the depth camera of this (height, width) sees it: each depth pixel's ray is
    followed into the colour image (bilinear).

    The two cameras are taken to stand at the same place, as the file formats state. Pixels outside
    the colour image are black.
    """
    height, width = rgb.shape[:2]
    pixel = pixel_grid(*size) @ (colour_K @ torch.linalg.inv(depth_K)).T
    uv = pixel[..., :2] / pixel[..., 2:]
    grid = (uv + 0.5) / torch.tensor([width, height]) * 2 - 1
    image = rgb.permute(2, 0, 1)[None].float()
    shrink = max(height / size[0], width / size[1])
    if shrink > 1.5:  # average before sampling fewer pixels, or fine texture would alias
        image = F.interpolate(image, scale_factor=1 / shrink, mode="area")
    sampled = F.grid_sample(image, grid[None], align_corners=False, padding_mode="border")
    sampled = sampled[0].permute(1, 2, 0)
    inside = (grid.abs() <= 1).all(-1, keepdim=True)
    return (sampled * inside).round().clamp(0, 255).byte()


# -- image files -----------------------------------------------------------------------------------


def read_rgb(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """A colour image; grey images are repeated over the channels."""
    image = read_image(path)
    if image.dtype != np.uint8:
        raise InputError(
            f"{path}: a colour image must have 8 bits per channel; found {image.dtype}."
        )
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image


def read_depth(path: Path) -> np.ndarray:
    """(H,W) raw values: 16-bit integers in the file format's unit, or floats in metres."""
    image = read_pgm(path) if path.suffix == ".pgm" else read_image(path)
    if image.ndim != 2 or image.dtype == np.uint8:
        raise InputError(
            f"{path}: a depth image must have one channel of 16-bit integers or floats "
            "(8 bits lose too much)."
        )
    return image


def read_image(path: Path) -> np.ndarray:
    """Decode an image file completely; missing, truncated and foreign files become an
    ``InputError`` that names them.
    """
    try:
        with Image.open(path) as image:
            image.load()
            if image.mode in ("P", "LA", "RGBA", "CMYK", "YCbCr"):
                image = image.convert("RGB")
            return np.asarray(image)
    except FileNotFoundError:
        raise InputError(f"{path} is missing; the capture lists this frame.") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(
            f"{path} is not a complete image ({error}); copy it again or remove its frame."
        ) from None


def read_pgm(path: Path) -> np.ndarray:
    """A binary PGM's raw values (H,W). Pillow would stretch them to 0..65535 where the header
    names a smaller maximum.
    """
    try:
        data = path.read_bytes()
        header = re.match(rb"P5\s+(?:#.*\s+)*(\d+)\s+(\d+)\s+(\d+)\s", data)
        width, height, maximum = map(int, header.groups())
        kind = ">u2" if maximum > 255 else np.uint8
        values = np.frombuffer(data, kind, width * height, header.end())
    except FileNotFoundError:
        raise InputError(f"{path} is missing; the capture lists this frame.") from None
    except (OSError, AttributeError, ValueError) as error:
        raise InputError(
            f"{path} is not a complete PGM image ({error}); copy it again or remove its frame."
        ) from None
    return values.astype(values.dtype.newbyteorder("=")).reshape(height, width)
