"""Folders of made rooms: the same whoever makes them, continued after an interruption, and every
scene rendered as it was recorded.
"""

import hashlib
import json
import re
import shutil
from functools import partial
from pathlib import Path

import check_corpus
import numpy as np
import pytest
import torch
from known_rooms import disagreements, quickly

from leovl_mini.data.examples import Example, SceneSource, save_examples
from leovl_mini.data.samples import samples_folder
from leovl_mini.rooms import DOMAINS, domain_room, record
from leovl_mini.rooms.balance import balance
from leovl_mini.rooms.dataset import (
    RoomDataset,
    has_published_test_sets,
    is_bundled,
    make,
    make_rooms,
    split_of,
    splits,
)
from leovl_mini.rooms.edits import edit_pairs
from leovl_mini.rooms.facts import visible_graph
from leovl_mini.rooms.furniture import HELD_OUT
from leovl_mini.rooms.texts.tasks import about_held_out, examples_of
from leovl_mini.scans.scene import InputError

OPTIONS = {"rooms": 4, "views": 2, "pairs": 0.5, "quiet": True}
NAMES = [f"{domain}_{n}00000" for n in ("", "n") for domain in DOMAINS]
HELD = {(colour, category) for category, colour in HELD_OUT.items()}


@pytest.fixture(scope="module", autouse=True)
def small_parts():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make, "PART", 3)
        patch.setattr(splits, "VALIDATION", 2)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "rooms"
    quickly(partial(make_rooms, workers=1, **OPTIONS))(folder)
    return folder


@pytest.fixture(scope="module")
def rooms(made):
    return RoomDataset(made)


@pytest.fixture(scope="module")
def symbolic(tmp_path_factory):
    folder = tmp_path_factory.mktemp("symbolic") / "rooms"
    quickly(partial(make_rooms, rooms=20, workers=1, quiet=True, pictures=False))(folder)
    return RoomDataset(folder)


def sums(folder):
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir()}


# Writing


def test_two_processes_make_the_same_files(made, tmp_path):
    quickly(partial(make_rooms, workers=2, **OPTIONS))(tmp_path / "again")
    assert sums(tmp_path / "again") == sums(made)
    kinds = ("train", "val", "test", "pairs-train", "pairs-val", "pairs-test", "novel")
    more = ("skewed-train", "reversed-test", "simplistic-train")
    assert set(sums(made)) == {"rooms.json", *(f"{split}.jsonl" for split in (*kinds, *more))}


def test_an_interrupted_run_is_continued_and_leaves_nothing_half_done(made, tmp_path, monkeypatch):
    folder, room_examples, asked = tmp_path / "rooms", make.examples_with_pairs, []

    def fails_at_the_fifth(scene, *more):
        asked.append(scene)
        if len(asked) == 5:
            raise KeyboardInterrupt
        return room_examples(scene, *more)

    monkeypatch.setattr(make, "examples_with_pairs", fails_at_the_fifth)
    make_again = quickly(partial(make_rooms, workers=1, **OPTIONS))
    with pytest.raises(KeyboardInterrupt):
        make_again(folder)
    assert {f.name for f in folder.iterdir()} == {"rooms.json", ".parts"}
    assert [f.name for f in (folder / ".parts").iterdir()] == ["0000.jsonl"]
    with pytest.raises(InputError, match="no finished corpus"):
        RoomDataset(folder)
    (folder / ".partial-abc").mkdir()  # of a run that was killed
    make_again(folder)
    assert asked == [*NAMES[:5], *NAMES[3:]]  # what was finished is not made again
    assert sums(folder) == sums(made)
    make_again(folder)
    assert len(asked) == 10


def test_other_options_and_foreign_folders_are_refused(made, tmp_path):
    before = sums(made)
    with pytest.raises(FileExistsError, match="other options"):
        make_rooms(made, workers=1, **{**OPTIONS, "views": 5})
    assert sums(made) == before
    (tmp_path / "thesis.txt").write_text("do not touch")
    with pytest.raises(FileExistsError, match="exists already"):
        make_rooms(tmp_path, **OPTIONS)
    assert [f.name for f in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_published_test_sets_are_recognised(made, tmp_path):
    assert has_published_test_sets(made) is None  # other options
    folder = Path(shutil.copytree(made, tmp_path / "rooms"))
    published = json.loads((samples_folder() / "test_sets.json").read_text())
    (folder / "rooms.json").write_text(json.dumps(published["options"]))
    assert has_published_test_sets(folder) is False
    assert set(published["sha256"]) <= set(sums(folder))


# Reading


def test_scenes_are_rendered_as_they_were_recorded(rooms):
    source: SceneSource = rooms
    assert source.names("train") == NAMES[:4] and set(NAMES[:4]) <= set(source.names())
    for domain in ("scannet", "multiscan", "arkitscenes"):
        name = f"{domain}_00000"
        room, got = domain_room(domain, 0), source.scene(name)
        want = record(room, domain, 2, name)
        assert (got.depth - want.depth).abs().max() <= 0.000501  # whole millimetres
        assert np.allclose(got.depth * 1000, (got.depth * 1000).round(), atol=1e-2)
        assert torch.equal(got.instances, want.instances)
        error = (got.rgb.int() - want.rgb.int()).abs().float()
        assert 0 < error.mean() < 4 and (error.amax(-1) > 40).float().mean() < 0.01  # JPEG
        assert torch.equal(got.camera_to_world, want.camera_to_world)
        assert torch.equal(got.intrinsics, want.intrinsics)
        assert got.objects == want.objects == rooms.objects(name) and got.name == name
        assert rooms.graph(name).areas == room.areas
    again = source.scene(name)
    assert torch.equal(again.rgb, got.rgb) and torch.equal(again.depth, got.depth)


def test_edited_copies_are_derived_again(rooms):
    names = [name for name in rooms.names() if name.endswith("-flip")]
    assert names
    domain, number = names[0].removesuffix("-flip").split("_")
    room = domain_room(domain, int(number))
    base = record(room, domain, 2, f"{domain}_{number}")
    asked = examples_of(base, visible_graph(base, room.areas), int(number))
    (flip, _), examples = edit_pairs(room, domain, base, asked, int(number))
    got = rooms.scene(names[0])
    assert got.objects == flip.objects == rooms.graph(names[0]).objects != room.objects
    assert torch.equal(got.instances, flip.instances)
    assert [e for e in rooms.examples("pairs-train") if e.scene == names[0]] == [examples[1]]


def test_scenes_are_listed_in_the_order_in_which_they_were_made(tmp_path):
    names = splits.scenes_to_make(42, pictures=True)
    names[1:1] = [f"{names[0]}-flip", f"{names[0]}-same"]
    (tmp_path / "rooms.json").write_text(json.dumps(OPTIONS))
    save_examples([asked(name, 0) for name in sorted(names)], tmp_path / "train.jsonl")
    assert RoomDataset(tmp_path).names() == names


def test_missing_splits_scenes_and_folders_are_named(made, rooms, tmp_path):
    with pytest.raises(InputError, match="no split 'tset'.*reversed-test.*train"):
        rooms.examples("tset")
    for name in ("scannet_99999", "scannet_00000-flop", "kitchen"):
        with pytest.raises(InputError, match=f"no scene '{name}'"):
            rooms.scene(name)
    with pytest.raises(InputError, match="no finished corpus"):
        RoomDataset(tmp_path)
    (tmp_path / "corpus.json").write_text("{}")
    with pytest.raises(InputError, match="older version; make the rooms again"):
        RoomDataset(tmp_path)
    assert "--rooms 4 --views 2 --pairs 0.5" in rooms.command()


def test_bundled_rooms_are_known_by_name():
    names = ("scannet_00002", "scannet_2", "scannet_00002-flip", "scannet_00001", "rscan_n00003")
    assert [is_bundled(name) for name in (*names, "scene0000_00")] == [True] * 3 + [False] * 3


# Splits


def test_both_scans_of_a_room_are_in_one_split():
    assert all(split_of(2 * k) == split_of(2 * k + 1) for k in range(200))
    shares = [split_of(n) for n in range(1000)]
    assert [shares.count(s) for s in ("train", "val", "test")] == [800, 100, 100]


def asked(scene, i, **more):
    derivation = {"rule": "state", "slots": {"ref": "door"}, "objects": [1], **more}
    answer = "open" if i % 2 else "closed"
    place = {"id": f"{scene}/{i}", "scene": scene, "task": "qa", "kind": "state"}
    return Example(**place, question="Is it open?", answers=[answer], derivation=derivation)


def test_no_room_is_in_two_splits():
    some = [
        asked(f"{d}_{n:05d}", i)
        for d in ("rscan", "scannet")
        for n in (0, 1, 16, 17, 18, 19, 21)
        for i in range(4)
    ]
    edits = [(n, i, role) for n in (1, 16, 19) for i, role in enumerate(("flip", "same"))]
    some += [asked(f"rscan_{n:05d}-{role}", i, pair="x") for n, i, role in edits]
    found = splits.splits_of([*some, asked("rscan_n00000", 0), asked("rscan_n00016", 0)])
    scenes = {split: {e.scene for e in kept} for split, kept in found.items()}
    both = ("rscan", "scannet")
    assert scenes["train"] == {f"{d}_{n:05d}" for d in both for n in (0, 1, 21)}
    assert scenes["val"] == {f"{d}_{n:05d}" for d in both for n in (16, 17)}
    assert scenes["test"] == {f"{d}_{n:05d}" for d in both for n in (18, 19)}
    assert scenes["pairs-train"] == {"rscan_00001-flip", "rscan_00001-same"}
    assert scenes["pairs-test"] == {"rscan_00019-flip", "rscan_00019-same"}
    assert scenes["skewed-train"] <= scenes["train"] and scenes["reversed-test"] <= scenes["test"]


def test_the_novel_split_asks_only_about_held_out_pairs(rooms):
    examples = list(rooms.examples("novel"))
    assert len(examples) >= 10
    for example in examples:
        assert "_n" in example.scene and example.task == "qa"
        words = f"{example.question} {example.answers[0]}"
        named = any(re.search(rf"\b{colour} {category}", words) for colour, category in HELD)
        objects = rooms.graph(example.scene).by_id
        about = [objects[i] for i in example.derivation["objects"]]
        coloured = example.kind == "colour" and (example.answers[0], about[0].category) in HELD
        assert named or coloured, example


def test_training_knows_no_held_out_pair(rooms):
    for split in ("train", "pairs-train", "skewed-train", "simplistic-train"):
        for scene in rooms.names(split):
            looks = [(o.attributes.get("colour"), o.category) for o in rooms.objects(scene)]
            assert "_n" not in scene and not HELD & set(looks)
        for example in rooms.examples(split):
            words = " ".join([example.question, *example.answers])
            assert not any(re.search(rf"\b{c} {category}\b", words) for c, category in HELD)


def test_pairs_hold_three_scenes_with_two_answers(rooms):
    trios = {}
    for example in rooms.examples("pairs-train"):
        trios.setdefault(example.derivation["pair"], {})[example.derivation["role"]] = example
    for trio in trios.values():
        assert set(trio) == {"base", "flip", "same"}
        assert trio["base"].answers == trio["same"].answers != trio["flip"].answers
    assert trios


def test_the_solver_agrees_with_a_folder_and_notices_a_wrong_line(made, tmp_path):
    check = quickly(check_corpus.check)
    counts, problems = check(made)
    assert not problems and counts.total() > 100 and len(counts) >= 5
    folder = Path(shutil.copytree(made, tmp_path / "rooms"))
    lines = (folder / "train.jsonl").read_text().splitlines()
    wrong = json.loads(next(x for x in lines if '"kind": "height"' in x))
    wrong["answers"] = [str(int(wrong["answers"][0]) + 3)]
    (folder / "train.jsonl").write_text("\n".join([*lines, json.dumps(wrong)]) + "\n")
    assert len(check(folder, ("train",))[1]) == 1


# Rooms without pictures


def test_symbolic_rooms_are_apart_from_all_others(symbolic):
    names = {split: set(symbolic.names(split)) for split in ("train", "val")}
    assert names["train"].isdisjoint(names["val"])
    assert names["train"] | names["val"] == set(symbolic.names())
    assert len(symbolic.names()) == 20 and len(names["val"]) == 12
    assert symbolic.names()[6] == "multiscan_1000001"
    objects = symbolic.objects("multiscan_1000001")
    assert objects == domain_room("multiscan", 1_000_001).objects
    assert objects == symbolic.graph("multiscan_1000001").objects
    with pytest.raises(InputError, match="without pictures"):
        symbolic.scene("multiscan_1000001")


def test_answers_about_symbolic_rooms_follow_from_their_objects(symbolic):
    """Of the longer texts the proof is left out; that they are written is counted."""
    told = []
    for split in ("train", "val"):
        for example in symbolic.examples(split):
            if example.task == "qa":
                graph = symbolic.graph(example.scene)
                assert not disagreements([example], graph.objects, graph.areas)
            else:
                assert example.derivation == {}
                told.append(example)
    captions = [e for e in told if e.task == "scene captioning"]
    assert {e.task for e in told} >= {"object captioning", "planning", "dialogue"}
    assert {e.scene for e in captions} == set(symbolic.names())
    for e in (e for e in told if e.task == "object captioning"):
        objects = [o for o in symbolic.objects(e.scene) if o.category == e.kind]
        tops = [(*o.center[:2], o.center[2] + o.size[2] / 2) for o in objects]
        assert any(tuple(e.spot) == pytest.approx(top) for top in tops) and e.kind in e.answers[0]


def test_symbolic_answers_are_balanced_and_held_out_pairs_absent(symbolic):
    train = list(symbolic.examples("train"))
    assert splits.by_domain(train, balance) == train  # nothing left to drop
    assert not any(map(about_held_out, train))
    with pytest.raises(FileExistsError, match="other options"):
        make_rooms(symbolic.folder, rooms=4, workers=1, quiet=True, pictures=False)
