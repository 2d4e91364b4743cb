"""Large furniture of boxes and turned shapes; what has doors, drawers or boards is in storage.py.

An object stands on z = 0, centred at x = y = 0, its back at -y (the side that goes against a wall)
and its front at +y. Everything stays inside ``size`` (3 cm of tolerance for handles) and reaches
its top; open doors and drawers come out at the front.

Explained in notebook 01 (RGB-D frames and cameras).
"""

import numpy as np

from leovl_mini.rooms.furniture.parts import (
    DARK,
    GLASS,
    LEAF,
    METAL,
    SCREEN,
    SOIL,
    WHITE,
    WOOD,
    box,
    legs,
    tone,
)


def table(size, paint, open=False):
    w, d, h = size
    apron = box(0, 0, h - 0.14, w - 0.08, d - 0.08, 0.1, paint)
    return [
        box(0, 0, h - 0.05, w, d, 0.05, paint),
        apron,
        *legs(w - 0.04, d - 0.04, h - 0.05, 0.07),
    ]


def chair(size, paint, open=False):
    w, d, h = size
    posts = [
        box(s * (w / 2 - 0.025), 0.025 - d / 2, 0.45, 0.05, 0.05, h - 0.47, WOOD) for s in (-1, 1)
    ]
    back = box(0, 0.03 - d / 2, h - 0.32, w, 0.06, 0.32, paint)
    return [box(0, 0, 0.4, w, d, 0.07, paint), back, *posts, *legs(w, d, 0.42, 0.05)]


def sofa(size, paint, open=False):
    """Also the armchair: as many cushions as fit."""
    w, d, h = size
    seats, arm = max(1, round((w - 0.36) / 0.65)), 0.17
    each = (w - 2 * arm) / seats
    arms = [box(s * (w - arm) / 2, 0, 0.06, arm, d, 0.54, paint) for s in (-1, 1)]
    places = [(i + 0.5) * each + arm - w / 2 for i in range(seats)]
    cushions = [box(x, 0.11, 0.28, each - 0.02, d - 0.24, 0.16, paint) for x in places]
    rest = [box(x, 0.27 - d / 2, 0.44, each - 0.02, 0.12, h - 0.5, paint) for x in places]
    frame = [
        box(0, 0, 0.06, w - 0.02, d - 0.04, 0.22, tone(paint, 0.7)),
        box(0, 0.11 - d / 2, 0.06, w, 0.22, h - 0.06, paint),
    ]
    return [*frame, *arms, *cushions, *rest, *legs(w - 0.1, d - 0.1, 0.07, 0.06)]


def bed(size, paint, open=False):
    w, d, h = size
    pillows = [box(s * w / 4, 0.34 - d / 2, 0.48, w * 0.38, 0.38, 0.12, WHITE) for s in (-1, 1)]
    blanket = box(0, 0.28, 0.2, w, d - 0.56, 0.31, paint)
    mattress = box(0, 0, 0.27, w - 0.04, d - 0.08, 0.21, WHITE)
    frame, head = (
        box(0, 0, 0.08, w - 0.02, d - 0.03, 0.2, WOOD),
        box(0, 0.04 - d / 2, 0, w, 0.08, h, paint),
    )
    return [frame, head, mattress, blanket, *pillows, *legs(w - 0.04, d - 0.06, 0.09, 0.08)]


def lamp(size, paint, open=False):
    w, d, h = size
    foot, pole = (
        box(0, 0, 0, 0.28, 0.28, 0.03, METAL, "cylinder"),
        box(0, 0, 0.03, 0.03, 0.03, h - 0.2, METAL, "cylinder"),
    )
    return [foot, pole, box(0, 0, h - 0.36, w, d, 0.36, paint, "cone")]


def plant(size, paint, open=False):
    """A pot in the named colour with green leaves."""
    w, d, h = size
    rim = h * 0.42
    pot = [
        box(0, 0, 0, w * 0.75, d * 0.75, rim, paint, "bowl"),
        box(0, 0, rim - 0.06, w * 0.6, d * 0.6, 0.02, SOIL, "cylinder"),
    ]
    ring = [
        (np.cos(a) * w / 4, np.sin(a) * d / 4, rim + (i % 3) * 0.08 * h)
        for i, a in enumerate(np.arange(7) * np.pi / 3.5)
    ]
    leaves = [box(x, y, z - 0.02, w / 2, d / 2, h * 0.36, LEAF, "sphere") for x, y, z in ring]
    return [*pot, box(0, 0, rim, w / 2.5, d / 2.5, h - rim, LEAF, "sphere"), *leaves]


def stool(size, paint, open=False):
    w, d, h = size
    return [
        box(0, 0, h - 0.12, w, d, 0.12, paint, "cylinder"),
        *legs(w * 0.75, d * 0.75, h - 0.1, 0.05),
    ]


def sink(size, paint, open=False):
    w, d, h = size
    top = h - 0.18
    tap = [
        box(0, 0.06 - d / 2, top, 0.05, 0.05, 0.18, METAL, "cylinder"),
        box(0, 0.13 - d / 2, h - 0.04, 0.04, 0.18, 0.04, METAL),
    ]
    drain = box(0, 0, top - 0.175, 0.08, 0.08, 0.01, METAL, "cylinder")
    return [
        box(0, -0.03, 0, w * 0.38, d * 0.45, top - 0.18, paint),
        box(0, 0, top - 0.2, w, d, 0.2, paint, "cup"),
        drain,
        *tap,
    ]


def bathtub(size, paint, open=False):
    w, d, h = size
    top = h - 0.14
    tap = [
        box(0.06 - w / 2, 0, top, 0.05, 0.05, 0.14, METAL, "cylinder"),
        box(0.13 - w / 2, 0, h - 0.04, 0.18, 0.04, 0.04, METAL),
    ]
    water = box(0, 0, top - 0.16, w * 0.87, d * 0.87, 0.01, GLASS, "cylinder")
    return [
        box(0, 0, 0.02, w, d, top - 0.02, paint, "cup"),
        water,
        *legs(w * 0.7, d * 0.7, 0.06, 0.08, METAL),
        *tap,
    ]


def toilet(size, paint, open=False):
    w, d, h = size
    tank = [
        box(0, 0.09 - d / 2, 0.38, w, 0.18, h - 0.38, paint),
        box(0, 0.09 - d / 2, h - 0.01, 0.06, 0.04, 0.01, METAL),
    ]
    lid = box(0, 0.2 - d / 2, 0.41, w * 0.9, 0.03, h - 0.44, paint)
    bowl, foot = (
        box(0, 0.1, 0.16, w * 0.95, d - 0.2, 0.26, paint, "bowl"),
        box(0, -0.02, 0, w * 0.5, d * 0.6, 0.2, paint),
    )
    return [
        *tank,
        lid,
        bowl,
        foot,
        box(0, 0.1, 0.3, w * 0.68, (d - 0.2) * 0.68, 0.01, GLASS, "cylinder"),
    ]


def stove(size, paint, open=False):
    w, d, h = size
    plates = [
        box(x * w / 4, y * d / 4, h - 0.005, w * 0.36, w * 0.36, 0.005, DARK, "cylinder")
        for x in (-1, 1)
        for y in (-1, 1)
    ]
    knobs = [
        box(x * w / 6, d / 2 - 0.02, h - 0.11, 0.05, 0.04, 0.05, METAL, "sphere")
        for x in (-2, -1, 1, 2)
    ]
    window = box(0, d / 2 - 0.02, 0.2, w * 0.68, 0.02, h * 0.38, SCREEN)
    grip = box(0, d / 2, 0.26 + h * 0.38, w * 0.7, 0.03, 0.03, METAL)
    top = box(0, 0, h - 0.03, w, d, 0.028, METAL)
    return [box(0, -0.01, 0, w, d - 0.02, h - 0.03, paint), top, *plates, *knobs, window, grip]
