"""Writing files so that nothing half-written is ever left behind."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
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
def finished_files(folder: Path) -> Iterator[Path]:
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
