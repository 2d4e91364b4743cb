"""The comparison of SceneDPO with other methods, on the rooms that travel with the package."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from leovl_mini.config import ComparisonConfig, PostTrainConfig
from leovl_mini.data.samples import samples_folder
from leovl_mini.evaluate.data import load_eval_data
from leovl_mini.experiments import measures, post_training
from leovl_mini.experiments.measures import measure, spread
from leovl_mini.experiments.post_training import compare_methods, reproduce, summarised
from leovl_mini.model.leovl import LeoVL
from leovl_mini.rooms.dataset import RoomDataset
from leovl_mini.scans.scene import InputError
from leovl_mini.tokens.cache import FeatureCache
from leovl_mini.train.pairs import load_pairs
from leovl_mini.train.post_train import run_post_training

METHODS = ("baseline", "sft", "scenedpo")
DATA = load_eval_data()
KINDS = ("existence", "count", "colour")


class SampleRooms(RoomDataset):
    """The rooms whose features travel with the package, in place of a folder of made rooms. Of a
    test room's question an edit is invented: the answer flips in the copy "...-flip".
    """

    def __init__(self, folder: Path):
        pass

    def examples(self, split: str):
        some = DATA.train_examples if "train" in split else DATA.examples
        some = [e for e in some if e.task == "qa" and e.kind in KINDS]
        if split == "pairs-test":
            some = [e for e in some if e.kind == "existence"]
            return [edited(e, role) for e in some for role in ("base", "flip", "same")]
        return [] if split == "pairs-train" else some


def edited(example, role):
    scene = example.scene if role == "base" else f"{example.scene}-{role}"
    answers = ["no" if example.answers == ["yes"] else "yes"] if role == "flip" else example.answers
    derivation = {**example.derivation, "pair": example.id, "role": role}
    return dataclasses.replace(example, scene=scene, answers=answers, derivation=derivation)


class SampleFeatures(FeatureCache):
    """Every tenth token, which is enough here; edited copies look like their rooms."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.file_of |= {f"{n}-{r}": f for n, f in self.file_of.items() for r in ("flip", "same")}

    def scene(self, name: str):
        full = super().scene(name.split("-")[0])
        features, centers = full.tokens.features[::10], full.tokens.centers[::10]
        tokens = dataclasses.replace(full.tokens, features=features, centers=centers)
        return dataclasses.replace(full, tokens=tokens, object_ids=full.object_ids[::10])


@pytest.fixture(autouse=True, scope="module")
def sample_rooms():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(post_training, "RoomDataset", SampleRooms)
        patch.setattr(post_training, "FeatureCache", SampleFeatures)
        graph = lambda name: DATA.graph(name.split("-")[0])  # noqa: E731
        patch.setattr(post_training, "visible_graphs", lambda rooms: graph)
        yield


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("start") / "d1"
    LeoVL("nano").save_pretrained(folder)
    return folder


def config_of(start: Path, name: str = "runs", **options) -> ComparisonConfig:
    options = {"methods": METHODS, "seeds": 2, "steps": 2, "questions": 3} | options
    cache = samples_folder() / "features"
    return ComparisonConfig(Path("rooms"), cache, start, start.parent / name, **options)


@pytest.fixture(scope="module")
def table(start) -> dict:
    return compare_methods(config_of(start), quiet=True)


def test_every_method_is_asked_the_same(start, table):
    runs = {f.stem: json.loads(f.read_text()) for f in (start.parent / "runs").glob("*-?.json")}
    assert set(runs) == {"baseline-0", "scenedpo-0", "scenedpo-1", "sft-0", "sft-1"}
    asked = [
        {name: [room for room, _ in rows] for name, rows in run["values"].items()}
        for run in runs.values()
    ]
    assert all(a == asked[0] for a in asked)
    names = {"EM, scannet", "EM-R, rscan", "EM, reversed", "EM, novel", "EM, wrong scene"}
    names |= {"hallucination", "pair accuracy, edits", "invariance, edits elsewhere"}
    names |= {f"{what} contrast, random" for what in ("answer", "scene")}
    assert names <= set(asked[0])
    assert len(asked[0]["EM, scannet"]) == len(asked[0]["EM, wrong scene"]) == 3
    for method in METHODS:
        for row in table["results"][method]["measures"].values():
            assert len(row["seeds"]) == (1 if method == "baseline" else 2)
            assert ("gain" in row) == (method != "baseline")


def test_nothing_that_is_asked_was_learned_from(start, table):
    pairs = load_pairs(start.parent / "runs" / "pairs.jsonl")
    learned = {name for p in pairs for name in (p.example.scene, p.negative)}
    values = json.loads((start.parent / "runs" / "baseline-0.json").read_text())["values"]
    assert learned and all(name.startswith("scannet") for name in learned)
    assert learned.isdisjoint(room for rows in values.values() for room, _ in rows)


def test_what_is_there_is_not_done_again_and_other_settings_are_refused(start, table, monkeypatch):
    monkeypatch.setattr(post_training, "run_post_training", None)  # would fail if it were called
    file = start.parent / "runs" / "comparison.json"
    file.unlink()
    (title, rows), *_ = reproduce(config_of(start))
    assert file.read_text() == json.dumps(table) + "\n" and title == "means over seeds"
    assert rows[0] == ["measure", *METHODS] and "hallucination" in [row[0] for row in rows]
    for options, error, says in (
        ({"steps": 3}, FileExistsError, "other settings"),
        ({"name": "other", "methods": ("ppo",)}, InputError, "unknown method ppo"),
        ({"name": "other", "domain": "moon"}, InputError, "no questions of split .* domain moon"),
    ):
        with pytest.raises(error, match=says):
            compare_methods(config_of(start, **options), quiet=True)


def test_weights_and_curves_of_a_run(start, table):
    folder = start.parent / "runs" / "scenedpo-1"
    run = json.loads(folder.with_suffix(".json").read_text())
    assert [row["step"] for row in run["scores"]] == [0, 1, 2] and len(run["losses"]) == 2
    before, trained = LeoVL.from_pretrained(start), LeoVL.from_pretrained(folder)
    assert trained.made["config"]["method"] == "scenedpo" and trained.made["seed"] == 1
    assert not torch.equal(before.language.lm_head.weight, trained.language.lm_head.weight)
    assert torch.equal(before.projector[1].weight, trained.projector[1].weight)
    assert not [f for f in folder.iterdir() if "checkpoint" in f.name]


def test_a_killed_run_goes_on_and_another_method_does_not(start, table, monkeypatch):
    pairs = load_pairs(start.parent / "runs" / "pairs.jsonl")
    features = SampleFeatures(samples_folder() / "features")

    def train(name: str, method: str = "scenedpo") -> dict:
        where = Path("pairs.jsonl"), Path("features"), start, start.parent / name
        config = PostTrainConfig(*where, method=method, steps=3)
        run_post_training(config, pairs, features.scene, pairs[:2], quiet=True)
        run = json.loads((start.parent / name / "run.json").read_text())
        return {"losses": run["losses"], "scores": [{**r, "minutes": 0} for r in run["scores"]]}

    with monkeypatch.context() as patch:
        patch.setattr(LeoVL, "save_pretrained", lambda *_: 1 / 0)  # killed at the very end
        with pytest.raises(ZeroDivisionError):
            train("killed")
    with pytest.raises(InputError, match="is of another run .*, now .*--method grpo"):
        train("killed", "grpo")
    assert train("killed") == train("unbroken")


def test_means_over_seeds_and_gains_over_the_baseline():
    values = {"baseline": [[0, 0, 1]], "sft": [[1, 0, 1], [1, 1, 1]]}
    runs = [
        {"method": m, "seed": s, "values": {"EM": list(zip("aab", v, strict=True))}}
        for m, rows in values.items()
        for s, v in enumerate(rows)
    ]
    row = summarised(runs)["sft"]["measures"]["EM"]
    assert row["mean"] == pytest.approx(5 / 6, abs=1e-4)
    assert row["seeds"] == [0.6667, 1.0] and row["questions"] == 3
    assert row["gain"] == {"mean": 0.5, "low": 0, "high": 0.75}
    assert row["low"] == 0.75 and row["high"] == 1


def test_wrong_scenes_and_hallucinations_by_hand(monkeypatch):
    examples = [e for e in SampleRooms(Path()).examples("test") if e.kind == "existence"]
    examples = [e for e in examples if e.scene.startswith("scannet")]
    absent, shown = [e for e in examples if e.answers[0] == "no"], []

    def always_yes(model, scenes, examples):
        shown.append(scenes)
        return ["Yes."] * len(examples)

    monkeypatch.setattr(measures, "predict", always_yes)
    monkeypatch.setattr(measures, "contrast_log_probs", lambda *_: torch.zeros(3, 0))
    sets = {"absent": absent, "scannet": examples}
    values = measure(LeoVL("nano"), DATA.scene_input, sets, [], "scannet")
    assert [v for _, v in values["hallucination"]] == [1] * len(absent)
    assert [v for _, v in values["EM, scannet"]] == [e.answers[0] == "yes" for e in examples]
    for name in shown[1]:  # "wrong scene" shows another one
        assert not torch.equal(shown[1][name].centers[:9], shown[2][name].centers[:9])


def test_spread_takes_from_everywhere():
    assert spread(range(10), 3) == [0, 4, 9] and spread(range(2), 5) == [0, 1]
    assert spread([], 4) == []
