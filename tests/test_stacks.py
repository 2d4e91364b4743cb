"""What height RoPE keeps: real swaps, tokens that differ in nothing but height, and a probe that
knows no more than it is told.
"""

import numpy as np
import pytest
import torch

from leovl_mini.experiments.height import compare, interval, probe, sweeps, table, tokens
from leovl_mini.experiments.stacks import (
    SIZE,
    VOXEL,
    exchanged,
    parcels,
    pile,
    see_stacks,
    stacked_rooms,
)
from leovl_mini.perception.encoders import load_encoder
from leovl_mini.rooms.cameras import intrinsics
from leovl_mini.rooms.render import shoot

N = 12


@pytest.fixture(scope="module")
def stacks():
    return see_stacks(N, 0, load_encoder(longest_side=max(SIZE)))


def test_the_two_rooms_are_swaps_of_each_other_seen_by_the_same_cameras():
    rooms, poses = stacked_rooms(0, 0)
    for room, upper in zip(rooms, (1, 2), strict=True):
        top, bottom = sorted(room.objects, key=lambda o: -o.center[2])
        assert top.id == upper
        assert top.center[2] - top.size[2] / 2 == pytest.approx(
            bottom.center[2] + bottom.size[2] / 2
        )
        shot = shoot(room, intrinsics(SIZE, 60.0), poses, SIZE)
        rows = [np.nonzero(shot.instances == o.id)[1].mean() for o in (top, bottom)]
        assert rows[0] < rows[1]  # the row number grows downwards
    first, second = (
        {o.id: (o.size, o.yaw, o.attributes, o.center[:2]) for o in room.objects} for room in rooms
    )
    assert first == second and first[1][2] != first[2][2]


def test_without_rope_exchanged_parcels_give_the_very_same_token(stacks):
    features, heights = parcels(stacks)
    one_voxel = (heights / VOXEL).floor().diff(dim=1)[:, 0] == 0
    clutter = torch.randn(N, 3, features.shape[-1]), 2 + VOXEL * torch.rand(N, 3).argsort(1)
    for pool in ("mean", "max"):
        for others in ((), clutter):
            pillars = pile(exchanged(features), heights, *others)
            plain, turned = tokens(pillars, "none", pool), tokens(pillars, "rope", pool)
            assert torch.allclose(plain[:, 0], plain[:, 1], atol=0 if not others else 1e-5)
            if not others:
                differ = (turned[:, 0] - turned[:, 1]).norm(dim=1) > 0.01 * turned[:, 0].norm(dim=1)
                assert torch.equal(differ, ~one_voxel)


@pytest.mark.parametrize(("wavelength", "same"), [(0.4, True), (0.2, True), (0.8, False)])
def test_a_wavelength_equal_to_the_difference_turns_by_a_whole_circle(stacks, wavelength, same):
    features, _ = parcels(stacks)
    pillars = pile(exchanged(features), torch.tensor([[0.3, 0.7]]).expand(N, 2))
    token = tokens(pillars, wavelength=wavelength)
    assert torch.allclose(token[:, 0], token[:, 1], atol=1e-4) == same


def test_the_probe_reads_what_is_there_also_for_new_colour_pairs_and_nothing_else():
    """Parcels that look like a fixed vector per colour with a little noise."""
    count, generator = 120, torch.Generator().manual_seed(0)
    colours = torch.rand(count, 8, generator=generator).argsort(1)[:, :2]
    looks = torch.randn(8, 32, generator=generator)[colours]
    looks = looks + 0.1 * torch.randn(count, 2, 32, generator=generator)
    pillars = pile(
        looks[:, None].expand(-1, 2, -1, -1), torch.tensor([[0.5, 0.9]]).expand(count, 2)
    )
    folds, pairs = torch.arange(count) % 4, colours[:, 0] ^ colours[:, 1]
    token, plain = tokens(pillars), tokens(pillars, "none")
    assert probe(token, colours, folds).mean() > 0.95 < probe(token, colours, pairs).mean()
    assert (probe(plain, colours, folds) == 0.5).all()

    swap = torch.rand(count, generator=generator) < 0.5  # random labels
    low, high = interval(
        probe(torch.where(swap[:, None, None], token.flip(1), token), colours, folds)
    )[1:]
    assert 0.3 < low < 0.5 < high < 0.7
    # Noise is remembered perfectly by a probe that saw it, and says nothing to one that did not.
    noise = torch.randn(count, 2, 400, generator=generator)
    assert abs(probe(noise, colours, folds, ridge=1e-3).mean() - 0.5) < 0.1


def test_the_table_covers_every_reader_and_exchanged_parcels_without_rope_are_at_chance(stacks):
    found, curves = compare(stacks), sweeps(stacks)
    assert len(found) == 12 and [len(lines) for lines in curves.values()] == [4, 2, 2]
    assert all((right == 0.5).all() for _, right in curves["height difference (m)"]["none, mean"])
    line = "\n| exchanged | none, mean | 50.0% (50.0% to 50.0%) | 50.0% (50.0% to 50.0%) |"
    assert table(found, curves).count(line) == 1
