"""Post-training as commands run it, and the comparison of its methods."""

import dataclasses
import json

import pytest
import torch

from leovl_mini import cli
from leovl_mini.config import ComparisonConfig, PostTrainConfig
from leovl_mini.data.examples import load_examples
from leovl_mini.experiments import measures, post_training
from leovl_mini.experiments.measures import measure, spread
from leovl_mini.experiments.post_training import COMPARED, compare_methods, summarised
from leovl_mini.model.leovl import LeoVL
from leovl_mini.scans.scene import InputError
from leovl_mini.tokens.cache import FeatureCache
from leovl_mini.train.pairs import load_pairs
from leovl_mini.train.post_train import run_post_training
from leovl_mini.train.runlog import RunLog

METHODS = ("baseline", "sft", "scenedpo")


@pytest.fixture(scope="module")
def config(made) -> ComparisonConfig:
    few = {"methods": METHODS, "seeds": 2, "steps": 2, "questions": 6}
    where = (made / name for name in ("corpus", "features", "start", "runs"))
    return ComparisonConfig(*where, **few)


@pytest.fixture(scope="module")
def table(config) -> dict:
    return compare_methods(config, quiet=True)


def test_every_method_is_asked_the_same(config, table):
    runs = {f: json.loads(f.read_text()) for f in config.out.glob("*-?.json")}
    names = ["baseline-0", "scenedpo-0", "scenedpo-1", "sft-0", "sft-1"]
    assert sorted(f.stem for f in runs) == names
    asked = [
        {k: [room for room, _ in rows] for k, rows in run["values"].items()}
        for run in runs.values()
    ]
    assert all(a == asked[0] for a in asked)
    assert set(asked[0]) >= {
        *("EM, scannet", "EM-R, rscan", "EM, reversed", "EM, novel", "EM, wrong scene"),
        *("hallucination", "pair accuracy, edits", "invariance, edits elsewhere"),
        *("scene contrast, random", "answer contrast, random"),
    }
    assert len(asked[0]["EM, scannet"]) == len(asked[0]["EM, wrong scene"]) == 6
    for method in METHODS:
        for row in table["results"][method]["measures"].values():
            assert len(row["seeds"]) == (1 if method == "baseline" else 2)
            assert ("gain" in row) == (method != "baseline")


def test_nothing_that_is_asked_was_learned_from(config, table):
    pairs = load_pairs(config.out / "pairs.jsonl")
    learned = {name.split("-")[0] for p in pairs for name in (p.example.scene, p.negative)}
    values = json.loads((config.out / "baseline-0.json").read_text())["values"]
    assert learned and all(name.startswith("scannet") for name in learned)
    assert learned.isdisjoint(room for rows in values.values() for room, _ in rows)
    test = load_examples(config.corpus / "test.jsonl")
    assert learned.isdisjoint(e.scene for e in test)


def test_what_is_there_is_not_done_again_and_other_settings_are_refused(config, table, monkeypatch):
    monkeypatch.setattr(post_training, "run_post_training", None)  # would fail if it were called
    (config.out / "comparison.json").unlink()
    # As text: without an interval there is NaN, which equals nothing.
    assert json.dumps(compare_methods(config, quiet=True)) == json.dumps(table)
    written = json.loads((config.out / "comparison.json").read_text())
    assert json.dumps(written) == json.dumps(table)
    with pytest.raises(FileExistsError, match="other settings"):
        compare_methods(dataclasses.replace(config, steps=3))
    other = dataclasses.replace(config, out=config.out.with_name("other"))
    with pytest.raises(InputError, match="unknown method ppo"):
        compare_methods(dataclasses.replace(other, methods=("ppo",)))
    with pytest.raises(InputError, match="no questions of split skewed-train and domain moon"):
        compare_methods(dataclasses.replace(other, domain="moon"))


def test_weights_and_curves_of_a_run(config, table):
    run = json.loads((config.out / "scenedpo-1.json").read_text())
    assert [row["step"] for row in run["scores"]] == [0, 1, 2] and len(run["losses"]) == 2
    start = LeoVL.from_pretrained(config.start)
    trained = LeoVL.from_pretrained(config.out / "scenedpo-1")
    assert trained.made["config"]["method"] == "scenedpo" and trained.made["seed"] == 1
    assert "--start start" in trained.made["command"] and "--seed 1" in trained.made["command"]
    assert not torch.equal(start.language.lm_head.weight, trained.language.lm_head.weight)
    assert torch.equal(start.projector[1].weight, trained.projector[1].weight)
    assert not list(config.out.rglob("checkpoint*"))


def test_a_killed_run_goes_on_by_the_same_command_only(config, table, tmp_path, monkeypatch):
    pairs = load_pairs(config.out / "pairs.jsonl")
    scenes = FeatureCache(config.cache).scene
    one = PostTrainConfig(tmp_path, config.cache, config.start, tmp_path / "unbroken", steps=3)
    killed = dataclasses.replace(one, out=tmp_path / "killed")
    run_post_training(one, pairs, scenes, pairs[:2], quiet=True)
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(RunLog, "finish", lambda *_: 1 / 0)  # at the very end
        run_post_training(killed, pairs, scenes, pairs[:2], quiet=True)
    assert (killed.out / "checkpoint.safetensors").exists()
    with pytest.raises(InputError, match="is of another run .*, now .*grpo"):
        run_post_training(dataclasses.replace(killed, method="grpo"), pairs, scenes, quiet=True)
    run_post_training(killed, pairs, scenes, pairs[:2], quiet=True)
    curves = [json.loads((c.out / "run.json").read_text()) for c in (one, killed)]
    for run in curves:
        run["scores"] = [{**row, "minutes": 0} for row in run["scores"]]
    assert curves[0]["losses"] == curves[1]["losses"] and curves[0]["scores"] == curves[1]["scores"]


def test_means_over_seeds_and_gains_over_the_baseline():
    values = {"baseline": [[0, 0, 1]], "sft": [[1, 0, 1], [1, 1, 1]]}
    runs = [
        {"method": m, "seed": s, "values": {"EM": list(zip("aab", v, strict=True))}}
        for m, seeds in values.items()
        for s, v in enumerate(seeds)
    ]
    row = summarised(runs)["sft"]["measures"]["EM"]
    assert row["mean"] == pytest.approx(5 / 6, abs=1e-4) and row["seeds"] == [0.6667, 1.0]
    assert row["questions"] == 3 and (row["low"], row["high"]) == (0.75, 1)
    assert row["gain"] == {"mean": 0.5, "low": 0, "high": 0.75}


def test_wrong_scenes_and_hallucinations_by_hand(made, monkeypatch):
    examples = [e for e in load_examples(made / "corpus" / "test.jsonl") if e.kind == "existence"]
    absent, shown = [e for e in examples if e.answers[0] == "no"], []

    def always_yes(model, scenes, examples):
        shown.append(scenes)
        return ["Yes."] * len(examples)

    monkeypatch.setattr(measures, "predict", always_yes)
    monkeypatch.setattr(measures, "contrast_log_probs", lambda *_: torch.zeros(3, 0))
    sets, scenes = {"absent": absent, "scannet": examples}, FeatureCache(made / "features").scene
    values = measure(LeoVL("nano", channels=8), scenes, sets, [], "scannet")
    assert [v for _, v in values["hallucination"]] == [1.0] * len(absent)
    assert [v for _, v in values["EM, scannet"]] == [e.answers[0] == "yes" for e in examples]
    for name in shown[1].keys() & shown[2].keys():  # "wrong scene" shows another one
        assert not torch.equal(shown[1][name].centers[:9], shown[2][name].centers[:9])


def test_spread_takes_from_everywhere():
    assert spread(range(10), 3) == [0, 4, 9] and spread(range(2), 5) == [0, 1]
    assert spread([], 4) == []


def test_commands(config, table, tmp_path, monkeypatch, capsys):
    def run(*arguments: object) -> str:
        monkeypatch.setattr("sys.argv", ["leovl-mini", *map(str, arguments)])
        cli.main()
        return capsys.readouterr().out

    where = ["--cache", config.cache, "--start", config.start]
    few = ["--seeds", 2, "--steps", 2, "--questions", 6, "--methods", "baseline", "sft"]
    printed = run("reproduce", "post-training", config.corpus, *where, "--out", config.out, *few)
    assert "sft" in printed and "hallucination" in printed
    one = ["--out", tmp_path / "one", "--method", "grpo", "--steps", 1]
    assert "steps 1" in run("train", "prefer", config.out / "pairs.jsonl", *where, *one)
    model = LeoVL.from_pretrained(tmp_path / "one")
    assert model.trained and model.made["command"].endswith("--out one --method grpo --steps 1")
    assert "grpo" in COMPARED
