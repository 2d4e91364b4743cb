"""Patches, voxels, grid options, proxies and objects: against plain loops and scikit-learn, and
what they promise.
"""

import dataclasses
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_inputs import devices, random_patches, to_device
from sklearn.cluster import KMeans
from torch.testing import assert_close

from leovl_mini.perception.lift import Patches, lift, patch_segments
from leovl_mini.rooms import make_room, render
from leovl_mini.tokens import (
    REPRESENTATIONS,
    CondensedGrid,
    ObjectTokens,
    PatchTokens,
    Proxies,
    VoxelTokens,
    representation,
)
from leovl_mini.tokens.positions import height_rope, sine_encoding
from leovl_mini.tokens.proxies import allocate, breadth_first, kmeans
from leovl_mini.tokens.voxels import farthest_points, voxelise

SMALL_BUDGETS = {"patches": 50, "voxels": 50, "grid": 20, "proxies": 50, "objects": 3}


def labelled(count: int = 300, groups: int = 5, seed: int = 0, channels: int = 8) -> Patches:
    """Random patches in a 2 m cube; segment 0 is the background."""
    patches = random_patches(count, channels, seed=seed)
    segments = torch.randint(0, groups, (count,), generator=torch.Generator().manual_seed(seed))
    return dataclasses.replace(patches, segments=segments, origin=torch.zeros(3))


def permuted(patches: Patches, order: torch.Tensor) -> Patches:
    features, centers, cells, segments = (
        x[order] for x in (patches.features, patches.centers, patches.cells, patches.segments)
    )
    return dataclasses.replace(
        patches, features=features, centers=centers, cells=cells, segments=segments
    )


def on(device: str, patches: Patches) -> Patches:
    moved = to_device(patches, device)
    return dataclasses.replace(
        moved, segments=patches.segments.to(device), origin=patches.origin.to(device)
    )


def same_partition(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two numberings put the same things together."""
    pairs = torch.stack([a, b], 1).unique(dim=0)
    return len(pairs) == len(a.unique()) == len(b.unique())


@pytest.fixture(scope="module")
def room_patches() -> Patches:
    scene = render(make_room(3), 6)
    features = torch.randn(6, 24, 32, 16, generator=torch.Generator().manual_seed(0))
    return lift(
        features, scene.depth, scene.intrinsics, scene.camera_to_world, masks=scene.instances
    )


# -- what all share --------------------------------------------------------------------------------


@devices
@pytest.mark.parametrize("name", REPRESENTATIONS)
@pytest.mark.filterwarnings("ignore:.*exceed the budget")
def test_every_token_is_made_of_patches_and_the_budget_holds(name, device):
    patches = on(device, labelled())
    module = representation(name, budget=SMALL_BUDGETS[name]).to(device)
    tokens = module(patches)
    assert 0 < len(tokens) <= SMALL_BUDGETS[name] and tokens.source.shape == (300,)
    assert tokens.source.min() >= -1 and set(tokens.source[tokens.source >= 0].tolist()) == set(
        range(len(tokens))
    )
    assert tokens.features.isfinite().all() and tokens.centers.isfinite().all()


@pytest.mark.parametrize("name", REPRESENTATIONS)
@pytest.mark.parametrize("count", [0, 1])
def test_no_patches_give_no_tokens_and_one_patch_one_token(name, count):
    tokens = representation(name)(
        dataclasses.replace(labelled(count), segments=torch.ones(count, dtype=torch.long))
    )
    assert (
        len(tokens) == count
        and tokens.features.shape == (count, 8)
        and tokens.source.tolist() == [0] * count
    )


@pytest.mark.parametrize("name", REPRESENTATIONS)
@pytest.mark.filterwarnings("ignore:.*exceed the budget")
def test_the_order_of_frames_changes_nothing(name):
    patches, order = labelled(), torch.randperm(300, generator=torch.Generator().manual_seed(1))
    module = representation(name, budget=SMALL_BUDGETS[name])
    first, second = module(patches), module(permuted(patches, order))
    assert same_partition(first.source[order], second.source)
    token_of = {
        a: b
        for a, b in zip(first.source[order].tolist(), second.source.tolist(), strict=True)
        if a >= 0
    }
    assert_close(
        second.features[[token_of[i] for i in range(len(first))]],
        first.features,
        atol=1e-4,
        rtol=1e-4,
    )


@pytest.mark.parametrize("name", REPRESENTATIONS)
@pytest.mark.filterwarnings("ignore:.*exceed the budget")
def test_weights_can_be_saved_and_loaded_and_gradients_flow(name):
    patches = labelled()
    features = patches.features.clone().requires_grad_()
    module, other = (representation(name, budget=SMALL_BUDGETS[name]) for _ in range(2))
    other.load_state_dict(module.state_dict())
    tokens = module(dataclasses.replace(patches, features=features))
    assert_close(other(patches).features, tokens.features.detach())
    tokens.features.square().sum().backward()
    kept = tokens.source >= 0
    assert (features.grad[kept] != 0).any(1).all() and (features.grad[~kept] == 0).all()
    assert all((p.grad != 0).any() for n, p in module.named_parameters() if "mlp.3.bias" not in n)


@pytest.mark.parametrize("name", ["patches", "voxels", "grid", "proxies", "objects"])
def test_position_embeddings_have_the_scale_of_the_features(name):
    patches = labelled(400, channels=48)
    silent = dataclasses.replace(patches, features=torch.zeros_like(patches.features))
    torch.manual_seed(0)
    module = representation(name)
    assert 0.4 < float(module(silent).features.detach().square().mean().sqrt()) < 1.6


def test_an_unknown_name_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="patches, voxels, grid, proxies, objects"):
        representation("cubes")


# -- patches and voxels ----------------------------------------------------------------------------


def test_the_sine_encoding_equals_a_plain_loop():
    places = torch.tensor([[0.12, -1.0, 2.26], [3.0, 0.0, 0.04]])
    encoded = sine_encoding(places, 14)  # 2 pairs an axis, 2 channels left over
    for k, place in enumerate(places.tolist()):
        expected = []
        for x in place:
            step = round(x / 0.1)
            rates = [1.0, 10_000**-0.5]
            expected += [math.sqrt(2) * math.sin(step * r) for r in rates] + [
                math.sqrt(2) * math.cos(step * r) for r in rates
            ]
        assert_close(encoded[k], torch.tensor([*expected, 0.0, 0.0]), atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="at least 6"):
        sine_encoding(places, 5)


def test_places_in_one_bin_of_ten_centimetres_are_encoded_alike():
    a, b, c = sine_encoding(
        torch.tensor([[0.06, 1.0, 1.0], [0.14, 1.0, 1.0], [0.16, 1.0, 1.0]]), 12
    )
    assert torch.equal(a, b) and not torch.equal(b, c)


def test_a_patch_token_is_its_feature_plus_its_encoding():
    patches = labelled(40)
    tokens = PatchTokens(8)(patches)
    assert_close(tokens.features, patches.features + sine_encoding(patches.centers, 8))
    assert torch.equal(tokens.source, torch.arange(40)) and torch.equal(
        tokens.centers, patches.centers
    )


def test_voxel_tokens_equal_a_plain_loop():
    patches, module = labelled(), VoxelTokens(8, voxel_size=0.5, budget=None)
    tokens = module(patches)
    placed = patches.features + module.embedding(patches.centers)
    for k in range(len(tokens)):
        assert_close(tokens.features[k], placed[tokens.source == k].mean(0), atol=1e-5, rtol=1e-5)
    assert torch.equal(tokens.source, voxelise(patches, 0.5).source)


def test_reducing_voxels_keeps_whole_voxels_or_all_of_them():
    patches, everything = labelled(), VoxelTokens(8, 0.25, budget=None)
    full = everything(patches)
    for way in ("uniform", "farthest"):
        module = VoxelTokens(8, 0.25, budget=40, reduce=way)
        module.load_state_dict(everything.state_dict())
        tokens = module(patches)
        assert len(tokens) == 40
        for k in range(40):
            voxel = full.source[tokens.source == k].unique()
            assert len(voxel) == 1 and (tokens.source[full.source == voxel] == k).all()
            assert_close(tokens.features[k], full.features[voxel[0]])
    coarse = VoxelTokens(8, 0.25, budget=40, reduce="coarser")(patches)
    assert len(coarse) <= 40 and coarse.cell > 0.25 and (coarse.source >= 0).all()


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
    with pytest.raises(ValueError):
        VoxelTokens(8, **wrong)


# -- grid options ----------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["mean", "max", "attention"])
@pytest.mark.parametrize("height", ["rope", "none"])
def test_grid_options_equal_a_plain_loop(pool, height):
    grid, voxels = CondensedGrid(8, 0.5, height=height, pool=pool), voxelise(labelled(), 0.5)
    pooled, cells, pillar = grid.condense(voxels)
    z = (voxels.cells[:, 2] + 0.5) * 0.5
    turned = height_rope(voxels.features, z) if height == "rope" else voxels.features
    for k in range(len(cells)):
        mine = turned[pillar == k]
        if pool == "attention":
            expected = (grid.score(mine).softmax(0) * mine).sum(0)
        else:
            expected = mine.amax(0) if pool == "max" else mine.mean(0)
        assert_close(pooled[k], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("wrong", [{"pool": "sum"}, {"height": "sine"}])
def test_unknown_grid_options_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        CondensedGrid(8, **wrong)


@pytest.mark.parametrize("name", ["voxels", "grid"])
def test_turning_a_scene_by_a_quarter_turns_cells_and_keeps_what_belongs_together(name):
    patches = labelled()
    x, y, z = patches.centers.T
    turned = dataclasses.replace(patches, centers=torch.stack([-y, x, z], 1))
    if name == "voxels":
        before, after = voxelise(patches, 0.25), voxelise(turned, 0.25)
        a, b, first, second = before.source, after.source, before.features, after.features
    else:
        grid = CondensedGrid(8, 0.25)
        (first, _, p), (second, _, q) = (
            grid.condense(voxelise(x, 0.25)) for x in (patches, turned)
        )
        a, b = p[voxelise(patches, 0.25).source], q[voxelise(turned, 0.25).source]
    assert same_partition(a, b)
    assert_close(second[b], first[a], atol=1e-5, rtol=1e-5)


# -- segments of patches ---------------------------------------------------------------------------


@given(
    st.integers(3, 9), st.integers(3, 9), st.integers(1, 3), st.integers(1, 3), st.integers(0, 999)
)
def test_a_patch_takes_the_segment_with_the_largest_area(height, width, rows, columns, seed):
    masks = torch.randint(
        0, 4, (2, height, width), generator=torch.Generator().manual_seed(seed), dtype=torch.int32
    )
    found = patch_segments(masks, rows, columns)
    for v in range(2):
        for i in range(rows):
            for j in range(columns):
                cell = masks[
                    v,
                    i * height // rows : (i + 1) * height // rows,
                    j * width // columns : (j + 1) * width // columns,
                ]
                counts = np.bincount(cell.reshape(-1).numpy(), minlength=4)
                assert counts[found[v, i, j]] == counts.max()


def test_tokens_of_objects_ask_for_masks():
    for name in ("proxies", "objects"):
        with pytest.raises(ValueError, match="masks"):
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


@devices
def test_clustering_is_deterministic(device):
    patches = on(device, labelled(500))
    module = Proxies(8, budget=60).to(device)
    assert torch.equal(module.cluster(patches)[2], module.cluster(patches)[2])


def test_every_proxy_belongs_to_one_object_and_every_object_has_one(room_patches):
    _, centers, source = Proxies(16, budget=120).cluster(room_patches)
    pairs = torch.stack([source, room_patches.segments], 1).unique(dim=0)
    assert len(pairs) == len(centers) == 120
    assert set(room_patches.segments.unique().tolist()) == set(pairs[:, 1].tolist())


def test_without_groups_proxies_mix_objects(room_patches):
    source = Proxies(16, budget=120, grouped=False).cluster(room_patches)[2]
    assert len(torch.stack([source, room_patches.segments], 1).unique(dim=0)) > 120


def test_an_equal_number_for_every_object(room_patches):
    source = Proxies(16, per_object=2).cluster(room_patches)[2]
    pairs = torch.stack([source, room_patches.segments], 1).unique(dim=0)
    assert set(torch.bincount(pairs[:, 1])[room_patches.segments.unique()].tolist()) <= {1, 2}


def test_a_proxy_is_the_mean_of_its_patches_plus_its_position():
    patches, module = labelled(), Proxies(8, budget=40)
    tokens = module(patches)
    for k in range(40):
        mine = tokens.source == k
        center = patches.centers[mine].mean(0)
        expected = height_rope(patches.features[mine].mean(0)[None], center[2:]) + module.fourier(
            center[None, :2]
        )
        assert_close(tokens.features[k], expected[0], atol=1e-5, rtol=1e-5)
        assert_close(tokens.centers[k], center, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("budget", [1, 3])
def test_more_groups_than_proxies_share_and_a_warning_says_so(budget):
    with pytest.warns(UserWarning, match="smallest"):
        tokens = Proxies(8, budget=budget)(labelled(groups=9))
    assert len(tokens) == budget and (tokens.source >= 0).all()


def test_points_in_one_place_still_fill_every_cluster():
    points, group = torch.zeros(12, 3), torch.tensor([0] * 6 + [1] * 6)
    cluster = kmeans(points, group, torch.tensor([6, 2]))
    assert sorted(cluster[:6].tolist()) == [0, 1, 2, 3, 4, 5] and set(cluster[6:].tolist()) == {
        6,
        7,
    }


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
    _, centers, _ = Proxies(16, budget=200).cluster(room_patches)
    jumps = centers.diff(dim=0).norm(dim=1).mean()
    shuffled = centers[torch.randperm(200, generator=torch.Generator().manual_seed(0))]
    assert jumps < 0.7 * shuffled.diff(dim=0).norm(dim=1).mean()


@pytest.mark.parametrize("wrong", [{"budget": 0}, {"per_object": 0}])
def test_proxy_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="at least 1"):
        Proxies(8, **wrong)


# -- objects ---------------------------------------------------------------------------------------


def test_object_tokens_equal_a_plain_loop_and_leave_the_background_out():
    patches, module = labelled(), ObjectTokens(8)
    tokens = module(patches)
    assert len(tokens) == 4 and (tokens.source == patches.segments - 1).all()
    for k in range(4):
        mine = patches.segments == k + 1
        center = patches.centers[mine].mean(0)
        expected = height_rope(patches.features[mine].mean(0)[None], center[2:]) + module.fourier(
            center[None, :2]
        )
        assert_close(tokens.features[k], expected[0], atol=1e-5, rtol=1e-5)


def test_above_the_budget_the_largest_objects_stay():
    patches = labelled(groups=6)
    sizes = torch.bincount(patches.segments)[1:]
    kept = set((sizes.argsort(descending=True)[:2] + 1).tolist())
    tokens = ObjectTokens(8, budget=2)(patches)
    assert set(patches.segments[tokens.source >= 0].tolist()) == kept


def test_within_their_budgets_representations_say_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in REPRESENTATIONS:
            representation(name)(labelled())
