"""Furnish a room from a seed: what stands against the walls, at a table or freely, and what lies
on, under, inside or beside what.

No two objects intersect, nobody has to climb over furniture, and doors and drawers have room to
open.
"""

import copy
import math
import re

import numpy as np

from leovl_mini.rooms import places
from leovl_mini.rooms.furniture import (
    COLOURS,
    FIXED,
    LARGE,
    OPENABLE,
    PATTERNED,
    PATTERNS,
    SMALL,
    STATES,
    Paint,
    Part,
)
from leovl_mini.rooms.parts import DARK
from leovl_mini.rooms.places import (
    FLAT_TOPS,
    MOVABLE,
    STACKABLE,
    Proposal,
    at_wall,
    freely,
    on_top,
    place,
)
from leovl_mini.rooms.room import Area, Room, within
from leovl_mini.scans.scene import RELATIONS, Object

# room kind: how often, smallest and largest side in metres, and what stands in it (how many of
# each)
KINDS = {
    "bedroom": (
        0.24,
        3.6,
        4.8,
        "bed, nightstand 1-2, cabinet, desk 0-1, armchair 0-2, bookshelf 0-1, lamp 0-2, plant 0-2",
    ),
    "living room": (
        0.24,
        4.0,
        5.4,
        "sofa 1-2, tv stand, table, armchair 1-3, bookshelf 0-1, lamp 0-3, plant 0-3, stool 0-2",
    ),
    "office": (
        0.22,
        3.6,
        5.0,
        "desk 1-2, chair 1-4, bookshelf 1-2, cabinet 0-2, table 0-1, armchair 0-1, lamp 0-2, plant 0-2",
    ),
    "kitchen": (
        0.18,
        3.4,
        4.6,
        "fridge, stove, sink, cabinet 1-2, table, chair 1-4, stool 0-3, plant 0-1",
    ),
    "bathroom": (
        0.12,
        2.8,
        3.8,
        "bathtub, toilet, sink 1-2, cabinet 0-1, stool 0-1, plant 0-2, lamp 0-1",
    ),
}


UNCOLOURED = ("window", "television", "plant")  # what has no one colour of its own


AT_WALL = (
    "bed",
    "nightstand",
    "cabinet",
    "bookshelf",
    "sofa",
    "tv stand",
    "desk",
    "sink",
    "bathtub",
    "toilet",
    "fridge",
    "stove",
)


# one colour of every category is kept out of ordinary rooms, to test what a model makes of a pair
# it has never seen
HELD_OUT = {
    category: list(COLOURS)[(3 * i + 1) % len(COLOURS)]
    for i, category in enumerate([*LARGE, *SMALL, "door"])
}


def make_room(
    seed: int, kind: str | None = None, areas: int = 1, states: bool = False, novel: bool = False
) -> Room:
    """A furnished room; the same arguments give the same room.

    ``areas`` 2 gives two rooms with a door between them; ``states`` opens some doors and drawers;
    ``novel`` prefers the colour-category pairs (``HELD_OUT``) that otherwise never occur.
    """
    if seed < 0:
        raise ValueError(f"the seed of a room must not be negative, found {seed}")
    if kind is not None and kind not in KINDS:
        raise ValueError(f"unknown kind of room {kind!r}; choose one of {', '.join(KINDS)}")
    rng = np.random.default_rng(seed)
    kinds = [
        kind or str(rng.choice(list(KINDS), p=[k[0] for k in KINDS.values()])) for _ in range(areas)
    ]
    room = empty_room(seed, kinds, rng, states)
    for area in room.areas:
        furnish(room, area, rng, states, novel)
    return room


def empty_room(seed: int, kinds: list[str], rng: np.random.Generator, states: bool) -> Room:
    """Floor, ceiling and walls of one area, or of two areas side by side with a doorway between
    them.
    """
    depth = float(np.mean([rng.uniform(*KINDS[k][1:3]) for k in kinds]))
    widths = [float(rng.uniform(*KINDS[k][1:3])) for k in kinds]
    wall, thick, height = 0.1, 0.1, 2.6
    total = sum(widths) + wall * (len(kinds) - 1)
    starts = np.cumsum([0.0, *(w + wall for w in widths[:-1])]) - total / 2
    areas = [
        Area(k, (float(x + w / 2), 0.0), (w, depth))
        for k, x, w in zip(kinds, starts, widths, strict=True)
    ]
    wall_colour = tuple((np.array([0.80, 0.78, 0.73]) + rng.uniform(-0.08, 0.08, 3)).tolist())
    floor_colour = tuple(
        (
            np.array([0.52, 0.42, 0.32]) * rng.uniform(0.75, 1.2) + rng.uniform(-0.05, 0.05, 3)
        ).tolist()
    )
    room = Room(
        seed,
        (total, depth, height),
        areas,
        wall_colour,
        floor_colour,
        str(rng.choice(["wood", "tiles", "carpet"])),
    )
    paint = Paint(wall_colour)

    def slab(x0, x1, y0, y1, z0, z1, paint):
        room.walls.append(
            Part(((x0 + x1) / 2, (y0 + y1) / 2, (z0 + z1) / 2), (x1 - x0, y1 - y0, z1 - z0), paint)
        )

    x, y = total / 2, depth / 2
    slab(
        -x - thick,
        x + thick,
        -y - thick,
        y + thick,
        -thick,
        0.0,
        Paint(floor_colour, room.floor_pattern),
    )
    slab(
        -x - thick,
        x + thick,
        -y - thick,
        y + thick,
        height,
        height + thick,
        Paint((0.93, 0.93, 0.92)),
    )
    slab(-x - thick, -x, -y - thick, y + thick, 0.0, height, paint)
    slab(x, x + thick, -y - thick, y + thick, 0.0, height, paint)
    slab(-x, x, -y - thick, -y, 0.0, height, paint)
    slab(-x, x, y, y + thick, 0.0, height, paint)
    if len(areas) == 2:  # the partition leaves a doorway
        left = areas[0].center[0] + areas[0].size[0] / 2
        door = make_object(room, "door", rng, states)
        middle = float(rng.uniform(-0.3, 0.3) * depth)
        half, top = door.size[0] / 2, door.size[2]
        slab(left, left + wall, -y, middle - half, 0.0, height, paint)
        slab(left, left + wall, middle + half, y, 0.0, height, paint)
        slab(left, left + wall, middle - half, middle + half, top, height, paint)
        door.center, door.yaw = (left + wall / 2, middle, top / 2), math.pi / 2
        room.add(door)
        if door.attributes.get("state") == "open":  # one looks through, into the other area
            room.parts[-1] = [p for p in room.parts[-1] if p.paint != DARK]
    return room


def furnish(room: Room, area: Area, rng: np.random.Generator, states: bool, novel: bool) -> None:
    """Door and windows first, then the large furniture from the largest to the smallest, then the
    small things.
    """

    def put(category: str, *proposals: Proposal) -> Object | None:
        item = make_object(room, category, rng, states, novel)
        return (
            item if any(place(room, area, item, proposal, rng) for proposal in proposals) else None
        )

    if len(room.areas) == 1 or area is room.areas[0]:
        put("door", places.on_wall(0.0))
    for _ in range(rng.integers(1, 3)):
        put("window", places.on_wall(float(rng.uniform(0.9, 1.05))))
    for category, fewest, most in re.findall(
        r"([a-z ]+?)(?: (\d)-(\d))?(?:, |$)", KINDS[area.kind][3]
    ):
        for _ in range(rng.integers(int(fewest or 1), int(most or 1) + 1)):
            if category == "nightstand":
                put(category, places.next_to_bed, at_wall)
            elif category == "chair":
                put(category, places.at_table, freely)
            elif category in ("lamp", "plant"):
                put(category, places.near_wall, freely)
            elif category in AT_WALL:
                put(category, at_wall)
            else:
                put(category, freely)
    small = [c for c in SMALL if c not in ("basket", "television")]
    if rng.random() < 0.5:
        put("basket", places.beside, freely)
    if any(o.category == "tv stand" and within(area, o) for o in room.objects):
        put("television", on_top("tv stand"))
    if rng.random() < 0.5:
        stack(room, area, rng, novel)
    for _ in range(rng.integers(4, 8)):
        ways = [
            on_top(*FLAT_TOPS),
            on_top(*FLAT_TOPS),
            places.underneath,
            places.inside_of,
            places.beside,
        ]
        put(str(rng.choice(small)), *rng.permutation(np.array(ways, dtype=object)))


def stack(room: Room, area: Area, rng: np.random.Generator, novel: bool) -> None:
    """Two flat things, one on the other, on the floor or on a table."""
    lower, upper = (make_object(room, str(c), rng, novel=novel) for c in rng.choice(STACKABLE, 2))
    if (
        lower.category == upper.category
        and lower.attributes["colour"] == upper.attributes["colour"]
    ):
        return
    ways = rng.permutation(np.array([on_top(*FLAT_TOPS), freely, places.beside], dtype=object))
    if any(place(room, area, lower, way, rng) for way in ways):
        upper.id = len(room.objects) + 1
        place(room, area, upper, on_top(lower.category, exactly=lower.id), rng)


def make_object(
    room: Room, category: str, rng: np.random.Generator, states: bool = False, novel: bool = False
) -> Object:
    """An object of random size and looks, not yet placed."""
    kind = LARGE.get(category) or SMALL.get(category) or FIXED[category]
    size = tuple(
        float(s) for s in np.round(rng.uniform(kind.smallest, kind.largest), 2)
    )  # whole centimetres
    item = Object(len(room.objects) + 1, category, (0.0, 0.0, size[2] / 2), size)
    if category not in UNCOLOURED:
        taken = {o.attributes["colour"] for o in room.objects if o.category == category}
        choices = [c for c in COLOURS if c != HELD_OUT[category]]
        if novel and rng.random() < 0.5:
            choices = [HELD_OUT[category]]
        elif (
            len(taken) < len(choices) and rng.random() < 0.8
        ):  # mostly, two chairs can be told apart by colour
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
        if rng.random() > share:
            continue
        area = next(a for a in later.areas if within(a, item))
        place_again(later, area, item, rng)
    return later


def place_again(room: Room, area: Area, item: Object, rng: np.random.Generator) -> bool:
    """Move an object to another sensible place; where none is found it stays. True if it moved."""
    index = next(i for i, o in enumerate(room.objects) if o.id == item.id)
    before, parts = room.objects.pop(index), room.parts.pop(index)
    moved = copy.deepcopy(before)
    moved.attributes = {k: v for k, v in moved.attributes.items() if k not in RELATIONS}
    ways = (
        [on_top(*FLAT_TOPS), places.underneath, places.inside_of, places.beside]
        if item.category in SMALL
        else [freely, places.near_wall]
    )
    found = any(
        place(room, area, moved, way, rng) for way in rng.permutation(np.array(ways, dtype=object))
    )
    if found:
        room.objects.insert(index, room.objects.pop())
        room.parts.insert(index, room.parts.pop())
    else:
        room.objects.insert(index, before)
        room.parts.insert(index, parts)
    return found
