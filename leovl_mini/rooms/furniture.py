"""Parametric furniture: each category is a short list of boxes and turned shapes.

An object stands on z = 0, centred at x = y = 0, its back at -y (the side that goes against a wall)
and its front at +y. Everything stays inside ``size`` (3 cm of tolerance for handles) and reaches
its top; open doors and drawers come out at the front.
"""

import numpy as np

from leovl_mini.rooms.parts import (
    COLOURS,
    DARK,
    GLASS,
    LEAF,
    METAL,
    SCREEN,
    SOIL,
    WHITE,
    WOOD,
    Kind,
    Paint,
    Part,
    Size,
    box,
    legs,
    tone,
)
from leovl_mini.rooms.small import FIXED, SMALL

__all__ = [
    "COLOURS",
    "FIXED",
    "LARGE",
    "OPENABLE",
    "PATTERNED",
    "PATTERNS",
    "SMALL",
    "STATES",
    "Kind",
    "Paint",
    "Part",
    "shelf",
]


TONES = [
    Paint(colour) for name, colour in COLOURS.items() if name not in ("white", "black")
]  # of the books on a shelf


DRAWERS = 0.4  # m, width of the drawer block on the right side of a desk


def boards(x, y, z, width, depth, height, paint, thick=0.02) -> list[Part]:
    """A hollow box that is open at the front."""
    sides = [box(x + s * (width - thick) / 2, y, z, thick, depth, height, paint) for s in (-1, 1)]
    levels = [box(x, y, level, width, depth, thick, paint) for level in (z, z + height - thick)]
    return [*sides, *levels, box(x, y - (depth - thick) / 2, z, width, thick, height, paint)]


def case(x, y, z, width, depth, height, paint, open) -> list[Part]:
    """The body behind doors: hollow and dark inside when open, otherwise solid with dark joints
    around the doors.
    """
    if open:
        lining = boards(
            x, y - 0.001, z + 0.02, width - 0.04, depth - 0.042, height - 0.04, DARK, 0.005
        )
        return boards(x, y, z, width, depth, height, paint) + lining
    joints = box(x, y + depth / 2, z + 0.02, width - 0.04, 0.01, height - 0.04, tone(paint, 0.4))
    return [box(x, y, z, width, depth, height, paint), joints]


def leaf(x, y, z, width, height, paint, open, hinge) -> list[Part]:
    """A cupboard door with its handle, in front of ``y``; it turns about its left (hinge -1) or
    right (1) edge.
    """
    if open:
        edge = x + hinge * (width / 2 - 0.01)
        grip = box(
            edge - hinge * 0.02, y + width - 0.05, z + height / 2 - 0.1, 0.02, 0.02, 0.2, METAL
        )
        return [box(edge, y + width / 2, z, 0.02, width, height, paint), grip]
    grip = box(
        x - hinge * (width / 2 - 0.05), y + 0.03, z + height / 2 - 0.1, 0.02, 0.02, 0.2, METAL
    )
    return [box(x, y + 0.01, z, width, 0.02, height, paint), grip]


def drawer(x, y, z, width, height, paint, out=0.0) -> list[Part]:
    """A drawer front with its handle, pulled out by ``out`` metres in front of ``y``; one sees into
    the open drawer.
    """
    front = [
        box(x, y + out + 0.01, z, width, 0.02, height, paint),
        box(x, y + out + 0.03, z + height / 2, 0.14, 0.02, 0.02, METAL),
    ]
    sides = [
        box(x + s * (width / 2 - 0.03), y + out / 2, z, 0.02, out, height - 0.03, paint)
        for s in (-1, 1)
    ]
    return [*front, *sides, box(x, y + out / 2, z, width - 0.08, out, 0.02, DARK)] if out else front


def table(size, paint, open=False):
    w, d, h = size
    apron = box(0, 0, h - 0.14, w - 0.08, d - 0.08, 0.1, paint)
    return [
        box(0, 0, h - 0.05, w, d, 0.05, paint),
        apron,
        *legs(w - 0.04, d - 0.04, h - 0.05, 0.07),
    ]


def desk(size, paint, open=False):
    w, d, h = size
    x, step = w / 2 - DRAWERS / 2, (h - 0.1) / 3
    fronts = [
        p
        for i in range(3)
        for p in drawer(x, d / 2 - 0.03, 0.04 + i * step, DRAWERS - 0.06, step - 0.02, paint)
    ]
    side = box(0.02 - w / 2, 0, 0, 0.04, d - 0.04, h - 0.04, paint)
    return [
        box(0, 0, h - 0.04, w, d, 0.04, paint),
        side,
        *case(x, -0.015, 0, DRAWERS, d - 0.05, h - 0.04, paint, False),
        *fronts,
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


def nightstand(size, paint, open=False):
    w, d, h = size
    y, each = d / 2 - 0.03, (h - 0.16) / 2
    lower = drawer(0, y, 0.09, w - 0.06, each - 0.02, paint)
    upper = drawer(0, y, 0.09 + each, w - 0.06, each, paint, 0.26 if open else 0.0)
    hole = [box(0, y - 0.005, 0.1 + each, w - 0.06, 0.012, each - 0.02, DARK)] if open else []
    return [
        *case(0, -0.015, 0.06, w, d - 0.03, h - 0.06, paint, False),
        *lower,
        *upper,
        *hole,
        *legs(w, d - 0.04, 0.06, 0.05),
    ]


def cabinet(size, paint, open=False):
    w, d, h = size
    doors = [
        p
        for s in (-1, 1)
        for p in leaf(s * w / 4, d / 2 - 0.03, 0.05, w / 2 - 0.04, h - 0.1, paint, open, s)
    ]
    board = [box(0, -0.03, h / 2, w - 0.05, d - 0.1, 0.02, WOOD)] if open else []
    return [*case(0, -0.015, 0, w, d - 0.03, h, paint, open), *doors, *board]


def tv_stand(size, paint, open=False):
    """A wide low body: an open niche between two doors."""
    w, d, h = size
    third, y = w / 3, d / 2 - 0.03
    sides = [
        p
        for s in (-1, 1)
        for p in case(s * third, -0.015, 0.08, third, d - 0.03, h - 0.12, paint, open)
    ]
    doors = [
        p for s in (-1, 1) for p in leaf(s * third, y, 0.11, third - 0.05, h - 0.18, paint, open, s)
    ]
    niche = case(0, -0.015, 0.08, third, d - 0.03, h - 0.12, paint, True)
    return [
        box(0, 0, h - 0.04, w, d, 0.04, paint),
        *sides,
        *niche,
        *doors,
        *legs(w - 0.1, d - 0.1, 0.08, 0.05),
    ]


def shelf(size: Size) -> tuple[float, float]:
    """Height of the floor, and clear height, of the empty compartment of a bookshelf of this size;
    metres.
    """
    step = (size[2] - 0.08) / 4
    return 0.05 + 2 * step + 0.03, step - 0.03


def bookshelf(size, paint, open=False):
    w, d, h = size
    levels = np.linspace(0.05, h - 0.03, 5)
    books = [
        box(
            x,
            0.02,
            levels[j] + 0.03,
            0.05,
            d * 0.7,
            0.18 + 0.05 * ((i * 7 + j * 3) % 4) / 3,
            TONES[(i * 5 + j * 3) % 6],
        )
        for j in (0, 1, 3)  # compartment 2 stays empty, see shelf()
        for i, x in enumerate(np.arange(-w / 2 + 0.08, w / 2 - 0.08, 0.06))
        if (i * 3 + j * 5) % 7 < 5
    ]
    levels = [box(0, 0, z, w - 0.01, d - 0.01, 0.03, paint) for z in levels[1:-1]]
    return [
        *boards(0, 0, 0.0, w, d, h, paint, 0.03),
        box(0, 0, 0.03, w - 0.01, d - 0.01, 0.05, paint),
        *levels,
        *books,
    ]


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


def fridge(size, paint, open=False):
    """Two doors above a wide freezer drawer."""
    w, d, h = size
    y, low = d / 2 - 0.03, h * 0.36
    doors = [
        p
        for s in (-1, 1)
        for p in leaf(s * w / 4, y, low, w / 2 - 0.02, h - low - 0.02, paint, open, s)
    ]
    freezer = [
        box(0, y + 0.01, 0.06, w - 0.02, 0.02, low - 0.08, paint),
        box(0, y + 0.03, low - 0.1, w * 0.6, 0.02, 0.03, METAL),
    ]
    racks = (
        [
            box(0, -0.03, low + (h - low) * f, w - 0.06, d - 0.12, 0.015, WHITE)
            for f in (0.25, 0.5, 0.75)
        ]
        if open
        else []
    )
    lower = case(0, -0.015, 0, w, d - 0.03, low, paint, False)
    return [
        *lower,
        *case(0, -0.015, low, w, d - 0.03, h - low, paint, open),
        *doors,
        *freezer,
        *racks,
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


LARGE = {
    "table": Kind(table, (1.2, 0.75, 0.70), (1.7, 0.95, 0.80)),
    "desk": Kind(desk, (1.2, 0.60, 0.70), (1.6, 0.75, 0.80)),
    "chair": Kind(chair, (0.44, 0.44, 0.82), (0.50, 0.50, 1.0)),
    "armchair": Kind(sofa, (0.8, 0.8, 0.78), (0.95, 0.9, 0.98)),
    "sofa": Kind(sofa, (1.6, 0.85, 0.75), (2.2, 0.95, 0.92)),
    "bed": Kind(bed, (1.2, 2.0, 0.85), (1.7, 2.1, 1.15)),
    "nightstand": Kind(nightstand, (0.42, 0.38, 0.48), (0.52, 0.45, 0.64)),
    "cabinet": Kind(cabinet, (0.75, 0.42, 0.85), (0.95, 0.5, 1.2)),
    "bookshelf": Kind(bookshelf, (0.8, 0.3, 1.6), (1.1, 0.36, 1.85)),
    "lamp": Kind(lamp, (0.38, 0.38, 1.35), (0.48, 0.48, 1.7)),
    "plant": Kind(plant, (0.45, 0.45, 0.75), (0.6, 0.6, 1.2)),
    "stool": Kind(stool, (0.36, 0.36, 0.44), (0.44, 0.44, 0.62)),
    "tv stand": Kind(tv_stand, (1.15, 0.38, 0.42), (1.4, 0.46, 0.55)),
    "sink": Kind(sink, (0.50, 0.42, 0.95), (0.65, 0.50, 1.1)),
    "bathtub": Kind(bathtub, (1.5, 0.70, 0.65), (1.75, 0.82, 0.75)),
    "toilet": Kind(toilet, (0.38, 0.64, 0.75), (0.44, 0.72, 0.88)),
    "fridge": Kind(fridge, (0.75, 0.62, 1.6), (0.9, 0.70, 1.9)),
    "stove": Kind(stove, (0.58, 0.58, 0.84), (0.65, 0.64, 0.94)),
}


PATTERNED = {
    "sofa",
    "armchair",
    "bed",
    "table",
    "desk",
    "cabinet",
    "nightstand",
    "tv stand",
    "bookshelf",
    "stool",
    "chair",
}


OPENABLE = ("cabinet", "nightstand", "tv stand", "fridge", "door")


PATTERNS, STATES = ("plain", "striped", "checked"), ("open", "closed")
