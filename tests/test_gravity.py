"""Whichever way the capture's world is turned, +z is up and the floor at z = 0 after loading."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from rooms import WORLDS, Room, box_scene, camera, look, write_plain
from scipy.spatial.transform import Rotation

from leovl_mini.scans import load_scene
from leovl_mini.scans.geometry import back_project
from leovl_mini.scans.gravity import align, floor_height, rotation_between, surface_normals

UP_AXIS = {"z-up": "z", "y-up": "y", "y-down": "-y", "z-down": "-z"}
VECTORS = {
    "x": [1, 0, 0],
    "y": [0, 1, 0],
    "z": [0, 0, 1],
    "down": [0, 0, -1],
    "slanted": [0.48, -0.6, 0.64],
}


def cameras(room: Room) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Depth, intrinsics and poses of a room as the package takes them."""
    K = np.tile(room.K, (len(room.depth), 1, 1))
    return (
        torch.from_numpy(room.depth),
        torch.from_numpy(K).float(),
        torch.from_numpy(room.camera_to_world).float(),
    )


def angle_to_z(direction) -> float:
    x, y, z = np.asarray(direction, dtype=float)
    return float(np.degrees(np.arctan2(np.hypot(x, y), z)))


def assert_rigid(rotation: np.ndarray) -> None:
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
    assert np.linalg.det(rotation) > 0


@pytest.mark.parametrize("world, up", [*((world, None) for world in WORLDS), *UP_AXIS.items()])
def test_after_loading_up_is_z_and_the_floor_is_at_zero(tmp_path, world, up):
    room = box_scene(world=world)
    scene = load_scene(write_plain(tmp_path / "room", *room), up=up)
    room_to_loaded = scene.world_from_capture.double().numpy() @ WORLDS[world]
    assert_rigid(room_to_loaded[:3, :3])
    assert angle_to_z(room_to_loaded[:3, 2]) < (1 if up is None else 0.01)
    floor = (np.abs(box_scene().points()[..., 2]) < 1e-4) & (room.depth > 0)
    loaded = back_project(scene.depth, scene.intrinsics, scene.camera_to_world)
    assert floor.sum() > 1000 and loaded[torch.from_numpy(floor)][:, 2].abs().max() < 0.02


def test_the_note_says_how_much_was_turned_and_moved():
    _, note = align(*cameras(box_scene(world="y-up")), up="y")
    assert note == (
        "gravity: up is the capture's y axis; world turned by 90.0 degrees, "
        "floor moved from -0.80 m to 0"
    )


def test_a_known_floor_height_is_taken_as_it_is():
    transform, note = align(*cameras(box_scene(world="y-up")), up="y", floor=-0.5)
    assert transform[2, 3] == 0.5 and "from -0.50 m" in note


def test_a_scene_that_is_already_upright_is_not_touched():
    torch.testing.assert_close(align(*cameras(box_scene()), up="z", floor=0.0)[0], torch.eye(4))


def test_an_unknown_axis_is_a_value_error():
    with pytest.raises(ValueError, match="up must be one of x, y, z, -x, -y, -z, not 'w'"):
        align(*cameras(box_scene(views=1)), up="w")


def test_without_horizontal_surfaces_the_cameras_tell_up_and_the_note_says_so():
    wall = box_scene(
        poses=np.stack([look((3, y, 1.5), yaw=0, pitch=0) for y in (1, 4)]),
        K=camera(64, 48, focal=2),
    )
    transform, note = align(*cameras(wall))
    assert "no horizontal surface found: up taken from the cameras' mean, check it" in note
    assert "no floor found, lowest point used" in note
    torch.testing.assert_close(transform[:3, :3], torch.eye(3))
    lowest = wall.points()[wall.depth > 0][:, 2].min()
    assert transform[2, 3] == pytest.approx(-lowest, abs=0.06)  # the lowest of every fourth pixel


def test_a_ceiling_tells_up_but_is_no_floor():
    ceiling = box_scene(
        poses=np.stack([look((2, 2.5, 1), yaw, pitch=48) for yaw in (0, 120, 240)]),
        K=camera(64, 48, focal=1.5),
    )
    transform, note = align(*cameras(ceiling))
    assert angle_to_z(transform[:3, 2]) < 1
    assert "estimated from horizontal surfaces" in note
    assert "no floor found, lowest point used" in note


def test_without_any_depth_nothing_fails():
    empty = box_scene(views=2)._replace(depth=np.zeros((2, 48, 64), np.float32))
    transform, note = align(*cameras(empty))
    assert torch.isfinite(transform).all()
    assert "no horizontal surface found" in note and "no floor found" in note


def test_the_floor_is_the_lowest_large_surface_not_the_largest_and_not_stray_points():
    random = np.random.default_rng(0)
    table, floor = random.normal(0.7, 0.005, 3000), random.normal(-0.4, 0.005, 1000)
    heights = np.concatenate([table, floor, random.uniform(-3, -1, 5)])
    points = np.stack([*random.uniform(0, 4, (2, len(heights))), heights], axis=1)
    points = torch.from_numpy(points).float()
    up = torch.tensor([0.0, 0.0, 1.0])
    assert floor_height(points, up.expand_as(points), up) == pytest.approx(-0.4, abs=0.01)
    assert floor_height(points, -up.expand_as(points), up) is None  # ceilings face down


def test_surface_normals_face_the_camera():
    down = look((2, 2.5, 2), yaw=0, pitch=-80)  # sees nothing but floor
    depth, K, poses = cameras(box_scene(poses=down[None], K=camera(64, 48, focal=2)))
    normals, points = surface_normals(back_project(depth, K, poses), depth)
    assert len(normals) > 100 and points[:, 2].abs().max() < 1e-4
    up = torch.tensor([[0.0, 0.0, 1.0]]).expand_as(normals)
    torch.testing.assert_close(normals, up, atol=1e-3, rtol=0)


@pytest.mark.parametrize("a", VECTORS.values(), ids=VECTORS)
@pytest.mark.parametrize("sign", [1, -1], ids=["identical", "opposite"])
def test_identical_and_opposite_vectors_have_a_rotation_too(a, sign):
    a = torch.tensor(a, dtype=torch.float32)
    rotation = rotation_between(a, sign * a)
    assert_rigid(rotation.double().numpy())
    torch.testing.assert_close(rotation @ a, sign * a, atol=1e-5, rtol=0)


@given(st.integers(0, 2**32 - 1), st.floats(0, 180))
@example(seed=0, degrees=179.9)  # a z-down world whose up was estimated to a tenth of a degree
def test_rotation_between_is_the_smallest_rotation_that_turns_a_into_b(seed, degrees):
    frame = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    a, b = frame[0], Rotation.from_rotvec(np.radians(degrees) * frame[2]).apply(frame[0])
    rotation = rotation_between(torch.from_numpy(a).float(), torch.from_numpy(b).float())
    rotation = rotation.double().numpy()
    assert_rigid(rotation)
    np.testing.assert_allclose(rotation @ a, b, atol=1e-3)
    assert np.degrees(Rotation.from_matrix(rotation).magnitude()) == pytest.approx(degrees, abs=0.1)


def test_real_capture_is_turned_from_y_up_and_its_floor_found(hololens_room):
    transform = load_scene(hololens_room, max_frames=20).world_from_capture
    up = transform[2, :3]  # the direction in the capture's world that becomes +z
    assert up[1] > np.cos(np.radians(2))
    assert -transform[2, 3] == pytest.approx(-1.54, abs=0.05)
