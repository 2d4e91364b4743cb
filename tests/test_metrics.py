"""Scores against the scorers of coco-caption, sampling, brute force, exact arithmetic and numbers
worked out by hand.
"""

import itertools
import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from leovl_mini.data.examples import Example, load_examples
from leovl_mini.data.samples import samples_folder
from leovl_mini.evaluate import answers as metrics
from leovl_mini.evaluate.answers import (
    beacon3d,
    choice_accuracy,
    clustered_bootstrap,
    exact_match,
    exact_match_refined,
    exact_match_strict,
    mra,
    mra_exact,
    normalise,
    score_answers,
    within_a_cell,
)
from leovl_mini.evaluate.boxes import accuracy_at, box_iou, identifier_f1, multi3drefer_f1
from leovl_mini.evaluate.captions import bleu, caption_scores, cider, rouge_l, scan2cap, tokenise
from leovl_mini.rooms.facts import SceneGraph
from leovl_mini.scans.scene import Object

# Short answers


@pytest.mark.parametrize(
    ("answer", "normal"),
    [
        ("The Chair.", "chair"),
        ("  on  the   table ", "on table"),
        ("an orange chair and a lamp", "orange chair and lamp"),
        ("a", "a"),  # an article alone stays
        ("in the 2 boxes", "in two boxes"),  # spelled out first, then the article goes
        ("3", "three"),
        ("20", "twenty"),
        ("21", "21"),
        ("23", "twenty-three"),
        ("none", "zero"),
        ("1.4", "fourteen"),  # the point goes before numbers are spelled out
        ("x 1.5, y -0.5", "x fifteen, y -05"),
        ("to my letf", "to my left"),
        ("let's go rigth, not behine", "left's go right, not behind"),
        ("10 oclock", "ten o'clock"),
        ("o'  clock", "o'clock"),
        ("TV", "TV"),
        ("tv stand", "TV stand"),
        ("mat2", "mat"),
        ("mat22", "mat22"),
        ("backwards", "backward"),
        ("yes!?", "yes"),
        ("façade", "faade"),
        ("", ""),
        ("red  chair\t", "red chair\t"),  # only spaces are cut
    ],
)
def test_normalise(answer, normal):
    assert normalise(answer) == normal


@pytest.mark.parametrize(
    ("prediction", "answers", "em", "refined", "strict"),
    [
        ("Red", ["red"], 1, 1, 1),
        ("the red one", ["red"], 0, 1, 1),
        ("", ["red"], 0, 1, 0),  # the public quirk
        ("...", ["red"], 0, 1, 0),
        ("right", ["bright"], 0, 1, 0),
        ("ten", ["often"], 0, 1, 0),
        ("bed room", ["bedroom"], 0, 1, 0),
        ("blue", ["red"], 0, 0, 0),
        ("3", ["three"], 1, 1, 1),
        ("7", ["74"], 0, 0, 0),  # "seven" is not in "74"
        ("21", ["215"], 0, 1, 0),
        ("1.4", ["14"], 1, 1, 0),  # the public normalisation loses the point
        ("1.4 metres", ["1.4"], 0, 1, 1),
        ("red, blue", ["red"], 0, 1, 1),
        ("green", ["red", "green"], 1, 1, 1),
        ("chair", ["red chair", "chair"], 1, 1, 1),
        ("red table", ["table red"], 0, 0, 0),  # words in a row
        ("", [""], 1, 1, 0),
        ("yes", [], 0, 0, 0),
    ],
)
def test_exact_match_and_its_relatives(prediction, answers, em, refined, strict):
    found = [f(prediction, answers) for f in (exact_match, exact_match_refined, exact_match_strict)]
    assert found == [bool(em), bool(refined), bool(strict)]


@given(st.text("ab 1", max_size=6), st.lists(st.text("ab 1", max_size=6), max_size=3))
def test_em_implies_refined_and_strict_implies_refined(prediction, answers):
    assert exact_match(prediction, answers) <= exact_match_refined(prediction, answers)
    assert exact_match_strict(prediction, answers) <= exact_match_refined(prediction, answers)


# Numbers and choices


@pytest.mark.parametrize(
    ("prediction", "truth", "public", "exact"),
    [
        ("10", "10", 1.0, 1.0),
        ("8", "10", 0.6, 0.7),  # the trap: 1 - 0.8 is a little less than 0.2
        ("8. I think", "10", 0.6, 0.7),
        ("5", "10", 0.1, 0.1),
        ("15", "10", 0.1, 0.1),
        ("4.9", "10", 0.0, 0.0),
        ("1e1", "10", 1.0, 1.0),
        ("about 10", "10", 0.0, 0.0),
        (" 10", "10", 0.0, 0.0),  # before the first space is nothing
        ("10m", "10", 0.0, 0.0),
        ("ten", "10", 0.0, 0.0),
        ("", "10", 0.0, 0.0),
        ("nan", "10", 0.0, 0.0),
        ("inf", "10", 0.0, 0.0),
        ("-inf", "10", 0.0, 0.0),
        ("1e999999999", "10", 0.0, 0.0),
        ("-10", "10", 0.0, 0.0),
    ],
)
def test_mra(prediction, truth, public, exact):
    assert (mra(prediction, truth), mra_exact(prediction, truth)) == (public, exact)


@given(st.integers(-50, 400), st.integers(1, 200))
def test_exact_mra_is_that_of_fractions_and_the_public_one_at_most_a_threshold_off(said, true):
    error = Fraction(abs(said - true), true)
    expected = sum(error <= 1 - Fraction(t, 100) for t in range(50, 100, 5)) / 10
    assert mra_exact(f"{said / 10}", f"{true / 10}") == expected
    assert abs(mra(f"{said / 10}", f"{true / 10}") - expected) <= 0.1 + 1e-12


@pytest.mark.parametrize("score", [mra, mra_exact])
def test_relative_accuracy_needs_a_positive_truth(score):
    with pytest.raises(ValueError, match="positive"):
        score("1", "0")


def test_choices_and_cells():
    assert (
        choice_accuracy("B", "B")
        and choice_accuracy("b. the chair", "B")
        and choice_accuracy("C.", "c")
    )
    assert not choice_accuracy("The answer is B", "B") and not choice_accuracy("", "B")
    truth = "x 1.5, y -0.5"
    cells = {
        "x 1.5, y -0.5": (True, True),
        "x 1.0, y 0.0": (True, False),
        "x 2.5, y -0.5": (False, False),
    }
    cells |= {
        "x 1.5, y 0.5": (False, False),
        "somewhere": (False, False),
        "x 1.5": (False, False),
        "x 2, y -1": (True, False),
    }
    assert {text: within_a_cell(text, truth) for text in cells} == cells


# Captions: equal to coco-caption's scorers, which are given the same words


def coco(predictions, references):
    said, known = (
        {i: [p] for i, p in enumerate(predictions)},
        dict(enumerate(map(list, references))),
    )
    return {
        "bleu": np.array(Bleu(4).compute_score(known, said, verbose=0)[0]),
        "cider": Cider().compute_score(known, said)[1],
        "rouge": Rouge().compute_score(known, said)[1],
    }


def assert_equal_to_coco(predictions, references):
    ours = {"bleu": bleu, "cider": cider, "rouge": rouge_l}
    for name, theirs in coco(predictions, references).items():
        np.testing.assert_allclose(
            ours[name](predictions, references), theirs, rtol=0, atol=1e-9, err_msg=name
        )


def texts(least):
    return st.lists(st.sampled_from("a b c d e".split()), min_size=least, max_size=9).map(" ".join)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(texts(0), st.lists(texts(1), min_size=1, max_size=4)), min_size=1, max_size=6
    )
)
def test_caption_scores_equal_those_of_coco_caption(items):
    assert_equal_to_coco(*map(list, zip(*items, strict=True)))


def rooms():
    """Worlds and examples of the bundled rooms."""
    worlds, examples = {}, []
    for folder in sorted((samples_folder() / "rooms").iterdir()):
        scene = json.loads((folder / "scene.json").read_text())
        worlds[folder.name] = SceneGraph.from_json(scene)
        examples += load_examples(folder / "examples.jsonl")
    return worlds, examples


WORLDS, EXAMPLES = rooms()
CAPTIONS = [tokenise(e.answers[0]) for e in EXAMPLES if e.task == "object captioning"]


def test_caption_scores_of_real_texts_equal_those_of_coco_caption():
    rng = np.random.default_rng(0)
    references = [[c, *rng.choice(CAPTIONS, rng.integers(3))] for c in CAPTIONS]
    spoilt = [" ".join(w for w in c.split() if rng.random() < 0.8) for c in CAPTIONS]
    for predictions in (
        CAPTIONS,
        spoilt,
        CAPTIONS[::-1],
        [""] * len(CAPTIONS),
        ["the chair", *spoilt[1:]],
    ):
        assert_equal_to_coco(predictions, references)
    assert_equal_to_coco(spoilt[:1], references[:1])  # one item
    assert_equal_to_coco([""], [CAPTIONS[:1]])


def test_caption_scores_worked_out_by_hand():
    known = [["the red chair is here", "a chair"], ["two lamps stand by every door"]]
    said = [group[0] for group in known]
    np.testing.assert_allclose(bleu(said, known), 1, atol=1e-9)
    np.testing.assert_allclose(rouge_l(said, known), 1)
    np.testing.assert_allclose(cider(said, [group[:1] for group in known]), 10)
    # "the chair": one unigram pair of 2 in order out of 2 said and 5 wanted
    precision, recall = 1.0, 2 / 5
    rouge = 2.44 * precision * recall / (recall + 1.44 * precision)
    np.testing.assert_allclose(rouge_l(["the chair"], [["the red chair is here"]]), rouge)
    np.testing.assert_allclose(
        bleu(["the chair"], [["the red chair is here"]])[0], math.exp(1 - 5 / 2), rtol=1e-6
    )
    assert cider(["the chair"], [["the chair"]]) == 0  # of one item, no phrase is telling


def test_one_wrong_word_is_cheap_for_ngrams():
    """Why captions are also scored by facts."""
    wrong = [c.replace("red", "blue") if "red" in c.split() else c for c in CAPTIONS]
    assert wrong != CAPTIONS and rouge_l(wrong, [[c] for c in CAPTIONS]).mean() > 0.95


def test_tokenise():
    text = "The TV-stand is 0.4 metres away; it's 10 o'clock!  (1.)"
    assert tokenise(text) == "the tv-stand is 0.4 metres away it's 10 o'clock 1"
    assert tokenise("...") == ""
    assert all(tokenise(c) == c for c in CAPTIONS)


def test_scan2cap_counts_only_what_was_found():
    known = [[c] for c in CAPTIONS]
    framed = [[f"sos {c} eos"] for c in CAPTIONS]
    iou = np.linspace(0, 1, len(CAPTIONS))
    for k in (0.25, 0.5):
        counted = [
            f"sos {c} eos" if overlap >= k else "sos eos"
            for c, overlap in zip(CAPTIONS, iou, strict=True)
        ]
        expected = coco(counted, framed)
        found = scan2cap(CAPTIONS, known, iou, k)
        assert found["CIDEr"] == pytest.approx(expected["cider"].mean(), abs=1e-9)
        assert found["BLEU-4"] == pytest.approx(expected["bleu"][3], abs=1e-9)
        assert found["ROUGE-L"] == pytest.approx(expected["rouge"].mean(), abs=1e-9)
        assert (
            scan2cap(
                [c if o >= k else None for c, o in zip(CAPTIONS, iou, strict=True)],
                known,
                np.ones(len(iou)),
                k,
            )
            == found
        )
    at_half = np.full(len(CAPTIONS), 0.5)
    assert scan2cap(CAPTIONS, known, at_half, 0.5) == scan2cap(CAPTIONS, known, at_half + 0.5, 0.5)
    assert scan2cap(CAPTIONS, known, at_half - 0.01, 0.5)["CIDEr"] < 0.1


# Boxes


def box(center, size, degrees=0.0):
    return Object(
        1, "chair", tuple(map(float, center)), tuple(map(float, size)), math.radians(degrees)
    )


UNIT = box((0, 0, 0), (1, 1, 1))


@pytest.mark.parametrize(
    ("a", "b", "iou"),
    [
        (UNIT, UNIT, 1),
        (UNIT, box((0.5, 0, 0), (1, 1, 1)), 1 / 3),
        (UNIT, box((0.5, 0.5, 0.5), (1, 1, 1)), 1 / 15),
        (UNIT, box((0, 0, 0), (0.5, 0.5, 0.5)), 1 / 8),
        (UNIT, box((1, 0, 0), (1, 1, 1)), 0),  # touch
        (UNIT, box((3, 0, 0), (1, 1, 1)), 0),
        (UNIT, box((0, 0, 2), (1, 1, 1)), 0),  # above
        (UNIT, box((0, 0, 0), (1, 1, 1), 90), 1),
        (box((0, 0, 0), (2, 1, 1)), box((0, 0, 0), (2, 1, 1), 90), 1 / 3),  # a cross
        (
            UNIT,
            box((0, 0, 0), (1, 1, 1), 45),
            (2 * math.sqrt(2) - 2) / (4 - 2 * math.sqrt(2)),
        ),  # an octagon
        (box((0, 0, 0), (0, 0, 0)), box((0, 0, 0), (0, 0, 0)), 0),
        (UNIT, box((0, 0, 0), (1, 0, 1)), 0),
    ],
)
def test_box_iou_worked_out_by_hand(a, b, iou):
    assert box_iou(a, b) == pytest.approx(iou, abs=1e-12)
    assert box_iou(b, a) == pytest.approx(iou, abs=1e-12)


def contains(item, points):
    x, y, z = (points - np.array(item.center)).T
    cos, sin = math.cos(item.yaw), math.sin(item.yaw)
    local = np.stack([cos * x + sin * y, cos * y - sin * x, z], 1)
    return (np.abs(local) <= np.array(item.size) / 2).all(1)


def test_box_iou_equals_sampling():
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(60):
        a, b = (
            box(rng.uniform(-0.4, 0.4, 3), rng.uniform(0.3, 1.5, 3), rng.uniform(-400, 400))
            for _ in range(2)
        )
        x, y, z = (rng.uniform(-0.5, 0.5, (20_000, 3)) * a.size).T  # anywhere in the first box
        cos, sin = math.cos(a.yaw), math.sin(a.yaw)
        in_both = contains(
            b, np.stack([cos * x - sin * y, sin * x + cos * y, z], 1) + a.center
        ).mean() * math.prod(a.size)
        seen.append(in_both / (math.prod(a.size) + math.prod(b.size) - in_both))
        assert box_iou(a, b) == pytest.approx(seen[-1], abs=0.015)
    assert min(seen) < 0.05 and max(seen) > 0.3


@given(st.floats(-3, 3), st.floats(-2, 2), st.floats(-3, 3), st.floats(0.1, 2), st.floats(0.1, 2))
def test_box_iou_does_not_depend_on_where_the_pair_stands(turn, x, yaw, width, depth):
    a, b = (
        Object(1, "bed", (0.0, 0.0, 0.0), (1.0, 0.7, 1.0)),
        Object(2, "bed", (x / 4, 0.1, 0.2), (width, depth, 1.0), yaw),
    )
    moved = []
    for o in (a, b):
        cx = math.cos(turn) * o.center[0] - math.sin(turn) * o.center[1] + x
        cy = math.sin(turn) * o.center[0] + math.cos(turn) * o.center[1] - 1
        moved.append(Object(o.id, "bed", (cx, cy, o.center[2] + 5), o.size, o.yaw + turn))
    assert box_iou(*moved) == pytest.approx(box_iou(a, b), abs=1e-9)
    assert 0 <= box_iou(a, b) <= 1 + 1e-12


# Groundings


def test_accuracy_at_includes_the_limit():
    assert accuracy_at(np.array([0.25, 0.2499, 0.5, 0.0]), 0.25) == 0.5
    assert accuracy_at(np.array([0.25, 0.2499, 0.5, 0.0]), 0.5) == 0.25


@settings(max_examples=60)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 10**6))
def test_multi3drefer_equals_trying_every_assignment(p, g, seed):
    iou = np.random.default_rng(seed).random((p, g))
    square = np.zeros((max(p, g),) * 2)
    square[:p, :g] = iou
    best = max(
        itertools.permutations(range(len(square))),
        key=lambda columns: sum(square[range(len(square)), columns]),
    )
    for k in (0.25, 0.5):
        hits = sum(square[i, j] >= k for i, j in enumerate(best))
        assert multi3drefer_f1(iou, k) == pytest.approx(2 * hits / (p + g))


def test_multi3drefer_worked_out_by_hand():
    greedy_fails = np.array([[0.9, 0.8], [0.8, 0.0]])  # the largest first would leave 0.9 and 0
    assert multi3drefer_f1(greedy_fails, 0.5) == 1
    assert multi3drefer_f1(np.array([[0.6], [0.7]]), 0.5) == pytest.approx(
        2 / 3
    )  # the same object twice
    assert multi3drefer_f1(np.array([[0.25]]), 0.25) == 1
    assert multi3drefer_f1(np.zeros((0, 0)), 0.5) == 1  # nothing there, nothing predicted
    assert multi3drefer_f1(np.zeros((2, 0)), 0.5) == 0
    assert multi3drefer_f1(np.zeros((0, 3)), 0.5) == 0


def test_identifier_f1_is_multi3drefer_on_ids():
    for predicted, targets in itertools.product([set(), {1}, {1, 2}, {2, 3, 4}], repeat=2):
        same = np.array([[float(p == t) for t in sorted(targets)] for p in sorted(predicted)])
        assert identifier_f1(predicted, targets) == pytest.approx(
            multi3drefer_f1(same.reshape(len(predicted), len(targets)), 0.5)
        )


def test_beacon3d():
    objects = [("s", 1)] * 3 + [("s", 2)] * 3 + [("t", 1)] * 3
    assert beacon3d(
        [True, True, True, True, True, False, False, True, True], objects
    ) == pytest.approx((7 / 9, 1 / 3))


# Intervals


def test_interval_of_equal_clusters_is_the_one_of_their_means():
    rng = np.random.default_rng(1)
    clusters = np.repeat(np.arange(60), 5)
    values = rng.normal(size=60)[clusters] + rng.normal(size=300)
    means = values.reshape(60, 5).mean(1)
    error = means.std() / math.sqrt(60)
    mean, low, high = clustered_bootstrap(values, clusters)
    assert mean == pytest.approx(values.mean())
    assert (low - mean, high - mean) == pytest.approx((-1.96 * error, 1.96 * error), rel=0.08)


def test_interval_of_a_few_values_worked_out_by_hand():
    assert clustered_bootstrap([0, 0, 1, 1], ["a", "a", "b", "b"]) == (
        0.5,
        0,
        1,
    )  # each room is drawn twice in a quarter of draws
    assert clustered_bootstrap([1.0, 1.0, 1.0], [1, 2, 3]) == (1, 1, 1)
    # rooms of 1 and 9 questions: drawn together, the mean is that of the questions, not of the
    # rooms
    assert clustered_bootstrap([1] + [0] * 9, [0] + [1] * 9)[0] == pytest.approx(0.1)
    mean, low, high = clustered_bootstrap(
        [1] * 20 + [0] * 180, [*range(20), *np.repeat(range(20, 40), 9).tolist()]
    )
    assert mean == pytest.approx(0.1) and 0.04 < low < 0.08 and 0.13 < high < 0.25
    mean, low, high = clustered_bootstrap([0.0, 1.0], ["a", "a"])
    assert mean == 0.5 and math.isnan(low) and math.isnan(high)
    assert clustered_bootstrap([0, 1, 1], [1, 2, 3], seed=3) == clustered_bootstrap(
        [0, 1, 1], [1, 2, 3], seed=3
    )


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    rooms, hits, naive = np.repeat(np.arange(40), 10), 0, 0
    for _ in range(150):
        chance = rng.beta(2, 2, 40)  # some rooms are easy, some are hard; one half on average
        right = (rng.random(400) < chance[rooms]).astype(float)
        hits += (ends := clustered_bootstrap(right, rooms, 300))[1] <= 0.5 <= ends[2]
        naive += (ends := clustered_bootstrap(right, np.arange(400), 300))[1] <= 0.5 <= ends[2]
    assert 0.88 <= hits / 150 <= 0.99
    assert naive / 150 < 0.86  # drawing single questions is overconfident


# Whole evaluations


def test_reference_answers_score_full_marks():
    rows, corpus = score_answers([e.answers[0] for e in EXAMPLES], EXAMPLES, WORLDS)
    full = {
        name: 1.0
        for name in (
            "EM",
            "EM-R",
            "strict",
            "MRA",
            "MRA exact",
            "F1",
            "all exact",
            "within a cell",
            "exact",
        )
    }
    full |= {"ROUGE-L": 1.0, "fact precision": 1.0, "fact recall": 1.0, "unread": 0.0}
    for row, example in zip(rows, EXAMPLES, strict=True):
        assert row and all(
            row[name] == pytest.approx(full[name]) for name in row if name != "CIDEr"
        ), (example.id, row)
    assert set(corpus) == set(metrics.TEXTS)
    for task, scores in corpus.items():
        assert scores["BLEU-4"] == pytest.approx(1) and scores["ROUGE-L"] == pytest.approx(1)
        each = [row["CIDEr"] for row, e in zip(rows, EXAMPLES, strict=True) if e.task == task]
        assert scores["CIDEr"] == pytest.approx(np.mean(each)) and min(each) > 5


def test_every_kind_gets_its_scores():
    rows, _ = score_answers(["" for _ in EXAMPLES], EXAMPLES, WORLDS)
    names = {}
    for row, example in zip(rows, EXAMPLES, strict=True):
        key = (example.task, example.kind if example.task == "qa" else "")
        assert names.setdefault(key, set(row)) == set(row)
    facts = {"CIDEr", "ROUGE-L", "fact precision", "fact recall", "unread"}
    assert (
        names["planning", ""]
        == names["scene captioning", ""]
        == names["object captioning", ""]
        == facts
    )
    assert names["dialogue", ""] == facts | {"EM", "EM-R", "strict"}
    assert names["grounding", ""] == {"F1", "all exact"}
    assert names["qa", "coordinates"] == {"within a cell", "exact"}
    for kind in ("height", "length", "distance", "room size"):
        assert names["qa", kind] == {"MRA", "MRA exact", "EM", "strict"}
    for kind in ("count", "colour", "situated", "existence", "place"):
        assert names["qa", kind] == {"EM", "EM-R", "strict"}
    for row, example in zip(
        rows, EXAMPLES, strict=True
    ):  # an empty answer earns nothing but by a public quirk
        no_target = example.task == "grounding" and not example.targets
        assert all(row[name] == (1 if no_target or name == "EM-R" else 0) for name in row), (
            example.id,
            row,
        )


def test_scores_of_single_answers():
    def scored(prediction, **fields):
        return score_answers([prediction], [Example("", "s", question="", **fields)])[0][0]

    grounding = {
        "task": "grounding",
        "kind": "multiple",
        "answers": ["<OBJ003> <OBJ007>"],
        "targets": [3, 7],
    }
    assert scored("<OBJ007> <OBJ003>", **grounding) == {"F1": 1, "all exact": 1}
    assert scored("<OBJ007> <OBJ008>", **grounding) == {"F1": 0.5, "all exact": 0}
    nothing = {"task": "grounding", "kind": "zero", "answers": ["none"], "targets": None}
    assert scored("none", **nothing) == {"F1": 1, "all exact": 1} and scored(
        "<OBJ001>", **nothing
    ) == {"F1": 0, "all exact": 0}
    height = {"task": "qa", "kind": "height", "answers": ["100"]}
    assert scored("80", **height) == {"MRA": 0.6, "MRA exact": 0.7, "EM": 0, "strict": 0}
    assert scored("100 centimetres", **height) == {"MRA": 1, "MRA exact": 1, "EM": 0, "strict": 1}
    assert scored("two", task="qa", kind="count", answers=["2", "two"]) == {
        "EM": 1,
        "EM-R": 1,
        "strict": 1,
    }
    counting = {"task": "qa", "kind": "object_counting", "answers": ["4"]}  # VSI-Bench
    assert scored("3", **counting)["MRA"] == 0.6 and scored("3", **counting)["EM"] == 0


def test_captions_are_compared_within_their_task():
    texts = [e for e in EXAMPLES if e.task in ("object captioning", "planning")]
    mixed, corpus = score_answers([e.answers[0] for e in texts], texts)
    for task in ("object captioning", "planning"):
        own = [e for e in texts if e.task == task]
        assert corpus[task] == caption_scores([e.answers[0] for e in own], [e.answers for e in own])
        alone, _ = score_answers([e.answers[0] for e in own], own)
        assert alone == [row for row, e in zip(mixed, texts, strict=True) if e.task == task]
