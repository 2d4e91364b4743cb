"""Minimal edits: one change flips the answer, another leaves it, and everything else stays."""

import copy
from itertools import islice

import known_rooms
import numpy as np
import pytest
import solver
import torch
from known_rooms import as_json, bottom, covers, recording, top

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


def test_most_rooms_give_a_pair_of_examples_that_belong_together(pairs):
    assert len(pairs) >= 6 and len({p.examples[0].kind for p in pairs}) >= 4
    for pair in pairs:
        base = pair.examples[0]
        assert [e.derivation["role"] for e in pair.examples] == ["base", "flip", "same"]
        assert len({e.derivation["pair"] for e in pair.examples}) == 1
        assert len({e.id for e in pair.examples}) == 3
        names = [base.scene, f"{base.scene}-flip", f"{base.scene}-same"]
        assert [e.scene for e in pair.examples] == names
        assert [pair.base.scene.name, pair.flip.name, pair.same.name] == names


def test_a_flip_changes_what_is_asked_about_and_an_unrelated_edit_does_not(pairs):
    for pair in pairs:
        base, flip, same = pair.examples
        asked = set(base.derivation["objects"])
        changed = difference(pair.base.scene.objects, pair.flip.objects)
        assert len(changed) == (2 if base.kind in ("stack order", "stacked") else 1), changed
        assert {o.id for o, _ in changed} <= asked
        assert flip.question == base.question and flip.answers != base.answers
        ((other, _),) = difference(pair.base.scene.objects, pair.same.objects)
        assert other.id not in asked
        assert (same.question, same.answers) == (base.question, base.answers)


def test_sizes_and_cameras_stay_pictures_change_and_nothing_intersects(pairs):
    for pair in pairs:
        before = pair.base.scene
        for scene in (pair.flip, pair.same):
            for old, new in difference(before.objects, scene.objects):
                assert new is None or (old.category, old.size) == (new.category, new.size)
            room = copy.copy(pair.base.room)
            room.objects = scene.objects
            assert not known_rooms.strange_intersections(room)
            assert torch.equal(scene.camera_to_world, before.camera_to_world)
            assert torch.equal(scene.intrinsics, before.intrinsics)
            different = (scene.rgb.int() - before.rgb.int()).abs().amax(-1) > 8
            assert different.any() and different.float().mean() < 0.5


def stacks():
    for room in known_rooms.rooms():
        small = {str(o.id): o for o in room.objects if o.category in SMALL}
        for upper in room.objects:
            if lower := small.get(upper.attributes.get("on")):
                yield room, upper, lower


def test_swap_exchanges_a_stack():
    done = 0
    for room, upper, lower in islice(stacks(), 14):
        edited = copy.deepcopy(room)
        one, other = (next(o for o in edited.objects if o.id == i.id) for i in (upper, lower))
        if edits.swap(edited, *((one, other) if done % 2 else (other, one))):
            done += 1
            assert bottom(one) == pytest.approx(bottom(lower))
            assert bottom(other) == pytest.approx(top(one))
            assert covers(one, np.array(other.center[:2])) and other.attributes["on"] == str(one.id)
            assert all(one.attributes.get(k) == lower.attributes.get(k) for k in ("on", "under"))
            below, above = as_json(one), as_json(other)
            assert solver.on(above, below) and not solver.on(below, above)
    assert done >= 7


def test_edits_leave_the_first_room_as_it_was():
    recorded, rng = recording("scannet", 0), np.random.default_rng(0)
    before = copy.deepcopy(recorded.room)
    asked = [e for e in recorded.examples if e.task == "qa"]
    tried = [edit(recorded.room, e, rng) for e in asked for edit in edits.EDITS.values()]
    assert sum(room is not None for room in tried) > 20
    assert recorded.room.objects == before.objects and recorded.room.parts == before.parts


def test_what_carries_something_is_not_taken_away():
    room = copy.deepcopy(next(room for room, *_ in stacks()))
    held = {o.attributes.get("on") for o in room.objects}
    host = next(o for o in room.objects if str(o.id) in held)
    assert not edits.remove(room, host) and host in room.objects
    assert not edits.move(room, host, np.random.default_rng(0))


def test_a_question_whose_words_mean_something_else_is_not_asked_again():
    """After a second chair has come, "the chair" names nothing."""
    room, graph = recording("scannet", 0).room, recording("scannet", 0).graph
    example = next(e for e in recording("scannet", 0).examples if e.kind == "height")
    item = graph.by_id[example.derivation["objects"][0]]
    twin = copy.deepcopy(item)
    twin.id = 99
    more = SceneGraph([*room.objects, twin], room.areas, graph.clear)
    hidden = SceneGraph(room.objects, room.areas, graph.clear - {item.id})
    assert edits.asked_again(graph, example).answers == example.answers
    assert edits.asked_again(more, example) is None
    assert edits.asked_again(hidden, example) is None
