"""How many tokens rooms need: patches, voxels and pillars, counted without any network (LEO-VL,
token statistics).

Explained in notebook 04 (voxels to grid).
"""

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tqdm import tqdm

from leovl_mini.config import TokenCountsConfig, command_of, get_preset
from leovl_mini.data.files import hardware, write_json
from leovl_mini.perception.lift import lift
from leovl_mini.rooms.dataset import RoomDataset, split_of
from leovl_mini.rooms.room import parse_name
from leovl_mini.scans.scene import Scene
from leovl_mini.tokens.grid import count_pillars
from leovl_mini.tokens.voxels import voxelise


def map_size(height: int, width: int, longest_side: int) -> tuple[int, int]:
    """Rows and columns of EfficientNet's finer map: the image scaled to ``longest_side``, in steps
    of 16 pixels, one cell per 8.
    """
    scale = longest_side / max(height, width)
    return tuple(2 * max(1, round(side * scale / 16)) for side in (height, width))


@torch.no_grad()
def count_tokens(scene: Scene, voxel_size: float = 0.2, preset: str = "nano") -> dict[str, int]:
    """What a scene is condensed to: lifted patches, occupied voxels of ``voxel_size`` metres, and
    pillars (no budget applied).

    Where the patches lie does not depend on what they say, so one channel of zeros stands in for
    the features.
    """
    cells = map_size(*scene.depth.shape[1:], get_preset(preset).longest_side)
    features = scene.depth.new_zeros(len(scene), *cells, 1)
    patches = lift(features, scene.depth, scene.intrinsics, scene.camera_to_world)
    return {
        "patches": len(patches),
        "voxels": len(voxelise(patches, voxel_size)),
        "grid": count_pillars(patches, voxel_size),
    }


def corpus_statistics(corpus: str | Path, rooms: int, voxel_size: float = 0.2) -> Iterator[dict]:
    """One row {scene, domain, split, patches, voxels, grid} for each of the first ``rooms`` rooms
    of a corpus.

    The four domains take turns. Edited copies and rooms of held-out colours are left out: they
    repeat rooms, or are few.
    """
    made = RoomDataset(corpus)
    parsed = [parse_name(name) for name in made.names()]
    for name in [name for name in parsed if not name.novel and not name.edit][:rooms]:
        split = split_of(name.number)
        counts = count_tokens(made.scene(name.room), voxel_size)
        yield {"scene": name.room, "domain": name.domain, "split": split, **counts}


def reproduce(config: TokenCountsConfig) -> list:
    """``leovl-mini reproduce tokens``: the table of counts; those of every room to a JSON file."""
    start = time.perf_counter()
    counts = corpus_statistics(config.corpus, config.scenes)
    rows = list(tqdm(counts, total=config.scenes, unit="room"))
    minutes = round((time.perf_counter() - start) / 60, 1)
    lines = [["", "median", "mean", "deviation"]]
    for kind in ("patches", "voxels", "grid"):
        values = [row[kind] for row in rows]
        measures = (statistics.median, statistics.mean, statistics.stdev)
        lines.append([kind, *(f"{measure(values):,.0f}" for measure in measures)])
    if config.write:
        rooms = RoomDataset(config.corpus)
        note = {
            "command": f"{rooms.command()}; {command_of('reproduce tokens', config)}",
            "rooms": len(rows),
            "views": rooms.options["views"],
            "voxel_size": 0.2,
            "hardware": hardware(),
            "minutes": minutes,
        }
        write_json(config.write, {**note, "scenes": rows})
    return [(f"{len(rows)} rooms, cells of 0.2 m", lines)]
