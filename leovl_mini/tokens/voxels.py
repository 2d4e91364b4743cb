"""Voxels: the mean feature of all patches that fall into one cube of space (LEO-VL; LLaVA-3D).

Explained in notebook 04 (voxels to grid).
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from leovl_mini.perception.lift import Patches
from leovl_mini.tokens.base import SceneTokens, group_mean, uniform_sample, unique_cells


@dataclass
class Voxels:
    """M occupied voxels, in lexicographic order of their integer cells (x, then y, then z)."""

    features: Float[Tensor, "M C"]
    centers: Float[Tensor, "M 3"]  # mean of the patch coordinates inside, metres
    cells: Int64[Tensor, "M 3"]  # floor(coordinate / size)
    source: Int64[Tensor, "P"]  # the voxel of each patch
    size: float  # edge length, metres

    def __len__(self) -> int:
        return len(self.features)


def voxelise(patches: Patches, size: float = 0.2) -> Voxels:
    """Average the patches inside each cube of ``size`` metres: (P,C) -> (M,C) with M occupied
    voxels.

    LEO-VL does not publish its voxel size; 0.2 m is LLaVA-3D's, and gives furnished rooms nearly
    LEO-VL's voxel count.
    """
    if size <= 0:
        raise ValueError(f"voxel size must be positive, not {size}")
    cells, source = unique_cells((patches.centers / size).floor().long())
    features = group_mean(patches.features, source, len(cells))
    return Voxels(features, group_mean(patches.centers, source, len(cells)), cells, source, size)


@dataclass(frozen=True)
class VoxelTokens:
    """``v = mean_p f_p`` over the patches p of each occupied voxel (LLaVA-3D), in lexicographic
    order of the cells.

    ``reduce`` says what happens above the ``budget`` (None: no limit): "uniform" keeps a seeded
    random sample of the voxels, "farthest" repeatedly the voxel farthest from all kept ones,
    "coarser" enlarges the cells until they fit, which loses no part of the room. (LLaVA-3D drops
    voxels at random, at inference too; LEO-VL's down-sampled baseline is not described.)
    """

    voxel_size: float = 0.2
    budget: int | None = 750
    reduce: str = "uniform"
    seed: int = 0
    kind: ClassVar[str] = "voxels"
    needs_segments: ClassVar[bool] = False

    def __post_init__(self):
        if self.reduce not in ("uniform", "farthest", "coarser"):
            raise ValueError(f"reduce must be uniform, farthest or coarser, not {self.reduce!r}")
        # Cells are anchored at the origin: however large they are, a room may lie in 8 of them.
        least = 8 if self.reduce == "coarser" else 1
        if self.budget is not None and self.budget < least:
            raise ValueError(f"the budget is too small for {self.reduce!r}: {self.budget}")

    def __call__(self, patches: Patches) -> SceneTokens:
        """(P,C) patches -> (K,C) tokens, with the patches' places for their position embedding."""
        voxels = voxelise(patches, self.voxel_size)
        if self.budget is not None and len(voxels) > self.budget:
            if self.reduce != "coarser":
                return self.sampled(voxels, patches)
            size = self.voxel_size
            while len(voxels) > self.budget:  # surfaces: the count falls about with the square
                size *= max(math.sqrt(len(voxels) / self.budget), 1.02)
                voxels = voxelise(patches, size)
        return SceneTokens(
            voxels.features, voxels.centers, voxels.source, voxels.size, patches.centers
        )

    def sampled(self, voxels: Voxels, patches: Patches) -> SceneTokens:
        """``budget`` of the voxels, in their order."""
        if self.reduce == "farthest":
            kept = farthest_points(voxels.centers, self.budget).sort().values
        else:
            kept = uniform_sample(len(voxels), self.budget, self.seed).to(voxels.source.device)
        token = torch.full((len(voxels),), -1, device=kept.device)
        token[kept] = torch.arange(len(kept), device=kept.device)
        features, centers = voxels.features[kept], voxels.centers[kept]
        return SceneTokens(features, centers, token[voxels.source], voxels.size, patches.centers)


def farthest_points(points: Float[Tensor, "M 3"], count: int) -> Int64[Tensor, "K"]:
    """Indices of ``count`` points, each the farthest from all before it; the first is the one
    farthest from the mean.

    One step per chosen point (each needs the one before), a vector operation over all points in
    each step.
    """
    chosen = points.new_zeros(min(count, len(points)), dtype=torch.long)
    distance = (points - points.mean(0)).square().sum(1)
    for i in range(len(chosen)):
        chosen[i] = distance.argmax()
        to_chosen = (points - points[chosen[i]]).square().sum(1)
        distance = to_chosen if i == 0 else torch.minimum(distance, to_chosen)
    return chosen
