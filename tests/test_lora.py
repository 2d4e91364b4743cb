"""LoRA: the language model stays what it was, files hold what was trained, merged models can be
tuned again.
"""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from random_inputs import random_tokens
from safetensors.torch import load_file
from tiny_scenes import scenes_with_questions
from torch import Tensor
from torch.testing import assert_close

from leovl_mini.config import PRESETS
from leovl_mini.data.files import WeightsMissing, packaged_file
from leovl_mini.model import language
from leovl_mini.model.leovl import LeoVL
from leovl_mini.model.lora import TARGETS, add_lora, merge_lora
from leovl_mini.scans.scene import InputError
from leovl_mini.train.checkpoints import load_checkpoint, save_checkpoint
from leovl_mini.train.loop import train_steps
from leovl_mini.train.losses import answer_loss

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture
def model() -> LeoVL:
    return LeoVL("tiny", channels=8)


def logits(model: LeoVL) -> Tensor:
    """What the language model makes of a scene."""
    with torch.no_grad():
        return model.language(inputs_embeds=model.embed_prompt(random_tokens(9, 8))[None]).logits


def move(model: LeoVL) -> LeoVL:
    """As if the adapter had been trained: it starts without an effect."""
    with torch.no_grad():
        for i, (name, weight) in enumerate(model.named_parameters()):
            if ".lora_B" in name:
                weight.normal_(0, 0.2, generator=torch.Generator().manual_seed(i))
    return model


def with_adapter(preset: str = "tiny", rank: int = 4) -> LeoVL:
    model = LeoVL(preset, channels=8)
    add_lora(model, rank)
    return move(model)


# -- the adapter -----------------------------------------------------------------------------------


def test_the_adapter_and_everything_outside_the_language_model_is_trained(model):
    outside = {name for name, _ in model.named_parameters() if not name.startswith("language.")}
    add_lora(model, 4)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    adapter = {name for name in trained if ".lora_" in name}
    assert set(trained) - adapter == outside and len(adapter) == 2 * 2 * len(TARGETS)
    assert all(any(t in name for name in adapter) for t in TARGETS)
    assert all(4 in trained[name].shape for name in adapter)


def test_switched_off_it_is_the_model_without_it(model):
    before = logits(model)
    add_lora(model, 4)
    assert torch.equal(logits(model), before)  # a fresh adapter does nothing
    move(model)
    assert (logits(model) - before).abs().max() > 0.01
    with model.language.disable_adapter():
        assert torch.equal(logits(model), before)
    assert not torch.equal(logits(model), before)


def test_merging_changes_no_answer_and_a_fresh_adapter_can_be_switched_off():
    model = with_adapter()
    before = logits(model)
    merge_lora(model)
    merged = logits(model)
    assert_close(merged, before, atol=1e-4, rtol=0)
    assert not any(p.requires_grad for p in model.language.parameters())
    add_lora(model, 2)
    move(model)
    assert (logits(model) - merged).abs().max() > 0.01
    with model.language.disable_adapter():
        assert torch.equal(logits(model), merged)


def test_there_is_one_adapter_at_a_time(model):
    with pytest.raises(ValueError, match="no adapter to merge"):
        merge_lora(model)
    add_lora(model, 4)
    with pytest.raises(ValueError, match="an adapter of rank 4 already"):
        add_lora(model, 4)


def test_the_same_seed_gives_the_same_adapter():
    def adapter(seed: int) -> Tensor:
        model = LeoVL("tiny", channels=8)
        add_lora(model, 4, seed)
        return torch.cat([p.flatten() for name, p in model.named_parameters() if ".lora_A" in name])

    assert torch.equal(adapter(1), adapter(1)) and not torch.equal(adapter(1), adapter(2))


def test_training_leaves_the_language_model_alone(model):
    add_lora(model, 4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    options = {"steps": 3, "learning_rate": 1e-2, "warmup_steps": 1}
    train_steps(model, scenes_with_questions(model), answer_loss, quiet=True, **options)
    changed = [n for n, value in model.state_dict().items() if not torch.equal(before[n], value)]
    assert any(".lora_B" in name for name in changed)
    assert any(name.startswith("projector.") for name in changed)
    assert not [name for name in changed if name.startswith("language.") and ".lora_" not in name]


# -- files -----------------------------------------------------------------------------------------


def test_a_folder_holds_what_was_trained_and_the_model_comes_back(tmp_path):
    model = with_adapter()
    model.save_pretrained(tmp_path)
    held = set(load_file(tmp_path / "model.safetensors"))
    trained = [n for n in model.state_dict() if ".lora_" in n or not n.startswith("language.")]
    assert held == set(trained)
    loaded = LeoVL.from_pretrained(tmp_path)
    assert (loaded.lora, loaded.trained) == (4, True)
    assert_close(logits(loaded), logits(model), atol=0.05, rtol=0)  # bfloat16
    assert (logits(loaded) - logits(LeoVL("tiny", channels=8))).abs().max() > 0.2


def test_another_rank_or_language_model_is_refused(tmp_path, monkeypatch):
    with_adapter().save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    other = json.loads(file.read_text()) | {"lora": 8}
    with monkeypatch.context() as patch:
        elsewhere = dataclasses.replace(PRESETS["tiny"], language="nano", prompt="plain")
        patch.setitem(PRESETS, "tiny", elsewhere)
        with pytest.raises(InputError, match="another tokenizer, lora base|another lora base"):
            LeoVL.from_pretrained(tmp_path)
    file.write_text(json.dumps(other))
    with pytest.raises(InputError, match="tensors differ"):
        LeoVL.from_pretrained(tmp_path)


@pytest.mark.parametrize("merged, preset", [(True, "tiny"), (False, "nano")])
def test_folders_hold_a_language_model_that_no_preset_gives(tmp_path, merged, preset):
    """After merging, and where the language model was trained here."""
    model = with_adapter(preset)
    if merged:
        merge_lora(model)
        add_lora(model, 2, seed=1)
        move(model)
    else:
        with torch.no_grad():
            model.language.get_input_embeddings().weight.mul_(1.5)
    model.save_pretrained(tmp_path)
    loaded = LeoVL.from_pretrained(tmp_path)
    assert loaded.lora == model.lora
    assert_close(logits(loaded), logits(model), atol=0.1, rtol=0)
    with model.language.disable_adapter(), loaded.language.disable_adapter():
        assert_close(logits(loaded), logits(model), atol=0.1, rtol=0)


def test_a_checkpoint_goes_only_into_a_model_with_the_same_adapter(tmp_path, model):
    file = tmp_path / "four.safetensors"
    save_checkpoint(file, with_adapter(), [torch.optim.AdamW(model.parameters())], [1.0])
    names = {name.removeprefix("model.") for name in load_file(file)}
    assert not [n for n in names if n.startswith("language.") and ".lora_" not in n]
    for other in (model, with_adapter(rank=8)):
        with pytest.raises(InputError, match="does not fit this model"):
            load_checkpoint(file, other)
    assert load_checkpoint(file, with_adapter()) == [1.0]


# -- SmolLM2 ---------------------------------------------------------------------------------------


def test_smollm2_with_an_adapter(tmp_path: Path):
    try:
        packaged_file(language.SMOLLM2[0], language.SMOLLM2[1])
    except WeightsMissing as missing:
        pytest.skip(str(missing))
    model = LeoVL("smol", channels=8)
    before = logits(model)
    add_lora(model, 8)
    move(model)
    assert (logits(model) - before).abs().max() > 0.1
    with model.language.disable_adapter():
        assert torch.equal(logits(model), before)
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size < 8e6
    assert isinstance(model.generate(random_tokens(5, 8), ["Where is the lamp?"], 2)[0], str)
