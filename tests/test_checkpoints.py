"""Weights on disk: what comes back is what was saved, and what does not fit is refused."""

import dataclasses
from pathlib import Path

import pytest
import torch
from random_inputs import random_tokens
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from leovl_mini.config import PRESETS
from leovl_mini.model.hub import (
    load_weights,
    notes,
    restore,
    save_checkpoint,
    save_weights,
    shipped,
)
from leovl_mini.model.leovl import LeoVL
from leovl_mini.scans.scene import InputError


@pytest.fixture(scope="module")
def model() -> LeoVL:
    return LeoVL("nano", channels=8, seed=7)


@pytest.fixture
def file(model, tmp_path) -> Path:
    save_weights(model, tmp_path / "weights.safetensors", {"command": "by hand", "steps": "0"})
    return tmp_path / "weights.safetensors"


def rewritten(file: Path, **changes: str) -> Path:
    with safe_open(file, "pt") as opened:
        about = opened.metadata()
    save_file(
        load_file(file), file, {**about, **{k.replace("_", " "): v for k, v in changes.items()}}
    )
    return file


def test_weights_come_back_in_half_the_bytes(model, file):
    loaded = LeoVL.from_pretrained(file)
    assert loaded.trained and not loaded.training and (loaded.kind, loaded.channels) == ("grid", 8)
    for name, weight in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight.bfloat16().float())
    assert file.stat().st_size < 2.1 * sum(p.numel() for p in model.parameters())
    assert notes(file) == {"command": "by hand", "steps": "0"}
    scene = random_tokens(5, 8)
    assert loaded.generate(scene, ["Where?"], 4) == LeoVL.from_pretrained(file).answers(
        scene, ["Where?"], 4
    )


def test_weights_remember_the_width_of_their_projector(model, tmp_path):
    for inner in (32, 576):
        save_weights(LeoVL("nano", channels=8, hidden_dim=inner), tmp_path / "some.safetensors", {})
        assert LeoVL.from_pretrained(tmp_path / "some.safetensors").projector[3].weight.shape == (
            inner,
            inner,
        )
    assert len(model.projector[1].weight) == 512
    assert (
        len(LeoVL.from_pretrained(shipped("nano-d1")).projector[1].weight) == 256
    )  # of an earlier version


def test_older_weights_of_nano_hear_no_echo(model, file, tmp_path):
    older = LeoVL("nano", channels=8)
    older.token_shift = None
    save_weights(older, tmp_path / "older.safetensors", {})
    assert (
        LeoVL.from_pretrained(file).token_shift.item() == 0.5
        and LeoVL.from_pretrained(tmp_path / "older.safetensors").token_shift is None
    )
    begun = LeoVL("nano", channels=8)
    save_checkpoint(
        tmp_path / "run.safetensors", older, [torch.optim.AdamW(older.parameters())], []
    )
    with pytest.raises(
        InputError, match="older version"
    ):  # its optimiser's states would go to other weights
        restore(tmp_path / "run.safetensors", begun, [torch.optim.AdamW(begun.parameters())])
    assert begun.token_shift is not None
    restore(tmp_path / "older.safetensors", begun)
    assert begun.token_shift is None and not any(
        "echo" in name for name, _ in begun.named_parameters()
    )
    assert_close(
        begun.embed_words(torch.tensor([5, 6]), {}),
        begun.language.get_input_embeddings().weight[5:7],
    )


def test_training_can_start_from_a_checkpoint_or_from_finished_weights(model, file, tmp_path):
    save_checkpoint(
        tmp_path / "run.safetensors", model, [torch.optim.AdamW(model.parameters())], []
    )
    for start, rounded in ((tmp_path / "run.safetensors", torch.float32), (file, torch.bfloat16)):
        begun = LeoVL("nano", channels=8, seed=1)
        restore(start, begun)
        for name, weight in model.state_dict().items():
            assert torch.equal(begun.state_dict()[name], weight.to(rounded).float())
    for start in (tmp_path / "run.safetensors", file):
        with pytest.raises(InputError, match="does not fit this model"):
            restore(start, LeoVL("nano", channels=16))


def test_another_tokenizer_or_other_settings_are_refused(file, monkeypatch):
    with pytest.raises(InputError, match="trained with another tokenizer"):
        LeoVL.from_pretrained(rewritten(file, tokenizer="0" * 64))
    monkeypatch.setitem(PRESETS, "nano", dataclasses.replace(PRESETS["nano"], voxel_size=0.5))
    with pytest.raises(InputError, match="another token settings, tokenizer"):
        LeoVL.from_pretrained(file)


def test_files_that_are_no_weights_are_refused(file, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        LeoVL.from_pretrained(tmp_path / "nothing.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(InputError, match="damaged or no safetensors file"):
        LeoVL.from_pretrained(tmp_path / "text.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="does not say what it belongs to"):
        LeoVL.from_pretrained(tmp_path / "other.safetensors")
    with safe_open(file, "pt") as opened:
        about = opened.metadata()
    tensors = load_file(file)
    tensors.pop("volume")
    save_file(tensors, file, about)
    with pytest.raises(InputError, match="1 tensors differ, such as volume"):
        LeoVL.from_pretrained(file)
