"""Rooms that are only written down: thousands of furnished layouts with their questions and texts,
without a single picture.

A folder of layouts holds ``rooms.jsonl`` (a room and its objects a line), ``train.jsonl`` and
``val.jsonl`` (balanced questions, captions, plans and dialogues).
"""

import dataclasses
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from leovl_mini.data.examples import Example, dumps, load_examples
from leovl_mini.data.files import atomic_folder
from leovl_mini.rooms import balance as quality
from leovl_mini.rooms.cameras import DOMAINS, domain_room
from leovl_mini.rooms.dataset import by_domain
from leovl_mini.rooms.facts import SceneGraph
from leovl_mini.rooms.plans import plans
from leovl_mini.rooms.questions import questions
from leovl_mini.rooms.recording import about_held_out
from leovl_mini.rooms.texts import dialogues, object_captions, scene_caption
from leovl_mini.scans.scene import InputError, Object

FIRST = 1_000_000  # number of the first one: no corpus has these rooms


VALIDATION = 40  # one room in so many is kept for the curves


def layout(index: int) -> tuple[str, list[Object], list[Example]]:
    """Name, objects and examples of one layout. Nothing is hidden in it: everything may be asked
    about.
    """
    domain, number = list(DOMAINS)[index % len(DOMAINS)], FIRST + index // len(DOMAINS)
    room, name = domain_room(domain, number), f"{domain}_{number}"
    world = SceneGraph(room.objects, room.areas, {o.id for o in room.objects})
    rng = np.random.default_rng((number, 6))
    found = list(questions(world, rng))
    spots = {
        o.id: [*o.center[:2], o.center[2] + o.size[2] / 2] for o in room.objects
    }  # in the middle of the top
    texts = [
        *object_captions(world, rng, spots),
        scene_caption(world, rng),
        *plans(world, rng),
        *dialogues(world, rng),
    ]
    found += [
        dataclasses.replace(e, derivation={}) for e in texts
    ]  # their proofs would be most of the file
    kept = [e for e in found if not about_held_out(e)]
    return (
        name,
        room.objects,
        [dataclasses.replace(e, id=f"{name}/{i:03d}", scene=name) for i, e in enumerate(kept)],
    )


def make_symbolic_rooms(folder: Path, rooms: int, workers: int = 2, quiet: bool = False) -> None:
    """Write a new folder with so many layouts, an equal number in the style of every domain."""
    train, val = [], []
    with (
        atomic_folder(folder) as partial,
        (partial / "rooms.jsonl").open("w", encoding="utf-8") as lines,
    ):
        with (
            ProcessPoolExecutor(workers) as pool,
            tqdm(total=rooms, unit="room", disable=quiet) as bar,
        ):
            for i, (name, objects, asked) in enumerate(
                pool.map(layout, range(rooms), chunksize=16)
            ):
                lines.write(
                    json.dumps({"name": name, "objects": [dataclasses.asdict(o) for o in objects]})
                    + "\n"
                )
                (val if i // len(DOMAINS) % VALIDATION == 0 else train).extend(asked)
                bar.update()
        for split, some in (("train", train), ("val", val)):
            balanced = by_domain(some, quality.balance)
            (partial / f"{split}.jsonl").write_text(
                "".join(f"{dumps(e)}\n" for e in balanced), encoding="utf-8"
            )


class SymbolicRooms:
    """A folder of layouts, read at once: ``objects`` by the name of the room, ``examples`` of a
    split.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        if not (self.folder / "rooms.jsonl").is_file():
            raise InputError(
                f"{folder} holds no layouts; make some with: leovl-mini train layouts --out FOLDER"
            )
        with (self.folder / "rooms.jsonl").open(encoding="utf-8") as lines:
            self.objects = {
                room["name"]: [Object.from_dict(o) for o in room["objects"]]
                for room in map(json.loads, lines)
            }

    def examples(self, split: str) -> Iterator[Example]:
        return iter(load_examples(self.folder / f"{split}.jsonl"))
