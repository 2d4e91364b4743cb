"""Token counts: the same as the whole pipeline's, for every capture style; and one row for every
room of a corpus.
"""

import pytest
import torch

from leovl_mini.data.samples import sample_room
from leovl_mini.experiments.token_counts import corpus_statistics, count_tokens, map_size
from leovl_mini.perception.encoders import load_encoder
from leovl_mini.rooms.dataset import make_rooms, split_of
from leovl_mini.scans import load_scene
from leovl_mini.tokens import CondensedGrid
from leovl_mini.tokens.pipeline import run


@pytest.fixture(scope="module")
def encoder():
    return load_encoder()


@pytest.mark.parametrize("name", ["scannet_2", "rscan_3"])  # landscape and upright
def test_counts_equal_the_pipelines(encoder, name):
    scene = load_scene(sample_room(name))
    stages = run(scene, encoder, CondensedGrid(encoder.channels, budget=10_000))
    assert count_tokens(scene) == {
        "patches": len(stages.patches),
        "voxels": len(stages.voxels),
        "grid": len(stages.tokens),
    }


def test_counts_apply_no_budget_and_follow_the_voxel_size():
    scene = load_scene(sample_room("multiscan_1"))
    fine, coarse = count_tokens(scene, 0.1), count_tokens(scene, 0.4)
    assert fine["grid"] > 750 and fine["patches"] == coarse["patches"]
    assert fine["patches"] > fine["voxels"] > coarse["voxels"] > coarse["grid"] > 0


def test_a_room_without_depth_has_no_tokens():
    scene = load_scene(sample_room())
    scene.depth = torch.zeros_like(scene.depth)
    assert count_tokens(scene) == {"patches": 0, "voxels": 0, "grid": 0}


@pytest.mark.parametrize(
    "size", [(192, 256), (256, 192), (480, 640), (121, 333), (9, 300), (968, 1296)]
)
def test_the_map_size_is_the_encoders(encoder, size):
    assert encoder(torch.zeros(1, *size, 3, dtype=torch.uint8)).shape[1:3] == map_size(
        *size, encoder.longest_side
    )


def test_corpus_rows(tmp_path):
    make_rooms(
        tmp_path / "corpus", rooms=4, views=2, workers=1, pairs=1.0, quiet=True
    )  # each room with edited copies
    rows = list(corpus_statistics(tmp_path / "corpus", rooms=99))
    assert [r["scene"] for r in rows] == [
        "scannet_00000",
        "rscan_00000",
        "multiscan_00000",
        "arkitscenes_00000",
    ]
    for row in rows:
        assert list(row) == ["scene", "domain", "split", "patches", "voxels", "grid"]
        domain, number = row["scene"].split("_")
        assert row["domain"] == domain and row["split"] == split_of(int(number))
        assert row["patches"] > row["voxels"] > row["grid"] > 0
    assert list(corpus_statistics(tmp_path / "corpus", rooms=3)) == rows[:3]
