"""A command as text, and settings as JSON: both are written from the same dataclass."""

import dataclasses
import shlex
from pathlib import Path
from typing import Any, get_type_hints

from tyro.conf import Positional


def command_of(name: str, config: Any) -> str:
    """The command that has these settings: ``command_of("train tune", config)``.

    Only what differs from the defaults is written, of paths the last name only: the text belongs to
    the run, not to the machine. Parsing it gives the settings back.
    """
    hints = get_type_hints(type(config), include_extras=True)
    places, options = [], []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if Positional in getattr(hints[field.name], "__metadata__", ()):
            places.append((as_word(value), value == field.default))
        elif value != field.default:
            options += as_option(field.name.replace("_", "-"), value)
    while places and places[-1][1]:  # what follows keeps its place
        places.pop()
    return shlex.join(["leovl-mini", *name.split(), *(word for word, _ in places), *options])


def as_option(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    values = value if isinstance(value, tuple) else (value,)
    return [f"--{name}", *map(as_word, values)]


def as_word(value: Any) -> str:
    return value.name if isinstance(value, Path) else str(value)


def settings_of(config: Any) -> dict[str, Any]:
    """The settings as JSON can hold them; of paths, too, the last name only."""
    fields = dataclasses.asdict(config)
    return {
        name: as_word(v) if isinstance(v, Path) else list(v) if isinstance(v, tuple) else v
        for name, v in fields.items()
    }


# -- checks ----------------------------------------------------------------------------------------


def at_least(lowest: float | int, config: Any, *names: str) -> None:
    for name in names:
        if (value := getattr(config, name)) < lowest:
            raise ValueError(f"--{name.replace('_', '-')} is {value}, must be at least {lowest}")


def shares(config: Any, *names: str) -> None:
    for name in names:
        if not 0 <= (value := getattr(config, name)) <= 1:
            raise ValueError(f"--{name.replace('_', '-')} is {value}, must lie between 0 and 1")
