"""Captions read back into facts: against the derivations, the independent solver, other rooms, and
planted mistakes.
"""

import itertools
import json
import math
import re

import numpy as np
import pytest
from solver import REFERENCES as NAMING_SLOTS
from solver import TRUE, Disagreement
from solver import Room as SolverRoom

from leovl_mini.data.examples import load_examples
from leovl_mini.data.samples import samples_folder
from leovl_mini.evaluate.facts import EXPRESSIONS, fact_scores, holds, read
from leovl_mini.rooms.facts import SceneGraph
from leovl_mini.rooms.furniture import COLOURS
from leovl_mini.rooms.room import Area
from leovl_mini.rooms.texts.phrases import PHRASES, plural, with_article
from leovl_mini.scans.scene import Object


def told_in(example):
    return (
        example.derivation.get("facts")
        or (example.derivation.get("turns") or [{"facts": []}])[-1]["facts"]
    )


def bundled():
    """The world, the solver's room and the composed examples of every bundled room."""
    rooms = {}
    for folder in sorted((samples_folder() / "rooms").iterdir()):
        scene = json.loads((folder / "scene.json").read_text())
        world = SceneGraph.from_json(scene)
        texts = [e for e in load_examples(folder / "examples.jsonl") if told_in(e)]
        rooms[folder.name] = world, SolverRoom(scene["objects"], scene["areas"]), texts
    return rooms


ROOMS = bundled()
REFERENCES = [(world, example) for world, _, examples in ROOMS.values() for example in examples]
SAME_PLACE = {"rscan_2", "rscan_3"}  # one room scanned twice


def test_reference_texts_are_all_true_and_tell_everything():
    assert len(REFERENCES) >= 80
    for world, example in REFERENCES:
        scores = fact_scores(example.answers[0], world, example)
        expected = sum(not fact["rule"].startswith("step end ") for fact in told_in(example))
        assert (scores.precision, scores.recall, scores.unread) == (1, 1, 0), example.id
        assert scores.true == scores.stated == scores.told == scores.expected == expected


def test_every_sentence_has_one_reading_which_is_its_derivation():
    for _, example in REFERENCES:
        for fact in told_in(example):
            readings = {
                (k, tuple(m.groupdict().items()))
                for k, e in EXPRESSIONS
                if (m := e.fullmatch(fact["text"]))
            }
            assert [(k, dict(slots)) for k, slots in readings] == [(fact["rule"], fact["slots"])]


def slots_of(rule):
    return re.findall(r"{(\w+)}", PHRASES[rule][0])


def invented(rule, world, rng):
    """A statement or step about random objects, with values that are often right."""
    names = list(world.names.values())
    objects = dict(zip(slots_of(rule), rng.permutation(len(names)), strict=False))
    slots = {slot: names[i] for slot, i in objects.items()}
    first, second = (
        [o for o in world.objects if world.name(o) == names[i]][0]
        for i in [*objects.values(), 0, 1][:2]
    )
    if rng.random() < 0.7:  # many relations only hold for neighbours
        second = rng.choice(
            np.array([o for o in world.objects if world.name(o) and o is not first], dtype=object)
        )
        held_by = world.host(first)
        second = held_by[1] if held_by and world.name(held_by[1]) and rng.random() < 0.7 else second
        near = world.nearest_large(first)[0]
        second = near if world.name(near) and near is not first and rng.random() < 0.6 else second
        slots |= {
            slot: world.name(second)
            for slot in ("b", "host")
            if slot in slots and second is not first
        }
    off = rng.choice([0, 0, 1, 2, -1])
    item = rng.choice(np.array(world.objects, dtype=object))
    colour, pattern = (item.attributes.get(k, "red") for k in ("colour", "pattern"))
    look = " ".join(
        [colour] * (rng.random() < 0.5)
        + [pattern] * (pattern not in ("plain", "red"))
        + [item.category]
    )
    kind = str(rng.choice([item.category, "chair", "lamp"]))
    area = world.areas[0]
    values = {
        "a_thing": with_article(look),
        "things": plural(kind),
        "number": str(max(1, len(world.matching(kind)) + off)),
        "colour": first.attributes.get("colour", "red") if off == 0 else "green",
        "room": area.kind,
        "pattern": first.attributes.get("pattern", "striped") if off == 0 else "checked",
        "state": first.attributes.get("state", "open") if off == 0 else "open",
        "height": f"{100 * first.size[2] + off:.0f}",
        "width": f"{100 * first.size[0]:.0f}",
        "metres": f"{(math.prod(area.size) if rule == 'say room' else world.gap(first, second)) + abs(off) / 20:.1f}",
    }
    slots |= {slot: values[slot] for slot in slots_of(rule) if slot in values}
    return slots, (item if "a_thing" in slots else first)


@pytest.mark.parametrize(
    "rule",
    [k for k in PHRASES if k.startswith(("say ", "step ")) and not k.startswith("step end ")],
)
def test_a_fact_holds_where_the_independent_solver_says_so(rule):
    verdicts, rng = [], np.random.default_rng(0)
    for (world, solver, _), _ in itertools.product(
        ROOMS.values(), range(8 if rule == "say near" else 30)
    ):
        slots, subject = invented(rule, world, rng)
        text = PHRASES[rule][rng.integers(len(PHRASES[rule]))].format(**slots)
        (told,), unread = read(text)
        assert not unread and told == (rule, tuple(sorted(slots.items())))
        named = [name for slot, name in slots.items() if slot in NAMING_SLOTS]
        if len(set(named)) < len(named):
            assert not holds(world, told)
            continue
        try:
            verdict = bool(TRUE[rule](solver.claim(slots, ids=[subject.id], moved={})))
        except Disagreement:
            verdict = False
        assert holds(world, told, subject.id) == verdict, (text, verdict)
        verdicts.append(verdict)
    assert rule == "step go" or 0 < sum(verdicts) < len(verdicts)


def test_a_text_about_another_room_scores_low():
    """The control: what scores does a fluent caption get that has nothing to do with the room?"""
    means = {}
    for task in ("scene captioning", "object captioning", "planning", "dialogue"):
        scores = [
            fact_scores(other.answers[0], ROOMS[here][0], example)
            for here, there in itertools.permutations(ROOMS, 2)
            if {here, there} != SAME_PLACE
            for example in ROOMS[here][2]
            if example.task == task
            for other in [e for e in ROOMS[there][2] if e.task == task][:1]
        ]
        means[task] = np.mean([(s.precision, s.recall) for s in scores], axis=0)
        assert all(s.unread == 0 for s in scores)
    assert all(precision < 0.2 and recall < 0.08 for precision, recall in means.values()), means


def test_one_wrong_colour_costs_one_fact():
    planted = 0
    for world, example in REFERENCES:
        right = fact_scores(example.answers[0], world, example)
        for fact in told_in(example):
            colour = re.search(
                "|".join(COLOURS), fact["slots"].get("a_thing", fact["slots"].get("colour", ""))
            )
            if fact["rule"] not in ("say object", "say one", "say colour") or not colour:
                continue
            other = "white" if colour[0] != "white" else "red"
            head, tail = (
                fact["text"].rsplit(colour[0], 1)
                if fact["rule"] == "say colour"
                else fact["text"].split(colour[0], 1)
            )
            if fact["rule"] == "say colour" and not fact["text"].endswith(f" {colour[0]}."):
                continue  # the colour of the name would change as well
            text = example.answers[0].replace(fact["text"], head + other + tail)
            wrong = fact_scores(text, world, example)
            assert (wrong.true, wrong.stated, wrong.told) == (
                right.true - 1,
                right.stated,
                right.told - 1,
            ), text
            planted += 1
    assert planted >= 40


# A hand-made room: two chairs, one sofa with a cushion-sized book on it.
ROOM = SceneGraph(
    [
        Object(
            1,
            "chair",
            (-1.0, 0.0, 0.45),
            (0.5, 0.5, 0.9),
            0.0,
            {"colour": "red", "pattern": "striped"},
        ),
        Object(
            2,
            "chair",
            (1.0, 0.0, 0.40),
            (0.5, 0.5, 0.8),
            0.0,
            {"colour": "blue", "pattern": "plain"},
        ),
        Object(
            3,
            "sofa",
            (0.0, 2.0, 0.4),
            (2.0, 0.9, 0.8),
            0.0,
            {"colour": "green", "pattern": "plain"},
        ),
        Object(4, "book", (0.0, 2.0, 0.82), (0.3, 0.2, 0.04), 0.0, {"colour": "black", "on": "3"}),
    ],
    [Area("office", (0.0, 0.0), (6.0, 5.0))],
    {1, 2, 3, 4},
)


@pytest.mark.parametrize(
    ("text", "true", "stated", "unread"),
    [
        ("", 0, 0, 0),
        ("   ", 0, 0, 0),
        ("The sofa is green.", 1, 1, 0),
        ("The green sofa is green.", 1, 1, 0),  # needlessly named, but not wrongly
        ("The red sofa is green.", 0, 1, 0),  # there is no red sofa
        ("The chair is red.", 0, 1, 0),  # which of the two?
        ("The sofa is green. The sofa is green. The colour of the green sofa is green.", 1, 1, 0),
        ("The book is on the sofa. The sofa is on the book.", 1, 2, 0),
        ("The book is on the book.", 0, 1, 0),
        ("The sofa is lovely. The sofa is green.", 1, 1, 1),
        ("chair chair chair", 0, 0, 1),
        ("There are 2 chairs in the room. There are 3 chairs in the room.", 1, 2, 0),
        (
            "The red chair is taller than the blue chair. The blue chair is taller than the red chair.",
            1,
            2,
            0,
        ),
        ("The red chair and the blue chair are 1.5 metres apart.", 1, 1, 0),
        (
            "The red chair and the blue chair are 1.5 metres apart. From the blue chair it is 1.5 metres to the red chair.",
            1,
            1,
            0,
        ),
        ("The red chair and the blue chair are 1.6 metres apart.", 0, 1, 0),
        (
            "The office has a floor of 30.0 square metres. The kitchen has a floor of 30.0 square metres.",
            1,
            2,
            0,
        ),
        ("The sofa is open.", 0, 1, 0),
        (
            "1. Take the book from the sofa. 2. Sit down on the sofa. 3. Sit down on the book. 4. Enjoy the clean room.",
            2,
            3,
            0,
        ),
        ("This is a red striped chair. This is a red checked chair.", 1, 2, 0),
        ("Nothing is on the sofa. Nothing is on the red chair.", 1, 2, 0),
    ],
)
def test_scores_worked_out_by_hand(text, true, stated, unread):
    scores = fact_scores(text, ROOM)
    assert (scores.true, scores.stated, scores.unread) == (true, stated, unread)
    assert scores.precision == (true / stated if stated else 0)
    assert math.isnan(scores.recall)


def test_recall_goes_by_objects_and_values_not_by_words():
    world, example = next((w, e) for w, e in REFERENCES if e.task == "scene captioning")
    texts = [fact["text"] for fact in told_in(example)]
    half = fact_scores(" ".join(texts[: len(texts) // 2]), world, example)
    assert half.precision == 1 and half.told == len(texts) // 2 and half.expected == len(texts)
    said_otherwise = " ".join(
        PHRASES[fact["rule"]][-1].format(**fact["slots"]) for fact in reversed(told_in(example))
    )
    assert fact_scores(said_otherwise, world, example).recall == 1
    assert fact_scores("", world, example)[:2] == (0, 0)


def test_this_is_speaks_of_the_selected_object():
    world, example = next((w, e) for w, e in REFERENCES if e.task == "object captioning")
    subject = example.derivation["facts"][0]["objects"][0]
    other = next(o for o in world.objects if o.category != world.by_id[subject].category)
    text = f"This is {with_article(other.category)}."
    assert fact_scores(text, world).precision == 1  # something of that kind is there
    assert fact_scores(text, world, example).precision == 0  # but not at the selected spot
