"""A handful of made rooms for all tests of training: to render and perceive them takes a while."""

from pathlib import Path

import pytest
import torch

from leovl_mini.model.leovl import LeoVL
from leovl_mini.rooms.dataset import RoomDataset, make, splits
from leovl_mini.tokens.cache import FeatureCache, make_features


def make_everything(folder: Path) -> Path:
    """``corpus``: six rooms of each of two domains, most with edits, rooms 3 and 5 for testing,
    four of them bundled ones; ``features`` of it; ``symbolic`` rooms; ``start``, untrained weights.
    """
    two = {domain: splits.DOMAINS[domain] for domain in ("scannet", "rscan")}
    with pytest.MonkeyPatch.context() as patch:
        for module in (make, splits):
            patch.setattr(
                module, "split_of", lambda number: "test" if number in (3, 5) else "train"
            )
        patch.setattr(splits, "DOMAINS", two)
        make.make_rooms(folder / "corpus", rooms=12, views=2, workers=1, pairs=0.8, quiet=True)
    make_features(folder / "features", RoomDataset(folder / "corpus"), quiet=True)
    make.make_rooms(folder / "symbolic", rooms=8, workers=1, quiet=True, pictures=False)
    torch.manual_seed(0)
    channels = FeatureCache(folder / "features").options["channels"]
    LeoVL("nano", channels).save_pretrained(folder / "start")
    return folder
