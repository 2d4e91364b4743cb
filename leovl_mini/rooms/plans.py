"""Plans: numbered steps towards a goal, made of things that are really there."""

from collections.abc import Iterator

import numpy as np

from leovl_mini.data.examples import Example
from leovl_mini.rooms.facts import SceneGraph
from leovl_mini.rooms.furniture import SMALL
from leovl_mini.rooms.questions import say
from leovl_mini.rooms.teller import Fact, SentenceWriter, composed, enough
from leovl_mini.scans.scene import Object

# goals, and how eagerly each is chosen: the more, the fewer rooms offer what it takes
GOALS = {
    "tidy": 1,
    "read": 3,
    "guests": 3,
    "water": 5,
    "work": 3,
    "sleep": 8,
    "clean": 1,
    "decorate": 1,
}


def plans(world: SceneGraph, rng: np.random.Generator, most: int = 2) -> Iterator[Example]:
    """Numbered steps towards a goal, made of things that are really there."""
    tell = SentenceWriter(world, rng)
    made = 0
    for goal in rng.choice(
        list(GOALS),
        len(GOALS),
        replace=False,
        p=np.array(list(GOALS.values())) / sum(GOALS.values()),
    ):
        steps = [s for s in plan_steps(str(goal), tell) if s]
        if len(steps) >= 5 and made < most:
            made += 1
            last = (
                steps[-2:] if goal in ("read", "work", "sleep") else []
            )  # to sit or lie down is the point of these
            steps = [
                *enough(iter(steps[: len(steps) - len(last)]), 92 - 9 * len(last)),
                *last,
                tell.fact(f"step end {goal}"),
            ]
            text = " ".join(f"{i}. {s['text']}" for i, s in enumerate(steps, 1))
            yield composed("planning", str(goal), say(f"plan {goal}", rng), steps, text)


def plan_steps(goal: str, tell: SentenceWriter) -> Iterator[Fact | None]:
    """More steps than needed for one goal; steps that make no sense in this room are None."""
    world, rng = tell.world, tell.rng
    mixed = list(rng.permutation(np.array(world.askable, dtype=object)))

    def have(*categories: str) -> list[Object]:
        return [o for o in mixed if o.category in categories]

    tops = have("table", "desk", "cabinet", "nightstand", "tv stand", "stool")
    lying = [
        (o, world.host(o)[1])
        for o in mixed
        if o.category in SMALL and world.host(o) and not world.held(o, "on")
    ]
    lying = [(o, host) for o, host in lying if host in mixed]

    def go(item: Object) -> Fact | None:
        near, gap, margin = world.nearest_large(item)
        beside = gap <= 0.4 and margin >= 0.25 and world.host(item) is None
        if beside and near in mixed:
            return tell.fact(
                "step go beside", item, near, ref=world.refs[item.id], host=world.refs[near.id]
            )
        return tell.about("step go", item)

    def carry(item: Object, host: Object, to: Object | None) -> Iterator[Fact | None]:
        if to is not None and to is not host:
            yield go(host)
            yield tell.about("step take", item, host)
            yield tell.about("step put on", item, to)

    def sit(*categories: str) -> Iterator[Fact | None]:
        seat = tell.pick(have(*categories))
        if seat:
            yield go(seat)
            yield tell.about("step sit", seat)

    if goal == "tidy":
        for item, host in lying[:6]:
            yield from carry(item, host, tell.pick([t for t in tops if t is not host]))
    elif goal == "read":
        books = [(o, h) for o, h in lying if o.category == "book"]
        for item, host in books[:1]:
            yield go(host)
            yield tell.about("step take", item, host)
        for lamp in have("lamp")[:2] if books else []:
            yield go(lamp)
            yield tell.about("step switch on", lamp)
        yield from sit("armchair", "sofa", "chair") if books else ()
    elif goal == "guests":
        seats = tell.number("chair") or tell.number("armchair") or tell.number("stool")
        if seats and seats["rule"] == "say count":
            yield tell.fact(
                "step count", *(world.by_id[i] for i in seats["objects"]), **seats["slots"]
            )
        for top in have("table", "tv stand", "cabinet")[:2]:
            yield go(top)
            yield tell.about("step wipe", top)
        for item, host in [
            (o, h) for o, h in lying if o.category in ("bowl", "vase", "bottle", "mug")
        ][:2]:
            yield from carry(item, host, tell.pick([t for t in have("table") if t is not host]))
        yield from (tell.about("step switch on", o) for o in have("lamp", "radio")[:2])
        yield from (
            tell.about("step open", o) for o in have("door") if o.attributes.get("state") != "open"
        )
    elif goal == "water" and have("plant"):
        vessel = next(((o, h) for o, h in lying if o.category in ("bottle", "mug", "bowl")), None)
        if vessel:
            yield go(vessel[1])
            yield tell.about("step take", *vessel)
            for sink in have("sink")[:1]:
                yield go(sink)
                yield tell.about("step fill", vessel[0], sink)
        for pot in have("plant", "vase"):
            yield go(pot)
            yield tell.about("step water", pot)
    elif goal == "work" and have("desk", "table"):
        desk = have("desk", "table")[0]
        yield go(desk)
        for item, host in [(o, h) for o, h in lying if h is desk and o.category != "laptop"][:2]:
            to = tell.pick([t for t in tops if t is not desk])
            if to:
                yield tell.about("step take", item, host)
                yield tell.about("step put on", item, to)
        for item, host in [(o, h) for o, h in lying if o.category == "laptop"][:1]:
            yield from carry(item, host, desk)
        yield from (tell.about("step switch on", o) for o in have("laptop", "lamp")[:2])
        yield from sit("chair", "armchair")
    elif goal == "sleep" and have("bed"):
        bed = have("bed")[0]
        yield from (tell.about("step open", o) for o in have("window")[:1])
        for host in have("nightstand", "desk", "table")[:3]:
            for item, _ in [(o, h) for o, h in lying if h is host][:1]:
                yield from carry(
                    item, host, tell.pick([t for t in have("cabinet", "desk") if t is not host])
                )
            yield go(host)
            yield tell.about("step wipe", host)
        yield go(bed)
        yield tell.about("step lie", bed)
    elif goal == "clean":
        for top in have(
            "table",
            "desk",
            "cabinet",
            "nightstand",
            "tv stand",
            "stool",
            "sink",
            "bathtub",
            "toilet",
            "stove",
            "fridge",
        ):
            yield go(top)
            yield tell.about("step wipe", top)
    elif goal == "decorate":
        for pot in have("plant")[:2]:
            to = tell.pick(have("sofa", "bookshelf", "cabinet", "bed", "bathtub"))
            yield go(pot)
            yield to and tell.about("step move", pot, to)
        for item, host in [
            (o, h) for o, h in lying if o.category in ("vase", "bowl", "book", "radio")
        ][:3]:
            yield from carry(item, host, tell.pick([t for t in tops if t is not host]))
        yield from (tell.about("step switch on", o) for o in have("lamp")[:1])
