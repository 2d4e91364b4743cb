"""What height RoPE keeps: real swaps, tokens that differ in nothing but height, a probe that knows
no more than it is told.
"""

import numpy as np
import pytest
import torch

from leovl_mini.experiments.height import (
    SIZE,
    VOXEL,
    answers,
    compare,
    exchanged,
    interval,
    parcels,
    pile,
    see_stacks,
    stacked_rooms,
    sweeps,
    table,
    tokens,
)
from leovl_mini.perception.encoders import load_encoder
from leovl_mini.rooms.cameras import intrinsics
from leovl_mini.rooms.render import shoot
from leovl_mini.tokens.positions import height_rope

N = 12


@pytest.fixture(scope="module")
def encoder():
    return load_encoder(longest_side=max(SIZE))


@pytest.fixture(scope="module")
def stacks(encoder):
    return see_stacks(N, 0, encoder)


def bottoms(room):
    return {o.id: o.center[2] - o.size[2] / 2 for o in room.objects}


@pytest.mark.parametrize("index", range(6))
def test_the_two_rooms_are_swaps_of_each_other(index):
    (first, second), _ = stacked_rooms(0, index)
    for room, upper, lower in ((first, 1, 2), (second, 2, 1)):
        size = {o.id: o.size for o in room.objects}
        assert bottoms(room)[upper] == pytest.approx(bottoms(room)[lower] + size[lower][2])
    swapped = {o.id: o for o in second.objects}
    for item in first.objects:
        other = swapped[item.id]
        assert (item.size, item.yaw, item.attributes, item.center[:2]) == (
            other.size,
            other.yaw,
            other.attributes,
            other.center[:2],
        )
    assert min(bottoms(first).values()) == pytest.approx(min(bottoms(second).values()))
    assert first.objects[0].attributes != first.objects[1].attributes


def test_both_parcels_are_seen_and_the_upper_one_is_the_higher(stacks):
    rooms, poses = stacked_rooms(0, 0)
    for room, upper in zip(rooms, (1, 2), strict=True):
        shot = shoot(room, intrinsics(SIZE, 60.0), poses, SIZE)
        rows = [np.nonzero(shot.instances == i)[1].mean() for i in (upper, 3 - upper)]
        assert rows[0] < rows[1]  # the row number grows downwards
    number = (stacks.pillars.centers[:, 0] / VOXEL).long()
    assert number.unique().tolist() == list(range(2 * N))
    for i in range(2 * N):
        z = [
            stacks.pillars.centers[(number == i) & (stacks.pillars.segments == s), 2].mean()
            for s in (1, 2)
        ]
        assert (z[0] > z[1]) == (i % 2 == 0)


def test_without_rope_exchanged_parcels_give_the_very_same_token(stacks):
    features, heights = parcels(stacks)
    pillars = pile(exchanged(features), heights)
    one_voxel = (heights / VOXEL).floor().diff(dim=1)[:, 0] == 0
    for pool in ("mean", "max"):
        plain, turned = tokens(pillars, "none", pool), tokens(pillars, "rope", pool)
        assert torch.equal(plain[:, 0], plain[:, 1])
        differ = (turned[:, 0] - turned[:, 1]).norm(dim=1) > 0.01 * turned[:, 0].norm(dim=1)
        assert torch.equal(differ, ~one_voxel)
    seen = tokens(pile(features, heights), "none")  # features from two pictures are not the same
    assert ((seen[:, 0] - seen[:, 1]).norm(dim=1) > 0.01 * seen[:, 0].norm(dim=1)).all()


def test_the_rotated_mean_is_the_formula(stacks):
    features, heights = parcels(stacks)
    token = tokens(pile(features, torch.tensor([[0.5, 0.9]]).expand(N, 2)))
    upper, lower = (
        height_rope(features[:, 1, i], torch.full((N,), z)) for i, z in ((1, 0.9), (0, 0.5))
    )
    assert torch.allclose(token[:, 1], (upper + lower) / 2, atol=1e-5)


def test_clutter_is_the_same_in_both_orders(stacks):
    features, heights = parcels(stacks)
    others, z = torch.randn(N, 3, features.shape[-1]), 2 + VOXEL * torch.rand(N, 3).argsort(1)
    plain = tokens(pile(exchanged(features), heights, others, z), "none")
    assert torch.allclose(plain[:, 0], plain[:, 1], atol=1e-5)
    assert not torch.allclose(plain, tokens(pile(exchanged(features), heights), "none"), atol=0.01)


def test_one_wavelength_equal_to_the_difference_turns_by_a_whole_circle(stacks):
    features, _ = parcels(stacks)
    pillars = pile(exchanged(features), torch.tensor([[0.3, 0.7]]).expand(N, 2))
    for wavelength, same in ((0.4, True), (0.2, True), (0.8, False)):
        token = tokens(pillars, wavelength=wavelength)
        assert torch.allclose(token[:, 0], token[:, 1], atol=1e-4) == same


def synthetic(n=120, channels=32, seed=0):
    """Stacks whose parcels are a fixed vector per colour with a little noise."""
    generator = torch.Generator().manual_seed(seed)
    colours = torch.rand(n, 8, generator=generator).argsort(1)[:, :2]
    looks = torch.randn(8, channels, generator=generator)[colours] + 0.1 * torch.randn(
        n, 2, channels, generator=generator
    )
    return looks[:, None].expand(-1, 2, -1, -1), colours, torch.arange(n) % 4


def test_the_probe_reads_what_is_there_also_for_new_colour_pairs_and_nothing_else():
    looks, colours, folds = synthetic()
    heights = torch.tensor([[0.5, 0.9]]).expand(len(looks), 2)
    token, plain = tokens(pile(looks, heights)), tokens(pile(looks, heights), "none")
    assert answers(token, colours, folds).mean() > 0.95
    assert answers(token, colours, colours[:, 0] ^ colours[:, 1]).mean() > 0.95
    assert (answers(plain, colours, folds) == 0.5).all()
    swap = torch.rand(len(looks), generator=torch.Generator().manual_seed(3)) < 0.5  # random labels
    shuffled = torch.where(swap[:, None, None], token.flip(1), token)
    low, high = interval(answers(shuffled, colours, folds))[1:]
    assert 0.3 < low < 0.5 < high < 0.7
    assert torch.equal(
        answers(token * 0 + 1, colours, folds), torch.full((len(looks),), 0.5)
    )  # constant tokens: no preference


def test_every_stack_is_answered_by_a_probe_that_never_saw_it():
    """Tokens of pure noise are remembered perfectly by a probe that saw them, and say nothing to
    one that did not.
    """
    colours, folds = synthetic()[1:]
    noise = torch.randn(len(colours), 2, 400, generator=torch.Generator().manual_seed(1))
    assert abs(answers(noise, colours, folds, ridge=1e-3).mean() - 0.5) < 0.1


def test_xor_folds_hold_out_whole_colour_pairs():
    """Folds by i ^ j: the pairs of one fold are of eight different colours, and occur in no other
    fold.
    """
    pairs = [(i, j) for i in range(8) for j in range(i + 1, 8)]
    for k in range(1, 8):
        held_out = [p for p in pairs if p[0] ^ p[1] == k]
        assert sorted(sum(held_out, ())) == list(range(8))


def test_interval():
    mean, low, high = interval(torch.tensor([0.0, 1.0]).repeat(200))
    assert (
        mean == 0.5
        and low == pytest.approx(0.45, abs=0.02)
        and high == pytest.approx(0.55, abs=0.02)
    )
    assert interval(torch.full((50,), 0.5)) == (0.5, 0.5, 0.5)


def test_only_the_first_colours_are_used():
    used = {
        o.attributes["colour"]
        for i in range(20)
        for o in stacked_rooms(0, i, colours=3)[0][0].objects
    }
    assert used == {"red", "blue", "green"}


def test_the_same_seed_gives_the_same_numbers(encoder, stacks):
    again, other = see_stacks(2, 0, encoder), see_stacks(2, 1, encoder)
    assert torch.equal(again.colours, stacks.colours[:2])
    assert torch.allclose(tokens(again.pillars), tokens(stacks.pillars)[:2], atol=1e-4)
    assert not torch.allclose(tokens(other.pillars), tokens(again.pillars), atol=0.1)


def test_the_experiment_covers_every_reader_and_exchanged_parcels_without_rope_are_at_chance(
    stacks,
):
    found = compare(stacks)
    assert len(found) == 12
    for (kind, reader), right in found.items():
        assert all(len(r) == N for r in right.values())
        if kind == "exchanged" and reader.startswith("none"):
            assert all((r == 0.5).all() for r in right.values())
    curves = sweeps(stacks)
    assert [len(lines) for lines in curves.values()] == [4, 2, 2]
    assert all((right == 0.5).all() for _, right in curves["height difference (m)"]["none, mean"])
    text = table(found, curves)
    assert (
        text.count("\n| exchanged | none, mean | 50.0% (50.0% to 50.0%) | 50.0% (50.0% to 50.0%) |")
        == 1
    )


def test_two_things_in_one_voxel_are_lost_also_with_rope():
    looks = synthetic()[0]
    token = tokens(pile(looks, torch.tensor([[0.62, 0.78]]).expand(len(looks), 2)))
    assert torch.equal(token[:, 0], token[:, 1])
