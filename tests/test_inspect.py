"""What becomes of objects in tokens: by hand, against a loop over tokens, and on a bundled room."""

import dataclasses
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_inputs import random_patches
from torch.testing import assert_close

from leovl_mini.data.samples import sample_room
from leovl_mini.perception.lift import Patches, lift
from leovl_mini.perception.segments import segment
from leovl_mini.scans import load_scene
from leovl_mini.tokens import SceneTokens
from leovl_mini.tokens.inspect import equal_budget, object_report, report_table


def case(source: list[int], segments: list[int], tokens: int) -> tuple[SceneTokens, Patches]:
    """Patch p shows object segments[p] and went into token source[p]."""
    source, segments = (torch.tensor(x, dtype=torch.long) for x in (source, segments))
    patches = dataclasses.replace(random_patches(len(source)), segments=segments)
    return SceneTokens(torch.zeros(tokens, 8), torch.zeros(tokens, 3), source), patches


def test_the_example_of_the_docstring():
    report = object_report(*case([0, 0, 0, 0, 1, -1], [5, 5, 5, 7, 7, 7], 2))
    assert report.ids.tolist() == [5, 7] and report.tokens.tolist() == [1, 1]
    assert report.patches.tolist() == [3, 3]
    assert report.owner.tolist() == [5, 7] and not report.lost.any()
    assert_close(report.purity, torch.tensor([3 / 4, 1]))
    assert_close(report.coverage, torch.tensor([1, 1 / 3]))
    assert_close(report.token_purity, torch.tensor([3 / 4, 1]))


def test_a_book_in_the_tokens_of_its_table_is_lost_and_a_tie_goes_to_the_smaller_id():
    # table 2 has tokens 0 and 1, book 9 two patches in token 0; token 2 is half room, half book
    report = object_report(*case([0, 0, 0, 0, 0, 1, 2, 2], [2, 2, 2, 9, 9, 2, 0, 9], 3))
    assert report.ids.tolist() == [0, 2, 9] and report.tokens.tolist() == [1, 2, 0]
    assert report.lost.tolist() == [False, False, True] and report.owner.tolist() == [2, 2, 0]
    assert_close(report.purity, torch.tensor([1 / 2, (3 / 5 + 1) / 2, 0]))
    assert_close(report.coverage, torch.tensor([1.0, 1, 0]))


def test_tokens_without_patches_belong_to_nothing():
    report = object_report(*case([2, 2], [0, 4], 4))
    assert report.owner.tolist() == [-1, -1, 0, -1] and report.tokens.tolist() == [1, 0]
    assert_close(report.token_purity, torch.tensor([0, 0, 1 / 2, 0]))


@pytest.mark.parametrize("count, tokens", [(0, 0), (0, 2), (3, 0)])
def test_nothing_to_report(count, tokens):
    report = object_report(*case([-1] * count, [6] * count, tokens))
    assert report.ids.tolist() == [6] * bool(count)
    assert report.lost.all() and (report.coverage == 0).all()
    assert report.owner.tolist() == [-1] * tokens and report.patches.sum() == count
    report_table({"nothing": report}, ["object"] * len(report.ids))


def test_objects_must_be_known():
    tokens, patches = case([0], [1], 1)
    with pytest.raises(ValueError, match="masks"):
        object_report(tokens, dataclasses.replace(patches, segments=None))


rows = st.lists(st.tuples(st.integers(-1, 5), st.integers(0, 4)), max_size=40)


@settings(max_examples=40)
@given(rows=rows)
def test_equals_a_loop_over_tokens(rows):
    source, segments = [s for s, _ in rows], [2 * g for _, g in rows]
    report = object_report(*case(source, segments, 6))
    shares, covered, owner = {g: [] for g in segments}, dict.fromkeys(segments, 0), []
    for k in range(6):
        inside = Counter(g for s, g in zip(source, segments, strict=True) if s == k)
        owner.append(-1)
        if inside:
            owner[k] = min(inside, key=lambda g: (-inside[g], g))
            shares[owner[k]].append(inside[owner[k]] / inside.total())
            covered[owner[k]] += inside[owner[k]]
    ids = sorted(shares)
    assert report.ids.tolist() == ids and report.owner.tolist() == owner
    assert report.tokens.tolist() == [len(shares[g]) for g in ids]
    assert report.purity.tolist() == pytest.approx(
        [sum(shares[g]) / max(len(shares[g]), 1) for g in ids]
    )
    assert report.coverage.tolist() == pytest.approx([covered[g] / segments.count(g) for g in ids])
    # what holds for any tokens
    assert report.tokens.sum() == len(set(source) - {-1}) and report.patches.sum() == len(rows)
    assert (report.lost == (report.coverage == 0)).all()
    assert ((report.purity >= 0) & (report.purity <= 1)).all()
    if ids:  # at least one object in C has a share of 1 / C
        assert (report.token_purity[report.owner >= 0] >= 1 / len(ids) - 1e-6).all()


@pytest.fixture(scope="module")
def room() -> tuple[Patches, Patches]:
    """The bundled room's patches with true and with found segments."""
    scene = load_scene(sample_room())
    features = torch.zeros(len(scene), 30, 40, 2)
    camera = scene.depth, scene.intrinsics, scene.camera_to_world
    true, found = (lift(features, *camera, masks=m) for m in (scene.instances, segment(scene)))
    return true, found


def test_at_equal_budget_only_proxies_keep_every_object_of_the_room(room):
    true, found = room
    tokens = equal_budget(true, found.segments)
    assert list(tokens) == ["grid", "ungrouped", "proxies", "found masks"]
    assert len({len(t) for t in tokens.values()}) == 1
    reports = {name: object_report(t, true) for name, t in tokens.items()}
    purity = {name: float(report.token_purity.mean()) for name, report in reports.items()}
    assert purity["proxies"] == 1 and (reports["proxies"].coverage == 1).all()
    assert not reports["proxies"].lost.any() and reports["grid"].lost.sum() >= 2
    assert purity["grid"] < purity["ungrouped"] < purity["found masks"] < 1
    # pure in the segments they were made from
    assert object_report(tokens["found masks"], found).token_purity.min() == 1


def test_equal_budget_without_found_segments_and_without_patches(room):
    assert list(equal_budget(room[0])) == ["grid", "ungrouped", "proxies"]
    empty = dataclasses.replace(random_patches(0), segments=torch.zeros(0, dtype=torch.long))
    assert [len(tokens) for tokens in equal_budget(empty).values()] == [0, 0, 0]


def test_the_table_says_lost_instead_of_numbers():
    report = object_report(*case([0, 0, 0], [1, 1, 3], 1))
    table = report_table({"grid": report, "again": report}, ["table", "book"]).splitlines()
    assert table[0].split() == ["grid", "again"]
    assert table[2].split() == ["table", "2", *["1", "67%", "100%"] * 2]
    assert table[3].split() == ["book", "1", "lost", "lost"]
    assert table[4].split() == ["all", "tokens", *["1", "67%"] * 2]
