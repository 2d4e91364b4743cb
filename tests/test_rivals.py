"""The comparison of SceneDPO and its rivals, as a command, on a tiny corpus."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from leovl_mini import cli_rivals
from leovl_mini.data.examples import load_examples
from leovl_mini.experiments.post_training import (
    COMPARED,
    compare_methods,
    measure,
    spread,
    summarised,
)
from leovl_mini.model.hub import load_weights, notes, save_weights
from leovl_mini.model.leovl import LeoVL
from leovl_mini.rooms import dataset as corpus
from leovl_mini.scans.scene import InputError
from leovl_mini.tokens.cache import FeatureCache, make_cache
from leovl_mini.train.pairs import load_pairs
from leovl_mini.train.post_train import run_post_training

METHODS = ("baseline", "sft", "scenedpo")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Six rooms of each of two domains, most with edits; rooms 3 and 5 are for testing."""
    folder = tmp_path_factory.mktemp("rivals")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "DOMAINS", {d: corpus.DOMAINS[d] for d in ("scannet", "rscan")})
        patch.setattr(corpus, "split_of", lambda number: "test" if number in (3, 5) else "train")
        corpus.make_rooms(folder / "corpus", rooms=12, views=2, workers=1, pairs=0.8, quiet=True)
    make_features(folder / "cache", corpus.RoomDataset(folder / "corpus"), quiet=True)
    torch.manual_seed(0)
    save_weights(
        LeoVL("nano", FeatureCache(folder / "cache").options["channels"]),
        folder / "d1.safetensors",
        {},
    )
    return folder


def compare(made: Path, out: str, methods=METHODS, **options) -> dict:
    where = made / "corpus", made / "cache", made / "d1.safetensors", made / out
    return compare_methods(
        *where, methods, **{"seeds": 2, "steps": 2, "questions": 6, "quiet": True} | options
    )


@pytest.fixture(scope="module")
def table(made) -> dict:
    return compare(made, "runs")


def test_every_method_is_asked_the_same(made, table):
    runs = {f: json.loads(f.read_text()) for f in (made / "runs").glob("*-?.json")}
    assert sorted(f.stem for f in runs) == [
        "baseline-0",
        "scenedpo-0",
        "scenedpo-1",
        "sft-0",
        "sft-1",
    ]
    asked = [
        {k: [room for room, _ in some] for k, some in run["values"].items()}
        for run in runs.values()
    ]
    assert all(a == asked[0] for a in asked)
    names = {
        "EM, scannet",
        "EM-R, rscan",
        "EM, reversed",
        "EM, novel",
        "EM, wrong scene",
        "hallucination",
    }
    names |= {
        "pair accuracy, edits",
        "invariance, edits elsewhere",
        "scene contrast, random",
        "answer contrast, random",
    }
    assert (
        names <= set(asked[0])
        and len(asked[0]["EM, scannet"]) == len(asked[0]["EM, wrong scene"]) == 6
    )
    for method in METHODS:
        for row in table["results"][method]["measures"].values():
            assert len(row["seeds"]) == (1 if method == "baseline" else 2) and ("gain" in row) == (
                method != "baseline"
            )


def test_nothing_that_is_asked_was_learned_from(made, table):
    learned = {
        name.split("-")[0]
        for p in load_pairs(made / "runs" / "pairs.jsonl")
        for name in (p.example.scene, p.negative)
    }
    values = json.loads((made / "runs" / "baseline-0.json").read_text())["values"]
    assert learned and all(name.startswith("scannet") for name in learned)
    assert learned.isdisjoint(room for some in values.values() for room, _ in some)
    assert {e.scene for e in load_examples(made / "corpus" / "test.jsonl")}.isdisjoint(learned)


def test_what_is_there_is_not_done_again_and_other_settings_are_refused(made, table, monkeypatch):
    monkeypatch.setattr(
        "leovl_mini.experiments.post_training.run_post_training", None
    )  # would fail if it were called
    (made / "runs" / "rivals.json").unlink()
    assert json.dumps(compare(made, "runs")) == json.dumps(
        table
    )  # as text: without an interval there is NaN, which equals nothing
    assert (made / "runs" / "rivals.json").read_text() == json.dumps(table) + "\n"
    with pytest.raises(FileExistsError, match="other settings"):
        compare(made, "runs", steps=3)
    with pytest.raises(InputError, match="unknown method ppo"):
        compare(made, "other", ("ppo",))
    with pytest.raises(InputError, match="no questions of split skewed-train and domain moon"):
        compare(made, "other", domain="moon")


def test_weights_and_curves_of_a_run(made, table):
    run = json.loads((made / "runs" / "scenedpo-1.json").read_text())
    assert [row["step"] for row in run["dynamics"]] == [0, 1, 2] and len(run["losses"]) == 2
    weights = made / "runs" / "scenedpo-1.safetensors"
    start, trained = LeoVL.from_pretrained(made / "d1.safetensors"), LeoVL.from_pretrained(weights)
    assert (
        notes(weights)["method"] == "scenedpo"
        and "--beta 0.5 --seed 1" in notes(weights)["command"]
    )
    assert not torch.equal(start.language.lm_head.weight, trained.language.lm_head.weight)
    assert torch.equal(start.projector[1].weight, trained.projector[1].weight)
    assert not [
        f for f in (made / "runs").iterdir() if f.suffix == ".checkpoint" or "progress" in f.name
    ]


def test_a_killed_run_goes_on(made, table, monkeypatch):
    pairs, seen = load_pairs(made / "runs" / "pairs.jsonl"), FeatureCache(made / "cache").scene
    options = {"steps": 3, "held": pairs[:2], "quiet": True}
    _, unbroken = run_post_training(
        made / "d1.safetensors", pairs, seen, made / "unbroken.safetensors", **options
    )
    with monkeypatch.context() as patch:
        patch.setattr(
            "leovl_mini.train.post_train.save_weights", lambda *_: 1 / 0
        )  # killed at the very end
        with pytest.raises(ZeroDivisionError):
            run_post_training(
                made / "d1.safetensors", pairs, seen, made / "killed.safetensors", **options
            )
    assert (made / "killed.checkpoint").exists()
    with pytest.raises(InputError, match="is of another run"):
        run_post_training(
            made / "d1.safetensors", pairs, seen, made / "killed.safetensors", "grpo", **options
        )
    _, resumed = run_post_training(
        made / "d1.safetensors", pairs, seen, made / "killed.safetensors", **options
    )
    curves = [[{**row, "minutes": 0} for row in run["dynamics"]] for run in (unbroken, resumed)]
    assert resumed["losses"] == unbroken["losses"] and curves[0] == curves[1]


def test_a_run_without_curves_is_not_continued_by_another_method(made, table, monkeypatch):
    pairs, seen = load_pairs(made / "runs" / "pairs.jsonl"), FeatureCache(made / "cache").scene
    monkeypatch.setattr("leovl_mini.train.post_train.save_weights", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_post_training(
            made / "d1.safetensors", pairs, seen, made / "plain.safetensors", steps=1, quiet=True
        )
    with pytest.raises(InputError, match="is of another run .*scenedpo.*, now .*grpo"):
        run_post_training(
            made / "d1.safetensors",
            pairs,
            seen,
            made / "plain.safetensors",
            "grpo",
            steps=1,
            quiet=True,
        )


def test_means_over_seeds_and_gains_over_the_baseline():
    values = {"baseline": [[0, 0, 1]], "sft": [[1, 0, 1], [1, 1, 1]]}
    runs = [
        {"method": m, "seed": s, "values": {"EM": list(zip("aab", v, strict=True))}}
        for m, some in values.items()
        for s, v in enumerate(some)
    ]
    row = summarised(runs)["sft"]["measures"]["EM"]
    assert (
        row["mean"] == pytest.approx(5 / 6, abs=1e-4)
        and row["seeds"] == [0.6667, 1.0]
        and row["questions"] == 3
    )
    assert (
        row["gain"]["mean"] == pytest.approx(0.5)
        and row["gain"]["low"] == 0
        and row["gain"]["high"] == 0.75
    )
    assert row["low"] == 0.75 and row["high"] == 1


def test_wrong_scenes_and_hallucinations_by_hand(made, table, monkeypatch):
    examples = [e for e in load_examples(made / "corpus" / "test.jsonl") if e.kind == "existence"]
    absent = [e for e in examples if e.answers[0] == "no"]
    shown = []

    def always_yes(model, scenes, examples):
        shown.append(scenes)
        return ["Yes."] * len(examples)

    monkeypatch.setattr("leovl_mini.experiments.post_training.predict", always_yes)
    monkeypatch.setattr(
        "leovl_mini.experiments.post_training.contrast_log_probs", lambda *_: torch.zeros(3, 0)
    )
    values = measure(
        LeoVL("nano", channels=8),
        FeatureCache(made / "cache").scene,
        {"absent": absent, "scannet": examples},
        [],
        "scannet",
    )
    assert all(v == 1 for _, v in values["hallucination"]) and len(values["hallucination"]) == len(
        absent
    )
    assert [v for _, v in values["EM, scannet"]] == [e.answers[0] == "yes" for e in examples]
    for name in shown[1].keys() & shown[2].keys():
        assert not torch.equal(
            shown[1][name].centers[:9], shown[2][name].centers[:9]
        )  # "wrong scene" shows another one


def test_spread_takes_from_everywhere():
    assert (
        spread(range(10), 3) == [0, 4, 9] and spread(range(2), 5) == [0, 1] and spread([], 4) == []
    )


def test_commands(made, table):
    def run(*arguments: object):
        return CliRunner().invoke(cli_rivals.train_app, [str(a) for a in arguments])

    where = ["--cache", made / "cache", "--start", made / "d1.safetensors"]
    few = ["--seeds", 2, "--steps", 2, "--questions", 6, "--methods", "baseline, sft"]
    result = run("rivals", made / "corpus", *where, "--out", made / "runs", *few)
    assert result.exit_code == 0 and "sft" in result.output and "hallucination" in result.output
    one = ["--out", made / "one.safetensors", "--method", "grpo", "--steps", 1]
    result = run("prefer", made / "runs" / "pairs.jsonl", *where, *one)
    assert (
        result.exit_code == 0
        and "1 steps" in result.output
        and LeoVL.from_pretrained(made / "one.safetensors").trained
    )
    result = run("card", made / "one.safetensors", "one", "--out", made / "shelf")
    card = (made / "shelf" / "one.md").read_text()
    assert (
        result.exit_code == 0
        and "\nPAIRS: " in card
        and '--method "grpo" --steps 1 --rate 0.0005 --beta 0.5 --seed 0`' in card
    )
    assert "grpo" in COMPARED and notes(made / "one.safetensors")["method"] == "grpo"
