"""The condensed feature grid (CFG, LEO-VL): one token per vertical pillar of voxels.

Explained in notebook 04 (voxels to grid).
"""

import math
import warnings
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from leovl_mini.perception.lift import Patches
from leovl_mini.tokens.base import SceneTokens, group_max, group_mean, unique_cells
from leovl_mini.tokens.positions import height_rope
from leovl_mini.tokens.voxels import Voxels, voxelise


@dataclass(frozen=True)
class CondensedGrid:
    """``g(x,y) = mean_z( R(z) v(x,y,z) )``: height is written into the features, then each pillar
    is averaged. The paper's horizontal term F(x,y) is added by the model, see
    ``tokens/positions.py``.

    Token order: raster, by cell x and then cell y. A scene with more than ``budget`` pillars gets
    larger cells, as large as it takes to fit, and a warning says so: no part of the room is left
    out. Order and cap are not published; these are our choice, and both are deterministic. A
    pillar's position is the centre of its cell, so it does not depend on which part of it was seen.

    Two settings are for the experiment on height only: ``height`` "none" leaves the features
    unturned; ``pool`` "max" takes the largest value of each channel.
    """

    voxel_size: float = 0.2
    budget: int = 750
    height: str = "rope"
    pool: str = "mean"
    kind: ClassVar[str] = "grid"
    needs_segments: ClassVar[bool] = False

    def __post_init__(self):
        if self.height not in ("rope", "none") or self.pool not in ("mean", "max"):
            raise ValueError(
                f"height must be rope or none, and pool mean or max; "
                f"not {self.height!r}, {self.pool!r}"
            )
        # Cells are anchored at the world's origin, and a scene may lie in all quadrants around it.
        if self.budget < 4:
            raise ValueError(f"the budget must be at least 4 tokens, not {self.budget}")

    def __call__(self, patches: Patches) -> SceneTokens:
        """(P,C) patches -> (K,C) tokens, K <= budget."""
        voxels = self.voxels(patches)
        pooled, cells, pillar = self.condense(voxels)
        ground = (cells + 0.5) * voxels.size
        height = group_mean(voxels.centers, pillar, len(cells))[:, 2:]
        centers = torch.cat([ground, height], dim=1)
        return SceneTokens(pooled, centers, pillar[voxels.source], voxels.size)

    def voxels(self, patches: Patches) -> Voxels:
        """Voxels of ``voxel_size``, or of the first larger size whose pillars fit the budget."""
        size = self.voxel_size
        pillars = first = count_pillars(patches, size)
        while pillars > self.budget:  # the count falls about with the square of the size
            size *= max(math.sqrt(pillars / self.budget), 1.02)
            pillars = count_pillars(patches, size)
        if size != self.voxel_size:
            warnings.warn(
                f"{first} pillars of {self.voxel_size:g} m exceed the budget of {self.budget} "
                f"tokens: cells enlarged to {size:.2f} m, which gives {pillars}",
                stacklevel=3,
            )
        return voxelise(patches, size)

    def condense(
        self, voxels: Voxels
    ) -> tuple[Float[Tensor, "K C"], Int64[Tensor, "K 2"], Int64[Tensor, "M"]]:
        """Rotate voxels (M,C) by their height, then pool each pillar: the pooled features, the
        pillars' cells, and the pillar of each voxel. A voxel's height is the centre of its cell.
        """
        turned = voxels.features
        if self.height == "rope":
            turned = height_rope(turned, (voxels.cells[:, 2] + 0.5) * voxels.size)
        cells, pillar = unique_cells(voxels.cells[:, :2])
        pool = group_mean if self.pool == "mean" else group_max
        return pool(turned, pillar, len(cells)), cells, pillar


def count_pillars(patches: Patches, size: float) -> int:
    """How many cells of ``size`` metres the patches occupy, seen from above."""
    return len(unique_cells((patches.centers[:, :2] / size).floor().long())[0])
