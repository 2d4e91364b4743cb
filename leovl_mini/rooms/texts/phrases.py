"""The wordings of questions and sentences (``phrases.json``), and the grammar they need.

Explained in notebook 01 (RGB-D frames and cameras).
"""

import json
from pathlib import Path

import numpy as np

PHRASES: dict[str, list[str]] = json.loads(
    Path(__file__).with_name("phrases.json").read_text(encoding="utf-8")
)

NUMBER_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def say(key: str, rng: np.random.Generator, **slots: str) -> str:
    """One of the wordings of ``key``."""
    return PHRASES[key][rng.integers(len(PHRASES[key]))].format(**slots)


def with_article(thing: str) -> str:
    return f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}"


def plural(thing: str) -> str:
    return thing.removesuffix("f") + "ves" if thing.endswith("shelf") else thing + "s"


def describe(category: str, colour: str | None = None) -> str:
    return f"{colour} {category}" if colour else category
