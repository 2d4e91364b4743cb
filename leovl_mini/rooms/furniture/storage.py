"""Furniture that holds things: boards, doors and drawers, and what is made of them.

Placed and sized as described in large.py.

Explained in notebook 01 (RGB-D frames and cameras).
"""

import numpy as np

from leovl_mini.rooms.furniture.parts import (
    COLOURS,
    DARK,
    METAL,
    WHITE,
    WOOD,
    Paint,
    Part,
    Size,
    box,
    legs,
    tone,
)

DRAWERS = 0.4  # m, width of the drawer block on the right side of a desk
BOOKS = [Paint(c) for name, c in COLOURS.items() if name not in ("white", "black")]


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
        inner = (width - 0.04, depth - 0.042, height - 0.04)
        lining = boards(x, y - 0.001, z + 0.02, *inner, DARK, 0.005)
        return boards(x, y, z, width, depth, height, paint) + lining
    joints = box(x, y + depth / 2, z + 0.02, width - 0.04, 0.01, height - 0.04, tone(paint, 0.4))
    return [box(x, y, z, width, depth, height, paint), joints]


def leaf(x, y, z, width, height, paint, open, hinge) -> list[Part]:
    """A cupboard door with its handle, in front of ``y``; it turns about its left (hinge -1) or
    right (1) edge.
    """
    grip = z + height / 2 - 0.1
    if open:
        edge = x + hinge * (width / 2 - 0.01)
        handle = box(edge - hinge * 0.02, y + width - 0.05, grip, 0.02, 0.02, 0.2, METAL)
        return [box(edge, y + width / 2, z, 0.02, width, height, paint), handle]
    handle = box(x - hinge * (width / 2 - 0.05), y + 0.03, grip, 0.02, 0.02, 0.2, METAL)
    return [box(x, y + 0.01, z, width, 0.02, height, paint), handle]


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
    books = []
    for j in (0, 1, 3):  # compartment 2 stays empty, see shelf()
        for i, x in enumerate(np.arange(-w / 2 + 0.08, w / 2 - 0.08, 0.06)):
            if (i * 3 + j * 5) % 7 < 5:
                high = 0.18 + 0.05 * ((i * 7 + j * 3) % 4) / 3
                paper = BOOKS[(i * 5 + j * 3) % 6]
                books.append(box(x, 0.02, levels[j] + 0.03, 0.05, d * 0.7, high, paper))
    plinth = box(0, 0, 0.03, w - 0.01, d - 0.01, 0.05, paint)
    shelves = [box(0, 0, z, w - 0.01, d - 0.01, 0.03, paint) for z in levels[1:-1]]
    return [*boards(0, 0, 0.0, w, d, h, paint, 0.03), plinth, *shelves, *books]


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
    heights = [low + (h - low) * share for share in (0.25, 0.5, 0.75)] if open else []
    racks = [box(0, -0.03, z, w - 0.06, d - 0.12, 0.015, WHITE) for z in heights]
    lower = case(0, -0.015, 0, w, d - 0.03, low, paint, False)
    upper = case(0, -0.015, low, w, d - 0.03, h - low, paint, open)
    return [*lower, *upper, *doors, *freezer, *racks]
