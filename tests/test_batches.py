"""Batches: they depend on seed and step alone, fill their budget, and turn with the scene."""

import dataclasses
import math
import re
from collections import Counter

import numpy as np
import pytest
import torch
from random_inputs import devices, random_tokens
from tiny_scenes import (
    NAMES,
    batch_of,
    fake_scene,
    room_examples,
    room_objects,
    scenes_with_questions,
    symbolic_scenes,
    texts_of,
)
from torch import Tensor
from torch.testing import assert_close

from leovl_mini.data.examples import TASKS, Example
from leovl_mini.model.leovl import LeoVL
from leovl_mini.model.symbols import simulate_grid
from leovl_mini.rooms.furniture import CATEGORIES, COLOURS
from leovl_mini.rooms.texts.lists import LISTS
from leovl_mini.rooms.texts.phrases import plural
from leovl_mini.scans.scene import Object
from leovl_mini.tokens import SceneTokens
from leovl_mini.tokens.base import SceneInput
from leovl_mini.train.augment import (
    select,
    short_phrasing,
    turned_example,
    turned_object,
    turned_tokens,
)
from leovl_mini.train.batches import to_device
from leovl_mini.train.symbolic_batches import with_supports

BOTH = pytest.mark.parametrize("dataset", [scenes_with_questions, symbolic_scenes])


@pytest.fixture(scope="module")
def model() -> LeoVL:
    return LeoVL("nano", channels=8)


# -- which scenes, which questions -----------------------------------------------------------------


@BOTH
def test_batches_depend_on_seed_and_step_alone(model, dataset):
    first, again, other = dataset(model), dataset(model), dataset(model, seed=1)
    batch_of(first, 3)
    a, b, c = (batch_of(some) for some in (first, again, other))
    assert a.turns == b.turns != c.turns
    assert all(torch.equal(x.centers, y.centers) for x, y in zip(a.scenes, b.scenes, strict=True))


@BOTH
def test_parts_of_a_batch_make_the_whole(model, dataset):
    some = dataset(model, batch_size=3)
    whole, parts = batch_of(some, 1), [some[1, part, 2] for part in range(2)]
    assert [whole.turns[0::2], whole.turns[1::2]] == [part.turns for part in parts]


def test_every_scene_comes_once_in_an_epoch(model):
    some = scenes_with_questions(model, batch_size=1, turn=False)
    sizes = [len(batch_of(some, step).scenes[0]) for step in range(6)]
    assert sorted(sizes[:3]) == sorted(sizes[3:]) == sorted(len(fake_scene(n)) for n in NAMES)


def test_scene_and_turns_fill_the_budget_and_tasks_can_be_left_out(model):
    none = dict.fromkeys(set(TASKS) - {"qa"}, 0.0)
    some = scenes_with_questions(model, text_budget=150, weights=none)
    for step in range(5):
        batch = batch_of(some, step)
        for scene, turns in zip(batch.scenes, batch.turns, strict=True):
            assert 120 < len(scene) + sum(len(t.ids) for t in turns) <= 150 and len(turns) >= 2
    long = scenes_with_questions(model, batch_size=1, text_budget=80, list_share=1.0)
    assert len(batch_of(long).turns[0][0].ids) <= 80  # a long list breaks off


def test_a_kind_of_question_weighs_more_than_its_task(model):
    only = dict.fromkeys(TASKS, 0.0) | {"colour": 1.0}
    some = scenes_with_questions(model, batch_size=3, text_budget=400, weights=only)
    asked = [
        t for step in range(5) for texts in texts_of(model, batch_of(some, step)) for t in texts
    ]
    assert len(asked) > 10 and all("colour" in text for text in asked)


def test_a_share_of_the_scenes_is_asked_for_lists_or_in_short_form(model):
    def counted(share: float) -> tuple[int, int]:
        some = scenes_with_questions(model, list_share=share)
        scenes = [texts for step in range(40) for texts in texts_of(model, batch_of(some, step))]
        lists = [texts for texts in scenes if any(q in texts[0] for q in LISTS)]
        assert all(len(texts) == 1 for texts in lists)
        short = [all(re.match(r" USER: [\w ]+ ASSISTANT:", t) for t in texts) for texts in scenes]
        return len(lists), sum(short)

    assert counted(0.0) == (0, 0) and sum(counted(1.0)) == 80 and 35 < counted(1.0)[1] < 62
    assert 5 < sum(counted(0.25)) < 40


def test_short_phrasings_ask_the_same(model):
    """Questions of existence and number, and overviews, in the shortest words; the answer and
    everything else stays.
    """
    for example in room_examples():
        short, slots = short_phrasing(example), example.derivation.get("slots", {})
        expected = {
            "existence": f"Is there {slots.get('a_thing')}?",
            "count": f"How many {slots.get('things')} are there?",
            "description": "What is in the room?",
        }.get(example.kind, example.question)
        assert short.question == expected
        assert dataclasses.replace(short, question=example.question, id=example.id) == example

    def asked(share: float) -> int:
        some = scenes_with_questions(model, batch_size=3, text_budget=300, short_share=share)
        texts = "".join(
            t for s in range(6) for ts in texts_of(model, batch_of(some, s)) for t in ts
        )
        return len(re.findall(r"USER: Is there an? [a-z ]+\?", texts))

    assert asked(0.0) < asked(0.5) < asked(1.0)


def test_alignment_asks_nothing_about_the_same_scenes(model, monkeypatch):
    asked = batch_of(scenes_with_questions(model))
    monkeypatch.setattr("leovl_mini.train.batches.encode", None)  # would fail if it were called
    silent = batch_of(scenes_with_questions(model, ask=False))
    assert silent.turns == [[], []] and silent.answer_count == 0 < asked.answer_count
    for a, b in zip(asked.scenes + asked.symbols, silent.scenes + silent.symbols, strict=True):
        assert torch.equal(a.centers, b.centers)


def test_tokens_of_background_are_thinned_out(model):
    def with_floor(name):
        scene = fake_scene(name)
        tokens = SceneTokens(
            torch.cat([scene.tokens.features, torch.zeros(100, 8)]),
            torch.cat([scene.tokens.centers, torch.zeros(100, 3)]),
            torch.arange(100),
        )
        ids = torch.cat([scene.object_ids, torch.zeros(100, 2, dtype=torch.long)])
        return SceneInput(tokens, ids, scene.objects, name)

    objects = sum(len(fake_scene(name)) for name in NAMES)
    for share, low, high in ((1.0, 300, 300), (0.3, 60, 120), (0.0, 0, 0)):
        some = scenes_with_questions(model, batch_size=3, background=share)
        some.scene_input = with_floor
        batch = batch_of(some)
        assert low <= sum(map(len, batch.scenes)) - objects <= high
        assert sum(int((s.words >= 0).any(1).sum()) for s in batch.symbols) == objects
        assert all(scene.source.max() < len(scene) for scene in batch.scenes)


# -- turning ---------------------------------------------------------------------------------------


def test_turning_a_scene_turns_coordinates_and_poses():
    item = Object(1, "mug", (1.6, -0.4, 0.5), (0.1, 0.1, 0.1), 0.3, {})
    pose = {"position": [1.6, -0.4, 0.0], "heading": 0.0}
    asked = Example("", "", "qa", "coordinates", "Where?", ["x 1.5, y -0.5"], **pose)
    answers = ["x 1.5, y -0.5", "x 0.5, y 1.5", "x -1.5, y 0.5", "x -0.5, y -1.5"]
    for quarters, answer in enumerate(answers):
        example, there = turned_example(asked, quarters), turned_object(item, quarters)
        assert example.answers == [answer]
        assert np.allclose(example.position[:2], there.center[:2])
        assert math.isclose(example.heading, quarters * math.pi / 2)
        tokens = SceneTokens(torch.zeros(1, 2), torch.tensor([item.center]), torch.zeros(0).long())
        assert_close(turned_tokens(tokens, quarters).centers[0], torch.tensor(there.center))
    zero = Example("", "", "qa", "coordinates", "", ["x 0.0, y 0.5"])
    assert turned_example(zero, 1).answers == ["x -0.5, y 0.0"]


@devices
def test_tokens_are_selected_and_turned_where_they_lie(device):
    tokens, kept = random_tokens(6, 8), torch.tensor([True, False, True, True, False, True])
    here = select(turned_tokens(tokens, 1), kept)
    there = select(turned_tokens(to_device(tokens, torch.device(device)), 1), kept)
    assert there.centers.device.type == torch.device(device).type
    assert_close(there.centers.cpu(), here.centers)
    assert_close(there.features.cpu(), here.features)
    for _ in range(4):  # four quarters are none
        tokens = turned_tokens(tokens, 1)
    assert_close(tokens.centers, random_tokens(6, 8).centers)


@BOTH
def test_a_batch_moves_with_all_its_tensors(model, dataset):
    batch = batch_of(dataset(model))
    there = batch.to(torch.device("meta"))
    tensors = [
        v
        for item in [*there.scenes, *(there.symbols or [])]
        for v in vars(item).values()
        if isinstance(v, Tensor)
    ]
    assert tensors and all(v.device.type == "meta" for v in tensors)
    assert there.turns is batch.turns and (there.symbols is None) == (batch.symbols is None)
    same = batch.to(torch.device("cpu"))
    assert same.scenes[0].centers is batch.scenes[0].centers  # nothing is copied in vain


# -- symbolic scenes -------------------------------------------------------------------------------


def forms_and_turns(dataset, steps: int) -> list[tuple[bool, list]]:
    """For every scene whether it has one token per object, and its turns."""
    counts = {len(room_objects(name)) for name in NAMES}
    batches = [batch_of(dataset, step) for step in range(steps)]
    return [
        (len(scene) in counts, turns)
        for batch in batches
        for scene, turns in zip(batch.scenes, batch.turns, strict=True)
    ]


def test_texts_are_asked_for_in_scenes_of_both_forms(model):
    def found(share: float) -> set[tuple[bool, bool]]:
        """One token per object or a grid; texts or short answers."""
        brief = {"planning": 0.0, "dialogue": 0.0}
        some = symbolic_scenes(model, text_budget=400, text_share=share, weights=brief)
        return {
            (single, all(len(t.ids) - t.answer_start > 30 for t in turns))
            for single, turns in forms_and_turns(some, 24)
        }

    assert found(1.0) == {(True, True), (False, True)}
    assert found(0.0) == {(True, False), (False, False)} and len(found(0.5)) == 4


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_half_of_the_full_scenes_have_one_token_per_object(model, share):
    some = symbolic_scenes(model, text_budget=1000, list_share=share)
    assert 0.35 < np.mean([single for single, _ in forms_and_turns(some, 80)]) < 0.65


def test_a_simulated_grid_leaves_room_for_questions(model, monkeypatch):
    grid = simulate_grid(room_objects(), np.random.default_rng(0))
    monkeypatch.setattr("leovl_mini.train.symbolic_batches.simulate_grid", lambda *_: grid)
    for budget, fits in ((len(grid) + 64, True), (len(grid) + 63, False)):
        some = symbolic_scenes(model, text_budget=budget)
        batches = [batch_of(some, step) for step in range(20)]
        sizes = [
            (len(scene), sum(len(t.ids) for t in turns))
            for batch in batches
            for scene, turns in zip(batch.scenes, batch.turns, strict=True)
        ]
        assert any(size == len(grid) for size, _ in sizes) == fits
        assert all(size + text <= budget for size, text in sizes)


def test_after_the_warm_up_every_fourth_step_only_counts_in_more_scenes(model):
    some = symbolic_scenes(model, batch_size=1, text_budget=400, warmup_steps=12)
    counting = (15, 19, 23)
    sizes = [len(batch_of(some, step).scenes) for step in range(28)]
    assert sizes == [4 if step in counting else 1 for step in range(28)]
    for batch in (batch_of(some, step) for step in counting):
        for scene, turns in zip(batch.scenes, batch.turns, strict=True):
            named = {some.vocabulary.ids(c)[0]: c for c in CATEGORIES}
            there = Counter(named[first] for first in scene.words[:, 0].tolist())
            assert len(turns) >= 3 and sum(there.values()) == len(scene)  # one token per object
            for turn in turns:
                text = model.tokenizer.decode(turn.ids[: turn.answer_start]).strip()
                number = model.tokenizer.decode(turn.ids[turn.answer_start : -1]).strip()
                asked = [
                    str(n) for c, n in there.items() if text == f"USER: {plural(c)} ASSISTANT:"
                ]
                assert number in asked


def test_scenes_fill_up(model):
    """At first a scene holds a few objects with what they lie on; in the end all of them, several
    tokens each in a half.
    """
    some = symbolic_scenes(model, batch_size=3, text_budget=900, warmup_steps=100, turn=False)
    steps = (0, 80, 100, 101, 102)
    early, late, *whole = (sum(map(len, batch_of(some, step).scenes)) for step in steps)
    assert early < late <= sum(len(room_objects(name)) for name in NAMES) < max(whole)
    objects = room_objects()
    lying = next(o for o in objects if "on" in o.attributes)
    host = int(lying.attributes["on"])
    assert {lying.id, host} <= with_supports({lying.id}, objects) & with_supports({host}, objects)
    assert with_supports(set(), objects) == set()


def test_nothing_is_asked_about_objects_that_are_missing(model):
    some = symbolic_scenes(model, batch_size=3, text_budget=500, warmup_steps=30)
    colours, asked = {f" {name}" for name in COLOURS}, 0
    for batch in (batch_of(some, step) for step in range(20, 26)):
        for scene, turns in zip(batch.scenes, batch.turns, strict=True):
            words = {model.tokenizer.decode([i]) for i in scene.words.flatten().tolist() if i >= 0}
            answers = [model.tokenizer.decode(t.ids[t.answer_start : -1]) for t in turns]
            assert set(answers) & colours <= words
            asked += len(set(answers) & colours)
    assert asked >= 3


def test_in_the_warm_up_everything_that_is_there_is_listed(model):
    some = symbolic_scenes(model, batch_size=3, warmup_steps=30)
    words = [*CATEGORIES, *COLOURS, "plain", "striped", "checked"]
    named = {i for word in words for i in some.vocabulary.ids(word)}
    for batch in (batch_of(some, step) for step in range(0, 18, 2)):
        for scene, (turn,) in zip(batch.scenes, batch.turns, strict=True):
            listed = set(turn.ids[turn.answer_start :]) & named
            assert listed and listed <= set(scene.words.flatten().tolist())
            answer = model.tokenizer.decode(turn.ids[turn.answer_start : -1])
            assert 1 <= answer.count(" y ") <= len(scene)
    assert len(batch_of(some, 29).turns[0]) > 1  # then come questions
