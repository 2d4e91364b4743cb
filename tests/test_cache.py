"""The feature cache holds what perception gives, is continued, and says what is missing."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from leovl_mini.data.examples import SceneSource
from leovl_mini.data.samples import sample_room
from leovl_mini.scans.load import load_scene
from leovl_mini.scans.scene import InputError, Scene
from leovl_mini.tokens import representation
from leovl_mini.tokens.cache import FeatureCache, make_features
from leovl_mini.tokens.pipeline import perceive
from leovl_mini.tokens.positions import position_embedding


class BundledRooms:
    """Two frames of each of three bundled rooms: a source of scenes that needs nothing made."""

    def names(self, split: str = "") -> list[str]:
        return ["scannet_2", "rscan_3", "multiscan_1"]

    def scene(self, name: str) -> Scene:
        return dataclasses.replace(load_scene(sample_room(name), max_frames=2), name=name)

    def examples(self, split: str) -> list:
        return []


@pytest.fixture(scope="module")
def rooms() -> SceneSource:
    return BundledRooms()


@pytest.mark.parametrize("tokens", ["grid", "voxels"])
def test_the_cache_holds_what_perception_gives(rooms, tmp_path, tokens):
    make_features(tmp_path, rooms, tokens=tokens, quiet=True)
    cache = FeatureCache(tmp_path)
    assert cache.names() == rooms.names() and len(cache) == 3 and not cache.damaged()
    module = representation(tokens, voxel_size=0.25, budget=750)
    position = position_embedding(tokens, 32)
    for name in rooms.names():
        fresh, kept = perceive(rooms.scene(name), module), cache.scene(name)
        near = {"atol": 2e-2, "rtol": 1e-2}  # features are kept in half precision
        assert_close(kept.tokens.features, fresh.tokens.features, **near)
        assert torch.equal(kept.tokens.centers, fresh.tokens.centers)
        assert torch.equal(kept.object_ids, fresh.object_ids) and kept.objects == fresh.objects
        assert kept.kind == tokens
        assert_close(position(kept.tokens), position(fresh.tokens), **near)


def test_an_interrupted_cache_is_continued(rooms, tmp_path, monkeypatch):
    monkeypatch.setattr("leovl_mini.tokens.cache.SCENES_PER_FILE", 1)
    make_features(tmp_path / "whole", rooms, quiet=True)
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        real = rooms.scene
        patch.setattr(rooms, "scene", lambda name: real(name) if name == "scannet_2" else 1 / 0)
        make_features(tmp_path / "cache", rooms, quiet=True)
    asked: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(rooms, "scene", lambda name: (asked.append(name), real(name))[1])
        make_features(tmp_path / "cache", rooms, quiet=True)
    assert asked == rooms.names()[1:]
    assert FeatureCache(tmp_path / "cache").sha256 == FeatureCache(tmp_path / "whole").sha256
    with pytest.raises(FileExistsError, match="made with other options"):
        make_features(tmp_path / "cache", rooms, tokens="proxies", quiet=True)


def test_what_is_missing_or_damaged_is_said(rooms, tmp_path: Path):
    with pytest.raises(InputError, match="no feature cache"):
        FeatureCache(tmp_path)
    make_features(tmp_path / "cache", rooms, quiet=True)
    cache = FeatureCache(tmp_path / "cache")
    with pytest.raises(InputError, match="no scene 'attic'"):
        cache.scene("attic")
    (file,) = (tmp_path / "cache").glob("*.safetensors")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert cache.damaged() == [file.name]
