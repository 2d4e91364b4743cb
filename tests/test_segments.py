"""Segments of captures without masks: on rooms of known geometry, on recorded rooms with known
masks, and on a real capture.
"""

import dataclasses

import numpy as np
import pytest
import torch
from rooms import ROOM, back_projected, box_scene
from torch.testing import assert_close

from leovl_mini.perception.segments import masks, segment, segment_quality
from leovl_mini.perception.surfaces import find, keys_of
from leovl_mini.rooms import DOMAINS, domain_room, record
from leovl_mini.scans import load_scene
from leovl_mini.scans.geometry import scene_points
from leovl_mini.scans.scene import Scene

BOXES = np.array([[[1.2, 2.2, 0], [2.0, 3.0, 0.7]], [[2.5, 1.5, 0], [3.1, 2.1, 0.5]]])
SHARE = 0.95  # of a face's inner pixels that one segment has to hold
# purity, coverage and overlap: about 0.05 below what was measured
WORST = {
    "scannet": (0.9, 0.78, 0.57),
    "rscan": (0.9, 0.72, 0.6),
    "multiscan": (0.92, 0.86, 0.7),
    "arkitscenes": (0.9, 0.86, 0.4),
}


def scene_of(rgb, depth, K, poses) -> Scene:
    tensors = (
        torch.from_numpy(np.asarray(t, dtype=np.float32))
        for t in (depth, np.tile(K, (len(depth), 1, 1)), poses)
    )
    return Scene(torch.from_numpy(rgb), *tensors)


@pytest.fixture(scope="module")
def two_boxes() -> tuple[Scene, np.ndarray]:
    """A grey room with two boxes of the same grey on its floor, from 8 views, and its true faces.

    Faces (V,H,W): 0 = none or within 12 cm of an edge between faces of different bodies, 1 = floor,
    2 = ceiling, 3 to 6 = walls, 7 and 8 = the boxes.
    """
    room = box_scene(8, 160, 120)
    v, u = np.indices(room.depth.shape[1:])
    K = room.K
    rays = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones(u.shape)], -1)
    depth = room.depth.copy()
    # The slab method: in through the last of the near planes, out by the first of the far ones.
    for low, high in BOXES:
        for i, pose in enumerate(room.camera_to_world):
            ray = rays @ pose[:3, :3].T
            ray = np.where(np.abs(ray) < 1e-12, 1e-12, ray)
            to = (np.stack([low, high])[:, None, None] - pose[:3, 3]) / ray
            enter, leave = to.min(0).max(-1), to.max(0).min(-1)
            hit = (enter > 0) & (enter < leave) & (depth[i] > 0)
            depth[i] = np.where(hit, np.minimum(depth[i], enter), depth[i])

    poses = room.camera_to_world
    points = np.stack([back_projected(d, K, p) for d, p in zip(depth, poses, strict=True)])
    planes = [(2, 0), (2, 1), (0, 0), (0, 1), (1, 0), (1, 1)]  # axis, side
    distance = [np.abs(points[..., axis] - ROOM[side, axis]) for axis, side in planes]
    for low, high in BOXES:
        outside = np.maximum(np.maximum(low - points, points - high), 0)
        distance.append(np.linalg.norm(outside, axis=-1))
    distance = np.stack(distance, -1)
    nearest = np.sort(distance, axis=-1)
    certain = (depth > 0) & (nearest[..., 0] < 0.001) & (nearest[..., 1] > 0.12)
    grey = np.full((*depth.shape, 3), 150, dtype=np.uint8)
    return scene_of(grey, depth, K, poses), np.where(certain, distance.argmin(-1) + 1, 0)


def agreement(a: torch.Tensor, b: torch.Tensor) -> float:
    """The share of pixels in a that keep their company in b, whatever the segments are called."""
    pairs, counts = torch.stack([a.ravel(), b.ravel()]).unique(dim=1, return_counts=True)
    best = torch.zeros(int(pairs[0].max()) + 1, dtype=torch.long)
    best = best.scatter_reduce(0, pairs[0].long(), counts, "amax")
    return (best.sum() / a.numel()).item()


def test_two_boxes_a_floor_and_walls_are_one_segment_each(two_boxes):
    scene, faces = two_boxes
    found = segment(scene).numpy()
    main = {}
    for face in np.unique(faces[faces > 0]):
        ids, counts = np.unique(found[faces == face], return_counts=True)
        assert counts.max() >= SHARE * counts.sum(), (
            f"face {face} is cut into {dict(zip(ids, counts, strict=True))}"
        )
        main[face] = ids[counts.argmax()]
    assert set(main) >= {1, 3, 4, 5, 6, 7, 8}
    assert len(set(main.values())) == len(main) and 0 not in main.values()
    assert main[1] == 1, "the floor is the largest surface"
    assert found.max() <= len(main) + 3
    assert (found[scene.depth.numpy() == 0] == 0).all()


def test_sensor_noise_leaves_the_boxes_whole(two_boxes):
    scene, faces = two_boxes
    noise = 1 + 0.005 * torch.randn(scene.depth.shape, generator=torch.Generator().manual_seed(0))
    found = segment(dataclasses.replace(scene, depth=scene.depth * noise)).numpy()
    main = [np.bincount(found[faces == face]) for face in (1, 7, 8)]
    assert all(counts.max() >= 0.9 * counts.sum() for counts in main)
    assert len({int(counts.argmax()) for counts in main} - {0}) == 3


def test_paint_on_a_wall_is_a_segment_of_its_own(two_boxes):
    scene, faces = two_boxes
    points = scene_points_of(scene)
    door = (faces == 3) & (points[..., 1] > 2) & (points[..., 1] < 3) & (points[..., 2] < 2)
    rgb = scene.rgb.clone()
    rgb[torch.from_numpy(door)] = torch.tensor([60, 140, 60], dtype=torch.uint8)
    found = segment(dataclasses.replace(scene, rgb=rgb)).numpy()
    inside, wall = np.bincount(found[door]), np.bincount(found[(faces == 3) & ~door])
    assert inside.argmax() != wall.argmax() and inside.max() > 0.85 * inside.sum()


def scene_points_of(scene: Scene) -> np.ndarray:
    frames = zip(scene.depth.numpy(), scene.camera_to_world.numpy(), strict=True)
    return np.stack([back_projected(d, scene.intrinsics[0].numpy(), p) for d, p in frames])


@pytest.mark.parametrize("domain", DOMAINS)
def test_recorded_rooms(domain):
    scene = record(domain_room(domain, 10), domain, 8)
    found = segment(scene)
    assert found.dtype == torch.int32 and found.shape == scene.depth.shape
    assert (found[scene.depth == 0] == 0).all()
    assert (found > 0).sum() > 0.99 * (scene.depth > 0).sum()
    quality = segment_quality(found, torch.where(scene.depth > 0, scene.instances, 0))
    assert all(q >= worst for q, worst in zip(quality.values(), WORST[domain], strict=True)), (
        quality
    )


def test_the_order_of_the_frames_does_not_matter():
    scene = record(domain_room("scannet", 4), "scannet", 3)
    order = torch.tensor([2, 0, 1])
    names = ("rgb", "depth", "intrinsics", "camera_to_world")
    turned = segment(Scene(**{name: getattr(scene, name)[order] for name in names}))
    found = segment(scene)
    assert torch.equal(found, segment(scene)), "the same frames give the same segments"
    assert agreement(found[order], turned) > 0.98 and agreement(turned, found[order]) > 0.98


def test_ids_are_ordered_by_surface():
    found = segment(scene := record(domain_room("scannet", 5), "scannet", 2))
    ids = found.unique()
    assert_close(
        ids, torch.arange(int(ids[0]), int(ids[-1]) + 1, dtype=torch.int32), msg="no id is left out"
    )
    points, _ = scene_points(scene)
    keys, first = np.unique(keys_of(points.numpy().astype(np.float64), 0.04), return_index=True)
    sizes = np.bincount(found[scene.depth > 0].numpy()[first])[1:]
    assert (
        np.diff(sizes) <= 0.05 * sizes[:-1] + 5
    ).all()  # a pixel or two of rounding at the edge of a voxel


def test_little_or_no_depth():
    scene = record(domain_room("scannet", 4), "scannet", 2)
    scene.depth[:] = 0
    assert not segment(scene).any()
    scene.depth[0, 3, 5] = 2.0
    assert not segment(scene).any(), "one point is no segment"


def test_masks_are_the_scenes_own_or_segments():
    scene = record(domain_room("scannet", 4), "scannet", 1)
    assert masks(scene) is scene.instances
    scene.instances, expected = None, segment(scene)
    assert torch.equal(masks(scene), expected)


def test_quality_by_hand():
    true = torch.tensor([[[0, 0, 1, 1], [2, 2, 2, 2]]], dtype=torch.int32)
    found = torch.tensor([[[1, 1, 1, 2], [3, 3, 3, 0]]], dtype=torch.int32)
    # pure: 2 of segment 1's 3 pixels, 1 of 1, 3 of 3; object 1 is halved, 3 of object 2's 4 pixels
    # lie in segment 3
    expected = {"purity": 6 / 7, "coverage": (1 / 2 + 3 / 4) / 2, "iou": (1 / 2 + 3 / 4) / 2}
    assert segment_quality(found, true) == pytest.approx(expected)
    whole = torch.ones_like(true)  # one segment for everything: overlaps of 2 and 4 out of 8
    assert segment_quality(whole, true) == pytest.approx(
        {"purity": 4 / 8, "coverage": 1, "iou": (2 / 8 + 4 / 8) / 2}
    )
    assert segment_quality(true, true) == {"purity": 1, "coverage": 1, "iou": 1}


def test_quality_of_nothing():
    some, none = torch.ones(1, 2, 2, dtype=torch.int32), torch.zeros(1, 2, 2, dtype=torch.int32)
    assert segment_quality(none, some) == {"purity": 0, "coverage": 0, "iou": 0}
    assert segment_quality(some, none) == {"purity": 1, "coverage": 0, "iou": 0}


def test_voxel_numbers_are_distinct_and_found():
    points = np.array(
        [[0.01, 0.01, 0.01], [-0.01, 0.01, 0.01], [0.05, 0.01, 0.01], [0.01, -3.0, 8.0]]
    )
    keys = np.sort(keys_of(points, 0.04))
    assert len(np.unique(keys)) == 4
    assert (keys[find(keys, keys_of(points, 0.04))] == keys_of(points, 0.04)).all()
    assert find(keys, keys_of(points + 1, 0.04)).tolist() == [-1] * 4


def test_a_real_capture(hololens_room):
    scene = load_scene(hololens_room)
    names = ("rgb", "depth", "intrinsics", "camera_to_world")
    scene = Scene(**{name: getattr(scene, name)[::2] for name in names})
    found, valid = segment(scene), scene.depth > 0
    assert (found >= 0).all() and (found[~valid] == 0).all()
    assert (found[valid] > 0).float().mean() > 0.97
    assert 50 < found.max() < 300
    points, upright = scene_points(scene)[0], []
    for i in range(1, 9):
        spread, axes = np.linalg.eigh(
            np.cov(points[found[valid] == i][::20].numpy().T.astype(np.float64))
        )
        if spread[0] < 0.02**2:  # flat to 2 cm
            upright.append(abs(axes[2, 0]))
    assert len(upright) >= 3, "floor and walls are among the largest"
    assert all(up < 0.05 or up > 0.99 for up in upright), (
        f"horizontal or vertical, but the normals' z are {upright}"
    )
    floor = points[found[valid] == 1][:, 2]
    assert (floor.abs() < 0.1).float().mean() > 0.95, "the floor is the largest"
