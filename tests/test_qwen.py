"""Qwen2.5-VL in miniature: frames through its vision tower, scene tokens through its language
model, all from a local folder.
"""

import dataclasses
import socket

import pytest
import torch
import torch.nn.functional as F
from random_inputs import random_tokens
from safetensors.torch import load_file, save_file
from sequences import greedy, loss_of, turns_of
from tiny_models import enlarge, save_qwen
from torch.testing import assert_close
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from leovl_mini import LeoVL, ask, load_scene, perceive
from leovl_mini.config import PRESETS
from leovl_mini.data.files import WeightsMissing
from leovl_mini.data.samples import sample_room
from leovl_mini.model.ask import load_model
from leovl_mini.model.language import load_language
from leovl_mini.model.lora import TARGETS, add_lora
from leovl_mini.model.prompts import SPECIAL_TOKENS
from leovl_mini.perception.encoders import load_encoder


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
    enlarge(leovl.language)
    return leovl


def frames(count: int, height: int = 168, width: int = 112) -> torch.Tensor:
    shape, random = (count, height, width, 3), torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)


# -- the vision tower ------------------------------------------------------------------------------


def test_features_are_those_of_transformers(tiny):
    """Its own processor (sizes that need no resizing), its own tower inside the whole model."""
    folder, whole = tiny
    rgb = frames(5)
    inputs = Qwen2VLImageProcessorPil()(list(rgb.permute(0, 3, 1, 2).numpy()), return_tensors="pt")
    with torch.no_grad():
        visual = whole.model.visual(inputs.pixel_values, grid_thw=inputs.image_grid_thw)
    encoder = load_encoder(str(folder), 168)
    features = encoder(rgb)
    assert features.shape == (5, 6, 4, 48) and encoder.channels == 48
    assert_close(
        features, F.layer_norm(visual.pooler_output, (48,)).view(5, 6, 4, 48), atol=1e-5, rtol=0
    )


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
    tensors = {k: v for k, v in load_file(file).items() if "visual.blocks.1" not in k}
    save_file(tensors, file, {"format": "pt"})
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
    # Behind these rows stand our special tokens.
    rows = min(language.tokenizer.convert_tokens_to_ids(SPECIAL_TOKENS))
    assert_close(got[..., :rows], expected[..., :rows])


@pytest.mark.parametrize("spare, tied", [(200, True), (20, True), (20, False), (200, False)])
def test_special_tokens_fit_into_the_table_or_it_grows(tmp_path, spare, tied):
    whole = save_qwen(tmp_path, spare_words=spare, tied=tied)
    language, again = load_language(str(tmp_path)), load_language(str(tmp_path))
    before = whole.get_input_embeddings().weight
    table = language.model.get_input_embeddings().weight
    ids = language.tokenizer.convert_tokens_to_ids(SPECIAL_TOKENS)
    assert len(table) == max(len(before), len(language.tokenizer))
    assert len(set(ids)) == len(ids) == 127
    assert torch.equal(table[: min(ids)], before[: min(ids)])
    head = language.model.get_output_embeddings().weight
    assert (head is table) == tied and torch.equal(head, again.model.get_output_embeddings().weight)
    assert torch.equal(head[: min(ids)], whole.get_output_embeddings().weight[: min(ids)])


def test_packed_turns_have_the_loss_of_separate_sequences(model):
    scenes = [random_tokens(7), random_tokens(12, seed=1)]
    turns = [turns_of(model, 3), turns_of(model, 5, skip=40)]
    losses, answer = model(scenes, turns)
    expected = [loss_of(model, s, t) for s, ts in zip(scenes, turns, strict=True) for t in ts]
    means = torch.stack([losses[answer == i].mean() for i in range(len(expected))])
    assert_close(means, torch.stack(expected), atol=1e-5, rtol=1e-5)


def test_greedy_answers_equal_a_plain_loop_without_a_cache(model):
    scene, questions = random_tokens(9), ["Where is the lamp?", "How many chairs are there?"]
    answers = model.generate(scene, questions, 8)
    assert answers == [greedy(model, scene, question, 8) for question in questions]
    assert len(set(answers)) > 1


# -- from end to end -------------------------------------------------------------------------------


def test_from_frames_to_an_answer_offline(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: asked.append(host) or [])
    scene = load_scene(sample_room(), max_frames=2)
    scene_input = perceive(scene, preset="tiny")
    assert scene_input.tokens.features.shape == (len(scene_input), 48) and len(scene_input) > 20
    model = load_model("tiny")  # for the channels of its own encoder
    add_lora(model, 4)
    adapter = [name for name, p in model.named_parameters() if ".lora_A" in name]
    assert len(adapter) == 2 * len(TARGETS)  # two layers
    losses, _ = model([scene_input.tokens], [turns_of(model, 2)])
    losses.mean().backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    model.save_pretrained(tmp_path)
    loaded = LeoVL.from_pretrained(tmp_path)
    answer = ask(scene, "What is in the room?", loaded, max_new_tokens=5)
    assert answer.trained and answer == ask(scene_input, "What is in the room?", loaded, 5)
    assert not asked


def test_half_precision_as_it_is_stored(tiny, tmp_path, monkeypatch):
    save_qwen(tmp_path)
    tiny[1].__class__.from_pretrained(tmp_path, dtype=torch.bfloat16).save_pretrained(tmp_path)
    half = dataclasses.replace(PRESETS["tiny"], language=str(tmp_path))
    monkeypatch.setitem(PRESETS, "half", half)
    model = LeoVL("half", channels=8)
    add_lora(model, 2)
    assert model.language.dtype == torch.bfloat16
    model([random_tokens(7)], [turns_of(model, 2)])[0].mean().backward()
    assert all(p.dtype == torch.float32 for p in model.parameters() if p.requires_grad)
    assert isinstance(model.generate(random_tokens(5), ["Why?"], 3)[0], str)
