"""SceneDPO and the methods it is compared with: equal steps on the same pairs, from one start; then
the same questions in the domain and outside it.

The start knows one domain, with a strong prior on its answers, and all methods learn from that
domain alone. Nothing that is asked afterwards was learned from: other rooms of the domain and of
others, reversed priors, colours in new categories, minimal edits.

Explained in notebook 09 (scenedpo).
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from leovl_mini.config import (
    ComparisonConfig,
    PostTrainConfig,
    command_of,
    pick_device,
    settings_of,
)
from leovl_mini.data.examples import Example, SceneSource
from leovl_mini.data.files import hardware, write_json
from leovl_mini.evaluate.intervals import clustered_bootstrap
from leovl_mini.experiments.measures import build_test_pairs, build_test_sets, measure, spread
from leovl_mini.model.leovl import LeoVL
from leovl_mini.rooms.dataset import RoomDataset
from leovl_mini.rooms.room import parse_name
from leovl_mini.scans.scene import InputError
from leovl_mini.tokens.base import SceneInput
from leovl_mini.tokens.cache import FeatureCache, check_features_match
from leovl_mini.train.batches import to_device
from leovl_mini.train.curriculum import train_examples
from leovl_mini.train.grpo import on_policy_answers
from leovl_mini.train.pairs import load_pairs, make_pairs, save_pairs, visible_graphs
from leovl_mini.train.post_train import METHODS, run_post_training
from leovl_mini.train.runlog import RUN

COMPARED = ("baseline", *METHODS)


def compare_methods(config: ComparisonConfig, quiet: bool = False) -> dict:
    """The whole experiment in the folder ``config.out``: ``pairs.jsonl``; of every run a folder,
    such as ``scenedpo-0``, and its values, ``scenedpo-0.json``; and the table, ``comparison.json``.
    What is there already is not done again.

    Pairs come from ``split`` and the minimal edits among its rooms, with the start's own wrong
    answers first.
    """
    if unknown := set(config.methods) - set(COMPARED):
        raise InputError(f"unknown method {', '.join(unknown)}; choose from: {', '.join(COMPARED)}")
    rooms, features = RoomDataset(config.corpus), FeatureCache(config.cache)
    model = LeoVL.from_pretrained(config.start, pick_device("auto"))
    check_features_match(features, model.preset)
    keep_settings(config)

    def scene_input(name: str) -> SceneInput:
        scene = features.scene(name)
        return dataclasses.replace(scene, tokens=to_device(scene.tokens, model.device))

    graph = visible_graphs(rooms)
    own = questions_of(config, rooms, config.split)
    kinds = {e.kind for e in own}
    if not kinds:
        raise InputError(
            f"{config.corpus} has no questions of split {config.split} and domain {config.domain}"
        )
    file = config.out / "pairs.jsonl"
    if not file.exists():
        questions = [*own, *questions_of(config, rooms, "pairs-train")]
        questions = [e for e in questions if e.kind in kinds and e.scene in features]
        on_policy = on_policy_answers(model, scene_input, questions)
        save_pairs(make_pairs(questions, graph, features, config.domain, on_policy), file)
    pairs = load_pairs(file)

    where = rooms, features
    sets = build_test_sets(*where, kinds, config.domain, config.questions)
    held = build_test_pairs(*where, graph, kinds, config.domain, config.questions // 2)
    for run in tqdm(runs_of(config), unit="run", disable=quiet):
        file, trained, log = run.out.with_suffix(".json"), model, {}
        if file.exists():
            continue
        if run.method != "baseline":
            trained = run_post_training(run, pairs, scene_input, spread(held, 60), quiet)
            log = json.loads((run.out / RUN).read_text())
        values = measure(trained, scene_input, sets, held, config.domain)
        write_json(file, {"method": run.method, "seed": run.seed, **log, "values": values})

    files = [run.out.with_suffix(".json") for run in runs_of(config)]
    table = {
        "command": command_of("reproduce post-training", config),
        "config": settings_of(config),
        "pairs": Counter(p.type for p in pairs),
        "wrong answers": Counter(p.reason for p in pairs),
        "seeds": config.seeds,
        "hardware": hardware(),
        "results": summarised([json.loads(file.read_text()) for file in files]),
    }
    write_json(config.out / "comparison.json", table)
    return table


def keep_settings(config: ComparisonConfig) -> None:
    """Note the settings that all runs in the folder must share; methods and seeds may be added."""
    settings = settings_of(config)
    for name in ("methods", "seeds", "out"):
        settings.pop(name)
    note = config.out / "settings.json"
    if note.exists() and json.loads(note.read_text()) != settings:
        raise FileExistsError(
            f"{config.out} holds runs with other settings ({note.read_text().strip()}); "
            "choose another place"
        )
    write_json(note, settings)


def questions_of(config: ComparisonConfig, rooms: SceneSource, split: str) -> list[Example]:
    """What may be learned from: short questions about the one domain."""
    examples = train_examples(rooms, split)
    return [e for e in examples if parse_name(e.scene).domain == config.domain and e.task == "qa"]


def runs_of(config: ComparisonConfig) -> list[PostTrainConfig]:
    """Every method with every seed; the start, "baseline", once."""
    return [
        PostTrainConfig(
            pairs=config.out / "pairs.jsonl",
            cache=config.cache,
            start=config.start,
            out=config.out / f"{method.replace(' ', '-')}-{seed}",
            method=method,
            steps=config.steps,
            learning_rate=config.learning_rate,
            beta=config.beta,
            seed=seed,
        )
        for seed in range(config.seeds)
        for method in config.methods
        if seed == 0 or method != "baseline"
    ]


def reproduce(config: ComparisonConfig) -> list:
    """``leovl-mini reproduce post-training``: the means of every method as a table."""
    results = compare_methods(config)["results"]
    measures = next(iter(results.values()))["measures"]
    rows = [
        [name, *(f"{row['measures'][name]['mean']:.3f}" for row in results.values())]
        for name in measures
    ]
    return [("means over seeds", [["measure", *results], *rows])]


def summarised(runs: Sequence[dict]) -> dict[str, dict]:
    """{method: {"measures": {measure: row}, "dynamics": one list for each seed}}.

    A row: the mean over seeds and questions with its 95 % interval over rooms; "seeds", the mean of
    each; and "gain", the difference from the baseline on the same questions, with its interval.
    """
    table: dict[str, dict] = {}
    base = next((run["values"] for run in runs if run["method"] == "baseline"), None)
    for method in dict.fromkeys(run["method"] for run in runs):
        seeds = [run for run in runs if run["method"] == method]
        measures = {}
        for name, first in seeds[0]["values"].items():
            scores = np.array([[v for _, v in run["values"][name]] for run in seeds])
            rooms = [room for room, _ in first]
            row = {
                "questions": len(rooms),
                **interval(scores.mean(0), rooms),
                "seeds": scores.mean(1).round(4).tolist(),
            }
            if base and method != "baseline":
                row["gain"] = interval(scores.mean(0) - [v for _, v in base[name]], rooms)
            measures[name] = row
        dynamics = [run["scores"] for run in seeds if "scores" in run]
        table[method] = {"measures": measures, "dynamics": dynamics}
    return table


def interval(values: np.ndarray, rooms: Sequence[str]) -> dict[str, float]:
    mean, low, high = clustered_bootstrap(values, rooms)
    return {"mean": round(mean, 4), "low": round(low, 4), "high": round(high, 4)}
