"""The one table of what is true in a room, and of what the words for it mean.

``MEASURES`` are numbers, ``STATEMENTS`` hold or do not hold by a number of metres, ``RULES`` answer
questions. Two groups of constants decide: thresholds say what a word means; margins say by how much
it must be true before the package asks about it or says it. Whoever reads a caption back
(``evaluate.facts``) takes words literally: without margins.

Explained in notebook 01 (RGB-D frames and cameras).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from leovl_mini.rooms.facts.graph import SceneGraph
from leovl_mini.rooms.furniture import LARGE, SMALL
from leovl_mini.rooms.room import bottom, off_centre
from leovl_mini.scans.scene import RELATIONS, Object

SECTORS = ("front", "left", "behind", "right")

# Thresholds. A small thing on the floor this near (m) to something large stands beside it; at a
# wall and in a corner the footprint is this near (m) to one wall and to two; the middle reaches
# this far, as a part of the area's size; what is nearer than this (m) is in no direction.
BESIDE, AT_WALL, IN_CORNER, IN_MIDDLE, TOO_NEAR = 0.4, 0.35, 0.45, 0.25, 0.7

# Margins, in metres unless said.
REGION_MARGIN = 0.02  # between two regions of a room (of the middle: a part of the area's size)
TALLER_MARGIN = 0.1
NEARER_MARGIN, NEARER_FACTOR = 0.3, 1.3  # the farther one, by that much and that many times
NEAREST_MARGIN, BESIDE_MARGIN = 0.05, 0.25  # the second nearest large object, when one is named
SECTOR_MARGIN = 15  # degrees to the border of two directions
DISTANCE_LEAST, ROUNDING_MARGIN, CELL_MARGIN = 0.3, 0.005, 0.05
TOUCH = 1e-9  # limits include their border

Verdict = tuple[str, float] | None  # an answer, and by how much it is right; None if unclear


# -- numbers and statements ------------------------------------------------------------------------


class Measure(NamedTuple):
    """A number, and the step to which it is rounded when it is said."""

    value: Callable[..., float]
    step: float

    def said(self, *arguments) -> str:
        return f"{self.value(*arguments):.{0 if self.step == 1 else 1}f}"

    def agrees(self, said: str, *arguments) -> bool:
        """Whether a number is the value rounded; half way between two, either will do."""
        return abs(float(said) - self.value(*arguments)) <= self.step / 2 + 1e-6


MEASURES = {
    "height": Measure(lambda graph, item: 100 * item.size[2], 1),  # centimetres
    "width": Measure(lambda graph, item: 100 * item.size[0], 1),
    "length": Measure(lambda graph, item: 100 * max(item.size[:2]), 1),
    "distance": Measure(lambda graph, a, b: graph.gap(a, b), 0.1),  # metres
    "room size": Measure(lambda graph, *areas: sum(a.size[0] * a.size[1] for a in areas), 0.1),
}


class Statement(NamedTuple):
    """``amount(graph, *objects)`` is how far a statement is from being false, negative where it is;
    from ``margin`` on it is clear.
    """

    amount: Callable[..., float]
    margin: float = 0.0

    def holds(self, graph: SceneGraph, *objects: Object) -> bool:
        return bool(self.amount(graph, *objects) > 0)

    def is_clear(self, graph: SceneGraph, *objects: Object) -> bool:
        return bool(self.amount(graph, *objects) >= self.margin - TOUCH)


def supported(relation: str) -> Statement:
    return Statement(lambda graph, a, b: 1.0 if graph.host(a) == (relation, b) else -1.0)


def beside(graph: SceneGraph, a: Object, b: Object) -> float:
    stands = a.category in SMALL and bottom(a) < 0.02 and graph.host(a) is None
    return close(graph, a, b) if stands and b.category in LARGE else -1.0


def close(graph: SceneGraph, a: Object, b: Object) -> float:
    return BESIDE - graph.gap(a, b) + TOUCH


STATEMENTS = {
    **{relation: supported(relation) for relation in RELATIONS},
    "close": Statement(close),
    "beside": Statement(beside),
    "wall": Statement(lambda g, o: AT_WALL - g.to_walls(o).min() + TOUCH, REGION_MARGIN),
    "corner": Statement(lambda g, o: IN_CORNER - g.to_walls(o).max() + TOUCH, REGION_MARGIN),
    "middle": Statement(
        lambda g, o: IN_MIDDLE - off_centre(o, g.area_of(o)) + TOUCH, REGION_MARGIN
    ),
    "taller": Statement(lambda graph, a, b: a.size[2] - b.size[2], TALLER_MARGIN),
    "nearer": Statement(lambda g, anchor, a, b: g.gap(anchor, b) - g.gap(anchor, a), NEARER_MARGIN),
    "nothing on": Statement(lambda graph, item: -len(graph.held(item, "on")) + TOUCH),
}


# -- rules of questions ----------------------------------------------------------------------------


def existence(graph: SceneGraph, category: str, colour: str | None = None) -> Verdict:
    found = graph.matching(category, colour)
    if not found:
        return "no", 1.0
    return ("yes", 1.0) if any(o.id in graph.clear for o in found) else None


def count(graph: SceneGraph, category: str) -> Verdict:
    found = graph.matching(category)
    clear = 0 < len(found) <= 9 and all(o.id in graph.clear for o in found)
    return (str(len(found)), 1.0) if clear else None


def attribute(name: str) -> Callable[..., Verdict]:
    return lambda graph, item: (item.attributes[name], 1.0) if name in item.attributes else None


def contents(relation: str) -> Callable[..., Verdict]:
    """The category of the one thing that lies on, under or inside an object."""

    def rule(graph: SceneGraph, host: Object) -> Verdict:
        held = graph.held(host, relation)
        return (held[0].category, 1.0) if len(held) == 1 and held[0].id in graph.clear else None

    return rule


def relation(graph: SceneGraph, a: Object, b: Object) -> Verdict:
    """on, under, inside or beside."""
    for word in (*RELATIONS, "beside"):
        if STATEMENTS[word].is_clear(graph, a, b):
            return word, STATEMENTS[word].amount(graph, a, b)
    return None


def place(graph: SceneGraph, item: Object) -> Verdict:
    """Where a thing is: a relation and the name of the object it refers to."""
    host, margin = graph.host(item), 1.0
    if host is None:
        near, _, margin = graph.nearest_large(item)
        if margin < BESIDE_MARGIN or relation(graph, item, near) is None:
            return None
        host = ("beside", near)
    name = graph.name(host[1])
    return (f"{host[0]} the {name}", margin) if name and host[1].id in graph.clear else None


def bearing(position: np.ndarray, heading: float, target: Object) -> float:
    """Degrees from the heading to the target's middle, counted to the left, in (-180, 180]."""
    x, y = np.array(target.center[:2]) - position[:2]
    return math.degrees(math.remainder(math.atan2(y, x) - heading, 2 * math.pi))


def situated(graph: SceneGraph, position: np.ndarray, heading: float, target: Object) -> Verdict:
    """The quarter in which the target lies, as seen from a position."""
    angle = bearing(position, heading, target)
    sector = round(angle / 90)
    margin = 45 - abs(angle - 90 * sector)
    far = math.dist(position[:2], target.center[:2]) >= TOO_NEAR
    return (SECTORS[sector % 4], margin) if margin >= SECTOR_MARGIN and far else None


def nearest(graph: SceneGraph, anchor: Object, a: Object, b: Object) -> Verdict:
    """Which of two is nearer to the anchor, between the closest points."""
    near, far = sorted((a, b), key=lambda o: graph.gap(anchor, o))
    d, e = graph.gap(anchor, near), graph.gap(anchor, far)
    clear = STATEMENTS["nearer"].is_clear(graph, anchor, near, far) and e >= NEARER_FACTOR * d
    return (graph.names[near.id], e - d) if clear and near.id in graph.names else None


def taller(graph: SceneGraph, a: Object, b: Object) -> Verdict:
    high, low = (a, b) if a.size[2] > b.size[2] else (b, a)
    clear = STATEMENTS["taller"].is_clear(graph, high, low) and high.id in graph.names
    return (graph.names[high.id], high.size[2] - low.size[2]) if clear else None


def measured(name: str) -> Callable[..., Verdict]:
    return lambda graph, *objects: (MEASURES[name].said(graph, *objects), 1.0)


def away_from_rounding(metres: float) -> bool:
    """Whether a change of ``ROUNDING_MARGIN`` leaves the first decimal as it is."""
    return 10 * ROUNDING_MARGIN < (10 * metres + 0.5) % 1 < 1 - 10 * ROUNDING_MARGIN


def distance(graph: SceneGraph, a: Object, b: Object) -> Verdict:
    metres = graph.gap(a, b)
    clear = metres >= DISTANCE_LEAST and away_from_rounding(metres)
    return (MEASURES["distance"].said(graph, a, b), 1.0) if clear else None


def coordinates(graph: SceneGraph, item: Object) -> Verdict:
    """The middle of an object, rounded to half a metre."""
    xy = np.array(item.center[:2])
    x, y = rounded = np.round(2 * xy) / 2 + 0.0  # -0.0 becomes 0.0
    margin = float(0.25 - np.abs(xy - rounded).max())
    return (f"x {x:.1f}, y {y:.1f}", margin) if margin >= CELL_MARGIN else None


def stack_order(graph: SceneGraph, a: Object, b: Object) -> Verdict:
    for upper, lower in ((a, b), (b, a)):
        if graph.host(upper) == ("on", lower) and graph.name(upper):
            return graph.names[upper.id], 1.0
    return None


def stacked(graph: SceneGraph, a: Object, b: Object) -> Verdict:
    order = stack_order(graph, a, b)
    return order and ("yes" if order[0] == graph.name(a) else "no", 1.0)


RULES: dict[str, Callable[..., Verdict]] = {
    "existence": existence,
    "count": count,
    **{name: attribute(name) for name in ("colour", "pattern", "state")},
    **{f"contents {relation}": contents(relation) for relation in RELATIONS},
    "place": place,
    "relation": relation,
    "situated": situated,
    "nearest": nearest,
    "taller": taller,
    "height": measured("height"),
    "length": measured("length"),
    "distance": distance,
    "room size": lambda graph: (MEASURES["room size"].said(graph, *graph.areas), 1.0),
    "coordinates": coordinates,
    "stack order": stack_order,
    "stacked": stacked,
}
