"""Rooms and recordings that several tests share, made once; and geometry that shares no code with
the package.
"""

import dataclasses
import json
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import jaxtyping
import numpy as np
from solver import solve

from leovl_mini.data.examples import Example, dumps
from leovl_mini.rooms import DOMAINS, Area, Room, domain_room, make_room, record
from leovl_mini.rooms.edits import edit_pairs
from leovl_mini.rooms.facts import SceneGraph, visible_graph
from leovl_mini.rooms.furniture import LARGE
from leovl_mini.rooms.texts.tasks import examples_of
from leovl_mini.scans.scene import Object, Scene

SEEDS, NUMBERS = range(36), range(6)


class Recording(NamedTuple):
    domain: str
    number: int
    room: Room
    scene: Scene
    graph: SceneGraph
    examples: list[Example]  # raw


class Pair(NamedTuple):
    base: Recording
    flip: Scene
    same: Scene
    examples: list[Example]  # base, flip, same


def quickly(make: Callable) -> Callable:
    """Without the checks of types, which take longer than the rooms; other tests call the same
    functions checked.
    """

    def unchecked(*arguments):
        before = jaxtyping.config.jaxtyping_disable
        jaxtyping.config.update("jaxtyping_disable", True)
        try:
            return make(*arguments)
        finally:
            jaxtyping.config.update("jaxtyping_disable", before)

    return unchecked


@cache
@quickly
def single_rooms() -> list[Room]:
    return [make_room(seed) for seed in SEEDS]


@cache
@quickly
def double_rooms() -> list[Room]:
    return [make_room(seed, areas=2, states=True) for seed in range(8)]


def rooms() -> list[Room]:
    return single_rooms() + double_rooms()


@cache
@quickly
def recording(domain: str, number: int) -> Recording:
    room = domain_room(domain, number)
    scene = record(room, domain, 8, f"{domain}_{number:05d}")
    graph = visible_graph(scene, room.areas)
    return Recording(domain, number, room, scene, graph, examples_of(scene, graph, number))


def recordings() -> list[Recording]:
    return [recording(domain, number) for number in NUMBERS for domain in DOMAINS]


@cache
@quickly
def pairs() -> list[Pair]:
    """Edited copies of some of the recordings."""
    made = []
    for base in (recording(domain, number) for number in range(2) for domain in DOMAINS):
        scenes, examples = edit_pairs(
            base.room, base.domain, base.scene, base.examples, base.number
        )
        if scenes:
            made.append(Pair(base, *scenes, examples))
    return made


def as_json(item: Object | Area) -> dict:
    return json.loads(json.dumps(dataclasses.asdict(item)))


def disagreements(examples: list[Example], objects: list[Object], areas: list[Area]) -> list[str]:
    """What the solver holds against examples of one room."""
    boxes, floor = list(map(as_json, objects)), list(map(as_json, areas))
    asked = [(e, json.loads(dumps(e))) for e in examples]
    return [f"{e.id} {e.kind}: {p}" for e, fields in asked for p in solve(fields, boxes, floor)]


def turn(points: np.ndarray, yaw: float) -> np.ndarray:
    """Points (...,2) turned about the origin, counted to the left."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    return points @ np.array([[cos, sin], [-sin, cos]])


def grid(item: Object, steps: int = 25, share: float = 1.0) -> np.ndarray:
    """Points (n,2) spread over (a share of) an object's footprint, its edge included."""
    u = np.linspace(-0.5, 0.5, steps) * share
    local = np.stack(np.meshgrid(u, u), -1).reshape(-1, 2) * item.size[:2]
    return turn(local, item.yaw) + item.center[:2]


def covers(item: Object, points: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """Which points (...,2) lie in an object's footprint, made larger by ``margin``."""
    local = turn(points - item.center[:2], -item.yaw)
    return (np.abs(local) < np.array(item.size[:2]) / 2 + margin).all(-1)


def front(item: Object) -> np.ndarray:
    """The direction (2,) in which an object's front looks."""
    return turn(np.array([0.0, 1.0]), item.yaw)


def bottom(item: Object) -> float:
    return item.center[2] - item.size[2] / 2


def top(item: Object) -> float:
    return item.center[2] + item.size[2] / 2


def intersections(room: Room) -> list[tuple[Object, Object]]:
    """Objects of which one reaches into the other."""
    found = []
    for a in room.objects:
        points = grid(a, share=1 - 2e-3)
        for b in room.objects:
            same_height = abs(a.center[2] - b.center[2]) < (a.size[2] + b.size[2]) / 2 - 2e-3
            if a is not b and same_height and covers(b, points, -1e-3).any():
                found.append((a, b))
    return found


def host_of(room: Room, item: Object) -> tuple[str, Object] | None:
    """The relation that an object's attributes name, and the object it names."""
    relations = [name for name in ("on", "under", "inside") if name in item.attributes]
    assert len(relations) < 2, (room.seed, item)
    found = [(r, o) for r in relations for o in room.objects if str(o.id) == item.attributes[r]]
    return found[0] if found else None


def strange_intersections(room: Room) -> list[tuple[Object, Object]]:
    """Intersections of objects of which neither lies on, under or inside the other."""
    hosts = {(o.id, host_of(room, o)[1].id) for o in room.objects if host_of(room, o)}
    return [
        (a, b)
        for a, b in intersections(room)
        if (a.id, b.id) not in hosts and (b.id, a.id) not in hosts
    ]


def area_of(room: Room, item: Object) -> Area:
    return min(room.areas, key=lambda a: abs(item.center[0] - a.center[0]) - a.size[0] / 2)


def floor(room: Room, step: float = 0.05) -> np.ndarray:
    """Points (n,m,2) of a grid over the whole room."""
    axes = [np.arange(-s / 2 + step / 2, s / 2, step) for s in room.size[:2]]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1)


def inside_areas(room: Room) -> list[np.ndarray]:
    return [(np.abs(floor(room) - a.center) < np.array(a.size) / 2).all(-1) for a in room.areas]


def pieces(room: Room, radius: float = 0.18) -> np.ndarray:
    """The number of the connected piece of free floor at each point of ``floor``, 0 where walls or
    furniture are too near.
    """
    points = floor(room)
    free = np.ones(points.shape[:2], bool)
    walls = [Object(0, "wall", part.center, part.size) for part in room.walls]
    for item in [*walls, *(o for o in room.objects if o.category in LARGE)]:
        if bottom(item) < 1.0 and top(item) > 0.01:
            local = np.abs(turn(points - item.center[:2], -item.yaw)) - np.array(item.size[:2]) / 2
            free &= np.hypot(*np.moveaxis(local.clip(0), -1, 0)) > radius
    return flood(free)


def flood(free: np.ndarray) -> np.ndarray:
    """Number the connected pieces (4 neighbours) of a mask: every cell takes the largest number
    that reaches it.
    """
    found = np.where(free, np.arange(1, free.size + 1).reshape(free.shape), 0)
    while True:
        padded = np.pad(found, 1)
        reached = [padded[2:, 1:-1], padded[:-2, 1:-1], padded[1:-1, 2:], padded[1:-1, :-2]]
        spread = np.where(free, np.maximum.reduce([found, *reached]), 0)
        if (spread == found).all():
            return (
                np.unique(found, return_inverse=True)[1].reshape(free.shape)
                if (found == 0).any()
                else found
            )
        found = spread
