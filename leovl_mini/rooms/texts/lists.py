"""Lists: the cheapest lessons in reading a scene (ours). A question is much text for one look; a
list looks up every few words.

A list names the things of a room in random order. Distance and counting questions in short form are
short lessons, too. A thing is named by its category, among several of a kind by its colour too;
where that does not tell them apart, it is left out.

Explained in notebook 07 (fine-tuning).
"""

import itertools
from collections import Counter
from collections.abc import Callable

import numpy as np

from leovl_mini.rooms.facts import RULES, SceneGraph, name_objects
from leovl_mini.rooms.furniture import CATEGORIES
from leovl_mini.rooms.texts.phrases import plural
from leovl_mini.scans.scene import RELATIONS, Object

LOOKS = ("colour", "pattern", "state")

EVERYTHING = "List everything."


def shuffled(objects: list[Object], rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(np.array(objects, dtype=object))


def object_list(objects: list[Object], rng: np.random.Generator) -> str:
    """What there is, how it looks and where: "mug blue plain, x 1.5, y -0.5; red chair striped, x
    0.0, y 2.0".
    """
    names, lines = name_objects(objects), []
    for item in shuffled(objects, rng):
        if item.id in names:
            looks = [item.attributes[a] for a in LOOKS if a in item.attributes]
            more = [word for word in looks if word not in names[item.id].split()]
            x, y = (round(v * 2) / 2 + 0.0 for v in item.center[:2])
            lines.append(f"{' '.join([names[item.id], *more])}, x {x:.1f}, y {y:.1f}")
    return "; ".join(lines)


def support_list(objects: list[Object], rng: np.random.Generator) -> str:
    """What lies on, under and inside what: "on white table: mug, red book; under bed: bag"."""
    names, lines = name_objects(objects), []
    for holder in shuffled(objects, rng):
        for relation in RELATIONS:
            ids = [o.id for o in objects if o.attributes.get(relation) == str(holder.id)]
            held = [names[i] for i in ids if i in names]
            if held and holder.id in names:
                lines.append(f"{relation} {names[holder.id]}: {', '.join(rng.permutation(held))}")
    return "; ".join(lines)


def count_list(objects: list[Object], rng: np.random.Generator) -> str:
    """How many there are of each category, and of some that are not there: "chair 3; sofa no; mug
    1".
    """
    numbers = Counter(o.category for o in objects)
    absent = [c for c in CATEGORIES if c not in numbers]
    listed = [*numbers, *rng.permutation(absent)[: len(numbers)]]
    return "; ".join(f"{c} {numbers[c] or 'no'}" for c in rng.permutation(listed))


# what is asked for, and what answers
LISTS: dict[str, Callable[[list[Object], np.random.Generator], str]] = {
    EVERYTHING: object_list,
    "What is on, under or inside what?": support_list,
    "How many are there of each?": count_list,
}

# share of the rooms with lists that have short questions instead, where there are any
SHORT_FORM = 0.6


def distance_questions(
    objects: list[Object], rng: np.random.Generator, most: int = 40
) -> list[tuple[str, str]]:
    """Which of two is nearer to a third, in short form: ("red chair blue chair desk", "red chair").

    In a sentence the three names stand far apart, and to bring their places together is hardly
    learned. Where there are several of a kind, most questions are about two of them: then places
    alone tell.
    """
    if len(name_objects(objects)) < 3:
        return []
    graph, found = SceneGraph(objects, []), {}
    rows = [i for i, o in enumerate(objects) if o.id in graph.names]
    pairs = [
        (i, j)
        for i, j in itertools.permutations(rows, 2)
        if objects[i].category == objects[j].category
    ]
    for _ in range(most):
        a, b, anchor = rng.choice(rows, 3, replace=False)
        if pairs and rng.random() < 0.8:
            a, b = pairs[rng.integers(len(pairs))]
        if anchor in (a, b):
            continue
        verdict = RULES["nearest"](graph, *(objects[i] for i in (anchor, a, b)))
        if verdict:
            names = (graph.names[objects[i].id] for i in (a, b, anchor))
            found[" ".join(names)] = verdict[0]
    return list(found.items())


def counting_questions(objects: list[Object], rng: np.random.Generator) -> list[tuple[str, str]]:
    """How many there are of a category, in short form: ("chairs", "3").

    Most categories are there once; of these, as many as of the others (but at least two): else "1"
    is nearly always right.
    """
    numbers = Counter(o.category for o in objects)
    once = rng.permutation([c for c, n in numbers.items() if n == 1])
    several = [c for c, n in numbers.items() if n > 1]
    asked = (*several, *once[: max(len(several), 2)])
    return [(plural(str(c)), str(numbers[c])) for c in asked]


def short_form_questions(objects: list[Object], rng: np.random.Generator) -> list[tuple[str, str]]:
    """Questions and answers: one list, or distance and counting questions; a list of everything,
    where there is nothing else to say.
    """
    if rng.random() < SHORT_FORM:
        short = distance_questions(objects, rng) + counting_questions(objects, rng)
        if short:
            return [short[i] for i in rng.permutation(len(short))]
    question = str(rng.choice(list(LISTS)))
    answer = LISTS[question](objects, rng)
    return [(question, answer) if answer else (EVERYTHING, object_list(objects, rng))]
