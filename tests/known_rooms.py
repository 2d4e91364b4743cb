"""Rooms and recordings that several tests share, made once; and geometry that shares no code with the package."""

import dataclasses
import json
import zipfile
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from solver import solve

from leovl_mini.examples import Example, dumps
from leovl_mini.rooms import DOMAINS, Area, Room, domain_room, make_room, record
from leovl_mini.rooms.corpus import edit_pairs, examples_of, look
from leovl_mini.rooms.facts import World
from leovl_mini.rooms.furniture import FIXED
from leovl_mini.scene import Object, Scene

SEEDS, NUMBERS = range(60), range(10)


class Recording(NamedTuple):
    domain: str
    number: int
    room: Room
    scene: Scene
    world: World
    examples: list[Example]  # raw


class Pair(NamedTuple):
    base: Recording
    flip: Scene
    same: Scene
    examples: list[Example]  # base, flip, same


@cache
def rooms() -> list[Room]:
    """Rooms of one area, then rooms of two areas with states."""
    return [make_room(seed) for seed in SEEDS] + [make_room(seed, areas=2, states=True) for seed in range(12)]


@cache
def recording(domain: str, number: int) -> Recording:
    room = domain_room(domain, number)
    scene = record(room, domain, 8, f"{domain}_{number:05d}")
    world = look(scene, room.areas)
    return Recording(domain, number, room, scene, world, examples_of(scene, world, number))


def recordings() -> list[Recording]:
    return [recording(domain, number) for number in NUMBERS for domain in DOMAINS]


@cache
def pairs() -> list[Pair]:
    """Edited copies of some of the recordings."""
    made = []
    for recorded in recordings()[:16]:
        scenes, examples = edit_pairs(recorded.room, recorded.domain, recorded.scene, recorded.examples, recorded.number)
        if scenes:
            made.append(Pair(recorded, *scenes, examples))
    return made


def disagreements(examples: list[Example], objects: list[Object], areas: list[Area]) -> list[str]:
    """What the solver holds against examples of one room."""
    boxes, floor = ([json.loads(json.dumps(dataclasses.asdict(x))) for x in some] for some in (objects, areas))
    return [f"{e.id} {e.kind}: {problem}" for e in examples for problem in solve(json.loads(dumps(e)), boxes, floor)]


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


def intersections(room: Room) -> list[tuple[str, str]]:
    """Pairs of objects of which one reaches into the other."""
    found = []
    for a in room.objects:
        near = [b for b in room.objects if b is not a and abs(a.center[2] - b.center[2]) < (a.size[2] + b.size[2]) / 2 - 2e-3]
        points = grid(a, share=1 - 2e-3)
        found += [(a.category, b.category) for b in near if covers(b, points, -1e-3).any()]
    return found


def holds(room: Room, item: Object) -> tuple[str, Object] | None:
    """The relation that an object's attributes name, and its host."""
    named = [(relation, item.attributes[relation]) for relation in ("on", "under", "inside") if relation in item.attributes]
    assert len(named) < 2, (room.seed, item)
    return (named[0][0], next(o for o in room.objects if o.id == int(named[0][1]))) if named else None


def area_of(room: Room, item: Object) -> Area:
    return min(room.areas, key=lambda a: abs(item.center[0] - a.center[0]) - a.size[0] / 2)


def walkable(room: Room, area: Area, radius: float = 0.18, step: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Points (n,m,2) of an area, and the number of the connected piece of free floor at each, 0 where one cannot stand."""
    axes = [np.arange(c - s / 2 + step / 2, c + s / 2, step) for c, s in zip(area.center, area.size, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    free = (np.abs(points - area.center) < np.array(area.size) / 2 - radius).all(-1)
    for item in room.objects:
        if bottom(item) < 1.0 and item.category not in FIXED:
            free &= ~covers(item, points, radius)
    return points, flood(free)


def flood(free: np.ndarray) -> np.ndarray:
    """Number the connected pieces (4 neighbours) of a mask by spreading from one cell of each."""
    pieces, number = np.zeros(free.shape, int), 0
    while (free & (pieces == 0)).any():
        number += 1
        spread = np.zeros_like(free)
        spread[tuple(np.argwhere(free & (pieces == 0))[0])] = True
        while True:
            wider = free & (spread | shifted(spread))
            if (wider == spread).all():
                break
            spread = wider
        pieces[spread] = number
    return pieces


def shifted(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    return padded[2:, 1:-1] | padded[:-2, 1:-1] | padded[1:-1, 2:] | padded[1:-1, :-2]
