"""The condensed feature grid (CFG, LEO-VL): one token per vertical pillar of voxels."""

import warnings

import torch
from torch import Tensor, nn

from leovl_mini.geometry import Patches
from leovl_mini.positions import LearnableFourier, height_rope
from leovl_mini.tokens.pooling import SceneTokens, group_mean, unique_cells
from leovl_mini.tokens.voxels import Voxels, voxelise


class CondensedGrid(nn.Module):
    """``g(x,y) = mean_z( R(z) v(x,y,z) ) + F(x,y)``: height is written into the features, then the pillar is averaged.

    Token order: raster, by cell x and then cell y. Above ``budget`` tokens the pillars with the most patches are kept (ties:
    raster order) and a warning says how many were left out. Order and cap are not published; these are our choice, and both are
    deterministic. The pillar's position is the centre of its cell, so it does not depend on which part of it was seen.
    """

    def __init__(self, channels: int, voxel_size: float = 0.2, budget: int = 750):
        super().__init__()
        self.voxel_size, self.budget = voxel_size, budget
        self.fourier = LearnableFourier(channels)

    def forward(self, patches: Patches) -> SceneTokens:
        """(P,C) patches -> (K,C) tokens, K <= budget."""
        voxels = voxelise(patches, self.voxel_size)
        pooled, cells, pillar_of_voxel = self.condense(voxels)
        position = (cells + 0.5) * self.voxel_size
        height = group_mean(voxels.centers, pillar_of_voxel, len(cells))[:, 2:]
        source = pillar_of_voxel[voxels.source]
        tokens = SceneTokens(pooled + self.fourier(position), torch.cat([position, height], dim=1), source)
        return self.keep_budget(tokens)

    def condense(self, voxels: Voxels) -> tuple[Tensor, Tensor, Tensor]:
        """Rotate by height, average each pillar: (M,C) -> pooled (K,C), cells (K,2), and the pillar of each voxel (M,).

        This is everything before the horizontal embedding. The height of a voxel is the centre of its cell.
        """
        rotated = height_rope(voxels.features, (voxels.cells[:, 2] + 0.5) * voxels.size)
        cells, pillar = unique_cells(voxels.cells[:, :2])
        return group_mean(rotated, pillar, len(cells)), cells, pillar

    def keep_budget(self, tokens: SceneTokens) -> SceneTokens:
        if len(tokens) <= self.budget:
            return tokens
        seen = torch.bincount(tokens.source, minlength=len(tokens))
        keep = seen.argsort(descending=True, stable=True)[: self.budget].sort().values
        warnings.warn(
            f"the grid has {len(tokens)} pillars, over its budget of {self.budget}: kept the best observed, left out "
            f"{len(tokens) - self.budget} holding {int(seen.sum() - seen[keep].sum())} of {int(seen.sum())} patches",
            stacklevel=3,
        )
        new_index = torch.full_like(seen, -1)
        new_index[keep] = torch.arange(self.budget, device=keep.device)
        return SceneTokens(tokens.features[keep], tokens.centers[keep], new_index[tokens.source])
