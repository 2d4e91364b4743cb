"""Packing, losses, turning rooms, the loop and its resumption, and the feature cache."""

import dataclasses
import json
import math
import re
from collections import Counter

import numpy as np
import pytest
import torch
from random_inputs import devices, random_tokens
from torch.testing import assert_close

from leovl_mini.data.examples import TASKS, Example, load_examples
from leovl_mini.data.samples import sample_room, samples_folder
from leovl_mini.model.hub import restore
from leovl_mini.model.leovl import LeoVL
from leovl_mini.model.prompts import AHEAD, POSE, SPOT, Turn, encode, question_text
from leovl_mini.model.symbols import (
    WORDS,
    Symbols,
    Vocabulary,
    objects_as_symbols,
    simulate_grid,
    tokens_as_symbols,
)
from leovl_mini.perception.encoders import load_encoder
from leovl_mini.perception.lift import Patches
from leovl_mini.rooms.dataset import RoomDataset, make_rooms
from leovl_mini.rooms.furniture import COLOURS, FIXED, LARGE, SMALL
from leovl_mini.rooms.lists import LISTS
from leovl_mini.rooms.questions import plural
from leovl_mini.scans.scene import InputError, Object
from leovl_mini.tokens import SceneTokens, representation
from leovl_mini.tokens.base import SceneInput
from leovl_mini.tokens.cache import FeatureCache, make_cache
from leovl_mini.tokens.pipeline import perceive, shown_objects
from leovl_mini.train.augment import (
    select,
    short_phrasing,
    turned_example,
    turned_object,
    turned_tokens,
    with_supports,
)
from leovl_mini.train.batches import SceneQADataset, to_device
from leovl_mini.train.loop import learning_rate, optimizers_of, train_steps
from leovl_mini.train.losses import (
    alignment_loss,
    answer_loss,
    place_loss,
    symbolic_loss,
    tuning_loss,
)


@pytest.fixture(scope="module")
def model() -> LeoVL:
    return LeoVL("nano", channels=8)


def room_examples(name: str = "scannet_2") -> list[Example]:
    return [e for e in load_examples(sample_room(name) / "examples.jsonl") if e.task != "grounding"]


def room_objects(name: str = "scannet_2") -> list[Object]:
    objects = json.loads((sample_room(name) / "scene.json").read_text())["objects"]
    return [
        Object(**{**o, "center": tuple(o["center"]), "size": tuple(o["size"])}) for o in objects
    ]


def fake_scene(name: str) -> SceneInput:
    """The objects of a bundled room, with one token of random features for each."""
    objects = room_objects(name)
    centers = torch.tensor([o.center for o in objects], dtype=torch.float32)
    features = torch.randn(len(objects), 8, generator=torch.Generator().manual_seed(len(objects)))
    shows = torch.tensor([[o.id, 0] for o in objects])
    return SceneInput(
        SceneTokens(features, centers, torch.zeros(0, dtype=torch.long)), shows, objects, name
    )


def lessons(model: LeoVL, **options) -> SceneQADataset:
    names = ("scannet_2", "rscan_3", "multiscan_1")
    examples = [
        dataclasses.replace(e, scene=name, id=f"{name}/{e.id}")
        for name in names
        for e in room_examples(name)
    ]
    return SceneQADataset(model, fake_scene, examples, **{"rooms": 2, "budget": 90, **options})


# -- prompts ---------------------------------------------------------------------------------------


def test_only_the_answer_and_its_end_are_learned(model):
    for example in room_examples():
        turn = encode(example, model.tokenizer)
        learned = [i for i, answer in zip(turn.ids, turn.is_answer, strict=True) if answer]
        assert learned[-1] == model.tokenizer.eos_token_id
        assert model.tokenizer.decode(learned[:-1]) == f" {example.answers[0]}"
        assert model.tokenizer.decode(turn.ids[: turn.answer_start]) == question_text(example)


def test_places_stand_where_their_tokens_stand(model):
    asked = Example(
        "",
        "",
        "qa",
        "situated",
        "Where is it?",
        ["left"],
        "I am here.",
        [1.0, 2.0, 0.0],
        math.pi / 2,
    )
    turn = encode(asked, model.tokenizer)
    named = {
        model.tokenizer.convert_ids_to_tokens(turn.ids[i]): point
        for i, point in turn.places.items()
    }
    assert named[POSE] == (1.0, 2.0, 0.0) and np.allclose(named[AHEAD], (1.0, 3.0, 0.0))
    select = encode(
        Example("", "", "object captioning", "", "What?", ["a"], spot=[1.0, 0.0, 0.5]),
        model.tokenizer,
    )
    assert [model.tokenizer.convert_ids_to_tokens(select.ids[i]) for i in select.places] == [SPOT]


def test_earlier_turns_are_read_but_not_learned(model):
    dialogue = next(e for e in room_examples() if e.history)
    turn = encode(dialogue, model.tokenizer)
    text = model.tokenizer.decode(turn.ids[: turn.answer_start])
    assert all(q in text and a in text for q, a in dialogue.history)


# -- packing and loss ------------------------------------------------------------------------------


def turns_of(model: LeoVL, count: int, skip: int = 0):
    return [encode(e, model.tokenizer) for e in room_examples()[skip : skip + count]]


def alone(model: LeoVL, scene, turn) -> torch.Tensor:
    """The loss of one answer as transformers computes it for one plain sequence."""
    before = model.embed_prompt(scene)
    words = model.embed_words(torch.tensor(turn.ids), turn.places)
    labels = torch.full((len(before) + len(turn.ids),), -100)
    labels[len(before) + turn.answer_start :] = torch.tensor(turn.ids[turn.answer_start :])
    positions = model.position_ids(len(before) - len(scene), len(scene), len(words))[None]
    return model.language(
        inputs_embeds=torch.cat([before, words])[None], position_ids=positions, labels=labels[None]
    ).loss


def test_eager_attention_is_refused_in_training():
    model = LeoVL("nano", channels=8)
    model.language.set_attn_implementation("eager")
    with pytest.raises(ValueError, match="use sdpa"):
        model.loss(model.pack([random_tokens(4, 8)], [turns_of(model, 2)]))


def test_all_scene_tokens_share_a_position_in_nano(model):
    assert model.position_ids(3, 4, 3).tolist() == [0, 1, 2, 3, 3, 3, 3, 4, 5, 6]
    assert (
        model.position_ids(3, 1, 2).tolist()
        == model.position_ids(3, 0, 3).tolist()
        == [0, 1, 2, 3, 4, 5]
    )
    packed = model.pack([random_tokens(4, 8)], [turns_of(model, 2)])
    start = int((packed.segments == 0).sum())
    assert packed.positions[0, :start].tolist() == model.position_ids(start - 4, 4).tolist()


def test_packed_turns_have_the_loss_of_separate_sequences(model):
    scenes, turns = (
        [random_tokens(7, 8), random_tokens(12, 8, seed=1)],
        [turns_of(model, 3), turns_of(model, 5, skip=40)],
    )
    expected = torch.stack(
        [alone(model, s, t) for s, some in zip(scenes, turns, strict=True) for t in some]
    )
    packed = model.pack(scenes, turns)
    assert_close(model.loss(packed), expected.mean(), atol=1e-5, rtol=0)
    lengths = torch.tensor([len(t.ids) - t.answer_start for some in turns for t in some])
    assert_close(
        model.loss(packed, per="token"),
        (expected * lengths).sum() / lengths.sum(),
        atol=1e-5,
        rtol=0,
    )
    assert not torch.allclose(
        model.loss(packed), model.loss(packed, per="token"), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("kind", ["grid", "voxels", "proxies", "patches", "objects"])
def test_packing_works_for_every_representation(kind):
    model = LeoVL("nano", channels=8, tokens=kind)
    patches = [
        Patches(
            torch.randn(30, 8),
            torch.rand(30, 3) * 4,
            torch.zeros(30, 3, dtype=torch.long),
            0,
            torch.arange(30) // 8,
        )
        for _ in range(2)
    ]
    scenes, turns = (
        [model.representation(p) for p in patches],
        [turns_of(model, 2), turns_of(model, 2, skip=30)],
    )
    expected = torch.stack(
        [alone(model, s, t) for s, some in zip(scenes, turns, strict=True) for t in some]
    ).mean()
    assert_close(model.loss(model.pack(scenes, turns)), expected, atol=1e-5, rtol=0)


def test_a_turn_does_not_see_another_turn_nor_the_next_scene(model):
    scenes, turns = (
        [random_tokens(7, 8), random_tokens(9, 8, seed=1)],
        [turns_of(model, 3), turns_of(model, 2, skip=9)],
    )
    packed = model.pack(scenes, turns)
    packed.embeddings = packed.embeddings.detach().requires_grad_()
    losses, turn = model.token_losses(packed)
    losses[turn == 1].sum().backward()  # the second turn of the first scene
    touched = packed.embeddings.grad.abs().sum(-1) > 0
    seen = (packed.segments == 0) | (packed.segments == 2)
    assert touched[0].any() and not touched[1].any() and not (touched[0] & ~seen[0]).any()


def test_gradients_reach_everything_that_is_trained(model):
    model.zero_grad()
    batch = lessons(model, kind="image").batch(0)
    tuning_loss(model, batch).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or p.grad.norm() == 0]
    assert not silent


def test_a_question_in_a_batch_is_answered_as_alone(model):
    scene, some = (
        random_tokens(9, 8),
        [e for e in room_examples() if e.task in ("qa", "object captioning")][::5],
    )
    together = model.generate(scene, some, 6)
    assert (
        together
        == [model.generate(scene, [e], 6)[0] for e in some]
        == model.generate(scene, some, 6, use_cache=False)
    )


# -- turning ---------------------------------------------------------------------------------------


def test_turning_the_room_turns_coordinates_and_poses():
    item = Object(1, "mug", (1.6, -0.4, 0.5), (0.1, 0.1, 0.1), 0.3, {})
    asked = Example(
        "",
        "",
        "qa",
        "coordinates",
        "Where?",
        ["x 1.5, y -0.5"],
        position=[1.6, -0.4, 0.0],
        heading=0.0,
    )
    for quarters, answer in enumerate(
        ["x 1.5, y -0.5", "x 0.5, y 1.5", "x -1.5, y 0.5", "x -0.5, y -1.5"]
    ):
        turned, to_device = turned_example(asked, quarters), turned_object(item, quarters)
        assert turned.answers == [answer]
        assert np.allclose(turned.position[:2], to_device.center[:2]) and math.isclose(
            turned.heading, quarters * math.pi / 2
        )
        tokens = SceneTokens(
            torch.zeros(1, 2), torch.tensor([item.center]), torch.zeros(0, dtype=torch.long)
        )
        assert_close(turned_tokens(tokens, quarters).centers[0], torch.tensor(to_device.center))
    assert turned_example(
        Example("", "", "qa", "coordinates", "", ["x 0.0, y 0.5"]), 1
    ).answers == ["x -0.5, y 0.0"]


def test_four_quarters_are_none():
    tokens = random_tokens(5, 8)
    for _ in range(4):
        turned = turned_tokens(tokens, 1)
        tokens = dataclasses.replace(tokens, centers=turned.centers)
    assert_close(tokens.centers, random_tokens(5, 8).centers)


# -- symbols ---------------------------------------------------------------------------------------


def said(model, ids) -> list[str]:
    return [model.tokenizer.decode([i]).strip() for i in ids if i >= 0]


def test_an_object_in_words(model):
    words = Vocabulary(model.tokenizer)
    attributes = {"colour": "red", "pattern": "striped", "state": "open", "on": "4"}
    item = Object(3, "tv stand", (0.0, 0.0, 0.3), (1.0, 0.4, 0.6), 0.0, attributes)
    assert said(model, words.describe(item)) == [
        "tv",
        "stand",
        "red",
        "striped",
        "open",
        "<bottom0>",
        "<top3>",
        "on",
    ]
    alone = Object(3, "lamp", (0.0, 0.0, 0.8), (0.4, 0.4, 1.6), 0.0, {})
    assert said(model, words.describe(alone)) == ["lamp", "<bottom0>", "<top8>", "middle"]
    assert len(words.describe(item)) == len(words.describe(alone)) == 8
    words.known["middle"] = [1, 2]  # a tokenizer that cuts this word in two: rows keep their length
    assert len(words.describe(alone)) == 8


def test_a_token_says_the_words_of_what_it_shows(model):
    words, seen = Vocabulary(model.tokenizer), fake_scene("scannet_2")
    assert torch.equal(
        tokens_as_symbols(seen, words).words, objects_as_symbols(seen.objects, words).words
    )
    seen.object_ids[0] = 0
    assert (tokens_as_symbols(seen, words).words[0] == -1).all()


def test_a_thing_says_once_how_it_is_there(model):
    """A table of three tokens and a mug on one of them: each says it next to its middle, and can be
    counted.
    """
    table = Object(1, "table", (0.1, 0.0, 0.35), (1.5, 0.6, 0.7), 0.0, {})
    mug = Object(2, "mug", (0.5, 0.0, 0.75), (0.1, 0.1, 0.1), 0.0, {"on": "1"})
    centers = torch.tensor([[-0.5, 0.0, 0.7], [0.0, 0.0, 0.7], [0.5, 0.0, 0.75], [2.0, 0.0, 0.0]])
    tokens = SceneTokens(torch.zeros(4, 8), centers, torch.arange(4))
    seen = SceneInput(tokens, torch.tensor([[1, 0], [1, 0], [2, 1], [0, 0]]), [table, mug], "room")
    rows = [
        said(model, row)
        for row in tokens_as_symbols(seen, Vocabulary(model.tokenizer)).words.tolist()
    ]
    assert [("middle" in row, "on" in row) for row in rows] == [
        (False, False),
        (True, False),
        (False, True),
        (False, False),
    ]
    assert "table" in rows[2] and "mug" in rows[2] and rows[3] == []


def test_shown_objects_are_those_with_the_most_patches():
    source = torch.tensor([0, 0, 0, 0, 1, 1, -1, 1])
    segments = torch.tensor([5, 5, 2, 0, 0, 0, 7, 0])
    patches = Patches(
        torch.zeros(8, 2), torch.zeros(8, 3), torch.zeros(8, 3, dtype=torch.long), 0, segments
    )
    tokens = SceneTokens(torch.zeros(3, 2), torch.zeros(3, 3), source)
    assert shown_objects(tokens, patches).tolist() == [[5, 2], [0, 0], [0, 0]]


@devices
def test_tokens_are_chosen_and_turned_where_they_lie(device):
    tokens, kept = random_tokens(6, 8), torch.tensor([True, False, True, True, False, True])
    here = select(turned_tokens(tokens, 1), kept)
    there = select(turned_tokens(to_device(tokens, torch.device(device)), 1), kept)
    assert there.centers.device.type == torch.device(device).type
    assert_close(there.centers.cpu(), here.centers)
    assert_close(there.features.cpu(), here.features)


def test_everyday_words_ask_the_same(model):
    """Questions of existence and number, and overviews, in the shortest words; the answer and
    everything else stays.
    """
    for example in room_examples():
        short = short_phrasing(example)
        assert short.answers == example.answers and short.derivation == example.derivation
        if example.kind == "existence":
            assert short.question == f"Is there {example.derivation['slots']['a_thing']}?"
        elif example.kind == "count":
            assert short.question == f"How many {example.derivation['slots']['things']} are there?"
        elif example.task == "scene captioning":
            assert short.question == "What is in the room?"
        else:
            assert short == example
    asked = {
        share: "".join(
            model.tokenizer.decode(t.ids)
            for step in range(6)
            for turns in lessons(model, rooms=3, budget=300, everyday=share).batch(step).turns
            for t in turns
        )
        for share in (0.0, 0.5, 1.0)
    }
    said = {
        share: [
            len(re.findall(p, text))
            for p in (r"USER: Is there an? [a-z ]+\?", "ASSISTANT: (yes|no)<")
        ]
        for share, text in asked.items()
    }
    assert said[0.0][0] < said[0.5][0] < said[1.0][0] and said[1.0][1] > 0


# -- batches and the loop --------------------------------------------------------------------------


def test_batches_depend_on_seed_and_step_alone(model):
    first, again, other = lessons(model), lessons(model), lessons(model, seed=1)
    first.batch(3)
    a, b, c = first.batch(0), again.batch(0), other.batch(0)
    assert a.turns == b.turns and all(
        torch.equal(x.centers, y.centers) for x, y in zip(a.scenes, b.scenes, strict=True)
    )
    assert a.turns != c.turns


def test_every_room_comes_once_in_an_epoch(model):
    some = lessons(model, rooms=1, turn=False)
    firsts = [len(some.batch(step).scenes[0]) for step in range(6)]
    sizes = sorted(len(fake_scene(n)) for n in some.names)
    assert sorted(firsts[:3]) == sorted(firsts[3:]) == sizes


def test_parts_of_a_batch_make_the_whole(model):
    some = lessons(model, rooms=3)
    whole, parts = some.batch(1), [some.batch(1, part, 2) for part in range(2)]
    assert [t for t in whole.turns if t in parts[0].turns + parts[1].turns] == whole.turns
    assert sum(len(p.turns) for p in parts) == 3


def test_scene_and_turns_fill_the_budget_and_tasks_can_be_left_out(model):
    some = lessons(
        model,
        budget=150,
        weights={
            "scene captioning": 0.0,
            "object captioning": 0.0,
            "planning": 0.0,
            "dialogue": 0.0,
        },
    )
    for step in range(5):
        batch = some.batch(step)
        for scene, turns in zip(batch.scenes, batch.turns, strict=True):
            assert 120 < len(scene) + sum(len(t.ids) for t in turns) <= 150 and len(turns) >= 2
    (turn,) = lessons(model, rooms=1, budget=80, lists=1.0).batch(0).turns[0]
    assert len(turn.ids) <= 80  # a long list breaks off


def test_a_kind_of_question_weighs_more_than_its_task(model):
    some = lessons(model, rooms=3, budget=400, weights=dict.fromkeys(TASKS, 0.0) | {"colour": 1.0})
    asked = [
        model.tokenizer.decode(t.ids)
        for step in range(5)
        for turns in some.batch(step).turns
        for t in turns
    ]
    assert len(asked) > 10 and all("colour" in text for text in asked)


def test_a_share_of_the_rooms_is_asked_for_lists(model):
    def lists(share):
        some = lessons(model, lists=share)
        rooms = [
            [model.tokenizer.decode(t.ids) for t in turns]
            for step in range(40)
            for turns in some.batch(step).turns
        ]
        assert all(len(words) == 1 for words in rooms if any(q in words[0] for q in LISTS))
        shorthand = [
            all(re.match(r" USER: [\w ]+ ASSISTANT:", w) for w in words) for words in rooms
        ]
        return sum(any(q in words[0] for q in LISTS) for words in rooms), sum(shorthand)

    assert (
        lists(0.0) == (0, 0)
        and sum(lists(1.0)) == 80
        and 35 < lists(1.0)[1] < 62
        and 5 < sum(lists(0.25)) < 40
    )


def paper_rooms(some: SceneQADataset, steps: int) -> list[tuple[bool, list[Turn]]]:
    """For every room whether it has one token per thing, and its turns."""
    counts = {len(fake_scene(name)) for name in some.names}
    return [
        (len(s) in counts, t)
        for b in map(some.batch, range(steps))
        for s, t in zip(b.scenes, b.turns, strict=True)
    ]


def test_texts_are_asked_for_in_rooms_of_both_forms(model):
    def asked(texts: float) -> set[tuple[bool, bool]]:
        """Rooms of one token per thing or of many; texts for answers or not."""
        some = lessons(
            model,
            kind="objects",
            budget=400,
            texts=texts,
            weights={"planning": 0.0, "dialogue": 0.0},
        )
        return {
            (single, all(len(t.ids) - t.answer_start > 30 for t in turns))
            for single, turns in paper_rooms(some, 24)
        }

    assert asked(1.0) == {(True, True), (False, True)} and asked(0.0) == {
        (True, False),
        (False, False),
    }
    assert len(asked(0.5)) == 4


def test_half_of_the_rooms_on_paper_have_one_token_per_thing(model):
    for share in (0.0, 1.0):
        rooms = paper_rooms(lessons(model, kind="objects", budget=1000, lists=share), 80)
        assert 0.35 < np.mean([single for single, _ in rooms]) < 0.65


def test_a_grid_on_paper_leaves_words_for_questions(model, monkeypatch):
    seen = simulate_grid(room_objects(), np.random.default_rng(0))
    monkeypatch.setattr("leovl_mini.train.batches.simulate_grid", lambda *_: seen)
    for budget, fits in ((len(seen) + 64, True), (len(seen) + 63, False)):
        batches = map(lessons(model, kind="objects", budget=budget).batch, range(20))
        rooms = [
            (len(s), sum(len(t.ids) for t in turns))
            for b in batches
            for s, turns in zip(b.scenes, b.turns, strict=True)
        ]
        assert any(size == len(seen) for size, _ in rooms) == fits and all(
            size + words <= budget for size, words in rooms
        )


def test_after_the_crowd_every_fourth_step_only_counts_in_more_rooms(model):
    some = lessons(model, kind="objects", rooms=1, budget=400, crowd=12)
    assert [len(some.batch(step).scenes) for step in range(28)] == [
        4 if step in (15, 19, 23) else 1 for step in range(28)
    ]
    for step in (15, 19, 23):
        batch, parts = some.batch(step), [some.batch(step, part, 2).turns for part in range(2)]
        assert batch.turns[0::2] == parts[0] and batch.turns[1::2] == parts[1]
        for scene, turns in zip(batch.scenes, batch.turns, strict=True):
            named = {some.vocabulary.ids(c)[0]: c for c in (*LARGE, *SMALL, *FIXED)}
            said = Counter(named[first] for first in scene.words[:, 0].tolist())
            assert len(turns) >= 3 and sum(said.values()) == len(scene)  # one token per thing
            for turn in turns:
                text = model.tokenizer.decode(turn.ids[: turn.answer_start]).strip()
                number = model.tokenizer.decode(turn.ids[turn.answer_start : -1]).strip()
                assert number in {
                    str(n) for c, n in said.items() if text == f"USER: {plural(c)} ASSISTANT:"
                }


def test_rooms_fill_up(model):
    """At first a room holds a few objects with what they lie on, and is asked about those; in the
    end everything is there.
    """
    some = lessons(model, kind="objects", rooms=3, turn=False, crowd=100, budget=900)
    early, late, *whole = (
        sum(len(s) for s in some.batch(step).scenes) for step in (0, 80, 100, 101, 102)
    )
    assert (
        early < late <= sum(len(fake_scene(n)) for n in some.names) < max(whole)
    )  # in the end, several tokens each in a half
    objects = room_objects()
    lying = next(o for o in objects if "on" in o.attributes)
    host = int(lying.attributes["on"])
    assert {lying.id, host} <= with_supports({lying.id}, objects) & with_supports({host}, objects)
    assert with_supports(set(), objects) == set()


def test_few_objects_are_not_asked_about_what_is_missing(model):
    some = lessons(model, kind="objects", rooms=3, turn=False, crowd=30, budget=500)
    colours = {f" {name}" for name in COLOURS}
    asked = 0
    for step in range(20, 26):
        batch = some.batch(step)
        for scene, turns in zip(batch.scenes, batch.turns, strict=True):
            said = {model.tokenizer.decode([i]) for i in scene.words.flatten().tolist() if i >= 0}
            for turn in turns:
                answer = model.tokenizer.decode(turn.ids[turn.answer_start : -1])
                if answer in colours:
                    assert answer in said
                    asked += 1
    assert asked >= 3


def test_the_first_lessons_list_all_that_is_there(model):
    some = lessons(model, kind="objects", rooms=3, crowd=30)
    named = {
        i
        for word in [*LARGE, *SMALL, *FIXED, *COLOURS, "plain", "striped", "checked"]
        for i in some.vocabulary.ids(word)
    }
    for step in range(0, 18, 2):
        batch = some.batch(step)
        for scene, (turn,) in zip(batch.scenes, batch.turns, strict=True):
            listed = set(turn.ids[turn.answer_start :]) & named
            assert listed and listed <= set(scene.words.flatten().tolist())
            numbers = model.tokenizer.decode(turn.ids[turn.answer_start : -1]).count(" y ")
            assert 1 <= numbers <= len(scene)
    assert len(some.batch(29).turns[0]) > 1


def test_a_grid_on_paper_shows_each_object_where_it_stands(model):
    bed = Object(1, "bed", (1.0, 2.0, 0.3), (2.0, 1.0, 0.6), math.pi / 2, {})
    mug = Object(2, "mug", (1.0, 2.1, 0.7), (0.1, 0.1, 0.1), 0.3, {"colour": "red", "on": "1"})
    vocabulary, sizes = Vocabulary(model.tokenizer), set()
    for seed in range(20):
        seen = simulate_grid([bed, mug], np.random.default_rng(seed))
        cells = (seen.tokens.centers[:, :2] / 0.25 - 0.5).round()
        assert_close(seen.tokens.centers[:, :2], (cells + 0.5) * 0.25)
        assert len(cells.unique(dim=0)) == len(seen)  # a cell is one token, whatever it shows
        beds, mugs = ((seen.object_ids == i).any(1) for i in (1, 2))
        assert 15 <= int(beds.sum()) <= 70 and 1 <= int(mugs.sum()) <= 9
        assert float((beds & mugs).sum()) >= 0.5 * float(
            mugs.sum()
        )  # the mug shares its tokens with the bed
        away = (seen.tokens.centers[beds, :2] - torch.tensor([1.0, 2.0])).abs()
        assert (away <= torch.tensor([0.5, 1.0]) + 0.125 + 4 * 0.08).all() and away[
            :, 1
        ].max() > 0.7  # turned by a quarter
        symbols = tokens_as_symbols(seen, vocabulary)
        share = torch.where(mugs, 1 / mugs.sum(), torch.where(beds, 1 / beds.sum(), 0.0))
        assert_close(symbols.share, share)  # a mug's few tokens count as much as the bed's many
        said = symbols.words.unflatten(1, (-1, WORDS))
        for item in (bed, mug):
            shown = (said[..., 0] == vocabulary.ids(item.category)[0]) & (said[..., -1] >= 0)
            assert int(shown.sum()) == 1  # each says once how it is there
            middle = seen.tokens.centers[shown.any(1), :2] - torch.tensor(item.center[:2])
            assert middle.norm() < 0.25
        sizes.add(int((~beds & ~mugs).sum()))
    assert len(sizes) > 5  # of floor and wall there is now more, now less


def test_a_grid_on_paper_is_as_dense_as_a_grid():
    """Against the bundled features: tokens that show something, tokens that show two things, tokens
    of small and large things.
    """
    cache, rng = FeatureCache(samples_folder() / "lessons"), np.random.default_rng(0)

    def counted(seen):
        each = np.array([int((seen.object_ids == o.id).any(1).sum()) for o in seen.objects])
        area = np.array([o.size[0] * o.size[1] for o in seen.objects])
        shown = (seen.object_ids > 0).sum(1)
        return (
            int((shown > 0).sum()),
            int((shown == 2).sum()),
            each[area < 0.12].mean(),
            each[area > 0.6].mean(),
        )

    rooms = [cache.scene(name) for name in cache.file_of]
    real, paper = (
        np.mean([counted(seen) for seen in some], 0)
        for some in (rooms, [simulate_grid(r.objects, rng) for r in rooms])
    )
    assert (np.abs(paper / real - 1) < 0.25).all(), (real, paper)


def test_tokens_of_floor_and_wall_are_thinned_out(model):
    def with_floor(name):
        seen, source = fake_scene(name), torch.arange(100)
        tokens = SceneTokens(
            torch.cat([seen.tokens.features, torch.zeros(100, 8)]),
            torch.cat([seen.tokens.centers, torch.zeros(100, 3)]),
            source,
        )
        return SceneInput(
            tokens,
            torch.cat([seen.object_ids, torch.zeros(100, 2, dtype=torch.long)]),
            seen.objects,
            name,
        )

    objects = sum(len(fake_scene(name)) for name in lessons(model).names)
    for plain, low, high in ((1.0, 300, 300), (0.3, 60, 120), (0.0, 0, 0)):
        some = lessons(model, rooms=3, plain=plain)
        some.seen = with_floor
        batch = some.batch(0)
        assert low <= sum(map(len, batch.scenes)) - objects <= high
        assert sum(int((w.words >= 0).any(1).sum()) for w in batch.words) == objects
        for scene in batch.scenes:
            assert scene.source.max() < len(scene)


def test_nano_looks_for_what_is_alike_and_copies_it(model):
    """Before any training: among scene tokens, the word "chair" attends most to the chair, and
    takes up its colour.
    """
    vocabulary = Vocabulary(model.tokenizer)
    chair, colours = vocabulary.ids("chair")[0], ["red", "blue", "green"]
    kinds = ["sofa", "chair", "lamp"]
    words = torch.tensor(
        [[vocabulary.ids(k)[0], vocabulary.ids(c)[0]] for k, c in zip(kinds, colours, strict=True)]
    )
    fresh = LeoVL("nano", channels=8)
    table = fresh.language.get_input_embeddings()
    with torch.no_grad():
        scene = (fresh.scene_scale * fresh.project([Symbols(words, torch.zeros(3, 3))])).roll(
            fresh.dialect, -1
        )
        read = torch.cat([scene, table(torch.tensor([chair]))])[None]
        fresh.language.set_attn_implementation("eager")
        first = fresh.language(
            inputs_embeds=read, output_attentions=True, output_hidden_states=True
        )
    attention = first.attentions[0][0, :, -1].mean(0)
    assert attention[:3].argmax() == 1 and attention[1] > 1.5 * max(attention[0], attention[2])
    found = (
        first.hidden_states[1][0, -1]
        @ table.weight[torch.tensor([vocabulary.ids(c)[0] for c in colours])].T
    )
    assert found.argmax() == 1


def test_the_rate_rises_and_falls():
    rates = [learning_rate(step, 100, 10) for step in range(100)]
    assert rates[0] == 0.1 and max(rates) == rates[9] == 1.0 and 0.05 <= rates[-1] < 0.06
    assert rates[:10] == sorted(rates[:10]) and rates[9:] == sorted(rates[9:], reverse=True)


@pytest.mark.parametrize("kind, loss", [("objects", symbolic_loss), ("image", tuning_loss)])
def test_training_lowers_the_loss(kind, loss):
    model = LeoVL("nano", channels=8)
    torch.manual_seed(0)
    some = lessons(model, kind=kind, turn=False, rooms=3)
    before = float(loss(model, some.batch(0)).detach())
    train_steps(model, some, 40, loss, 3e-3, warmup=3, quiet=True)
    assert float(loss(model, some.batch(0)).detach()) < 0.6 * before and model.trained


@pytest.mark.parametrize("muon", [False, True])
def test_a_resumed_run_equals_an_unbroken_one(tmp_path, muon):
    def run(file, interrupt_at=None):
        model = LeoVL("nano", channels=8, seed=3)  # as in a fresh process: new model, new optimiser
        some, steps = lessons(model, rooms=1, budget=40), []

        def loss(m, batch):
            steps.append(1)
            if len(steps) == interrupt_at:
                raise KeyboardInterrupt
            return answer_loss(m, batch) * (1 + torch.rand(()))  # random, as place_loss is

        torch.manual_seed(5)
        history = train_steps(
            model, some, 6, loss, checkpoint=file, every=2, quiet=True, warmup=2, muon=muon
        )
        return model.state_dict(), history, len(steps)

    whole, losses, _ = run(tmp_path / "whole.safetensors")
    with pytest.raises(KeyboardInterrupt):
        run(
            tmp_path / "broken.safetensors", interrupt_at=4
        )  # two steps were saved, the third is lost
    broken, again, steps = run(tmp_path / "broken.safetensors")
    assert (
        steps == 4 and losses == again and all(torch.equal(broken[k], v) for k, v in whole.items())
    )
    assert restore(tmp_path / "whole.safetensors", LeoVL("nano", channels=8)) == losses


def test_muon_moves_the_matrices_of_layers_and_adamw_the_rest():
    model = LeoVL("nano", channels=8, seed=3)
    model.projector.requires_grad_(False)
    names = {id(p): n for n, p in model.named_parameters()}
    adamw, muon = (
        {names[id(p)] for p in o.param_groups[0]["params"]}
        for o in optimizers_of(model, 1e-3, 0.05, muon=True)
    )
    assert muon == {n for n, p in model.named_parameters() if p.requires_grad and p.ndim == 2} - {
        "language.model.embed_tokens.weight",
        "representation.fourier.frequencies",
    }
    assert adamw == {n for n, p in model.named_parameters() if p.requires_grad} - muon
    (alone,) = optimizers_of(model, 1e-3, 0.05, muon=False)
    assert {names[id(p)] for p in alone.param_groups[0]["params"]} == adamw | muon


def test_a_step_of_muon_is_as_long_in_every_direction_and_goes_downhill():
    model, rate = LeoVL("nano", channels=8, seed=3), 1e-3
    some = lessons(model, rooms=3)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    answer_loss(model, some.batch(0)).backward()
    slope = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    train_steps(model, some, 1, answer_loss, rate, warmup=0, decay=0.0, quiet=True, muon=True)
    name = "language.model.layers.1.mlp.up_proj.weight"
    step = dict(model.named_parameters())[name].detach() - before[name]
    sizes = torch.linalg.svdvals(step) / (
        0.2 * rate * max(step.shape) ** 0.5
    )  # Liu et al. 2025, section 2.2
    assert sizes.median() == pytest.approx(1, abs=0.3) and sizes.max() < 1.4
    assert (step * slope[name]).sum() < 0 and (
        sizes > 0.5
    ).float().mean() > 0.6  # where the slope is almost zero, less
    assert (
        torch.linalg.svdvals(slope[name])[:2].sum()
        > 5 * torch.linalg.svdvals(slope[name])[60:62].sum()
    )  # the slope is not


def test_a_run_with_another_optimiser_is_not_continued(tmp_path):
    model = LeoVL("nano", channels=8)
    for muon in (False, True):
        options = {"checkpoint": tmp_path / f"{muon}.safetensors", "quiet": True}
        train_steps(model, lessons(model, rooms=1, budget=40), 1, answer_loss, muon=muon, **options)
        with pytest.raises(InputError, match="another optimiser"):
            train_steps(
                model, lessons(model, rooms=1, budget=40), 2, answer_loss, muon=not muon, **options
            )


def test_batches_drawn_by_other_processes_are_the_same():
    def run(workers):
        model = LeoVL("nano", channels=8, seed=3)
        return train_steps(
            model,
            lessons(model, rooms=2, budget=60),
            3,
            answer_loss,
            quiet=True,
            warmup=1,
            workers=workers,
        )

    assert run(0) == run(2)


def test_places_learn_their_coordinates(model):
    fresh = LeoVL("nano", channels=8)
    optimizer = torch.optim.Adam(
        [*fresh.representation.parameters(), fresh.language.get_input_embeddings().weight], 3e-3
    )
    torch.manual_seed(0)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = place_loss(fresh)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_tuning_shows_rooms_in_words_where_it_shall(model):
    batch = lessons(model, kind="image", turn=False).batch(0)

    def loss(in_words):
        torch.manual_seed(0)
        return float(tuning_loss(model, batch, "sequence", in_words=in_words).detach())

    seen, said = (
        float(answer_loss(model, dataclasses.replace(batch, scenes=s)).detach())
        for s in (batch.scenes, batch.words)
    )
    assert abs(said - seen) > 0.01 and loss(1.0) - loss(0.0) == pytest.approx(said - seen, abs=1e-3)


def test_alignment_is_lowest_where_tokens_say_their_words(model, monkeypatch):
    batch = lessons(model, kind="image", turn=False).batch(0)
    before, original = float(alignment_loss(model, batch).detach()), model.content
    right = model.project(batch.words).detach()

    def loss_of(said):
        monkeypatch.setattr(
            model,
            "content",
            lambda scenes: said if isinstance(scenes[0], SceneTokens) else original(scenes),
        )
        return float(alignment_loss(model, batch))

    assert (
        loss_of(right) < loss_of(right.roll(1, 0))
        and loss_of(right) < loss_of(2 * right)
        and loss_of(right) < before
    )


# -- the feature cache -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> RoomDataset:
    folder = tmp_path_factory.mktemp("made") / "corpus"
    make_rooms(folder, rooms=4, views=2, workers=1, pairs=0.0, quiet=True)
    return RoomDataset(folder)


@pytest.mark.parametrize("tokens", ["grid", "voxels"])
def test_the_cache_holds_what_perception_gives(corpus, tmp_path, tokens):
    make_features(tmp_path / "cache", corpus, tokens=tokens, quiet=True)
    cache, encoder = FeatureCache(tmp_path / "cache"), load_encoder()
    assert len(cache) == len(corpus) and not cache.damaged()
    module = representation(tokens, voxel_size=0.25, budget=750)
    for name in list(corpus.shard_of)[:2]:
        scene = corpus.scene(name)
        fresh, kept = perceive(scene, encoder, module), cache.scene(name)
        assert_close(kept.tokens.features, fresh.tokens.features, atol=2e-2, rtol=1e-2)
        assert torch.equal(kept.tokens.centers, fresh.tokens.centers) and torch.equal(
            kept.object_ids, fresh.object_ids
        )
        assert kept.objects == scene.objects
        assert_close(
            module.place(kept.tokens).features,
            module.place(fresh.tokens).features,
            atol=2e-2,
            rtol=1e-2,
        )


def test_an_interrupted_cache_is_continued(corpus, tmp_path, monkeypatch):
    make_features(tmp_path / "whole", corpus, quiet=True)
    calls, real = [], corpus.scene

    def stop(name):
        calls.append(name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(name)

    monkeypatch.setattr(corpus, "scene", stop)
    with pytest.raises(KeyboardInterrupt):
        make_features(tmp_path / "cache", corpus, quiet=True)
    monkeypatch.setattr(corpus, "scene", real)
    make_features(tmp_path / "cache", corpus, quiet=True)
    assert FeatureCache(tmp_path / "cache").sha256 == FeatureCache(tmp_path / "whole").sha256
    with pytest.raises(FileExistsError, match="made with other options"):
        make_features(tmp_path / "cache", corpus, tokens="proxies", quiet=True)


def test_what_is_missing_or_damaged_is_said(corpus, tmp_path):
    with pytest.raises(InputError, match="no feature cache"):
        FeatureCache(tmp_path)
    make_features(tmp_path / "cache", corpus, quiet=True)
    cache = FeatureCache(tmp_path / "cache")
    with pytest.raises(InputError, match="no scene 'attic'"):
        cache.scene("attic")
    file = next((tmp_path / "cache").glob("*.safetensors"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert cache.damaged() == [file.name]
