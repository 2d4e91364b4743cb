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


def facts_of(example):
    """The facts of a caption, a plan, or the last answer of a dialogue."""
    turns = example.derivation.get("turns") or [{"facts": []}]
    return example.derivation.get("facts") or turns[-1]["facts"]


def bundled():
    """The scene graph, the solver's room and the composed examples of every bundled room."""
    rooms = {}
    for folder in sorted((samples_folder() / "rooms").iterdir()):
        scene = json.loads((folder / "scene.json").read_text())
        texts = [e for e in load_examples(folder / "examples.jsonl") if facts_of(e)]
        solver = SolverRoom(scene["objects"], scene["areas"])
        rooms[folder.name] = SceneGraph.from_json(scene), solver, texts
    return rooms


ROOMS = bundled()
REFERENCES = [(graph, example) for graph, _, examples in ROOMS.values() for example in examples]
SAME_PLACE = {"rscan_2", "rscan_3"}  # one room scanned twice


def test_reference_texts_are_all_true_and_tell_everything():
    assert len(REFERENCES) >= 80
    for graph, example in REFERENCES:
        scores = fact_scores(example.answers[0], graph, example)
        expected = sum(not fact["rule"].startswith("step end ") for fact in facts_of(example))
        assert (scores.precision, scores.recall, scores.unread) == (1, 1, 0), example.id
        assert scores.true == scores.stated == scores.recalled == scores.expected == expected


def test_every_sentence_has_one_reading_which_is_its_derivation():
    for _, example in REFERENCES:
        for fact in facts_of(example):
            matches = [(key, phrase.fullmatch(fact["text"])) for key, phrase in EXPRESSIONS]
            readings = {(key, tuple(m.groupdict().items())) for key, m in matches if m}
            assert [(k, dict(slots)) for k, slots in readings] == [(fact["rule"], fact["slots"])]


def slots_of(rule):
    return re.findall(r"{(\w+)}", PHRASES[rule][0])


def invented(rule, graph, rng):
    """A statement or step about random objects, with values that are often right."""
    names = {graph.name(o): o for o in graph.objects if graph.name(o)}
    chosen = rng.permutation(len(names))
    slots = dict(zip(slots_of(rule), (list(names)[i] for i in chosen), strict=False))
    first, second = (list(names.values())[i] for i in chosen[:2])
    if rng.random() < 0.7:  # many relations only hold for neighbours
        host, near = graph.host(first), graph.nearest_large(first)[0]
        second = rng.choice(np.array([o for o in names.values() if o is not first], dtype=object))
        if graph.name(near) and near is not first and rng.random() < 0.6:
            second = near
        if host and graph.name(host[1]) and rng.random() < 0.7:
            second = host[1]
        slots |= {slot: graph.name(second) for slot in ("b", "host") if slot in slots}

    off = rng.choice([0, 0, 1, 2, -1])
    item = rng.choice(np.array(graph.objects, dtype=object))
    colour, pattern = (item.attributes.get(k, "red") for k in ("colour", "pattern"))
    look = [colour] * (rng.random() < 0.5) + [pattern] * (pattern not in ("plain", "red"))
    kind, area = str(rng.choice([item.category, "chair", "lamp"])), graph.areas[0]
    metres = math.prod(area.size) if rule == "say room" else graph.gap(first, second)
    values = {
        "a_thing": with_article(" ".join([*look, item.category])),
        "things": plural(kind),
        "number": str(max(1, len(graph.matching(kind)) + off)),
        "colour": first.attributes.get("colour", "red") if off == 0 else "green",
        "room": area.kind,
        "pattern": first.attributes.get("pattern", "striped") if off == 0 else "checked",
        "state": first.attributes.get("state", "open") if off == 0 else "open",
        "height": f"{100 * first.size[2] + off:.0f}",
        "width": f"{100 * first.size[0]:.0f}",
        "metres": f"{metres + abs(off) / 20:.1f}",
    }
    slots |= {slot: values[slot] for slot in slots_of(rule) if slot in values}
    return slots, (item if "a_thing" in slots else first)


@pytest.mark.parametrize(
    "rule",
    [k for k in PHRASES if k.startswith(("say ", "step ")) and not k.startswith("step end ")],
)
def test_a_fact_holds_where_the_independent_solver_says_so(rule):
    verdicts, rng = [], np.random.default_rng(0)
    for graph, solver, _ in [*ROOMS.values()] * (8 if rule == "say near" else 30):
        slots, subject = invented(rule, graph, rng)
        text = PHRASES[rule][rng.integers(len(PHRASES[rule]))].format(**slots)
        (fact,), unread = read(text)
        assert not unread and fact == (rule, tuple(sorted(slots.items())))
        named = [name for slot, name in slots.items() if slot in NAMING_SLOTS]
        if len(set(named)) < len(named):
            assert not holds(graph, fact)
            continue
        try:
            verdict = bool(TRUE[rule](solver.claim(slots, ids=[subject.id], moved={})))
        except Disagreement:
            verdict = False
        assert holds(graph, fact, subject.id) == verdict, (text, verdict)
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
    for graph, example in REFERENCES:
        right = fact_scores(example.answers[0], graph, example)
        for fact in facts_of(example):
            slot = fact["slots"].get("a_thing", fact["slots"].get("colour", ""))
            colour = re.search("|".join(COLOURS), slot)
            if fact["rule"] not in ("say object", "say one", "say colour") or not colour:
                continue
            other = "white" if colour[0] != "white" else "red"
            if fact["rule"] == "say colour":
                if not fact["text"].endswith(f" {colour[0]}."):
                    continue  # the colour of the name would change as well
                sentence = other.join(fact["text"].rsplit(colour[0], 1))
            else:
                sentence = fact["text"].replace(colour[0], other, 1)
            text = example.answers[0].replace(fact["text"], sentence)
            wrong = fact_scores(text, graph, example)
            expected = right.true - 1, right.stated, right.recalled - 1
            assert (wrong.true, wrong.stated, wrong.recalled) == expected, text
            planted += 1
    assert planted >= 40


def thing(id, category, center, size, **attributes):
    return Object(id, category, center, size, 0.0, attributes)


# A hand-made room: two chairs, one sofa with a cushion-sized book on it.
ROOM = SceneGraph(
    [
        thing(1, "chair", (-1.0, 0.0, 0.45), (0.5, 0.5, 0.9), colour="red", pattern="striped"),
        thing(2, "chair", (1.0, 0.0, 0.40), (0.5, 0.5, 0.8), colour="blue", pattern="plain"),
        thing(3, "sofa", (0.0, 2.0, 0.4), (2.0, 0.9, 0.8), colour="green", pattern="plain"),
        thing(4, "book", (0.0, 2.0, 0.82), (0.3, 0.2, 0.04), colour="black", on="3"),
    ],
    [Area("office", (0.0, 0.0), (6.0, 5.0))],
    {1, 2, 3, 4},
)
TALLER = "The {} chair is taller than the {} chair."
FLOOR = "The {} has a floor of 30.0 square metres."
APART = "The red chair and the blue chair are {} metres apart."


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
        (f"{TALLER.format('red', 'blue')} {TALLER.format('blue', 'red')}", 1, 2, 0),
        (APART.format("1.5"), 1, 1, 0),
        (f"{APART.format('1.5')} From the blue chair it is 1.5 metres to the red chair.", 1, 1, 0),
        (APART.format("1.6"), 0, 1, 0),
        (f"{FLOOR.format('office')} {FLOOR.format('kitchen')}", 1, 2, 0),
        ("The sofa is open.", 0, 1, 0),
        ("1. Take the book from the sofa. 2. Sit down on the book. 3. Enjoy the room.", 1, 2, 1),
        ("1. Sit down on the sofa. 2. Enjoy the clean room.", 1, 1, 0),  # the end states nothing
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
    graph, example = next((g, e) for g, e in REFERENCES if e.task == "scene captioning")
    facts = facts_of(example)
    count = len(facts) // 2
    half = fact_scores(" ".join(fact["text"] for fact in facts[:count]), graph, example)
    assert (half.precision, half.recalled, half.expected) == (1, count, len(facts))
    reworded = (PHRASES[fact["rule"]][-1].format(**fact["slots"]) for fact in facts[::-1])
    assert fact_scores(" ".join(reworded), graph, example).recall == 1
    assert fact_scores("", graph, example)[:2] == (0, 0)


def test_this_is_speaks_of_the_selected_object():
    graph, example = next((g, e) for g, e in REFERENCES if e.task == "object captioning")
    subject = example.derivation["facts"][0]["objects"][0]
    other = next(o for o in graph.objects if o.category != graph.by_id[subject].category)
    text = f"This is {with_article(other.category)}."
    assert fact_scores(text, graph).precision == 1  # something of that kind is there
    assert fact_scores(text, graph, example).precision == 0  # but not at the selected spot
