"""Scene representations: lifted patches in, a short sequence of 3D tokens out."""

from torch import nn

from leovl_mini.tokens.base import SceneTokens, group_mean
from leovl_mini.tokens.grid import CondensedGrid
from leovl_mini.tokens.objects import ObjectTokens
from leovl_mini.tokens.patches import PatchTokens
from leovl_mini.tokens.proxies import Proxies
from leovl_mini.tokens.voxels import Voxels, VoxelTokens, voxelise

REPRESENTATIONS = {
    "patches": PatchTokens,
    "voxels": VoxelTokens,
    "grid": CondensedGrid,
    "proxies": Proxies,
    "objects": ObjectTokens,
}


__all__ = [
    "REPRESENTATIONS",
    "CondensedGrid",
    "ObjectTokens",
    "PatchTokens",
    "Proxies",
    "SceneTokens",
    "VoxelTokens",
    "Voxels",
    "group_mean",
    "representation",
    "voxelise",
]


def representation(name: str, channels: int, **options) -> nn.Module:
    """A scene representation by its name: a module that turns ``Patches`` (P,C) into
    ``SceneTokens`` (K,C).
    """
    if name not in REPRESENTATIONS:
        raise ValueError(
            f"unknown representation {name!r}; choose one of {', '.join(REPRESENTATIONS)}"
        )
    return REPRESENTATIONS[name](channels, **options)
