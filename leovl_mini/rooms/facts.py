"""What is true in a room: the facts from which every question, caption, plan and dialogue is made.

A rule takes the world and the objects it is about and returns ``(answer, margin)``, or None where
the answer would be unclear: two distances nearly the same, a direction near the border of two
sectors. The margin says how far the answer is from changing.
"""

import math

import numpy as np

from leovl_mini.rooms.furniture import LARGE, SMALL
from leovl_mini.rooms.room import Area, free_floor, gaps
from leovl_mini.scans.scene import RELATIONS, Object, Scene

MIN_PIXELS, MIN_FRAMES = 60, 2  # an object is clear if that many pixels show it in that many frames


COUNTED = [*LARGE, *SMALL]  # the categories that questions of existence and number are about


SECTORS = ("front", "left", "behind", "right")


Verdict = tuple[str, float] | None


def clear_objects(instances: np.ndarray, count: int) -> set[int]:
    """Ids up to ``count`` of the objects that (V,H,W) instance masks show clearly."""
    per_frame = np.stack([np.bincount(frame.ravel(), minlength=count + 1) for frame in instances])
    return set(np.flatnonzero((per_frame >= MIN_PIXELS).sum(0) >= MIN_FRAMES).tolist()) - {0}


class SceneGraph:
    """A room's objects with everything that rules ask for again and again. ``clear`` holds the ids
    that may be asked about.
    """

    def __init__(self, objects: list[Object], areas: list[Area], clear: set[int]):
        self.objects, self.areas, self.clear = objects, areas, clear
        self.by_id = {o.id: o for o in objects}
        self.distance = gaps(objects)
        self.row = {o.id: i for i, o in enumerate(objects)}
        self.floors: dict[int, np.ndarray] = {}
        self.refs = {o.id: self.reference(o) for o in objects}
        self.askable = [o for o in objects if o.id in clear and self.refs[o.id]]

    def reference(self, item: Object) -> str | None:
        """The shortest name that fits this object alone ("sofa", "red chair"), or None."""
        same = [o for o in self.objects if o.category == item.category]
        if len(same) == 1:
            return item.category
        colour = item.attributes.get("colour")
        twins = [o for o in same if o.attributes.get("colour") == colour]
        return f"{colour} {item.category}" if colour and len(twins) == 1 else None

    def gap(self, a: Object, b: Object) -> float:
        """Metres between the closest points of two boxes."""
        return float(self.distance[self.row[a.id], self.row[b.id]])

    def matching(self, category: str, colour: str | None = None) -> list[Object]:
        return [
            o
            for o in self.objects
            if o.category == category and colour in (None, o.attributes.get("colour"))
        ]

    def host(self, item: Object) -> tuple[str, Object] | None:
        """What the object lies on, under or inside."""
        for relation in RELATIONS:
            if relation in item.attributes:
                return relation, self.by_id[int(item.attributes[relation])]
        return None

    def held(self, host: Object, relation: str) -> list[Object]:
        return [o for o in self.objects if o.attributes.get(relation) == str(host.id)]

    def nearest_large(self, item: Object) -> tuple[Object, float, float]:
        """The nearest large object other than itself and its host, its gap, and how much farther
        the second one is.
        """
        held_by = self.host(item)
        others = [
            o
            for o in self.objects
            if o.category in LARGE and o is not item and not (held_by and o is held_by[1])
        ]
        if len(others) < 2:
            return item, math.inf, 0.0
        near = sorted(others, key=lambda o: self.gap(item, o))
        return near[0], self.gap(item, near[0]), self.gap(item, near[1]) - self.gap(item, near[0])

    def floor(self, area: Area) -> np.ndarray:
        """Points (N,2) of the area where a person can stand; computed when first asked for."""
        if id(area) not in self.floors:
            points, free = free_floor(self.objects, area, 0.25)
            self.floors[id(area)] = points[free]
        return self.floors[id(area)]

    def area_of(self, item: Object) -> Area:
        return min(
            self.areas,
            key=lambda a: max(np.abs(np.array(item.center[:2]) - a.center) / np.array(a.size)),
        )


def existence(world: SceneGraph, category: str, colour: str | None = None) -> Verdict:
    found = world.matching(category, colour)
    if not found:
        return "no", 1.0
    return ("yes", 1.0) if any(o.id in world.clear for o in found) else None


def count(world: SceneGraph, category: str) -> Verdict:
    found = world.matching(category)
    return (
        (str(len(found)), 1.0)
        if 0 < len(found) <= 9 and all(o.id in world.clear for o in found)
        else None
    )


def attribute(name: str):
    def rule(world: SceneGraph, item: Object) -> Verdict:
        return (item.attributes[name], 1.0) if name in item.attributes else None

    return rule


def contents(relation: str):
    """The category of the one thing that lies on, under or inside an object."""

    def rule(world: SceneGraph, host: Object) -> Verdict:
        held = world.held(host, relation)
        return (held[0].category, 1.0) if len(held) == 1 and held[0].id in world.clear else None

    return rule


def relation(world: SceneGraph, a: Object, b: Object) -> Verdict:
    """on, under, inside; or beside: on the floor, and at most 0.4 m from a large object."""
    held_by = world.host(a)
    if held_by:
        return (held_by[0], 1.0) if held_by[1] is b else None
    on_floor = a.category in SMALL and a.center[2] - a.size[2] / 2 < 0.02
    return (
        ("beside", 0.4 - world.gap(a, b))
        if on_floor and b.category in LARGE and world.gap(a, b) <= 0.4
        else None
    )


def place(world: SceneGraph, item: Object) -> Verdict:
    """Where a thing is: a relation and the name of the object it refers to."""
    held_by, margin = world.host(item), 1.0
    if held_by is None:
        near, distance, margin = world.nearest_large(item)
        if near is item or margin < 0.25 or relation(world, item, near) is None:
            return None
        held_by = ("beside", near)
    name = world.refs[held_by[1].id]
    return (f"{held_by[0]} the {name}", margin) if name and held_by[1].id in world.clear else None


def bearing(position: np.ndarray, heading: float, target: Object) -> float:
    """Degrees from the heading to the target's middle, counted to the left, in (-180, 180]."""
    x, y = np.array(target.center[:2]) - position[:2]
    return math.degrees(math.remainder(math.atan2(y, x) - heading, 2 * math.pi))


def situated(world: SceneGraph, position: np.ndarray, heading: float, target: Object) -> Verdict:
    """The quarter in which the target lies, as seen from a position; at least 15 degrees from the
    quarter's border.
    """
    angle = bearing(position, heading, target)
    sector = round(angle / 90)
    margin = 45 - abs(angle - 90 * sector)
    far = math.dist(position[:2], target.center[:2]) >= 0.7
    return (SECTORS[sector % 4], margin) if margin >= 15 and far else None


def nearest(world: SceneGraph, anchor: Object, a: Object, b: Object) -> Verdict:
    """Which of two is nearer to the anchor, between the closest points; by 0.3 m and by a factor of
    1.3 at least.
    """
    near, far = sorted((a, b), key=lambda o: world.gap(anchor, o))
    d, e = world.gap(anchor, near), world.gap(anchor, far)
    return (
        (world.refs[near.id], e - d)
        if e - d >= 0.3 and e >= 1.3 * d and world.refs[near.id]
        else None
    )


def taller(world: SceneGraph, a: Object, b: Object) -> Verdict:
    high, low = (a, b) if a.size[2] > b.size[2] else (b, a)
    margin = high.size[2] - low.size[2]
    return (world.refs[high.id], margin) if margin >= 0.1 - 1e-9 and world.refs[high.id] else None


def height(world: SceneGraph, item: Object) -> Verdict:
    return f"{100 * item.size[2]:.0f}", 1.0


def length(world: SceneGraph, item: Object) -> Verdict:
    return f"{100 * max(item.size[:2]):.0f}", 1.0


def away_from_rounding(metres: float) -> bool:
    """Whether a change of 5 mm leaves the first decimal as it is."""
    return 0.05 < (10 * metres + 0.5) % 1 < 0.95


def distance(world: SceneGraph, a: Object, b: Object) -> Verdict:
    metres = world.gap(a, b)
    return (f"{metres:.1f}", 1.0) if metres >= 0.3 and away_from_rounding(metres) else None


def room_size(world: SceneGraph) -> Verdict:
    return f"{sum(a.size[0] * a.size[1] for a in world.areas):.1f}", 1.0


def coordinates(world: SceneGraph, item: Object) -> Verdict:
    """The middle of an object, rounded to half a metre; not where 5 cm would change the answer."""
    xy = np.array(item.center[:2])
    rounded = np.round(2 * xy) / 2
    margin = 0.25 - np.abs(xy - rounded).max()
    x, y = rounded + 0.0  # -0.0 becomes 0.0
    return (f"x {x:.1f}, y {y:.1f}", float(margin)) if margin >= 0.05 else None


def stack_order(world: SceneGraph, a: Object, b: Object) -> Verdict:
    for upper, lower in ((a, b), (b, a)):
        if world.host(upper) == ("on", lower) and world.refs[upper.id]:
            return world.refs[upper.id], 1.0
    return None


def stacked(world: SceneGraph, a: Object, b: Object) -> Verdict:
    order = stack_order(world, a, b)
    return order and ("yes" if order[0] == world.refs[a.id] else "no", 1.0)


RULES = {
    "existence": existence,
    "count": count,
    "colour": attribute("colour"),
    "pattern": attribute("pattern"),
    "state": attribute("state"),
    "contents on": contents("on"),
    "contents under": contents("under"),
    "contents inside": contents("inside"),
    "place": place,
    "relation": relation,
    "situated": situated,
    "nearest": nearest,
    "taller": taller,
    "height": height,
    "length": length,
    "distance": distance,
    "room size": room_size,
    "coordinates": coordinates,
    "stack order": stack_order,
    "stacked": stacked,
}


def visible_graph(scene: Scene, areas: list[Area]) -> SceneGraph:
    """The world as far as the scene's frames show it: an object needs measured pixels to be asked
    about.
    """
    seen = np.where(scene.depth.numpy() > 0, scene.instances.numpy(), 0)
    return SceneGraph(scene.objects, areas, clear_objects(seen, max(o.id for o in scene.objects)))
