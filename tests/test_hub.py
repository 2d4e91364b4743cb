"""Trained weights on disk: what comes back is what was saved, and what does not fit is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from huggingface_hub.errors import LocalEntryNotFoundError
from random_inputs import random_tokens
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from leovl_mini import LeoVL
from leovl_mini.config import PRESETS
from leovl_mini.model import hub
from leovl_mini.scans.scene import InputError


@pytest.fixture(scope="module")
def model() -> LeoVL:
    leovl = LeoVL("nano", channels=8, seed=7)
    leovl.made = {"command": "by hand", "steps": 0}
    return leovl


@pytest.fixture
def folder(model, tmp_path) -> Path:
    model.save_pretrained(tmp_path / "weights")
    return tmp_path / "weights"


def rewrite(folder: Path, **changes) -> Path:
    """Another content of config.json; of "belongs to" where it has such a key."""
    config = json.loads((folder / "config.json").read_text())
    for key, value in changes.items():
        inner = config["belongs to"]
        (inner if key.replace("_", " ") in inner else config)[key.replace("_", " ")] = value
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def old_file(model: LeoVL, file: Path, *left_out: str, **metadata: str) -> Path:
    """A single file as the package wrote it up to version 0.13: other names of tensors, everything
    else in the metadata.
    """
    names = {"token_shift": "echo", "scene_scale": "volume"}
    tensors = {
        names.get(k, k).replace("position.", "representation."): v.bfloat16()
        for k, v in hub.weights_of(model).items()
    }
    tensors = {k: v for k, v in tensors.items() if k not in left_out}
    about = {"preset": model.preset, "channels": "8", "tokens": model.representation.kind}
    save_file(tensors, file, {**about, **hub.belongs_to(model), "note steps": "5", **metadata})
    return file


# -- what comes back -------------------------------------------------------------------------------


def test_weights_come_back_in_half_the_bytes(model, folder):
    loaded = LeoVL.from_pretrained(folder)
    assert loaded.trained and not loaded.training and loaded.channels == 8
    for name, weight in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight.bfloat16().float())
    size = (folder / "model.safetensors").stat().st_size
    assert size < 2.1 * sum(p.numel() for p in model.parameters())
    assert loaded.made == {"command": "by hand", "steps": 0}
    assert sorted(p.name for p in folder.iterdir()) == sorted([hub.CARD, hub.CONFIG, hub.WEIGHTS])


@pytest.mark.parametrize("tokens, hidden_dim", [("voxels", 32), ("proxies", 576)])
def test_weights_remember_tokens_and_the_width_of_their_projector(tmp_path, tokens, hidden_dim):
    saved = LeoVL("nano", channels=8, tokens=tokens, hidden_dim=hidden_dim)
    saved.save_pretrained(tmp_path / "folder")
    for place in (tmp_path / "folder", old_file(saved, tmp_path / "old.safetensors")):
        loaded = LeoVL.from_pretrained(place)
        assert loaded.representation == saved.representation
        assert loaded.projector[3].weight.shape == (hidden_dim, hidden_dim)
        for name, weight in saved.state_dict().items():
            assert_close(loaded.state_dict()[name], weight.bfloat16().float())


def test_an_older_file_answers_as_its_folder(model, folder, tmp_path):
    older = LeoVL.from_pretrained(old_file(model, tmp_path / "old.safetensors"))
    scene, loaded = random_tokens(5), LeoVL.from_pretrained(folder)
    assert older.made == {"steps": "5"} and older.trained
    assert older.generate(scene, ["Where?"], 6) == loaded.generate(scene, ["Where?"], 6)


def test_an_older_nano_without_token_shift_stays_without(model, tmp_path):
    older = LeoVL.from_pretrained(old_file(model, tmp_path / "old.safetensors", "echo"))
    assert older.token_shift is None
    table = older.language.get_input_embeddings().weight
    assert torch.equal(older.embed_words(torch.tensor([5, 6]), {}), table[5:7])
    older.save_pretrained(tmp_path / "folder")
    assert LeoVL.from_pretrained(tmp_path / "folder").token_shift is None


def test_a_model_of_the_hub_is_a_folder_that_is_downloaded(folder, monkeypatch):
    asked = []

    def download(name, **options):
        asked.append((name, options))
        return str(folder)

    monkeypatch.setattr(hub, "snapshot_download", download)
    loaded = LeoVL.from_pretrained("someone/room-reader", revision="main")
    files = {"allow_patterns": [hub.WEIGHTS, hub.CONFIG, hub.CARD], "revision": "main"}
    assert asked == [("someone/room-reader", files)] and loaded.trained


def test_the_card_has_the_hubs_header_and_says_how_the_weights_were_made(folder):
    card = ModelCard.load(folder / "README.md")
    assert card.data.library_name == "leovl-mini" and card.data.license == "mit"
    assert card.data.pipeline_tag == "visual-question-answering" and "grid" in card.data.tags
    assert "| command | `by hand` |" in card.content and "efficientnet-lite0" in card.content


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nanno", "nanno.safetensors", "runs/nanno.safetensors", "a/b/c"])
def test_an_unknown_name_is_refused_with_those_of_the_package(name):
    shipped = "nano, nano-d1, nano-scenedpo, nano-symbolic"
    with pytest.raises(InputError, match=f"there are no weights '{name}'; .* one of: {shipped}$"):
        LeoVL.from_pretrained(name)


def test_a_hub_that_cannot_be_reached_is_said_in_one_sentence(monkeypatch):
    def fail(*_, **__):
        raise LocalEntryNotFoundError("no network\nand a long story")

    monkeypatch.setattr(hub, "snapshot_download", fail)
    with pytest.raises(InputError, match="neither here nor .* hub .no network.; name a folder"):
        LeoVL.from_pretrained("someone/room-reader")


def test_another_tokenizer_or_other_settings_are_refused(folder, monkeypatch):
    with pytest.raises(InputError, match="trained with another tokenizer"):
        LeoVL.from_pretrained(rewrite(folder, tokenizer="0" * 64))
    monkeypatch.setitem(PRESETS, "nano", replace(PRESETS["nano"], voxel_size=0.5))
    with pytest.raises(InputError, match="another token settings, tokenizer"):
        LeoVL.from_pretrained(folder)


def test_folders_that_are_no_weights_are_refused(folder):
    (folder / "model.safetensors").write_text("hello")
    with pytest.raises(InputError, match="missing, damaged or no safetensors file"):
        LeoVL.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="missing, damaged or no safetensors file"):
        LeoVL.from_pretrained(folder)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(InputError, match=r"config.json was not written by leovl-mini"):
        LeoVL.from_pretrained(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(InputError, match="holds no trained weights: config.json is missing or no"):
        LeoVL.from_pretrained(folder)


def test_files_that_are_no_weights_are_refused(model, tmp_path):
    file = tmp_path / "some.safetensors"
    file.write_text("hello")
    with pytest.raises(InputError, match="damaged or no safetensors file"):
        LeoVL.from_pretrained(file)
    save_file({"x": torch.zeros(1)}, file)
    with pytest.raises(InputError, match="does not say what it belongs to"):
        LeoVL.from_pretrained(file)
    for tensor, name in (("volume", "scene_scale"), ("projector.1.bias", "projector.1.bias")):
        with pytest.raises(InputError, match=f"1 tensors differ, such as {name}"):
            LeoVL.from_pretrained(old_file(model, file, tensor))
    with pytest.raises(InputError, match="trained with another encoder"):
        LeoVL.from_pretrained(old_file(model, file, encoder="dinov2 at 320 pixels"))


def test_an_interrupted_save_leaves_the_weights_that_were_there(model, folder, monkeypatch):
    before = load_file(folder / "model.safetensors")
    changed = LeoVL("nano", channels=8, seed=8)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(hub, "card", stop)
    with pytest.raises(KeyboardInterrupt):
        changed.save_pretrained(folder)
    after = load_file(folder / "model.safetensors")
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    assert not list(folder.glob(".partial*"))
