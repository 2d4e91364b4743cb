"""Known-answer rooms: reproducible, without intersections, rendered in the package's own camera conventions."""

import hashlib
import itertools

import numpy as np
import pytest
import torch

from leovl_mini.geometry import back_project
from leovl_mini.readers import load_scene
from leovl_mini.rooms import export, make_room, render
from leovl_mini.samples import sample_room, samples_folder

SEEDS = range(12)


@pytest.fixture(scope="module")
def rooms():
    return [make_room(seed) for seed in SEEDS]


def grid_inside(item, steps=25):
    """Points (n,2) spread over an object's footprint."""
    u = np.linspace(-0.5, 0.5, steps)
    local = np.stack(np.meshgrid(u, u), -1).reshape(-1, 2) * item.size[:2]
    cos, sin = np.cos(item.yaw), np.sin(item.yaw)
    return local @ np.array([[cos, sin], [-sin, cos]]) + item.center[:2]


def footprint_contains(item, points):
    cos, sin = np.cos(item.yaw), np.sin(item.yaw)
    local = (points - item.center[:2]) @ np.array([[cos, -sin], [sin, cos]])
    return (np.abs(local) < np.array(item.size[:2]) / 2).all(1)


def test_same_seed_gives_the_same_room_and_other_seeds_other_rooms(rooms):
    assert make_room(3).objects == rooms[3].objects
    assert make_room(3).objects != rooms[4].objects


def test_objects_stay_inside_and_do_not_intersect(rooms):
    for room in rooms:
        for item in room.objects:
            assert (np.abs(grid_inside(item)) <= np.array(room.size[:2]) / 2 + 1e-9).all(), (room.seed, item)
        for a, b in itertools.combinations(room.objects, 2):
            apart = abs(a.center[2] - b.center[2]) >= (a.size[2] + b.size[2]) / 2 - 1e-6
            assert apart or not footprint_contains(b, grid_inside(a)).any(), (room.seed, a.category, b.category)


def test_small_objects_rest_on_their_support(rooms):
    count = 0
    for room in rooms:
        by_id = {item.id: item for item in room.objects}
        for item in room.objects:
            if "on" in item.attributes:
                support = by_id[int(item.attributes["on"])]
                assert item.center[2] - item.size[2] / 2 == pytest.approx(support.center[2] + support.size[2] / 2)
                assert footprint_contains(support, grid_inside(item)).all()
                count += 1
    assert count >= 2 * len(rooms)


def test_rendered_depth_lies_on_the_labelled_objects():
    """Back-projected pixels of an object lie in its labelled box: depth, poses, masks and boxes share one convention."""
    room = make_room(2)
    scene = render(room, views=4, size=(96, 128))
    points = back_project(scene.depth, scene.intrinsics, scene.camera_to_world)
    checked = 0
    for item in room.objects:
        p = points[scene.instances == item.id].double().numpy()
        if len(p) < 20:
            continue
        cos, sin = np.cos(item.yaw), np.sin(item.yaw)
        local = (p - item.center) @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        inside = (np.abs(local) <= np.array(item.size) / 2 + 0.03).all(1)
        assert inside.mean() > 0.99, item.category
        checked += 1
    assert checked >= 6
    background = points[scene.instances == 0].abs() - torch.tensor([room.size[0] / 2, room.size[1] / 2, room.size[2]])
    assert background.max() < 1e-3  # nothing outside the walls


def test_committed_room_is_what_its_command_makes(tmp_path):
    export(render(make_room(1), 8), tmp_path / "room")
    committed, again = load_scene(sample_room()), load_scene(tmp_path / "room")
    assert committed.objects == again.objects
    assert torch.allclose(committed.camera_to_world, again.camera_to_world, atol=1e-6)
    off = (committed.depth - again.depth).abs() > 0.0011
    assert off.float().mean() <= 0.001
    assert (committed.instances != again.instances).float().mean() <= 0.001
    assert ((committed.rgb.int() - again.rgb.int()).abs().amax(-1) > 2).float().mean() <= 0.001


def test_committed_files_match_their_checksums():
    folder = samples_folder()
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
    listed = {line.split("  ")[1] for line in lines}
    assert listed == {str(p.relative_to(folder)) for p in (folder / "rooms").rglob("*") if p.is_file()}


def test_export_refuses_an_existing_room(tmp_path):
    scene = render(make_room(0), 1, size=(24, 32))
    export(scene, tmp_path / "room")
    with pytest.raises(FileExistsError, match="exists already"):
        export(scene, tmp_path / "room")
