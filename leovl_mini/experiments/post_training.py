"""SceneDPO and its rivals: equal steps on the same pairs, from one start; then the same questions
in the domain and outside it.

The start knows one domain, with a strong prior on its answers, and rivals learn from that domain
alone. Nothing that is asked afterwards was learned from: other rooms of the domain and of others,
reversed priors, colours in new categories, minimal edits.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from leovl_mini.config import pick_device
from leovl_mini.data.examples import Example
from leovl_mini.data.files import atomic_write, hardware
from leovl_mini.evaluate.answers import (
    clustered_bootstrap,
    exact_match,
    exact_match_refined,
    normalise,
)
from leovl_mini.evaluate.preferences import contrast_log_probs, edit_outcomes
from leovl_mini.evaluate.run import Seen, predict, scenes_for
from leovl_mini.model.leovl import LeoVL
from leovl_mini.rooms.balance import domain as domain_of
from leovl_mini.rooms.dataset import RoomDataset
from leovl_mini.rooms.facts import SceneGraph
from leovl_mini.scans.scene import InputError
from leovl_mini.tokens.cache import FeatureCache
from leovl_mini.train.batches import to_device
from leovl_mini.train.curriculum import check_features_match, taught
from leovl_mini.train.grpo import on_policy_answers
from leovl_mini.train.pairs import TYPES, Pair, load_pairs, make_pairs, save_pairs, worlds
from leovl_mini.train.post_train import METHODS, run_post_training

COMPARED = ("baseline", *METHODS)


Sets = dict[str, list[Example]]


Values = dict[str, list[tuple[str, float]]]  # {measure: (room, value) of every question or pair}


# -- what is asked ---------------------------------------------------------------------------------


def spread(items: Sequence, count: int) -> list:
    """At most ``count`` items, evenly from the whole sequence."""
    return [items[i] for i in np.linspace(0, len(items) - 1, min(count, len(items))).astype(int)]


def build_test_sets(
    rooms: RoomDataset,
    features: FeatureCache,
    world: Callable[[str], SceneGraph],
    kinds: set[str],
    domain: str,
    questions: int,
) -> tuple[Sets, list[Pair]]:
    """At most ``questions`` in every set, about rooms kept for testing; half as many pairs for each
    type of wrong scene.
    """
    test, reverse, novel, edits = (
        [e for e in rooms.examples(split) if e.kind in kinds and e.scene in features]
        for split in ("test", "reversed-test", "novel", "pairs-test")
    )
    sets = {
        name: [e for e in test if domain_of(e) == name]
        for name in sorted({domain_of(e) for e in test})
    }
    sets |= {
        name: [e for e in some if domain_of(e) == domain]
        for name, some in (("reversed", reverse), ("novel", novel))
    }
    sets["absent"] = [e for e in test if e.kind == "existence" and e.answers[0] == "no"]
    sets = {name: spread(some, questions) for name, some in sets.items()}
    for name, inside in (
        ("edits", True),
        ("edits elsewhere", False),
    ):  # three questions each, which stay together
        some = [e for e in edits if (domain_of(e) == domain) == inside]
        whole = spread(sorted({e.derivation["pair"] for e in some}), questions // 3)
        sets[name] = [e for e in some if e.derivation["pair"] in whole]
    held = make_pairs([*test, *edits], world, features.file_of, domain)
    pairs = [
        p for type in TYPES for p in spread([p for p in held if p.type == type], questions // 2)
    ]
    return {name: some for name, some in sets.items() if some}, pairs


def measure(model: LeoVL, seen: Seen, sets: Sets, pairs: Sequence[Pair], domain: str) -> Values:
    """Everything that the table is made of, not yet averaged. "wrong scene": the domain's
    questions, about another room.
    """
    values: dict[str, list] = {}
    for name, examples in {**sets, "wrong scene": sets[domain]}.items():
        shown = scenes_for(
            name if name == "wrong scene" else "scene", seen, (e.scene for e in examples)
        )
        said = predict(model, shown, examples)
        for label, score in (("EM", exact_match), ("EM-R", exact_match_refined)):
            values[f"{label}, {name}"] = [
                (e.scene, score(s, e.answers)) for s, e in zip(said, examples, strict=True)
            ]
        if name == "absent":
            values["hallucination"] = [
                (e.scene, normalise(s) == "yes") for s, e in zip(said, examples, strict=True)
            ]
        if name.startswith("edits"):
            outcomes = edit_outcomes(said, examples)
            for i, label in enumerate(("pair accuracy", "invariance")):
                values[f"{label}, {name}"] = [
                    (pair.split("/")[0], outcome[i]) for pair, outcome in outcomes.items()
                ]
    right, wrong_answer, wrong_scene = contrast_log_probs(model, pairs, seen)
    found = {
        "answer contrast": right > wrong_answer,
        "scene contrast": right > wrong_scene,
        "gap in nats": right - wrong_scene,
    }
    for label, row in found.items():
        for pair, value in zip(pairs, row.tolist(), strict=True):
            values.setdefault(f"{label}, {pair.type}", []).append((pair.example.scene, value))
    return {
        name: [(scene.split("-")[0], round(float(v), 4)) for scene, v in some]
        for name, some in values.items()
    }


# -- the experiment --------------------------------------------------------------------------------


def compare_methods(
    corpus: Path,
    cache: Path,
    start: Path,
    out: Path,
    methods: Sequence[str] = COMPARED,
    seeds: int = 3,
    steps: int = 200,
    rate: float = 5e-4,
    beta: float = 0.5,
    questions: int = 200,
    domain: str = "scannet",
    split: str = "skewed-train",
    quiet: bool = False,
) -> dict:
    """The whole experiment in the folder ``out``: ``pairs.jsonl``; weights and values of every run,
    such as ``scenedpo-0.json``; and the table, ``rivals.json``. What is there already is not done
    again.

    Pairs come from ``split`` and the minimal edits among its rooms, with the start's own wrong
    answers first.
    """
    if unknown := set(methods) - set(COMPARED):
        raise InputError(f"unknown method {', '.join(unknown)}; choose from: {', '.join(COMPARED)}")
    rooms, features, model = (
        RoomDataset(corpus),
        FeatureCache(cache),
        LeoVL.from_pretrained(start, pick_device("auto")),
    )
    check_features_match(features, model.preset)
    settings = {
        "start": start.name,
        "steps": steps,
        "rate": rate,
        "beta": beta,
        "questions": questions,
        "domain": domain,
        "split": split,
    }
    note = out / "settings.json"
    if note.exists() and json.loads(note.read_text()) != settings:
        raise FileExistsError(
            f"{out} holds runs with other settings ({note.read_text().strip()}); choose another place"
        )
    write(note, settings)

    def seen(name: str):
        found = features.scene(name)
        return dataclasses.replace(found, tokens=to_device(found.tokens, model.device))

    world = worlds(rooms)
    own, edited = (
        [e for e in taught(rooms, s) if domain_of(e) == domain and e.task == "qa"]
        for s in (split, "pairs-train")
    )
    kinds = {e.kind for e in own}
    if not kinds:
        raise InputError(f"{corpus} has no questions of split {split} and domain {domain}")
    if not (out / "pairs.jsonl").exists():
        asked = [e for e in (*own, *edited) if e.kind in kinds and e.scene in features]
        save_pairs(
            make_pairs(
                asked, world, features.file_of, domain, on_policy_answers(model, seen, asked)
            ),
            out / "pairs.jsonl",
        )
    pairs = load_pairs(out / "pairs.jsonl")
    sets, held = build_test_sets(rooms, features, world, kinds, domain, questions)
    runs = {
        out / f"{m.replace(' ', '-')}-{s}.json": (m, s)
        for s in range(seeds)
        for m in methods
        if s == 0 or m != "baseline"
    }
    for file, (method, seed) in tqdm(runs.items(), unit="run", disable=quiet):
        if file.exists():
            continue
        trained, made = model, {"method": method, "seed": seed}
        if method != "baseline":
            where, watched = file.with_suffix(".safetensors"), spread(held, 60)
            trained, made = run_post_training(
                start, pairs, seen, where, method, steps, seed, rate, beta, watched, quiet
            )
        write(file, {**made, "values": measure(trained, seen, sets, held, domain)})
    counts = {
        "pairs": Counter(p.type for p in pairs),
        "wrong answers": Counter(p.reason for p in pairs),
    }
    command = f"leovl-mini train rivals CORPUS --cache CACHE --start {start.name} --seeds {seeds} --steps {steps} --rate {rate}"
    command += f" --beta {beta} --questions {questions} --domain {domain} --split {split}"
    command += "" if tuple(methods) == COMPARED else f' --methods "{",".join(methods)}"'
    table = {"command": command, **settings, **counts, "seeds": seeds, "hardware": hardware()}
    table["results"] = summarised([json.loads(file.read_text()) for file in runs])
    write(out / "rivals.json", table)
    return table


def write(file: Path, content: dict) -> None:
    with atomic_write(file.parent) as partial:
        (partial / file.name).write_text(json.dumps(content) + "\n")


def summarised(runs: Sequence[dict]) -> dict[str, dict]:
    """{method: {"measures": {measure: row}, "dynamics": one list for each seed}}.

    A row: the mean over seeds and questions with its 95 % interval over rooms; "seeds", the mean of
    each; and "gain", the difference from the baseline on the same questions, with its interval.
    """
    table: dict[str, dict] = {}
    base = next((r["values"] for r in runs if r["method"] == "baseline"), None)
    for method in dict.fromkeys(r["method"] for r in runs):
        same = [r for r in runs if r["method"] == method]
        table[method] = {
            "measures": {},
            "dynamics": [r["dynamics"] for r in same if "dynamics" in r],
        }
        for name, first in same[0]["values"].items():
            scores, where = (
                np.array([[v for _, v in r["values"][name]] for r in same]),
                [room for room, _ in first],
            )
            row = {
                "questions": len(where),
                **interval(scores.mean(0), where),
                "seeds": scores.mean(1).round(4).tolist(),
            }
            if base and method != "baseline":
                row["gain"] = interval(scores.mean(0) - [v for _, v in base[name]], where)
            table[method]["measures"][name] = row
    return table


def interval(values: np.ndarray, where: Sequence[str]) -> dict[str, float]:
    return {
        k: round(v, 4)
        for k, v in zip(("mean", "low", "high"), clustered_bootstrap(values, where), strict=True)
    }
