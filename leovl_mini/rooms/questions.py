"""Questions about a room, with answers that follow from ``facts``, in at least eight wordings a
kind (``texts/phrases.json``).

Explained in notebook 01 (rgbd_and_cameras).
"""

from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np

from leovl_mini.data.examples import Example
from leovl_mini.rooms.facts import RULES, STATEMENTS, SceneGraph
from leovl_mini.rooms.facts.rules import TOO_NEAR
from leovl_mini.rooms.furniture import COLOURS, COUNTED, LARGE, SMALL, STACKABLE, UNCOLOURED
from leovl_mini.rooms.room import to_footprint
from leovl_mini.rooms.texts.phrases import NUMBER_WORDS, describe, plural, say, with_article
from leovl_mini.scans.scene import Object

# how many questions of each kind a room gives at most
PER_ROOM = {
    **{"existence": 8, "count": 4, "colour": 5, "pattern": 4, "state": 3},
    **{"contents on": 2, "contents under": 2, "contents inside": 2, "place": 4, "relation": 4},
    **{"situated": 8, "nearest": 6, "taller": 6, "height": 2, "length": 2, "distance": 2},
    **{"room size": 1, "coordinates": 3, "stack order": 2, "stacked": 2},
}

ABOUT_ONE = ("colour", "pattern", "state", "place", "height", "length", "coordinates")
ABOUT_A_HOST = ("contents on", "contents under", "contents inside")
ABOUT_TWO = ("taller", "distance")
STACKS = ("stack order", "stacked")

SLOTS = {  # the slots of a question, in the order of the objects it is about
    **dict.fromkeys((*ABOUT_ONE, "situated"), ("ref",)),
    **dict.fromkeys(ABOUT_A_HOST, ("host",)),
    **dict.fromkeys((*ABOUT_TWO, *STACKS, "relation"), ("a", "b")),
    "nearest": ("anchor", "a", "b"),
}

Arguments = Iterator[tuple]  # of a rule, besides the graph


def derive(
    kind: str, graph: SceneGraph, arguments: tuple, seen_from: tuple[int, ...] = ()
) -> tuple[list[str], dict] | None:
    """All accepted answers and their derivation, or None where the answer is not clear."""
    verdict = RULES[kind](graph, *arguments)
    if verdict is None:
        return None
    answer, margin = verdict
    derivation = {"rule": kind, "slots": {}, "objects": [], "margin": round(margin, 3)}
    if kind in ("existence", "count"):
        derivation["about"] = list(arguments)  # category, and colour if one was named
        name, objects = describe(*arguments), graph.matching(*arguments)
        slots = {"things": plural(name)} if kind == "count" else {"a_thing": with_article(name)}
    else:
        objects = [o for o in arguments if isinstance(o, Object)]
        names = (graph.name(o) for o in objects)
        slots = dict(zip(SLOTS.get(kind, ()), names, strict=True))
    derivation["slots"] = slots
    derivation["objects"] = [*seen_from, *(o.id for o in objects)]
    return ([answer, NUMBER_WORDS[int(answer)]] if kind == "count" else [answer]), derivation


def question(
    kind: str, graph: SceneGraph, rng: np.random.Generator, arguments: tuple, seen_from=(), **fields
) -> Example | None:
    """The question of this kind about these arguments of its rule, or None where the answer is not
    clear. ``fields`` are further fields of the Example.
    """
    derived = derive(kind, graph, arguments, seen_from)
    if derived is None:
        return None
    answers, derivation = derived
    text = say(kind, rng, **derivation["slots"])
    return Example("", "", "qa", kind, text, answers, derivation=derivation, **fields)


def questions(graph: SceneGraph, rng: np.random.Generator) -> Iterator[Example]:
    """Up to ``PER_ROOM`` questions of every kind; of more, answers are taken in turn."""
    for kind, most in PER_ROOM.items():
        by_answer = defaultdict(list)
        for candidate in candidates(kind, graph, rng):
            if candidate is not None:
                by_answer[candidate.answers[0]].append(candidate)
        groups = [by_answer[answer] for answer in rng.permutation(sorted(by_answer))]
        turns = [group[i] for i in range(most) for group in groups if i < len(group)]
        yield from turns[:most]


def candidates(kind: str, graph: SceneGraph, rng: np.random.Generator) -> Iterator[Example | None]:
    """Questions of one kind with arguments drawn at random, some of them None."""
    if kind == "situated":
        return (situated_question(graph, rng) for _ in range(4 * PER_ROOM[kind]))
    return (question(kind, graph, rng, drawn) for drawn in DRAW[kind](kind, graph, rng))


# -- what is asked about ---------------------------------------------------------------------------


def draw_existence(kind: str, graph: SceneGraph, rng: np.random.Generator) -> Arguments:
    """A category, in half of the questions with a colour: any, and one that can be seen."""
    counted = [o for o in graph.objects if o.category in COUNTED]
    present = sorted({o.category for o in counted})
    visible = [o for o in counted if o.id in graph.clear and "colour" in o.attributes]
    for _ in range(4 * PER_ROOM[kind]):
        category = str(rng.choice(present if rng.random() < 0.6 else COUNTED))
        coloured = rng.random() < 0.5 and category not in UNCOLOURED
        yield category, str(rng.choice(list(COLOURS))) if coloured else None
        if visible:
            item = visible[rng.integers(len(visible))]
            yield item.category, item.attributes["colour"] if rng.random() < 0.5 else None


def draw_count(kind: str, graph: SceneGraph, rng: np.random.Generator) -> Arguments:
    categories = sorted({o.category for o in graph.objects})
    return ((str(category),) for category in rng.permutation(categories))


def draw_stack(kind: str, graph: SceneGraph, rng: np.random.Generator) -> Arguments:
    """Two flat things of which one lies on the other, twice, in either order."""
    for upper in graph.askable:
        _, lower = graph.host(upper) or ("", None)
        if upper.category in STACKABLE and lower in graph.askable and lower.category in STACKABLE:
            for _ in range(2):
                yield (upper, lower) if rng.random() < 0.5 else (lower, upper)


def draw_neighbours(kind: str, graph: SceneGraph, rng: np.random.Generator) -> Arguments:
    for item in graph.askable:
        for other in graph.askable:
            if item is not other and STATEMENTS["close"].holds(graph, item, other):
                yield item, other


def draw_one(kind: str, graph: SceneGraph, rng: np.random.Generator) -> Arguments:
    """Every object once; no colour that its name tells, and no place of what is large."""
    for item in rng.permutation(np.array(graph.askable, dtype=object)):
        in_name = item.attributes.get("colour", "none") in graph.names[item.id]
        if not (kind == "colour" and in_name) and (kind != "place" or item.category in SMALL):
            yield (item,)


def draw_several(kind: str, graph: SceneGraph, rng: np.random.Generator) -> Arguments:
    """Two or three objects; mostly two of a kind, about which words alone say nothing."""
    seen = graph.askable
    if len(seen) < 4:
        return
    twins = [(a, b) for i, a in enumerate(seen) for b in seen[:i] if a.category == b.category]
    for _ in range(4 * PER_ROOM[kind]):
        *anchor, a, b = (seen[i] for i in rng.choice(len(seen), len(SLOTS[kind]), replace=False))
        if kind in ("nearest", "taller") and twins and rng.random() < 0.8:
            a, b = rng.permutation(np.array(twins[rng.integers(len(twins))], dtype=object))
            if a in anchor or b in anchor:
                continue
        yield (*anchor, a, b)


DRAW: dict[str, Callable[..., Arguments]] = {
    "room size": lambda kind, graph, rng: iter([()]),
    "existence": draw_existence,
    "count": draw_count,
    "relation": draw_neighbours,
    **dict.fromkeys(STACKS, draw_stack),
    **dict.fromkeys((*ABOUT_ONE, *ABOUT_A_HOST), draw_one),
    **dict.fromkeys((*ABOUT_TWO, "nearest"), draw_several),
}


def situated_question(graph: SceneGraph, rng: np.random.Generator) -> Example | None:
    """Stand on free floor beside something large, face something else, and ask where a third thing
    is (as in SQA3D).
    """
    anchors = [o for o in graph.askable if o.category in LARGE]
    if not anchors or len(graph.askable) < 4:
        return None
    at = anchors[rng.integers(len(anchors))]
    area = graph.area_of(at)
    floor = graph.floor(area)
    stands = floor[to_footprint(floor, at) < 0.6]
    others = [o for o in graph.askable if o is not at and graph.area_of(o) is area]
    if not len(stands) or len(others) < 2:
        return None
    x, y = stands[rng.integers(len(stands))].round(2)
    facing, target = (others[i] for i in rng.choice(len(others), 2, replace=False))
    away = np.array([facing.center[0] - x, facing.center[1] - y])
    if np.hypot(*away) < TOO_NEAR:
        return None
    heading = float(np.arctan2(away[1], away[0]))
    names = {"at": graph.names[at.id], "facing": graph.names[facing.id]}
    return question(
        "situated",
        graph,
        rng,
        (np.array([x, y]), heading, target),
        situation=say("situation", rng, **names),
        position=[float(x), float(y), 0.0],
        heading=round(heading, 4),
        seen_from=(at.id, facing.id),
    )


def groundings(graph: SceneGraph, rng: np.random.Generator, most: int = 2) -> Iterator[Example]:
    """Find all objects that a description fits: one, several or none."""
    counted, by_kind = [o for o in graph.objects if o.category in COUNTED], defaultdict(list)
    for _ in range(12 * most):
        drawn = draw_description(counted[rng.integers(len(counted))], graph, rng)
        if drawn is None:
            continue
        slots, found, host = drawn
        if all(o.id in graph.clear for o in found):
            kind = ("zero", "unique", "multiple")[min(len(found), 2)]
            by_kind[kind].append(grounding(kind, slots, sorted(o.id for o in found), host, rng))
    for group in by_kind.values():
        yield from group[:most]


Description = tuple[dict[str, str], list[Object], list[int]]  # slots, what fits, ids of the host


def draw_description(
    item: Object, graph: SceneGraph, rng: np.random.Generator
) -> Description | None:
    """Words that may fit an object: what it lies on, or its category and some colour."""
    relation, host = graph.host(item) or ("", None)
    if relation == "on" and rng.random() < 0.4 and host in graph.askable:
        found = [o for o in graph.held(host, "on") if o.category == item.category]
        return {"thing": item.category, "host": graph.names[host.id]}, found, [host.id]
    if "colour" not in item.attributes:
        return None
    colour = str(rng.choice(list(COLOURS))) if rng.random() < 0.4 else item.attributes["colour"]
    wanted = (item.category, None if rng.random() < 0.4 else colour)
    return {"thing": describe(*wanted)}, graph.matching(*wanted), []


def grounding(
    kind: str, slots: dict[str, str], ids: list[int], host: list[int], rng: np.random.Generator
) -> Example:
    key = "ground on" if host else "ground"
    answer = " ".join(f"<OBJ{i:03d}>" for i in ids) or "none"
    derivation = {"rule": key, "slots": slots, "objects": ids + host}
    text = say(key, rng, **slots)
    return Example("", "", "grounding", kind, text, [answer], targets=ids, derivation=derivation)
