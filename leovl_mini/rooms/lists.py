"""Lists: the cheapest lessons in reading a scene (ours). A question is much text for one look; a
list looks up every few words.

A list names the things of a room in random order. Comparisons and tallies in shorthand are short
lessons, too. A thing is named by its category, among several of a kind by its colour too; where
that does not tell them apart, it is left out.
"""

import itertools
from collections import Counter
from collections.abc import Callable

import numpy as np

from leovl_mini.rooms.furniture import FIXED, LARGE, SMALL
from leovl_mini.rooms.questions import plural
from leovl_mini.rooms.room import gaps
from leovl_mini.scans.scene import RELATIONS, Object

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


def object_list(objects: list[Object], rng: np.random.Generator) -> str:
    """What there is, how it looks and where: "mug blue plain, x 1.5, y -0.5; red chair striped, x
    0.0, y 2.0".
    """
    named, lines = names(objects), []
    for item in rng.permutation(np.array(objects, dtype=object)):
        if item.id in named:
            said = [
                item.attributes[a]
                for a in NAMED
                if a in item.attributes and item.attributes[a] not in named[item.id].split()
            ]
            x, y = (round(v * 2) / 2 + 0.0 for v in item.center[:2])
            lines.append(f"{' '.join([named[item.id], *said])}, x {x:.1f}, y {y:.1f}")
    return "; ".join(lines)


def support_list(objects: list[Object], rng: np.random.Generator) -> str:
    """What lies on, under and inside what: "on white table: mug, red book; under bed: bag"."""
    named, lines = names(objects), []
    for holder in rng.permutation(np.array(objects, dtype=object)):
        for relation in RELATIONS:
            held = [
                named[o.id]
                for o in objects
                if o.attributes.get(relation) == str(holder.id) and o.id in named
            ]
            if held and holder.id in named:
                lines.append(f"{relation} {named[holder.id]}: {', '.join(rng.permutation(held))}")
    return "; ".join(lines)


def count_list(objects: list[Object], rng: np.random.Generator) -> str:
    """How many there are of each category, and of some that are not there: "chair 3; sofa no; mug
    1".
    """
    many = Counter(o.category for o in objects)
    absent = [c for c in (*LARGE, *SMALL, *FIXED) if c not in many]
    asked = [*many, *rng.permutation(absent)[: len(many)]]
    return "; ".join(f"{c} {many[c] or 'no'}" for c in rng.permutation(asked))


LISTS: dict[
    str, Callable[[list[Object], np.random.Generator], str]
] = {  # what is asked for, and what answers
    EVERYTHING: object_list,
    "What is on, under or inside what?": support_list,
    "How many are there of each?": count_list,
}


# share of the rooms with lists that have comparisons and tallies instead, where there are any
SHORTHAND = 0.6


def distance_questions(
    objects: list[Object], rng: np.random.Generator, most: int = 40
) -> list[tuple[str, str]]:
    """Which of two is nearer to a third, in shorthand: ("red chair blue chair desk", "red chair").
    As clear as ``facts.nearest``.

    In a sentence the three names stand far apart, and to bring their places together is hardly
    learned. Where there are several of a kind, most comparisons are about two of them: then places
    alone tell.
    """
    named, said = names(objects), {}
    rows = [i for i, o in enumerate(objects) if o.id in named]
    if len(rows) < 3:
        return []
    pairs = [
        pair
        for pair in itertools.permutations(rows, 2)
        if len({objects[i].category for i in pair}) == 1
    ]
    distance, name = gaps(objects), {i: named[objects[i].id] for i in rows}
    for _ in range(most):
        a, b, anchor = rng.choice(rows, 3, replace=False)
        if pairs and rng.random() < 0.8:
            a, b = pairs[rng.integers(len(pairs))]
        near, far = sorted((a, b), key=lambda i: distance[anchor, i])
        d, e = distance[anchor, [near, far]]
        if anchor not in (a, b) and e - d >= 0.3 and e >= 1.3 * d:
            said[f"{name[a]} {name[b]} {name[anchor]}"] = name[near]
    return list(said.items())


def counting_questions(objects: list[Object], rng: np.random.Generator) -> list[tuple[str, str]]:
    """How many there are of a category, in shorthand: ("chairs", "3").

    Most categories are there once; of these, as many as of the others (but at least two): else "1"
    is nearly always right.
    """
    many = Counter(o.category for o in objects)
    once = rng.permutation([c for c, n in many.items() if n == 1])
    several = [c for c, n in many.items() if n > 1]
    return [(plural(str(c)), str(many[c])) for c in (*several, *once[: max(len(several), 2)])]


def short_form_questions(objects: list[Object], rng: np.random.Generator) -> list[tuple[str, str]]:
    """Questions and answers: one list, or comparisons and tallies; a list of everything, where
    there is nothing else to say.
    """
    if rng.random() < SHORTHAND and (
        shorthand := distance_questions(objects, rng) + counting_questions(objects, rng)
    ):
        return [shorthand[i] for i in rng.permutation(len(shorthand))]
    question = str(rng.choice(list(LISTS)))
    answer = LISTS[question](objects, rng)
    return [(question, answer) if answer else (EVERYTHING, object_list(objects, rng))]
