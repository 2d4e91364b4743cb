"""How does a scene become a few hundred tokens? Lifted patches in, a short sequence of tokens out.

A representation has settings and no learned parameters: it pools features in the encoder's width.
Explained in notebooks 04 (voxels to grid) and 05 (proxies).
"""

from collections.abc import Callable

from leovl_mini.perception.lift import Patches
from leovl_mini.tokens.base import SceneInput, SceneTokens, group_mean
from leovl_mini.tokens.grid import CondensedGrid
from leovl_mini.tokens.inspect import equal_budget, object_report, report_table
from leovl_mini.tokens.objects import ObjectTokens
from leovl_mini.tokens.patches import PatchTokens
from leovl_mini.tokens.positions import GroundPosition, LearnableFourier, height_rope
from leovl_mini.tokens.proxies import Proxies, allocate, breadth_first, kmeans
from leovl_mini.tokens.voxels import Voxels, VoxelTokens, voxelise

__all__ = [
    "REPRESENTATIONS",
    "CondensedGrid",
    "GroundPosition",
    "LearnableFourier",
    "ObjectTokens",
    "PatchTokens",
    "Proxies",
    "SceneInput",
    "SceneTokens",
    "VoxelTokens",
    "Voxels",
    "allocate",
    "breadth_first",
    "equal_budget",
    "group_mean",
    "height_rope",
    "kmeans",
    "object_report",
    "report_table",
    "representation",
    "voxelise",
]

REPRESENTATIONS = {
    kind.kind: kind for kind in (PatchTokens, VoxelTokens, CondensedGrid, Proxies, ObjectTokens)
}


def representation(name: str, **options) -> Callable[[Patches], SceneTokens]:
    """A scene representation by its name, with its options (see the classes): a callable from
    ``Patches`` (P,C) to ``SceneTokens`` (K,C). ValueError for an unknown name.
    """
    if name not in REPRESENTATIONS:
        choices = ", ".join(REPRESENTATIONS)
        raise ValueError(f"unknown representation {name!r}; choose one of {choices}")
    return REPRESENTATIONS[name](**options)
