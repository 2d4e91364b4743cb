"""What furniture is made of: paints, and parts that are boxes or turned shapes.

Explained in notebook 01 (RGB-D frames and cameras).
"""

from dataclasses import dataclass

Size = tuple[float, float, float]  # width (x), depth (y), height (z) in metres


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


@dataclass(frozen=True)
class Paint:
    """A colour (red, green, blue in 0..1) and how it is applied: plain, stripes, checks, wood,
    tiles, carpet or weave.
    """

    colour: tuple[float, float, float]
    pattern: str = "plain"


WOOD = Paint((0.55, 0.36, 0.20), "wood")
METAL = Paint((0.58, 0.59, 0.61))
PAPER = Paint((0.88, 0.86, 0.80))
LEAF = Paint((0.16, 0.42, 0.15))
SOIL = Paint((0.25, 0.17, 0.12))
DARK = Paint((0.05, 0.05, 0.06))
WHITE = Paint((0.88, 0.88, 0.87))
TAPE = Paint((0.80, 0.68, 0.45))
GLASS = Paint((0.62, 0.80, 0.93))
SCREEN = Paint((0.07, 0.08, 0.11))


@dataclass
class Part:
    """A shape that fills a box of ``size`` around ``center``; metres.

    Shapes: box, sphere; and upright ones: cylinder, cup (hollow), bowl (hollow, wide at the top),
    cone (wide at the bottom), belly.
    """

    center: tuple[float, float, float]
    size: Size
    paint: Paint
    shape: str = "box"


def box(x, y, z, width, depth, height, paint, shape="box") -> Part:
    """A part by the middle of its bottom face."""
    return Part(
        (float(x), float(y), float(z + height / 2)),
        (float(width), float(depth), float(height)),
        paint,
        shape,
    )


def tone(paint: Paint, factor: float) -> Paint:
    """The same colour, darker or lighter."""
    return Paint(tuple(min(1.0, factor * c) for c in paint.colour))


def legs(width, depth, height, thick, paint=WOOD) -> list[Part]:
    x, y = width / 2 - thick / 2, depth / 2 - thick / 2
    return [box(sx * x, sy * y, 0, thick, thick, height, paint) for sx in (-1, 1) for sy in (-1, 1)]
