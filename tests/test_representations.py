"""What all representations share, and patches, voxels, grid options, proxies and objects: against
plain loops and scikit-learn, and what they promise.
"""

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_inputs import devices, permuted, random_patches, to_device
from sklearn.cluster import KMeans
from torch.testing import assert_close

from leovl_mini.perception.lift import Patches, lift, patch_segments
from leovl_mini.rooms import make_room, record
from leovl_mini.tokens import (
    REPRESENTATIONS,
    CondensedGrid,
    ObjectTokens,
    PatchTokens,
    Proxies,
    VoxelTokens,
    representation,
)
from leovl_mini.tokens.positions import height_rope
from leovl_mini.tokens.proxies import allocate, breadth_first, kmeans
from leovl_mini.tokens.voxels import farthest_points, voxelise

SMALL_BUDGETS = {"patches": 50, "voxels": 50, "grid": 20, "proxies": 50, "objects": 3}
every_representation = pytest.mark.parametrize("name", REPRESENTATIONS)
pytestmark = pytest.mark.filterwarnings("ignore:.*exceed the budget")


def labelled(count: int = 300, groups: int = 5) -> Patches:
    return random_patches(count, groups=groups)


def same_partition(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two numberings put the same things together."""
    pairs = torch.stack([a, b], 1).unique(dim=0)
    return len(pairs) == len(a.unique()) == len(b.unique())


@pytest.fixture(scope="module")
def room_patches() -> Patches:
    """A rendered room with random features."""
    scene = record(make_room(3), "scannet", 6)
    features = torch.randn(6, 24, 32, 16, generator=torch.Generator().manual_seed(0))
    camera = scene.depth, scene.intrinsics, scene.camera_to_world
    return lift(features, *camera, masks=scene.instances)


# -- what all share --------------------------------------------------------------------------------


@every_representation
def test_every_token_is_made_of_patches_and_the_budget_holds(name):
    tokens = representation(name, budget=SMALL_BUDGETS[name])(labelled())
    assert 0 < len(tokens) <= SMALL_BUDGETS[name]
    assert tokens.features.shape == (len(tokens), 8) and tokens.source.shape == (300,)
    assert tokens.source.min() >= -1
    assert set(tokens.source[tokens.source >= 0].tolist()) == set(range(len(tokens)))
    assert tokens.features.isfinite().all() and tokens.centers.isfinite().all()


@every_representation
@pytest.mark.parametrize("count", [0, 1])
def test_no_patches_give_no_tokens_and_one_patch_one_token(name, count):
    segments = torch.ones(count, dtype=torch.long)
    tokens = representation(name)(dataclasses.replace(random_patches(count), segments=segments))
    assert tokens.features.shape == (count, 8) and tokens.centers.shape == (count, 3)
    assert tokens.source.tolist() == [0] * count


@every_representation
def test_the_order_of_frames_changes_nothing(name):
    patches, order = labelled(), torch.randperm(300, generator=torch.Generator().manual_seed(1))
    pool = representation(name, budget=SMALL_BUDGETS[name])
    first, second = pool(patches), pool(permuted(patches, order))
    assert same_partition(first.source[order], second.source)
    other = dict(zip(first.source[order].tolist(), second.source.tolist(), strict=True))
    other = [other[i] for i in range(len(first))]
    assert_close(second.features[other], first.features, atol=1e-4, rtol=1e-4)


@every_representation
def test_gradients_reach_the_features_of_the_patches_that_are_kept(name):
    patches = labelled()
    patches.features.requires_grad_()
    tokens = representation(name, budget=SMALL_BUDGETS[name])(patches)
    tokens.features.square().sum().backward()
    kept, gradient = tokens.source >= 0, patches.features.grad
    assert (gradient[kept] != 0).any(1).all() and (gradient[~kept] == 0).all()


@every_representation
@devices
def test_every_device_gives_the_same_tokens_every_time(name, device):
    patches, pool = random_patches(500, groups=5), representation(name, budget=60)
    expected, tokens = pool(patches), pool(to_device(patches, device))
    assert torch.equal(tokens.source.cpu(), expected.source)
    assert_close(tokens.features.cpu(), expected.features, atol=1e-4, rtol=0)
    assert_close(tokens.centers.cpu(), expected.centers, atol=1e-5, rtol=0)


def test_within_their_budgets_representations_say_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in REPRESENTATIONS:
            representation(name)(labelled())


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(dataclasses.FrozenInstanceError):
        CondensedGrid().budget = 2  # would pass the check of __post_init__ by


def test_an_unknown_name_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="patches, voxels, grid, proxies, objects"):
        representation("cubes")


# -- patches, voxels, grid options -----------------------------------------------------------------


def test_a_patch_token_is_the_feature_of_its_patch():
    patches = labelled(40)
    tokens = PatchTokens()(patches)
    assert torch.equal(tokens.features, patches.features)
    assert torch.equal(tokens.centers, patches.centers)
    assert torch.equal(tokens.source, torch.arange(40))


def test_voxel_tokens_equal_a_plain_loop_and_keep_the_places_of_their_patches():
    patches = labelled()
    tokens = VoxelTokens(voxel_size=0.5, budget=None)(patches)
    for k in range(len(tokens)):
        mean = patches.features[tokens.source == k].mean(0)
        assert_close(tokens.features[k], mean, atol=1e-5, rtol=1e-5)
    assert torch.equal(tokens.source, voxelise(patches, 0.5).source)
    assert torch.equal(tokens.points, patches.centers)


@pytest.mark.parametrize("reduce", ["uniform", "farthest"])
def test_reducing_voxels_keeps_whole_voxels(reduce):
    patches = labelled()
    full = VoxelTokens(0.25, budget=None)(patches)
    tokens = VoxelTokens(0.25, budget=40, reduce=reduce)(patches)
    assert len(tokens) == 40
    for k in range(40):
        voxel = full.source[tokens.source == k].unique()
        assert len(voxel) == 1 and (tokens.source[full.source == voxel] == k).all()
        assert_close(tokens.features[k], full.features[voxel[0]])


def test_coarser_voxels_keep_all_patches():
    tokens = VoxelTokens(0.25, budget=40, reduce="coarser")(labelled())
    assert len(tokens) <= 40 and tokens.cell > 0.25 and (tokens.source >= 0).all()


def test_farthest_points_equal_a_plain_loop_and_spread_better_than_chance():
    points = random_patches(200).centers
    chosen = farthest_points(points, 20).tolist()
    assert chosen[0] == int((points - points.mean(0)).norm(dim=1).argmax())
    for i in range(1, 20):
        to_chosen = torch.cdist(points, points[chosen[:i]]).amin(1)
        assert float(to_chosen[chosen[i]]) == pytest.approx(float(to_chosen.max()), abs=1e-5)
    radius = torch.cdist(points, points[chosen]).amin(1).max()
    assert radius < torch.cdist(points, points[:20]).amin(1).max()
    assert len(farthest_points(points, 500)) == 200


@pytest.mark.parametrize(
    "wrong", [{"reduce": "first"}, {"budget": 0}, {"budget": 7, "reduce": "coarser"}]
)
def test_voxel_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="reduce must be|budget is too small"):
        VoxelTokens(**wrong)


@pytest.mark.parametrize("pool", ["mean", "max"])
@pytest.mark.parametrize("height", ["rope", "none"])
def test_grid_options_equal_a_plain_loop(pool, height):
    grid, voxels = CondensedGrid(0.5, height=height, pool=pool), voxelise(labelled(), 0.5)
    pooled, cells, pillar = grid.condense(voxels)
    z = (voxels.cells[:, 2] + 0.5) * 0.5
    turned = height_rope(voxels.features, z) if height == "rope" else voxels.features
    for k in range(len(cells)):
        mine = turned[pillar == k]
        expected = mine.amax(0) if pool == "max" else mine.mean(0)
        assert_close(pooled[k], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["voxels", "grid"])
def test_turning_a_scene_by_a_quarter_turns_cells_and_keeps_what_belongs_together(name):
    patches, pool = labelled(), representation(name, voxel_size=0.25)
    x, y, z = patches.centers.T
    before = pool(patches)
    after = pool(dataclasses.replace(patches, centers=torch.stack([-y, x, z], 1)))
    assert same_partition(before.source, after.source)
    one, other = before.features[before.source], after.features[after.source]
    assert_close(other, one, atol=1e-5, rtol=1e-5)


# -- segments of patches ---------------------------------------------------------------------------


@given(
    st.integers(3, 9), st.integers(3, 9), st.integers(1, 3), st.integers(1, 3), st.integers(0, 999)
)
def test_a_patch_takes_the_segment_with_the_largest_area(height, width, rows, columns, seed):
    random = torch.Generator().manual_seed(seed)
    masks = torch.randint(0, 4, (2, height, width), generator=random, dtype=torch.int32)
    found = patch_segments(masks, rows, columns)
    for v, i, j in np.ndindex(2, rows, columns):
        vertical = slice(i * height // rows, (i + 1) * height // rows)
        horizontal = slice(j * width // columns, (j + 1) * width // columns)
        counts = np.bincount(masks[v, vertical, horizontal].flatten().numpy(), minlength=4)
        assert counts[found[v, i, j]] == counts.max()


@pytest.mark.parametrize("name", ["proxies", "objects"])
def test_tokens_of_objects_ask_for_masks(name):
    assert REPRESENTATIONS[name].needs_segments
    with pytest.raises(ValueError, match="give lift.. masks"):
        representation(name)(random_patches(20))


# -- proxies ---------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 400), min_size=1, max_size=30), st.integers(1, 500))
def test_allocation_is_exact_proportional_and_never_zero(sizes, extra):
    sizes = torch.tensor(sizes)
    budget = len(sizes) + extra
    counts = allocate(sizes, budget)
    assert int(counts.sum()) == min(budget, int(sizes.sum()))
    assert (counts >= 1).all() and (counts <= sizes).all()
    order = sizes.argsort()
    assert (counts[order].diff() >= -1).all()  # larger groups do not get less (but for rounding)


def test_allocation_by_hand():
    # 10 proxies: one each, the remaining 7 as 70 : 20 : 10 = 4.9, 1.4, 0.7 -> 4, 1, 0, and the two
    # missing to .9 and .7
    assert allocate(torch.tensor([70, 20, 10]), 10).tolist() == [6, 2, 2]
    with pytest.raises(ValueError, match="not enough"):
        allocate(torch.tensor([5, 5, 5]), 2)


def test_clusters_are_as_tight_as_those_of_scikit_learn(room_patches):
    group = room_patches.segments.unique(return_inverse=True)[1]
    counts = allocate(torch.bincount(group), 300)
    cluster = kmeans(room_patches.centers, group, counts)
    first, ours, theirs = counts.cumsum(0) - counts, 0.0, 0.0
    for g, k in enumerate(counts.tolist()):
        points = room_patches.centers[group == g].numpy()
        mine = (cluster[group == g] - first[g]).numpy()
        assert sorted(set(mine.tolist())) == list(range(k))  # inside the group, and none empty
        means = np.stack([points[mine == i].mean(0) for i in range(k)])
        ours += ((points - means[mine]) ** 2).sum()
        theirs += KMeans(k, n_init=1, random_state=0).fit(points).inertia_
    assert ours <= 1.02 * theirs


def test_every_proxy_belongs_to_one_object_and_every_object_has_one(room_patches):
    tokens = Proxies(budget=120)(room_patches)
    pairs = torch.stack([tokens.source, room_patches.segments], 1).unique(dim=0)
    assert len(pairs) == len(tokens) == 120
    assert set(room_patches.segments.unique().tolist()) == set(pairs[:, 1].tolist())


def test_without_groups_proxies_mix_objects(room_patches):
    source = Proxies(budget=120, grouped=False)(room_patches).source
    assert len(torch.stack([source, room_patches.segments], 1).unique(dim=0)) > 120


def test_an_equal_number_for_every_object(room_patches):
    source = Proxies(per_object=2)(room_patches).source
    pairs = torch.stack([source, room_patches.segments], 1).unique(dim=0)
    assert set(torch.bincount(pairs[:, 1])[room_patches.segments.unique()].tolist()) <= {1, 2}


def test_a_proxy_is_the_mean_of_its_patches_turned_by_its_height():
    patches = labelled()
    tokens = Proxies(budget=40)(patches)
    for k in range(40):
        mine = tokens.source == k
        center = patches.centers[mine].mean(0)
        expected = height_rope(patches.features[mine].mean(0)[None], center[2:])[0]
        assert_close(tokens.features[k], expected, atol=1e-5, rtol=1e-5)
        assert_close(tokens.centers[k], center, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("budget", [1, 3])
def test_more_groups_than_proxies_share_and_a_warning_says_so(budget):
    with pytest.warns(UserWarning, match="smallest"):
        tokens = Proxies(budget=budget)(labelled(groups=9))
    assert len(tokens) == budget and (tokens.source >= 0).all()


def test_points_in_one_place_still_fill_every_cluster():
    points, group = torch.zeros(12, 3), torch.tensor([0] * 6 + [1] * 6)
    cluster = kmeans(points, group, torch.tensor([6, 2])).tolist()
    assert sorted(cluster[:6]) == [0, 1, 2, 3, 4, 5] and set(cluster[6:]) == {6, 7}


def test_breadth_first_by_hand():
    # a line 0-1-2 near the origin, and far away a pair 3-4 that one neighbour each does not connect
    # to it
    centers = torch.tensor([[0.0, 0, 0], [1.0, 0, 0], [2.1, 0, 0], [50.0, 0, 0], [49.5, 0, 0]])
    assert breadth_first(centers, torch.tensor([1.1, 0.0, 0.0]), 1).tolist() == [1, 0, 2, 4, 3]


@given(st.integers(1, 60), st.integers(1, 8), st.integers(0, 999))
def test_reading_visits_each_proxy_once(count, neighbours, seed):
    centers = random_patches(count, seed=seed).centers
    order = breadth_first(centers, torch.zeros(3), neighbours)
    assert sorted(order.tolist()) == list(range(count))
    assert int(order[0]) == int(centers.norm(dim=1).argmin())


def test_reading_jumps_less_than_a_random_order(room_patches):
    centers = Proxies(budget=200)(room_patches).centers
    jumps = centers.diff(dim=0).norm(dim=1).mean()
    shuffled = centers[torch.randperm(200, generator=torch.Generator().manual_seed(0))]
    assert jumps < 0.7 * shuffled.diff(dim=0).norm(dim=1).mean()


@pytest.mark.parametrize("wrong", [{"budget": 0}, {"per_object": 0}])
def test_proxy_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="at least 1"):
        Proxies(**wrong)


# -- objects ---------------------------------------------------------------------------------------


def test_object_tokens_equal_a_plain_loop_and_leave_the_background_out():
    patches = labelled()
    tokens = ObjectTokens()(patches)
    assert len(tokens) == 4 and (tokens.source == patches.segments - 1).all()
    for k in range(4):
        mine = patches.segments == k + 1
        center = patches.centers[mine].mean(0)
        expected = height_rope(patches.features[mine].mean(0)[None], center[2:])[0]
        assert_close(tokens.features[k], expected, atol=1e-5, rtol=1e-5)


def test_above_the_budget_the_largest_objects_stay():
    patches = labelled(groups=6)
    sizes = torch.bincount(patches.segments)[1:]
    kept = set((sizes.argsort(descending=True)[:2] + 1).tolist())
    tokens = ObjectTokens(budget=2)(patches)
    assert set(patches.segments[tokens.source >= 0].tolist()) == kept
