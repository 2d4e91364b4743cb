"""Scores against coco-caption's scorers, sampling, brute force, exact arithmetic and numbers worked
out by hand.
"""

import itertools
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
from leovl_mini.evaluate.answers import (
    beacon3d,
    choice_accuracy,
    exact_match,
    exact_match_refined,
    exact_match_strict,
    main_score,
    mra,
    mra_exact,
    normalise,
    score_answer,
    within_a_cell,
)
from leovl_mini.evaluate.boxes import accuracy_at, box_iou, identifier_f1, multi3drefer_f1
from leovl_mini.evaluate.captions import caption_scores, scan2cap, tokenise
from leovl_mini.evaluate.intervals import clustered_bootstrap
from leovl_mini.scans.scene import Object

EXAMPLES = [
    example
    for file in sorted((samples_folder() / "rooms").glob("*/examples.jsonl"))
    for example in load_examples(file)
]
CAPTIONS = [e.answers[0] for e in EXAMPLES if e.task == "object captioning"]


# -- short answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "normal"),
    [
        ("The Chair.", "chair"),
        ("  on  the   table ", "on table"),
        ("an orange chair and a lamp", "orange chair and lamp"),
        ("a", "a"),  # an article alone stays
        ("in the 2 boxes", "in two boxes"),  # spelled out first, then the article goes
        ("20", "twenty"),
        ("21", "21"),
        ("23", "twenty-three"),
        ("none", "zero"),
        ("1.4", "fourteen"),  # the point goes before numbers are spelled out
        ("x 1.5, y -0.5", "x fifteen, y -05"),
        ("let's go rigth, not behine", "left's go right, not behind"),
        ("10 oclock", "ten o'clock"),
        ("o'  clock", "o'clock"),
        ("tv stand", "TV stand"),
        ("mat2", "mat"),
        ("mat22", "mat22"),
        ("backwards", "backward"),
        ("façade", "faade"),
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
        ("bed room", ["bedroom"], 0, 1, 0),
        ("blue", ["red"], 0, 0, 0),
        ("3", ["three"], 1, 1, 1),
        ("7", ["74"], 0, 0, 0),  # "seven" is not in "74"
        ("21", ["215"], 0, 1, 0),
        ("1.4", ["14"], 1, 1, 0),  # the public normalisation loses the point
        ("1.4 metres", ["1.4"], 0, 1, 1),
        ("red, blue", ["red"], 0, 1, 1),
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


# -- numbers, choices, coordinates -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("prediction", "public", "exact"),
    [
        ("10", 1.0, 1.0),
        ("8", 0.6, 0.7),  # the trap: 1 - 0.8 is a little less than 0.2
        ("8. I think", 0.6, 0.7),
        ("15", 0.1, 0.1),
        ("4.9", 0.0, 0.0),
        ("1e1", 1.0, 1.0),
        *((text, 0.0, 0.0) for text in ("about 10", " 10", "10m", "ten", "", "nan", "inf", "-10")),
        ("1e999999999", 0.0, 0.0),
    ],
)
def test_mra_of_ten(prediction, public, exact):
    assert (mra(prediction, "10"), mra_exact(prediction, "10")) == (public, exact)


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
    for prediction, right in {"B": 1, "b. the chair": 1, "The answer is B": 0, "": 0}.items():
        assert choice_accuracy(prediction, "B") == right
    cells = {
        "x 1.5, y -0.5": (True, True),
        "x 1.0, y 0.0": (True, False),
        "x 2, y -1": (True, False),
        "x 2.5, y -0.5": (False, False),
        "x 1.5, y 0.5": (False, False),
        "somewhere": (False, False),
        "x 1.5": (False, False),
    }
    assert {text: within_a_cell(text, "x 1.5, y -0.5") for text in cells} == cells


def test_beacon3d():
    objects = [("s", 1)] * 3 + [("s", 2)] * 3 + [("t", 1)] * 3
    right = [True, True, True, True, True, False, False, True, True]
    assert beacon3d(right, objects) == pytest.approx((7 / 9, 1 / 3))


# -- the scores of an example ----------------------------------------------------------------------


def test_reference_answers_score_full_marks_and_silence_nothing():
    for example in (e for e in EXAMPLES if e.task in ("qa", "grounding")):
        scores = score_answer(example.answers[0], example)
        assert scores and set(scores.values()) == {1.0}, example.id
        assert main_score(example.answers[0], example) == 1
        silent = score_answer("", example)
        no_target = example.task == "grounding" and not example.targets
        # An empty answer earns nothing but by a public quirk.
        assert all(v == (no_target or name == "EM-R") for name, v in silent.items()), example.id


@pytest.mark.parametrize(
    ("fields", "prediction", "scores"),
    [
        (("grounding", "multiple", "", [3, 7]), "<OBJ007> <OBJ003>", {"F1": 1, "all exact": 1}),
        (("grounding", "multiple", "", [3, 7]), "<OBJ007> <OBJ008>", {"F1": 0.5, "all exact": 0}),
        (("grounding", "zero", "", None), "none", {"F1": 1, "all exact": 1}),
        (("grounding", "zero", "", None), "<OBJ001>", {"F1": 0, "all exact": 0}),
        (("qa", "height", "100"), "80", {"MRA": 0.6, "MRA exact": 0.7, "EM": 0, "strict": 0}),
        (("qa", "height", "100"), "100 cm", {"MRA": 1, "MRA exact": 1, "EM": 0, "strict": 1}),
        (("qa", "object_counting", "4"), "3", {"MRA": 0.6, "MRA exact": 0.6, "EM": 0, "strict": 0}),
        (("qa", "count", "2"), "two", {"EM": 1, "EM-R": 1, "strict": 1}),
        (("qa", "coordinates", "x 1.0, y 0.5"), "x 1.5, y 0.0", {"within a cell": 1, "exact": 0}),
    ],
)
def test_scores_of_single_answers(fields, prediction, scores):
    task, kind, answer, *targets = fields
    targets = targets[0] if targets else None
    example = Example("", "s", task, kind, "", [answer], targets=targets)
    assert score_answer(prediction, example) == scores


# -- captions --------------------------------------------------------------------------------------


def coco(predictions, references):
    """The scorers of coco-caption, which are given the same words."""
    predicted = {i: [tokenise(p)] for i, p in enumerate(predictions)}
    wanted = {i: [tokenise(r) for r in group] for i, group in enumerate(references)}
    return {
        "CIDEr": np.mean(Cider().compute_score(wanted, predicted)[1]),
        "BLEU-4": Bleu(4).compute_score(wanted, predicted, verbose=0)[0][3],
        "ROUGE-L": np.mean(Rouge().compute_score(wanted, predicted)[1]),
    }


def test_caption_scores_worked_out_by_hand():
    known = [["the red chair is here"], ["two lamps stand by every door"]]
    perfect = caption_scores([group[0] for group in known], known)
    assert perfect == pytest.approx({"CIDEr": 10, "BLEU-4": 1, "ROUGE-L": 1})
    # Four of five words in order, the fifth another: 4/5, 3/4, 2/3 and 1/2 of the runs of words.
    scores = caption_scores(["the red chair is there"], [known[0]])
    assert scores["BLEU-4"] == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    assert scores["ROUGE-L"] == pytest.approx(0.8)
    assert scores["CIDEr"] == 0  # of one item, no phrase is telling
    # Every word and run is in one of two references: all weigh log 2. "a c" for "a b": 1/2 of the
    # words, no run; "c d" for itself: all words, all runs of 2, none of 3 and 4.
    two = caption_scores(["a c", "c d"], [["a b"], ["c d"]])
    assert two["CIDEr"] == pytest.approx(10 * (0.5 / 4 + 2 / 4) / 2)
    # "the chair": 2 words in common out of 2 said and 5 wanted
    short = caption_scores(["the chair"], [known[0]])["ROUGE-L"]
    assert short == pytest.approx(2.44 * 1.0 * 0.4 / (0.4 + 1.44 * 1.0))


def test_one_wrong_word_is_cheap_for_ngrams():
    """Why captions are also scored by facts."""
    wrong = [" ".join("blue" if w == "red" else w for w in c.split()) for c in CAPTIONS]
    assert wrong != CAPTIONS
    assert caption_scores(wrong, [[c] for c in CAPTIONS])["ROUGE-L"] > 0.95


def test_tokenise():
    text = "The TV-stand is 0.4 metres away; it's 10 o'clock!  (1.)"
    assert tokenise(text) == "the tv-stand is 0.4 metres away it's 10 o'clock 1"
    assert tokenise("...") == ""


@pytest.mark.parametrize("k", [0.25, 0.5])
def test_scan2cap_counts_only_what_was_found(k):
    known, iou = [[c] for c in CAPTIONS], np.linspace(0, 1, len(CAPTIONS))
    counted = [c if overlap >= k else "" for c, overlap in zip(CAPTIONS, iou, strict=True)]
    framed = [f"sos {c} eos" for c in counted], [[f"sos {c} eos"] for c in CAPTIONS]
    found = scan2cap(CAPTIONS, known, iou, k)
    assert found == pytest.approx(coco(*framed), abs=1e-9)
    missing = [c or None for c in counted]
    assert scan2cap(missing, known, np.ones(len(iou)), k) == found
    at_k = np.full(len(CAPTIONS), k)
    assert scan2cap(CAPTIONS, known, at_k, k) == scan2cap(CAPTIONS, known, at_k + 0.5, k)
    assert scan2cap(CAPTIONS, known, at_k - 0.01, k)["CIDEr"] < 0.1


# -- boxes -----------------------------------------------------------------------------------------


def box(center, size, degrees=0.0):
    numbers = (tuple(map(float, xyz)) for xyz in (center, size))
    return Object(1, "chair", *numbers, math.radians(degrees))


UNIT = box((0, 0, 0), (1, 1, 1))
OCTAGON = (2 * math.sqrt(2) - 2) / (4 - 2 * math.sqrt(2))


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
        (UNIT, box((0, 0, 0), (1, 1, 1), 45), OCTAGON),
        (box((0, 0, 0), (0, 0, 0)), box((0, 0, 0), (0, 0, 0)), 0),
        (UNIT, box((0, 0, 0), (1, 0, 1)), 0),
    ],
)
def test_box_iou_worked_out_by_hand(a, b, iou):
    assert box_iou(a, b) == pytest.approx(iou, abs=1e-12)
    assert box_iou(b, a) == pytest.approx(iou, abs=1e-12)


def to_frame(item, points, way):
    """Points (n,3) turned into the frame of a box (way -1), or back (way 1)."""
    cos, sin = math.cos(item.yaw), way * math.sin(item.yaw)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    return points @ turn.T + item.center if way == 1 else (points - item.center) @ turn.T


def test_box_iou_equals_sampling():
    rng, found = np.random.default_rng(0), []
    for _ in range(60):
        a, b = (
            box(rng.uniform(-0.4, 0.4, 3), rng.uniform(0.3, 1.5, 3), rng.uniform(-400, 400))
            for _ in range(2)
        )
        points = to_frame(a, rng.uniform(-0.5, 0.5, (20_000, 3)) * a.size, 1)  # anywhere in a
        inside = (np.abs(to_frame(b, points, -1)) <= np.array(b.size) / 2).all(1)
        shared = inside.mean() * math.prod(a.size)
        found.append(shared / (math.prod(a.size) + math.prod(b.size) - shared))
        assert box_iou(a, b) == pytest.approx(found[-1], abs=0.015)
    assert min(found) < 0.05 and max(found) > 0.3


# -- groundings ------------------------------------------------------------------------------------


def test_accuracy_at_includes_the_limit():
    iou = np.array([0.25, 0.2499, 0.5, 0.0])
    assert (accuracy_at(iou, 0.25), accuracy_at(iou, 0.5)) == (0.5, 0.25)


@settings(max_examples=60)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 10**6))
def test_multi3drefer_equals_trying_every_assignment(p, g, seed):
    iou = np.random.default_rng(seed).random((p, g))
    square = np.zeros((max(p, g),) * 2)
    square[:p, :g] = iou
    rows = range(len(square))
    best = max(itertools.permutations(rows), key=lambda columns: square[rows, columns].sum())
    for k in (0.25, 0.5):
        hits = sum(square[i, j] >= k for i, j in enumerate(best))
        assert multi3drefer_f1(iou, k) == pytest.approx(2 * hits / (p + g))


@pytest.mark.parametrize(
    ("iou", "f1"),
    [
        ([[0.9, 0.8], [0.8, 0.0]], 1),  # the largest first would leave 0.9 and 0
        ([[0.6], [0.7]], 2 / 3),  # the same object twice
        ([[0.5]], 1),
        (np.zeros((0, 0)), 1),  # nothing there, nothing predicted
        (np.zeros((2, 0)), 0),
        (np.zeros((0, 3)), 0),
    ],
)
def test_multi3drefer_worked_out_by_hand(iou, f1):
    assert multi3drefer_f1(np.array(iou), 0.5) == pytest.approx(f1)


def test_identifier_f1_is_multi3drefer_on_ids():
    for predicted, targets in itertools.product([set(), {1}, {1, 2}, {2, 3, 4}], repeat=2):
        same = np.array([[float(p == t) for t in sorted(targets)] for p in sorted(predicted)])
        same = same.reshape(len(predicted), len(targets))
        assert identifier_f1(predicted, targets) == pytest.approx(multi3drefer_f1(same, 0.5))


# -- intervals -------------------------------------------------------------------------------------


def test_interval_of_equal_clusters_is_the_one_of_their_means():
    rng = np.random.default_rng(1)
    clusters = np.repeat(np.arange(60), 5)
    values = rng.normal(size=60)[clusters] + rng.normal(size=300)
    error = values.reshape(60, 5).mean(1).std() / math.sqrt(60)
    mean, low, high = clustered_bootstrap(values, clusters)
    assert mean == pytest.approx(values.mean())
    assert (low - mean, high - mean) == pytest.approx((-1.96 * error, 1.96 * error), rel=0.08)


def test_interval_of_a_few_values_worked_out_by_hand():
    # Each room is drawn twice in a quarter of the draws.
    assert clustered_bootstrap([0, 0, 1, 1], ["a", "a", "b", "b"]) == (0.5, 0, 1)
    # Rooms of 1 and 9 questions: the mean is that of the questions, not of the rooms.
    assert clustered_bootstrap([1] + [0] * 9, [0] + [1] * 9)[0] == pytest.approx(0.1)
    mean, low, high = clustered_bootstrap([0.0, 1.0], ["a", "a"])
    assert mean == 0.5 and math.isnan(low) and math.isnan(high)
    same = [clustered_bootstrap([0, 1, 1], [1, 2, 3], seed=3) for _ in range(2)]
    assert same[0] == same[1]


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
