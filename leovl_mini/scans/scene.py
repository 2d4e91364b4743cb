"""The one structure every stage shares: a posed RGB-D scene, and the checks a capture must pass to
become one.

Conventions, everywhere in this package:

- camera axes: x right, y down, z forward (OpenCV); pixel centres at integer (u, v); depth is
  z-depth in metres, 0 = none
- ``camera_to_world`` maps camera points to the world: ``p_world = R p_camera + t``
- after loading, gravity points along -z: up is +z, and the floor is near z = 0

Explained in notebook 01 (RGB-D frames and cameras).
"""

import dataclasses
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float32, Int32, UInt8
from torch import Tensor

# attributes of an object whose value is the id of another, as text
RELATIONS = ("on", "under", "inside")

# real capture files carry 4 to 6 digits; exported poses are orthonormal only to about 4e-4
RIGID_TOLERANCE = 1e-3


class InputError(ValueError):
    """The input cannot be used. The message is one sentence: what is wrong, in which file, and what
    to do.
    """


@dataclass
class Object:
    """One labelled object: an upright box of ``size`` (3,) metres, turned by ``yaw`` radians about
    +z at ``center`` (3,).
    """

    id: int  # its value in Scene.instances
    category: str
    center: tuple[float, float, float]
    size: tuple[float, float, float]
    yaw: float = 0.0
    attributes: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, fields: dict) -> "Object":
        """An object from JSON, which knows lists but no tuples."""
        return cls(**{**fields, "center": tuple(fields["center"]), "size": tuple(fields["size"])})


@dataclass
class Scene:
    """V posed RGB-D frames of one place. Shapes: V views, H x W pixels.

    ``world_from_capture`` (4,4) says how the capture's own world was turned and moved to make +z up
    and the floor z = 0; ``dropped`` counts the frames that were left out, by reason; ``notes``
    records everything that was adjusted on loading.
    """

    rgb: UInt8[Tensor, "V H W 3"]
    depth: Float32[Tensor, "V H W"]
    intrinsics: Float32[Tensor, "V 3 3"]
    camera_to_world: Float32[Tensor, "V 4 4"]
    instances: Int32[Tensor, "V H W"] | None = None
    objects: list[Object] = field(default_factory=list)
    name: str = "scene"
    frame_names: list[str] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    world_from_capture: Float32[Tensor, "4 4"] = field(default_factory=lambda: torch.eye(4))

    def __len__(self) -> int:
        return len(self.rgb)

    def to(self, device: str | torch.device) -> "Scene":
        """The same scene with its tensors on ``device``."""
        tensors = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return dataclasses.replace(self, **tensors)


def clean_depth(raw: np.ndarray, scale: float) -> np.ndarray:
    """Raw sensor values (H,W) to float32 metres: 0, 65535, negative, NaN and infinite all become 0
    ("no measurement").

    65535 is the largest 16-bit value; 7-Scenes and several depth cameras write it where they
    measured nothing.
    """
    valid = np.isfinite(raw) & (raw > 0)
    if raw.dtype.kind in "ui":  # in a file of floats it would be an ordinary (if distant) value
        valid &= raw != 65535
    return np.where(valid, raw, 0).astype(np.float32) / np.float32(scale)


def check_intrinsics(intrinsics: np.ndarray, size: tuple[int, int], where: str) -> np.ndarray:
    """Return the 3x3 camera matrix as float32, or raise ``InputError`` naming ``where``. ``size``
    is (height, width).
    """
    height, width = size
    K = np.asarray(intrinsics, dtype=np.float64)
    if K.shape not in [(3, 3), (4, 4)] or not np.isfinite(K).all():
        raise InputError(
            f"{where}: the camera matrix must be 3x3 finite numbers [fx 0 cx; 0 fy cy; 0 0 1]."
        )
    K = K[:3, :3]
    if not np.allclose(K[[1, 2, 2], [0, 0, 1]], 0) or not np.isclose(K[2, 2], 1):
        raise InputError(
            f"{where}: the camera matrix is not of the form [fx 0 cx; 0 fy cy; 0 0 1]; "
            "is it transposed?"
        )
    (fx, fy), (cx, cy) = K[[0, 1], [0, 1]], K[:2, 2]
    if fx <= 0 or fy <= 0:
        raise InputError(f"{where}: focal lengths must be positive, found fx={fx:g}, fy={fy:g}.")
    if not (0 < cx < width and 0 < cy < height):
        raise InputError(
            f"{where}: the principal point ({cx:g}, {cy:g}) lies outside the {width}x{height} "
            "image; check that the camera matrix belongs to these images and that cx, cy are not "
            "exchanged with fx, fy or each other."
        )
    off_centre = abs(cx / width - 0.5) + abs(cy / height - 0.5)
    if off_centre > 0.2 and abs(cy / width - 0.5) + abs(cx / height - 0.5) < 0.1:
        raise InputError(
            f"{where}: cx={cx:g} and cy={cy:g} look swapped for a {width}x{height} image; "
            "exchange them."
        )
    return K.astype(np.float32)


def check_pose(pose: np.ndarray, where: str) -> np.ndarray:
    """Return the 4x4 camera-to-world pose with an exactly orthonormal rotation, or raise
    ``InputError`` naming ``where``.
    """
    pose = np.asarray(pose, dtype=np.float64)
    rotation = pose[:3, :3]
    if not np.allclose(pose[3], [0, 0, 0, 1], atol=1e-6):
        raise InputError(
            f"{where}: the last row of a pose must be 0 0 0 1, found {pose[3]}; "
            "is the matrix transposed?"
        )
    error = np.abs(rotation @ rotation.T - np.eye(3)).max()
    if error > RIGID_TOLERANCE:
        raise InputError(
            f"{where}: the rotation is not orthonormal (off by {error:.2g}); "
            "remove any scale from the poses."
        )
    if np.linalg.det(rotation) < 0:
        raise InputError(
            f"{where}: the rotation is left-handed (determinant -1); the poses mirror the world."
        )
    u, _, vt = np.linalg.svd(rotation)  # nearest rotation in the least-squares sense
    return np.block([[u @ vt, pose[:3, 3:]], [0, 0, 0, 1]]).astype(np.float32)
