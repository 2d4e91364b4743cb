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
    as_json,
    bottom,
    covers,
    front,
    grid,
    host_of,
    pieces,
    recording,
    strange_intersections,
    top,
    turn,
)
from scipy.optimize import lsq_linear

from leovl_mini.data.examples import dumps
from leovl_mini.data.samples import DEFAULT_ROOM, SAMPLES, sample_room, samples_folder
from leovl_mini.rooms import DOMAINS, domain_room, export, make_room, record
from leovl_mini.rooms.export import export_samples
from leovl_mini.rooms.furniture import (
    CATEGORIES,
    COLOURS,
    FIXED,
    FLAT_TOPS,
    HELD_OUT,
    LARGE,
    MOVABLE,
    OPENABLE,
    PATTERNED,
    PATTERNS,
    SMALL,
)
from leovl_mini.rooms.layout import KINDS, WAYS, rearrange
from leovl_mini.rooms.room import gaps, parse_name
from leovl_mini.scans import load_scene
from leovl_mini.scans.scene import Object


@pytest.fixture(scope="module")
def rooms():
    return known_rooms.rooms()


def items(rooms, *categories):
    return [(room, o) for room in rooms for o in room.objects if o.category in categories]


# Arguments


def test_same_arguments_give_the_same_room_and_other_seeds_other_rooms(rooms):
    assert make_room(3) == rooms[3]
    assert make_room(3, areas=2, states=True) == known_rooms.double_rooms()[3]
    assert len({str(room.objects) for room in rooms}) == len(rooms)


def test_all_kinds_categories_colours_and_patterns_occur(rooms):
    assert {area.kind for room in rooms for area in room.areas} == set(KINDS) and len(KINDS) == 5
    objects = [o for room in rooms for o in room.objects]
    assert len(LARGE) == 18 and len(SMALL) == 12
    assert {o.category for o in objects} == {*LARGE, *SMALL, *FIXED} == set(CATEGORIES)
    assert {o.attributes.get("pattern") for o in objects} == {None, *PATTERNS}
    assert {o.attributes.get("colour") for o in objects} == {None, *COLOURS}
    for item in objects:
        assert ("pattern" in item.attributes) == (item.category in PATTERNED), item
        assert item.category not in ("window", "television") or "colour" not in item.attributes


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
    objects = [o for room in known_rooms.single_rooms() for o in room.objects]
    assert not any("state" in o.attributes for o in objects)
    assert all(len(room.areas) == 2 for room in known_rooms.double_rooms())
    opened = items(known_rooms.double_rooms(), *OPENABLE)
    states = Counter(o.attributes["state"] for _, o in opened)
    assert set(states) == {"open", "closed"} and min(states.values()) > 0.3 * states.total()


def test_held_out_pairs_occur_only_in_novel_rooms(rooms):
    assert set(HELD_OUT) >= {*LARGE, *SMALL}

    def share(rooms):
        seen = [o for room in rooms for o in room.objects if "colour" in o.attributes]
        return np.mean([o.attributes["colour"] == HELD_OUT[o.category] for o in seen])

    assert share(rooms) == 0
    assert 0.2 < share([make_room(seed, novel=True) for seed in range(4)]) < 0.8


def test_names_of_scenes_are_taken_apart():
    assert parse_name("scannet_n00012-flip") == ("scannet_n00012", "scannet", 12, True, "flip")
    assert parse_name("rscan_3") == ("rscan_3", "rscan", 3, False, "")
    assert parse_name("scene0000_00") == ("scene0000_00", "", 0, False, "")


def test_an_unknown_domain_is_refused():
    with pytest.raises(ValueError, match="replica.*scannet"):
        domain_room("replica", 0)


# Gaps


def test_gaps_are_the_smallest_distances_between_points_of_two_boxes():
    """Against a bounded least-squares search over a point in each box."""
    rng = np.random.default_rng(0)

    def axes(yaw):
        cos, sin = np.cos(yaw), np.sin(yaw)
        return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])

    for _ in range(40):
        a, b = (
            Object(i, "sofa", tuple(rng.uniform(-2, 2, 3)), tuple(rng.uniform(0.1, 2.5, 3)), yaw)
            for i, yaw in enumerate(rng.uniform(0, 6, 2).tolist())
        )
        half, shift = np.array([*a.size, *b.size]) / 2, np.subtract(b.center, a.center)
        both = np.hstack([axes(a.yaw), -axes(b.yaw)])
        found = lsq_linear(both, shift, (-half, half), tol=1e-14)
        expected = math.sqrt(2 * found.cost)
        np.testing.assert_allclose(gaps([a, b]), [[0, expected], [expected, 0]], atol=1e-4)


# Where things stand


def test_objects_stay_inside_their_area(rooms):
    for room in rooms:
        for item in room.objects:
            assert 0 <= bottom(item) + 1e-9 and top(item) < room.size[2], (room.seed, item)
            if item.category in FIXED:
                reach = np.abs(grid(item, 3)) - np.array(room.size[:2]) / 2
                between = len(room.areas) == 2 and item.category == "door" and item.id == 1
                assert reach.max() <= 1e-6 and (between or abs(reach).min() < 1e-6), item
            else:
                area = area_of(room, item)
                off = np.abs(grid(item, 3) - area.center)
                assert (off <= np.array(area.size) / 2 + 1e-6).all(), (room.seed, item)


def test_only_things_and_their_hosts_share_a_place(rooms):
    assert [strange_intersections(room) for room in rooms] == [[]] * len(rooms)


def test_things_lie_where_their_attributes_say(rooms):
    relations = Counter()
    for room, item in items(rooms, *CATEGORIES):
        held = host_of(room, item)
        if held is None:
            on_floor = bottom(item) == pytest.approx(0, abs=1e-9)
            assert item.category == "window" or on_floor, (room.seed, item)
            continue
        relation, host = held
        relations[relation] += 1
        assert covers(host, np.array(item.center[:2])), (room.seed, item, host)
        if relation == "on":
            assert host.category in (*FLAT_TOPS, "parcel", "book", "radio"), host
            assert bottom(item) == pytest.approx(top(host))
        elif relation == "under":
            assert host.category in ("table", "desk") and top(item) < top(host)
            assert abs(bottom(item)) < 1e-9
        else:
            assert host.category in ("bookshelf", "basket"), host
            assert bottom(host) <= bottom(item) < top(host) - 0.02
            assert covers(host, grid(item, 3)).all(), (room.seed, item, host)
    assert all(relations[name] >= 20 for name in ("on", "under", "inside")), relations


def test_furniture_stands_with_its_back_to_a_wall(rooms):
    against = [category for category, ways in WAYS.items() if ways[-1].__name__ == "at_wall"]
    assert len(against) == 12
    for room, item in items(rooms, *against):
        area = area_of(room, item)
        behind = np.array(item.center[:2]) - front(item) * (item.size[1] / 2 + 0.1)
        assert (np.abs(behind - area.center) - np.array(area.size) / 2).max() > 0, item


def test_chairs_at_tables_face_them(rooms):
    facing = []
    for room, chair in items(rooms, "chair"):
        tables = [t for _, t in items([room], "table", "desk")]
        near = [t for t in tables if covers(t, grid(chair), 0.4).any()]
        steps = chair.size[1] / 2 + np.linspace(0.1, 0.6, 8)[:, None]
        ahead = np.array(chair.center[:2]) + front(chair) * steps
        facing += [any(covers(t, ahead).any() for t in near)] if near else []
    assert len(facing) > 30 and np.mean(facing) > 0.75


def before(item, width, reach):
    """Points (12,9,2) of the floor in front of an object, over that share of its width."""
    across, ahead = np.linspace(-width, width, 9), item.size[1] / 2 + np.linspace(0.03, reach, 12)
    x, y = np.meshgrid(across * item.size[0], ahead)
    return turn(np.stack([x, y], -1), item.yaw) + item.center[:2]


def test_doors_and_cupboards_can_be_opened(rooms):
    for room, item in items(rooms, *OPENABLE):
        space = before(item, 0.4, 0.9 if item.category == "door" else 0.45)
        for other in room.objects:
            apart = bottom(other) > top(item) - 0.01 or top(other) < bottom(item) + 0.01
            if other is not item and other.category != "window" and not apart:
                assert not covers(other, space).any(), (room.seed, item, other)


def test_no_furniture_hides_a_window(rooms):
    for room, window in items(rooms, "window"):
        for _, item in items([room], *LARGE):
            hidden = covers(item, before(window, 0.45, 0.1)).any()
            assert top(item) < bottom(window) or not hidden, (room.seed, window, item)


def test_one_can_walk_everywhere(rooms):
    """A person of 36 cm who steps over small things; also from one area to the other."""
    for room in rooms:
        found, largest = pieces(room), set()
        for inside in known_rooms.inside_areas(room):
            sizes = np.bincount(found[inside & (found > 0)])
            assert sizes.max() >= 0.85 * sizes.sum() and sizes.sum() > 0.1 * inside.sum()
            largest.add(sizes.argmax())
        assert len(largest) == 1, room.seed


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
            assert (low[:2] >= -half - 0.03).all(), (room.seed, item)
            assert (high[:2] <= half + 0.03 + np.array([0, out])).all(), (room.seed, item)
            assert -1e-6 <= low[2] and high[2] == pytest.approx(item.size[2], abs=0.011)


def test_rearranging_moves_only_some_movable_objects():
    moved, movable = Counter(), Counter()
    for room in known_rooms.single_rooms()[:12]:
        later = rearrange(room, 7)
        assert not strange_intersections(later)
        for old, new in zip(room.objects, later.objects, strict=True):
            assert (old.id, old.category, old.size) == (new.id, new.category, new.size)
            for name in ("colour", "pattern", "state"):
                assert old.attributes.get(name) == new.attributes.get(name)
            movable[old.category] += 1
            moved[old.category] += (old.center, old.yaw) != (new.center, new.yaw)
            held = host_of(later, new)
            assert held is None or covers(held[1], np.array(new.center[:2])), (room.seed, new)
    assert {category for category, n in moved.items() if n} <= set(MOVABLE)
    assert 0.1 < moved.total() / sum(movable[c] for c in MOVABLE) < 0.6
    assert rearrange(room, 7).objects == later.objects != rearrange(room, 8).objects


def test_an_odd_scan_of_rscan_shows_the_room_before_it_with_things_moved():
    for k in (0, 1):
        first, later = domain_room("rscan", 2 * k), domain_room("rscan", 2 * k + 1)
        assert (first.size, first.areas) == (later.size, later.areas)
        both = list(zip(first.objects, later.objects, strict=True))
        assert all((a.id, a.category, a.size) == (b.id, b.category, b.size) for a, b in both)
        assert 0 < sum(a.center != b.center for a, b in both) < len(both) / 2
    assert domain_room("rscan", 1).size != domain_room("rscan", 2).size


def test_no_two_domains_share_a_room():
    contents = {str(domain_room(domain, n).objects) for domain in DOMAINS for n in range(2)}
    assert len(contents) == 8


# Bundled rooms

NAMES = [f"{domain}_{number}" for domain, numbers in SAMPLES.items() for number in numbers]


@pytest.mark.parametrize("name", NAMES)
def test_bundled_rooms_are_what_is_made_today(name):
    domain, number = name.split("_")
    made, old = recording(domain, int(number)), load_scene(sample_room(name))
    new = made.scene
    assert old.frame_names == new.frame_names and len(old) == 8
    assert torch.allclose(old.camera_to_world, new.camera_to_world, atol=1e-6)
    assert torch.allclose(old.intrinsics, new.intrinsics, atol=1e-4)
    assert ((old.depth - new.depth).abs() > 0.0021).float().mean() <= 0.001
    assert (old.instances != new.instances).float().mean() <= 0.001
    differs = (old.rgb.int() - new.rgb.int()).abs().amax(-1) > 2
    assert differs.float().mean() <= 0.003  # edges and patterns; 0.0014 was seen
    facts = json.loads((sample_room(name) / "scene.json").read_text())
    assert alike(facts["objects"], [as_json(o) for o in made.room.objects])
    assert alike(facts["areas"], [as_json(a) for a in made.room.areas])
    rows = (sample_room(name) / "examples.jsonl").read_text().splitlines()
    examples = [json.loads(dumps(e).replace(new.name, name)) for e in made.examples]
    assert alike([json.loads(row) for row in rows], examples)


def test_the_samples_are_written_with_their_examples(tmp_path, monkeypatch):
    for domain in SAMPLES:
        monkeypatch.setitem(SAMPLES, domain, (2,) if domain == "scannet" else ())
    known_rooms.quickly(export_samples)(tmp_path / "rooms")
    folder = tmp_path / "rooms" / "scannet_2"
    assert {f.name for f in folder.iterdir()} == {f.name for f in sample_room().iterdir()}
    texts = [(place / "scene.json").read_text() for place in (folder, sample_room())]
    assert alike(*map(json.loads, texts))


def alike(a, b) -> bool:
    """Equal but for the last digits of numbers: processors differ in the vector instructions that
    sines are computed with.
    """
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(alike(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(alike, a, b))
    floats = isinstance(a, float) and isinstance(b, float)
    return math.isclose(a, b, abs_tol=1e-9) if floats else a == b


def test_bundled_rooms_are_complete_and_match_their_checksums():
    folder = samples_folder()
    files = {str(p.relative_to(folder)) for p in (folder / "rooms").rglob("*") if p.is_file()}
    lines = [line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines()]
    assert {name for _, name in lines} == files
    for digest, name in lines:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
    assert {p.name for p in (folder / "rooms").iterdir()} == set(NAMES) and DEFAULT_ROOM in NAMES
    for name in NAMES:
        areas = json.loads((sample_room(name) / "scene.json").read_text())["areas"]
        assert len(areas) == (2 if name.startswith("multiscan") else 1)
    with pytest.raises(FileNotFoundError, match="scannet_2"):
        sample_room("nowhere")


def test_export_refuses_an_existing_room(tmp_path):
    scene = record(make_room(0), "scannet", 1)
    export(scene, tmp_path / "room")
    with pytest.raises(FileExistsError, match="exists already"):
        export(scene, tmp_path / "room")
