"""Voxels: the mean feature of all patches that fall into one cube of space (LEO-VL, voxelisation;
LLaVA-3D, voxel pooling).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from leovl_mini.perception.lift import Patches
from leovl_mini.tokens.base import SceneTokens, group_mean, uniform_sample, unique_cells
from leovl_mini.tokens.positions import PointEmbedding


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


class VoxelTokens(nn.Module):
    """``v = mean_p( f_p + MLP(x_p, y_p, z_p) )``: places are added to patches, then each voxel is
    averaged (LLaVA-3D).

    Order: lexicographic by cell. ``reduce`` says what happens above the ``budget`` (None: no
    limit): "uniform" keeps a seeded random sample of the voxels, "farthest" repeatedly the voxel
    farthest from all kept ones, "coarser" enlarges the cells until they fit, which loses no part of
    the room. (LLaVA-3D drops voxels at random, at inference too; LEO-VL's down-sampled baseline is
    not described.)
    """

    def __init__(
        self,
        channels: int,
        voxel_size: float = 0.2,
        budget: int | None = 750,
        reduce: str = "uniform",
        seed: int = 0,
    ):
        super().__init__()
        if reduce not in ("uniform", "farthest", "coarser"):
            raise ValueError(f"reduce must be uniform, farthest or coarser, not {reduce!r}")
        if budget is not None and budget < (
            8 if reduce == "coarser" else 1
        ):  # cells are anchored at the origin: up to 8 octants
            raise ValueError(f"the budget is too small for {reduce!r}: {budget}")
        self.voxel_size, self.budget, self.reduce, self.seed = voxel_size, budget, reduce, seed
        self.embedding = PointEmbedding(channels)

    def forward(self, patches: Patches) -> SceneTokens:
        """(P,C) patches -> (K,C) tokens."""
        return self.place(self.gather(patches))

    def gather(self, patches: Patches) -> SceneTokens:
        """The voxels that are kept, without their patches' places."""
        size = self.voxel_size
        voxels = voxelise(patches, size)
        over = self.budget is not None and len(voxels) > self.budget
        if over and self.reduce == "coarser":
            while (
                len(voxels) > self.budget
            ):  # surfaces: the count falls about with the square of the size
                size *= max(math.sqrt(len(voxels) / self.budget), 1.02)
                voxels = voxelise(patches, size)
        if not over or self.reduce == "coarser":
            return SceneTokens(
                voxels.features, voxels.centers, voxels.source, size, patches.centers
            )
        if self.reduce == "farthest":
            kept = farthest_points(voxels.centers, self.budget).sort().values
        else:
            kept = uniform_sample(len(voxels), self.budget, self.seed).to(voxels.source.device)
        token = torch.full((len(voxels),), -1, device=kept.device)
        token[kept] = torch.arange(len(kept), device=kept.device)
        return SceneTokens(
            voxels.features[kept], voxels.centers[kept], token[voxels.source], size, patches.centers
        )

    def place(self, tokens: SceneTokens) -> SceneTokens:
        """Add to each voxel the mean of its patches' embedded places, which is the same as adding
        them before the averaging.
        """
        kept = tokens.source >= 0
        return tokens.plus(
            group_mean(self.embedding(tokens.points[kept]), tokens.source[kept], len(tokens))
        )


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
