"""How good question-answer data are, and how to make them better: balance answers, measure what can be had without looking.

LEO-VL finds that more data of poor quality hurt, and measures quality by the share of the 15 most frequent answer templates.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np

from leovl_mini.examples import TASKS, Example
from leovl_mini.rooms.furniture import COLOURS, FIXED, LARGE, SMALL
from leovl_mini.rooms.questions import PHRASES

CLOSED = ("existence", "colour", "pattern", "state", "relation", "situated", "nearest", "taller", "stack order", "stacked")
NAMES = sorted([*COLOURS, *LARGE, *SMALL, *FIXED], key=len, reverse=True)
NAME = re.compile(rf"(the |an? )?\b(({'|'.join(NAMES)}|striped|checked|bookshelves)s? ?)+\b")


def noun(words: str) -> str:
    """The category in a name: "red tv stand" -> "tv stand"."""
    return next((n for n in NAMES if n not in COLOURS and words.endswith(n)), words)


def group(example: Example) -> str:
    """Everything the words of a question give away about its answer, apart from colours: kind and categories."""
    slots = example.derivation.get("slots", {})
    if example.kind in ("existence", "count"):
        return f"{example.kind} {example.derivation['about'][0]} {len(example.derivation['about'])}"
    names = [noun(w) for slot, w in slots.items() if slot != "anchor"]
    return " ".join([example.kind, *(sorted(names) if example.kind != "relation" else names)])


def answer_class(example: Example) -> str:
    """The answer, or for a choice between two different categories the category."""
    if example.kind in ("nearest", "taller", "stack order"):
        slots = example.derivation["slots"]
        if noun(slots["a"]) != noun(slots["b"]):
            return noun(example.answers[0])
        return "first" if example.answers[0] == slots["a"] else "second"
    return example.answers[0]


def balance(examples: Iterable[Example], seed: int = 0) -> list[Example]:
    """Drop questions until, inside every ``group``, no answer is more frequent than the next one.

    For closed kinds (yes/no, colours, directions ...) all answers of a group are cut to the same number; where a group has a single
    answer (no bathtub is ever shorter than a stool) it goes altogether. Longer answers and open numbers stay as they are.
    """
    groups: dict[str, dict[str, list[Example]]] = defaultdict(lambda: defaultdict(list))
    kept = []
    for example in examples:
        if example.task != "qa" or example.kind in ("height", "length", "distance", "room size", "coordinates"):
            kept.append(example)
        else:
            groups[group(example)][answer_class(example)].append(example)
    for name, answers in groups.items():
        sizes = sorted((len(a) for a in answers.values()), reverse=True)
        closed = name.startswith(CLOSED)
        most = (min(sizes) if closed and not name.startswith("colour") else sizes[1]) if len(sizes) > 1 else 0
        for answer in answers.values():
            kept += thin(answer, most, seed)
    return sorted(kept, key=lambda e: e.id)


def skew(examples: Iterable[Example], reverse: bool = False, strength: float = 0.85, seed: int = 0) -> list[Example]:
    """Answers with a strong prior: in half of the groups one answer makes up ``strength`` of the questions, in the other half
    another answer. ``reverse`` exchanges the halves, so that what was learned by heart on the one fails on the other."""
    groups: dict[str, dict[str, list[Example]]] = defaultdict(lambda: defaultdict(list))
    for example in examples:
        if example.task == "qa" and example.kind in CLOSED:
            groups[group(example)][answer_class(example)].append(example)
    kept = []
    for name in sorted(groups):
        answers = [groups[name][a] for a in sorted(groups[name])]
        if len(answers) > 1:
            favourite = (sum(name.encode()) + reverse) % 2  # the first or the second answer in alphabetical order
            rest = len(answers[1 - favourite])
            for i, answer in enumerate(answers):
                share = 1.0 if i == favourite else (1 - strength) / strength / (len(answers) - 1)
                kept += thin(answer, round(share * max(len(answers[favourite]), rest)), seed)
    return sorted(kept, key=lambda e: e.id)


def simplistic(examples: Iterable[Example]) -> list[Example]:
    """Poor data on purpose: is there a chair, yes; how many beds, 1. Always the same words and the most usual answers."""
    poor = []
    for e in examples:
        if (e.kind, e.answers[0]) in (("existence", "yes"), ("count", "1")):
            text = PHRASES[e.kind][0].format(**e.derivation["slots"])
            poor.append(Example(f"{e.id}/simple", e.scene, "qa", e.kind, text, e.answers, derivation=e.derivation))
    return poor


def thin(examples: list[Example], most: int, seed: int) -> list[Example]:
    rng = np.random.default_rng((seed, len(examples)))
    return [examples[i] for i in sorted(rng.permutation(len(examples))[:most])]


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


def blind(examples: Iterable[Example]) -> float:
    """How often one is right without looking, by giving the usual answer to a question of the same kind about the same categories.

    The question itself does not count towards the usual answer; where there is no other, the kind's usual one is given.
    """
    examples, groups = list(examples), defaultdict(Counter)
    everything = Counter(answer_class(e) for e in examples)
    for e in examples:
        groups[f"{group(e)} {noun(e.derivation['slots'].get('anchor', ''))}"][answer_class(e)] += 1
    right = 0
    for e in examples:
        others = groups[f"{group(e)} {noun(e.derivation['slots'].get('anchor', ''))}"] - Counter([answer_class(e)])
        right += (others or everything).most_common(1)[0][0] == answer_class(e)
    return right / max(len(examples), 1)


def domain(example: Example) -> str:
    return example.scene.split("_")[0]


def counts_table(examples: Iterable[Example]) -> list[list[str | int]]:
    """Rows of task, number in each domain, sum, mean words of the answer; like the papers' table of data."""
    counts, words = defaultdict(Counter), defaultdict(list)
    for e in examples:
        counts[e.task][domain(e)] += 1
        words[e.task].append(len(e.answers[0].split()))
    domains = sorted({d for c in counts.values() for d in c})
    rows = [[t, *(counts[t][d] for d in domains), counts[t].total(), round(float(np.mean(words[t])))] for t in TASKS if t in counts]
    return [["task", *domains, "sum", "words"], *rows]


def kinds_table(examples: Iterable[Example]) -> list[list[str | int]]:
    """Rows of kind, number, majority answer and its share, and the share right if the question's words are used as well."""
    kinds = defaultdict(list)
    for e in examples:
        if e.task in ("qa", "grounding"):
            kinds["grounding" if e.task == "grounding" else e.kind].append(e)
    rows = []
    for kind, some in kinds.items():
        top = Counter(e.answers[0] for e in some).most_common(1)[0][0]
        with_words = "-" if kind == "grounding" else f"{blind(some):.0%}"
        rows.append([kind, len(some), top, f"{majority(some):.0%}", with_words, f"{occupancy(some):.0%}"])
    return [["kind", "questions", "majority answer", "right", "blind", "top 15 answers"], *rows]
