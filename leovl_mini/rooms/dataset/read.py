"""Rooms by name: recordings are rendered anew, examples are read from the disk.

Explained in notebook 01 (rgbd_and_cameras).
"""

import dataclasses
import io
import json
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from leovl_mini.data.examples import Example, load_examples
from leovl_mini.data.samples import SAMPLES
from leovl_mini.rooms.cameras import DOMAINS, domain_room, record
from leovl_mini.rooms.dataset.splits import NOVEL, SYMBOLIC
from leovl_mini.rooms.edits import EDITS, edit_pairs
from leovl_mini.rooms.facts import SceneGraph, visible_graph
from leovl_mini.rooms.room import Room, parse_name
from leovl_mini.rooms.texts.tasks import examples_of
from leovl_mini.scans.scene import InputError, Object, Scene

PARTS = ".parts"  # folder of what an unfinished data set has so far


def is_bundled(scene: str) -> bool:
    """Whether a scene ("scannet_00002") is one of the rooms that travel with the package
    ("scannet_2"), or an edited copy of one.
    """
    name = parse_name(scene)
    return not name.novel and name.number in SAMPLES.get(name.domain, ())


def room_named(scene: str) -> Room:
    """The room of a scene, before any edit."""
    name = parse_name(scene)
    return domain_room(name.domain, name.number + NOVEL * name.novel, name.novel)


def recorded(scene: str, views: int) -> tuple[Room, Scene, list[Example]]:
    """A room that was not edited, its recording, and all its examples."""
    name, room = parse_name(scene), room_named(scene)
    seen = record(room, name.domain, views, name.room)
    graph = visible_graph(seen, room.areas)
    return room, seen, examples_of(seen, graph, name.number + NOVEL * name.novel, name.novel)


@lru_cache(maxsize=4)
def edited(scene: str, views: int) -> tuple[list[Scene], list[Example]]:
    """The two edited copies of a room, with the pair's examples; the same whenever it is asked."""
    name = parse_name(scene)
    room, seen, examples = recorded(scene, views)
    return edit_pairs(room, name.domain, seen, examples, name.number)


def compressed(scene: Scene) -> Scene:
    """As captures are kept on disk: colour in JPEG, depth in whole millimetres."""
    stacked, file = scene.rgb.numpy().reshape(-1, scene.rgb.shape[2], 3), io.BytesIO()
    Image.fromarray(stacked).save(file, format="JPEG", quality=92, subsampling=0)
    rgb = np.array(Image.open(file)).reshape(scene.rgb.shape)
    millimetres = (scene.depth.numpy() * 1000).round()
    return dataclasses.replace(
        scene, rgb=torch.from_numpy(rgb), depth=torch.from_numpy(millimetres / 1000)
    )


def edited_copy(scene: str, views: int) -> Scene:
    """The recording after the edit that the scene's name ends with."""
    scenes, _ = edited(parse_name(scene).room, views)
    found = next((s for s in scenes if s.name == scene), None)
    if found is None:
        raise InputError(
            f"there is no scene {scene!r}: no edit of that kind was found for its room"
        )
    return found


@lru_cache(maxsize=64)
def whole_graph(scene: str, views: int) -> SceneGraph:
    """What is true in a scene; kept, because examples of a room are asked one after the other."""
    room = room_named(scene)
    objects = edited_copy(scene, views).objects if parse_name(scene).edit else room.objects
    return SceneGraph(objects, room.areas)


def order_made(scene: str) -> tuple:
    """A key to sort scenes: domains take turns, edited copies follow, novel rooms come last."""
    name = parse_name(scene)
    edit = ("", *EDITS).index(name.edit)
    return name.novel, name.number, list(DOMAINS).index(name.domain), edit


class RoomDataset:
    """A folder of made rooms as a ``SceneSource``; ``options`` say how it was made.

    Raises ``InputError`` for a folder that is not finished, and for splits and scenes that it does
    not have.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        if (self.folder / "corpus.json").is_file():
            raise InputError(
                f"{folder} was made by an older version; make the rooms again, in another folder"
            )
        if not (self.folder / "rooms.json").is_file() or (self.folder / PARTS).exists():
            raise InputError(
                f"{folder} is no finished corpus; make or continue it with: "
                f"leovl-mini rooms make --out {folder}"
            )
        self.options = json.loads((self.folder / "rooms.json").read_text())
        self.pictures = self.options.get("pictures", True)

    def names(self, split: str = "") -> list[str]:
        """The scenes that the examples of a split are about, in the order in which they were made;
        without a split, of all splits.
        """
        files = [self.file(split)] if split else sorted(self.folder.glob("*.jsonl"))
        asked = {e.scene for f in files if f.stem != "rooms" for e in load_examples(f)}
        return sorted(asked, key=order_made)

    def examples(self, split: str) -> Iterator[Example]:
        """The balanced examples of a split, such as train, val, test, pairs-train, novel,
        skewed-train, reversed-test, simplistic-train.
        """
        return load_examples(self.file(split))

    def file(self, split: str) -> Path:
        file = self.folder / f"{split}.jsonl"
        if not file.is_file():
            have = ", ".join(sorted(f.stem for f in self.folder.glob("*.jsonl")))
            raise InputError(f"{self.folder} has no split {split!r}; there are: {have}")
        return file

    def scene(self, name: str) -> Scene:
        """The recording of a room, or of an edited copy ("scannet_00008-flip"), rendered anew."""
        self.check(name)
        if not self.pictures:
            raise InputError(f"{self.folder} holds rooms without pictures, not scenes to be seen")
        views, parsed = self.options["views"], parse_name(name)
        if not parsed.edit:
            room = room_named(name)
            return compressed(record(room, parsed.domain, views, name))
        return compressed(edited_copy(name, views))

    def graph(self, name: str) -> SceneGraph:
        """What is true in a scene, whether a frame shows it or not."""
        self.check(name)
        return whole_graph(name, self.options.get("views", 0))

    def objects(self, name: str) -> list[Object]:
        if self.pictures:
            return self.graph(name).objects
        self.check(name)
        return self.symbolic_objects[name]

    @cached_property
    def symbolic_objects(self) -> dict[str, list[Object]]:
        """The objects of rooms without pictures."""
        with (self.folder / "rooms.jsonl").open(encoding="utf-8") as lines:
            rooms = map(json.loads, lines)
            return {room["name"]: [Object.from_dict(o) for o in room["objects"]] for room in rooms}

    def check(self, name: str) -> None:
        """Refuse what cannot be the name of one of these rooms, or of an edited copy."""
        parsed = parse_name(name)
        number = parsed.number - (0 if self.pictures else SYMBOLIC)
        in_range = 0 <= number < self.options["rooms"] and parsed.domain in DOMAINS
        if not in_range or parsed.edit not in ("", *EDITS):
            raise InputError(f"{self.folder} has no scene {name!r}")

    def command(self) -> str:
        """The command that makes these rooms."""
        if not self.pictures:
            return "leovl-mini rooms symbolic --rooms {rooms} --out ROOMS".format(**self.options)
        command = (
            "leovl-mini rooms make --rooms {rooms} --views {views} --pairs {pairs} --out CORPUS"
        )
        return command.format(**self.options)
