"""Fields of published JSON files, checked: what is not as published raises ``InputError`` with
one sentence.
"""

import json
import math
from pathlib import Path

from leovl_mini.scans.scene import InputError

KINDS = {
    "text": lambda x: isinstance(x, str) and bool(x.strip()),
    "whole number": lambda x: isinstance(x, int) and not isinstance(x, bool),
    "number": lambda x: isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x),
    "object": lambda x: isinstance(x, dict),
}


def get(entry: object, key: str, kind: str, where: str):
    """One field of an entry, checked: ``kind`` is one of ``KINDS`` or "list of" one of them (which
    may not be empty).
    """
    if not isinstance(entry, dict) or key not in entry:
        raise InputError(f"{where}: {key!r} is missing; take the file as it is published.")
    value = entry[key]
    if kind.startswith("list of "):
        good = (
            isinstance(value, list)
            and value
            and all(KINDS[kind.removeprefix("list of ").rstrip("s")](x) for x in value)
        )
    else:
        good = KINDS[kind](value)
    if not good:
        raise InputError(
            f"{where}: {key!r} must be a {kind}, found {str(value)[:40]!r}; take the file as it is published."
        )
    return value


def load(path: str | Path):
    """The content of a JSON file."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; download it from the data set's page.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise InputError(f"{path} is not a JSON file ({error}); download it again.") from None


def rows(path: str | Path, key: str | None = None) -> list:
    """The entries of a file: the file is their list, or an object that holds the list under
    ``key``.
    """
    data = load(path)
    entries = data if key is None else data.get(key) if isinstance(data, dict) else None
    if not isinstance(entries, list):
        wanted = "a list" if key is None else f"an object with a list named {key!r}"
        raise InputError(f"{path} must hold {wanted}; is it the right file?")
    return entries


def index(entries: list, key: str, path: str | Path) -> dict:
    """Entries by their id, in order; ids must not repeat."""
    kept = {}
    for number, entry in enumerate(entries):
        name = entry.get(key) if isinstance(entry, dict) else None
        if not (KINDS["text"](name) or KINDS["whole number"](name)):
            raise InputError(
                f"{path}, entry {number}: {key!r} must be a text or a whole number; take the file as it is published."
            )
        if name in kept:
            raise InputError(
                f"{path}, entry {number}: {key} {name} appears twice; remove one of the two."
            )
        kept[name] = entry
    return kept
