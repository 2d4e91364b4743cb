"""LoRA: the language model stays what it was, files hold what was trained, merged models can be
tuned again.
"""

import copy

import pytest
import torch
from random_inputs import random_tokens
from safetensors.torch import load_file
from sequences import sequence_of
from test_hub import rewrite
from tiny_scenes import scenes_with_questions
from torch import Tensor
from torch.testing import assert_close

from leovl_mini import LeoVL
from leovl_mini.config import PRESETS
from leovl_mini.model.lora import TARGETS, add_lora, merge_lora
from leovl_mini.scans.scene import InputError
from leovl_mini.train.checkpoints import load_checkpoint, save_checkpoint
from leovl_mini.train.loop import train_steps
from leovl_mini.train.losses import answer_loss

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture
def model() -> LeoVL:
    return LeoVL("tiny", channels=8)


@torch.no_grad()
def logits(model: LeoVL) -> Tensor:
    turn = model.open_turn("Where is the lamp?")
    return model.language(**sequence_of(model, random_tokens(9), turn)).logits


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
    adapter = {name: p for name, p in trained.items() if ".lora_" in name}
    assert set(trained) - set(adapter) == outside
    assert len(adapter) == 2 * 2 * len(TARGETS)  # two layers, two matrices each
    assert all(any(target in name for name in adapter) for target in TARGETS)
    assert all(4 in p.shape for p in adapter.values())


def test_switched_off_it_is_the_model_without_it(model):
    before = logits(model)
    add_lora(model, 4)
    assert torch.equal(logits(model), before)  # a fresh adapter does nothing
    move(model)
    assert (logits(model) - before).abs().max() > 0.01
    with model.language.disable_adapter():
        assert torch.equal(logits(model), before)


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
    before = copy.deepcopy(model.state_dict())
    batches = scenes_with_questions(model)
    train_steps(model, batches, answer_loss, quiet=True, steps=3, warmup_steps=1)
    moved = {k for k, value in model.state_dict().items() if not torch.equal(before[k], value)}
    assert any(".lora_B" in name for name in moved)
    assert any(name.startswith("projector.") for name in moved)
    assert not [name for name in moved if name.startswith("language.") and ".lora_" not in name]


# -- files -----------------------------------------------------------------------------------------


def test_files_hold_what_was_trained_and_the_model_comes_back(tmp_path):
    model = with_adapter()
    model.save_pretrained(tmp_path)
    trained = {k for k in model.state_dict() if ".lora_" in k or not k.startswith("language.")}
    assert set(load_file(tmp_path / "model.safetensors")) == trained
    loaded = LeoVL.from_pretrained(tmp_path)
    assert loaded.lora == 4 and loaded.trained
    assert_close(logits(loaded), logits(model), atol=0.05, rtol=0)  # bfloat16
    assert (logits(loaded) - logits(LeoVL("tiny", channels=8))).abs().max() > 0.2


def test_another_rank_or_language_model_is_refused(tmp_path):
    with_adapter().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="another lora base"):
        LeoVL.from_pretrained(rewrite(tmp_path, lora_base="smollm2-360m"))
    with pytest.raises(InputError, match="tensors differ"):
        LeoVL.from_pretrained(rewrite(tmp_path, lora_base=PRESETS["tiny"].language, lora=8))


@pytest.mark.parametrize("merged, preset", [(True, "tiny"), (False, "nano")])
def test_files_hold_a_language_model_that_no_preset_gives(tmp_path, merged, preset):
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
    file, saved = tmp_path / "four.safetensors", with_adapter()
    save_checkpoint(file, saved, [torch.optim.AdamW(model.parameters())], [1.0])
    frozen = [k for k in load_file(file) if k.startswith("model.language") and ".lora_" not in k]
    assert not frozen
    for other in (model, with_adapter(rank=8)):
        with pytest.raises(InputError, match="does not fit this model"):
            load_checkpoint(file, other)
    fresh = LeoVL("tiny", channels=8)
    add_lora(fresh, 4)
    assert load_checkpoint(file, fresh) == [1.0] and torch.equal(logits(fresh), logits(saved))


# -- SmolLM2 ---------------------------------------------------------------------------------------


def test_smollm2_with_an_adapter(smol, tmp_path):
    model, before = copy.deepcopy(smol), logits(smol)
    add_lora(model, 8)
    move(model)
    assert (logits(model) - before).abs().max() > 0.1
    with model.language.disable_adapter():
        assert torch.equal(logits(model), before)
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size < 8e6
    assert isinstance(model.generate(random_tokens(5), ["Where is the lamp?"], 2)[0], str)
