"""Where things may stand: random proposals that make sense for one object, and the test whether a
proposal fits.

A proposal gives the middle of the footprint (2,), the height of the bottom, the yaw, and what the
object lies on, under or inside.

Explained in notebook 01 (RGB-D frames and cameras).
"""

import math
from collections.abc import Callable, Container

import numpy as np
from scipy import ndimage

from leovl_mini.rooms.furniture import FIXED, LARGE, OPENABLE, STACKABLE
from leovl_mini.rooms.furniture.small import BASKET_FLOOR
from leovl_mini.rooms.furniture.storage import DRAWERS, shelf
from leovl_mini.rooms.room import Area, Room, collide, corners, free_floor, rotate, top, within
from leovl_mini.scans.scene import Object

APART = 0.12  # metres between two large objects


Place = tuple[np.ndarray, float, float, dict[str, str]]
Proposal = Callable[[Room, Area, Object, np.random.Generator], Place | None]


def present(room: Room, area: Area, categories: Container[str]) -> list[Object]:
    """The objects of these categories whose middle is in the area."""
    return [o for o in room.objects if o.category in categories and within(area, o.center[:2])]


def turned_extent(item: Object, yaw: float) -> np.ndarray:
    """Width and depth of the axis-parallel box around the turned footprint."""
    cos, sin = abs(math.cos(yaw)), abs(math.sin(yaw))
    return np.array([[cos, sin], [sin, cos]]) @ item.size[:2]


def on_wall(bottom: float) -> Proposal:
    """In the plane of one of the area's outer walls (doors, windows)."""

    def proposal(room, area, item, rng):
        xy, _, yaw, _ = at_wall(room, area, item, rng, gap=0.0)
        # not in the partition between two areas
        outer = np.abs(xy) > np.array(room.size[:2]) / 2 - item.size[1]
        return (xy, bottom, yaw, {}) if outer.any() else None

    return proposal


def at_wall(room, area, item, rng, gap=0.03) -> Place:
    """The back to one of the four walls."""
    turn = int(rng.integers(4))
    across, along = area.size if turn % 2 == 0 else area.size[::-1]
    x = rng.uniform(-1, 1) * max(across - item.size[0], 0) / 2
    yaw = turn * math.pi / 2
    back = rotate(np.array([x, -along / 2 + item.size[1] / 2 + gap]), yaw)
    return np.array(area.center) + back, 0.0, yaw, {}


def freely(room, area, item, rng) -> Place:
    """Anywhere, turned at will."""
    xy = np.array(area.center) + rng.uniform(-0.5, 0.5, 2) * area.size
    return xy, 0.0, float(rng.uniform(-math.pi, math.pi)), {}


def near_wall(room, area, item, rng) -> Place:
    xy, _, yaw, _ = at_wall(room, area, item, rng, gap=float(rng.uniform(0.03, 0.2)))
    return xy, 0.0, float(rng.uniform(-math.pi, math.pi)), {}


def next_to_bed(room, area, item, rng) -> Place | None:
    """At the head of a bed, to its left or right."""
    beds = present(room, area, ("bed",))
    if not beds:
        return None
    side = rng.choice((-1, 1)) * (beds[0].size[0] / 2 + item.size[0] / 2 + APART + 0.03)
    local = np.array([side, (item.size[1] - beds[0].size[1]) / 2])
    return np.array(beds[0].center[:2]) + rotate(local, beds[0].yaw), 0.0, beds[0].yaw, {}


def at_table(room, area, item, rng) -> Place | None:
    """Facing a table's long side or a desk's front, pulled out a little."""
    hosts = present(room, area, ("table", "desk"))
    if not hosts:
        return None
    host = hosts[rng.integers(len(hosts))]
    side = 1 if host.category == "desk" else rng.choice((-1, 1))
    out = (host.size[1] + item.size[1]) / 2 + APART + rng.uniform(0.05, 0.3)
    local = np.array([rng.uniform(-0.35, 0.35) * host.size[0], side * out])
    yaw = host.yaw + (math.pi if side > 0 else 0.0) + rng.uniform(-0.4, 0.4)
    return np.array(host.center[:2]) + rotate(local, host.yaw), 0.0, float(yaw), {}


def on_top(*categories: str, exactly: int | None = None) -> Proposal:
    """On the flat top of one of these categories, or in the middle of exactly this object."""

    def proposal(room, area, item, rng):
        hosts = [h for h in present(room, area, categories) if exactly in (None, h.id)]
        wide = [h for h in hosts if min(h.size[:2]) > min(item.size[:2])]
        if not (wide if exactly is None else hosts):
            return None
        host = hosts[rng.integers(len(hosts))]
        yaw = host.yaw + float(rng.uniform(-0.5, 0.5) if item.category in STACKABLE else 0.0)
        spare = (np.array(host.size[:2]) - turned_extent(item, yaw - host.yaw)) / 2 - 0.01
        if exactly is not None:
            spare = np.full(2, 0.03)
        if (spare < 0).any():
            return None
        xy = np.array(host.center[:2]) + rotate(rng.uniform(-spare, spare), host.yaw)
        return xy, top(host), yaw, {"on": str(host.id)}

    return proposal


def underneath(room, area, item, rng) -> Place | None:
    """On the floor under a table or desk, clear of its legs."""
    tables = present(room, area, ("table", "desk"))
    hosts = [h for h in tables if h.size[2] - 0.1 > item.size[2]]
    if not hosts:
        return None
    host = hosts[rng.integers(len(hosts))]
    reach = max(item.size[:2]) / 2 * 1.2  # however it is turned
    high = np.array(host.size[:2]) / 2 - (DRAWERS if host.category == "desk" else 0.1, 0.08) - reach
    low = reach - np.array(host.size[:2]) / 2 + (0.1, 0.08)
    if (high < low).any():
        return None
    xy = np.array(host.center[:2]) + rotate(rng.uniform(low, high), host.yaw)
    return xy, 0.0, host.yaw + float(rng.uniform(-0.3, 0.3)), {"under": str(host.id)}


def inside_of(room, area, item, rng) -> Place | None:
    """In the empty compartment of a bookshelf, or in a basket."""
    hosts = [h for h in present(room, area, ("bookshelf", "basket")) if h.id != item.id]
    if not hosts:
        return None
    host = hosts[rng.integers(len(hosts))]
    bottom, clear = shelf(host.size) if host.category == "bookshelf" else (BASKET_FLOOR, 0.6)
    yaw = host.yaw
    spare = (np.array(host.size[:2]) - item.size[:2]) / 2 - 0.03
    if (spare < 0).any() or item.size[2] > clear:
        return None
    if host.category == "bookshelf":
        spare[1] = 0.0
    xy = np.array(host.center[:2]) + rotate(rng.uniform(-spare, spare), host.yaw)
    return xy, host.center[2] - host.size[2] / 2 + bottom, yaw, {"inside": str(host.id)}


def beside(room, area, item, rng) -> Place | None:
    """On the floor, a hand's breadth from a large object."""
    hosts = present(room, area, LARGE)
    if not hosts:
        return None
    host = hosts[rng.integers(len(hosts))]
    away = rng.uniform(0.1, 0.25)
    axis, sign = int(rng.integers(2)), rng.choice((-1, 1))
    local = rng.uniform(-0.5, 0.5, 2) * host.size[:2]
    local[axis] = sign * (host.size[axis] / 2 + max(item.size[:2]) / 2 + away)
    xy = np.array(host.center[:2]) + rotate(local, host.yaw)
    return xy, 0.0, float(rng.uniform(-math.pi, math.pi)), {}


def place(
    room: Room, area: Area, item: Object, proposal: Proposal, rng: np.random.Generator
) -> bool:
    """Put the object at the first of 40 proposals that fits and add it to the room; a crowded room
    may do without it.
    """
    for _ in range(40):
        found = proposal(room, area, item, rng)
        if found is None:
            continue
        (x, y), bottom, item.yaw, relation = found
        item.center = (float(x), float(y), bottom + item.size[2] / 2)
        if fits(room, area, item, relation):
            item.attributes.update(relation)
            room.add(item)
            return True
    return False


def fits(room: Room, area: Area, item: Object, relation: dict[str, str]) -> bool:
    """Inside the area, touching nothing but what it lies on, out of the way of doors, and leaving
    the floor walkable.
    """
    host = next(iter(relation.values()), None)
    margin = APART if item.category in LARGE else 0.03
    if not within(area, corners(item)):
        return False
    others = [o for o in room.objects if str(o.id) != host and o.id != item.id]
    if any(collide(item, o, margin) for o in others):
        return False
    if any(collide(item, front, 0.0) for o in others for front in swings(o)):
        return False
    if any(
        collide(front, o, 0.0) for o in others if o.category != "window" for front in swings(item)
    ):
        return False
    return item.category in FIXED or bool(relation) or stays_walkable(room, area, item)


def swings(item: Object) -> list[Object]:
    """The floor in front of something that opens, and behind a door, as boxes: nothing may stand
    there.
    """
    if item.category not in OPENABLE:
        return []
    reach, found = 0.95 if item.category == "door" else 0.5, []
    for side in (1, -1) if item.category == "door" else (1,):
        local = np.array([0.0, side * (item.size[1] / 2 + reach / 2)])
        x, y = np.array(item.center[:2]) + rotate(local, item.yaw)
        size = (item.size[0] * 0.9, reach, item.size[2] - 0.02)
        found.append(Object(item.id, "", (float(x), float(y), item.center[2]), size, item.yaw))
    return found


def stays_walkable(room: Room, area: Area, item: Object) -> bool:
    """Whether the free floor of the area remains (nearly) one piece with the object in place."""
    _, free = free_floor([*room.objects, item], area)
    pieces, count = ndimage.label(free)
    sizes = np.bincount(pieces[free])
    return count > 0 and bool(sizes.max() >= 0.9 * free.sum() and free.mean() > 0.15)
