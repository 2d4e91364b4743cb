"""Qwen2.5-VL in miniature: frames through its vision tower, scene tokens through its language
model, all from a local folder.
"""

import dataclasses
import socket
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from random_inputs import random_tokens
from safetensors.torch import load_file, save_file
from test_training import alone, turns_of
from tiny_models import save_qwen
from torch.testing import assert_close
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from leovl_mini.config import PRESETS
from leovl_mini.data.files import WeightsMissing
from leovl_mini.data.samples import sample_room
from leovl_mini.model.hub import load_weights, save_weights
from leovl_mini.model.language import load_language
from leovl_mini.model.leovl import LeoVL
from leovl_mini.model.lora import TARGETS, add_lora
from leovl_mini.model.prompts import SPECIAL_TOKENS
from leovl_mini.perception.encoders import load_encoder
from leovl_mini.scans import load_scene
from leovl_mini.tokens.pipeline import perceive


@pytest.fixture(scope="module", autouse=True)
def tiny(tmp_path_factory):
    """A preset "tiny": qwen from a local folder. (The folder, the whole model.)"""
    folder = tmp_path_factory.mktemp("models") / "qwen"
    whole = save_qwen(folder)
    with pytest.MonkeyPatch.context() as patch:
        local = {"encoder": str(folder), "language": str(folder), "longest_side": 168}
        patch.setitem(PRESETS, "tiny", dataclasses.replace(PRESETS["qwen"], **local))
        yield folder, whole


@pytest.fixture(scope="module")
def model() -> LeoVL:
    leovl = LeoVL("tiny", channels=8)
    with (
        torch.no_grad()
    ):  # larger weights: at its usual start it says the same word again and again
        for weight in leovl.language.get_decoder().layers.parameters():
            weight.mul_(5)
    return leovl


def frames(count: int, height: int = 168, width: int = 112) -> torch.Tensor:
    return torch.randint(
        0,
        256,
        (count, height, width, 3),
        dtype=torch.uint8,
        generator=torch.Generator().manual_seed(0),
    )


# -- the vision tower ------------------------------------------------------------------------------


def test_features_are_those_of_transformers(tiny):
    """Its own processor (sizes that need no resizing), its own tower inside the whole model."""
    folder, whole = tiny
    rgb = frames(5)
    inputs = Qwen2VLImageProcessorPil()(list(rgb.permute(0, 3, 1, 2).numpy()), return_tensors="pt")
    with torch.no_grad():
        expected = whole.model.visual(
            inputs.pixel_values, grid_thw=inputs.image_grid_thw
        ).pooler_output
    encoder = load_encoder(str(folder), 168)
    features = encoder(rgb)
    assert features.shape == (5, 6, 4, 48) and encoder.channels == 48
    assert_close(features, F.layer_norm(expected, (48,)).view(5, 6, 4, 48), atol=1e-5, rtol=0)


def test_each_feature_lies_where_its_pixels_are(tmp_path):
    """Without attention a cell sees nothing but its own 28 x 28 pixels."""
    save_qwen(tmp_path, layers=0)
    encoder, rgb = load_encoder(str(tmp_path), 168), frames(1)
    before = encoder(rgb)
    for row, column in ((0, 0), (0, 3), (1, 2), (5, 0), (4, 3)):
        painted = rgb.clone()
        painted[0, 28 * row : 28 * row + 28, 28 * column : 28 * column + 28] = 255
        changed = (encoder(painted) - before).abs().sum(-1)[0] > 1e-4
        assert changed.nonzero().tolist() == [[row, column]]


def test_frames_of_any_shape_become_whole_cells(tiny):
    assert load_encoder(str(tiny[0]), 168)(frames(2, 90, 130)).shape == (2, 4, 6, 48)


def test_a_model_without_its_tower_is_refused(tmp_path):
    save_qwen(tmp_path)
    file = tmp_path / "model.safetensors"
    save_file(
        {k: v for k, v in load_file(file).items() if "visual.blocks.1" not in k},
        file,
        {"format": "pt"},
    )
    with pytest.raises(WeightsMissing, match="lacks weights of the vision tower, such as blocks.1"):
        load_encoder(str(tmp_path))


# -- the language model ----------------------------------------------------------------------------


def test_positions_simply_count_on(tiny):
    """As for words in the whole model, whose three numbers are then the same."""
    folder, whole = tiny
    language = load_language(str(folder))
    assert not hasattr(language.model.model, "visual") and language.width == 48
    ids = torch.arange(30)[None]
    three = torch.arange(30).expand(3, 1, -1)
    with torch.no_grad():
        expected = whole(input_ids=ids, position_ids=three).logits
        embedded = language.model.get_input_embeddings()(ids)
        got = language.model(inputs_embeds=embedded, position_ids=torch.arange(30)[None]).logits
    rows = min(
        language.tokenizer.convert_tokens_to_ids(SPECIAL_TOKENS)
    )  # what follows has become marks
    assert_close(got[..., :rows], expected[..., :rows])


@pytest.mark.parametrize("spare, tied", [(200, True), (20, True), (20, False), (200, False)])
def test_marks_fit_into_the_table_or_it_grows(tmp_path, spare, tied):
    whole = save_qwen(tmp_path, spare_words=spare, tied=tied)
    language, again = load_language(str(tmp_path)), load_language(str(tmp_path))
    before, table = (
        whole.get_input_embeddings().weight,
        language.model.get_input_embeddings().weight,
    )
    ids = language.tokenizer.convert_tokens_to_ids(SPECIAL_TOKENS)
    assert (
        len(table) == max(len(before), len(language.tokenizer)) and len(set(ids)) == len(ids) == 127
    )
    assert torch.equal(table[: min(ids)], before[: min(ids)])
    head = language.model.get_output_embeddings().weight
    assert (head is table) == tied and torch.equal(head, again.model.get_output_embeddings().weight)
    assert torch.equal(head[: min(ids)], whole.get_output_embeddings().weight[: min(ids)])


def test_packed_turns_have_the_loss_of_separate_sequences(model):
    scenes, turns = (
        [random_tokens(7, 8), random_tokens(12, 8, seed=1)],
        [turns_of(model, 3), turns_of(model, 5, skip=40)],
    )
    expected = torch.stack(
        [alone(model, s, t) for s, some in zip(scenes, turns, strict=True) for t in some]
    ).mean()
    assert_close(model.loss(model.pack(scenes, turns)), expected, atol=1e-5, rtol=0)


def test_answers_are_the_same_with_and_without_the_cache_alone_and_together(model):
    scene, asked = (
        random_tokens(9, 8),
        ["Where is the lamp?", "How many chairs are there in this room?", "Why?"],
    )
    together = model.generate(scene, asked, 8)
    assert (
        together
        == model.generate(scene, asked, 8, use_cache=False)
        == [model.generate(scene, [q], 8)[0] for q in asked]
    )
    assert len(set(together)) > 1


# -- from end to end -------------------------------------------------------------------------------


def test_from_frames_to_an_answer_offline(tiny, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: asked.append(host) or [])
    settings = PRESETS["tiny"]
    encoder = load_encoder(settings.encoder, settings.longest_side)
    model = LeoVL("tiny", encoder.channels)
    add_lora(model, 4)
    adapter = [name for name, p in model.named_parameters() if ".lora_A" in name]
    assert len(adapter) == 2 * len(TARGETS)  # two layers
    scene = load_scene(sample_room(), max_frames=2)
    seen = perceive(scene, encoder, model.representation)
    assert seen.tokens.features.shape == (len(seen), 48) and len(seen) > 20
    loss = model.loss(model.pack([seen.tokens], [turns_of(model, 2)]))
    loss.backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    model.trained = True
    answer = model.generate(seen.tokens, "What is in the room?", 5)
    save_weights(model, tmp_path / "qwen.safetensors", {})
    again = LeoVL.from_pretrained(tmp_path / "qwen.safetensors").generate(
        seen.tokens, "What is in the room?", 5
    )
    assert dataclasses.astuple(again) == dataclasses.astuple(answer)
    assert not asked


def test_half_precision_as_it_is_stored(tiny, tmp_path, monkeypatch):
    folder = Path(tmp_path / "half")
    save_qwen(folder)
    tiny[1].__class__.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    monkeypatch.setitem(
        PRESETS, "half", dataclasses.replace(PRESETS["tiny"], **{"language": str(folder)})
    )
    model = LeoVL("half", channels=8)
    add_lora(model, 2)
    assert model.language.dtype == torch.bfloat16
    model.loss(model.pack([random_tokens(7, 8)], [turns_of(model, 2)])).backward()
    assert all(p.dtype == torch.float32 for p in model.parameters() if p.requires_grad)
    assert isinstance(model.generate(random_tokens(5, 8), "Why?", 3).text, str)
