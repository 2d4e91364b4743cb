"""What a model gets right, and what it would have got right without looking: scores per kind and
domain, with controls.
"""

import dataclasses
import functools
import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from leovl_mini.config import get_preset
from leovl_mini.data.examples import Example, load_examples
from leovl_mini.data.files import atomic_write
from leovl_mini.data.samples import is_bundled, samples_folder
from leovl_mini.evaluate.answers import (
    NUMERIC,
    TEXTS,
    clustered_bootstrap,
    score_answer,
    score_answers,
)
from leovl_mini.evaluate.facts import fact_scores
from leovl_mini.model.leovl import LeoVL
from leovl_mini.model.symbols import Symbols
from leovl_mini.perception.encoders import load_encoder
from leovl_mini.rooms.balance import categories, domain, group
from leovl_mini.rooms.dataset import RoomDataset, world_of
from leovl_mini.rooms.edits import asked_elsewhere
from leovl_mini.rooms.facts import SceneGraph
from leovl_mini.scans.load import load_scene
from leovl_mini.tokens.base import SceneInput, SceneTokens
from leovl_mini.tokens.cache import FeatureCache
from leovl_mini.tokens.pipeline import perceive

CONTROLS = ("scene", "no scene", "wrong scene", "permuted", "positions only")


MAIN_SCORE = {"coordinates": "within a cell", "grounding": "F1", **dict.fromkeys(NUMERIC, "MRA")}


SHORT = ("qa",)


Seen = Callable[[str], SceneInput]


def predict(
    model: LeoVL,
    scenes: dict[str, SceneTokens | Symbols | None],
    examples: Sequence[Example],
    max_new_tokens: int = 16,
    quiet: bool = True,
) -> list[str]:
    """Answers, in the order of the examples. A scene is read once for all questions about it."""
    by_scene: dict[str, list[int]] = defaultdict(list)
    for i, example in enumerate(examples):
        by_scene[example.scene].append(i)
    answers = [""] * len(examples)
    model.eval()
    for name, places in tqdm(by_scene.items(), unit="scene", disable=quiet):
        for i, answer in zip(
            places,
            model.generate(scenes[name], [examples[i] for i in places], max_new_tokens),
            strict=True,
        ):
            answers[i] = answer
    return answers


def next_scenes(names: Iterable[str]) -> dict[str, str]:
    """For each scene the next one of the same domain; after the last one, the first."""
    following, names = {}, sorted(set(names))
    for kind in {n.split("_")[0] for n in names}:
        same = [n for n in names if n.split("_")[0] == kind]
        following |= dict(zip(same, same[1:] + same[:1], strict=True))
    return {name: following[name] for name in names}


def scenes_for(
    control: str, seen: Seen, names: Iterable[str], seed: int = 0
) -> dict[str, SceneTokens | None]:
    """What the model is shown in place of each scene.

    "no scene": nothing; "wrong scene": the next scene of the same domain; "permuted": the right
    features on exchanged places; "positions only": the right places, with the mean feature of the
    scene on all of them.
    """
    if control not in CONTROLS:
        raise ValueError(f"unknown control {control!r}; choose one of: {', '.join(CONTROLS)}")
    following = next_scenes(names)
    random, shown = torch.Generator().manual_seed(seed), {}
    for name in following:
        tokens = (
            None
            if control == "no scene"
            else seen(following[name] if control == "wrong scene" else name).tokens
        )
        if control == "permuted":
            tokens = dataclasses.replace(
                tokens, features=tokens.features[torch.randperm(len(tokens), generator=random)]
            )
        elif control == "positions only":
            tokens = dataclasses.replace(
                tokens, features=tokens.features.mean(0).expand_as(tokens.features)
            )
        shown[name] = tokens
    return shown


def majority_baseline(learned: Iterable[Example]) -> Callable[[Example], str]:
    """The answer without a model: the most frequent one of the same kind and categories in
    training; of numbers the median.
    """
    answers: dict[str, list[str]] = defaultdict(list)
    for example in learned:
        for key in (group(example), example.kind):
            answers[key].append(example.answers[0])

    def usual(example: Example) -> str:
        known = answers.get(group(example)) or answers.get(example.kind) or [""]
        if MAIN_SCORE.get(example.kind) == "MRA":
            return sorted(known, key=float)[len(known) // 2] if known != [""] else ""
        return max(sorted(set(known)), key=known.count)

    return usual


def main_score(prediction: str, example: Example) -> float:
    """One number between 0 and 1: EM, MRA for numbers, within one cell of half a metre for
    coordinates, F1 for grounding.
    """
    return score_answer(prediction, example)[
        MAIN_SCORE.get(example.kind if example.task == "qa" else example.task, "EM")
    ]


def summarise(
    predictions: Sequence[str],
    examples: Sequence[Example],
    by: Callable[[Example], str] = lambda e: e.kind,
) -> dict:
    """For every kind (or what ``by`` says): number, mean score and its 95 % interval over rooms;
    "mean" is the mean over kinds.
    """
    found: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for prediction, example in zip(predictions, examples, strict=True):
        found[by(example)].append((main_score(prediction, example), example.scene))
    rows = {}
    for name in sorted(found):
        scores, rooms = zip(*found[name], strict=True)
        mean, low, high = clustered_bootstrap(scores, rooms)
        rows[name] = {
            "questions": len(scores),
            "score": round(mean, 4),
            "low": round(low, 4),
            "high": round(high, 4),
        }
    rows["mean"] = {
        "questions": len(examples),
        "score": round(sum(r["score"] for r in rows.values()) / max(len(rows), 1), 4),
    }
    return rows


def evaluate(
    model: LeoVL,
    seen: Seen,
    examples: Iterable[Example],
    learned: Iterable[Example] = (),
    controls: Sequence[str] = CONTROLS,
    blind: LeoVL | None = None,
    world: Callable[[str], SceneGraph] | None = None,
    quiet: bool = True,
) -> dict[str, dict]:
    """{control: {kind: score}} for short questions; the true scene's by domain, too. "wrong scene,
    its truth": the same answers against what is true in the scene that was shown, where the
    question makes sense there. "common things": the questions that are only about the 15 commonest
    categories of ``learned``. "trained blind": answers of a model that was trained without scenes.
    "usual answer": what is right without any model.
    """
    asked, known = ([e for e in some if e.task in SHORT] for some in (examples, learned))
    common = {
        c for c, _ in Counter(c for e in known for c in sorted(categories(e))).most_common(15)
    }
    results = {}
    for control in controls:
        shown = scenes_for(control, seen, (e.scene for e in asked))
        said = predict(model, shown, asked, quiet=quiet)
        results[control] = summarise(said, asked)
        if control == "wrong scene" and world is not None:
            following = next_scenes(e.scene for e in asked)
            again = [
                (s, asked_elsewhere(world(following[e.scene]), e))
                for s, e in zip(said, asked, strict=True)
            ]
            if again := [(s, e) for s, e in again if e]:
                results["wrong scene, its truth"] = summarise(*zip(*again, strict=True))
        if control == "scene":
            for name in sorted({domain(e) for e in asked}):
                here = [(s, e) for s, e in zip(said, asked, strict=True) if domain(e) == name]
                results[name] = summarise(*zip(*here, strict=True))
            if here := [
                (s, e)
                for s, e in zip(said, asked, strict=True)
                if categories(e) <= common and known
            ]:
                results["common things"] = summarise(*zip(*here, strict=True))
    if blind is not None:
        said = predict(
            blind, scenes_for("no scene", seen, (e.scene for e in asked)), asked, quiet=quiet
        )
        results["trained blind"] = summarise(said, asked)
    if known:
        usual = majority_baseline(known)
        results["usual answer"] = summarise([usual(e) for e in asked], asked)
    return results


def evaluate_texts(
    model: LeoVL,
    seen: Seen,
    examples: Iterable[Example],
    worlds: dict[str, SceneGraph],
    quiet: bool = True,
) -> dict[str, dict]:
    """Captions, plans and dialogues, per task: are the facts true, how many of the reference's are
    told, how many sentences a text are of no known form ("unread")?

    "elsewhere" is the control: the precision of the same texts where each is judged in another
    room, the next of its kind. CIDEr, BLEU-4 and ROUGE-L are inflated by templates and not
    comparable with published ones.
    """
    asked = [e for e in examples if e.task in TEXTS and e.scene in worlds]
    said = predict(
        model,
        scenes_for("scene", seen, (e.scene for e in asked)),
        asked,
        max_new_tokens=192,
        quiet=quiet,
    )
    rows, corpus = score_answers(said, asked, worlds)
    results = {}
    for task, scores in corpus.items():
        places = [i for i, e in enumerate(asked) if e.task == task]
        places = sorted(places, key=lambda i: (asked[i].kind, asked[i].scene))
        far = [
            fact_scores(said[i], worlds[asked[j].scene]).precision
            for i, j in zip(places, places[1:] + places[:1], strict=True)
            if asked[i].scene != asked[j].scene
        ]
        mean = {
            k: np.nanmean([rows[i][k] for i in places])
            for k in ("fact precision", "fact recall", "unread")
        }
        results[task] = {
            "texts": len(places),
            **mean,
            "elsewhere": np.mean(far) if far else math.nan,
            **scores,
        }
    return {task: {k: round(float(v), 4) for k, v in row.items()} for task, row in results.items()}


def as_rows(results: dict[str, dict]) -> list[list[str]]:
    """A table: one row per kind, one column per control or domain, in percent."""
    first = next(iter(results.values()))
    scores = {
        kind: [f"{100 * r[kind]['score']:.0f}" if kind in r else "–" for r in results.values()]
        for kind in first
    }
    return [
        ["kind", "questions", *results],
        *([kind, str(first[kind]["questions"]), *scores[kind]] for kind in first),
    ]


def write_results(path: Path, note: dict, results: dict) -> None:
    with atomic_write(path.parent) as partial:
        (partial / path.name).write_text(json.dumps({**note, "results": results}, indent=1) + "\n")


Material = tuple[Seen, list[Example], list[Example], Callable[[str], SceneGraph]]


def load_eval_data(
    corpus: Path | None = None, cache: Path | None = None, split: str = "val", rooms: int = 200
) -> Material:
    """Scenes, examples, training questions for the usual answers, and what is true in a scene; of a
    corpus with its features, or of the unseen rooms whose features travel with the package.
    """
    if corpus is not None:
        made, features = RoomDataset(corpus), FeatureCache(cache or corpus)
        found = [e for e in made.examples(split) if e.scene in features and not is_bundled(e.scene)]
        names = set(
            sorted({e.scene for e in found}, key=lambda n: (int(n.split("_")[1].split("-")[0]), n))[
                :rooms
            ]
        )  # all domains
        learned = [e for e in made.examples("train") if e.task in SHORT]
        return features.scene, [e for e in found if e.scene in names], learned, made.world
    features = FeatureCache(folder := samples_folder() / "features")
    areas = json.loads(next(iter(features.files.values())).metadata()["areas"])
    examples = {s: list(load_examples(folder / f"{s}.jsonl")) for s in ("train", "val")}
    world = functools.partial(sample_world, features, areas)
    return features.scene, examples["val"], [e for e in examples["train"] if e.task in SHORT], world


def sample_world(features: FeatureCache, areas: dict[str, list[dict]], name: str) -> SceneGraph:
    return world_of({"objects": features.objects[name], "areas": areas[name]})


def load_bundled_rooms(model: LeoVL) -> tuple[Seen, list[Example], Callable[[str], SceneGraph]]:
    """The bundled rooms, perceived when first asked for, with their examples and truths; nothing
    has learned from them (``stages.taught``).
    """
    encoder = load_encoder(
        get_preset(model.preset)["encoder"], get_preset(model.preset)["longest_side"]
    )
    folders = sorted((samples_folder() / "rooms").iterdir())
    seen = functools.cache(
        lambda name: perceive(
            load_scene(samples_folder() / "rooms" / name), model.representation, encoder
        )
    )
    found = [
        dataclasses.replace(e, scene=f.name)
        for f in folders
        for e in load_examples(f / "examples.jsonl")
    ]
    return (
        seen,
        found,
        lambda name: world_of(
            json.loads((samples_folder() / "rooms" / name / "scene.json").read_text())
        ),
    )
