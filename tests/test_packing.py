"""Prompts and packing: what is read, what is learned, and that questions in one pack do not know of
each other.
"""

import math

import numpy as np
import pytest
import torch
from random_inputs import random_patches, random_tokens
from sequences import greedy, loss_of, turns_of
from tiny_scenes import room_examples
from torch.testing import assert_close

from leovl_mini import LeoVL
from leovl_mini.data.examples import Example
from leovl_mini.model.packing import pack
from leovl_mini.model.prompts import (
    AHEAD,
    POSE,
    ROLE,
    SPOT,
    before_scene,
    encode,
    plain_texts,
    question_text,
)
from leovl_mini.tokens import REPRESENTATIONS


@pytest.fixture(scope="module")
def model() -> LeoVL:
    return LeoVL("nano", channels=8)


# -- prompts ---------------------------------------------------------------------------------------


def test_the_plain_prompt_puts_the_scene_between_role_and_question():
    question = Example("", "", "qa", "", "Where is the lamp?", [])
    assert before_scene().startswith(ROLE)
    assert question_text(question) == " USER: Where is the lamp? ASSISTANT:"
    with pytest.raises(ValueError, match="'rhyme'.*plain, chat"):
        before_scene("rhyme")


def test_only_the_answer_and_its_end_are_learned(model):
    for example in room_examples():
        turn = encode(example, model.tokenizer)
        learned = [i for i, answer in zip(turn.ids, turn.is_answer, strict=True) if answer]
        assert learned[-1] == model.tokenizer.eos_token_id
        assert model.tokenizer.decode(learned[:-1]) == f" {example.answers[0]}"
        question = model.tokenizer.decode(turn.ids[: turn.answer_start])
        assert question == question_text(example)
        assert all(q in question and a in question for q, a in example.history)
    assert any(example.history for example in room_examples())


def test_places_stand_where_their_tokens_stand(model):
    pose = {"position": [1.0, 2.0, 0.0], "heading": math.pi / 2, "situation": "I am here."}
    situated = Example("", "", "qa", "situated", "Where is it?", ["left"], **pose)
    spot = Example("", "", "object captioning", "", "What?", ["a"], spot=[1.0, 0.0, 0.5])
    points = {}
    for turn in (encode(example, model.tokenizer) for example in (situated, spot)):
        points |= {model.tokenizer.decode(turn.ids[i]): point for i, point in turn.places.items()}
    assert points[POSE] == (1.0, 2.0, 0.0) and np.allclose(points[AHEAD], (1.0, 3.0, 0.0))
    assert points[SPOT] == (1.0, 0.0, 0.5) and len(points) == 3
    assert not any("<" in text for text in plain_texts([situated, spot]))


# -- packing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", REPRESENTATIONS)
def test_packed_turns_have_the_losses_of_separate_sequences(kind):
    model = LeoVL("nano", channels=8, tokens=kind)
    scenes = [model.representation(random_patches(30 + s, groups=4, seed=s)) for s in (0, 1)]
    turns = [turns_of(model, 3), turns_of(model, 5, skip=40)]
    losses, answer = model(scenes, turns)
    expected = [loss_of(model, s, t) for s, ts in zip(scenes, turns, strict=True) for t in ts]
    lengths = [len(t.ids) - t.answer_start for ts in turns for t in ts]
    assert torch.bincount(answer).tolist() == lengths
    means = torch.stack([losses[answer == i].mean() for i in range(len(expected))])
    assert_close(means, torch.stack(expected), atol=1e-5, rtol=1e-5)


def test_a_turn_does_not_see_another_turn_nor_the_next_scene(model):
    """What second turns predict has gradients in prompt, scene and second turn of its own row."""
    scenes = [random_tokens(7), random_tokens(9, seed=1)]
    turns = [turns_of(model, 3), turns_of(model, 2, skip=9)]
    packed = pack(model, scenes, turns)
    embeddings = packed.embeddings.detach().requires_grad_()
    logits = model.language(
        inputs_embeds=embeddings, attention_mask=packed.mask(), position_ids=packed.positions
    ).logits
    second = (packed.segments == 2) & packed.is_answer
    logits[second].log_softmax(-1).sum().backward()
    touched = embeddings.grad.abs().sum(-1) > 0
    seen = (packed.segments == 0) | (packed.segments == 2)
    assert touched.any(1).all() and not (touched & ~seen).any()


def test_all_scene_tokens_share_a_position_id_in_nano(model):
    assert model.position_ids(3, 4, 3).tolist() == [0, 1, 2, 3, 3, 3, 3, 4, 5, 6]
    for scene in (0, 1):
        assert model.position_ids(3, scene, 3 - scene).tolist() == [0, 1, 2, 3, 4, 5]
    packed = pack(model, [random_tokens(4)], [turns_of(model, 2)])
    start = int((packed.segments == 0).sum())
    assert packed.positions[0, :start].tolist() == model.position_ids(start - 4, 4).tolist()


def test_eager_attention_is_refused_in_training():
    model = LeoVL("nano", channels=8)
    model.language.set_attn_implementation("eager")
    with pytest.raises(ValueError, match="use sdpa"):
        model([random_tokens(4)], [turns_of(model, 2)])


def test_questions_with_places_and_earlier_turns_are_answered_as_alone(model):
    examples = [e for e in room_examples() if e.task != "planning"][::6]
    assert any(e.position for e in examples) and any(e.spot for e in examples)
    assert any(e.history for e in examples)
    scene = random_tokens(9)
    assert model.generate(scene, examples, 6) == [greedy(model, scene, e, 6) for e in examples]
