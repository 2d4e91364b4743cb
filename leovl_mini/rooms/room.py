"""What a room is, and the plane geometry of its upright boxes."""

import math
from dataclasses import dataclass, field

import numpy as np

from leovl_mini.rooms.furniture import COLOURS, FIXED, LARGE, SMALL, WOOD, Paint, Part
from leovl_mini.scans.scene import Object


@dataclass
class Area:
    """One rectangle of floor, ``size`` (width x, depth y) metres around ``center``, used as a
    ``kind`` of room.
    """

    kind: str
    center: tuple[float, float]
    size: tuple[float, float]


@dataclass
class Room:
    """One or two adjoining areas. ``size`` (x, y, z) metres bounds them; the floor's middle is the
    origin.

    ``parts[i]`` builds ``objects[i]`` in the object's own frame: footprint's middle at the origin,
    standing on z = 0, back at -y. ``walls`` are floor, ceiling and walls in the world; they belong
    to no object.
    """

    seed: int
    size: tuple[float, float, float]
    areas: list[Area]
    wall_colour: tuple[float, float, float]
    floor_colour: tuple[float, float, float]
    floor_pattern: str
    walls: list[Part] = field(default_factory=list)
    objects: list[Object] = field(default_factory=list)
    parts: list[list[Part]] = field(default_factory=list)

    def add(self, item: Object) -> None:
        self.objects.append(item)
        self.parts.append(build(item))


def build(item: Object) -> list[Part]:
    """The parts of an object, from its category, size, colour, pattern and state."""
    kind = LARGE.get(item.category) or SMALL.get(item.category) or FIXED[item.category]
    pattern = {"striped": "stripes", "checked": "checks"}.get(
        item.attributes.get("pattern", ""), "plain"
    )
    paint = (
        Paint(COLOURS[item.attributes["colour"]], pattern) if "colour" in item.attributes else WOOD
    )
    return kind.build(item.size, paint, item.attributes.get("state") == "open")


def free_floor(
    objects: list[Object], area: Area, clearance: float = 0.18, step: float = 0.1
) -> tuple[np.ndarray, np.ndarray]:
    """Points (n,m,2) of a grid over the area, and (n,m) where a person of that radius can stand."""
    axes = [
        np.arange(-s / 2 + step / 2, s / 2, step) + c
        for s, c in zip(area.size, area.center, strict=True)
    ]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    free = (np.abs(points - area.center) < np.array(area.size) / 2 - clearance).all(-1)
    for item in objects:
        if item.center[2] - item.size[2] / 2 < 1.0 and item.category not in FIXED:
            free &= to_footprint(points, item) > clearance
    return points, free


def to_footprint(points: np.ndarray, item: Object) -> np.ndarray:
    """Metres from points (...,2) to an object's footprint; 0 inside."""
    local = (
        np.abs(rotate(points - np.array(item.center[:2]), -item.yaw)) - np.array(item.size[:2]) / 2
    )
    return np.hypot(*np.moveaxis(local.clip(0), -1, 0))


def rotate(xy: np.ndarray, yaw: float) -> np.ndarray:
    cos, sin = math.cos(yaw), math.sin(yaw)
    return xy @ np.array([[cos, sin], [-sin, cos]])


def top(item: Object) -> float:
    return item.center[2] + item.size[2] / 2


def turned_extent(item: Object, yaw: float) -> np.ndarray:
    """Width and depth of the axis-parallel box around the turned footprint."""
    cos, sin = abs(math.cos(yaw)), abs(math.sin(yaw))
    return np.array([[cos, sin], [sin, cos]]) @ item.size[:2]


def within(area: Area, item: Object) -> bool:
    """Whether the object's middle lies in the area."""
    return bool(
        (np.abs(np.array(item.center[:2]) - area.center) <= np.array(area.size) / 2 + 1e-6).all()
    )


def corners(item: Object, margin: float = 0.0) -> np.ndarray:
    """The footprint's four corners (4,2)."""
    half = np.array(item.size[:2]) / 2 + margin
    return np.array(item.center[:2]) + rotate(
        np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half, item.yaw
    )


def collide(a: Object, b: Object, margin: float) -> bool:
    """Whether two upright boxes come closer than ``margin`` sideways while they share a height.

    Things may stand on each other (1 mm of touching is allowed), but a window keeps 3 cm away: it
    stands on nothing.
    """
    slack = -0.03 if "window" in (a.category, b.category) else 1e-3
    if abs(a.center[2] - b.center[2]) > (a.size[2] + b.size[2]) / 2 - slack:
        return False
    reach = (math.hypot(*a.size[:2]) + math.hypot(*b.size[:2])) / 2 + margin
    if math.hypot(a.center[0] - b.center[0], a.center[1] - b.center[1]) > reach:
        return False
    return overlap(a, b, margin)


def overlap(a: Object, b: Object, margin: float) -> bool:
    """Whether two turned footprints come closer than ``margin`` (separating axis test)."""
    first, second = corners(a, margin / 2), corners(b, margin / 2)
    for yaw in (a.yaw, a.yaw + math.pi / 2, b.yaw, b.yaw + math.pi / 2):
        axis = np.array([math.cos(yaw), math.sin(yaw)])
        p, q = first @ axis, second @ axis
        if p.max() < q.min() or q.max() < p.min():
            return False
    return True


def gaps(objects: list[Object]) -> np.ndarray:
    """Metres (n,n) between the closest points of every two upright boxes; 0 where they touch or
    intersect.

    Sideways, two rectangles that do not overlap are closest at a corner of one of them.
    """
    center = np.array([o.center for o in objects])
    half = np.array([o.size for o in objects]) / 2
    cos, sin = (f(np.array([o.yaw for o in objects])) for f in (np.cos, np.sin))
    axes = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], 1)  # (n, 2 axes, xy)
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    corner = center[:, None, :2] + np.einsum(
        "nka,nax->nkx", signs * half[:, None, :2], axes
    )  # (n, 4, xy)
    local = np.einsum(
        "max,mnkx->mnka", axes, corner[None] - center[:, None, None, :2]
    )  # corners of n as seen by m
    beyond = np.linalg.norm((np.abs(local) - half[:, None, None, :2]).clip(0), axis=-1).min(
        -1
    )  # (m, n)
    separated = ((local.min(2) > half[:, None, :2]) | (local.max(2) < -half[:, None, :2])).any(
        -1
    )  # on an axis of m
    flat = np.where(separated | separated.T, np.minimum(beyond, beyond.T), 0)
    upright = (
        np.abs(center[:, None, 2] - center[None, :, 2]) - half[:, None, 2] - half[None, :, 2]
    ).clip(0)
    return np.hypot(flat, upright)
