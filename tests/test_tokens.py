"""Voxels and the condensed grid: against plain loops, and what they promise about order, places,
sources and the budget.
"""

import dataclasses
import math
import re
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_inputs import devices, patches_at, permuted, random_patches, to_device
from torch.testing import assert_close

from leovl_mini.perception.lift import Patches
from leovl_mini.tokens import CondensedGrid, group_mean, voxelise
from leovl_mini.tokens.base import unique_cells

SIZE = 0.25
WAVELENGTHS = np.geomspace(0.5, 64, 4)  # of the 8 channels of random_patches
rows_of_cells = st.integers(1, 4).flatmap(
    lambda d: st.lists(st.lists(st.integers(-(2**14), 2**14), min_size=d, max_size=d), min_size=1)
)


def shifted(patches: Patches, *cells: int) -> Patches:
    """The same patches, moved by whole cells (exactly: SIZE is a power of two)."""
    return dataclasses.replace(patches, centers=patches.centers + torch.tensor(cells) * SIZE)


def naive_voxels(patches: Patches, size: float) -> dict[tuple, list[int]]:
    """Cell -> the patches inside, in lexicographic order of the cells."""
    found: dict[tuple, list[int]] = {}
    for p, center in enumerate(patches.centers.tolist()):
        found.setdefault(tuple(math.floor(x / size) for x in center), []).append(p)
    return dict(sorted(found.items()))


def rotated(feature: np.ndarray, height: float) -> np.ndarray:
    """The rotation of a feature by its height, with complex numbers: channels i and i + C/2 are one
    number.
    """
    waves = (feature[:4] + 1j * feature[4:]) * np.exp(2j * np.pi * height / WAVELENGTHS)
    return np.concatenate([waves.real, waves.imag])


# -- groups and cells ------------------------------------------------------------------------------


@devices
def test_group_mean_equals_a_plain_loop_and_gives_zero_for_empty_groups(device):
    values, group = torch.randn(20, 3), torch.randint(0, 6, (20,))
    group[group == 2] = 5
    expected = torch.stack(
        [values[group == g].mean(0) if (group == g).any() else torch.zeros(3) for g in range(7)]
    )
    assert_close(group_mean(values.to(device), group.to(device), 7).cpu(), expected)


@settings(max_examples=40)
@given(rows_of_cells)
def test_unique_cells_equals_torch_unique(rows):
    cell = torch.tensor(rows)
    expected, inverse = torch.unique(cell, dim=0, return_inverse=True)
    cells, index = unique_cells(cell)
    assert torch.equal(cells, expected) and torch.equal(index, inverse)


def test_unique_cells_of_nothing_is_nothing():
    cells, index = unique_cells(torch.zeros(0, 3, dtype=torch.long))
    assert cells.shape == (0, 3) and index.shape == (0,)


def test_more_cells_than_can_be_numbered_are_refused():
    far = torch.tensor([[0, 0, 0], [2**30, 2**30, 2**30]])
    with pytest.raises(ValueError, match="too many to number; are the coordinates in metres"):
        unique_cells(far)


# -- voxels ----------------------------------------------------------------------------------------


@devices
@pytest.mark.parametrize("size", [0.2, 0.5])
def test_voxelise_equals_a_plain_loop(device, size):
    patches = random_patches(500)
    voxels = voxelise(to_device(patches, device), size)
    expected = naive_voxels(patches, size)
    assert [tuple(cell) for cell in voxels.cells.tolist()] == list(expected)
    for voxel, members in enumerate(expected.values()):
        feature, center = patches.features[members].mean(0), patches.centers[members].mean(0)
        assert_close(voxels.features[voxel].cpu(), feature, atol=1e-5, rtol=0)
        assert_close(voxels.centers[voxel].cpu(), center, atol=1e-5, rtol=0)
        assert voxels.source[members].tolist() == [voxel] * len(members)


@pytest.mark.parametrize("size", [0.0, -0.2])
def test_a_voxel_size_that_is_not_positive_is_refused(size):
    with pytest.raises(ValueError, match="must be positive"):
        voxelise(random_patches(3), size)


# -- the condensed grid ----------------------------------------------------------------------------


def test_condense_equals_a_plain_loop_over_pillars():
    patches = random_patches(200)
    pooled, cells, pillar = CondensedGrid().condense(voxelise(patches, SIZE))
    pillars: dict[tuple, list] = {}
    for x, y, z in (voxels := naive_voxels(patches, SIZE)):
        feature = patches.features[voxels[x, y, z]].mean(0).double().numpy()
        pillars.setdefault((x, y), []).append(rotated(feature, (z + 0.5) * SIZE))
    assert [tuple(cell) for cell in cells.tolist()] == list(pillars)
    assert pillar.tolist() == [list(pillars).index((x, y)) for x, y, _ in voxels]
    expected = np.stack([np.mean(column, axis=0) for column in pillars.values()])
    assert max(map(len, pillars.values())) > 2
    assert_close(pooled.double(), torch.from_numpy(expected), atol=1e-5, rtol=0)


def test_a_token_is_its_pillar_in_raster_order():
    patches, grid = random_patches(200), CondensedGrid(SIZE)
    voxels, tokens = voxelise(patches, SIZE), grid(patches)
    pooled, cells, pillar = grid.condense(voxels)
    assert_close(tokens.features, pooled)
    assert_close(tokens.centers[:, :2], (cells + 0.5) * SIZE)
    assert tokens.cell == SIZE and cells.tolist() == sorted(cells.tolist())
    assert torch.equal(tokens.source, pillar[voxels.source])
    for token, height in enumerate(tokens.centers[:, 2]):
        assert_close(height, voxels.centers[pillar == token, 2].mean())


@pytest.mark.parametrize("budget", [750, 20])
@pytest.mark.filterwarnings("ignore:.*exceed the budget")
def test_every_patch_lies_in_the_cell_of_the_token_it_went_into(budget):
    patches = random_patches(300)
    tokens = CondensedGrid(0.2, budget)(patches)
    offset = (patches.centers - tokens.centers[tokens.source])[:, :2]
    assert offset.abs().max() <= tokens.cell / 2 + 1e-5


def test_moving_a_scene_by_whole_cells_moves_cells_and_leaves_pooled_features():
    patches, grid = random_patches(200), CondensedGrid(SIZE)
    pooled, cells, pillar = grid.condense(voxelise(patches, SIZE))
    pooled2, cells2, pillar2 = grid.condense(voxelise(shifted(patches, 5, -11, 0), SIZE))
    assert_close(pooled2, pooled)
    assert torch.equal(cells2, cells + torch.tensor([5, -11])) and torch.equal(pillar2, pillar)


def test_moving_a_scene_up_changes_the_pooled_features():
    patches, grid = random_patches(200), CondensedGrid(SIZE)
    pooled = grid.condense(voxelise(patches, SIZE))[0]
    raised = grid.condense(voxelise(shifted(patches, 0, 0, 3), SIZE))[0]
    assert (raised - pooled).norm() > 0.1 * pooled.norm()


def test_within_the_budget_nothing_is_enlarged_and_nothing_is_said():
    line = torch.tensor([[x + 0.1, 0.0, 0.0] for x in range(20)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokens = CondensedGrid(voxel_size=1.0, budget=20)(patches_at(line))
    assert len(tokens) == 20 and tokens.cell == 1.0


@pytest.mark.parametrize("budget", [4, 7, 50, 90])
def test_above_the_budget_cells_grow_until_all_patches_fit_and_a_warning_tells_the_numbers(budget):
    patches = random_patches(300)
    pillars = len({tuple(cell) for cell in (patches.centers[:, :2] / 0.2).floor().tolist()})
    with pytest.warns(UserWarning, match="exceed the budget") as caught:
        tokens = CondensedGrid(voxel_size=0.2, budget=budget)(patches)
    numbers = re.findall(r"\d+\.?\d*", str(caught[0].message))
    assert numbers == [str(pillars), "0.2", str(budget), f"{tokens.cell:.2f}", str(len(tokens))]
    assert len(tokens) <= budget and tokens.cell > 0.2 and tokens.source.min() >= 0


@pytest.mark.filterwarnings("ignore:.*exceed the budget")
def test_the_enlarged_grid_uses_most_of_its_budget():
    floor = random_patches(20_000, channels=2, room=8.0)
    assert len(CondensedGrid(voxel_size=0.1, budget=750)(floor)) > 0.6 * 750


@pytest.mark.filterwarnings("ignore:.*exceed the budget")
def test_the_enlarged_grid_does_not_depend_on_the_order_of_patches():
    patches, grid = random_patches(300), CondensedGrid(budget=20)
    one, other = grid(patches), grid(permuted(patches, torch.randperm(300)))
    assert one.cell == other.cell
    assert_close(other.features, one.features, atol=1e-5, rtol=0)


@pytest.mark.parametrize("wrong", [{"budget": 3}, {"pool": "sum"}, {"height": "sine"}])
def test_grid_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        CondensedGrid(**wrong)
