"""The road from a scene to tokens, on a small scene whose geometry is known: a wall, seen from
three places.
"""

import pytest
import torch
from random_inputs import devices
from torch.testing import assert_close

from leovl_mini.data.samples import sample_room
from leovl_mini.perception.encoders import load_encoder
from leovl_mini.perception.lift import lift
from leovl_mini.scans import load_scene
from leovl_mini.scans.scene import Scene
from leovl_mini.tokens import CondensedGrid, representation
from leovl_mini.tokens.pipeline import object_ids, perceive

VIEWS, HEIGHT, WIDTH, FOCAL = 3, 48, 64, 60.0


def wall() -> Scene:
    """A wall at y = 2.1 m, seen straight on from three places along x, with a hole in the depth of
    every view. It is object 1 up to x = 0.1 m, object 2 from there, and background in its upper
    two thirds.
    """
    camera = [[FOCAL, 0, WIDTH / 2 - 0.5], [0, FOCAL, HEIGHT / 2 - 0.5], [0, 0, 1]]
    pose = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, 0.1], [0, -1, 0, 1.5], [0, 0, 0, 1]])
    poses = pose.repeat(VIEWS, 1, 1)
    poses[:, 0, 3] = torch.tensor([-0.5, 0, 0.5])
    depth = torch.full((VIEWS, HEIGHT, WIDTH), 2.0)
    depth[:, :20, :20] = 0
    shape, random = (VIEWS, HEIGHT, WIDTH, 3), torch.Generator().manual_seed(0)
    rgb = torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
    across = (torch.arange(WIDTH) - (WIDTH / 2 - 0.5)) / FOCAL * 2 + poses[:, 0, 3, None]  # x
    instances = (1 + (across > 0.1).int())[:, None].repeat(1, HEIGHT, 1)
    instances[:, : 2 * HEIGHT // 3] = 0
    return Scene(rgb, depth, torch.tensor(camera).repeat(VIEWS, 1, 1), poses, instances)


@pytest.fixture(scope="module")
def encoder():
    return load_encoder(longest_side=64)


@devices
def test_every_patch_and_token_lies_on_the_wall(encoder, device):
    scene_input = perceive(wall().to(device), CondensedGrid(), encoder.to(device))
    patches, tokens = scene_input.patches, scene_input.tokens
    assert scene_input.features.shape == (VIEWS, 6, 8, encoder.channels)
    # half-seen cells are kept
    assert patches.dropped == VIEWS * 2 * 2 and len(patches) + patches.dropped == VIEWS * 6 * 8
    x, y, z = patches.centers.unbind(1)
    assert_close(y, torch.full_like(y, 2.1))
    side, half = 0.5 + WIDTH / FOCAL, HEIGHT / FOCAL  # metres: the wall is 2 m from the cameras
    assert -side < x.min() < 0.3 - side and side - 0.3 < x.max() < side
    assert 1.5 - half < z.min() < z.max() < 1.5 + half
    assert tokens.features.shape == (len(scene_input), encoder.channels)
    inside = (patches.centers - tokens.centers[tokens.source])[:, :2].abs()
    assert inside.max() <= tokens.cell / 2 + 1e-4


@pytest.mark.parametrize("kind", ["patches", "voxels", "grid", "proxies", "objects"])
def test_the_road_equals_its_stages_called_one_by_one(encoder, kind):
    scene, pool = wall(), representation(kind)
    scene_input = perceive(scene, pool, encoder)
    features = encoder(scene.rgb)
    camera = scene.depth, scene.intrinsics, scene.camera_to_world
    patches = lift(features, *camera, masks=scene.instances)
    tokens = pool(patches)
    assert_close(scene_input.features, features, atol=1e-4, rtol=0)
    assert_close(scene_input.tokens.features, tokens.features, atol=1e-4, rtol=0)
    assert torch.equal(scene_input.tokens.source, tokens.source)
    assert scene_input.kind == kind and scene_input.name == scene.name
    stages = ["2D features", "lift to 3D", f"{kind} tokens"]
    assert list(scene_input.seconds) == stages and min(scene_input.seconds.values()) > 0


def test_a_preset_gives_encoder_and_settings(encoder):
    scene_input = perceive(load_scene(sample_room(), max_frames=2), "grid", preset="nano")
    assert scene_input.tokens.cell == 0.25 and scene_input.features.shape[1:] == (30, 40, 152)
    with pytest.raises(ValueError, match="unknown preset 'huge'"):
        perceive(wall(), preset="huge")


def test_object_ids_of_tokens_equal_a_plain_loop(encoder):
    scene_input = perceive(wall(), CondensedGrid(voxel_size=0.5), encoder)
    shared = 0
    for token, ids in enumerate(scene_input.object_ids.tolist()):
        segments = scene_input.patches.segments[scene_input.tokens.source == token]
        counts = torch.bincount(segments, minlength=3)[1:].tolist()
        order = sorted((1, 2), key=lambda i: -counts[i - 1])
        shared += min(counts) > 0
        if counts[0] != counts[1]:
            assert ids == [i if counts[i - 1] else 0 for i in order]
        assert set(ids) - {0} == {i for i in (1, 2) if counts[i - 1]}
    assert shared


def test_without_masks_there_are_no_object_ids_unless_the_tokens_need_segments(encoder):
    scene = wall()
    scene.instances = None
    plain = perceive(scene, "grid", encoder)
    assert plain.patches.segments is None and (plain.object_ids == 0).all()
    grouped = perceive(scene, "proxies", encoder)
    assert "segments" in grouped.seconds and grouped.patches.segments.max() > 0
    assert len(object_ids(grouped.tokens, grouped.patches)) == len(grouped)


def test_a_scene_without_depth_gives_no_tokens(encoder):
    scene = wall()
    scene.depth.zero_()
    empty = perceive(scene, CondensedGrid(), encoder)
    assert len(empty.patches) == len(empty) == 0 and empty.object_ids.shape == (0, 2)
    assert empty.patches.dropped == VIEWS * 6 * 8
