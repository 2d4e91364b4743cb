"""LoRA: the language model stays what it was, files hold what was trained, merged models can be
tuned again.
"""

from pathlib import Path

import pytest
import torch
from random_inputs import random_tokens
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_training import lessons
from torch import Tensor
from torch.testing import assert_close
from typer.testing import CliRunner

from leovl_mini.cli import app
from leovl_mini.config import PRESETS
from leovl_mini.data.files import WeightsMissing, packaged_file
from leovl_mini.model import language
from leovl_mini.model.hub import load_weights, notes, restore, save_checkpoint, save_weights
from leovl_mini.model.language import load_language
from leovl_mini.model.leovl import LeoVL
from leovl_mini.model.lora import TARGETS, add_lora, merge_lora
from leovl_mini.model.prompts import SPECIAL_TOKENS
from leovl_mini.rooms.dataset import RoomDataset, make_rooms
from leovl_mini.scans.scene import InputError
from leovl_mini.tokens.cache import make_features
from leovl_mini.train.curriculum import tune
from leovl_mini.train.loop import train_steps
from leovl_mini.train.losses import answer_loss

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture
def model() -> LeoVL:
    return LeoVL("tiny", channels=8)


def logits(model: LeoVL) -> Tensor:
    with torch.no_grad():
        return model.language(
            inputs_embeds=model.embed(random_tokens(9, 8), "Where is the lamp?")
        ).logits


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
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    adapter = {name for name in trained if ".lora_" in name}
    assert trained - adapter == outside
    assert len(adapter) == 2 * 2 * len(TARGETS) and all(
        any(t in name for name in adapter) for t in TARGETS
    )
    assert all(4 in p.shape for name, p in model.named_parameters() if name in adapter)


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


def test_training_leaves_the_language_model_alone(model, tiny):
    add_lora(model, 4)
    train_steps(model, lessons(model), 3, answer_loss, 1e-2, warmup=1, quiet=True)
    trained = model.state_dict()
    moved = [
        name
        for name, value in with_adapter().state_dict().items()
        if not torch.equal(trained[name], value)
    ]
    assert any(".lora_B" in name for name in moved) and any(
        name.startswith("projector.") for name in moved
    )
    assert not [name for name in moved if name.startswith("language.") and ".lora_" not in name]


# -- files -----------------------------------------------------------------------------------------


def test_a_file_holds_what_was_trained_and_the_model_comes_back(tmp_path):
    model, file = with_adapter(), tmp_path / "adapter.safetensors"
    save_weights(model, file, {"command": "by hand"})
    held = set(load_file(file))
    assert held == {
        name for name in model.state_dict() if ".lora_" in name or not name.startswith("language.")
    }
    loaded = LeoVL.from_pretrained(file)
    assert (loaded.lora, loaded.trained, notes(file)) == (4, True, {"command": "by hand"})
    assert_close(logits(loaded), logits(model), atol=0.05, rtol=0)  # bfloat16
    assert (logits(loaded) - logits(LeoVL("tiny", channels=8))).abs().max() > 0.2


def rewritten(file: Path, **changes: str) -> Path:
    with safe_open(file, "pt") as opened:
        about = opened.metadata()
    save_file(
        load_file(file), file, {**about, **{k.replace("_", " "): v for k, v in changes.items()}}
    )
    return file


def test_another_rank_or_language_model_is_refused(tmp_path):
    save_weights(with_adapter(), file := tmp_path / "adapter.safetensors", {})
    with pytest.raises(InputError, match="another lora base"):
        LeoVL.from_pretrained(rewritten(file, lora_base="smollm2-360m"))
    with pytest.raises(InputError, match="tensors differ"):
        LeoVL.from_pretrained(rewritten(file, lora_base=PRESETS["tiny"].language, lora="8"))


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
    save_weights(model, tmp_path / "all.safetensors", {})
    loaded = LeoVL.from_pretrained(tmp_path / "all.safetensors")
    assert loaded.lora == model.lora
    assert_close(logits(loaded), logits(model), atol=0.1, rtol=0)
    with model.language.disable_adapter(), loaded.language.disable_adapter():
        assert_close(logits(loaded), logits(model), atol=0.1, rtol=0)


def test_a_resumed_run_equals_an_unbroken_one(tmp_path):
    def run(file: Path, interrupt_at: int = 0):
        model = LeoVL("tiny", channels=8)
        add_lora(model, 4)
        seen = []

        def loss(m, batch):
            seen.append(1)
            if len(seen) == interrupt_at:
                raise KeyboardInterrupt
            return answer_loss(m, batch)

        history = train_steps(
            model,
            lessons(model, rooms=1, budget=40),
            6,
            loss,
            checkpoint=file,
            every=2,
            quiet=True,
            warmup=2,
        )
        return model.state_dict(), history, len(seen)

    whole, losses, _ = run(tmp_path / "whole.safetensors")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken.safetensors", interrupt_at=4)
    broken, again, steps = run(tmp_path / "broken.safetensors")
    assert (
        steps == 4 and again == losses and all(torch.equal(broken[k], v) for k, v in whole.items())
    )
    assert not [
        k
        for k in load_file(tmp_path / "whole.safetensors")
        if k.startswith("model.language") and ".lora_" not in k
    ]


def test_a_checkpoint_goes_only_into_a_model_with_the_same_adapter(tmp_path, model):
    save_checkpoint(
        tmp_path / "four.safetensors",
        with_adapter(),
        [torch.optim.AdamW(model.parameters())],
        [1.0],
    )
    with pytest.raises(InputError, match="does not fit this model"):
        restore(tmp_path / "four.safetensors", model)
    with pytest.raises(InputError, match="does not fit this model"):
        restore(tmp_path / "four.safetensors", with_adapter(rank=8))
    assert restore(tmp_path / "four.safetensors", with_adapter()) == [1.0]


# -- the stage -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A corpus of four rooms with its features."""
    folder = tmp_path_factory.mktemp("course")
    make_rooms(folder / "corpus", rooms=4, views=2, workers=1, pairs=0.0, quiet=True)
    make_features(folder / "cache", RoomDataset(folder / "corpus"), quiet=True)
    return folder


def test_a_pretrained_model_is_tuned_with_an_adapter(made, tmp_path):
    out = tmp_path / "tiny.safetensors"
    tune(
        made / "corpus",
        made / "cache",
        out,
        steps=2,
        align=1,
        quiet=True,
        preset="tiny",
        lora=4,
        accumulate=2,
    )
    loaded = LeoVL.from_pretrained(tmp_path / "tiny.weights.safetensors")
    assert (loaded.preset, loaded.lora) == ("tiny", 4)
    assert {key.split(".")[0] for key in load_file(out)} == {
        "model",
        "AdamW",
    }  # no Muon for an adapter
    assert "--preset tiny --lora 4" in notes(tmp_path / "tiny.weights.safetensors")["command"]
    tune(
        made / "corpus",
        made / "cache",
        tmp_path / "more.safetensors",
        start=out,
        steps=1,
        align=0,
        quiet=True,
        preset="tiny",
        lora=4,
    )


def test_features_of_another_encoder_are_refused_with_the_command_that_makes_them(made, tmp_path):
    arguments = [
        "train",
        "tune",
        made / "corpus",
        "--cache",
        made / "cache",
        "--out",
        tmp_path / "x.safetensors",
    ]
    result = CliRunner().invoke(app, [*map(str, arguments), "--preset", "qwen", "--lora", "8"])
    said = str(result.exception)
    assert (
        isinstance(result.exception, InputError)
        and "encoder efficientnet-lite0, not Qwen/Qwen2.5-VL-3B-Instruct" in said
    )
    assert "train features CORPUS --preset qwen --tokens grid" in said


# -- tokens of objects, places and heights ---------------------------------------------------------


def test_pretrained_models_get_marks_that_differ_and_are_as_loud_as_words(tiny):
    plain = language.LlamaForCausalLM.from_pretrained(tiny).get_input_embeddings().weight
    loaded, again = load_language(str(tiny)), load_language(str(tiny))
    table = loaded.model.get_input_embeddings().weight
    ids = loaded.tokenizer.convert_tokens_to_ids(SPECIAL_TOKENS)
    assert (
        sorted(ids) == list(range(len(plain), len(table)))
        and loaded.model.get_output_embeddings().weight is table
    )
    assert torch.equal(table[: len(plain)], plain) and torch.equal(
        table, again.model.get_input_embeddings().weight
    )
    assert (
        torch.cdist(table[ids], table[ids]).fill_diagonal_(9).min() > 0.3 * table.norm(dim=1).mean()
    )
    assert_close(table[ids].std(), plain.std(), rtol=0.05, atol=0)
    assert loaded.tokenizer("a <POSE><top3>", add_special_tokens=False).input_ids[-2:] == [
        loaded.tokenizer.convert_tokens_to_ids(name) for name in ("<POSE>", "<top3>")
    ]


# -- SmolLM2 ---------------------------------------------------------------------------------------


def test_smollm2_with_an_adapter(tmp_path):
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
    save_weights(model, tmp_path / "smol.safetensors", {})
    assert (tmp_path / "smol.safetensors").stat().st_size < 8e6
    assert isinstance(model.generate(random_tokens(5, 8), "Where is the lamp?", 2).text, str)
