"""Lists: the cheapest lessons in reading a scene (ours). A question is much text for one look; a list looks up every few words.

Each list names the things of a room in random order. A thing is named by its category, among several of a kind by its colour too;
where that does not tell them apart, it is left out.
"""

from collections import Counter
from collections.abc import Callable

import numpy as np

from leovl_mini.rooms.furniture import FIXED, LARGE, SMALL
from leovl_mini.rooms.room import gaps
from leovl_mini.scene import RELATIONS, Object

NAMED = ("colour", "pattern", "state")
EVERYTHING = "List everything."


def names(objects: list[Object]) -> dict[int, str]:
    """{id: name} of the objects that a name tells apart."""
    kinds = Counter(o.category for o in objects)
    coloured = Counter((o.category, o.attributes.get("colour")) for o in objects)
    named = {o.id: o.category for o in objects if kinds[o.category] == 1}
    for item in objects:
        colour = item.attributes.get("colour")
        if kinds[item.category] > 1 and colour and coloured[item.category, colour] == 1:
            named[item.id] = f"{colour} {item.category}"
    return named


def inventory(objects: list[Object], rng: np.random.Generator) -> str:
    """What there is, how it looks and where: "mug blue plain, x 1.5, y -0.5; red chair striped, x 0.0, y 2.0"."""
    named, lines = names(objects), []
    for item in rng.permutation(np.array(objects, dtype=object)):
        if item.id in named:
            said = [item.attributes[a] for a in NAMED if a in item.attributes and item.attributes[a] not in named[item.id].split()]
            x, y = (round(v * 2) / 2 + 0.0 for v in item.center[:2])
            lines.append(f"{' '.join([named[item.id], *said])}, x {x:.1f}, y {y:.1f}")
    return "; ".join(lines)


def holdings(objects: list[Object], rng: np.random.Generator) -> str:
    """What lies on, under and inside what: "on white table: mug, red book; under bed: bag"."""
    named, lines = names(objects), []
    for holder in rng.permutation(np.array(objects, dtype=object)):
        for relation in RELATIONS:
            held = [named[o.id] for o in objects if o.attributes.get(relation) == str(holder.id) and o.id in named]
            if held and holder.id in named:
                lines.append(f"{relation} {named[holder.id]}: {', '.join(rng.permutation(held))}")
    return "; ".join(lines)


def counts(objects: list[Object], rng: np.random.Generator) -> str:
    """How many there are of each category, and of some that are not there: "chair 3; sofa no; mug 1"."""
    many = Counter(o.category for o in objects)
    absent = [c for c in (*LARGE, *SMALL, *FIXED) if c not in many]
    asked = [*many, *rng.permutation(absent)[: len(many)]]
    return "; ".join(f"{c} {many[c] or 'no'}" for c in rng.permutation(asked))


def neighbours(objects: list[Object], rng: np.random.Generator, margin: float = 0.2) -> str:
    """What is nearest to each thing, apart from what it lies on or holds: "laptop nearest orange book; chair nearest desk".

    Left out where the second nearest is less than ``margin`` metres farther.
    """
    named, lines = names(objects), []
    if len(objects) < 3:
        return ""
    distance = gaps(objects) + np.diag([np.inf] * len(objects))
    row = {str(o.id): i for i, o in enumerate(objects)}
    for i, item in enumerate(objects):
        for holder in (row[item.attributes[r]] for r in RELATIONS if item.attributes.get(r) in row):
            distance[i, holder] = distance[holder, i] = np.inf
    for i in rng.permutation(len(objects)):
        near, second = np.argsort(distance[i])[:2]
        if {objects[i].id, objects[near].id} <= named.keys() and distance[i, second] - distance[i, near] >= margin:
            lines.append(f"{named[objects[i].id]} nearest {named[objects[near].id]}")
    return "; ".join(lines)


LISTS: dict[str, Callable[[list[Object], np.random.Generator], str]] = {  # what is asked for, and what answers
    EVERYTHING: inventory,
    "What is on, under or inside what?": holdings,
    "How many are there of each?": counts,
    "What is nearest to each?": neighbours,
}


def list_question(objects: list[Object], rng: np.random.Generator) -> tuple[str, str]:
    """One list's question and answer; everything, where there is nothing else to say."""
    question = str(rng.choice(list(LISTS)))
    answer = LISTS[question](objects, rng)
    return (question, answer) if answer else (EVERYTHING, inventory(objects, rng))
