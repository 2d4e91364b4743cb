"""Parametric furniture: each category is a short list of boxes and cylinders.

An object stands on z = 0, centred at x = y = 0, its back at -y (the side that goes against a wall) and its front at +y.
"""

from dataclasses import dataclass

import numpy as np

COLOURS = {
    "red": (0.70, 0.13, 0.12),
    "blue": (0.12, 0.27, 0.65),
    "green": (0.13, 0.45, 0.20),
    "yellow": (0.88, 0.72, 0.15),
    "orange": (0.88, 0.42, 0.10),
    "purple": (0.42, 0.18, 0.52),
    "white": (0.90, 0.90, 0.88),
    "black": (0.09, 0.09, 0.10),
}
WOOD, METAL, LEAF, SOIL = (0.55, 0.36, 0.20), (0.55, 0.56, 0.58), (0.16, 0.42, 0.15), (0.25, 0.17, 0.12)


@dataclass
class Part:
    """A box of ``size`` or an upright cylinder of that diameter (x) and height (z), its middle at ``center``; metres."""

    center: tuple[float, float, float]
    size: tuple[float, float, float]
    colour: tuple[float, float, float]
    round: bool = False


def box(x, y, z, width, depth, height, colour, round=False) -> Part:
    """A part by the middle of its bottom face."""
    return Part((float(x), float(y), float(z + height / 2)), (float(width), float(depth), float(height)), colour, round)


def legs(width, depth, height, thick, colour) -> list[Part]:
    x, y = width / 2 - thick / 2, depth / 2 - thick / 2
    return [box(sx * x, sy * y, 0, thick, thick, height, colour) for sx in (-1, 1) for sy in (-1, 1)]


def table(size, colour):
    w, d, h = size
    return [box(0, 0, h - 0.05, w, d, 0.05, colour), *legs(w, d, h - 0.05, 0.07, WOOD)]


def chair(size, colour):
    w, d, h = size
    back = box(0, -d / 2 + 0.02, 0.5, w, 0.04, h - 0.5, colour)
    return [box(0, 0, 0.42, w, d, 0.05, colour), back, *legs(w, d, 0.42, 0.05, WOOD)]


def sofa(size, colour):
    w, d, h = size
    arms = [box(sx * (w / 2 - 0.09), 0, 0.08, 0.18, d, 0.5, colour) for sx in (-1, 1)]
    cushions = [box(sx * (w / 4 - 0.09), 0.08, 0.30, w / 2 - 0.22, d - 0.3, 0.14, colour) for sx in (-1, 1)]
    return [box(0, 0, 0.08, w, d, 0.24, colour), box(0, -d / 2 + 0.11, 0.08, w, 0.22, h - 0.08, colour), *arms, *cushions]


def bed(size, colour):
    w, d, h = size
    pillows = [box(sx * w / 4, -d / 2 + 0.3, 0.47, w * 0.36, 0.35, 0.12, COLOURS["white"]) for sx in (-1, 1)]
    head = box(0, -d / 2 + 0.03, 0, w, 0.06, h, WOOD)
    cover = box(0, 0.25, 0.45, w + 0.02, d - 0.5, 0.05, colour)
    return [box(0, 0, 0.05, w, d, 0.22, WOOD), box(0, 0, 0.27, w, d, 0.2, COLOURS["white"]), cover, head, *pillows]


def bookshelf(size, colour):
    w, d, h = size
    boards = [box(0, 0, z, w, d, 0.03, colour) for z in np.linspace(0.05, h - 0.03, 5)]
    sides = [box(sx * (w / 2 - 0.015), 0, 0, 0.03, d, h, colour) for sx in (-1, 1)]
    tones = list(COLOURS.values())
    books = [
        box(x, 0.02, z + 0.03, 0.05, d * 0.7, 0.18 + 0.05 * ((i * 7 + j * 3) % 4) / 3, tones[(i * 5 + j * 3) % 6])
        for j, z in enumerate(np.linspace(0.05, h - 0.03, 5)[:-1])
        for i, x in enumerate(np.arange(-w / 2 + 0.08, w / 2 - 0.08, 0.06))
        if (i * 3 + j * 5) % 7 < 5
    ]
    return [*boards, *sides, box(0, -d / 2 + 0.01, 0, w, 0.02, h, colour), *books]


def cabinet(size, colour):
    w, d, h = size
    doors = [box(sx * w / 4, d / 2 - 0.01, 0.08, w / 2 - 0.04, 0.03, h - 0.14, colour) for sx in (-1, 1)]
    handles = [box(sx * 0.05, d / 2 + 0.02, h / 2, 0.02, 0.02, 0.12, METAL) for sx in (-1, 1)]
    return [box(0, 0, 0, w, d - 0.03, h, tuple(0.75 * c for c in colour)), *doors, *handles]


def lamp(size, colour):
    w, _, h = size
    shade = box(0, 0, h - 0.3, w, w, 0.3, colour, True)
    return [box(0, 0, 0, 0.28, 0.28, 0.03, METAL, True), box(0, 0, 0.03, 0.03, 0.03, h - 0.3, METAL, True), shade]


def plant(size, colour):
    w, _, h = size
    ring = [(np.cos(a) * w / 4, np.sin(a) * w / 4, 0.38 + 0.12 * (i % 3)) for i, a in enumerate(np.arange(6) * np.pi / 3)]
    leaves = [box(x, y, z, w / 2.6, w / 2.6, h - z - 0.1 * (i % 2), LEAF) for i, (x, y, z) in enumerate(ring)]
    return [box(0, 0, 0, w * 0.6, w * 0.6, 0.33, colour, True), box(0, 0, 0.33, w * 0.55, w * 0.55, 0.02, SOIL, True), *leaves]


def mug(size, colour):
    w, _, h = size
    return [box(0, 0, 0, w, w, h, colour, True), box(w * 0.6, 0, h * 0.25, w * 0.3, 0.02, h * 0.5, colour)]


def parcel(size, colour):
    w, d, h = size
    return [box(0, 0, 0, w, d, h, colour), box(0, 0, h - 0.001, w * 0.15, d, 0.003, (0.8, 0.7, 0.5))]


def vase(size, colour):
    w, _, h = size
    stems = [box(x, 0.02 * x, h * 0.7, 0.02, 0.02, h * 0.3, LEAF) for x in (-w / 4, 0, w / 4)]
    return [box(0, 0, 0, w, w, h * 0.5, colour, True), box(0, 0, h * 0.5, w * 0.6, w * 0.6, h * 0.2, colour, True), *stems]


# category: (builder, smallest size, largest size); sizes are width, depth, height in metres
LARGE = {
    "table": (table, (1.2, 0.75, 0.72), (1.7, 0.95, 0.78)),
    "chair": (chair, (0.44, 0.44, 0.85), (0.50, 0.50, 1.0)),
    "sofa": (sofa, (1.6, 0.85, 0.78), (2.1, 0.95, 0.9)),
    "bed": (bed, (1.4, 2.0, 0.9), (1.7, 2.1, 1.1)),
    "bookshelf": (bookshelf, (0.8, 0.3, 1.7), (1.1, 0.35, 2.0)),
    "cabinet": (cabinet, (0.8, 0.42, 0.8), (1.2, 0.5, 1.1)),
    "lamp": (lamp, (0.36, 0.36, 1.5), (0.44, 0.44, 1.7)),
    "plant": (plant, (0.5, 0.5, 0.8), (0.65, 0.65, 1.2)),
}
SMALL = {
    "mug": (mug, (0.10, 0.10, 0.11), (0.13, 0.13, 0.14)),
    "parcel": (parcel, (0.25, 0.2, 0.15), (0.4, 0.3, 0.28)),
    "vase": (vase, (0.14, 0.14, 0.35), (0.2, 0.2, 0.45)),
}
