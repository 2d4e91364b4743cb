"""Known-answer rooms: reproducible, furnished so that one can live in them, and the bundled ones
are what their command makes.
"""

import hashlib
import json
import math
from collections import Counter

import known_rooms
import numpy as np
import pytest
import torch
from known_rooms import (
    area_of,
    bottom,
    covers,
    front,
    grid,
    host_of,
    intersections,
    pieces,
    top,
    turn,
)

from leovl_mini.data.samples import DEFAULT_ROOM, SAMPLES, sample_room, samples_folder
from leovl_mini.rooms import export, make_room, render
from leovl_mini.rooms.export import export_samples
from leovl_mini.rooms.furniture import COLOURS, FIXED, LARGE, OPENABLE, PATTERNED, SMALL
from leovl_mini.rooms.layout import HELD_OUT, KINDS, rearrange
from leovl_mini.scans import load_scene

AGAINST_WALL = (
    "bed nightstand cabinet bookshelf sofa desk sink bathtub toilet fridge stove".split()
    + ["tv stand"]
)


@pytest.fixture(scope="module")
def rooms():
    return known_rooms.rooms()


def looks(item):
    return (
        item.id,
        item.category,
        item.size,
        *(item.attributes.get(name) for name in ("colour", "pattern", "state")),
    )


# Arguments


def test_same_arguments_give_the_same_room_and_other_seeds_other_rooms(rooms):
    again = make_room(3)
    assert (
        again.objects == rooms[3].objects
        and again.parts == rooms[3].parts
        and again.walls == rooms[3].walls
    )
    assert make_room(3, areas=2, states=True).objects == known_rooms.double_rooms()[3].objects
    contents = {str(room.objects) for room in rooms}
    assert len(contents) == len(rooms)


def test_all_kinds_and_categories_occur(rooms):
    assert {area.kind for room in rooms for area in room.areas} == {
        "bedroom",
        "living room",
        "office",
        "kitchen",
        "bathroom",
    }
    counts = Counter(item.category for room in rooms for item in room.objects)
    assert len(LARGE) == 18 and len(SMALL) == 12 and set(counts) == {*LARGE, *SMALL, *FIXED}
    assert {item.attributes.get("pattern") for room in rooms for item in room.objects} == {
        None,
        "plain",
        "striped",
        "checked",
    }
    assert {item.attributes.get("colour") for room in rooms for item in room.objects} == {
        None,
        *COLOURS,
    }


def test_the_kind_can_be_chosen():
    for kind in KINDS:
        assert [area.kind for area in make_room(5, kind=kind).areas] == [kind]


@pytest.mark.parametrize(
    ("arguments", "message"), [((-1,), "negative"), ((0, "garage"), "garage.*bedroom")]
)
def test_a_negative_seed_and_an_unknown_kind_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_room(*arguments)


def test_states_occur_only_where_asked_for():
    for room in known_rooms.single_rooms():
        assert not any("state" in item.attributes for item in room.objects)
    states = Counter()
    for room in known_rooms.double_rooms():
        assert len(room.areas) == 2
        states.update(
            item.attributes.get("state") for item in room.objects if item.category in OPENABLE
        )
    assert set(states) == {"open", "closed"} and min(states.values()) > 0.3 * states.total()


def test_colours_and_patterns_are_where_they_belong(rooms):
    for item in (item for room in rooms for item in room.objects):
        assert ("pattern" in item.attributes) == (item.category in PATTERNED), item
        assert item.category not in ("window", "television") or "colour" not in item.attributes, (
            item
        )


def test_held_out_pairs_occur_only_in_novel_rooms(rooms):
    assert set(HELD_OUT) >= {*LARGE, *SMALL}
    assert not [
        o
        for room in rooms
        for o in room.objects
        if o.attributes.get("colour") == HELD_OUT.get(o.category, "none")
    ]
    novel = [
        o
        for seed in range(8)
        for o in make_room(seed, novel=True).objects
        if "colour" in o.attributes
    ]
    assert 0.2 < np.mean([o.attributes["colour"] == HELD_OUT[o.category] for o in novel]) < 0.8


# Where things stand


def test_objects_stay_inside_their_area(rooms):
    for room in rooms:
        for item in room.objects:
            if item.category in FIXED:
                reach = np.abs(grid(item, 3)) - np.array(room.size[:2]) / 2
                inner = (
                    len(room.areas) == 2 and item.category == "door" and item.id == 1
                )  # between the areas
                assert reach.max() <= 1e-6 and (inner or abs(reach).min() < 1e-6), (room.seed, item)
            else:
                area = area_of(room, item)
                assert (
                    np.abs(grid(item, 3) - area.center) <= np.array(area.size) / 2 + 1e-6
                ).all(), (room.seed, item)
            assert 0 <= bottom(item) + 1e-9 and top(item) < room.size[2], (room.seed, item)


def test_only_things_and_their_hosts_share_a_place(rooms):
    for room in rooms:
        hosts = {(o.id, host_of(room, o)[1].id) for o in room.objects if host_of(room, o)}
        for a, b in intersections(room):
            assert (a.id, b.id) in hosts or (b.id, a.id) in hosts, (room.seed, a, b)


def test_things_lie_where_their_attributes_say(rooms):
    relations = Counter()
    for room in rooms:
        for item in room.objects:
            held = host_of(room, item)
            if held is None:
                assert item.category == "window" or bottom(item) == pytest.approx(0, abs=1e-9), (
                    room.seed,
                    item,
                )
                continue
            relation, host = held
            relations[relation] += 1
            assert covers(host, np.array(item.center[:2])), (room.seed, item, host)
            if relation == "on":
                flat = (
                    "table desk cabinet nightstand stool fridge stove parcel book radio".split()
                    + ["tv stand"]
                )
                assert host.category in flat and bottom(item) == pytest.approx(top(host)), (
                    room.seed,
                    item,
                    host,
                )
            elif relation == "under":
                assert (
                    host.category in ("table", "desk")
                    and abs(bottom(item)) < 1e-9
                    and top(item) < top(host)
                ), (item, host)
            else:
                assert (
                    host.category in ("bookshelf", "basket")
                    and bottom(host) <= bottom(item) < top(host) - 0.02
                ), (item, host)
                assert covers(host, grid(item, 3)).all(), (room.seed, item, host)
    assert all(relations[name] >= 20 for name in ("on", "under", "inside")), relations


def test_furniture_stands_with_its_back_to_a_wall(rooms):
    for room in rooms:
        for item in room.objects:
            if item.category in AGAINST_WALL:
                area = area_of(room, item)
                behind = np.array(item.center[:2]) - front(item) * (item.size[1] / 2 + 0.1)
                beyond = np.abs(behind - area.center) - np.array(area.size) / 2
                assert beyond.max() > 0, (room.seed, item)


def test_chairs_at_tables_face_them(rooms):
    facing = []
    for room in rooms:
        tables = [o for o in room.objects if o.category in ("table", "desk")]
        for chair in (o for o in room.objects if o.category == "chair"):
            near = [t for t in tables if covers(t, grid(chair), 0.4).any()]
            ahead = np.array(chair.center[:2]) + front(chair) * (
                chair.size[1] / 2 + np.linspace(0.1, 0.6, 8)[:, None]
            )
            facing += [any(covers(t, ahead).any() for t in near)] if near else []
    assert len(facing) > 30 and np.mean(facing) > 0.75


def test_doors_and_cupboards_can_be_opened(rooms):
    for room in rooms:
        for item in (o for o in room.objects if o.category in OPENABLE):
            reach = 0.9 if item.category == "door" else 0.45
            x, y = np.meshgrid(
                np.linspace(-0.4, 0.4, 9) * item.size[0],
                item.size[1] / 2 + np.linspace(0.03, reach, 12),
            )
            before = turn(np.stack([x, y], -1), item.yaw) + item.center[:2]
            for other in room.objects:
                apart = bottom(other) > top(item) - 0.01 or top(other) < bottom(item) + 0.01
                free = (
                    other is item
                    or other.category == "window"
                    or apart
                    or not covers(other, before).any()
                )
                assert free, (room.seed, item, other)


def test_no_furniture_hides_a_window(rooms):
    for room in rooms:
        for window in (o for o in room.objects if o.category == "window"):
            x, y = np.meshgrid(
                np.linspace(-0.45, 0.45, 9) * window.size[0],
                window.size[1] / 2 + np.linspace(0, 0.1, 3),
            )
            before = turn(np.stack([x, y], -1), window.yaw) + window.center[:2]
            for item in (o for o in room.objects if o.category in LARGE):
                assert top(item) < bottom(window) or not covers(item, before).any(), (
                    room.seed,
                    window,
                    item,
                )


def test_the_free_floor_of_an_area_is_one_piece(rooms):
    """For a person of 36 cm who steps over small things."""
    for room in rooms:
        found = pieces(room)
        for area, inside in zip(room.areas, known_rooms.inside_areas(room), strict=True):
            sizes = np.bincount(found[inside & (found > 0)])
            assert sizes.max() >= 0.85 * sizes.sum(), (room.seed, area.kind)
            assert sizes.sum() > 0.1 * inside.sum(), (room.seed, area.kind)


def test_one_can_walk_from_one_area_to_the_other():
    for room in known_rooms.double_rooms():
        found = pieces(room)
        largest = [
            np.bincount(found[inside & (found > 0)]).argmax()
            for inside in known_rooms.inside_areas(room)
        ]
        assert len(set(largest)) == 1, room.seed


def test_parts_fill_the_box_of_their_object(rooms):
    """3 cm of tolerance for handles; what is open comes out at the front, by less than its own
    width or 0.4 m.
    """
    for room in rooms:
        for item, parts in zip(room.objects, room.parts, strict=True):
            low = np.min([np.array(p.center) - np.array(p.size) / 2 for p in parts], axis=0)
            high = np.max([np.array(p.center) + np.array(p.size) / 2 for p in parts], axis=0)
            half, out = np.array(item.size[:2]) / 2, 0.0
            if item.attributes.get("state") == "open":
                out = item.size[0] if item.category == "door" else 0.45
                assert high[1] > half[1] + 0.2, (room.seed, item)
            assert (
                (low[:2] >= -half - 0.03).all()
                and high[0] <= half[0] + 0.03
                and high[1] <= half[1] + 0.03 + out
            ), (item,)
            assert -1e-6 <= low[2] and high[2] == pytest.approx(item.size[2], abs=0.011), (
                room.seed,
                item,
            )


# The same room later


def test_rearranging_moves_only_some_movable_objects():
    moved, all_movable = Counter(), Counter()
    for room in known_rooms.single_rooms()[:12]:
        later = rearrange(room, 7)
        assert [looks(o) for o in later.objects] == [looks(o) for o in room.objects]
        hosts = {(o.id, host_of(later, o)[1].id) for o in later.objects if host_of(later, o)}
        for a, b in intersections(later):
            assert (a.id, b.id) in hosts or (b.id, a.id) in hosts, (room.seed, a, b)
        for before, after in zip(room.objects, later.objects, strict=True):
            all_movable[before.category] += 1
            moved[before.category] += (before.center, before.yaw) != (after.center, after.yaw)
            held = host_of(later, after)
            assert held is None or covers(held[1], np.array(after.center[:2])), (room.seed, after)
    assert {c for c, n in moved.items() if n} <= {
        "chair",
        "armchair",
        "stool",
        "lamp",
        "plant",
        *SMALL,
    }
    assert 12 <= moved.total() <= 0.5 * all_movable.total()
    room = make_room(4)
    rearrange(room, 1)
    assert room.objects == make_room(4).objects  # the first room stays as it was
    assert rearrange(room, 1).objects == rearrange(room, 1).objects != rearrange(room, 2).objects


# Files


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples") / "rooms"
    known_rooms.quickly(export_samples)(folder)
    return folder


NAMES = [f"{domain}_{number}" for domain, numbers in SAMPLES.items() for number in numbers]


@pytest.mark.parametrize("name", NAMES)
def test_bundled_rooms_are_what_their_command_makes(again, name):
    old, new = load_scene(sample_room(name)), load_scene(again / name)
    assert (
        len(old.objects) == len(new.objects)
        and old.frame_names == new.frame_names
        and len(old) == 8
    )
    assert torch.allclose(old.camera_to_world, new.camera_to_world, atol=1e-6)
    assert torch.allclose(old.intrinsics, new.intrinsics, atol=1e-4)
    assert ((old.depth - new.depth).abs() > 0.0021).float().mean() <= 0.001
    assert (old.instances != new.instances).float().mean() <= 0.001
    assert (
        (old.rgb.int() - new.rgb.int()).abs().amax(-1) > 2
    ).float().mean() <= 0.003  # edges and patterns; 0.0014 was seen
    for file in ("scene.json", "examples.jsonl"):
        texts = [(folder / file).read_text() for folder in (sample_room(name), again / name)]
        rows = [
            [json.loads(row) for row in (text.splitlines() if file.endswith("l") else [text])]
            for text in texts
        ]
        assert alike(*rows)


def alike(a, b) -> bool:
    """Equal but for the last digits of numbers: processors differ in the vector instructions that
    sines are computed with.
    """
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(alike(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(alike, a, b))
    return (
        math.isclose(a, b, abs_tol=1e-9)
        if isinstance(a, float) and isinstance(b, float)
        else a == b
    )


def test_alike_forgives_last_digits_only():
    assert alike({"a": [1.0, "x"]}, {"a": [1.0 + 1e-14, "x"]})
    assert not any(
        alike({"a": [1.0, "x"]}, other)
        for other in ({"a": [1.001, "x"]}, {"a": [1.0, "y"]}, {"a": [1.0]}, {"b": [1.0, "x"]})
    )


def test_bundled_rooms_are_complete():
    assert {p.name for p in (samples_folder() / "rooms").iterdir()} == set(
        NAMES
    ) and DEFAULT_ROOM in NAMES
    for name in NAMES:
        facts = json.loads((sample_room(name) / "scene.json").read_text())
        assert len(facts["areas"]) == (2 if name.startswith("multiscan") else 1)
    with pytest.raises(FileNotFoundError, match="scannet_2"):
        sample_room("nowhere")


def test_bundled_files_match_their_checksums():
    folder = samples_folder()
    lines = [line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines()]
    for digest, name in lines:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
    assert {name for _, name in lines} == {
        str(p.relative_to(folder)) for p in (folder / "rooms").rglob("*") if p.is_file()
    }


def test_export_refuses_an_existing_room(tmp_path):
    scene = render(make_room(0), 1, size=(24, 32))
    export(scene, tmp_path / "room")
    with pytest.raises(FileExistsError, match="exists already"):
        export(scene, tmp_path / "room")
