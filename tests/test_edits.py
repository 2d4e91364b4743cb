"""Minimal edits: one change flips the answer, another change leaves it, and everything else stays."""

import copy
from itertools import islice

import known_rooms
import numpy as np
import pytest
import solver
import torch
from known_rooms import bottom, covers, recording, top

from leovl_mini.rooms import edits
from leovl_mini.rooms.facts import SceneGraph
from leovl_mini.rooms.furniture import SMALL


@pytest.fixture(scope="module")
def pairs():
    return known_rooms.pairs()


def difference(before, after):
    """(old, new) of the objects that differ; new is None where one is gone."""
    later = {o.id: o for o in after}
    assert set(later) <= {o.id for o in before}
    return [(o, later.get(o.id)) for o in before if o != later.get(o.id)]


def test_most_rooms_give_a_pair(pairs):
    assert len(pairs) >= 6 and len({p.examples[0].kind for p in pairs}) >= 4


def test_a_flip_changes_one_thing_and_the_answer(pairs):
    for pair in pairs:
        base, flip, _ = pair.examples
        changed = difference(pair.base.scene.objects, pair.flip.objects)
        assert len(changed) == (2 if base.kind in ("stack order", "stacked") else 1), (
            base,
            changed,
        )
        assert {o.id for o, _ in changed} <= set(base.derivation["objects"])
        assert flip.question == base.question and flip.answers != base.answers


def test_an_unrelated_edit_changes_something_else_and_not_the_answer(pairs):
    for pair in pairs:
        base, _, same = pair.examples
        changed = difference(pair.base.scene.objects, pair.same.objects)
        assert len(changed) == 1 and changed[0][0].id not in base.derivation["objects"], (
            base,
            changed,
        )
        assert (same.question, same.answers) == (base.question, base.answers)


def test_sizes_stay_and_nothing_intersects_after_an_edit(pairs):
    for pair in pairs:
        for scene in (pair.flip, pair.same):
            for old, new in difference(pair.base.scene.objects, scene.objects):
                assert new is None or (old.category, old.size) == (new.category, new.size)
            room = copy.copy(pair.base.room)
            room.objects = scene.objects
            hosts = {
                (o.id, known_rooms.host_of(room, o)[1].id)
                for o in room.objects
                if known_rooms.host_of(room, o)
            }
            assert all(
                (a.id, b.id) in hosts or (b.id, a.id) in hosts
                for a, b in known_rooms.intersections(room)
            )


def test_cameras_stay_and_pictures_change(pairs):
    for pair in pairs:
        for scene in (pair.flip, pair.same):
            assert torch.equal(scene.camera_to_world, pair.base.scene.camera_to_world)
            assert torch.equal(scene.intrinsics, pair.base.scene.intrinsics)
            different = (scene.rgb.int() - pair.base.scene.rgb.int()).abs().amax(-1) > 8
            assert different.any() and different.float().mean() < 0.5


def test_examples_of_a_pair_belong_together(pairs):
    for pair in pairs:
        base = pair.examples[0]
        assert [e.derivation["role"] for e in pair.examples] == ["base", "flip", "same"]
        assert (
            len({e.derivation["pair"] for e in pair.examples}) == 1
            and len({e.id for e in pair.examples}) == 3
        )
        assert [e.scene for e in pair.examples] == [
            base.scene,
            f"{base.scene}-flip",
            f"{base.scene}-same",
        ]
        assert [pair.base.scene.name, pair.flip.name, pair.same.name] == [
            e.scene for e in pair.examples
        ]


def stacks():
    for room in known_rooms.rooms():
        for upper in room.objects:
            lower = next(
                (
                    o
                    for o in room.objects
                    if str(o.id) == upper.attributes.get("on") and o.category in SMALL
                ),
                None,
            )
            if lower is not None:
                yield room, upper, lower


def test_swap_exchanges_a_stack():
    done = 0
    for room, upper, lower in islice(stacks(), 14):
        edited = copy.deepcopy(room)
        one, other = (next(o for o in edited.objects if o.id == i.id) for i in (upper, lower))
        support = bottom(lower)
        if edits.swap(edited, *((one, other) if done % 2 else (other, one))):
            done += 1
            assert bottom(one) == pytest.approx(support) and bottom(other) == pytest.approx(
                top(one)
            )
            assert covers(one, np.array(other.center[:2])) and other.attributes["on"] == str(one.id)
            assert {k: one.attributes.get(k) for k in ("on", "under")} == {
                k: lower.attributes.get(k) for k in ("on", "under")
            }
            boxes = [vars(o) for o in (one, other)]
            assert solver.on(boxes[1], boxes[0]) and not solver.on(boxes[0], boxes[1])
    assert done >= 7


def test_edits_leave_the_first_room_as_it_was():
    recorded, rng = recording("scannet", 0), np.random.default_rng(0)
    before = copy.deepcopy(recorded.room)
    tried = [
        change(recorded.room, e, rng)
        for e in recorded.examples
        for change in (edits.flipped, edits.unrelated)
        if e.task == "qa"
    ]
    assert sum(room is not None for room in tried) > 20
    assert recorded.room.objects == before.objects and recorded.room.parts == before.parts


def test_what_carries_something_is_not_taken_away():
    room = copy.deepcopy(next(room for room, *_ in stacks()))
    host = next(
        o for o in room.objects if any(x.attributes.get("on") == str(o.id) for x in room.objects)
    )
    assert not edits.remove(room, host) and host in room.objects
    assert not edits.move(room, host, np.random.default_rng(0))


def test_a_question_whose_words_mean_something_else_is_not_asked_again():
    """After a second chair has come, "the chair" names nothing."""
    recorded = recording("scannet", 0)
    example = next(e for e in recorded.examples if e.kind == "height")
    item = recorded.world.by_id[example.derivation["objects"][0]]
    twin = copy.deepcopy(item)
    twin.id = 99
    more = SceneGraph([*recorded.room.objects, twin], recorded.room.areas, recorded.world.clear)
    assert edits.asked_again(recorded.world, example).answers == example.answers
    assert edits.asked_again(more, example) is None
    hidden = SceneGraph(
        recorded.room.objects, recorded.room.areas, recorded.world.clear - {item.id}
    )
    assert edits.asked_again(hidden, example) is None
