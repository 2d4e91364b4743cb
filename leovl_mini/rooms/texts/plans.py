"""Plans: numbered steps towards a goal, made of things that are really there.

Explained in notebook 01 (RGB-D frames and cameras).
"""

from collections.abc import Iterator

import numpy as np

from leovl_mini.data.examples import Example
from leovl_mini.rooms.facts import STATEMENTS, SceneGraph
from leovl_mini.rooms.facts.rules import BESIDE_MARGIN
from leovl_mini.rooms.furniture import SMALL
from leovl_mini.rooms.texts.phrases import say
from leovl_mini.rooms.texts.sentences import Fact, SentenceWriter, composed, enough
from leovl_mini.scans.scene import Object

Steps = Iterator[Fact | None]


def plans(graph: SceneGraph, rng: np.random.Generator, most: int = 2) -> Iterator[Example]:
    """Numbered steps towards up to ``most`` goals that this room offers at least five steps for."""
    writer, made = SentenceWriter(graph, rng), 0
    eagerness = np.array([weight for weight, _ in GOALS.values()])
    for goal in rng.choice(list(GOALS), len(GOALS), replace=False, p=eagerness / eagerness.sum()):
        steps = [step for step in GOALS[goal][1](Planner(writer)) if step]
        if len(steps) < 5 or made == most:
            continue
        made += 1
        # to sit or lie down is the point of these
        last = steps[-2:] if goal in ("read", "work", "sleep") else []
        first = enough(iter(steps[: len(steps) - len(last)]), 92 - 9 * len(last))
        steps = [*first, *last, writer.fact(f"step end {goal}")]
        text = " ".join(f"{i}. {step['text']}" for i, step in enumerate(steps, 1))
        yield composed("planning", str(goal), say(f"plan {goal}", rng), steps, text)


class Planner:
    """More steps than needed for a goal; steps that make no sense in this room are None."""

    def __init__(self, writer: SentenceWriter):
        self.writer, self.graph = writer, writer.graph
        self.objects = list(writer.rng.permutation(np.array(self.graph.askable, dtype=object)))
        self.tops = self.all("table", "desk", "cabinet", "nightstand", "tv stand", "stool")
        hosts = [(o, (self.graph.host(o) or ("", None))[1]) for o in self.objects]
        self.lying = [  # small things that carry nothing, with what they lie on, under or inside
            (item, host)
            for item, host in hosts
            if item.category in SMALL and host in self.objects and not self.graph.held(item, "on")
        ]

    def all(self, *categories: str) -> list[Object]:
        return [o for o in self.objects if o.category in categories]

    def things(self, *categories: str) -> list[tuple[Object, Object]]:
        return [(item, host) for item, host in self.lying if item.category in categories]

    def another(self, tops: list[Object], host: Object) -> Object | None:
        return self.writer.pick([top for top in tops if top is not host])

    # single steps

    def go(self, item: Object) -> Fact | None:
        near, _, margin = self.graph.nearest_large(item)
        beside = margin >= BESIDE_MARGIN and STATEMENTS["close"].holds(self.graph, item, near)
        if beside and self.graph.host(item) is None and near in self.objects:
            names = {"ref": self.graph.names[item.id], "host": self.graph.names[near.id]}
            return self.writer.fact("step go beside", item, near, **names)
        return self.writer.about("step go", item)

    def carry(self, item: Object, host: Object, to: Object | None) -> Steps:
        if to is not None and to is not host:
            yield self.go(host)
            yield self.writer.about("step take", item, host)
            yield self.writer.about("step put on", item, to)

    def visit(self, key: str, item: Object) -> Steps:
        """Go there, and do something with it."""
        yield self.go(item)
        yield self.writer.about(key, item)

    def sit(self, *categories: str) -> Steps:
        seat = self.writer.pick(self.all(*categories))
        if seat:
            yield from self.visit("step sit", seat)

    def switch_on(self, items: list[Object]) -> Steps:
        return (self.writer.about("step switch on", item) for item in items)

    # goals

    def tidy(self) -> Steps:
        for item, host in self.lying[:6]:
            yield from self.carry(item, host, self.another(self.tops, host))

    def read(self) -> Steps:
        books = self.things("book")
        if not books:
            return
        item, host = books[0]
        yield self.go(host)
        yield self.writer.about("step take", item, host)
        for lamp in self.all("lamp")[:2]:
            yield from self.visit("step switch on", lamp)
        yield from self.sit("armchair", "sofa", "chair")

    def guests(self) -> Steps:
        kinds = ("chair", "armchair", "stool")
        seats = next(filter(None, map(self.writer.number, kinds)), None)
        if seats and seats["rule"] == "say count":
            counted = (self.graph.by_id[i] for i in seats["objects"])
            yield self.writer.fact("step count", *counted, **seats["slots"])
        for top in self.all("table", "tv stand", "cabinet")[:2]:
            yield from self.visit("step wipe", top)
        for item, host in self.things("bowl", "vase", "bottle", "mug")[:2]:
            yield from self.carry(item, host, self.another(self.all("table"), host))
        yield from self.switch_on(self.all("lamp", "radio")[:2])
        for door in self.all("door"):
            if door.attributes.get("state") != "open":
                yield self.writer.about("step open", door)

    def water(self) -> Steps:
        if not self.all("plant"):
            return
        for item, host in self.things("bottle", "mug", "bowl")[:1]:
            yield self.go(host)
            yield self.writer.about("step take", item, host)
            for sink in self.all("sink")[:1]:
                yield self.go(sink)
                yield self.writer.about("step fill", item, sink)
        for pot in self.all("plant", "vase"):
            yield from self.visit("step water", pot)

    def work(self) -> Steps:
        for desk in self.all("desk", "table")[:1]:
            yield self.go(desk)
            in_the_way = [o for o, host in self.lying if host is desk and o.category != "laptop"]
            for item in in_the_way[:2]:
                to = self.another(self.tops, desk)
                if to:
                    yield self.writer.about("step take", item, desk)
                    yield self.writer.about("step put on", item, to)
            for item, host in self.things("laptop")[:1]:
                yield from self.carry(item, host, desk)
            yield from self.switch_on(self.all("laptop", "lamp")[:2])
            yield from self.sit("chair", "armchair")

    def sleep(self) -> Steps:
        for bed in self.all("bed")[:1]:
            for window in self.all("window")[:1]:
                yield self.writer.about("step open", window)
            for top in self.all("nightstand", "desk", "table")[:3]:
                for item in [o for o, host in self.lying if host is top][:1]:
                    to = self.another(self.all("cabinet", "desk"), top)
                    yield from self.carry(item, top, to)
                yield from self.visit("step wipe", top)
            yield from self.visit("step lie", bed)

    def clean(self) -> Steps:
        large = ("table", "desk", "cabinet", "nightstand", "tv stand", "stool")
        for top in self.all(*large, "sink", "bathtub", "toilet", "stove", "fridge"):
            yield from self.visit("step wipe", top)

    def decorate(self) -> Steps:
        for pot in self.all("plant")[:2]:
            to = self.writer.pick(self.all("sofa", "bookshelf", "cabinet", "bed", "bathtub"))
            yield self.go(pot)
            yield to and self.writer.about("step move", pot, to)
        for item, host in self.things("vase", "bowl", "book", "radio")[:3]:
            yield from self.carry(item, host, self.another(self.tops, host))
        yield from self.switch_on(self.all("lamp")[:1])


# goals, and how eagerly each is chosen: the more, the fewer rooms offer what it takes
GOALS = {
    "tidy": (1, Planner.tidy),
    "read": (3, Planner.read),
    "guests": (3, Planner.guests),
    "water": (5, Planner.water),
    "work": (3, Planner.work),
    "sleep": (8, Planner.sleep),
    "clean": (1, Planner.clean),
    "decorate": (1, Planner.decorate),
}
