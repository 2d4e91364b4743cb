"""All stages in order on a small scene whose geometry is known: a wall seen from three places."""

import pytest
import torch
from random_inputs import devices
from torch.testing import assert_close

from leovl_mini.perception.encoders import load_encoder
from leovl_mini.scans.scene import Scene
from leovl_mini.tokens import CondensedGrid, pipeline

VIEWS, HEIGHT, WIDTH, FOCAL = 3, 48, 64, 60.0


def wall() -> Scene:
    """A wall at y = 2.1 m, seen straight on from three places along x, with a hole in the depth of
    every view.
    """
    intrinsics = torch.tensor(
        [[FOCAL, 0, WIDTH / 2 - 0.5], [0, FOCAL, HEIGHT / 2 - 0.5], [0, 0, 1]]
    )
    poses = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, 0.1], [0, -1, 0, 1.5], [0, 0, 0, 1]]).repeat(
        VIEWS, 1, 1
    )
    poses[:, 0, 3] = torch.tensor([-0.5, 0, 0.5])
    depth = torch.full((VIEWS, HEIGHT, WIDTH), 2.0)
    depth[:, :20, :20] = 0
    rgb = torch.randint(
        0,
        256,
        (VIEWS, HEIGHT, WIDTH, 3),
        dtype=torch.uint8,
        generator=torch.Generator().manual_seed(0),
    )
    return Scene(rgb, depth, intrinsics.repeat(VIEWS, 1, 1), poses)


@pytest.fixture(scope="module")
def parts():
    encoder = load_encoder(longest_side=64)
    return encoder, CondensedGrid(encoder.channels)


@devices
def test_all_stages_fit_together(parts, device):
    encoder, grid = (part.to(device) for part in parts)
    stages = pipeline.run(wall().to(device), encoder, grid)
    features, patches, voxels, tokens = (
        stages.features,
        stages.patches,
        stages.voxels,
        stages.tokens,
    )
    assert features.shape == (VIEWS, 6, 8, encoder.channels)
    assert (
        len(patches) + patches.dropped == VIEWS * 6 * 8 and patches.dropped == VIEWS * 2 * 2
    )  # half-seen cells are kept
    assert torch.equal(patches.features, features[patches.cells.unbind(1)])
    assert len(patches) >= len(voxels) >= len(tokens) > 0
    assert voxels.source.unique().tolist() == list(range(len(voxels)))
    assert tokens.source.unique().tolist() == list(range(len(tokens)))
    assert tokens.features.shape == (len(tokens), encoder.channels)


@devices
def test_everything_lies_on_the_wall(parts, device):
    encoder, grid = (part.to(device) for part in parts)
    stages = pipeline.run(wall().to(device), encoder, grid)
    assert_close(
        stages.patches.centers[:, 1], torch.full((len(stages.patches),), 2.1, device=device)
    )
    left, right = (
        -0.5 - WIDTH / FOCAL,
        0.5 + WIDTH / FOCAL,
    )  # metres: the wall is 2 m from the cameras
    assert (
        left < stages.patches.centers[:, 0].min() < left + 0.3
        and right - 0.3 < stages.patches.centers[:, 0].max() < right
    )
    bottom, top = 1.5 - HEIGHT / FOCAL, 1.5 + HEIGHT / FOCAL
    assert bottom < stages.patches.centers[:, 2].min() < stages.patches.centers[:, 2].max() < top
    inside = (stages.patches.centers[:, :2] - stages.tokens.centers[stages.tokens.source, :2]).abs()
    assert inside.max() <= grid.voxel_size / 2 + 1e-4


@devices
def test_stages_equal_their_parts_called_one_by_one(parts, device):
    encoder, grid = (part.to(device) for part in parts)
    scene = wall().to(device)
    stages = pipeline.run(scene, encoder, grid)
    assert_close(stages.features, encoder(scene.rgb), atol=1e-4, rtol=0)
    assert_close(stages.tokens.features, grid.gather(stages.patches).features, atol=1e-5, rtol=0)
    assert torch.equal(
        stages.voxels.cells, (stages.patches.centers / 0.2).floor().long().unique(dim=0)
    )


def test_every_stage_has_its_seconds(parts):
    seconds = pipeline.run(wall(), *parts).seconds
    assert list(seconds) == ["2D features", "lift to 3D", "voxels", "condensed grid"]
    assert all(s > 0 for s in seconds.values())


def test_a_scene_without_depth_gives_no_tokens(parts):
    scene = wall()
    scene.depth.zero_()
    stages = pipeline.run(scene, *parts)
    assert (
        len(stages.patches) == len(stages.voxels) == len(stages.tokens) == 0
        and stages.patches.dropped == VIEWS * 6 * 8
    )


@pytest.mark.filterwarnings("ignore:.*exceed the budget")
def test_voxels_and_tokens_belong_together_also_above_the_budget(parts):
    encoder, _ = parts
    scene = wall()
    scene.camera_to_world[:, 0, 3] = torch.tensor(
        [-0.07, 0, 0.07]
    )  # neighbouring patches share voxels
    stages = pipeline.run(scene, encoder, CondensedGrid(encoder.channels, budget=7))
    pairs = torch.stack([stages.voxels.source, stages.tokens.source], dim=1).unique(dim=0)
    assert len(pairs) == len(stages.voxels)  # each voxel went into one token
