"""How many tokens rooms need: patches, voxels and pillars, counted without any network (LEO-VL,
token statistics).
"""

from collections.abc import Iterator
from pathlib import Path

import torch

from leovl_mini.config import get_preset
from leovl_mini.perception.lift import lift
from leovl_mini.scans.scene import Scene
from leovl_mini.tokens.grid import CondensedGrid
from leovl_mini.tokens.voxels import voxelise


def map_size(height: int, width: int, longest_side: int) -> tuple[int, int]:
    """Rows and columns of EfficientNet's finer map: the image scaled to ``longest_side``, in steps
    of 16 pixels, one cell per 8.
    """
    scale = longest_side / max(height, width)
    return tuple(2 * max(1, round(side * scale / 16)) for side in (height, width))


def count_tokens(scene: Scene, voxel_size: float = 0.2, preset: str = "nano") -> dict[str, int]:
    """What a scene is condensed to: lifted patches, occupied voxels of ``voxel_size`` metres, and
    pillars (no budget applied).

    Where the patches lie does not depend on what they say, so one channel of zeros stands in for
    the features.
    """
    features = scene.depth.new_zeros(
        len(scene), *map_size(*scene.depth.shape[1:], get_preset(preset)["longest_side"]), 1
    )
    with torch.no_grad():
        patches = lift(features, scene.depth, scene.intrinsics, scene.camera_to_world)
    voxels = len(voxelise(patches, voxel_size))
    return {
        "patches": len(patches),
        "voxels": voxels,
        "grid": CondensedGrid.count_pillars(patches, voxel_size),
    }


def corpus_statistics(corpus: str | Path, rooms: int, voxel_size: float = 0.2) -> Iterator[dict]:
    """One row {scene, domain, split, patches, voxels, grid} for each of the first ``rooms`` rooms
    of a corpus.

    The four domains take turns. Edited copies and rooms of held-out colours are left out: they
    repeat rooms, or are few.
    """
    from leovl_mini.rooms.dataset import RoomDataset, split_of
    from leovl_mini.rooms.room import parse_name

    made = RoomDataset(corpus)
    parsed = [parse_name(name) for name in made.rooms]
    for name in [name for name in parsed if not name.novel][:rooms]:
        yield {
            "scene": name.room,
            "domain": name.domain,
            "split": split_of(name.number),
            **count_tokens(made.scene(name.room), voxel_size),
        }
