"""The commands of training and evaluation on a tiny corpus, one after the other."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from leovl_mini.checkpoints import load_weights, notes
from leovl_mini.cli import app
from leovl_mini.data import FeatureCache, described
from leovl_mini.rooms.corpus import Corpus, make_corpus
from leovl_mini.stages import empty


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A corpus of four rooms and its features."""
    folder = tmp_path_factory.mktemp("course")
    make_corpus(folder / "corpus", rooms=4, views=2, workers=1, pairs=0.0, quiet=True)
    run("train", "features", folder / "corpus", "--out", folder / "cache", "--device", "cpu")
    return folder


def test_from_words_to_pictures_to_scores(made):
    run("train", "symbolic", made / "corpus", "--out", made / "words.safetensors", "--steps", 2)
    start = ["--start", made / "words.safetensors", "--steps", 2, "--align", 1]
    out = run("train", "tune", made / "corpus", "--cache", made / "cache", "--out", made / "nano.safetensors", *start)
    assert "nano.weights.safetensors: 2 steps" in out.replace("\n", "")
    weights = made / "nano.weights.safetensors"
    assert "--start words.safetensors" in notes(weights)["command"] and notes(weights)["steps"] == "2"
    words = load_weights(made / "words.weights.safetensors")
    assert not torch.equal(words.projector[1].weight, load_weights(weights).projector[1].weight)
    material = ["--corpus", made / "corpus", "--cache", made / "cache", "--split", "train", "--rooms", 2]
    run("evaluate", weights, *material, "--write", made / "scores.json")
    scores = json.loads((made / "scores.json").read_text())
    assert scores["trained"]["steps"] == "2" and set(scores["results"]["scene"]) == set(scores["results"]["wrong scene"])
    assert scores["results"]["usual answer"]["mean"]["score"] > 0.3  # learned from the very same rooms


def test_the_blind_control_never_sees_a_scene(made):
    features = FeatureCache(made / "cache")
    name = next(iter(features.file_of))
    assert len(empty(features, name)) == 0 and len(features.scene(name)) > 50
    run("train", "tune", made / "corpus", "--cache", made / "cache", "--out", made / "blind.safetensors", "--steps", 2, "--blind")
    assert notes(made / "blind.weights.safetensors")["command"].endswith("--blind")


def test_objects_of_a_room_without_its_pictures(made):
    corpus = Corpus(made / "corpus")
    name = next(iter(corpus.shard_of))
    assert described(corpus, name).objects == corpus.scene(name).objects


def test_missing_weights_are_named(made):
    result = CliRunner().invoke(app, ["evaluate", str(made / "none.safetensors")])
    assert "none.safetensors does not exist" in str(result.exception)


def test_the_tokenizer_can_be_made_again(made):
    run("train", "tokenizer", made / "corpus", "--out", made / "words.json")
    vocabulary = json.loads((made / "words.json").read_text())["model"]["vocab"]
    assert " chair".replace(" ", "Ġ") in vocabulary and vocabulary["<pad>"] == 0
