"""Scores of answers by their published definitions, under their published names.

Where a public script has a quirk that changes scores, the published name keeps the quirk and a
variant without it stands beside it. Scores are fractions, 0 to 1; papers print them times 100.

Explained in notebook 08 (evaluation).
"""

import re
from collections import defaultdict
from collections.abc import Hashable, Sequence
from decimal import Decimal

import numpy as np

from leovl_mini.data.examples import Example
from leovl_mini.evaluate.boxes import identifier_f1

SHORT = ("qa",)  # tasks with answers of a few words
TEXTS = ("object captioning", "scene captioning", "planning", "dialogue")  # ... in sentences

ROOM_NUMBERS = ("height", "length", "distance", "room size")
VSIBENCH_NUMBERS = (
    "object_abs_distance",
    "object_counting",
    "object_size_estimation",
    "room_size_estimation",
)
NUMERIC = {*ROOM_NUMBERS, *VSIBENCH_NUMBERS}  # kinds of question that are answered by a number

# The one score of a kind or task that tables show; EM for all others.
MAIN_SCORE = {"coordinates": "within a cell", "grounding": "F1", **dict.fromkeys(NUMERIC, "MRA")}

# -- short answers ---------------------------------------------------------------------------------

SPELLINGS = {  # slips in SQA3D's annotations that its public evaluations mend
    "letf": "left",
    "let": "left",
    "rigth": "right",
    "rght": "right",
    "behine": "behind",
    "tehre": "there",
    "tv": "TV",
    "chai": "chair",
    "wasing": "washing",
    "waslked": "walked",
    "oclock": "o'clock",
}

COUNTING = """zero one two three four five six seven eight nine ten
    eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"""
NUMBERS = {str(i): word for i, word in enumerate(COUNTING.split())}
NUMBERS |= {"23": "twenty-three", "none": "zero"}


def normalise(answer: str) -> str:
    """An answer in the form that evaluations of SQA3D, ScanQA and Beacon3D compare: the results of
    LEO's ``clean_answer``.

    Lower case, no punctuation but ``, ' - :``, mended spellings, small numbers in words, no article
    before a word. Two consequences to know: decimal points vanish, so "1.4" equals "14", and "none"
    becomes "zero". Source: data/data_utils.py of
    github.com/embodied-generalist/embodied-generalist.
    """
    text = re.sub(" {2,}", " ", re.sub("^ +| +$", "", answer.lower()))
    text = re.sub(r"[^a-z0-9,'\s\-:]", "", text)
    text = re.sub(r"\bo' +clock\b", "o'clock", replace_words(text, SPELLINGS))
    text = replace_words(text, NUMBERS)
    text = re.sub(r"\b([a-zA-Z]+)[0-9]\b", r"\1", text)  # "mat2" becomes "mat"
    for article in ("a", "an", "the"):
        text = re.sub(rf"\b{article}\b ([a-zA-Z]+)", r"\1", text)
    return re.sub(r"\bbackwards\b", "backward", text)


def replace_words(text: str, replacements: dict[str, str]) -> str:
    return re.sub(rf"\b({'|'.join(replacements)})\b", lambda word: replacements[word[1]], text)


def exact_match(prediction: str, answers: Sequence[str]) -> bool:
    """EM: the prediction equals one of the answers, both normalised.

    LEO's script stops at the first answer that satisfies EM-R and so can overlook an equal one
    after it; this does not.
    """
    return normalise(prediction) in map(normalise, answers)


def exact_match_refined(prediction: str, answers: Sequence[str]) -> bool:
    """EM-R as LEO defines it: equal, or one contains the other once spaces are removed.

    Its quirks: an empty prediction is always right, and "right" matches "bright".
    """
    predicted, *accepted = ("".join(normalise(text).split()) for text in (prediction, *answers))
    return any(predicted in answer or answer in predicted for answer in accepted)


def exact_match_strict(prediction: str, answers: Sequence[str]) -> bool:
    """EM-R without its quirks, ours: one contains the other as whole words in a row; nothing
    matches an empty prediction.

    Decimal points count ("1.4" is not "14"). A longer answer that contains the right one still
    counts, as in EM-R: "not red".
    """
    predicted, *accepted = (f" {' '.join(words(text))} " for text in (prediction, *answers))
    return any(
        predicted.strip() and answer.strip() and (predicted in answer or answer in predicted)
        for answer in accepted
    )


def words(answer: str) -> list[str]:
    pointed = re.sub(r"(?<=\d)\.(?=\d)", "point", answer)
    return normalise(pointed).replace(",", " ").split()


# -- numbers, choices, coordinates -----------------------------------------------------------------


def first_word(prediction: str) -> str:
    """All of a prediction that VSI-Bench's public script looks at: what comes before the first
    space, without dots at its end.
    """
    return prediction.split(" ")[0].rstrip(".").strip()


def mra(prediction: str, truth: str) -> float:
    """VSI-Bench's mean relative accuracy, in floating point as its public script computes it.

    The share of the 10 thresholds t = .50, .55, ... .95 for which |prediction - truth| / truth <= 1
    - t; 0 if the first word is no number, NaN or infinite. Rounding costs up to a threshold: for 8
    and 10 it is 0.6, and in exact arithmetic 0.7 (``mra_exact``). Raises ``ValueError`` unless the
    truth is positive. Source: lmms_eval/tasks/vsibench/utils.py of vision-x-nyu/thinking-in-space.
    """
    target = positive(float(truth))
    try:
        error = abs(float(first_word(prediction)) - target) / target
    except ValueError:
        return 0.0
    return float((error <= 1 - np.linspace(0.5, 0.95, 10)).mean())


def mra_exact(prediction: str, truth: str) -> float:
    """``mra`` in decimal arithmetic: a prediction exactly at a threshold counts."""
    target = positive(Decimal(truth))
    try:
        error = abs(Decimal(first_word(prediction)) - target)
        return sum(20 * error <= k * target for k in range(1, 11)) / 10  # 1 - t is k / 20
    except ArithmeticError:  # no number, NaN, or too large
        return 0.0


def positive(truth: float | Decimal) -> float | Decimal:
    if not truth > 0:
        raise ValueError(f"relative accuracy needs a positive true value, not {truth}")
    return truth


def choice_accuracy(prediction: str, truth: str) -> bool:
    """VSI-Bench's multiple choice: the first word is the right letter, in either case."""
    return first_word(prediction).lower() == truth.lower()


def within_a_cell(prediction: str, truth: str) -> tuple[bool, bool]:
    """Whether "x 1.5, y -0.5" is at most one cell of 0.5 m off along x and along y, and whether it
    is exactly right.
    """
    number = r"(-?\d+(?:\.\d+)?)"
    predicted, true = (
        re.search(rf"x\s*{number}\W+y\s*{number}", text) for text in (prediction, truth)
    )
    if predicted is None:
        return False, False
    off = max(
        abs(float(a) - float(b)) for a, b in zip(predicted.groups(), true.groups(), strict=True)
    )
    return off <= 0.5, off == 0


def beacon3d(
    correct: Sequence[bool | float] | np.ndarray, objects: Sequence[Hashable]
) -> tuple[float, float]:
    """Beacon3D's case score (the share of questions answered right) and object score (of objects
    with all their questions right).

    ``objects`` names the object of every question, such as (scene, object id); there, three
    questions are asked about each. What is right is up to the caller: the published scores let
    GPT-4o judge, and print EM and EM-R beside it.
    """
    by_object = defaultdict(list)
    for right, item in zip(correct, objects, strict=True):
        by_object[item].append(right >= 1)
    return float(np.mean(correct)), float(np.mean([all(rights) for rights in by_object.values()]))


# -- examples --------------------------------------------------------------------------------------


def score_answer(prediction: str, example: Example) -> dict[str, float]:
    """The scores of one short answer: MRA for numbers, distance for coordinates, F1 for
    identifiers, EM for all else.

    A grounding answer without a single "<OBJ...>" predicts nothing, whatever else it says.
    """
    if example.task == "grounding":
        predicted = {int(i) for i in re.findall(r"<OBJ(\d+)>", prediction)}
        targets = set(example.targets or [])
        return {"F1": identifier_f1(predicted, targets), "all exact": float(predicted == targets)}

    answers = example.answers
    if example.kind == "coordinates":
        near, exact = within_a_cell(prediction, answers[0])
        return {"within a cell": float(near), "exact": float(exact)}

    em = float(exact_match(prediction, answers))
    strict = float(exact_match_strict(prediction, answers))
    if example.kind in NUMERIC:
        scores = {
            "MRA": mra(prediction, answers[0]),
            "MRA exact": mra_exact(prediction, answers[0]),
        }
        return scores | {"EM": em, "strict": strict}
    return {"EM": em, "EM-R": float(exact_match_refined(prediction, answers)), "strict": strict}


def main_score(prediction: str, example: Example) -> float:
    """One number between 0 and 1: EM, MRA for numbers, within one cell of half a metre for
    coordinates, F1 for grounding.
    """
    name = example.kind if example.task == "qa" else example.task
    return score_answer(prediction, example)[MAIN_SCORE.get(name, "EM")]
