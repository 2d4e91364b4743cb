"""The commands of training and evaluation on a tiny corpus, one after the other."""

import functools
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from random_inputs import random_tokens
from safetensors.torch import load_file
from typer.testing import CliRunner

from leovl_mini.cli import app
from leovl_mini.data.examples import Example, load_examples
from leovl_mini.data.files import file_sha256
from leovl_mini.evaluate.run import load_eval_data
from leovl_mini.model.hub import load_weights, notes, restore, shipped
from leovl_mini.model.leovl import LeoVL
from leovl_mini.rooms.dataset import RoomDataset, make_rooms
from leovl_mini.rooms.lists import LISTS
from leovl_mini.scans.scene import InputError
from leovl_mini.tokens.cache import FeatureCache
from leovl_mini.train.curriculum import symbolic, taught, tune
from leovl_mini.train.loop import train_steps
from leovl_mini.train.runlog import RunLog, scorer


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A corpus of eight rooms and its features; three of the rooms are bundled ones, which nothing
    learns from.
    """
    folder = tmp_path_factory.mktemp("course")
    make_rooms(folder / "corpus", rooms=8, views=2, workers=1, pairs=0.0, quiet=True)
    run("train", "layouts", "--out", folder / "layouts", "--rooms", 40, "--workers", 1)
    run("train", "features", folder / "corpus", "--out", folder / "cache", "--device", "cpu")
    return folder


def test_from_words_to_pictures_to_scores(made):
    run("train", "symbolic", made / "layouts", "--out", made / "words.safetensors", "--steps", 2)
    start = ["--start", made / "words.safetensors", "--steps", 2, "--align", 1]
    out = run(
        "train",
        "tune",
        made / "corpus",
        "--cache",
        made / "cache",
        "--out",
        made / "nano.safetensors",
        *start,
    )
    assert "nano.weights.safetensors: 2 steps" in out.replace("\n", "")
    weights = made / "nano.weights.safetensors"
    assert (
        "--start words.safetensors" in notes(weights)["command"] and notes(weights)["steps"] == "2"
    )
    words = LeoVL.from_pretrained(made / "words.weights.safetensors")
    assert not torch.equal(
        words.projector[1].weight, LeoVL.from_pretrained(weights).projector[1].weight
    )
    load_eval_data = [
        "--corpus",
        made / "corpus",
        "--cache",
        made / "cache",
        "--split",
        "train",
        "--rooms",
        2,
    ]
    run("evaluate", weights, *load_eval_data, "--write", made / "scores.json")
    scores = json.loads((made / "scores.json").read_text())
    assert scores["trained"]["steps"] == "2" and set(scores["results"]["scene"]) == set(
        scores["results"]["wrong scene"]
    )
    assert (
        scores["results"]["usual answer"]["mean"]["score"] > 0.3
    )  # learned from the very same rooms
    shelf = ["--out", made / "shelf", "--about", "For tests.", "--scores", made / "scores.json"]
    run("train", "card", weights, "tiny", *shelf)
    card = (made / "shelf" / "tiny.md").read_text()
    assert (
        LeoVL.from_pretrained(made / "shelf" / "tiny.safetensors").trained
        and file_sha256(made / "shelf" / "tiny.safetensors") in card
    )
    assert (
        notes(weights)["command"] in card
        and "| existence |" in card
        and card.startswith("# tiny\n\nFor tests.")
    )
    assert "CORPUS: `leovl-mini rooms make --rooms 8 --views 2 --pairs 0.0 --out CORPUS`." in card


def test_the_blind_control_never_sees_a_scene(made):
    run(
        "train",
        "tune",
        made / "corpus",
        "--cache",
        made / "cache",
        "--out",
        made / "blind.safetensors",
        "--steps",
        2,
        "--blind",
    )
    assert notes(made / "blind.weights.safetensors")["command"].endswith("--blind")


def test_a_run_can_be_kept_to_one_domain_and_split(made):
    kept = ["--split", "skewed-train", "--domain", "rscan", "--no-texts"]
    start = [
        "train",
        "tune",
        made / "corpus",
        "--cache",
        made / "cache",
        "--steps",
        1,
        "--align",
        0,
    ]
    run(*start, "--out", made / "d1.safetensors", *kept)
    assert notes(made / "d1.weights.safetensors")["command"].endswith(
        "--split skewed-train --domain rscan --no-texts"
    )
    result = CliRunner().invoke(
        app, [str(a) for a in [*start, "--out", made / "no.safetensors", "--domain", "moon"]]
    )
    assert "no examples of split train and domain moon" in str(result.exception)


def test_on_paper_twice_as_many_rooms_have_lists_as_in_sight_and_a_start_knows_the_crowd(
    made, monkeypatch
):
    shares, crowds = [], []

    def noted(model, lessons, *_, **__) -> dict:
        shares.append(lessons.lists)
        crowds.append(lessons.crowd)
        return {}

    monkeypatch.setattr("leovl_mini.train.curriculum.run_stage", noted)
    symbolic(made / "layouts", made / "paper.safetensors", watch=0)
    symbolic(made / "layouts", made / "paper.safetensors", watch=0, start=shipped("nano-symbolic"))
    tune(made / "corpus", made / "cache", made / "sight.safetensors", align=0, watch=0)
    assert shares == [0.4, 0.4, 0.2] and crowds == [600, 0, 0]


def test_lists_and_half_precision_are_choices(made, monkeypatch):
    seen, halved, muon = [], [], []

    def spy(model, lessons, steps, loss, **options):
        turns = [t for step in range(8) for some in lessons.batch(step).turns for t in some]
        seen.append((options["bf16"], [model.tokenizer.decode(t.ids) for t in turns]))
        muon.append(options["muon"])

        def noted(model, batch):
            halved.append(torch.is_autocast_enabled(model.device.type))
            return loss(model, batch)

        return train_steps(model, lessons, steps, noted, **options)

    monkeypatch.setattr("leovl_mini.train.curriculum.train_steps", spy)
    start = [
        "train",
        "tune",
        made / "corpus",
        "--cache",
        made / "cache",
        "--steps",
        1,
        "--align",
        1,
        "--no-texts",
    ]
    for name, options in (("lists", ["--lists", 1.0, "--bf16"]), ("few", ["--lists", 0.0])):
        run(*start, "--out", made / f"{name}.safetensors", *options)
        assert notes(made / f"{name}.weights.safetensors")["command"].endswith(
            " ".join(map(str, options))
        )
    assert (
        [bf16 for bf16, _ in seen] == halved == [True, True, False, False]
    )  # alignment and tuning, with it and without
    assert muon == [True] * 4
    shorthand = re.compile(r" USER: [\w ]+ ASSISTANT:")  # comparisons and tallies
    asked = [
        [any(q in text for q in LISTS) or bool(shorthand.match(text)) for text in texts]
        for _, texts in (seen[1], seen[3])
    ]
    assert all(asked[0]) and not any(asked[1])


def test_a_sample_of_a_cache_is_a_cache(made):
    run(
        "train",
        "sample",
        made / "corpus",
        "--cache",
        made / "cache",
        "--out",
        made / "few",
        "--learned",
        1,
        "--unseen",
        1,
    )
    whole, few = FeatureCache(made / "cache"), FeatureCache(made / "few")
    examples = {
        split: list(load_examples(made / "few" / f"{split}.jsonl")) for split in ("train", "val")
    }
    assert 1 <= len(few) <= 2 and few.damaged() == [] and few.options == whole.options
    assert len({e.scene for e in examples["train"]}) == 1
    assert {e.scene for some in examples.values() for e in some} == set(few.file_of)
    for name in few.file_of:
        assert torch.equal(few.scene(name).tokens.features, whole.scene(name).tokens.features)
        assert few.scene(name).objects == whole.scene(name).objects


def test_missing_weights_are_named(made):
    result = CliRunner().invoke(app, ["evaluate", str(made / "none.safetensors")])
    assert "none.safetensors does not exist" in str(result.exception)


def test_the_tokenizer_can_be_made_again(made):
    run("train", "tokenizer", made / "corpus", "--out", made / "words.json")
    vocabulary = json.loads((made / "words.json").read_text())["model"]["vocab"]
    assert " chair".replace(" ", "Ġ") in vocabulary and vocabulary["<pad>"] == 0


def test_bundled_rooms_stay_unseen(made):
    rooms = RoomDataset(made / "corpus")
    left_out = {e.scene for e in rooms.examples("train")} - {
        e.scene for e in taught(rooms, "train")
    }
    assert left_out == {"scannet_00000", "multiscan_00001", "arkitscenes_00000"} and taught(
        rooms, "train"
    )
    scored = {
        e.scene for e in load_eval_data(made / "corpus", made / "cache", "train")[1]
    }  # as rooms that were learned from
    assert scored == {e.scene for e in taught(rooms, "train")}


def test_curves_are_written_and_go_on_after_an_interruption(made, monkeypatch):
    file, watch = made / "curve.safetensors", RunLog.watch

    def interrupted(progress, model, step):
        watch(progress, model, step)
        raise KeyboardInterrupt

    monkeypatch.setattr(
        "leovl_mini.train.curriculum.train_steps", functools.partial(train_steps, every=1)
    )
    monkeypatch.setattr(RunLog, "watch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        symbolic(made / "layouts", file, 3, quiet=True, watch=4)
    before = json.loads((made / "curve.progress.json").read_text())
    assert any(key.startswith("Muon.") for key in load_file(file))
    assert [row["step"] for row in before["scores"]] == [1] and {
        "minutes",
        "coordinates",
        "mean",
    } <= set(before["scores"][0])
    told = []
    monkeypatch.setattr(
        RunLog,
        "watch",
        lambda progress, model, step: (told.append(step), watch(progress, model, step)),
    )
    run("train", "symbolic", made / "layouts", "--out", file, "--steps", 3, "--watch", 4)
    assert told == [2, 3]
    after = json.loads((made / "curve.progress.json").read_text())
    assert after["scores"][0] == before["scores"][0] and [
        row["step"] for row in after["scores"]
    ] == [1, 2, 3]
    assert len(after["losses"]) == 3 and after["minutes"] >= before["minutes"]
    assert (
        after["command"]
        == before["command"]
        == "leovl-mini train symbolic LAYOUTS --steps 3 --seed 0"
    )


def test_the_first_stage_goes_on_from_a_checkpoint(made):
    out, start = made / "more.safetensors", made / "words.safetensors"
    more = ["--rooms", 2, "--steps", 1, "--watch", 0, "--texts", 1.0]
    run("train", "symbolic", made / "layouts", "--out", out, "--start", start, *more)
    note = json.loads((made / "more.progress.json").read_text())
    assert (
        note["command"]
        == "leovl-mini train symbolic LAYOUTS --steps 1 --seed 0 --rooms 2 --start words.safetensors --texts 1.0"
    )
    (trained, again), fresh = (LeoVL("nano", seed=1) for _ in range(2)), LeoVL("nano")
    restore(start, trained), restore(out, again)
    word = [m.language.get_input_embeddings().weight.detach() for m in (trained, again, fresh)]
    assert (
        0 < (word[1] - word[0]).abs().max() < (word[1] - word[2]).abs().max()
    )  # one step from there, not from the beginning
    (made / "text.safetensors").write_text("no tensors")
    old = shutil.copytree(made / "layouts", made / "old")  # as earlier versions wrote them
    told = (old / "train.jsonl").read_text().splitlines()
    (old / "train.jsonl").write_text(
        "\n".join(line for line in told if json.loads(line)["task"] == "qa")
    )
    with pytest.raises(InputError, match="holds no texts; make new layouts"):
        symbolic(old, made / "none.safetensors", 1, texts=0.5)
    with pytest.raises(InputError, match="is no checkpoint, or damaged"):
        symbolic(made / "layouts", made / "none.safetensors", 1, start=made / "text.safetensors")


def test_scores_of_unseen_rooms_are_part_of_the_curves(tmp_path):
    example = Example("a", "room", "qa", "colour", "Which colour?", ["red"])
    model, scene = LeoVL("nano", 8), random_tokens(4, 8)
    progress = RunLog(
        tmp_path / "p.json", scorer([example], lambda name: scene), {"command": "train"}
    )
    for step in (200, 400):
        progress.watch(model, step)
    again = RunLog(
        tmp_path / "p.json", scorer([example], lambda name: scene), {"command": "train"}
    )  # resumed at 200
    again.watch(model, 400)
    assert [row["step"] for row in json.loads((tmp_path / "p.json").read_text())["scores"]] == [
        200,
        400,
    ]  # told once
    assert {"colour", "mean", "minutes"} < set(again.scores[0])


def test_a_run_is_not_continued_by_another_command(made):
    """The blind rival of a model, under the model's name, would go on with the model's weights."""
    options = ["--steps", 1, "--align", 0, "--watch", 0]
    run(
        "train",
        "tune",
        made / "corpus",
        "--cache",
        made / "cache",
        "--out",
        made / "mine.safetensors",
        *options,
    )
    before = {f: f.read_bytes() for f in made.glob("mine.*")}
    with pytest.raises(
        InputError,
        match="mine.progress.json is of another run .* --seed 0, now .* --blind.* --out",
    ):
        tune(
            made / "corpus",
            made / "cache",
            made / "mine.safetensors",
            steps=1,
            align=0,
            watch=0,
            blind=True,
        )
    assert len(before) == 3 and before == {f: f.read_bytes() for f in made.glob("mine.*")}
    again = tune(
        made / "corpus",
        made / "cache",
        made / "mine.safetensors",
        steps=1,
        align=0,
        watch=0,
        quiet=True,
    )
    assert again["loss"] == json.loads(before[made / "mine.progress.json"])["loss"]
