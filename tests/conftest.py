"""Shared fixtures. Real captures and annotations lie outside the repository: point LEOVL_REAL_DATA
at them, or the tests that use them skip.
"""

import dataclasses
import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent

# The same examples in every run, and no time limit on an example: a busy machine is not a failure.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


def real_data(name: str) -> Path:
    folder = Path(os.environ.get("LEOVL_REAL_DATA", ROOT.parent / "shared"))
    if not (folder / name).is_dir():
        pytest.skip(f"no real data at {folder / name}; set LEOVL_REAL_DATA to a folder with {name}")
    return folder / name


@pytest.fixture(scope="session")
def hololens_room() -> Path:
    """A real RGB-D capture of 40 frames."""
    return real_data("real_rgbd/hololens_room")


@pytest.fixture(scope="session")
def real_text() -> Path:
    """Rows of published annotation files."""
    return real_data("real_text")


@pytest.fixture(scope="session")
def smol():
    """SmolLM2, untrained for scenes: a second from the cache, 40 seconds the first time on a
    machine. Do not change it.
    """
    from leovl_mini.data.files import WeightsMissing, packaged_file
    from leovl_mini.model.language import SMOLLM2
    from leovl_mini.model.leovl import LeoVL

    try:
        packaged_file(*SMOLLM2[:2])
    except WeightsMissing as missing:
        pytest.skip(str(missing))
    return LeoVL("smol", channels=8)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A preset "tiny": smol with a pre-trained language model of two layers."""
    from tiny_models import save_llama  # the package is imported after the type checker's hook

    from leovl_mini.config import PRESETS

    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_llama(folder)
    with pytest.MonkeyPatch.context() as patch:
        tiny = dataclasses.replace(PRESETS["smol"], language=str(folder), prompt="plain")
        patch.setitem(PRESETS, "tiny", tiny)
        yield folder


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """Made rooms for all tests of training, with everything made of them: see tiny_rooms."""
    from tiny_rooms import make_everything

    return make_everything(tmp_path_factory.mktemp("made"))
