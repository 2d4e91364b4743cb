"""A corpus on disk: the same whoever makes it, continued after an interruption, and read back as it
was recorded.
"""

import json
import re
import shutil
from functools import partial
from pathlib import Path

import check_corpus
import numpy as np
import pytest
import torch
from known_rooms import quickly

from leovl_mini.data.examples import Example, load_examples, save_examples
from leovl_mini.rooms import dataset as corpus
from leovl_mini.rooms import domain_room, record
from leovl_mini.rooms.dataset import RoomDataset, make_rooms, split_of
from leovl_mini.rooms.layout import HELD_OUT
from leovl_mini.scans.scene import InputError

OPTIONS = {"rooms": 4, "views": 2, "pairs": 0.5, "quiet": True}
NAMES = [
    f"{domain}_{n}00000"
    for n in ("", "n")
    for domain in ("scannet", "rscan", "multiscan", "arkitscenes")
]


@pytest.fixture(scope="module", autouse=True)
def small_shards():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "SHARD", 3)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus") / "corpus"
    quickly(partial(make_rooms, workers=2, **OPTIONS))(folder)
    return folder


@pytest.fixture
def copied(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "corpus"))


def sums(folder):
    return (folder / "SHA256SUMS").read_text()


# Writing


def test_a_corpus_is_the_same_with_one_and_two_processes(made, tmp_path):
    quickly(partial(make_rooms, workers=1, **OPTIONS))(tmp_path / "again")
    assert sums(tmp_path / "again") == sums(made)
    names = [line.split("  ")[1] for line in sums(made).splitlines()]
    assert sorted(names) == sorted(
        f.name for f in made.iterdir() if f.name not in ("SHA256SUMS", "corpus.json")
    )
    assert [n for n in names if n.endswith(".zip")] == [
        "shard-0000.zip",
        "shard-0001.zip",
        "shard-0002.zip",
    ]


def test_an_interrupted_corpus_is_continued(copied, made):
    for name in ("shard-0002.zip", "shard-0002.jsonl", "SHA256SUMS", "train.jsonl"):
        (copied / name).unlink()
    first = (copied / "shard-0000.zip").stat().st_mtime_ns
    quickly(partial(make_rooms, workers=1, **OPTIONS))(copied)
    assert sums(copied) == sums(made) and RoomDataset(copied).damaged() == []
    assert (
        copied / "shard-0000.zip"
    ).stat().st_mtime_ns == first  # what was finished is not made again


def test_what_a_killed_run_left_over_is_removed(copied, made):
    (copied / ".partial-abc").mkdir()
    (copied / ".partial-abc" / "shard-0002.zip").write_bytes(b"half")
    (copied / "SHA256SUMS").unlink()
    make_rooms(copied, workers=1, **OPTIONS)
    assert sums(copied) == sums(made) and not list(copied.glob(".partial-*"))


def test_unfinished_files_never_appear(tmp_path, monkeypatch):
    def fails(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(corpus, "examples_of", fails)
    with pytest.raises(KeyboardInterrupt):
        make_rooms(tmp_path / "corpus", workers=1, **OPTIONS)
    assert [f.name for f in (tmp_path / "corpus").iterdir()] == ["corpus.json"]
    with pytest.raises(InputError, match="no finished corpus"):
        RoomDataset(tmp_path / "corpus")


def test_other_options_and_foreign_folders_are_refused(copied, tmp_path):
    before = sums(copied)
    with pytest.raises(FileExistsError, match="other options"):
        make_rooms(copied, workers=1, **{**OPTIONS, "views": 5})
    assert sums(copied) == before
    foreign = tmp_path / "mine"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("do not touch")
    with pytest.raises(FileExistsError, match="exists already"):
        make_rooms(foreign, **OPTIONS)
    assert [f.name for f in foreign.iterdir()] == ["thesis.txt"]


# Reading


def test_scenes_are_read_back_as_recorded(made):
    read = RoomDataset(made)
    assert [n for n in read.shard_of if "-" not in n] == NAMES and len(read) >= 8
    for domain in ("scannet", "multiscan", "arkitscenes"):
        name = f"{domain}_00000"
        room = domain_room(domain, 0)
        want, got = record(room, domain, 2, name), read.scene(name)
        assert (got.depth - want.depth).abs().max() <= 0.000501
        assert torch.equal(got.instances, want.instances)
        error = (got.rgb.int() - want.rgb.int()).abs().float()
        assert error.mean() < 4 and (error.amax(-1) > 40).float().mean() < 0.01
        assert torch.allclose(got.camera_to_world, want.camera_to_world) and torch.allclose(
            got.intrinsics, want.intrinsics
        )
        assert (
            got.objects == want.objects and got.name == name and got.frame_names == want.frame_names
        )
        assert read.areas(name) == room.areas


def test_only_what_is_asked_for_is_read(copied):
    """A broken shard disturbs nobody who reads another one."""
    shard = copied / "shard-0002.zip"
    data = bytearray(shard.read_bytes())
    data[1000:3000] = bytes(2000)
    shard.write_bytes(data)
    read = RoomDataset(copied)
    assert len(read.scene("scannet_00000")) == 2
    assert read.damaged() == ["shard-0002.zip"]
    assert next(read.examples("train")).scene in read.shard_of


def test_a_flipped_byte_and_a_missing_file_are_found(copied):
    assert RoomDataset(copied).damaged() == []
    data = bytearray((copied / "train.jsonl").read_bytes())
    data[len(data) // 2] ^= 1
    (copied / "train.jsonl").write_bytes(data)
    (copied / "val.jsonl").unlink()
    assert set(RoomDataset(copied).damaged()) == {"train.jsonl", "val.jsonl"}


def test_missing_splits_scenes_and_corpora_are_named(made, tmp_path):
    with pytest.raises(InputError, match="no split 'tset'.*reversed-test.*train"):
        RoomDataset(made).examples("tset")
    with pytest.raises(InputError, match="no scene 'scannet_99999'"):
        RoomDataset(made).scene("scannet_99999")
    with pytest.raises(InputError, match="no finished corpus"):
        RoomDataset(tmp_path)


# Splits


def test_both_scans_of_a_room_are_in_one_split():
    for k in range(200):
        assert split_of(2 * k) == split_of(2 * k + 1)
    shares = [split_of(n) for n in range(1000)]
    assert [shares.count(s) for s in ("train", "val", "test")] == [800, 100, 100]


def test_no_room_is_in_two_splits(tmp_path):
    def asked(scene, i, **more):
        slots = {"rule": "state", "slots": {"ref": "door"}, "objects": [1], **more}
        return Example(
            f"{scene}/{i}",
            scene,
            "qa",
            "state",
            "Is it open?",
            ["open" if i % 2 else "closed"],
            derivation=slots,
        )

    some = [
        asked(f"{d}_{n:05d}", i)
        for d in ("rscan", "scannet")
        for n in (0, 1, 16, 17, 18, 19, 21)
        for i in range(4)
    ]
    some += [
        asked(f"rscan_{n:05d}-{r}", i, pair="x")
        for n in (1, 16, 19)
        for i, r in enumerate(("flip", "same"))
    ]
    some += [asked(f"rscan_n{n:05d}", 0) for n in (0, 16)]
    save_examples(some, tmp_path / "shard-0000.jsonl")
    corpus.write_splits(tmp_path)
    rooms = {}
    for file in tmp_path.glob("[!s]*.jsonl"):
        split = file.stem.split("-")[-1]
        for example in load_examples(file):
            number = int(example.scene.split("_")[1].split("-")[0])
            rooms.setdefault(number // 2, set()).add(split)
    assert rooms == {0: {"train"}, 8: {"val"}, 9: {"test"}, 10: {"train"}}
    listed = {
        split: {e.scene for e in load_examples(tmp_path / f"{split}.jsonl")}
        for split in ("train", "pairs-test", "pairs-val")
    }
    assert listed["train"] == {f"{d}_{n:05d}" for d in ("rscan", "scannet") for n in (0, 1, 21)}
    assert listed["pairs-test"] == {"rscan_00019-flip", "rscan_00019-same"}
    assert listed["pairs-val"] == {"rscan_00016-flip", "rscan_00016-same"}


def test_the_novel_split_asks_only_about_held_out_pairs(made):
    read = RoomDataset(made)
    pairs = {(colour, category) for category, colour in HELD_OUT.items()}
    examples = list(read.examples("novel"))
    assert len(examples) >= 10
    for example in examples:
        assert "_n" in example.scene and example.task == "qa"
        words = f"{example.question} {example.answers[0]}"
        named = any(re.search(rf"\b{colour} {category}", words) for colour, category in pairs)
        objects = {o.id: o for o in read.scene(example.scene).objects}
        about = [objects[i] for i in example.derivation["objects"]]
        coloured = example.kind == "colour" and (example.answers[0], about[0].category) in pairs
        assert named or coloured, example


def test_training_knows_no_held_out_pair(made):
    read = RoomDataset(made)
    for name in read.shard_of:
        held = [
            o
            for o in read.scene(name).objects
            if o.attributes.get("colour") == HELD_OUT.get(o.category, "none")
        ]
        assert "_n" in name or not held, (name, held)
    for split in ("train", "pairs-train", "skewed-train", "simplistic-train"):
        for example in read.examples(split):
            assert "_n" not in example.scene
            words = " ".join([example.question, *example.answers])
            assert not any(
                re.search(rf"\b{colour} {category}\b", words)
                for category, colour in HELD_OUT.items()
            ), example


def test_splits_hold_what_they_are_for(made):
    read = RoomDataset(made)
    raw = {e.id for file in made.glob("shard-*.jsonl") for e in load_examples(file)}
    counts = {
        split: [e.id for e in read.examples(split)]
        for split in ("train", "pairs-train", "skewed-train", "novel")
    }
    assert all(set(ids) <= raw and len(set(ids)) == len(ids) > 0 for ids in counts.values())
    assert 50 < len(counts["train"]) < len(raw)
    trios = {}
    for example in read.examples("pairs-train"):
        trios.setdefault(example.derivation["pair"], {})[example.derivation["role"]] = example
    for trio in trios.values():
        assert set(trio) == {"base", "flip", "same"} and all(
            e.scene in read.shard_of for e in trio.values()
        )
        assert trio["base"].answers == trio["same"].answers != trio["flip"].answers


def test_a_domain_can_be_held_out_and_poor_questions_added(made):
    read = RoomDataset(made)
    domains = {e.scene.split("_")[0] for e in read.examples("train")}
    assert len(domains) == 4
    assert {
        e.scene.split("_")[0] for e in read.examples("train", domains=domains - {"rscan"})
    } == domains - {"rscan"}
    plain, more = (list(read.examples("train", simplistic=switch)) for switch in (False, True))
    assert (
        more[: len(plain)] == plain
        and more[len(plain) :] == list(read.examples("simplistic-train")) != []
    )


def test_the_solver_agrees_with_a_corpus(made, copied):
    check = quickly(check_corpus.check)
    counts, problems = check(made)
    assert not problems and counts.total() == sum(
        1 for f in made.glob("shard-*.jsonl") for _ in load_examples(f)
    )
    lines = (copied / "shard-0000.jsonl").read_text().splitlines()
    wrong = json.loads(next(line for line in lines if '"height"' in line and '"qa"' in line))
    wrong["answers"] = [str(int(wrong["answers"][0]) + 3)]
    (copied / "shard-0000.jsonl").write_text("\n".join([*lines, json.dumps(wrong)]) + "\n")
    assert len(check(copied)[1]) == 1


def test_depth_and_ids_fit_their_files(made):
    """Depth is stored in 16-bit millimetres and ids in 8 bits."""
    read = RoomDataset(made)
    for name in NAMES:
        scene = read.scene(name)
        assert max(o.id for o in scene.objects) < 256 and 0 < scene.depth.max() < 10
        assert scene.depth.dtype == torch.float32 and scene.instances.dtype == torch.int32
        assert np.allclose(scene.depth * 1000, (scene.depth * 1000).round(), atol=1e-2)
