"""Furnish a room from a seed: what stands against the walls, what stands freely, what lies on what. No two objects intersect."""

import math
from dataclasses import dataclass, field

import numpy as np

from leovl_mini.rooms.furniture import COLOURS, LARGE, SMALL, Part
from leovl_mini.scene import Object

AGAINST_WALL = ("sofa", "bed", "bookshelf", "cabinet")
SUPPORTS = ("table", "cabinet")  # flat tops that carry small objects


@dataclass
class Room:
    """Width (x), depth (y) and height (z) in metres; the floor's middle is the origin. ``parts[i]`` builds ``objects[i]``."""

    size: tuple[float, float, float]
    seed: int
    wall_colour: tuple[float, float, float]
    floor_colour: tuple[float, float, float]
    objects: list[Object] = field(default_factory=list)
    parts: list[list[Part]] = field(default_factory=list)


def make_room(seed: int) -> Room:
    """A furnished room of 4 to 5.6 m; the same seed gives the same room."""
    rng = np.random.default_rng(seed)
    width, depth = rng.uniform(4.0, 5.6, 2)
    wall = np.array([0.80, 0.78, 0.73]) + rng.uniform(-0.06, 0.06, 3)
    floor = np.array([0.52, 0.42, 0.32]) * rng.uniform(0.8, 1.15)
    room = Room((float(width), float(depth), 2.6), seed, tuple(wall.tolist()), tuple(floor.tolist()))
    wanted = ["table", *rng.choice(AGAINST_WALL, 3, replace=False), "lamp", "plant", "chair", "chair"]
    for category in wanted:
        place(room, str(category), rng)
    for category in SMALL:
        place_on_top(room, category, rng)
    return room


def place(room: Room, category: str, rng: np.random.Generator, tries: int = 200) -> None:
    """Put one large object where it belongs, 12 cm clear of everything else; a crowded room may do without it."""
    builder, smallest, largest = LARGE[category]
    width, depth, height = rng.uniform(smallest, largest)
    tables = [o for o in room.objects if o.category == "table"]
    for _ in range(tries):
        if category in AGAINST_WALL:
            yaw, position = against_wall(room, width, depth, rng)
        elif category == "chair" and tables:  # facing the table's long side, pulled out a little
            table, side = tables[0], rng.choice((-1, 1))
            yaw = table.yaw + (math.pi if side > 0 else 0.0) + rng.uniform(-0.3, 0.3)
            offset = np.array([rng.uniform(-0.3, 0.3) * table.size[0], side * (table.size[1] / 2 + depth / 2 + 0.15)])
            position = np.array(table.center[:2]) + rotate(offset, table.yaw)
        else:
            reach = 0.35 if category == "table" else 0.92
            yaw = rng.choice(4) * math.pi / 2 + rng.uniform(-0.2, 0.2)
            position = np.array(room.size[:2]) / 2 * rng.uniform(-reach, reach, 2)
        candidate = Object(len(room.objects) + 1, category, (*position.tolist(), height / 2), (width, depth, height), float(yaw))
        if inside(room, candidate) and not any(overlap(candidate, other, 0.12) for other in room.objects):
            return add(room, candidate, builder, rng)


def place_on_top(room: Room, category: str, rng: np.random.Generator, tries: int = 50) -> None:
    """Put one small object on a free spot of a table or cabinet."""
    builder, smallest, largest = SMALL[category]
    size = rng.uniform(smallest, largest)
    supports = [o for o in room.objects if o.category in SUPPORTS]
    for _ in range(tries if supports else 0):
        support = supports[rng.integers(len(supports))]
        room_left = (np.array(support.size[:2]) - size[:2].max() - 0.06).clip(0) / 2
        position = np.array(support.center[:2]) + rotate(rng.uniform(-room_left, room_left), support.yaw)
        top = support.center[2] + support.size[2] / 2
        candidate = Object(
            len(room.objects) + 1, category, (*position.tolist(), top + size[2] / 2), tuple(size.tolist()), support.yaw
        )
        candidate.attributes["on"] = str(support.id)
        if not any(overlap(candidate, other, 0.04) for other in room.objects if "on" in other.attributes):
            return add(room, candidate, builder, rng)


def add(room: Room, candidate: Object, builder, rng: np.random.Generator) -> None:
    colour = str(rng.choice(list(COLOURS)))
    candidate.attributes["colour"] = colour
    room.objects.append(candidate)
    room.parts.append(builder(candidate.size, COLOURS[colour]))


def against_wall(room: Room, width: float, depth: float, rng: np.random.Generator) -> tuple[float, np.ndarray]:
    """A yaw that turns the object's back to one of the four walls, and a position 3 cm off it."""
    turn = int(rng.integers(4))
    across, along = (room.size[0], room.size[1]) if turn % 2 == 0 else (room.size[1], room.size[0])
    local = np.array([rng.uniform(-1, 1) * (across - width) / 2, -along / 2 + depth / 2 + 0.03])
    return turn * math.pi / 2, rotate(local, turn * math.pi / 2)


def rotate(xy: np.ndarray, yaw: float) -> np.ndarray:
    cos, sin = math.cos(yaw), math.sin(yaw)
    return xy @ np.array([[cos, sin], [-sin, cos]])


def corners(item: Object, margin: float = 0.0) -> np.ndarray:
    """The footprint's four corners (4,2)."""
    half = np.array(item.size[:2]) / 2 + margin
    return np.array(item.center[:2]) + rotate(np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half, item.yaw)


def inside(room: Room, item: Object) -> bool:
    return bool((np.abs(corners(item)) <= np.array(room.size[:2]) / 2).all())


def overlap(a: Object, b: Object, margin: float) -> bool:
    """Whether two turned footprints come closer than ``margin`` (separating axis test)."""
    first, second = corners(a, margin / 2), corners(b, margin / 2)
    for yaw in (a.yaw, a.yaw + math.pi / 2, b.yaw, b.yaw + math.pi / 2):
        axis = np.array([math.cos(yaw), math.sin(yaw)])
        p, q = first @ axis, second @ axis
        if p.max() < q.min() or q.max() < p.min():
            return False
    return True
