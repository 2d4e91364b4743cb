"""Scores of answers, captions and groundings by their published definitions, under their published names.

Where a public script has a quirk that changes scores, the published name keeps the quirk and a variant without it stands beside it.
Scores are fractions, 0 to 1, and CIDEr 0 to 10; papers print all of them times 100.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from decimal import Decimal

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from leovl_mini.caption_facts import fact_scores
from leovl_mini.examples import Example
from leovl_mini.rooms.facts import World
from leovl_mini.rooms.room import corners
from leovl_mini.scene import Object

NUMERIC = {
    *("height", "length", "distance", "room size"),
    *("object_abs_distance", "object_counting", "object_size_estimation", "room_size_estimation"),  # VSI-Bench
}
CAPTIONS = ("object captioning", "scene captioning", "planning")
TEXTS = (*CAPTIONS, "dialogue")  # tasks with answers in sentences

# Short answers

SPELLINGS = {  # slips in SQA3D's annotations that its public evaluations mend
    **{"letf": "left", "let": "left", "rigth": "right", "rght": "right", "behine": "behind", "tehre": "there", "tv": "TV"},
    **{"chai": "chair", "wasing": "washing", "waslked": "walked", "oclock": "o'clock"},
}
COUNTING = """zero one two three four five six seven eight nine ten
    eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"""
NUMBERS = {str(i): word for i, word in enumerate(COUNTING.split())} | {"23": "twenty-three", "none": "zero"}


def normalise(answer: str) -> str:
    """An answer in the form that evaluations of SQA3D, ScanQA and Beacon3D compare: the results of LEO's ``clean_answer``.

    Lower case, no punctuation but ``, ' - :``, mended spellings, small numbers in words, no article before a word. Two consequences
    to know: decimal points vanish, so "1.4" equals "14", and "none" becomes "zero".
    Source: data/data_utils.py of github.com/embodied-generalist/embodied-generalist.
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

    LEO's script stops at the first answer that satisfies EM-R and so can overlook an equal one after it; this does not.
    """
    return normalise(prediction) in map(normalise, answers)


def exact_match_refined(prediction: str, answers: Sequence[str]) -> bool:
    """EM-R as LEO defines it: equal, or one contains the other once spaces are removed.

    Its quirks: an empty prediction is always right, and "right" matches "bright".
    """
    said, *known = ("".join(normalise(text).split()) for text in (prediction, *answers))
    return any(said in answer or answer in said for answer in known)


def exact_match_strict(prediction: str, answers: Sequence[str]) -> bool:
    """EM-R without its quirks, ours: one contains the other as whole words in a row; nothing matches an empty prediction.

    Decimal points count ("1.4" is not "14"). A longer answer that contains the right one still counts, as in EM-R: "not red".
    """
    said, *known = (f" {' '.join(words(text))} " for text in (prediction, *answers))
    return any(said.strip() and answer.strip() and (said in answer or answer in said) for answer in known)


def words(answer: str) -> list[str]:
    return normalise(re.sub(r"(?<=\d)\.(?=\d)", "point", answer)).replace(",", " ").split()


# Numbers and choices


def first_word(prediction: str) -> str:
    """All of a prediction that VSI-Bench's public script looks at: what comes before the first space, without dots at its end."""
    return prediction.split(" ")[0].rstrip(".").strip()


def mra(prediction: str, truth: str) -> float:
    """VSI-Bench's mean relative accuracy, in floating point as its public script computes it.

    The share of the 10 thresholds t = .50, .55, ... .95 for which |prediction - truth| / truth <= 1 - t; 0 if the first word is no
    number, NaN or infinite. Rounding costs up to a threshold: for 8 and 10 it is 0.6, and in exact arithmetic 0.7 (``mra_exact``).
    Raises ``ValueError`` unless the truth is positive. Source: lmms_eval/tasks/vsibench/utils.py of vision-x-nyu/thinking-in-space.
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
    """Whether "x 1.5, y -0.5" is at most one cell of 0.5 m off along x and along y, and whether it is exactly right."""
    number = r"(-?\d+(?:\.\d+)?)"
    said, true = (re.search(rf"x\s*{number}\W+y\s*{number}", text) for text in (prediction, truth))
    off = max(abs(float(a) - float(b)) for a, b in zip(said.groups(), true.groups(), strict=True)) if said else math.inf
    return off <= 0.5, off == 0


# Captions. All take texts as ``tokenise`` gives them: words separated by single spaces; n predictions, and n lists of references.


def tokenise(text: str) -> str:
    """Lower case, without punctuation except inside a word or number ("o'clock", "0.4").

    Ours: published caption scores use the Penn Treebank tokeniser, which needs Java and splits a few words otherwise.
    """
    return " ".join(re.findall(r"\d+\.\d+|\w+(?:['’-]\w+)*", text.lower()))


def ngrams(text: str) -> list[Counter]:
    """How often each sequence of 1, 2, 3 and 4 words occurs."""
    tokens = text.split()
    return [Counter(zip(*(tokens[i:] for i in range(n)), strict=False)) for n in (1, 2, 3, 4)]


def bleu(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Float[np.ndarray, "4"]:
    """BLEU-1 to BLEU-4 of a whole corpus, with the closest reference length, as in coco-caption.

    Its small constants keep a score above 0 where no 4-gram matches: 1e-15 above and 1e-9 below each fraction bar.
    """
    matched, guessed, length, wanted = np.zeros(4), np.zeros(4), 0, 0
    for prediction, known in zip(predictions, references, strict=True):
        said, size = ngrams(prediction), len(prediction.split())
        most = [Counter() for _ in said]
        for reference in known:
            most = [a | b for a, b in zip(most, ngrams(reference), strict=True)]
        matched += [(a & b).total() for a, b in zip(said, most, strict=True)]
        guessed += [a.total() for a in said]
        length += size
        wanted += min((len(r.split()) for r in known), key=lambda n: (abs(n - size), n))
    precisions = np.cumprod((matched + 1e-15) / (guessed + 1e-9)) ** (1 / np.arange(1, 5))
    ratio = (length + 1e-15) / (wanted + 1e-9)
    return precisions * math.exp(min(0.0, 1 - 1 / ratio))


def cider(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Float[np.ndarray, "n"]:
    """CIDEr-D of each prediction, as coco-caption's "CIDEr": n = 1 to 4, sigma 6, document frequencies from these references.

    The corpus's score is the mean. A single item scores 0, because a phrase that occurs in all items weighs nothing.
    """
    known = [[ngrams(reference) for reference in group] for group in references]
    items = Counter(gram for group in known for gram in {gram for grams in group for counts in grams for gram in counts})

    def weights(counts: Counter) -> dict[tuple, float]:
        return {gram: count * (math.log(len(known)) - math.log(max(1, items[gram]))) for gram, count in counts.items()}

    def similarity(a: dict[tuple, float], b: dict[tuple, float]) -> float:
        norm = math.sqrt(sum(w * w for w in a.values()) * sum(w * w for w in b.values()))
        return sum(min(w, b[gram]) * b[gram] for gram, w in a.items() if gram in b) / norm if norm else 0.0

    scores = []
    for prediction, group in zip(predictions, known, strict=True):
        said, total = ngrams(prediction), 0.0
        for grams in group:
            alike = np.mean([similarity(weights(a), weights(b)) for a, b in zip(said, grams, strict=True)])
            total += alike * math.exp(-((said[0].total() - grams[0].total()) ** 2) / (2 * 6.0**2))
        scores.append(10 * total / len(group))
    return np.array(scores, dtype=float)


def rouge_l(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Float[np.ndarray, "n"]:
    """ROUGE-L of each prediction, beta 1.2, as in coco-caption: best precision and best recall may be of different references."""
    scores = []
    for prediction, known in zip(predictions, references, strict=True):
        said, wanted = prediction.split() or [""], [reference.split() or [""] for reference in known]
        common = [longest_common(said, reference) for reference in wanted]
        precision = max(common) / len(said)
        recall = max(c / len(reference) for c, reference in zip(common, wanted, strict=True))
        scores.append((1 + 1.2**2) * precision * recall / (recall + 1.2**2 * precision) if precision else 0.0)
    return np.array(scores, dtype=float)


def longest_common(a: list[str], b: list[str]) -> int:
    """How many words the longest sequence has that occurs in both in this order, with gaps."""
    best, other = np.zeros(len(b) + 1, dtype=int), np.array(b)
    for word in a:  # best[j]: for the words so far and the first j of b
        best[1:] = np.maximum.accumulate(np.maximum(best[1:], best[:-1] + (other == word)))
    return int(best[-1])


def caption_scores(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Corpus scores of texts as they are written; they are tokenised here."""
    said, known = [tokenise(p) for p in predictions], [[tokenise(r) for r in group] for group in references]
    means = {"CIDEr": cider(said, known).mean(), "BLEU-4": bleu(said, known)[3], "ROUGE-L": rouge_l(said, known).mean()}
    return {name: float(mean) for name, mean in means.items()}


def scan2cap(
    predictions: Sequence[str | None], references: Sequence[Sequence[str]], iou: Float[np.ndarray, "n"], k: float
) -> dict[str, float]:
    """Scan2Cap's m@k: a caption counts if its box reaches IoU >= k, else the empty caption does; None for an object not found.

    Every text stands between "sos" and "eos", as in the public script, so that even the empty caption shares two words.
    (That script also cuts references after 30 tokens, which is left to the reader of the file.)
    """
    counted = [p if p is not None and overlap >= k else "" for p, overlap in zip(predictions, iou, strict=True)]
    return caption_scores([f"sos {p} eos" for p in counted], [[f"sos {r} eos" for r in group] for group in references])


# Boxes and groundings


def box_iou(a: Object, b: Object) -> float:
    """Intersection over union of the volumes of two upright boxes, each with its own yaw; exact. 0 if both are empty."""
    low, high = (np.array([o.center[2] for o in (a, b)]) + sign * np.array([o.size[2] for o in (a, b)]) / 2 for sign in (-1, 1))
    height = max(0.0, float(high.min() - low.max()))
    shared = polygon_area(clipped(corners(a), corners(b))) * height
    union = math.prod(a.size) + math.prod(b.size) - shared
    return shared / union if union > 0 else 0.0


def clipped(polygon: np.ndarray, window: np.ndarray) -> np.ndarray:
    """The part (k,2) of a polygon (n,2) inside a convex window (m,2), corners counter-clockwise (Sutherland and Hodgman)."""
    for start, end in zip(window, np.roll(window, -1, 0), strict=True):
        if not len(polygon):
            break
        normal = np.array([start[1] - end[1], end[0] - start[0]])  # to the left of the edge, which is inside
        inside, following = (polygon - start) @ normal, np.roll(polygon, -1, 0)
        kept = []
        for p, q, d, e in zip(polygon, following, inside, np.roll(inside, -1), strict=True):
            kept += [p] if d >= 0 else []
            kept += [p + (q - p) * d / (d - e)] if d * e < 0 else []
        polygon = np.array(kept).reshape(-1, 2)
    return polygon


def polygon_area(polygon: np.ndarray) -> float:
    x, y = (polygon - polygon[:1]).T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def accuracy_at(iou: Float[np.ndarray, "n"], k: float) -> float:
    """ScanRefer's Acc@k: the share of predicted boxes with IoU >= k; give 0 for a box that is missing."""
    return float((iou >= k).mean())


def multi3drefer_f1(iou: Float[np.ndarray, "P G"], k: float) -> float:
    """Multi3DRefer's F1@k of one row, from the IoU of P predicted and G true boxes: 2 TP / (P + G).

    TP are the pairs with IoU >= k in the assignment (Hungarian) of largest total IoU. Without true boxes, 1 iff none is predicted.
    """
    if 0 in iou.shape:
        return float(sum(iou.shape) == 0)
    return 2 * int((iou[linear_sum_assignment(iou, maximize=True)] >= k).sum()) / sum(iou.shape)


def identifier_f1(predicted: set[int], targets: set[int]) -> float:
    """F1 of object ids; Multi3DRefer's rule without targets: 1 iff nothing is predicted."""
    return 2 * len(predicted & targets) / (len(predicted) + len(targets)) if predicted or targets else 1.0


def beacon3d(correct: Sequence[bool | float] | np.ndarray, objects: Sequence[Hashable]) -> tuple[float, float]:
    """Beacon3D's case score (the share of questions answered right) and object score (of objects with all their questions right).

    ``objects`` names the object of every question, such as (scene, object id); there, three questions are asked about each. What is
    right is up to the caller: the published scores let GPT-4o judge, and print EM and EM-R beside it.
    """
    by_object = defaultdict(list)
    for right, item in zip(correct, objects, strict=True):
        by_object[item].append(right)
    return float(np.mean(correct)), float(np.mean([all(r >= 1 for r in rights) for rights in by_object.values()]))


# Whole evaluations


def clustered_bootstrap(
    values: Sequence[float | int] | np.ndarray, clusters: Sequence[Hashable] | np.ndarray, draws: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of the values with a 95 % percentile interval (mean, low, high) from drawing whole clusters, such as rooms, again.

    Questions about one room succeed and fail together, so drawing single questions would give too narrow an interval. With fewer
    than about 20 clusters the interval is too narrow all the same; with one there is none (NaN).
    """
    names, which = np.unique(np.array([str(c) for c in clusters]), return_inverse=True)
    sums, sizes = np.bincount(which, np.asarray(values, dtype=float)), np.bincount(which)
    mean = float(sums.sum() / sizes.sum())
    if len(names) < 2:
        return mean, math.nan, math.nan
    times = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    low, high = np.percentile(times @ sums / (times @ sizes), [2.5, 97.5])
    return mean, float(low), float(high)


def score_answer(prediction: str, example: Example) -> dict[str, float]:
    """The scores of one short answer: MRA for numbers, distance for coordinates, F1 for identifiers, EM for all else.

    A grounding answer without a single "<OBJ...>" predicts nothing, whatever else it says.
    """
    answers = example.answers
    if example.task == "grounding":
        said, targets = {int(i) for i in re.findall(r"<OBJ(\d+)>", prediction)}, set(example.targets or [])
        return {"F1": identifier_f1(said, targets), "all exact": float(said == targets)}
    if example.kind == "coordinates":
        near, exact = within_a_cell(prediction, answers[0])
        return {"within a cell": float(near), "exact": float(exact)}
    em, strict = float(exact_match(prediction, answers)), float(exact_match_strict(prediction, answers))
    if example.kind in NUMERIC:
        return {"MRA": mra(prediction, answers[0]), "MRA exact": mra_exact(prediction, answers[0]), "EM": em, "strict": strict}
    return {"EM": em, "EM-R": float(exact_match_refined(prediction, answers)), "strict": strict}


def score_answers(
    predictions: Sequence[str], examples: Sequence[Example], worlds: dict[str, World] | None = None
) -> tuple[list[dict[str, float]], dict[str, dict[str, float]]]:
    """Scores per example, in order, and the corpus scores ``caption_scores`` of every task with texts.

    Questions, groundings and dialogues: ``score_answer``. Captions, plans and dialogues: CIDEr and ROUGE-L within their task, and
    where ``worlds`` knows the scene, ``fact_scores``. BLEU-4 only exists for a corpus.
    """
    pairs = list(zip(predictions, examples, strict=True))
    rows: list[dict[str, float]] = [{} if e.task in CAPTIONS else score_answer(p, e) for p, e in pairs]
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
                rows[i] |= {"fact precision": facts.precision, "fact recall": facts.recall, "unread": float(facts.unread)}
    return rows, corpus
