"""From depth pixels to points in the world, and back into the image.

Everything is one batched tensor expression: no loop over frames or pixels, the same code on CPU
and CUDA.

Explained in notebook 03 (back-projection).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from leovl_mini.scans.scene import Scene


def pixel_grid(
    height: int, width: int, device: torch.device | str = "cpu"
) -> Float[Tensor, "H W 3"]:
    """Homogeneous pixel coordinates [u, v, 1] with pixel centres at integers."""
    v, u = torch.meshgrid(
        torch.arange(height, device=device, dtype=torch.float32),
        torch.arange(width, device=device, dtype=torch.float32),
        indexing="ij",
    )
    return torch.stack([u, v, torch.ones_like(u)], dim=-1)


def transform(
    points: Float[Tensor, "V *n 3"], pose: Float[Tensor, "V 4 4"]
) -> Float[Tensor, "V *n 3"]:
    """Apply one rigid transform (4x4) to each view's points."""
    flat = points.reshape(len(points), -1, 3)
    return (flat @ pose[:, :3, :3].mT + pose[:, None, :3, 3]).view_as(points)


def back_project(
    depth: Float[Tensor, "V H W"],
    intrinsics: Float[Tensor, "V 3 3"],
    camera_to_world: Float[Tensor, "V 4 4"],
) -> Float[Tensor, "V H W 3"]:
    """Every pixel's point in the world: ``p = T [D K^-1 [u, v, 1]^T ; 1]`` (LEO-VL,
    back-projection).

    Pixels without depth (0) land on the camera centre; keep those where ``depth > 0``.
    """
    _, height, width = depth.shape
    rays = torch.einsum(
        "vij,hwj->vhwi", torch.linalg.inv(intrinsics), pixel_grid(height, width, depth.device)
    )
    return transform(depth[..., None] * rays, camera_to_world)


def project(
    points: Float[Tensor, "V *n 3"],
    intrinsics: Float[Tensor, "V 3 3"],
    camera_to_world: Float[Tensor, "V 4 4"],
) -> tuple[Float[Tensor, "V *n 2"], Float[Tensor, "V *n"]]:
    """The inverse of ``back_project``: world points to pixel coordinates (u, v) and z-depth in each
    view.

    Points behind the camera have a negative depth and no meaningful pixel.
    """
    camera = transform(points, torch.linalg.inv(camera_to_world))
    image = (camera.reshape(len(camera), -1, 3) @ intrinsics.mT).view_as(camera)
    return image[..., :2] / image[..., 2:], camera[..., 2]


def scene_points(scene: Scene) -> tuple[Float[Tensor, "N 3"], Tensor]:
    """All measured points (N,3) of a scene and their colours (N,3) uint8."""
    valid = scene.depth > 0
    points = back_project(scene.depth, scene.intrinsics, scene.camera_to_world)
    return points[valid], scene.rgb[valid]
