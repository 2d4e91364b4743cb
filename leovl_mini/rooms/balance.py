"""How good question-answer data are, and how to make them better: balance answers, measure what can
be had without looking.

LEO-VL finds that more data of poor quality hurt, and measures quality by the share of the 15 most
frequent answer templates.

Explained in notebook 01 (RGB-D frames and cameras).
"""

import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np

from leovl_mini.data.examples import TASKS, Example
from leovl_mini.rooms.furniture import CATEGORIES, COLOURS
from leovl_mini.rooms.room import parse_name
from leovl_mini.rooms.texts.phrases import PHRASES

CHOICES = ("nearest", "taller", "stack order")  # of two things that the question names
CLOSED = ("existence", "pattern", "state", "situated", "stacked", *CHOICES)  # few possible answers
STRENGTH = 0.85  # share of the favourite answer in skewed data
MEASURED = ("height", "length", "distance", "room size", "coordinates")

NAMES = sorted([*COLOURS, *CATEGORIES], key=len, reverse=True)
NAME = re.compile(rf"(the |an? )?\b(({'|'.join(NAMES)}|striped|checked|bookshelves)s? ?)+\b")


def noun(words: str) -> str:
    """The category in a name: "red tv stand" -> "tv stand"."""
    return next((n for n in NAMES if n not in COLOURS and words.endswith(n)), words)


def categories(example: Example) -> set[str]:
    """The categories of the things in a question and its answers."""
    words = [
        *example.derivation.get("slots", {}).values(),
        *example.derivation.get("about", [])[:1],
        *example.answers,
    ]
    return {noun(w) for w in words if isinstance(w, str)} & set(CATEGORIES)


def group(example: Example) -> str:
    """Everything the words of a question give away about its answer, apart from colours: kind and
    categories.
    """
    slots = example.derivation.get("slots", {})
    if example.kind in ("existence", "count"):
        category, *colour = example.derivation["about"]
        return f"{example.kind} {category}{' of a colour' if any(colour) else ''}"
    names = [noun(w) for slot, w in slots.items() if slot != "anchor"]
    return " ".join([example.kind, *(sorted(names) if example.kind != "relation" else names)])


def answer_class(example: Example) -> str:
    """The answer, or for a choice between two different categories the category."""
    if example.kind in CHOICES:
        slots = example.derivation["slots"]
        if noun(slots["a"]) != noun(slots["b"]):
            return noun(example.answers[0])
        return "first" if example.answers[0] == slots["a"] else "second"
    return example.answers[0]


Groups = dict[str, dict[str, list[Example]]]  # {group: {answer class: examples}}


def grouped(examples: Iterable[Example]) -> Groups:
    groups: Groups = defaultdict(lambda: defaultdict(list))
    for example in examples:
        groups[group(example)][answer_class(example)].append(example)
    return groups


def balance(examples: Iterable[Example]) -> list[Example]:
    """Drop questions until, inside every ``group``, no answer is more frequent than the next one.

    For ``CLOSED`` kinds (yes/no, directions ...) all answers of a group are cut to the same number.
    Where a group has a single answer (no bathtub is ever taller than a lamp) it goes altogether.
    Longer answers and measured numbers stay as they are.
    """
    kept, asked = [], []
    for example in examples:
        chosen = example.task == "qa" and example.kind not in MEASURED
        (asked if chosen else kept).append(example)
    groups = grouped(asked)
    for name, answers in groups.items():
        sizes = sorted((len(a) for a in answers.values()), reverse=True)
        closed = name.startswith(CLOSED)
        most = (min(sizes) if closed else sizes[1]) if len(sizes) > 1 else 0
        for answer in answers.values():
            kept += thin(answer, most)
    return sorted(kept, key=lambda e: e.id)


def skew(examples: Iterable[Example], reverse: bool = False) -> list[Example]:
    """Answers with a strong prior: in half of the groups one answer makes up ``STRENGTH`` of the
    questions, in the other half another answer. ``reverse`` exchanges the halves, so that what was
    learned by heart on the one fails on the other.
    """
    kinds = (*CLOSED, "colour")
    groups = grouped(e for e in examples if e.task == "qa" and e.kind in kinds)
    kept = []
    for name in sorted(groups):
        answers = [groups[name][a] for a in sorted(groups[name])]
        if len(answers) < 2:
            continue
        favourite = (sum(name.encode()) + reverse) % 2  # the first or second one by the alphabet
        most = max(len(answers[0]), len(answers[1]))
        for i, answer in enumerate(answers):
            rare = (1 - STRENGTH) / STRENGTH / (len(answers) - 1)
            kept += thin(answer, round((1.0 if i == favourite else rare) * most))
    return sorted(kept, key=lambda e: e.id)


def simplistic(examples: Iterable[Example]) -> list[Example]:
    """Poor data on purpose: is there a chair, yes; how many beds, 1. Always the same words and the
    most usual answers.
    """
    poor = []
    for e in examples:
        if (e.kind, e.answers[0]) in (("existence", "yes"), ("count", "1")):
            text = PHRASES[e.kind][0].format(**e.derivation["slots"])
            id, proof = f"{e.id}/simple", e.derivation
            poor.append(Example(id, e.scene, "qa", e.kind, text, e.answers, derivation=proof))
    return poor


def thin(examples: list[Example], most: int) -> list[Example]:
    rng = np.random.default_rng((0, len(examples)))
    return [examples[i] for i in sorted(rng.permutation(len(examples))[:most])]


# -- measures --------------------------------------------------------------------------------------


def template(answer: str) -> str:
    """A longer answer without its names and numbers; a short one as it is."""
    if len(answer.split()) <= 4:
        return answer.lower()
    return re.sub(r"\d+(\.\d+)?", "#", NAME.sub("<name>", answer.lower()))


def occupancy(examples: Iterable[Example], top: int = 15) -> float:
    """The share of the ``top`` most frequent answer templates."""
    counts = Counter(template(e.answers[0]) for e in examples)
    return sum(n for _, n in counts.most_common(top)) / max(sum(counts.values()), 1)


def majority(examples: Iterable[Example]) -> float:
    """How often the most frequent answer is right."""
    counts = Counter(e.answers[0] for e in examples)
    return counts.most_common(1)[0][1] / counts.total() if counts else 0.0


def blind(examples: Iterable[Example], learned: Iterable[Example] | None = None) -> float:
    """How often one is right without looking, by giving the usual answer to a question of the same
    kind on the same categories.

    What is usual is learned from other examples; without any, from half of the scenes for the other
    half, and the other way round (which errs downwards where answers are balanced: what one half
    has too much of, the other lacks). For categories that were not met it is what is usual for the
    kind.
    """
    halves = ([], [])
    for e in examples:
        halves[zlib.crc32(e.scene.encode()) % 2].append(e)
    trials = [halves, halves[::-1]] if learned is None else [(learned, halves[0] + halves[1])]
    right = 0
    for known, tried in trials:
        usual: dict[str, Counter] = defaultdict(Counter)
        for e in known:
            for key in (words(e), e.kind):
                usual[key][answer_class(e)] += 1
        for e in tried:
            answers = usual.get(words(e)) or usual.get(e.kind)
            right += answers is not None and answers.most_common(1)[0][0] == answer_class(e)
    return right / max(len(halves[0]) + len(halves[1]), 1)


def words(example: Example) -> str:
    """Like ``group``, with the anchor of a question about distance."""
    return f"{group(example)} {noun(example.derivation['slots'].get('anchor', ''))}"


def counts_table(examples: Iterable[Example]) -> list[list[str | int]]:
    """Rows of task, number in each domain, sum, mean words of the answer; like the papers' table of
    data.
    """
    counts, words = defaultdict(Counter), defaultdict(list)
    for e in examples:
        counts[e.task][parse_name(e.scene).domain] += 1
        words[e.task].append(len(e.answers[0].split()))
    usual = ("scannet", "rscan", "multiscan", "arkitscenes")
    domains = [d for d in usual if any(d in c for c in counts.values())]
    rows = [
        [t, *(counts[t][d] for d in domains), counts[t].total(), round(float(np.mean(words[t])))]
        for t in TASKS
        if t in counts
    ]
    return [["task", *domains, "sum", "words"], *rows]


def kinds_table(
    examples: Iterable[Example], learned: Iterable[Example] | None = None
) -> list[list[str | int]]:
    """Rows of kind, number, majority answer, its share, ``blind`` (where given, learned from other
    examples), top 15 answers.
    """
    learned = None if learned is None else [e for e in learned if e.task == "qa"]
    kinds = defaultdict(list)
    for e in examples:
        if e.task in ("qa", "grounding"):
            kinds["grounding" if e.task == "grounding" else e.kind].append(e)
    rows = []
    for kind, some in kinds.items():
        top = Counter(e.answers[0] for e in some).most_common(1)[0][0]
        with_words = "-" if kind == "grounding" else f"{blind(some, learned):.0%}"
        rows.append(
            [kind, len(some), top, f"{majority(some):.0%}", with_words, f"{occupancy(some):.0%}"]
        )
    return [["kind", "questions", "majority answer", "right", "blind", "top 15 answers"], *rows]
