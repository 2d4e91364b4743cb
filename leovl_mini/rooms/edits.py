"""Minimal edits: the same room and cameras with one change that flips an answer, or with one change
that must not.

Explained in notebook 09 (scenedpo).
"""

import copy
import dataclasses
from collections.abc import Iterator

import numpy as np

from leovl_mini.data.examples import Example
from leovl_mini.rooms.cameras import record
from leovl_mini.rooms.facts import SceneGraph, visible_graph
from leovl_mini.rooms.furniture import COLOURS, HELD_OUT, MOVABLE, PATTERNS, build
from leovl_mini.rooms.layout import place_again
from leovl_mini.rooms.questions import derive
from leovl_mini.rooms.room import Room, collide
from leovl_mini.scans.scene import RELATIONS, Object, Scene

# -- the same question in another room -------------------------------------------------------------


def asked_elsewhere(graph: SceneGraph, example: Example) -> Example | None:
    """The same words in another room, about the things that have the same names there; with that
    room's answers.

    None where a name fits nothing that is in sight there, or several things, or where the answer is
    unclear; and for questions asked from a spot in the room (``situated``), which has no
    counterpart elsewhere. ``scene`` is left as it is.
    """
    if example.kind == "situated":
        return None
    by_name = {graph.names[o.id]: o.id for o in graph.askable}
    ids = [by_name.get(name) for name in example.derivation["slots"].values()]
    derivation = {**example.derivation, "objects": ids}
    return asked_again(graph, dataclasses.replace(example, derivation=derivation))


def asked_again(graph: SceneGraph, example: Example) -> Example | None:
    """The same words in another state of the room; None where they would mean something else there,
    or the answer is unclear.
    """
    kind, derivation, seen_from = example.kind, example.derivation, ()
    if kind in ("existence", "count"):
        arguments = tuple(derivation["about"])
    else:
        objects = [graph.by_id.get(i) for i in derivation["objects"]]
        if any(o not in graph.askable for o in objects):
            return None
        arguments = tuple(objects)
        if kind == "situated":
            at, facing, target = objects
            x, y = example.position[:2]
            heading = np.arctan2(facing.center[1] - y, facing.center[0] - x)
            if abs(heading - example.heading) > 0.01:  # what is faced has moved
                return None
            arguments, seen_from = (np.array([x, y]), example.heading, target), (at.id, facing.id)
    derived = derive(kind, graph, arguments, seen_from)
    if derived is None or derived[1]["slots"] != derivation["slots"]:
        return None
    return dataclasses.replace(example, answers=derived[0], derivation=derived[1])


# -- changes to a room: each says whether it was possible ------------------------------------------


def change(room: Room, item: Object, attribute: str, value: str) -> bool:
    item.attributes[attribute] = value
    room.parts[room.objects.index(item)] = build(item)
    return True


def recolour(room: Room, item: Object, rng: np.random.Generator) -> bool:
    taken = (item.attributes.get("colour"), HELD_OUT.get(item.category))
    choices = [c for c in COLOURS if c not in taken]
    return "colour" in item.attributes and change(room, item, "colour", str(rng.choice(choices)))


def carries(room: Room, item: Object) -> bool:
    return any(o.attributes.get(r) == str(item.id) for o in room.objects for r in RELATIONS)


def remove(room: Room, item: Object) -> bool:
    """Take an object away, unless something belongs to it."""
    if carries(room, item):
        return False
    index = room.objects.index(item)
    del room.objects[index], room.parts[index]
    return True


def move(room: Room, item: Object, rng: np.random.Generator) -> bool:
    if item.category not in MOVABLE or carries(room, item):
        return False
    return place_again(room, item, rng)


def swap(room: Room, one: Object, other: Object) -> bool:
    """Exchange the upper and the lower thing of a stack."""
    upper, lower = (one, other) if one.attributes.get("on") == str(other.id) else (other, one)
    floor = lower.center[2] - lower.size[2] / 2
    x, y = lower.center[:2]
    upper.center = (x, y, floor + upper.size[2] / 2)
    lower.center = (x, y, floor + upper.size[2] + lower.size[2] / 2)
    below = {k: lower.attributes.pop(k) for k in RELATIONS if k in lower.attributes}
    del upper.attributes["on"]
    upper.attributes.update(below)
    lower.attributes["on"] = str(upper.id)
    support = next(iter(below.values()), None)
    others = [o for o in room.objects if o not in (upper, lower) and str(o.id) != support]
    return not any(collide(a, o, 0.0) for a in (upper, lower) for o in others)


def flipped(room: Room, example: Example, rng: np.random.Generator) -> Room | None:
    """A copy of the room with one change aimed at the example's answer, or None where none was
    found.
    """
    edited = copy.deepcopy(room)
    objects = [o for i in example.derivation["objects"] for o in edited.objects if o.id == i]
    return edited if aim(edited, example, objects, rng) else None


def aim(room: Room, example: Example, objects: list[Object], rng: np.random.Generator) -> bool:
    """Change what the question is about (``objects``), so that its answer should change."""
    kind, answer = example.kind, example.answers[0]
    if kind in ("stack order", "stacked"):
        return swap(room, *objects)
    named = kind == "existence" and example.derivation["about"][1]
    if kind == "colour" or (named and rng.random() < 0.5):
        return len(objects) == 1 and recolour(room, objects[0], rng)
    if kind in ("existence", "count"):
        return len(objects) > (kind == "count") and remove(room, objects[-1])
    if kind == "pattern":
        others = [p for p in PATTERNS if p != answer]
        return change(room, objects[0], kind, str(rng.choice(others)))
    if kind == "state":
        return change(room, objects[0], kind, "open" if answer == "closed" else "closed")
    if kind in ("place", "relation"):
        return move(room, objects[0], rng)
    moves = kind in ("situated", "nearest", "distance", "coordinates")
    return moves and move(room, objects[-1], rng)


def unrelated(room: Room, example: Example, rng: np.random.Generator) -> Room | None:
    """A copy of the room in which something that the question is not about has another colour or
    place.
    """
    edited = copy.deepcopy(room)
    ids, about = set(example.derivation["objects"]), example.derivation.get("about", ())
    named = {o.category for o in room.objects if o.id in ids} | set(about)
    others = [o for o in edited.objects if o.id not in ids and o.category not in named]
    free = [o for o in others if "colour" in o.attributes]
    if not free:
        return None
    item = free[rng.integers(len(free))]
    done = (rng.random() < 0.5 and move(edited, item, rng)) or recolour(edited, item, rng)
    return edited if done else None


EDITS = {"flip": flipped, "same": unrelated}


# -- pairs -----------------------------------------------------------------------------------------


def edit_pairs(
    room: Room, domain: str, scene: Scene, examples: list[Example], seed: int
) -> tuple[list[Scene], list[Example]]:
    """One question in three scenes: as recorded, after an edit that flips the answer, and after an
    edit that must not. The two edited scenes, and the three examples; nothing where no edit works.
    """
    rng = np.random.default_rng((seed, 6))
    asked = [e for e in examples if e.task == "qa"]
    asked = [asked[i] for i in rng.permutation(len(asked))]
    stacks_first = sorted(asked, key=lambda e: e.kind not in ("stack order", "stacked"))
    for example in stacks_first[:12]:
        pair = list(edited_scenes(room, domain, scene, example, rng))
        if len(pair) == 2:
            roles, asked_of = ("base", *EDITS), [example, *(again for _, again in pair)]
            return [other for other, _ in pair], [
                in_pair(e, example, role) for e, role in zip(asked_of, roles, strict=True)
            ]
    return [], []


def edited_scenes(
    room: Room, domain: str, scene: Scene, example: Example, rng: np.random.Generator
) -> Iterator[tuple[Scene, Example]]:
    """The room after a flip and after an unrelated edit, as long as both do what they should."""
    cameras = scene.intrinsics[0].numpy(), scene.camera_to_world.numpy()
    for role, edit in EDITS.items():
        edited = edit(room, example, rng)
        if edited is None:
            return
        # before the costly picture: would the answer be as wanted if everything were in sight?
        if not as_wanted(
            asked_again(SceneGraph(edited.objects, room.areas), example), example, role
        ):
            return
        other = record(edited, domain, name=f"{scene.name}-{role}", cameras=cameras)
        again = asked_again(visible_graph(other, room.areas), example)
        if not as_wanted(again, example, role):
            return
        yield other, dataclasses.replace(again, scene=other.name)


def as_wanted(again: Example | None, example: Example, role: str) -> bool:
    return again is not None and (again.answers == example.answers) == (role == "same")


def in_pair(example: Example, base: Example, role: str) -> Example:
    derivation = {**example.derivation, "pair": base.id, "role": role}
    return dataclasses.replace(example, id=f"{base.id}-{role}", derivation=derivation)
