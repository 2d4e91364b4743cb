"""The condensed feature grid (CFG, LEO-VL): one token per vertical pillar of voxels."""

import math
import warnings

import torch
from torch import Tensor, nn

from leovl_mini.perception.lift import Patches
from leovl_mini.tokens.base import SceneTokens, group_max, group_mean, unique_cells
from leovl_mini.tokens.positions import LearnableFourier, height_rope
from leovl_mini.tokens.voxels import Voxels, voxelise


class CondensedGrid(nn.Module):
    """``g(x,y) = mean_z( R(z) v(x,y,z) ) + F(x,y)``: height is written into the features, then the
    pillar is averaged.

    Token order: raster, by cell x and then cell y. A scene with more than ``budget`` pillars gets
    larger cells, as large as it takes to fit, and a warning says so: no part of the room is left
    out. Order and cap are not published; these are our choice, and both are deterministic. A
    pillar's position is the centre of its cell, so it does not depend on which part of it was seen.

    Two knobs for experiments beyond the paper: ``height`` "none" leaves the features unturned;
    ``pool`` "max" takes the largest value of each channel, and "attention" weights the voxels of a
    pillar by a learned score ("learnable aggregation" is said of LEO-VL here and there, but the
    paper does not contain it).
    """

    def __init__(
        self,
        channels: int,
        voxel_size: float = 0.2,
        budget: int = 750,
        height: str = "rope",
        pool: str = "mean",
    ):
        super().__init__()
        if height not in ("rope", "none") or pool not in ("mean", "max", "attention"):
            raise ValueError(
                f"height must be rope or none, and pool mean, max or attention; not {height!r}, {pool!r}"
            )
        if (
            budget < 4
            # cells are anchored at the world's origin, and a scene may lie in all four quadrants around
            # it
        ):
            raise ValueError(f"the budget must be at least 4 tokens, not {budget}")
        self.voxel_size, self.budget, self.height, self.pool = voxel_size, budget, height, pool
        self.score = nn.Linear(channels, 1) if pool == "attention" else None
        self.fourier = LearnableFourier(channels)

    def forward(self, patches: Patches) -> SceneTokens:
        """(P,C) patches -> (K,C) tokens, K <= budget."""
        return self.place(self.gather(patches))

    def gather(self, patches: Patches) -> SceneTokens:
        """The pillars without their horizontal position."""
        return self.tokens(self.voxels(patches))

    def place(self, tokens: SceneTokens) -> SceneTokens:
        """Add the horizontal position."""
        return tokens.plus(self.fourier(tokens.centers[:, :2]))

    def tokens(self, voxels: Voxels) -> SceneTokens:
        """(M,C) voxels -> (K,C) tokens, one per pillar, without their horizontal position."""
        pooled, cells, pillar_of_voxel = self.condense(voxels)
        position = (cells + 0.5) * voxels.size
        height = group_mean(voxels.centers, pillar_of_voxel, len(cells))[:, 2:]
        source = pillar_of_voxel[voxels.source]
        return SceneTokens(pooled, torch.cat([position, height], dim=1), source, voxels.size)

    def condense(self, voxels: Voxels) -> tuple[Tensor, Tensor, Tensor]:
        """Rotate by height, average each pillar: (M,C) -> pooled (K,C), cells (K,2), and the pillar
        of each voxel (M,).

        This is everything before the horizontal embedding. The height of a voxel is the centre of
        its cell.
        """
        turned = voxels.features
        if self.height == "rope":
            turned = height_rope(turned, (voxels.cells[:, 2] + 0.5) * voxels.size)
        cells, pillar = unique_cells(voxels.cells[:, :2])
        if self.pool == "max":
            pooled = group_max(turned, pillar, len(cells))
        elif (
            self.pool == "attention"
        ):  # mean(w v) / mean(w) with w = exp(score), shifted so that it cannot overflow
            weight = (
                self.score(turned) - self.score(turned).amax().detach()
                if len(turned)
                else self.score(turned)
            ).exp()
            pooled = group_mean(weight * turned, pillar, len(cells)) / group_mean(
                weight, pillar, len(cells)
            ).clamp(min=1e-12)
        else:
            pooled = group_mean(turned, pillar, len(cells))
        return pooled, cells, pillar

    def voxels(self, patches: Patches) -> Voxels:
        """Voxels of ``voxel_size``, or of the first larger size whose pillars fit the budget."""
        size = self.voxel_size
        pillars = first = self.count_pillars(patches, size)
        while pillars > self.budget:
            size *= max(
                math.sqrt(pillars / self.budget), 1.02
            )  # the count falls about with the square of the size
            pillars = self.count_pillars(patches, size)
        if size != self.voxel_size:
            warnings.warn(
                f"{first} pillars of {self.voxel_size:g} m exceed the budget of {self.budget} tokens: "
                f"cells enlarged to {size:.2f} m, which gives {pillars}",
                stacklevel=3,
            )
        return voxelise(patches, size)

    @staticmethod
    def count_pillars(patches: Patches, size: float) -> int:
        return len(unique_cells((patches.centers[:, :2] / size).floor().long())[0])
