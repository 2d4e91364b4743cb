"""Questions about a room, with answers that follow from ``facts``, in at least eight wordings a
kind (``phrases.json``).
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from leovl_mini.data.examples import Example
from leovl_mini.rooms.facts import COUNTED, RULES, SceneGraph
from leovl_mini.rooms.furniture import COLOURS, LARGE, SMALL
from leovl_mini.rooms.layout import UNCOLOURED
from leovl_mini.rooms.places import STACKABLE
from leovl_mini.rooms.room import to_footprint
from leovl_mini.scans.scene import Object

PHRASES: dict[str, list[str]] = json.loads(
    Path(__file__).with_name("phrases.json").read_text(encoding="utf-8")
)


NUMBER_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


# how many questions of each kind a room gives at most
PER_ROOM = {
    "existence": 8,
    "count": 4,
    "colour": 5,
    "pattern": 4,
    "state": 3,
    "contents on": 2,
    "contents under": 2,
    "contents inside": 2,
    "place": 4,
    "relation": 4,
    "situated": 8,
    "nearest": 6,
    "taller": 6,
    "height": 2,
    "length": 2,
    "distance": 2,
    "room size": 1,
    "coordinates": 3,
    "stack order": 2,
    "stacked": 2,
}


SLOTS = {
    **dict.fromkeys(
        ("colour", "pattern", "state", "place", "height", "length", "coordinates", "situated"),
        ("ref",),
    ),
    **dict.fromkeys(("contents on", "contents under", "contents inside"), ("host",)),
    **dict.fromkeys(("relation", "taller", "distance", "stack order", "stacked"), ("a", "b")),
    "nearest": ("anchor", "a", "b"),
}


def say(key: str, rng: np.random.Generator, **slots: str) -> str:
    """One of the wordings of ``key``."""
    return PHRASES[key][rng.integers(len(PHRASES[key]))].format(**slots)


def with_article(thing: str) -> str:
    return f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}"


def plural(thing: str) -> str:
    return thing.removesuffix("f") + "ves" if thing.endswith("shelf") else thing + "s"


def thing(category: str, colour: str | None = None) -> str:
    return f"{colour} {category}" if colour else category


def derive(
    kind: str, world: SceneGraph, arguments: tuple, seen_from: tuple[int, ...] = ()
) -> tuple[list[str], dict] | None:
    """All accepted answers and their derivation, or None where the answer is not clear."""
    verdict = RULES[kind](world, *arguments)
    if verdict is None:
        return None
    answer, margin = verdict
    derivation = {"rule": kind, "slots": {}, "objects": [], "margin": round(margin, 3)}
    if kind in ("existence", "count"):
        derivation["about"] = list(arguments)  # category, and colour if one was named
        name = thing(*arguments)
        derivation["slots"] = (
            {"a_thing": with_article(name)} if kind == "existence" else {"things": plural(name)}
        )
        objects = world.matching(*arguments)
    else:
        objects = [o for o in arguments if isinstance(o, Object)]
        derivation["slots"] = {
            slot: world.refs[o.id] for slot, o in zip(SLOTS.get(kind, ()), objects, strict=True)
        }
    derivation["objects"] = [*seen_from, *(o.id for o in objects)]
    return ([answer, NUMBER_WORDS[int(answer)]] if kind == "count" else [answer]), derivation


def question(
    kind: str, world: SceneGraph, rng: np.random.Generator, arguments: tuple, seen_from=(), **fields
) -> Example | None:
    """The question of this kind about these arguments of its rule, or None where the answer is not
    clear.
    """
    derived = derive(kind, world, arguments, seen_from)
    if derived is None:
        return None
    answers, derivation = derived
    return Example(
        "",
        "",
        "qa",
        kind,
        say(kind, rng, **derivation["slots"]),
        answers,
        derivation=derivation,
        **fields,
    )


def questions(world: SceneGraph, rng: np.random.Generator) -> Iterator[Example]:
    """Up to ``PER_ROOM`` questions of every kind; where there are more, answers are taken in turn."""
    for kind, most in PER_ROOM.items():
        by_answer = defaultdict(list)
        for candidate in candidates(kind, world, rng):
            if candidate is not None:
                by_answer[candidate.answers[0]].append(candidate)
        groups = [by_answer[answer] for answer in rng.permutation(sorted(by_answer))]
        turns = [group[i] for i in range(most) for group in groups if i < len(group)]
        yield from turns[:most]


def candidates(kind: str, world: SceneGraph, rng: np.random.Generator) -> Iterator[Example | None]:
    """Questions of one kind with arguments drawn at random, some of them None."""
    many = 4 * PER_ROOM[kind]
    seen = world.askable
    if kind == "room size":
        yield question(kind, world, rng, ())
    elif kind == "existence":
        present = sorted({o.category for o in world.objects if o.category in COUNTED})
        for _ in range(many):
            category = str(rng.choice(present if rng.random() < 0.6 else COUNTED))
            coloured = rng.random() < 0.5 and category not in UNCOLOURED
            yield question(
                kind, world, rng, (category, str(rng.choice(list(COLOURS))) if coloured else None)
            )
            found = [
                o
                for o in world.objects
                if o.id in world.clear and o.category in COUNTED and "colour" in o.attributes
            ]
            if found:
                item = found[rng.integers(len(found))]
                yield question(
                    kind,
                    world,
                    rng,
                    (item.category, item.attributes["colour"] if rng.random() < 0.5 else None),
                )
    elif kind == "count":
        for category in rng.permutation([*sorted({o.category for o in world.objects})]):
            yield question(kind, world, rng, (str(category),))
    elif kind == "situated":
        for _ in range(many):
            yield situated_question(world, rng)
    elif kind in ("stack order", "stacked"):
        for upper in seen:
            lower = world.host(upper)
            if (
                upper.category in STACKABLE
                and lower
                and lower[1] in seen
                and lower[1].category in STACKABLE
            ):
                pair = (upper, lower[1])
                yield question(kind, world, rng, pair if rng.random() < 0.5 else pair[::-1])
                yield question(kind, world, rng, pair if rng.random() < 0.5 else pair[::-1])
    elif kind == "relation":
        for item in seen:
            near = [o for o in seen if o is not item and world.gap(item, o) <= 0.4]
            for other in near:
                yield question(kind, world, rng, (item, other))
    elif SLOTS[kind] in (("ref",), ("host",)):
        for item in rng.permutation(np.array(seen, dtype=object)):
            if not (
                kind == "colour" and item.attributes.get("colour", "none") in world.refs[item.id]
            ):
                if not (kind == "place" and item.category not in SMALL):
                    yield question(kind, world, rng, (item,))
    elif len(seen) >= 4:
        twins = [(a, b) for i, a in enumerate(seen) for b in seen[:i] if a.category == b.category]
        for _ in range(many):
            *anchor, a, b = (
                seen[i] for i in rng.choice(len(seen), len(SLOTS[kind]), replace=False)
            )
            if (
                kind in ("nearest", "taller") and twins and rng.random() < 0.8
            ):  # words alone say nothing about two of a kind
                a, b = rng.permutation(np.array(twins[rng.integers(len(twins))], dtype=object))
                if a in anchor or b in anchor:
                    continue
            yield question(kind, world, rng, (*anchor, a, b))


def situated_question(world: SceneGraph, rng: np.random.Generator) -> Example | None:
    """Stand on free floor beside something large, face something else, and ask where a third thing
    is (as in SQA3D).
    """
    anchors = [o for o in world.askable if o.category in LARGE]
    if not anchors or len(world.askable) < 4:
        return None
    at = anchors[rng.integers(len(anchors))]
    area = world.area_of(at)
    floor = world.floor(area)
    stands = floor[to_footprint(floor, at) < 0.6]
    others = [o for o in world.askable if o is not at and world.area_of(o) is area]
    if not len(stands) or len(others) < 2:
        return None
    x, y = stands[rng.integers(len(stands))].round(2)
    facing, target = (others[i] for i in rng.choice(len(others), 2, replace=False))
    if np.hypot(facing.center[0] - x, facing.center[1] - y) < 0.7:
        return None
    heading = float(np.arctan2(facing.center[1] - y, facing.center[0] - x))
    return question(
        "situated",
        world,
        rng,
        (np.array([x, y]), heading, target),
        situation=say("situation", rng, at=world.refs[at.id], facing=world.refs[facing.id]),
        position=[float(x), float(y), 0.0],
        heading=round(heading, 4),
        seen_from=(at.id, facing.id),
    )


def groundings(world: SceneGraph, rng: np.random.Generator, most: int = 2) -> Iterator[Example]:
    """Find all objects that a description fits: one, several or none."""
    seen, by_kind = [o for o in world.objects if o.category in COUNTED], defaultdict(list)
    for _ in range(12 * most):
        item = seen[rng.integers(len(seen))]
        host = world.host(item)
        slots, found = {}, []
        if host and host[0] == "on" and rng.random() < 0.4 and host[1] in world.askable:
            found = [o for o in world.held(host[1], "on") if o.category == item.category]
            slots = {"thing": item.category, "host": world.refs[host[1].id]}
        elif "colour" in item.attributes:
            colour = (
                str(rng.choice(list(COLOURS))) if rng.random() < 0.4 else item.attributes["colour"]
            )
            wanted = (item.category, None if rng.random() < 0.4 else colour)
            found, slots = world.matching(*wanted), {"thing": thing(*wanted)}
        if not slots or not all(o.id in world.clear for o in found):
            continue
        kind, key = (
            ("zero", "unique", "multiple")[min(len(found), 2)],
            "ground on" if "host" in slots else "ground",
        )
        ids = sorted(o.id for o in found)
        answer = " ".join(f"<OBJ{i:03d}>" for i in ids) or "none"
        derivation = {
            "rule": key,
            "slots": slots,
            "objects": ids + ([host[1].id] if "host" in slots else []),
        }
        by_kind[kind].append(
            Example(
                "",
                "",
                "grounding",
                kind,
                say(key, rng, **slots),
                [answer],
                targets=ids,
                derivation=derivation,
            )
        )
    for group in by_kind.values():
        yield from group[:most]
