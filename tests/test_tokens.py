"""Voxels and the condensed grid: against plain loops, and what they promise about order, places,
sources and the budget.
"""

import math
import re
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_inputs import devices, patches_at, random_patches, to_device
from torch.testing import assert_close

from leovl_mini.perception.lift import Patches
from leovl_mini.tokens import CondensedGrid, group_mean, voxelise
from leovl_mini.tokens.base import unique_cells

SIZE = 0.25
WAVELENGTHS = np.geomspace(0.5, 64, 4)  # of the 8 channels of random_patches
rows_of_cells = st.integers(1, 4).flatmap(
    lambda d: st.lists(st.lists(st.integers(-(2**14), 2**14), min_size=d, max_size=d), min_size=1)
)


def permuted(patches: Patches, order: torch.Tensor) -> Patches:
    return Patches(
        patches.features[order], patches.centers[order], patches.cells[order], patches.dropped
    )


def moved(patches: Patches, *cells: int) -> Patches:
    """The same patches, moved by whole cells (exactly: SIZE is a power of two)."""
    return Patches(
        patches.features,
        patches.centers + torch.tensor(cells) * SIZE,
        patches.cells,
        patches.dropped,
    )


def naive_voxels(patches: Patches, size: float) -> dict[tuple, list[int]]:
    """Cell -> the patches inside, in lexicographic order of the cells."""
    found: dict[tuple, list[int]] = {}
    for p, center in enumerate(patches.centers.tolist()):
        found.setdefault(tuple(math.floor(x / size) for x in center), []).append(p)
    return dict(sorted(found.items()))


def turned(feature: np.ndarray, height: float) -> np.ndarray:
    """The rotation of a feature by its height, with complex numbers: channels i and i + C/2 are one
    number.
    """
    waves = (feature[:4] + 1j * feature[4:]) * np.exp(2j * np.pi * height / WAVELENGTHS)
    return np.concatenate([waves.real, waves.imag])


@devices
def test_group_mean_equals_a_plain_loop_and_gives_zero_for_empty_groups(device):
    values, group = torch.randn(20, 3), torch.randint(0, 6, (20,))
    group[group == 2] = 5
    expected = torch.stack(
        [values[group == g].mean(0) if (group == g).any() else torch.zeros(3) for g in range(7)]
    )
    assert_close(group_mean(values.to(device), group.to(device), 7).cpu(), expected)


@given(rows_of_cells)
def test_unique_cells_equals_torch_unique(rows):
    cell = torch.tensor(rows)
    expected, inverse = torch.unique(cell, dim=0, return_inverse=True)
    cells, index = unique_cells(cell)
    assert torch.equal(cells, expected) and torch.equal(index, inverse)


@devices
def test_unique_cells_of_nothing_is_nothing(device):
    cells, index = unique_cells(torch.zeros(0, 3, dtype=torch.long, device=device))
    assert cells.shape == (0, 3) and index.shape == (0,)


@devices
@pytest.mark.parametrize("size", [0.2, 0.5])
def test_voxelise_equals_a_plain_loop(device, size):
    patches = random_patches(500)
    voxels = voxelise(to_device(patches, device), size)
    expected = naive_voxels(patches, size)
    assert [tuple(cell) for cell in voxels.cells.tolist()] == list(expected)
    for voxel, members in enumerate(expected.values()):
        assert_close(
            voxels.features[voxel].cpu(), patches.features[members].mean(0), atol=1e-5, rtol=0
        )
        assert_close(
            voxels.centers[voxel].cpu(), patches.centers[members].mean(0), atol=1e-5, rtol=0
        )
        assert voxels.source[members].tolist() == [voxel] * len(
            members
        )  # every patch is in exactly one voxel


def test_voxel_centres_lie_in_their_cells():
    voxels = voxelise(random_patches(500), SIZE)
    inside = voxels.centers / SIZE - voxels.cells
    assert inside.min() >= -1e-5 and inside.max() <= 1 + 1e-5


@pytest.mark.parametrize("size", [0.0, -0.2])
def test_a_voxel_size_that_is_not_positive_is_refused(size):
    with pytest.raises(ValueError, match="must be positive"):
        voxelise(random_patches(3), size)


@devices
def test_the_order_of_patches_changes_nothing(device):
    patches, order = random_patches(500), torch.randperm(500)
    grid = CondensedGrid(8).to(device)
    one, other = (to_device(p, device) for p in (patches, permuted(patches, order)))
    voxels, again = voxelise(one), voxelise(other)
    assert torch.equal(voxels.cells, again.cells) and torch.equal(
        voxels.source[order.to(device)], again.source
    )
    assert_close(grid(other).features, grid(one).features, atol=1e-5, rtol=0)
    assert_close(grid(other).centers, grid(one).centers, atol=1e-5, rtol=0)


@devices
def test_condense_equals_a_plain_loop_over_pillars(device):
    patches = random_patches(200)
    pooled, cells, pillar = CondensedGrid(8).condense(voxelise(to_device(patches, device), SIZE))
    pillars: dict[tuple, list] = {}
    for x, y, z in (voxels := naive_voxels(patches, SIZE)):
        feature = patches.features[voxels[x, y, z]].mean(0).double().numpy()
        pillars.setdefault((x, y), []).append(turned(feature, (z + 0.5) * SIZE))
    assert [tuple(cell) for cell in cells.tolist()] == list(pillars)
    assert pillar.tolist() == [list(pillars).index((x, y)) for x, y, _ in voxels]
    expected = np.stack([np.mean(column, axis=0) for column in pillars.values()])
    assert max(map(len, pillars.values())) > 2
    assert_close(pooled.double().cpu(), torch.from_numpy(expected), atol=1e-5, rtol=0)


def test_a_token_is_its_pillar_plus_the_embedding_of_its_place():
    patches, grid = random_patches(200), CondensedGrid(8, SIZE)
    voxels, tokens = voxelise(patches, SIZE), grid(patches)
    pooled, cells, pillar = grid.condense(voxels)
    assert_close(tokens.centers[:, :2], (cells + 0.5) * SIZE)
    assert_close(tokens.features, pooled + grid.fourier(tokens.centers[:, :2]))
    assert tokens.cell == SIZE
    for token, height in enumerate(tokens.centers[:, 2]):
        assert_close(height, voxels.centers[pillar == token, 2].mean())


def test_tokens_come_in_raster_order():
    places = CondensedGrid(8)(random_patches(200)).centers[:, :2].tolist()
    assert places == sorted(places) and len({tuple(place) for place in places}) == len(places)


@pytest.mark.parametrize("budget", [750, 20])
@pytest.mark.filterwarnings("ignore:.*exceed the budget")
def test_every_patch_lies_in_the_cell_of_the_token_it_went_into(budget):
    patches = random_patches(300)
    tokens = CondensedGrid(8, 0.2, budget)(patches)
    offset = (patches.centers - tokens.centers[tokens.source])[:, :2]
    assert offset.abs().max() <= tokens.cell / 2 + 1e-5
    assert tokens.source.unique().tolist() == list(range(len(tokens)))


def test_moving_a_scene_by_whole_cells_moves_cells_and_leaves_pooled_features():
    patches, grid = random_patches(200), CondensedGrid(8, SIZE)
    pooled, cells, pillar = grid.condense(voxelise(patches, SIZE))
    pooled2, cells2, pillar2 = grid.condense(voxelise(moved(patches, 5, -11, 0), SIZE))
    assert_close(pooled2, pooled)
    assert torch.equal(cells2, cells + torch.tensor([5, -11])) and torch.equal(pillar2, pillar)


def test_moving_a_scene_up_changes_the_pooled_features():
    patches, grid = random_patches(200), CondensedGrid(8, SIZE)
    pooled, raised = (
        grid.condense(voxelise(p, SIZE))[0] for p in (patches, moved(patches, 0, 0, 3))
    )
    assert (raised - pooled).norm() > 0.1 * pooled.norm()


def test_the_same_feature_at_two_heights_gives_two_tokens():
    patches = patches_at(torch.tensor([[0.1, 0.1, 0.5], [0.9, 0.1, 0.8]]))
    patches.features[1] = patches.features[0]
    pooled, _, _ = CondensedGrid(4).condense(voxelise(patches))
    assert (pooled[0] - pooled[1]).norm() > 0.1 * pooled.norm()


def test_within_the_budget_nothing_is_enlarged_and_nothing_is_said():
    line = torch.tensor([[x + 0.1, 0.0, 0.0] for x in range(20)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokens = CondensedGrid(4, voxel_size=1.0, budget=20)(patches_at(line))
    assert len(tokens) == 20 and tokens.cell == 1.0


@devices
@pytest.mark.parametrize("budget", [4, 7, 50, 90])
def test_above_the_budget_cells_grow_until_all_patches_fit_and_a_warning_tells_the_numbers(
    device, budget
):
    patches = to_device(random_patches(300), device)
    pillars = len({tuple(cell) for cell in (patches.centers[:, :2] / 0.2).floor().tolist()})
    with pytest.warns(UserWarning, match="exceed the budget") as caught:
        tokens = CondensedGrid(8, voxel_size=0.2, budget=budget).to(device)(patches)
    numbers = re.findall(r"\d+\.?\d*", str(caught[0].message))
    assert numbers == [str(pillars), "0.2", str(budget), f"{tokens.cell:.2f}", str(len(tokens))]
    assert len(tokens) <= budget and tokens.cell > 0.2 and tokens.source.min() >= 0


@pytest.mark.filterwarnings("ignore:.*exceed the budget")
@pytest.mark.parametrize("budget", [100, 750])
def test_the_enlarged_grid_uses_most_of_its_budget(budget):
    floor = random_patches(20_000, channels=2, room=8.0)
    assert len(CondensedGrid(2, voxel_size=0.1, budget=budget)(floor)) > 0.6 * budget


@pytest.mark.filterwarnings("ignore:.*exceed the budget")
def test_the_enlarged_grid_does_not_depend_on_the_order_of_patches():
    patches, grid = random_patches(300), CondensedGrid(8, budget=20)
    one, other = grid(patches), grid(permuted(patches, torch.randperm(300)))
    assert one.cell == other.cell
    assert_close(other.features, one.features, atol=1e-5, rtol=0)


def test_a_budget_below_four_is_refused():
    with pytest.raises(ValueError, match="at least 4"):
        CondensedGrid(8, budget=3)


@devices
@pytest.mark.parametrize("count", [0, 1])
def test_no_patches_give_no_tokens_and_one_patch_gives_one(device, count):
    tokens = CondensedGrid(8, budget=4).to(device)(to_device(random_patches(count), device))
    assert (
        len(tokens) == count
        and tokens.centers.shape == (count, 3)
        and tokens.source.tolist() == [0] * count
    )


def test_gradients_reach_every_patch_and_the_position_embedding():
    patches, grid = random_patches(100), CondensedGrid(8)
    patches.features.requires_grad_()
    tokens = grid(patches)
    (tokens.features * torch.randn_like(tokens.features)).sum().backward()
    assert (patches.features.grad.norm(dim=1) > 0).all()
    assert all(p.grad is not None and p.grad.norm() > 0 for p in grid.fourier.parameters())


@devices
def test_the_grid_gives_the_same_tokens_on_every_device(device):
    grid, patches = CondensedGrid(8), random_patches(500)
    expected = grid(patches)
    tokens = grid.to(device)(to_device(patches, device))
    assert_close(tokens.features.cpu(), expected.features, atol=1e-4, rtol=0)
    assert_close(tokens.centers.cpu(), expected.centers, atol=1e-5, rtol=0)
    assert torch.equal(tokens.source.cpu(), expected.source)
