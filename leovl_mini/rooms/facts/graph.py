"""The scene graph: a room's objects with their names, distances, neighbours and supports.

Explained in notebook 01 (RGB-D frames and cameras).
"""

import math
from collections import Counter

import numpy as np

from leovl_mini.rooms.furniture import LARGE
from leovl_mini.rooms.room import (
    Area,
    corners,
    free_floor,
    gaps,
    off_centre,
)
from leovl_mini.scans.scene import RELATIONS, Object, Scene

MIN_PIXELS, MIN_FRAMES = 60, 2  # an object is clear if that many pixels show it in that many frames


def name_objects(objects: list[Object]) -> dict[int, str]:
    """{id: the shortest name that fits this object alone}: "sofa", or among several "red chair";
    objects that no such name tells apart are left out.
    """
    several = Counter(o.category for o in objects)
    coloured = Counter((o.category, o.attributes.get("colour")) for o in objects)
    names = {}
    for item in objects:
        colour = item.attributes.get("colour")
        if several[item.category] == 1:
            names[item.id] = item.category
        elif colour and coloured[item.category, colour] == 1:
            names[item.id] = f"{colour} {item.category}"
    return names


class SceneGraph:
    """A room's objects with everything that rules ask for again and again. ``clear`` holds the ids
    that may be asked about; without it, all may.
    """

    def __init__(self, objects: list[Object], areas: list[Area], clear: set[int] | None = None):
        self.objects, self.areas = objects, areas
        self.clear = {o.id for o in objects} if clear is None else clear
        self.by_id = {o.id: o for o in objects}
        self.row = {o.id: i for i, o in enumerate(objects)}
        self.distance = gaps(objects)
        self.names = name_objects(objects)
        self.askable = [o for o in objects if o.id in self.clear and o.id in self.names]
        self.floors: dict[int, np.ndarray] = {}

    @classmethod
    def from_json(cls, entries: dict) -> "SceneGraph":
        """From the ``objects`` and ``areas`` of a ``scene.json``."""
        areas = [Area.from_dict(area) for area in entries["areas"]]
        return cls([Object.from_dict(item) for item in entries["objects"]], areas)

    def name(self, item: Object) -> str | None:
        return self.names.get(item.id)

    def has(self, name: str) -> bool:
        """Whether "chair" or "red chair" fits anything in the room."""
        return any(
            name in (o.category, f"{o.attributes.get('colour')} {o.category}") for o in self.objects
        )

    def gap(self, a: Object, b: Object) -> float:
        """Metres between the closest points of two boxes."""
        return float(self.distance[self.row[a.id], self.row[b.id]])

    def matching(self, category: str, colour: str | None = None) -> list[Object]:
        alike = [o for o in self.objects if o.category == category]
        return [o for o in alike if colour in (None, o.attributes.get("colour"))]

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
        host = (self.host(item) or ("", None))[1]
        large = [o for o in self.objects if o.category in LARGE and o is not item and o is not host]
        if len(large) < 2:
            return item, math.inf, 0.0
        near = sorted(large, key=lambda o: self.gap(item, o))
        return near[0], self.gap(item, near[0]), self.gap(item, near[1]) - self.gap(item, near[0])

    def floor(self, area: Area) -> np.ndarray:
        """Points (N,2) of the area where a person can stand; computed when first asked for."""
        if id(area) not in self.floors:
            points, free = free_floor(self.objects, area, 0.25)
            self.floors[id(area)] = points[free]
        return self.floors[id(area)]

    def area_of(self, item: Object) -> Area:
        return min(self.areas, key=lambda area: off_centre(item, area))

    def to_walls(self, item: Object) -> np.ndarray:
        """Metres (2,), to the millimetre, from a footprint to the nearer of the two walls along x
        and along y, in its own area.
        """
        area = self.area_of(item)
        return (np.array(area.size) / 2 - np.abs(corners(item) - area.center).max(0)).round(3)


def visible_graph(scene: Scene, areas: list[Area]) -> SceneGraph:
    """The graph as far as the scene's frames show it: to be clear, an object needs enough measured
    pixels in enough frames.
    """
    ids = np.where(scene.depth.numpy() > 0, scene.instances.numpy(), 0)
    count = max(o.id for o in scene.objects) + 1
    pixels = np.stack([np.bincount(frame.ravel(), minlength=count) for frame in ids])
    clear = np.flatnonzero((pixels >= MIN_PIXELS).sum(0) >= MIN_FRAMES)
    return SceneGraph(scene.objects, areas, set(clear.tolist()) - {0})
