"""The weights and features that travel with the package: whole, documented, and better than a look
at the wrong room.
"""

import functools
import json

import pytest
from huggingface_hub import ModelCard

from leovl_mini import LeoVL
from leovl_mini.data.examples import load_examples
from leovl_mini.data.samples import samples_folder
from leovl_mini.evaluate.controls import scenes_for
from leovl_mini.evaluate.data import load_eval_data
from leovl_mini.evaluate.run import predict, summarise
from leovl_mini.experiments.post_training import COMPARED
from leovl_mini.rooms.dataset import is_bundled, split_of
from leovl_mini.tokens.cache import FeatureCache

NAMES = ("nano-symbolic", "nano", "nano-d1", "nano-scenedpo")


@functools.cache
def model(name: str) -> LeoVL:
    return LeoVL.from_pretrained(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_loads_and_has_its_card_and_its_history(name):
    folder, loaded = samples_folder() / "weights" / name, model(name)
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert (folder / "model.safetensors").stat().st_size <= 9_000_000
    assert loaded.trained and not loaded.training and loaded.representation.kind == "grid"
    assert (loaded.token_shift is not None) == (name in NAMES[:2])  # the others are older
    assert sum(p.numel() for p in loaded.parameters()) <= 3_500_000
    card = ModelCard.load(folder / "README.md")
    assert card.data.library_name == "leovl-mini"
    assert f"LeoVL.from_pretrained({name!r})" in card.content
    for key in ("command", "steps", "minutes", "hardware"):
        assert loaded.made[key] and loaded.made[key] in card.content


def test_the_comparison_is_whole_and_belongs_to_the_weights():
    table = json.loads((samples_folder() / "tables" / "rivals.json").read_text())
    assert set(table["results"]) == set(COMPARED) and table["start"] == "nano-d1.safetensors"
    for method, row in table["results"].items():
        seeds = 1 if method == "baseline" else 3
        assert all(len(m["seeds"]) == seeds for m in row["measures"].values())
        assert len(row["dynamics"]) in (0, seeds)
    made = model("nano-scenedpo").made
    assert made["method"] == "scenedpo" and made["steps"] == str(table["steps"])
    assert table["start"] in made["command"]
    assert f"--rate {table['rate']} --beta {table['beta']} --seed {made['seed']}" in made["command"]


def test_the_sample_of_features_is_whole_and_keeps_bundled_rooms_out():
    folder = samples_folder() / "features"
    cache = FeatureCache(folder)
    assert cache.damaged() == [] and sum(f.stat().st_size for f in folder.iterdir()) <= 5_000_000
    for split in ("train", "val"):
        scenes = {e.scene for e in load_examples(folder / f"{split}.jsonl")}
        assert {split_of(int(s.split("_")[1])) for s in scenes} == {split}
        assert not any(map(is_bundled, scenes))
        assert all(s in cache for s in scenes) and len({s.split("_")[0] for s in scenes}) == 4


def test_the_shipped_model_looks_at_rooms_it_never_learned():
    data, kinds = load_eval_data(), ("colour", "pattern", "coordinates")
    examples = [e for e in data.examples if e.kind in (*kinds, "existence")]
    rooms = {e.scene for e in examples}
    assert len(rooms) == 8 and rooms.isdisjoint({e.scene for e in data.train_examples})
    room = examples[0].scene
    assert {o.id for o in data.scene_input(room).objects} == set(data.graph(room).by_id)
    score = {}
    for control in ("scene", "wrong scene"):
        scenes = scenes_for(control, data.scene_input, rooms)
        score[control] = summarise(predict(model("nano"), scenes, examples), examples)
    for kind in kinds:
        assert score["scene"][kind]["score"] > score["wrong scene"][kind]["score"] + 0.2
    assert score["scene"]["mean"]["score"] > 0.6


def test_bundled_rooms_are_recognised_under_the_names_of_a_dataset():
    for bundled in ("scannet_00002", "scannet_2", "rscan_00003-flip"):
        assert is_bundled(bundled)
    for other in ("scannet_00001", "scannet_n00002", "rscan_00012"):
        assert not is_bundled(other)
