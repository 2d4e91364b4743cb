"""Scene representations: lifted patches in, a short sequence of 3D tokens out."""

from leovl_mini.tokens.grid import CondensedGrid
from leovl_mini.tokens.pooling import SceneTokens, group_mean
from leovl_mini.tokens.voxels import Voxels, voxelise

__all__ = ["CondensedGrid", "SceneTokens", "Voxels", "group_mean", "voxelise"]
