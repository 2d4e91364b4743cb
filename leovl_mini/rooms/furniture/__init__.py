"""The categories of objects: how each is built, its sizes, and what can be done with it.

Explained in notebook 01 (RGB-D frames and cameras).
"""

from collections.abc import Callable
from typing import NamedTuple

from leovl_mini.rooms.furniture import large, small, storage
from leovl_mini.rooms.furniture.parts import COLOURS, WOOD, Paint, Part, Size
from leovl_mini.scans.scene import Object


class Category(NamedTuple):
    """``build(size, paint, open)`` makes the parts of an object; its sizes (metres) lie between."""

    build: Callable[..., list[Part]]
    smallest: Size
    largest: Size


LARGE = {
    "table": Category(large.table, (1.2, 0.75, 0.70), (1.7, 0.95, 0.80)),
    "desk": Category(storage.desk, (1.2, 0.60, 0.70), (1.6, 0.75, 0.80)),
    "chair": Category(large.chair, (0.44, 0.44, 0.82), (0.50, 0.50, 1.0)),
    "armchair": Category(large.sofa, (0.8, 0.8, 0.78), (0.95, 0.9, 0.98)),
    "sofa": Category(large.sofa, (1.6, 0.85, 0.75), (2.2, 0.95, 0.92)),
    "bed": Category(large.bed, (1.2, 2.0, 0.85), (1.7, 2.1, 1.15)),
    "nightstand": Category(storage.nightstand, (0.42, 0.38, 0.48), (0.52, 0.45, 0.64)),
    "cabinet": Category(storage.cabinet, (0.75, 0.42, 0.85), (0.95, 0.5, 1.2)),
    "bookshelf": Category(storage.bookshelf, (0.8, 0.3, 1.6), (1.1, 0.36, 1.85)),
    "lamp": Category(large.lamp, (0.38, 0.38, 1.35), (0.48, 0.48, 1.7)),
    "plant": Category(large.plant, (0.45, 0.45, 0.75), (0.6, 0.6, 1.2)),
    "stool": Category(large.stool, (0.36, 0.36, 0.44), (0.44, 0.44, 0.62)),
    "tv stand": Category(storage.tv_stand, (1.15, 0.38, 0.42), (1.4, 0.46, 0.55)),
    "sink": Category(large.sink, (0.50, 0.42, 0.95), (0.65, 0.50, 1.1)),
    "bathtub": Category(large.bathtub, (1.5, 0.70, 0.65), (1.75, 0.82, 0.75)),
    "toilet": Category(large.toilet, (0.38, 0.64, 0.75), (0.44, 0.72, 0.88)),
    "fridge": Category(storage.fridge, (0.75, 0.62, 1.6), (0.9, 0.70, 1.9)),
    "stove": Category(large.stove, (0.58, 0.58, 0.84), (0.65, 0.64, 0.94)),
}

SMALL = {
    "mug": Category(small.mug, (0.13, 0.11, 0.12), (0.16, 0.13, 0.16)),
    "parcel": Category(small.parcel, (0.28, 0.24, 0.16), (0.4, 0.34, 0.30)),
    "vase": Category(small.vase, (0.16, 0.16, 0.30), (0.2, 0.2, 0.42)),
    "book": Category(small.book, (0.26, 0.20, 0.05), (0.30, 0.22, 0.07)),
    "bottle": Category(small.bottle, (0.09, 0.09, 0.28), (0.11, 0.11, 0.36)),
    "bowl": Category(small.bowl, (0.26, 0.26, 0.11), (0.30, 0.30, 0.14)),
    "ball": Category(small.ball, (0.22, 0.22, 0.22), (0.26, 0.26, 0.26)),
    "basket": Category(small.basket, (0.42, 0.36, 0.26), (0.5, 0.42, 0.34)),
    "laptop": Category(small.laptop, (0.34, 0.25, 0.22), (0.40, 0.28, 0.26)),
    "radio": Category(small.radio, (0.32, 0.14, 0.17), (0.38, 0.17, 0.21)),
    "backpack": Category(small.backpack, (0.34, 0.24, 0.42), (0.38, 0.28, 0.48)),
    "television": Category(small.television, (0.9, 0.16, 0.56), (1.1, 0.20, 0.68)),
}

FIXED = {
    "door": Category(small.door, (0.88, 0.06, 2.0), (0.95, 0.06, 2.1)),
    "window": Category(small.window, (1.0, 0.06, 1.0), (1.6, 0.06, 1.2)),
}

CATEGORIES = LARGE | SMALL | FIXED
COUNTED = [*LARGE, *SMALL]  # questions of existence and number are about these

PATTERNS, STATES = ("plain", "striped", "checked"), ("open", "closed")

UNCOLOURED = ("window", "television", "plant")  # what has no one colour of its own
PATTERNED = (
    *("sofa", "armchair", "bed", "table", "desk", "cabinet"),
    *("nightstand", "tv stand", "bookshelf", "stool", "chair"),
)
OPENABLE = ("cabinet", "nightstand", "tv stand", "fridge", "door")
FLAT_TOPS = (  # their top is the top of their box
    *("table", "desk", "cabinet", "nightstand"),
    *("tv stand", "stool", "fridge", "stove"),
)
STACKABLE = ("parcel", "book", "radio")
MOVABLE = ("chair", "armchair", "stool", "lamp", "plant", *SMALL)  # between two scans of a room

# One colour of every category is kept out of ordinary rooms, to test what a model makes of a pair
# that it has never seen.
HELD_OUT = {
    category: list(COLOURS)[(3 * i + 1) % len(COLOURS)]
    for i, category in enumerate([*LARGE, *SMALL, "door"])
}


def build(item: Object) -> list[Part]:
    """The parts of an object, from its category, size, colour, pattern and state."""
    looks = item.attributes
    pattern = {"striped": "stripes", "checked": "checks"}.get(looks.get("pattern", ""), "plain")
    paint = Paint(COLOURS[looks["colour"]], pattern) if "colour" in looks else WOOD
    return CATEGORIES[item.category].build(item.size, paint, looks.get("state") == "open")
