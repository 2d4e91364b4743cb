"""Small things, and what is fixed on walls; placed and sized as described in large.py.

Explained in notebook 01 (RGB-D frames and cameras).
"""

from leovl_mini.rooms.furniture.parts import (
    DARK,
    GLASS,
    LEAF,
    METAL,
    PAPER,
    SCREEN,
    TAPE,
    WHITE,
    WOOD,
    Paint,
    box,
    tone,
)

BASKET_FLOOR = 0.03  # m, height at which things lie in a basket


def mug(size, paint, open=False):
    w, d, h = size
    arms = [box(w * 0.32, 0, z * h, w * 0.3, 0.02, 0.02, paint) for z in (0.2, 0.65)]
    return [
        box(-w * 0.1, 0, 0, w * 0.8, d, h, paint, "cup"),
        *arms,
        box(w * 0.45, 0, h * 0.2, 0.02, 0.02, h * 0.6, paint),
    ]


def parcel(size, paint, open=False):
    w, d, h = size
    return [
        box(0, 0, 0, w, d, h - 0.002, paint),
        box(0, 0, 0.01, w * 0.14, d + 0.004, h - 0.01, TAPE),
    ]


def vase(size, paint, open=False):
    w, d, h = size
    stems = [box(x, x / 3, h * 0.6, 0.015, 0.015, h * 0.4 - abs(x), LEAF) for x in (-0.03, 0, 0.03)]
    neck = box(0, 0, h * 0.55, w * 0.6, d * 0.6, h * 0.2, paint, "bowl")
    return [box(0, 0, 0, w, d, h * 0.62, paint, "belly"), neck, *stems]


def book(size, paint, open=False):
    w, d, h = size
    covers = [box(0, 0, z, w, d, 0.012, paint) for z in (0, h - 0.012)]
    return [
        *covers,
        box(0, -0.005, 0.01, w - 0.02, d - 0.01, h - 0.02, PAPER),
        box(0.006 - w / 2, 0, 0, 0.012, d, h, paint),
    ]


def bottle(size, paint, open=False):
    w, d, h = size
    body, shoulder = (
        box(0, 0, 0, w, d, h * 0.62, paint, "cylinder"),
        box(0, 0, h * 0.62, w, d, h * 0.14, paint, "cone"),
    )
    neck = box(0, 0, h * 0.7, w * 0.38, d * 0.38, h * 0.24, paint, "cylinder")
    return [
        body,
        shoulder,
        neck,
        box(0, 0, h * 0.92, w * 0.44, d * 0.44, h * 0.08, METAL, "cylinder"),
    ]


def bowl(size, paint, open=False):
    return [box(0, 0, 0, *size, paint, "bowl")]


def ball(size, paint, open=False):
    return [box(0, 0, 0, *size, paint, "sphere")]


def basket(size, paint, open=False):
    """Open at the top; things lie on its floor at 3 cm."""
    w, d, h = size
    wicker = Paint(paint.colour, "weave")
    walls = [box(s * (w / 2 - 0.01), 0, 0, 0.02, d, h, wicker) for s in (-1, 1)]
    walls += [box(0, s * (d / 2 - 0.01), 0, w - 0.03, 0.02, h, wicker) for s in (-1, 1)]
    grips = [box(s * w / 2, 0, h * 0.7, 0.02, 0.12, 0.04, WOOD) for s in (-1, 1)]
    return [box(0, 0, 0, w - 0.01, d - 0.01, BASKET_FLOOR, tone(paint, 0.7)), *walls, *grips]


def laptop(size, paint, open=False):
    w, d, h = size
    keys = box(0, 0.03 - d * 0.05, 0.02, w * 0.8, d * 0.4, 0.004, DARK)
    screen = box(0, 0.025 - d / 2, 0.045, w - 0.04, 0.005, h - 0.07, SCREEN)
    return [
        box(0, 0, 0, w, d, 0.022, paint),
        box(0, 0.012 - d / 2, 0, w, 0.022, h, paint),
        keys,
        screen,
    ]


def radio(size, paint, open=False):
    w, d, h = size
    discs = [
        box(s * w * 0.29, d / 2 - 0.005, h * 0.12, h * 0.62, 0.03, h * 0.62, DARK, "sphere")
        for s in (-1, 1)
    ]
    dial = box(0, d / 2 - 0.01, h * 0.55, w * 0.18, 0.02, h * 0.22, PAPER)
    knobs = [
        box(s * 0.025, d / 2 - 0.01, h * 0.2, 0.03, 0.03, 0.03, METAL, "sphere") for s in (-1, 1)
    ]
    return [box(0, 0, 0, w, d - 0.01, h, paint), *discs, dial, *knobs]


def backpack(size, paint, open=False):
    w, d, h = size
    pocket = box(0, d / 2 - 0.035, 0.04, w * 0.75, 0.07, h * 0.42, tone(paint, 0.75))
    straps = [box(s * w * 0.25, 0.01 - d / 2, h * 0.1, 0.05, 0.03, h * 0.75, DARK) for s in (-1, 1)]
    body, top = (
        box(0, -0.02, 0, w, d - 0.06, h * 0.72, paint),
        box(0, -0.02, h * 0.45, w, d - 0.06, h * 0.52, paint, "sphere"),
    )
    return [body, top, box(0, -0.02, h * 0.94, 0.1, 0.03, h * 0.06, DARK), pocket, *straps]


def television(size, paint, open=False):
    """A dark panel on a foot, whatever the paint."""
    w, d, h = size
    foot = [box(0, 0, 0, w * 0.4, d, 0.02, METAL), box(0, 0, 0.02, 0.08, 0.05, 0.1, METAL)]
    return [
        *foot,
        box(0, 0, 0.08, w, 0.05, h - 0.08, DARK),
        box(0, 0.025, 0.1, w - 0.05, 0.006, h - 0.13, SCREEN),
    ]


def door(size, paint, open=False):
    """A leaf in a white frame, darkness behind; open, the leaf stands out at its left edge."""
    w, d, h = size
    frame = [box(s * (w / 2 - 0.03), 0, 0, 0.06, d, h, WHITE) for s in (-1, 1)] + [
        box(0, 0, h - 0.06, w - 0.12, d, 0.06, WHITE)
    ]
    frame.append(box(0, -0.01, 0, w - 0.12, d - 0.03, h - 0.06, DARK))
    if open:
        edge, wide = 0.08 - w / 2, w - 0.12
        grip = box(edge, wide - 0.09, 1.0, 0.12, 0.12, 0.03, METAL)
        return [*frame, grip, box(edge, wide / 2 + 0.01, 0.01, 0.04, wide, h - 0.08, paint)]
    panels = [box(0, 0.022, z, w * 0.6, 0.012, 0.7, tone(paint, 0.8)) for z in (0.15, 1.1)]
    leaf, grip = (
        box(0, 0.003, 0.01, w - 0.13, 0.035, h - 0.08, paint),
        box(w / 2 - 0.14, 0.035, 1.0, 0.12, 0.04, 0.03, METAL),
    )
    return [*frame, leaf, grip, *panels]


def window(size, paint, open=False):
    """A white frame with light-blue panes, whatever the paint."""
    w, d, h = size
    posts = [
        box(x, 0, 0.03, 0.06, d - 0.01, h - 0.03, WHITE) for x in (0.03 - w / 2, 0, w / 2 - 0.03)
    ]
    rails = [box(0, 0, z, w, d - 0.005, 0.05, WHITE) for z in (0.03, h * 0.62, h - 0.05)]
    return [
        box(0, 0.02, 0, w, d, 0.03, WHITE),
        *posts,
        *rails,
        box(0, -0.01, 0.03, w - 0.05, 0.02, h - 0.04, GLASS),
    ]
