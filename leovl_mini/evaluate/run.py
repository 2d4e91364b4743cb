"""What a model gets right, and what it would have got right without looking: scores per kind and
domain, with controls.

Explained in notebook 08 (evaluation).
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import compress

import numpy as np
from tqdm import tqdm

from leovl_mini.data.examples import Example
from leovl_mini.evaluate.answers import SHORT, TEXTS, main_score
from leovl_mini.evaluate.captions import caption_scores
from leovl_mini.evaluate.controls import (
    CONTROLS,
    majority_baseline,
    next_scenes,
    scenes_for,
)
from leovl_mini.evaluate.data import EvalData
from leovl_mini.evaluate.facts import fact_scores
from leovl_mini.evaluate.intervals import clustered_bootstrap
from leovl_mini.model.leovl import LeoVL
from leovl_mini.model.symbols import Symbols
from leovl_mini.rooms.balance import categories
from leovl_mini.rooms.edits import asked_elsewhere
from leovl_mini.rooms.facts import SceneGraph
from leovl_mini.rooms.room import parse_name
from leovl_mini.tokens.base import SceneTokens


def predict(
    model: LeoVL,
    scenes: dict[str, SceneTokens | Symbols | None],
    examples: Sequence[Example],
    max_new_tokens: int = 16,
    quiet: bool = True,
) -> list[str]:
    """The model's answers, in the order of the examples. Each scene is read once for all questions
    about it.
    """
    by_scene: dict[str, list[int]] = defaultdict(list)
    for i, example in enumerate(examples):
        by_scene[example.scene].append(i)

    predictions = [""] * len(examples)
    model.eval()
    for name, places in tqdm(by_scene.items(), unit="scene", disable=quiet):
        answers = model.generate(scenes[name], [examples[i] for i in places], max_new_tokens)
        for i, answer in zip(places, answers, strict=True):
            predictions[i] = answer
    return predictions


def summarise(predictions: Sequence[str], examples: Sequence[Example]) -> dict[str, dict]:
    """{kind: number of questions, mean ``main_score`` and its 95 % interval over rooms}; "mean" is
    the mean over kinds.
    """
    by_kind: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for prediction, example in zip(predictions, examples, strict=True):
        by_kind[example.kind].append((main_score(prediction, example), example.scene))

    rows = {}
    for kind in sorted(by_kind):
        scores, rooms = zip(*by_kind[kind], strict=True)
        mean, low, high = clustered_bootstrap(scores, rooms)
        rows[kind] = {
            "questions": len(scores),
            "score": round(mean, 4),
            "low": round(low, 4),
            "high": round(high, 4),
        }
    mean = sum(row["score"] for row in rows.values()) / max(len(rows), 1)
    rows["mean"] = {"questions": len(examples), "score": round(mean, 4)}
    return rows


# -- short answers ---------------------------------------------------------------------------------


def evaluate(
    model: LeoVL,
    data: EvalData,
    controls: Sequence[str] = CONTROLS,
    question_only: LeoVL | None = None,
    quiet: bool = True,
) -> dict[str, dict]:
    """{control: {kind: score}} of the short answers; those about the true scene also by domain.

    "common things": the questions that are only about the 15 commonest categories of training.
    "wrong scene, its truth": the answers about the wrong scene against what is true there, where
    the question makes sense there. "question-only": answers of a model that was trained without
    scenes. "majority": what is right without any model.
    """
    questions = [e for e in data.examples if e.task in SHORT]
    train_examples = [e for e in data.train_examples if e.task in SHORT]
    names = [e.scene for e in questions]

    results = {}
    for control in controls:
        scenes = scenes_for(control, data.scene_input, names)
        predictions = predict(model, scenes, questions, quiet=quiet)
        results[control] = summarise(predictions, questions)
        if control == "scene":
            results |= by_domain(predictions, questions)
            results |= about_common_things(predictions, questions, train_examples)
        if control == "wrong scene":
            results |= against_its_truth(predictions, questions, data)

    if question_only is not None:
        predictions = predict(question_only, dict.fromkeys(names), questions, quiet=quiet)
        results["question-only"] = summarise(predictions, questions)
    if train_examples:
        majority = majority_baseline(train_examples)
        results["majority"] = summarise([majority(e) for e in questions], questions)
    return results


def by_domain(predictions: Sequence[str], questions: Sequence[Example]) -> dict[str, dict]:
    domains = [parse_name(question.scene).domain for question in questions]
    return {
        name: summarise_part(predictions, questions, [d == name for d in domains])
        for name in sorted({*domains} - {""})
    }


def about_common_things(
    predictions: Sequence[str], questions: Sequence[Example], train_examples: Sequence[Example]
) -> dict[str, dict]:
    counts = Counter(c for example in train_examples for c in sorted(categories(example)))
    common = {category for category, _ in counts.most_common(15)}
    keep = [
        bool(train_examples)
        and parse_name(question.scene).domain != ""
        and categories(question) <= common
        for question in questions
    ]
    return {"common things": summarise_part(predictions, questions, keep)} if any(keep) else {}


def summarise_part(
    predictions: Sequence[str], questions: Sequence[Example], keep: Sequence[bool]
) -> dict[str, dict]:
    return summarise(list(compress(predictions, keep)), list(compress(questions, keep)))


def against_its_truth(
    predictions: Sequence[str], questions: Sequence[Example], data: EvalData
) -> dict[str, dict]:
    if data.graph is None:
        return {}
    following = next_scenes(question.scene for question in questions)
    elsewhere = [asked_elsewhere(data.graph(following[q.scene]), q) for q in questions]
    rows = [(p, other) for p, other in zip(predictions, elsewhere, strict=True) if other]
    return {"wrong scene, its truth": summarise(*zip(*rows, strict=True))} if rows else {}


# -- texts -----------------------------------------------------------------------------------------


def evaluate_texts(
    model: LeoVL, data: EvalData, scenes: Iterable[str], quiet: bool = True
) -> dict[str, dict]:
    """{task: ``score_texts``} of the captions, plans and dialogues about some scenes."""
    graphs = {name: data.graph(name) for name in scenes}
    examples = [e for e in data.examples if e.task in TEXTS and e.scene in graphs]
    shown = scenes_for("scene", data.scene_input, (e.scene for e in examples))
    predictions = predict(model, shown, examples, max_new_tokens=192, quiet=quiet)

    results = {}
    for task in TEXTS:
        rows = [r for r in zip(predictions, examples, strict=True) if r[1].task == task]
        if rows:
            rows.sort(key=lambda row: (row[1].kind, row[1].scene))
            results[task] = score_texts(*zip(*rows, strict=True), graphs)
    return results


def score_texts(
    predictions: Sequence[str], examples: Sequence[Example], graphs: dict[str, SceneGraph]
) -> dict[str, float]:
    """Scores of texts of one task: are the facts true, how many of the reference's are told, how
    many sentences a text are of no known form ("unread")?

    "elsewhere" is the control: the precision of the same texts where each is judged in another
    room, that of the next example. CIDEr, BLEU-4 and ROUGE-L are inflated by templates and not
    comparable with published ones.
    """
    facts = [
        fact_scores(prediction, graphs[example.scene], example)
        for prediction, example in zip(predictions, examples, strict=True)
    ]
    following = [*examples[1:], *examples[:1]]
    elsewhere = [
        fact_scores(prediction, graphs[other.scene]).precision
        for prediction, example, other in zip(predictions, examples, following, strict=True)
        if example.scene != other.scene
    ]
    scores = {
        "texts": len(examples),
        "fact precision": np.mean([f.precision for f in facts]),
        "fact recall": np.nanmean([f.recall for f in facts]),
        "unread": np.mean([f.unread for f in facts]),
        "elsewhere": np.mean(elsewhere) if elsewhere else math.nan,
        **caption_scores(predictions, [example.answers for example in examples]),
    }
    return {name: round(float(score), 4) for name, score in scores.items()}


# -- tables ----------------------------------------------------------------------------------------


def as_rows(results: dict[str, dict]) -> list[list[str]]:
    """A table: one row per kind, one column per control or domain, in percent."""
    first = next(iter(results.values()))
    rows = [["kind", "questions", *results]]
    for kind, row in first.items():
        scores = [f"{100 * r[kind]['score']:.0f}" if kind in r else "–" for r in results.values()]
        rows.append([kind, str(row["questions"]), *scores])
    return rows
