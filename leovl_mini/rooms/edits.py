"""Minimal edits: the same room and cameras with one change that flips an answer, or with one change
that must not.
"""

import copy
import dataclasses

import numpy as np

from leovl_mini.data.examples import Example
from leovl_mini.rooms.cameras import expose
from leovl_mini.rooms.facts import SceneGraph, visible_graph
from leovl_mini.rooms.furniture import COLOURS, PATTERNS
from leovl_mini.rooms.layout import HELD_OUT, place_again
from leovl_mini.rooms.places import MOVABLE
from leovl_mini.rooms.questions import derive
from leovl_mini.rooms.room import Room, build, collide, within
from leovl_mini.scans.scene import RELATIONS, Object, Scene


def asked_elsewhere(world: SceneGraph, example: Example) -> Example | None:
    """The same words in another room, about the things that have the same names there; with that
    room's answers.

    None where a name fits nothing that is in sight there, or several things, or where the answer is
    unclear; and for questions asked from a spot in the room (``situated``), which has no
    counterpart elsewhere. ``scene`` is left as it is.
    """
    if example.kind == "situated":
        return None
    named = {world.refs[o.id]: o.id for o in world.askable}
    ids = [named.get(name) for name in example.derivation["slots"].values()]
    return asked_again(
        world, dataclasses.replace(example, derivation={**example.derivation, "objects": ids})
    )


def named(world: SceneGraph, name: str) -> bool:
    """Whether "chair" or "red chair" fits anything in a room."""
    return any(
        name in (o.category, f"{o.attributes.get('colour')} {o.category}") for o in world.objects
    )


def recolour(room: Room, item: Object, rng: np.random.Generator) -> bool:
    choices = [
        c for c in COLOURS if c not in (item.attributes.get("colour"), HELD_OUT.get(item.category))
    ]
    return "colour" in item.attributes and change(room, item, "colour", str(rng.choice(choices)))


def change(room: Room, item: Object, attribute: str, value: str) -> bool:
    item.attributes[attribute] = value
    room.parts[room.objects.index(item)] = build(item)
    return True


def carries(room: Room, item: Object) -> bool:
    return any(
        str(item.id)
        in (o.attributes.get("on"), o.attributes.get("under"), o.attributes.get("inside"))
        for o in room.objects
    )


def remove(room: Room, item: Object) -> bool:
    """Take an object away, unless something belongs to it."""
    index = room.objects.index(item)
    if carries(room, item):
        return False
    del room.objects[index], room.parts[index]
    return True


def move(room: Room, item: Object, rng: np.random.Generator) -> bool:
    if item.category not in MOVABLE or carries(room, item):
        return False
    return place_again(room, next(a for a in room.areas if within(a, item)), item, rng)


def swap(room: Room, one: Object, other: Object) -> bool:
    """Exchange the upper and the lower thing of a stack."""
    upper, lower = (one, other) if one.attributes.get("on") == str(other.id) else (other, one)
    bottom = lower.center[2] - lower.size[2] / 2
    x, y = lower.center[:2]
    upper.center = (x, y, bottom + upper.size[2] / 2)
    lower.center = (x, y, bottom + upper.size[2] + lower.size[2] / 2)
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
    edited, kind = copy.deepcopy(room), example.kind
    objects = [o for i in example.derivation["objects"] for o in edited.objects if o.id == i]
    done = False
    if kind in ("stack order", "stacked"):
        done = swap(edited, *objects)
    elif kind == "colour" or (
        kind == "existence" and example.derivation["about"][1] and rng.random() < 0.5
    ):
        done = len(objects) == 1 and recolour(edited, objects[0], rng)
    elif kind in ("existence", "count"):
        done = len(objects) > (kind == "count") and remove(edited, objects[-1])
    elif kind == "pattern":
        others = [p for p in PATTERNS if p != example.answers[0]]
        done = change(edited, objects[0], "pattern", str(rng.choice(others)))
    elif kind == "state":
        done = change(
            edited, objects[0], "state", {"open": "closed", "closed": "open"}[example.answers[0]]
        )
    elif kind in ("place", "relation"):
        done = move(edited, objects[0], rng)
    elif kind in ("situated", "nearest", "distance", "coordinates"):
        done = move(edited, objects[-1], rng)
    return edited if done else None


def unrelated(room: Room, example: Example, rng: np.random.Generator) -> Room | None:
    """A copy of the room in which something that the question is not about has another colour or
    place.
    """
    edited = copy.deepcopy(room)
    ids = set(example.derivation["objects"])
    named = {o.category for o in room.objects if o.id in ids} | set(
        example.derivation.get("about", ())
    )
    free = [
        o
        for o in edited.objects
        if o.id not in ids and o.category not in named and "colour" in o.attributes
    ]
    if not free:
        return None
    item = free[rng.integers(len(free))]
    done = (rng.random() < 0.5 and move(edited, item, rng)) or recolour(edited, item, rng)
    return edited if done else None


def asked_again(world: SceneGraph, example: Example) -> Example | None:
    """The same words in another world; None where they would mean something else there, or the
    answer is unclear.
    """
    kind, derivation, seen_from = example.kind, example.derivation, ()
    if kind in ("existence", "count"):
        arguments = tuple(derivation["about"])
    else:
        objects = [world.by_id.get(i) for i in derivation["objects"]]
        if any(o is None or o.id not in world.clear or not world.refs[o.id] for o in objects):
            return None
        arguments = tuple(objects)
        if kind == "situated":
            at, facing, target = objects
            x, y = example.position[:2]
            if (
                abs(np.arctan2(facing.center[1] - y, facing.center[0] - x) - example.heading) > 0.01
            ):  # what is faced has moved
                return None
            arguments, seen_from = (np.array([x, y]), example.heading, target), (at.id, facing.id)
    derived = derive(kind, world, arguments, seen_from)
    if derived is None or derived[1]["slots"] != derivation["slots"]:
        return None
    return dataclasses.replace(example, answers=derived[0], derivation=derived[1])


def edit_pairs(
    room: Room, domain: str, scene: Scene, found: list[Example], seed: int
) -> tuple[list[Scene], list[Example]]:
    """One question in three scenes: as recorded, after an edit that flips the answer, and after an
    edit that must not.
    """
    rng = np.random.default_rng((seed, 6))
    asked = [e for e in found if e.task == "qa"]
    asked = [asked[i] for i in rng.permutation(len(asked))]
    stacks_first = sorted(asked, key=lambda e: e.kind not in ("stack order", "stacked"))
    K, poses = scene.intrinsics[0].numpy(), scene.camera_to_world.numpy()
    for example in stacks_first[:12]:
        scenes, told = [], [example]
        for role, change in (("flip", flipped), ("same", unrelated)):
            edited = change(room, example, rng)
            if edited is None:
                break
            # before the costly picture: would the answer be as wanted if everything were in sight?
            in_sight = SceneGraph(edited.objects, room.areas, {o.id for o in edited.objects})
            expected = asked_again(in_sight, example)
            if expected is None or (expected.answers == example.answers) != (role == "same"):
                break
            other = expose(edited, domain, K, poses, f"{scene.name}-{role}")
            again = asked_again(visible_graph(other, room.areas), example)
            if again is None or (again.answers == example.answers) != (role == "same"):
                break
            scenes.append(other)
            told.append(dataclasses.replace(again, scene=other.name))
        if len(scenes) == 2:
            roles = ("base", "flip", "same")
            return scenes, [
                dataclasses.replace(
                    e,
                    id=f"{example.id}-{r}",
                    derivation={**e.derivation, "pair": example.id, "role": r},
                )
                for e, r in zip(told, roles, strict=True)
            ]
    return [], []
