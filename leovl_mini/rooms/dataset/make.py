"""Make many rooms with all their examples, by several processes; what was interrupted goes on.

Explained in notebook 01 (RGB-D frames and cameras).
"""

import dataclasses
import json
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from leovl_mini.data.examples import Example, load_examples, save_examples
from leovl_mini.data.files import atomic_write, file_sha256
from leovl_mini.data.samples import samples_folder
from leovl_mini.rooms.dataset.read import PARTS, RoomDataset, recorded, room_named
from leovl_mini.rooms.dataset.splits import (
    scenes_to_make,
    split_of,
    splits_of,
    symbolic_splits,
)
from leovl_mini.rooms.edits import edit_pairs
from leovl_mini.rooms.facts import SceneGraph
from leovl_mini.rooms.room import parse_name
from leovl_mini.rooms.texts.tasks import symbolic_examples

FORMAT = 1  # changes when the same options would make other examples
PART = 40  # rooms that one process makes at a time


def make_rooms(
    folder: Path,
    rooms: int,
    views: int = 8,
    workers: int = 2,
    pairs: float = 0.2,
    quiet: bool = False,
    pictures: bool = True,
) -> None:
    """Write a data set of ``rooms`` rooms, an equal number from every domain, or go on with one
    that was interrupted.

    ``pairs`` is the share of rooms (four times as many outside training) that get a minimally
    edited copy and one with an unrelated edit. One room in twenty more shows the held-out pairs of
    colour and category (split "novel"). Without ``pictures`` there are only objects, questions and
    texts, of rooms that no data set with pictures has. Raises ``FileExistsError`` for a folder that
    holds something else.
    """
    options = {"format": FORMAT, "rooms": rooms, "views": views, "pairs": pairs}
    if not pictures:
        options = {"format": FORMAT, "rooms": rooms, "pictures": False}
    parts = begin(folder, options)
    if parts is None:
        return
    scenes = scenes_to_make(rooms, pictures)
    jobs = [
        (parts / f"{i:04d}.jsonl", scenes[k : k + PART], options)
        for i, k in enumerate(range(0, len(scenes), PART))
    ]
    todo = [job for job in jobs if not job[0].exists()]
    done = len(scenes) - sum(len(job[1]) for job in todo)
    with tqdm(total=len(scenes), initial=done, unit="room", disable=quiet) as bar:
        if workers == 1:
            for job in todo:
                bar.update(make_part(job))
        else:
            with ProcessPoolExecutor(workers) as pool:
                for count in pool.map(make_part, todo):
                    bar.update(count)
    finish(folder, [job[0] for job in jobs], pictures)


def begin(folder: Path, options: dict) -> Path | None:
    """The folder of the unfinished parts; None where nothing is left to do."""
    note, parts = folder / "rooms.json", folder / PARTS
    if note.exists() and json.loads(note.read_text()) != options:
        before = note.read_text().strip()
        raise FileExistsError(
            f"{folder} holds rooms made with other options ({before}); choose another place"
        )
    if note.exists():
        for left_over in folder.glob(".partial-*"):  # of a run that was killed
            shutil.rmtree(left_over)
        return parts if parts.exists() else None
    if folder.exists() and any(file != parts for file in folder.iterdir()):
        raise FileExistsError(f"{folder} exists already; remove it or choose another place")
    parts.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(options) + "\n")
    return parts


def make_part(job: tuple[Path, list[str], dict]) -> int:
    """Make some rooms and all their examples; the files appear when both are complete."""
    file, scenes, options = job
    torch.set_num_threads(1)  # the processes share the cores
    examples, written = [], []
    for scene in scenes:
        if options.get("pictures", True):
            examples += examples_with_pairs(scene, options["views"], options["pairs"])
        else:
            room = room_named(scene)
            graph = SceneGraph(room.objects, room.areas)
            examples += symbolic_examples(scene, graph, parse_name(scene).number)
            objects = [dataclasses.asdict(o) for o in room.objects]
            written.append({"name": scene, "objects": objects})
    with atomic_write(file.parent) as partial:
        if written:
            lines = "".join(json.dumps(room) + "\n" for room in written)
            (partial / f"{file.stem}-rooms.jsonl").write_text(lines, encoding="utf-8")
        save_examples(examples, partial / file.name)
    return len(scenes)


def examples_with_pairs(scene: str, views: int, pairs: float) -> list[Example]:
    """All examples of a room, and for the chosen share of rooms those of its edited copies."""
    name = parse_name(scene)
    room, seen, examples = recorded(scene, views)
    share = pairs if split_of(name.number) == "train" else min(4 * pairs, 1.0)
    if np.random.default_rng((name.number, name.novel, 7)).random() < share:
        examples = examples + edit_pairs(room, name.domain, seen, examples, name.number)[1]
    return examples


def finish(folder: Path, parts: list[Path], pictures: bool) -> None:
    """Sort the examples of all parts into balanced splits."""
    raw = (example for part in parts for example in load_examples(part))
    splits = splits_of(raw) if pictures else symbolic_splits(raw)
    with atomic_write(folder) as partial:
        for name, examples in splits.items():
            save_examples(examples, partial / f"{name}.jsonl")
        if not pictures:
            written = (part.with_name(f"{part.stem}-rooms.jsonl").read_text() for part in parts)
            (partial / "rooms.jsonl").write_text("".join(written), encoding="utf-8")
    shutil.rmtree(parts[0].parent)


def has_published_test_sets(folder: Path) -> bool | None:
    """Whether the folder has the very test sets that are published with the package; None if it was
    made with other options.
    """
    published = json.loads((samples_folder() / "test_sets.json").read_text())
    if RoomDataset(folder).options != published["options"]:
        return None
    sums = published["sha256"].items()
    return all(file_sha256(folder / name) == digest for name, digest in sums)
