"""Furnish a room from a seed: what stands against the walls, at a table or freely, and what lies
on, under, inside or beside what.

No two objects intersect, nobody has to climb over furniture, and doors and drawers have room to
open.

Explained in notebook 01 (RGB-D frames and cameras).
"""

import copy
import math
import re
from typing import NamedTuple

import numpy as np

from leovl_mini.rooms.furniture import (
    CATEGORIES,
    COLOURS,
    FLAT_TOPS,
    HELD_OUT,
    MOVABLE,
    OPENABLE,
    PATTERNED,
    PATTERNS,
    SMALL,
    STACKABLE,
    STATES,
    UNCOLOURED,
    Paint,
    places,
)
from leovl_mini.rooms.furniture.parts import DARK
from leovl_mini.rooms.furniture.places import Proposal, at_wall, freely, on_top, place, present
from leovl_mini.rooms.room import WALL, Area, Room, empty_room, slab, within
from leovl_mini.scans.scene import RELATIONS, Object


class RoomKind(NamedTuple):
    """What a kind of room is like: how often it occurs, the range of its sides in metres, and what
    stands in it (how many of each, 1 where nothing is said).
    """

    share: float
    sides: tuple[float, float]
    furniture: str


KINDS = {
    "bedroom": RoomKind(
        0.24,
        (3.6, 4.8),
        "bed, nightstand 1-2, cabinet, desk 0-1, armchair 0-2, bookshelf 0-1, lamp 0-2, plant 0-2",
    ),
    "living room": RoomKind(
        0.24,
        (4.0, 5.4),
        "sofa 1-2, tv stand, table, armchair 1-3, bookshelf 0-1, lamp 0-3, plant 0-3, stool 0-2",
    ),
    "office": RoomKind(
        0.22,
        (3.6, 5.0),
        "desk 1-2, chair 1-4, bookshelf 1-2, cabinet 0-2, table 0-1, armchair 0-1, lamp 0-2, "
        "plant 0-2",
    ),
    "kitchen": RoomKind(
        0.18,
        (3.4, 4.6),
        "fridge, stove, sink, cabinet 1-2, table, chair 1-4, stool 0-3, plant 0-1",
    ),
    "bathroom": RoomKind(
        0.12,
        (2.8, 3.8),
        "bathtub, toilet, sink 1-2, cabinet 0-1, stool 0-1, plant 0-2, lamp 0-1",
    ),
}

# where the large furniture may stand: each is tried in turn
WAYS = {
    "nightstand": (places.next_to_bed, at_wall),
    "chair": (places.at_table, freely),
    **dict.fromkeys(("lamp", "plant"), (places.near_wall, freely)),
    **dict.fromkeys(("bed", "cabinet", "bookshelf", "sofa", "tv stand", "desk"), (at_wall,)),
    **dict.fromkeys(("sink", "bathtub", "toilet", "fridge", "stove"), (at_wall,)),
}


def make_room(
    seed: int, kind: str | None = None, areas: int = 1, states: bool = False, novel: bool = False
) -> Room:
    """A furnished room; the same arguments give the same room.

    ``areas`` 2 gives two rooms with a door between them; ``states`` opens some doors and drawers;
    ``novel`` prefers the colour-category pairs (``HELD_OUT``) that otherwise never occur. Raises
    ``ValueError`` for a negative seed and an unknown kind.
    """
    if seed < 0:
        raise ValueError(f"the seed of a room must not be negative, found {seed}")
    if kind is not None and kind not in KINDS:
        raise ValueError(f"unknown kind of room {kind!r}; choose one of {', '.join(KINDS)}")
    rng = np.random.default_rng(seed)
    shares = [k.share for k in KINDS.values()]
    kinds = [kind or str(rng.choice(list(KINDS), p=shares)) for _ in range(areas)]
    room = empty_room(seed, plan_areas(kinds, rng), rng)
    if areas == 2:
        add_partition(room, rng, states)
    for area in room.areas:
        furnish(room, area, rng, states, novel)
    return room


def plan_areas(kinds: list[str], rng: np.random.Generator) -> list[Area]:
    """One area of random size, or two of equal depth side by side with a wall between them."""
    depth = float(np.mean([rng.uniform(*KINDS[k].sides) for k in kinds]))
    widths = [float(rng.uniform(*KINDS[k].sides)) for k in kinds]
    total = sum(widths) + WALL * (len(kinds) - 1)
    starts = np.cumsum([0.0, *(w + WALL for w in widths[:-1])]) - total / 2
    return [
        Area(k, (float(x + w / 2), 0.0), (w, depth))
        for k, x, w in zip(kinds, starts, widths, strict=True)
    ]


def add_partition(room: Room, rng: np.random.Generator, states: bool) -> None:
    """A wall between the two areas, with a doorway and its door."""
    door = make_object(room, "door", rng, states)
    left = room.areas[0].center[0] + room.areas[0].size[0] / 2
    y, height, paint = room.size[1] / 2, room.size[2], Paint(room.wall_colour)
    middle = float(rng.uniform(-0.3, 0.3) * room.size[1])
    half, lintel = door.size[0] / 2, door.size[2]
    across = (left, left + WALL)
    room.walls += [
        slab(across, (-y, middle - half), (0.0, height), paint),
        slab(across, (middle + half, y), (0.0, height), paint),
        slab(across, (middle - half, middle + half), (lintel, height), paint),
    ]
    door.center, door.yaw = (left + WALL / 2, middle, lintel / 2), math.pi / 2
    room.add(door)
    if door.attributes.get("state") == "open":  # one looks through, into the other area
        room.parts[-1] = [p for p in room.parts[-1] if p.paint != DARK]


def furnish(room: Room, area: Area, rng: np.random.Generator, states: bool, novel: bool) -> None:
    """Door and windows first, then the large furniture from the largest to the smallest, then the
    small things.
    """

    def put(category: str, *ways: Proposal) -> None:
        item = make_object(room, category, rng, states, novel)
        put_somewhere(room, area, item, ways, rng)

    if len(room.areas) == 1 or area is room.areas[0]:
        put("door", places.on_wall(0.0))
    for _ in range(rng.integers(1, 3)):
        put("window", places.on_wall(float(rng.uniform(0.9, 1.05))))
    wanted = re.findall(r"([a-z ]+?)(?: (\d)-(\d))?(?:, |$)", KINDS[area.kind].furniture)
    for category, fewest, most in wanted:
        for _ in range(rng.integers(int(fewest or 1), int(most or 1) + 1)):
            put(category, *WAYS.get(category, (freely,)))
    if rng.random() < 0.5:
        put("basket", places.beside, freely)
    if present(room, area, ("tv stand",)):
        put("television", on_top("tv stand"))
    if rng.random() < 0.5:
        stack(room, area, rng, novel)
    small = [c for c in SMALL if c not in ("basket", "television")]
    flat = on_top(*FLAT_TOPS)
    for _ in range(rng.integers(4, 8)):
        category = str(rng.choice(small))
        ways = (flat, flat, places.underneath, places.inside_of, places.beside)
        put(category, *shuffled(ways, rng))


def shuffled(ways: tuple[Proposal, ...], rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(np.array(ways, dtype=object))


def put_somewhere(room: Room, area: Area, item: Object, ways, rng: np.random.Generator) -> bool:
    """Place an object in the first of several ways that has room for it; whether there was any."""
    return any(place(room, area, item, way, rng) for way in ways)


def stack(room: Room, area: Area, rng: np.random.Generator, novel: bool) -> None:
    """Two flat things, one on the other, on the floor or on a table."""
    lower, upper = (make_object(room, str(c), rng, novel=novel) for c in rng.choice(STACKABLE, 2))
    looks = [(o.category, o.attributes["colour"]) for o in (lower, upper)]
    if looks[0] == looks[1]:
        return
    ways = shuffled((on_top(*FLAT_TOPS), freely, places.beside), rng)
    if put_somewhere(room, area, lower, ways, rng):
        upper.id = len(room.objects) + 1
        place(room, area, upper, on_top(lower.category, exactly=lower.id), rng)


def make_object(
    room: Room, category: str, rng: np.random.Generator, states: bool = False, novel: bool = False
) -> Object:
    """An object of random size (whole centimetres) and looks, not yet placed."""
    smallest, largest = CATEGORIES[category].smallest, CATEGORIES[category].largest
    size = tuple(float(s) for s in np.round(rng.uniform(smallest, largest), 2))
    item = Object(len(room.objects) + 1, category, (0.0, 0.0, size[2] / 2), size)
    if category not in UNCOLOURED:
        taken = {o.attributes["colour"] for o in room.objects if o.category == category}
        choices = [c for c in COLOURS if c != HELD_OUT[category]]
        if novel and rng.random() < 0.5:
            choices = [HELD_OUT[category]]
        elif len(taken) < len(choices) and rng.random() < 0.8:
            # mostly, two chairs can be told apart by colour
            choices = [c for c in choices if c not in taken]
        item.attributes["colour"] = str(rng.choice(choices))
    if category in PATTERNED:
        item.attributes["pattern"] = str(rng.choice(PATTERNS))
    if states and category in OPENABLE:
        item.attributes["state"] = str(rng.choice(STATES))
    return item


def rearrange(room: Room, seed: int, share: float = 0.4) -> Room:
    """The same room some weeks later: about ``share`` of its movable objects stand elsewhere; ids,
    sizes and looks stay.
    """
    rng = np.random.default_rng((room.seed, seed, 2))
    later = copy.deepcopy(room)
    hosts = {int(o.attributes[r]) for o in room.objects for r in RELATIONS if r in o.attributes}
    movable = [o for o in later.objects if o.category in MOVABLE and o.id not in hosts]
    for item in movable:
        if rng.random() <= share:
            place_again(later, item, rng)
    return later


def place_again(room: Room, item: Object, rng: np.random.Generator) -> bool:
    """Move an object to another sensible place in its area; where none is found it stays. True if
    it moved.
    """
    area = next(a for a in room.areas if within(a, item.center[:2]))
    index = next(i for i, o in enumerate(room.objects) if o.id == item.id)
    before, parts = room.objects.pop(index), room.parts.pop(index)
    moved = copy.deepcopy(before)
    moved.attributes = {k: v for k, v in moved.attributes.items() if k not in RELATIONS}
    ways = (freely, places.near_wall)
    if item.category in SMALL:
        ways = (on_top(*FLAT_TOPS), places.underneath, places.inside_of, places.beside)
    found = put_somewhere(room, area, moved, shuffled(ways, rng), rng)
    if found:
        before, parts = room.objects.pop(), room.parts.pop()
    room.objects.insert(index, before)
    room.parts.insert(index, parts)
    return found
