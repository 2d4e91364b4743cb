"""What a room is, and the plane geometry of its upright boxes: their footprints are polygons.

Explained in notebook 01 (RGB-D frames and cameras).
"""

import math
import re
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import shapely

from leovl_mini.rooms.furniture import FIXED, build
from leovl_mini.rooms.furniture.parts import Paint, Part
from leovl_mini.scans.scene import Object

WALL, HEIGHT = 0.1, 2.6  # m, thickness of walls and height of rooms
CORNERS = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])

Span = tuple[float, float]  # from, to


@dataclass
class Area:
    """One rectangle of floor, ``size`` (width x, depth y) metres around ``center``, used as a
    ``kind`` of room.
    """

    kind: str
    center: tuple[float, float]
    size: tuple[float, float]

    @classmethod
    def from_dict(cls, fields: dict) -> "Area":
        """An area from JSON, which knows lists but no tuples."""
        return cls(fields["kind"], tuple(fields["center"]), tuple(fields["size"]))


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


class SceneName(NamedTuple):
    """The name of a made scene, taken apart: "scannet_n00012-flip" is an edited copy ("flip") of
    ``room`` "scannet_n00012", number 12 of the ``novel`` rooms of ``domain`` "scannet".
    """

    room: str
    domain: str
    number: int
    novel: bool
    edit: str


def parse_name(name: str) -> SceneName:
    """The parts of a made scene's name; of any other scene only the name, as ``room``."""
    found = re.fullmatch(r"(([a-z]+)_(n?)(\d+))(?:-([a-z]+))?", name)
    if found is None:
        return SceneName(name, "", 0, False, "")
    room, domain, novel, number, edit = found.groups()
    return SceneName(room, domain, int(number), bool(novel), edit or "")


def empty_room(seed: int, areas: list[Area], rng: np.random.Generator) -> Room:
    """Floor, ceiling and outer walls around the areas, in random colours."""
    width = sum(a.size[0] for a in areas) + WALL * (len(areas) - 1)
    size = (width, areas[0].size[1], HEIGHT)
    light, wooden = np.array([0.80, 0.78, 0.73]), np.array([0.52, 0.42, 0.32])
    walls = light + rng.uniform(-0.08, 0.08, 3)
    floor = wooden * rng.uniform(0.75, 1.2) + rng.uniform(-0.05, 0.05, 3)
    pattern = str(rng.choice(["wood", "tiles", "carpet"]))
    room = Room(seed, size, areas, tuple(walls.tolist()), tuple(floor.tolist()), pattern)
    x, y, sides = width / 2, size[1] / 2, Paint(room.wall_colour)
    over_x, over_y, upright = (-x - WALL, x + WALL), (-y - WALL, y + WALL), (0.0, HEIGHT)
    room.walls = [
        slab(over_x, over_y, (-WALL, 0.0), Paint(room.floor_colour, pattern)),
        slab(over_x, over_y, (HEIGHT, HEIGHT + WALL), Paint((0.93, 0.93, 0.92))),
        slab((-x - WALL, -x), over_y, upright, sides),
        slab((x, x + WALL), over_y, upright, sides),
        slab((-x, x), (-y - WALL, -y), upright, sides),
        slab((-x, x), (y, y + WALL), upright, sides),
    ]
    return room


def slab(x: Span, y: Span, z: Span, paint: Paint) -> Part:
    """A box between two values on each axis."""
    (x0, x1), (y0, y1), (z0, z1) = x, y, z
    middle = ((x0 + x1) / 2, (y0 + y1) / 2, (z0 + z1) / 2)
    return Part(middle, (x1 - x0, y1 - y0, z1 - z0), paint)


def rotate(xy: np.ndarray, yaw: float) -> np.ndarray:
    """Points (...,2) turned about the origin by ``yaw`` radians, counted to the left."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    return xy @ np.array([[cos, sin], [-sin, cos]])


def top(item: Object) -> float:
    return item.center[2] + item.size[2] / 2


def bottom(item: Object) -> float:
    return item.center[2] - item.size[2] / 2


def corners(item: Object, margin: float = 0.0) -> np.ndarray:
    """The footprint's four corners (4,2), ``margin`` metres farther out along both sides."""
    half = np.array(item.size[:2]) / 2 + margin
    return np.array(item.center[:2]) + rotate(CORNERS * half, item.yaw)


def within(area: Area, points: np.ndarray | tuple) -> bool:
    """Whether points (...,2) of the floor all lie in the area."""
    return bool((np.abs(points - np.array(area.center)) <= np.array(area.size) / 2 + 1e-6).all())


def to_footprint(points: np.ndarray, item: Object) -> np.ndarray:
    """Metres from points (...,2) to an object's footprint; 0 inside."""
    local = np.abs(rotate(points - np.array(item.center[:2]), -item.yaw))
    return np.hypot(*np.moveaxis((local - np.array(item.size[:2]) / 2).clip(0), -1, 0))


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
        if bottom(item) < 1.0 and item.category not in FIXED:
            free &= to_footprint(points, item) > clearance
    return points, free


def off_centre(item: Object, area: Area) -> float:
    """How far an object's middle is from that of an area, as a part of the area's size: 0 in the
    middle, 0.5 at a wall.
    """
    return float((np.abs(np.array(item.center[:2]) - area.center) / np.array(area.size)).max())


def collide(a: Object, b: Object, margin: float) -> bool:
    """Whether two upright boxes come closer than ``margin`` sideways while they share a height.

    Things may stand on each other (1 mm of touching is allowed), but a window keeps 3 cm away: it
    stands on nothing.
    """
    slack = -0.03 if "window" in (a.category, b.category) else 1e-3
    if abs(a.center[2] - b.center[2]) > (a.size[2] + b.size[2]) / 2 - slack:
        return False
    reach = (math.hypot(*a.size[:2]) + math.hypot(*b.size[:2])) / 2 + margin
    if math.dist(a.center[:2], b.center[:2]) > reach:
        return False  # most pairs are that far apart, which is soon seen
    one, other = (shapely.Polygon(corners(item, margin / 2)) for item in (a, b))
    return one.intersects(other)


def gaps(objects: list[Object]) -> np.ndarray:
    """Metres (n,n) between the closest points of every two upright boxes; 0 where they touch or
    intersect.
    """
    footprints = shapely.polygons([corners(item) for item in objects])
    flat = shapely.distance(footprints[:, None], footprints)
    low, high = (np.array([end(item) for item in objects]) for end in (bottom, top))
    upright = np.maximum(low[:, None] - high, low - high[:, None]).clip(0)
    return np.hypot(flat, upright)
