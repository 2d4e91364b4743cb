"""Patches: every cell of a feature map gets its place in the world.

Explained in notebook 03 (back-projection).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int32, Int64
from torch import Tensor

from leovl_mini.scans.geometry import pixel_grid, transform


@dataclass
class Patches:
    """P lifted patches: feature vectors that know where in the world they are.

    ``cells`` says which cell of the feature maps each one is: (view, row, column). ``segments``
    says to which object (or segment) each patch belongs, 0 = to none; ``origin`` is where the first
    camera stood.
    """

    features: Float[Tensor, "P C"]
    centers: Float[Tensor, "P 3"]  # metres
    cells: Int64[Tensor, "P 3"]
    dropped: int  # cells left out for too little valid depth
    segments: Int64[Tensor, "P"] | None = None
    origin: Float[Tensor, "3"] | None = None

    def __len__(self) -> int:
        return len(self.features)


def patchify(values: Tensor, rows: int, columns: int, fill: int | float) -> Tensor:
    """Cut images (V,H,W) into rows x columns cells: (V, rows, columns, pixels per cell).

    Sizes need not divide: cell i holds the pixels from floor(i H / rows) to floor((i+1) H / rows),
    and short cells are filled up with ``fill``.
    """
    # (V,H,W) -> (V, rows, pixels, W) -> (V, rows, pixels, columns, pixels)
    for axis, count in ((1, rows), (3, columns)):
        length = values.shape[axis]
        if length % count:
            edges = cell_edges(length, count, values.device)
            pixel = edges[:-1, None] + torch.arange(-(-length // count), device=values.device)
            inside = (pixel < edges[1:, None]).view(-1, *[1] * (values.ndim - axis - 1))
            values = torch.where(
                inside, values.index_select(axis, pixel.clamp(max=length - 1).flatten()), fill
            )
        values = values.unflatten(axis, (count, -1))
    return values.transpose(2, 3).flatten(3)


def cell_edges(length: int, count: int, device: torch.device | str = "cpu") -> Int64[Tensor, "n"]:
    """The first pixel of each of ``count`` cells, and the end of the last one."""
    return torch.arange(count + 1, device=device) * length // count


def patch_centers(
    depth: Float[Tensor, "V H W"],
    intrinsics: Float[Tensor, "V 3 3"],
    camera_to_world: Float[Tensor, "V 4 4"],
    rows: int,
    columns: int,
    min_valid: float = 0.25,
    tolerance: float = 0.1,
) -> tuple[Float[Tensor, "V h w 3"], Bool[Tensor, "V h w"]]:
    """One robust 3D coordinate per feature-map cell, and which cells have enough depth to have one.

    A cell on an object's edge sees two surfaces; a plain mean would float between them. So: take
    the median of the cell's valid depths, keep the pixels within ``tolerance`` of it (relative to
    the depth), and average only those. Cells with fewer than ``min_valid`` valid pixels are
    refused. The paper says only that coordinates are "brought to the feature map"; the robust mean
    is our choice.
    """
    _, height, width = depth.shape
    d = patchify(depth, rows, columns, 0.0)  # (V,h,w,pixels)
    valid = d > 0
    median = torch.where(valid, d, torch.nan).nanmedian(-1, keepdim=True).values
    # comparisons with NaN are false
    near = (d >= (1 - tolerance) * median) & (d <= (1 + tolerance) * median)
    # Back-projection is linear in (D u, D v, D): average those three, then apply K^-1 and T once
    # per cell. Pixels count from the cell's corner, which makes the sums one product with a matrix
    # that all cells share; the corner is added afterwards.
    offsets = pixel_grid(-(-height // rows), -(-width // columns), depth.device).flatten(0, 1)
    count = near.sum(-1)
    mean = torch.where(near, d, 0.0) @ offsets / count.clamp(min=1)[..., None]
    top = cell_edges(height, rows, depth.device)[:-1].to(depth)
    left = cell_edges(width, columns, depth.device)[:-1].to(depth)
    corner = torch.stack(
        [left.expand(rows, -1), top[:, None].expand(-1, columns), left.new_zeros(rows, columns)],
        dim=-1,
    )
    camera = torch.einsum(
        "vij,vhwj->vhwi", torch.linalg.inv(intrinsics), mean + mean[..., 2:] * corner
    )
    pixels = patchify(torch.ones_like(depth[:1]), rows, columns, 0.0).sum(-1)
    # where cells outnumber pixels, some are empty
    enough = valid.sum(-1) >= (min_valid * pixels).clamp(min=1)
    return transform(camera, camera_to_world), enough


def patch_segments(
    masks: Int32[Tensor, "V H W"], rows: int, columns: int
) -> Int64[Tensor, "V h w"]:
    """The mask id with the largest area in every feature-map cell (Proxy3D); of two equally large
    ones the smaller id.
    """
    ids = patchify(masks.long(), rows, columns, -1)
    # cells one pixel short: every filling counts as an id of its own, so that it never wins
    unique = masks.max() + 1 + torch.arange(ids.shape[-1], device=ids.device)
    return torch.where(ids < 0, unique, ids).mode(-1).values


def lift(
    features: Float[Tensor, "V h w C"],
    depth: Float[Tensor, "V H W"],
    intrinsics: Float[Tensor, "V 3 3"],
    camera_to_world: Float[Tensor, "V 4 4"],
    min_valid: float = 0.25,
    masks: Int32[Tensor, "V H W"] | None = None,
) -> Patches:
    """Give every feature-map cell its place in the world; cells with too little depth are dropped
    and counted.

    ``masks`` (object or segment ids, 0 = none) give every patch the id that covers most of it.
    """
    _, rows, columns, _ = features.shape
    centers, keep = patch_centers(depth, intrinsics, camera_to_world, rows, columns, min_valid)
    segments = None if masks is None else patch_segments(masks, rows, columns)[keep]
    origin = camera_to_world[0, :3, 3] if len(depth) else None
    return Patches(
        features[keep], centers[keep], keep.nonzero(), int((~keep).sum()), segments, origin
    )
