"""Shared fixtures. Real captures lie outside the repository: point LEOVL_REAL_DATA at them, or the tests that use them skip."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def hololens_room() -> Path:
    """A real RGB-D capture of 40 frames."""
    path = Path(os.environ.get("LEOVL_REAL_DATA", ROOT.parent / "shared")) / "real_rgbd" / "hololens_room"
    if not path.is_dir():
        pytest.skip(f"no real capture at {path}; set LEOVL_REAL_DATA to a folder that holds real_rgbd/hololens_room")
    return path
