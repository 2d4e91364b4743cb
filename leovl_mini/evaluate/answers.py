"""Scores of answers by their published definitions, under their published names.

Where a public script has a quirk that changes scores, the published name keeps the quirk and a
variant without it stands beside it. Scores are fractions, 0 to 1, and CIDEr 0 to 10; papers print
all of them times 100.
"""

import math
import re
from collections import defaultdict
from collections.abc import Hashable, Sequence
from decimal import Decimal

import numpy as np

from leovl_mini.data.examples import Example
from leovl_mini.evaluate.boxes import identifier_f1
from leovl_mini.evaluate.captions import caption_scores, cider, rouge_l, tokenise
from leovl_mini.evaluate.facts import fact_scores
from leovl_mini.rooms.facts import SceneGraph

NUMERIC = {
    *("height", "length", "distance", "room size"),
    *(
        "object_abs_distance",
        "object_counting",
        "object_size_estimation",
        "room_size_estimation",
    ),  # VSI-Bench
}


CAPTIONS = ("object captioning", "scene captioning", "planning")


TEXTS = (*CAPTIONS, "dialogue")  # tasks with answers in sentences


# Short answers

SPELLINGS = {  # slips in SQA3D's annotations that its public evaluations mend
    **{
        "letf": "left",
        "let": "left",
        "rigth": "right",
        "rght": "right",
        "behine": "behind",
        "tehre": "there",
        "tv": "TV",
    },
    **{"chai": "chair", "wasing": "washing", "waslked": "walked", "oclock": "o'clock"},
}


COUNTING = """zero one two three four five six seven eight nine ten
    eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"""


NUMBERS = {str(i): word for i, word in enumerate(COUNTING.split())} | {
    "23": "twenty-three",
    "none": "zero",
}


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


def replace_words(text: str, words: dict[str, str]) -> str:
    return re.sub(rf"\b({'|'.join(words)})\b", lambda found: words[found[1]], text)


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
    said, *known = ("".join(normalise(text).split()) for text in (prediction, *answers))
    return any(said in answer or answer in said for answer in known)


def exact_match_strict(prediction: str, answers: Sequence[str]) -> bool:
    """EM-R without its quirks, ours: one contains the other as whole words in a row; nothing
    matches an empty prediction.

    Decimal points count ("1.4" is not "14"). A longer answer that contains the right one still
    counts, as in EM-R: "not red".
    """
    said, *known = (f" {' '.join(words(text))} " for text in (prediction, *answers))
    return any(
        said.strip() and answer.strip() and (said in answer or answer in said) for answer in known
    )


def words(answer: str) -> list[str]:
    return normalise(re.sub(r"(?<=\d)\.(?=\d)", "point", answer)).replace(",", " ").split()


# Numbers and choices


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
    target = float(truth)
    if not target > 0:
        raise ValueError(f"relative accuracy needs a positive true value, not {truth!r}")
    try:
        error = abs(float(first_word(prediction)) - target) / target
    except ValueError:
        return 0.0
    return float((error <= 1 - np.linspace(0.5, 0.95, 10)).mean())


def mra_exact(prediction: str, truth: str) -> float:
    """``mra`` in decimal arithmetic: a prediction exactly at a threshold counts."""
    target = Decimal(truth)
    if not target > 0:
        raise ValueError(f"relative accuracy needs a positive true value, not {truth!r}")
    try:
        error = abs(Decimal(first_word(prediction)) - target)
        return sum(20 * error <= k * target for k in range(1, 11)) / 10  # 1 - t is k / 20
    except ArithmeticError:  # no number, NaN, or too large
        return 0.0


def choice_accuracy(prediction: str, truth: str) -> bool:
    """VSI-Bench's multiple choice: the first word is the right letter, in either case."""
    return first_word(prediction).lower() == truth.lower()


def within_a_cell(prediction: str, truth: str) -> tuple[bool, bool]:
    """Whether "x 1.5, y -0.5" is at most one cell of 0.5 m off along x and along y, and whether it
    is exactly right.
    """
    number = r"(-?\d+(?:\.\d+)?)"
    said, true = (re.search(rf"x\s*{number}\W+y\s*{number}", text) for text in (prediction, truth))
    off = (
        max(abs(float(a) - float(b)) for a, b in zip(said.groups(), true.groups(), strict=True))
        if said
        else math.inf
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
        by_object[item].append(right)
    return float(np.mean(correct)), float(
        np.mean([all(r >= 1 for r in rights) for rights in by_object.values()])
    )


# Whole evaluations


def clustered_bootstrap(
    values: Sequence[float | int] | np.ndarray,
    clusters: Sequence[Hashable] | np.ndarray,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Mean of the values with a 95 % percentile interval (mean, low, high) from drawing whole
    clusters, such as rooms, again.

    Questions about one room succeed and fail together, so drawing single questions would give too
    narrow an interval. With fewer than about 20 clusters the interval is too narrow all the same;
    with one there is none (NaN).
    """
    names, which = np.unique(np.array([str(c) for c in clusters]), return_inverse=True)
    sums, sizes = np.bincount(which, np.asarray(values, dtype=float)), np.bincount(which)
    mean = float(sums.sum() / sizes.sum())
    if len(names) < 2:
        return mean, math.nan, math.nan
    times = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=draws
    )
    low, high = np.percentile(times @ sums / (times @ sizes), [2.5, 97.5])
    return mean, float(low), float(high)


def score_answer(prediction: str, example: Example) -> dict[str, float]:
    """The scores of one short answer: MRA for numbers, distance for coordinates, F1 for
    identifiers, EM for all else.

    A grounding answer without a single "<OBJ...>" predicts nothing, whatever else it says.
    """
    answers = example.answers
    if example.task == "grounding":
        said, targets = (
            {int(i) for i in re.findall(r"<OBJ(\d+)>", prediction)},
            set(example.targets or []),
        )
        return {"F1": identifier_f1(said, targets), "all exact": float(said == targets)}
    if example.kind == "coordinates":
        near, exact = within_a_cell(prediction, answers[0])
        return {"within a cell": float(near), "exact": float(exact)}
    em, strict = (
        float(exact_match(prediction, answers)),
        float(exact_match_strict(prediction, answers)),
    )
    if example.kind in NUMERIC:
        return {
            "MRA": mra(prediction, answers[0]),
            "MRA exact": mra_exact(prediction, answers[0]),
            "EM": em,
            "strict": strict,
        }
    return {"EM": em, "EM-R": float(exact_match_refined(prediction, answers)), "strict": strict}


def score_answers(
    predictions: Sequence[str],
    examples: Sequence[Example],
    worlds: dict[str, SceneGraph] | None = None,
) -> tuple[list[dict[str, float]], dict[str, dict[str, float]]]:
    """Scores per example, in order, and the corpus scores ``caption_scores`` of every task with
    texts.

    Questions, groundings and dialogues: ``score_answer``. Captions, plans and dialogues: CIDEr and
    ROUGE-L within their task, and where ``worlds`` knows the scene, ``fact_scores``. BLEU-4 only
    exists for a corpus.
    """
    pairs = list(zip(predictions, examples, strict=True))
    rows: list[dict[str, float]] = [
        {} if e.task in CAPTIONS else score_answer(p, e) for p, e in pairs
    ]
    corpus = {}
    for task in TEXTS:
        places = [i for i, example in enumerate(examples) if example.task == task]
        if not places:
            continue
        said, known = [predictions[i] for i in places], [examples[i].answers for i in places]
        corpus[task] = caption_scores(said, known)
        said, known = [tokenise(p) for p in said], [[tokenise(r) for r in group] for group in known]
        for i, c, r in zip(places, cider(said, known), rouge_l(said, known), strict=True):
            rows[i] |= {"CIDEr": float(c), "ROUGE-L": float(r)}
            if worlds and examples[i].scene in worlds:
                facts = fact_scores(predictions[i], worlds[examples[i].scene], examples[i])
                rows[i] |= {
                    "fact precision": facts.precision,
                    "fact recall": facts.recall,
                    "unread": float(facts.unread),
                }
    return rows, corpus
