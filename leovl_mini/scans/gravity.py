"""Which way is up? Turn any capture's world so that +z points up and the floor lies at z = 0.

Explained in notebook 01 (RGB-D frames and cameras).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from leovl_mini.scans.geometry import back_project

AXES = {
    "x": (1.0, 0.0, 0.0),
    "y": (0.0, 1.0, 0.0),
    "z": (0.0, 0.0, 1.0),
    "-x": (-1.0, 0.0, 0.0),
    "-y": (0.0, -1.0, 0.0),
    "-z": (0.0, 0.0, -1.0),
}


def surface_normals(
    points: Float[Tensor, "V H W 3"], depth: Float[Tensor, "V H W"], step: int = 4
) -> tuple[Tensor, Tensor]:
    """Unit normals (N,3), facing their camera, of the surfaces ``step`` pixels wide, and their
    points (N,3).
    """
    p, d = points[:, ::step, ::step], depth[:, ::step, ::step]
    right, down = p[:, :-1, 1:] - p[:, :-1, :-1], p[:, 1:, :-1] - p[:, :-1, :-1]
    corners = torch.stack([d[:, :-1, :-1], d[:, :-1, 1:], d[:, 1:, :-1]])
    # one surface: measured at all three corners, without a jump between them
    smooth = (corners.amin(0) > 0) & (corners.amax(0) - corners.amin(0) < 0.1 * corners.amin(0))
    normal = torch.linalg.cross(down, right)  # y down x x right = -z: towards the camera
    length = normal.norm(dim=-1)
    keep = smooth & (length > 0)
    return normal[keep] / length[keep][:, None], p[:, :-1, :-1][keep]


def estimate_up(
    normals: Float[Tensor, "N 3"], camera_up: Float[Tensor, "3"]
) -> tuple[Float[Tensor, "3"], float]:
    """The direction shared by the most horizontal surfaces, and the share of surfaces that agree
    with it within 5 degrees.

    Floors, table tops and ceilings all vote; people hold cameras roughly upright, so only
    directions within 50 degrees of the mean camera's own up are considered.
    """
    sample = normals[
        torch.linspace(0, len(normals) - 1, min(len(normals), 3000), device=normals.device).long()
    ]
    toward = sample @ camera_up
    sample = sample * toward.sign()[:, None]  # a ceiling's normal points down
    candidates = sample[toward.abs() > math.cos(math.radians(50))]
    if not len(candidates):
        return camera_up, 0.0
    votes = ((candidates @ sample.T) > math.cos(math.radians(5))).float().mean(1)
    up = candidates[(votes * (candidates @ camera_up) ** 2).argmax()]
    for _ in range(5):  # settle on the mean of the surfaces that agree
        agree = (sample @ up) > math.cos(math.radians(5))
        up = torch.nn.functional.normalize(sample[agree].mean(0), dim=0)
    return up, float(agree.float().mean())


def floor_height(
    points: Float[Tensor, "N 3"], normals: Float[Tensor, "N 3"], up: Float[Tensor, "3"]
) -> float | None:
    """Height along ``up`` of the lowest large horizontal surface, in the world's units; None if
    nothing faces up.
    """
    height = (points @ up)[(normals @ up) > math.cos(math.radians(10))]
    if not len(height):
        return None
    low = height.quantile(0.001) if len(height) < 2**24 else height.min()
    bins = ((height - low) / 0.05).floor().long().clamp(min=0)
    counts = torch.bincount(bins)
    lowest = int((counts >= 0.2 * counts.max()).nonzero()[0])
    return float(height[(bins - lowest).abs() <= 1].median())


def rotation_between(a: Float[Tensor, "3"], b: Float[Tensor, "3"]) -> Float[Tensor, "3 3"]:
    """The smallest rotation that turns direction a into direction b (Rodrigues), computed in double
    precision.
    """
    a, b = (torch.nn.functional.normalize(x.double(), dim=0) for x in (a, b))
    identity = torch.eye(3, dtype=torch.float64, device=a.device)
    cosine, axis = a @ b, torch.linalg.cross(a, b)
    if cosine < -1 + 1e-12:  # opposite: half a turn about any axis at right angles to a
        axis = torch.nn.functional.normalize(
            torch.linalg.cross(a, identity[a.abs().argmin()]), dim=0
        )
        return (2 * torch.outer(axis, axis) - identity).float()
    K = torch.stack([torch.linalg.cross(axis, e) for e in identity], dim=1)  # K v = axis x v
    return (identity + K + K @ K / (1 + cosine)).float()


def align(
    depth: Float[Tensor, "V H W"],
    intrinsics: Float[Tensor, "V 3 3"],
    camera_to_world: Float[Tensor, "V 4 4"],
    up: str | None = None,
    floor: float | None = None,
) -> tuple[Float[Tensor, "4 4"], str]:
    """The rigid transform (4x4) that makes +z up and the floor z = 0, and one sentence saying what
    it did.

    ``up`` names a known axis ("z", "y", "-y", ...) and ``floor`` a known height along it, in
    metres; what is not given is estimated. Raises ``ValueError`` for an axis that does not exist.
    """
    normals, points = surface_normals(back_project(depth, intrinsics, camera_to_world), depth)
    if up is not None:
        if up not in AXES:
            raise ValueError(f"up must be one of {', '.join(AXES)}, not {up!r}")
        direction, how = depth.new_tensor(AXES[up]), f"up is the capture's {up} axis"
    else:
        camera_up = torch.nn.functional.normalize(-camera_to_world[:, :3, 1].mean(0), dim=0)
        direction, share = estimate_up(normals, camera_up)
        how = (
            f"up estimated from horizontal surfaces ({share:.0%} of all surfaces "
            "agree within 5 degrees)"
        )
        if share < 0.03:
            direction = camera_up
            how = "no horizontal surface found: up taken from the cameras' mean, check it"
    if floor is None:
        floor = floor_height(points, normals, direction)
    if floor is None:
        how += "; no floor found, lowest point used"
        measured = back_project(depth, intrinsics, camera_to_world)[depth > 0]
        floor = float((measured @ direction).min()) if len(measured) else 0.0
    result = torch.eye(4, device=depth.device)
    result[:3, :3] = rotation_between(direction, depth.new_tensor([0.0, 0.0, 1.0]))
    result[2, 3] = -floor
    angle = math.degrees(math.acos(min(1.0, max(-1.0, float(direction[2])))))
    note = (
        f"gravity: {how}; world turned by {angle:.1f} degrees, floor moved from {floor:.2f} m to 0"
    )
    return result, note
