"""The weights and features that travel with the package: whole, documented, and better than a look
at the wrong room.
"""

import functools
import json

import pytest

from leovl_mini.data.examples import load_examples
from leovl_mini.data.files import file_sha256
from leovl_mini.data.samples import is_bundled, samples_folder
from leovl_mini.evaluate.run import load_eval_data, predict, scenes_for, summarise
from leovl_mini.experiments.post_training import COMPARED
from leovl_mini.model.hub import load_weights, notes, shipped
from leovl_mini.rooms.dataset import split_of
from leovl_mini.tokens.cache import FeatureCache

NAMES = ("nano-symbolic", "nano", "nano-d1", "nano-scenedpo")


@functools.cache
def model(name):
    return LeoVL.from_pretrained(shipped(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_file_has_its_card_and_its_history(name):
    file = shipped(name)
    assert file.stat().st_size <= 9_000_000 and model(name).trained
    card, made = file.with_suffix(".md").read_text(), notes(file)
    assert file_sha256(file) in card
    assert (model(name).token_shift is not None) == (name in NAMES[:2])  # the others are older
    for key in ("command", "steps", "minutes", "hardware"):
        assert made[key] and made[key] in card
    assert sum(p.numel() for p in model(name).parameters()) <= 3_500_000


def test_the_comparison_is_whole_and_belongs_to_the_weights():
    table = json.loads((samples_folder() / "tables" / "rivals.json").read_text())
    assert set(table["results"]) == set(COMPARED) and table["start"] == "nano-d1.safetensors"
    for method, row in table["results"].items():
        seeds = 1 if method == "baseline" else 3
        assert all(len(m["seeds"]) == seeds for m in row["measures"].values()) and len(
            row["dynamics"]
        ) in (0, seeds)
    made = notes(shipped("nano-scenedpo"))
    assert (
        made["method"] == "scenedpo"
        and made["steps"] == str(table["steps"])
        and table["start"] in made["command"]
    )
    assert f"--rate {table['rate']} --beta {table['beta']} --seed {made['seed']}" in made["command"]


def test_the_sample_is_whole_and_keeps_bundled_rooms_out():
    folder = samples_folder() / "lessons"
    cache = FeatureCache(folder)
    assert cache.damaged() == [] and sum(f.stat().st_size for f in folder.iterdir()) <= 5_000_000
    for split in ("train", "val"):
        scenes = {e.scene for e in load_examples(folder / f"{split}.jsonl")}
        assert {split_of(int(s.split("_")[1])) for s in scenes} == {split} and not any(
            map(is_bundled, scenes)
        )
        assert scenes <= set(cache.file_of) and len({s.split("_")[0] for s in scenes}) == 4


def test_the_shipped_model_looks_at_rooms_it_never_learned():
    seen, examples, learned, world = load_eval_data()
    asked = [e for e in examples if e.kind in ("colour", "pattern", "existence", "coordinates")]
    rooms = {e.scene for e in asked}
    assert len(rooms) == 8 and rooms.isdisjoint({e.scene for e in learned})
    assert {o.id for o in seen(asked[0].scene).objects} == set(world(asked[0].scene).by_id)
    score = {
        c: summarise(predict(model("nano"), scenes_for(c, seen, rooms), asked), asked)
        for c in ("scene", "wrong scene")
    }
    for kind in ("colour", "pattern", "coordinates"):
        assert score["scene"][kind]["score"] > score["wrong scene"][kind]["score"] + 0.2
    assert score["scene"]["mean"]["score"] > 0.6


def test_bundled_rooms_are_recognised_under_the_names_of_a_corpus():
    assert (
        is_bundled("scannet_00002") and is_bundled("scannet_2") and is_bundled("rscan_00003-flip")
    )
    assert (
        not is_bundled("scannet_00001")
        and not is_bundled("scannet_n00002")
        and not is_bundled("rscan_00012")
    )
