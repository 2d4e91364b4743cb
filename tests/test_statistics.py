"""Token counts: the same as the whole pipeline's, for every capture style; and one row for every
room of a corpus.
"""

import json

import pytest
import torch

from leovl_mini.config import TokenCountsConfig
from leovl_mini.data.samples import sample_room
from leovl_mini.experiments.token_counts import (
    corpus_statistics,
    count_tokens,
    map_size,
    reproduce,
)
from leovl_mini.perception.encoders import load_encoder
from leovl_mini.rooms.dataset import make_rooms, split_of
from leovl_mini.scans import load_scene
from leovl_mini.tokens import CondensedGrid, VoxelTokens
from leovl_mini.tokens.pipeline import perceive


@pytest.fixture(scope="module")
def encoder():
    return load_encoder()


@pytest.mark.parametrize("name", ["scannet_2", "rscan_3"])  # landscape and upright
def test_counts_equal_the_pipelines(encoder, name):
    scene = load_scene(sample_room(name), max_frames=3)
    seen = perceive(scene, CondensedGrid(budget=10_000), encoder)
    assert count_tokens(scene) == {
        "patches": len(seen.patches),
        "voxels": len(VoxelTokens(budget=None)(seen.patches)),
        "grid": len(seen),
    }


def test_counts_apply_no_budget_and_follow_the_voxel_size():
    scene = load_scene(sample_room("multiscan_1"))
    fine, coarse = count_tokens(scene, 0.1), count_tokens(scene, 0.4)
    assert fine["grid"] > 750 and fine["patches"] == coarse["patches"]
    assert fine["patches"] > fine["voxels"] > coarse["voxels"] > coarse["grid"] > 0
    scene.depth = torch.zeros_like(scene.depth)
    assert count_tokens(scene) == {"patches": 0, "voxels": 0, "grid": 0}


@pytest.mark.parametrize("size", [(192, 256), (256, 192), (121, 333), (9, 300), (968, 1296)])
def test_the_map_size_is_the_encoders(encoder, size):
    features = encoder(torch.zeros(1, *size, 3, dtype=torch.uint8))
    assert features.shape[1:3] == map_size(*size, encoder.longest_side)


def test_a_corpus_has_a_row_for_every_room(tmp_path):
    corpus, file = tmp_path / "corpus", tmp_path / "tokens.json"
    make_rooms(corpus, rooms=2, views=2, workers=1, pairs=1.0, quiet=True)  # with edited copies
    rows = list(corpus_statistics(corpus, rooms=99))
    assert [r["scene"] for r in rows] == ["scannet_00000", "rscan_00000"]
    for row in rows:
        assert (row["domain"], row["split"]) == (row["scene"].split("_")[0], split_of(0))
        assert row["patches"] > row["voxels"] > row["grid"] > 0
    assert list(corpus_statistics(corpus, rooms=1)) == rows[:1]

    ((title, lines),) = reproduce(TokenCountsConfig(corpus, write=file))
    assert title == "2 rooms, cells of 0.2 m"
    assert [line[0] for line in lines] == ["", "patches", "voxels", "grid"]
    found = json.loads(file.read_text())
    assert found["scenes"] == rows and found["rooms"] == 2
    assert "--rooms 2 --views 2" in found["command"]
