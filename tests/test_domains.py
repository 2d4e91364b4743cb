"""Four ways to record a room: one camera convention, each sensor's own faults, and cameras that a
person could have held.
"""

import colorsys
import dataclasses
import functools
import math

import known_rooms
import numpy as np
import pytest
import torch
from known_rooms import bottom, covers, recording, turn
from scipy import ndimage

from leovl_mini.rooms import DOMAINS, domain_room, make_room, record
from leovl_mini.rooms.cameras import exact, place_cameras
from leovl_mini.rooms.furniture import COLOURS, FIXED
from leovl_mini.rooms.render import shoot
from leovl_mini.scans.geometry import back_project

# metres by which measured points may lie outside an object's box
TOLERANCE = {"scannet": 0.08, "rscan": 0.12, "multiscan": 0.05, "arkitscenes": 0.06}
RECORDED = [(domain, number) for domain in DOMAINS for number in (2, 3)]


@functools.cache
def truth(domain, number):
    """What the cameras of a recording see without the faults of the sensor."""
    room = recording(domain, number).room
    return shoot(room, *place_cameras(room, domain, 8), DOMAINS[domain].size)


def errors(domain):
    """True depth, measured depth, albedo and facing of the pixels of two recordings."""
    shots = [(recording(domain, n).scene.depth.numpy(), truth(domain, n)) for n in (2, 3)]
    columns = [(shot.depth, measured, shot.albedo, shot.facing) for measured, shot in shots]
    return (np.concatenate([c.ravel() for c in column]) for column in zip(*columns, strict=True))


def points_of(scene):
    return back_project(scene.depth, scene.intrinsics, scene.camera_to_world).double().numpy()


def outside(scene, points, item, edge):
    """How far (metres) the measured points of an object lie outside its box, leaving out ``edge``
    pixels along its outline.
    """
    mask = (scene.instances == item.id).numpy()
    inner = ndimage.minimum_filter(mask, (1, 2 * edge + 1, 2 * edge + 1))
    points = points[inner & (scene.depth > 0).numpy()]
    local = np.concatenate(
        [turn(points[:, :2] - item.center[:2], -item.yaw), points[:, 2:] - item.center[2]], axis=1
    )
    return (np.abs(local) - np.array(item.size) / 2).max(1, initial=-1)


# One convention of depth, poses, masks and boxes


def test_exact_depth_lies_on_the_labelled_objects():
    room = make_room(2)
    scene = record(room, dataclasses.replace(DOMAINS["scannet"], sensor=exact), views=4)
    found = [outside(scene, points_of(scene), item, 0) for item in room.objects]
    assert all((far <= 0.03).mean() > 0.99 for far in found if len(far) > 60)
    assert sum(len(far) > 60 for far in found) >= 6


@pytest.mark.parametrize(("domain", "number"), RECORDED)
def test_recorded_depth_lies_on_the_labelled_objects(domain, number):
    recorded, checked = recording(domain, number), 0
    points = points_of(recorded.scene)
    for item in recorded.room.objects:
        far = outside(recorded.scene, points, item, 3)
        if len(far) > 60:
            open_at_front = item.attributes.get("state") == "open"
            assert open_at_front or (far <= TOLERANCE[domain]).mean() > 0.95, (
                item.category,
                far.max(),
            )
            checked += 1
    assert checked >= 5


def beyond_walls(room, points):
    """Metres (n,) by which points lie outside the room."""
    size = np.array(room.size)
    upright = np.stack([-points[:, 2], points[:, 2] - size[2]], 1)
    return np.maximum(np.abs(points[:, :2]) - size[:2] / 2, upright).max(1)


@pytest.mark.parametrize(("domain", "number"), RECORDED)
def test_nothing_is_measured_outside_the_walls(domain, number):
    scene, room = recording(domain, number).scene, recording(domain, number).room
    beyond = beyond_walls(room, points_of(scene)[(scene.depth > 0).numpy()])
    assert beyond.max() < 0.35 and np.percentile(beyond, 99.5) < TOLERANCE[domain]
    depth = truth(domain, number).depth
    assert (depth > 0).all()  # the room is closed
    exact = back_project(torch.from_numpy(depth), scene.intrinsics, scene.camera_to_world)
    through = 0.11 if domain == "multiscan" else 1e-3  # one can look through a door
    assert beyond_walls(room, exact.reshape(-1, 3).numpy()).max() < through


def test_masks_hold_only_ids_of_objects():
    for domain, number in RECORDED:
        recorded = recording(domain, number)
        assert set(recorded.scene.instances.unique().tolist()) <= {
            0,
            *(o.id for o in recorded.room.objects),
        }


# Sensors


def test_frame_sizes():
    sizes = {domain: tuple(recording(domain, 2).scene.rgb.shape) for domain in DOMAINS}
    portrait, landscape = (8, 256, 192, 3), (8, 192, 256, 3)
    assert sizes == {
        "scannet": landscape,
        "rscan": portrait,
        "multiscan": landscape,
        "arkitscenes": portrait,
    }
    for domain in DOMAINS:
        K = recording(domain, 2).scene.intrinsics[0].numpy()
        width = sizes[domain][2]
        assert math.degrees(2 * math.atan(width / 2 / K[0, 0])) == pytest.approx(
            DOMAINS[domain].field_of_view, abs=0.1
        )


def test_structured_light_gets_worse_with_distance_and_fails_on_dark_and_slanted_surfaces():
    exact, measured, albedo, facing = errors("scannet")
    seen = measured > 0
    off = np.abs(measured - exact)
    near, far = (np.median(off[seen & (exact > z) & (exact < z + 1)]) for z in (1.0, 3.0))
    assert 0.001 < near < 0.005 and far > 3 * near
    plain = (albedo > 0.3) & (facing > 0.5)
    assert seen[plain].mean() > 0.93
    assert 0.2 < seen[(albedo < 0.1) & (facing > 0.5)].mean() < 0.8
    assert not seen[facing < 0.19].any()


def test_structured_light_measures_in_steps_of_disparity():
    _, measured, *_ = errors("scannet")
    far = np.unique(measured[(measured > 3.5) & (measured < 4.5)])
    assert len(far) < 50  # float32 would have millions of values


def test_time_of_flight_ends_at_four_and_a_half_metres():
    exact, measured, *_ = errors("rscan")
    seen = measured > 0
    assert measured.max() <= 4.5 and not seen[exact > 5.0].any()
    usual = (exact > 0.5) & (exact < 4)
    assert 0.9 < seen[usual].mean() < 0.985
    relative = np.abs(measured - exact)[seen & usual] / exact[seen & usual]
    assert 0.004 < np.median(relative) < 0.012
    depth = recording("rscan", 2).scene.depth
    assert (depth[:, ::2] == depth[:, 1::2]).all() and (
        depth[:, :, ::2] == depth[:, :, 1::2]
    ).all()  # half the resolution


def test_the_tablet_is_dense():
    exact, measured, *_ = errors("multiscan")
    assert (measured[exact < 4.8] > 0).mean() > 0.995 and measured.max() <= 5
    assert np.median(np.abs(measured - exact)[measured > 0] / exact[measured > 0]) < 0.005


def test_lidar_smooths_edges():
    """Across a step of 0.2 to 0.5 m between two neighbouring pixels, LiDAR measures a smaller one;
    the tablet does not.
    """
    ratios = {}
    for domain in ("arkitscenes", "multiscan"):
        recorded = recording(domain, 2)
        exact, measured = (
            np.diff(d, axis=2) for d in (truth(domain, 2).depth, recorded.scene.depth.numpy())
        )
        both = (recorded.scene.depth[:, :, 1:] > 0) & (recorded.scene.depth[:, :, :-1] > 0)
        step = (np.abs(exact) > 0.2) & (np.abs(exact) < 0.5) & both.numpy()
        assert step.sum() > 100
        ratios[domain] = np.median(measured[step] / exact[step])
    assert ratios["arkitscenes"] < 0.5 and ratios["multiscan"] == pytest.approx(1, abs=0.1)


# The same and other frames


def test_same_arguments_give_the_same_frames():
    first, again = recording("scannet", 2), record(domain_room("scannet", 2), "scannet", 8)
    for name in ("rgb", "depth", "camera_to_world", "instances"):
        assert torch.equal(getattr(first.scene, name), getattr(again, name)), name
    other = record(domain_room("scannet", 2), "scannet", 8, seed=1)
    assert not torch.equal(other.camera_to_world, again.camera_to_world)


def test_domains_record_the_same_room_differently():
    room = make_room(3)
    scenes = [record(room, domain, 2) for domain in DOMAINS]
    for a in range(4):
        for b in range(a):
            assert not np.allclose(scenes[a].intrinsics[0], scenes[b].intrinsics[0])
            assert not torch.equal(scenes[a].camera_to_world, scenes[b].camera_to_world)
            assert scenes[a].depth.shape != scenes[b].depth.shape or not torch.equal(
                scenes[a].depth, scenes[b].depth
            )


# Cameras


def test_cameras_stand_on_free_floor_and_all_areas_are_visited():
    for recorded in known_rooms.recordings():
        poses, room = recorded.scene.camera_to_world.numpy(), recorded.room
        style = DOMAINS[recorded.domain]
        visits = [0] * len(room.areas)
        for x, y, z in poses[:, :3, 3]:
            inside = [
                (np.abs([x, y] - np.array(a.center)) < np.array(a.size) / 2 - 0.2).all()
                for a in room.areas
            ]
            assert sum(inside) == 1 and style.eye[0] - 1e-6 <= z <= style.eye[1] + 1e-6
            visits[inside.index(True)] += 1
            low = [o for o in room.objects if o.category not in FIXED and bottom(o) < 1]
            assert not any(covers(o, np.array([x, y]), 0.15) for o in low), recorded.scene.name
        assert visits == [len(poses) // len(room.areas)] * len(room.areas)
        assert len(recorded.graph.clear) > 0.5 * len(room.objects), recorded.scene.name


def test_cameras_are_held_nearly_upright():
    for domain, style in DOMAINS.items():
        rolls = []
        for number in known_rooms.NUMBERS:
            right, down = (
                recording(domain, number).scene.camera_to_world.numpy()[:, 2, i] for i in (0, 1)
            )
            assert (down < 0).all()
            rolls += np.degrees(np.arctan2(right, -down)).tolist()
        assert style.roll / 2 < np.abs(rolls).max() <= style.roll + 0.01


# Colours


def test_objects_are_seen_in_the_colour_that_they_are_named_by():
    hues = {
        name: colorsys.rgb_to_hsv(*c)[0]
        for name, c in COLOURS.items()
        if name not in ("white", "black")
    }
    right = []
    for domain, number in RECORDED:
        scene = recording(domain, number).scene
        for item in (
            o
            for o in scene.objects
            if o.id in recording(domain, number).graph.clear and "colour" in o.attributes
        ):
            pixels = scene.rgb.numpy()[(scene.instances == item.id).numpy()] / 255
            hue, saturation, value = colorsys.rgb_to_hsv(*np.median(pixels, axis=0))
            named = item.attributes["colour"]
            if named in hues:
                nearest = min(hues, key=lambda name: abs((hues[name] - hue + 0.5) % 1 - 0.5))
                right.append(nearest == named and saturation > 0.25)
            else:
                right.append(saturation < 0.35 and (value > 0.4) == (named == "white"))
    assert len(right) > 80 and np.mean(right) > 0.85
