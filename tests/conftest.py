"""Shared fixtures. Real captures lie outside the repository: point LEOVL_REAL_DATA at them, or the
tests that use them skip.
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


@pytest.fixture(scope="session")
def hololens_room() -> Path:
    """A real RGB-D capture of 40 frames."""
    path = (
        Path(os.environ.get("LEOVL_REAL_DATA", ROOT.parent / "shared"))
        / "real_rgbd"
        / "hololens_room"
    )
    if not path.is_dir():
        pytest.skip(
            f"no real capture at {path}; set LEOVL_REAL_DATA to a folder that holds real_rgbd/hololens_room"
        )
    return path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A preset "tiny": smol with a pre-trained language model of two layers."""
    from tiny_models import save_llama  # the package is imported after the type checker's hook

    from leovl_mini.config import PRESETS

    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_llama(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(
            PRESETS,
            "tiny",
            dataclasses.replace(PRESETS["smol"], **{"language": str(folder), "prompt": "plain"}),
        )
        yield folder
