"""Pairs for SceneDPO: a question with its right answer in its scene, a wrong answer, and a scene
where the right one is false.

LEO-VL's paper does not say how wrong answers and wrong scenes are drawn; every choice here is ours.
Both are checked against the rooms' objects, not assumed: a scene drawn at random keeps most answers
to "is there ...?" true. Explained in notebook 09 (scenedpo).
"""

import functools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leovl_mini.data.examples import Example, dumps
from leovl_mini.data.files import atomic_write
from leovl_mini.evaluate.answers import score_answer
from leovl_mini.rooms.dataset import RoomDataset
from leovl_mini.rooms.edits import asked_elsewhere
from leovl_mini.rooms.facts import SceneGraph, visible_graph
from leovl_mini.rooms.room import parse_name
from leovl_mini.scans.scene import InputError

REASONS = ("own generation", "same kind")  # where the wrong answer comes from


TYPES = ("random", "presupposition", "edit")  # how the wrong scene was found


CHOICES = (
    "nearest",
    "taller",
    "stack order",
)  # questions that name two things, of which the answer is one


@dataclass(frozen=True)
class Pair:
    """``example``: question, scene s✓ and right answer a✓ = ``answers[0]``. ``rejected``: a✗, false
    in s✓. ``negative``: the name of s✗, where a✓ is false.
    """

    example: Example
    rejected: str
    reason: str  # one of REASONS
    negative: str
    type: str  # one of TYPES

    def __post_init__(self):
        if self.reason not in REASONS or self.type not in TYPES:
            raise ValueError(
                f"unknown reason {self.reason!r} or type {self.type!r}; "
                f"there are: {', '.join(REASONS + TYPES)}"
            )


def save_pairs(pairs: Iterable[Pair], path: Path) -> None:
    """One pair per line of JSON; the file appears when it is complete."""
    lines = [
        json.dumps({**vars(pair), "example": json.loads(dumps(pair.example))}, ensure_ascii=False)
        for pair in pairs
    ]
    with atomic_write(path.parent) as partial:
        (partial / path.name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def load_pairs(path: Path) -> list[Pair]:
    if not path.is_file():
        raise InputError(
            f"{path} does not exist; pairs are made by: leovl-mini reproduce post-training"
        )
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Pair(**{**row, "example": Example(**row["example"])}) for row in rows]


# -- what is false ---------------------------------------------------------------------------------


def is_wrong(answer: str, example: Example) -> bool:
    """Whether an answer scores 0 by every metric, lenient ones included: it paraphrases no accepted
    answer, contains none and is in none; a number is off by more than half, coordinates by more
    than a cell.
    """
    return not any(score_answer(answer, example).values())


def refuted(graph: SceneGraph, example: Example) -> bool:
    """Whether the example's first answer is false in this room: the same words have another answer
    here, or speak of things that are not here at all, in sight or not. Where things are hidden or
    names ambiguous nothing is refuted.
    """
    again, answer = asked_elsewhere(graph, example), example.answers[0]
    if again is not None:
        return is_wrong(answer, again)
    if example.kind == "count":
        return not graph.matching(*example.derivation["about"])
    if example.kind == "existence" or answer == "no":
        return False  # a missing mug is on no table: "no" stays true
    # Of two things to choose from the one that is left may be thought right, so the chosen one must
    # be missing.
    names = [answer] if example.kind in CHOICES else example.derivation["slots"].values()
    return any(not graph.has(name) for name in names)


# -- wrong answers and wrong scenes ----------------------------------------------------------------


def form(answer: str) -> str:
    """An answer with all numbers alike: "x 1.5, y -0.5" and "x 0.0, y 2.0" have the same form."""
    return re.sub(r"-?\d+", "0", answer)


def answer_negative(
    example: Example, on_policy: str | None, answers: Counter, rng: np.random.Generator
) -> tuple[str, str] | None:
    """A wrong answer of the same kind with its reason, or None.

    The model's own answer (``on_policy``), if it is wrong and has the form of an answer to this
    kind of question; else the other one of two candidates; else one of the ``answers`` to questions
    of this kind, as often as it occurs among them.
    """
    slots = example.derivation["slots"]
    likely = Counter((slots["a"], slots["b"])) if example.kind in CHOICES else answers
    forms = {form(answer) for answer in likely}
    if on_policy is not None and form(on_policy) in forms and is_wrong(on_policy, example):
        return on_policy, "own generation"
    wrong = [answer for answer in sorted(likely) if is_wrong(answer, example)]
    if not wrong:
        return None
    share = np.array([likely[answer] for answer in wrong])
    return str(rng.choice(wrong, p=share / share.sum())), "same kind"


def scene_negatives(
    example: Example,
    rooms: Sequence[str],
    graph: Callable[[str], SceneGraph],
    edited: Example | None,
    rng: np.random.Generator,
) -> dict[str, str]:
    """{type: name} of scenes in which the example's first answer is false, as far as there are any.

    "random": the first of ``rooms``, in random order, that refutes it; often because things asked
    about are missing. "presupposition": the first in which the question makes sense, with another
    answer. "edit": the scene of ``edited``, which asks the same after one change to the room.
    """
    own = parse_name(example.scene).room
    order = [rooms[i] for i in rng.permutation(len(rooms)) if rooms[i] != own]
    answer, found = example.answers[0], {}
    found["random"] = next((name for name in order if refuted(graph(name), example)), None)
    # Reversed: another room than the random one.
    again = ((name, asked_elsewhere(graph(name), example)) for name in reversed(order))
    found["presupposition"] = next(
        (name for name, other in again if other and is_wrong(answer, other)), None
    )
    found["edit"] = edited.scene if edited and is_wrong(answer, edited) else None
    return {type: name for type, name in found.items() if name}


def make_pairs(
    examples: Iterable[Example],
    graph: Callable[[str], SceneGraph],
    scenes: Container[str],
    domain: str = "",
    on_policy: dict[str, str] | None = None,
    seed: int = 0,
) -> list[Pair]:
    """Short questions about ``scenes`` (say, a feature cache) of a domain ("" = all), once for
    every type of wrong scene there is.

    Wrong scenes are rooms of the same domain that other examples ask about, so a split stays a
    split. ``on_policy`` maps the ids of examples to the model's own answers. Edits need the splits
    ``pairs-*``. Questions without a wrong answer or scene are left out.
    """
    questions = [
        e
        for e in examples
        if e.task == "qa" and e.scene in scenes and domain in ("", parse_name(e.scene).domain)
    ]
    answers: dict[str, Counter] = defaultdict(Counter)
    rooms: dict[str, dict[str, None]] = defaultdict(dict)
    roles = {
        (e.derivation["pair"], e.derivation["role"]): e for e in questions if "pair" in e.derivation
    }
    for example in questions:
        answers[example.kind][example.answers[0]] += 1
        if not parse_name(example.scene).edit:  # edited copies of a room are no other rooms
            rooms[parse_name(example.scene).domain][example.scene] = None
    pairs = []
    for i, example in enumerate(questions):
        rng = np.random.default_rng((seed, i))
        own = (on_policy or {}).get(example.id)
        wrong = answer_negative(example, own, answers[example.kind], rng)
        role = example.derivation.get("role")
        edited = roles.get((example.derivation.get("pair"), "base" if role == "flip" else "flip"))
        if wrong:
            others = list(rooms[parse_name(example.scene).domain])
            found = scene_negatives(example, others, graph, edited, rng)
            pairs += [Pair(example, *wrong, name, type) for type, name in found.items()]
    return pairs


def visible_graphs(rooms: RoomDataset) -> Callable[[str], SceneGraph]:
    """What the frames of made rooms show, by name; each is looked at once."""
    return functools.cache(lambda name: visible_graph(rooms.scene(name), rooms.graph(name).areas))
