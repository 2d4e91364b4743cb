"""Entries of published annotation files, their fields checked as they are read.

What is not as published raises ``InputError`` with one sentence: which file, entry and field, and
what was found there.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from types import GenericAlias
from typing import get_args

from leovl_mini.scans.capture import read_json
from leovl_mini.scans.scene import InputError

AS_PUBLISHED = "take the file as it is published"

WORDS = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    dict: "an object",
    list[str]: "a list of texts",
    list[int]: "a list of whole numbers",
    list[float]: "a list of numbers",
    list[dict]: "a list of objects",
}


@dataclass
class Entry:
    """An object of a JSON file whose fields are checked as they are read. ``where`` names the file
    and the entry in messages.
    """

    fields: dict
    where: str

    def __contains__(self, name: str) -> bool:
        return name in self.fields

    def get(self, name: str, kind: type | GenericAlias = str):
        """One field; ``kind`` is a key of ``WORDS``. Texts and lists may not be empty."""
        if name not in self.fields:
            raise InputError(f"{self.where}: {name!r} is missing; {AS_PUBLISHED}.")
        value = self.fields[name]
        if not fits(value, kind):
            raise InputError(
                f"{self.where}: {name!r} must be {WORDS[kind]}, found {str(value)[:40]!r}; "
                f"{AS_PUBLISHED}."
            )
        return value

    def inner(self, name: str) -> "Entry":
        """A field that is itself an object."""
        return Entry(self.get(name, dict), f"{self.where}, {name}")


def fits(value: object, kind: type | GenericAlias) -> bool:
    if inner := get_args(kind):
        return isinstance(value, list) and value != [] and all(fits(x, inner[0]) for x in value)
    if isinstance(value, bool):
        return False
    if kind is float:
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, kind) and (kind is not str or value.strip() != "")


def read_entries(path: str | Path, id_name: str, key: str | None = None) -> dict[str, Entry]:
    """The entries of a JSON file by their ids, in order. The file is a list of them, or an object
    that holds the list under ``key``; ids must not repeat.
    """
    data = read_json(Path(path))
    if key is not None:
        data = Entry(data if isinstance(data, dict) else {}, str(path)).get(key, list[dict])
    if not fits(data, list[dict]):
        raise InputError(f"{path} must hold a list of objects; is it the right file?")
    entries: dict[str, Entry] = {}
    for number, fields in enumerate(data):
        entry = Entry(fields, f"{path}, entry {number}")
        name = entry.get(id_name, int if isinstance(fields.get(id_name), int) else str)
        if str(name) in entries:
            raise InputError(
                f"{entry.where}: {id_name} {name} appears twice; remove one of the two."
            )
        entries[str(name)] = Entry(fields, f"{path}, {id_name} {name}")
    return entries
