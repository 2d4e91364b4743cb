"""Longer answers: captions, plans and dialogues, each put together from single facts that can be checked one by one."""

from collections.abc import Iterator

import numpy as np

from leovl_mini.examples import Example
from leovl_mini.rooms.facts import COUNTED, World
from leovl_mini.rooms.furniture import LARGE, SMALL
from leovl_mini.rooms.places import FLAT_TOPS
from leovl_mini.rooms.questions import plural, say, with_article
from leovl_mini.rooms.room import corners
from leovl_mini.scene import Object

# goals, and how eagerly each is chosen: the more, the fewer rooms offer what it takes
GOALS = {"tidy": 1, "read": 3, "guests": 3, "water": 5, "work": 3, "sleep": 8, "clean": 1, "decorate": 1}
Fact = dict  # {"rule": key of phrases.json, "slots": what fills it, "objects": ids, "text": the sentence}


class Teller:
    """Puts facts about one world into words; every method returns a fact, or None where the fact does not hold or is unclear."""

    def __init__(self, world: World, rng: np.random.Generator):
        self.world, self.rng = world, rng

    def fact(self, key: str, *objects: Object, **slots: str) -> Fact:
        return {"rule": key, "slots": slots, "objects": [o.id for o in objects], "text": say(key, self.rng, **slots)}

    def about(self, key: str, *objects: Object, **more: str) -> Fact | None:
        """A fact whose slots are the names of its objects: one is ``ref``, two are ``a`` and ``b``, three begin with ``anchor``."""
        names = {1: ("ref",), 2: ("a", "b"), 3: ("anchor", "a", "b")}[len(objects)]
        if all(o.id in self.world.clear and self.world.refs[o.id] for o in objects):
            return self.fact(key, *objects, **dict(zip(names, (self.world.refs[o.id] for o in objects), strict=True)), **more)
        return None

    def pick(self, objects: list[Object]) -> Object | None:
        return objects[self.rng.integers(len(objects))] if objects else None

    def looks(self, item: Object) -> Fact:
        words = [item.attributes.get("colour"), item.attributes.get("pattern"), item.category]
        return self.fact("say object", item, a_thing=with_article(" ".join(w for w in words if w and w != "plain")))

    def size(self, item: Object) -> Fact | None:
        return self.about("say size", item, height=f"{100 * item.size[2]:.0f}", width=f"{100 * item.size[0]:.0f}")

    def attribute(self, item: Object, name: str) -> Fact | None:
        value = item.attributes.get(name)
        return self.about(f"say {name}", item, **{name: value}) if value else None

    def whereabouts(self, item: Object) -> Fact | None:
        """What the thing lies on, under or inside; or the one large object that it stands beside."""
        host = self.world.host(item)
        if host:
            return self.about(f"say {host[0]}", item, host[1])
        near, gap, margin = self.world.nearest_large(item)
        small_on_floor = item.category in SMALL and item.center[2] - item.size[2] / 2 < 0.02
        return self.about("say beside", item, near) if small_on_floor and gap <= 0.4 and margin >= 0.25 else None

    def near(self, item: Object) -> Fact | None:
        near, gap, margin = self.world.nearest_large(item)
        clear = margin >= 0.05 and away_from_rounding(gap)
        return self.about("say near", item, near, metres=f"{gap:.1f}") if near is not item and clear else None

    def region(self, item: Object) -> Fact | None:
        """In a corner, at a wall, or near the middle of its area."""
        area = self.world.area_of(item)
        from_middle = np.abs(corners(item) - area.center)
        to_walls = (np.array(area.size) / 2 - from_middle.max(0)).round(3)
        if item.category not in LARGE:
            return None
        if (to_walls <= 0.43).all():
            return self.about("say corner", item)
        if to_walls.min() <= 0.33:
            return self.about("say wall", item)
        central = np.abs(np.array(item.center[:2]) - area.center) <= 0.23 * np.array(area.size)
        return self.about("say middle", item) if central.all() else None

    def surface(self, item: Object) -> list[Fact | None]:
        """Everything on an object with a flat top, or that nothing is."""
        if item.category not in FLAT_TOPS:
            return []
        held = self.world.held(item, "on")
        return [self.about("say on", o, item) for o in held] or [self.about("say nothing on", item)]

    def number(self, category: str) -> Fact | None:
        found = self.world.matching(category)
        if not found or any(o.id not in self.world.clear for o in found):
            return None
        if len(found) > 1:
            return self.fact("say count", *found, number=str(len(found)), things=plural(category))
        colour = found[0].attributes.get("colour")
        return self.fact("say one", *found, a_thing=with_article(f"{colour} {category}" if colour else category))

    def taller(self, item: Object, other: Object | None) -> Fact | None:
        if other is None or other is item or abs(item.size[2] - other.size[2]) < 0.1 - 1e-9:
            return None
        return self.about("say taller", *sorted((item, other), key=lambda o: -o.size[2]))

    def nearer(self, anchor: Object, a: Object | None, b: Object | None) -> Fact | None:
        if a is None or b is None or len({anchor.id, a.id, b.id}) < 3:
            return None
        near, far = sorted((a, b), key=lambda o: self.world.gap(anchor, o))
        d, e = self.world.gap(anchor, near), self.world.gap(anchor, far)
        return self.about("say nearer", anchor, near, far) if e - d >= 0.3 and e >= 1.3 * d else None

    def apart(self, item: Object, other: Object | None) -> Fact | None:
        if other is None or other is item:
            return None
        gap = self.world.gap(item, other)
        return self.about("say distance", item, other, metres=f"{gap:.1f}") if gap >= 0.3 and away_from_rounding(gap) else None

    def some(self) -> Object | None:
        return self.pick(self.world.askable)


def away_from_rounding(metres: float) -> bool:
    """Whether a change of 5 mm leaves the first decimal as it is."""
    return 0.05 < (10 * metres + 0.5) % 1 < 0.95


def enough(facts: Iterator[Fact | None], words: int) -> list[Fact]:
    """Facts in order, without repetitions, until they have ``words`` words."""
    kept: list[Fact] = []
    for fact in facts:
        known = any(fact and f["rule"] == fact["rule"] and f["objects"] == fact["objects"] for f in kept)
        if fact and not known:
            kept.append(fact)
        if sum(len(f["text"].split()) for f in kept) >= words:
            break
    return kept


def composed(task: str, kind: str, question: str, facts: list[Fact], answer: str | None = None, **fields) -> Example:
    text = answer or " ".join(f["text"] for f in facts)
    return Example("", "", task, kind, question, [text], derivation={"facts": facts}, **fields)


def object_captions(world: World, rng: np.random.Generator, spots: dict[int, list[float]], most: int = 5) -> Iterator[Example]:
    """Descriptions of the object at a selected spot. ``spots`` gives a point on the surface of every object that has one."""
    tell = Teller(world, rng)
    for item in rng.permutation(np.array([o for o in world.askable if o.id in spots], dtype=object))[:most]:

        def facts(item=item):
            yield tell.looks(item)
            middle = [tell.size(item), tell.whereabouts(item), tell.region(item)]
            middle += [*tell.surface(item), tell.attribute(item, "state")]
            yield from (middle[i] for i in rng.permutation(len(middle)))
            yield tell.near(item)
            for _ in range(6):
                more = (tell.taller(item, tell.some()), tell.nearer(item, tell.some(), tell.some()), tell.apart(item, tell.some()))
                yield from (more[i] for i in rng.permutation(3))

        yield composed("object captioning", item.category, say("describe object", rng), enough(facts(), 48), spot=spots[item.id])


def scene_caption(world: World, rng: np.random.Generator) -> Example:
    """What there is, how much of it, and where the main things are."""
    tell = Teller(world, rng)

    def facts():
        if len(world.areas) == 1:
            area = world.areas[0]
            yield tell.fact("say room", room=area.kind, metres=f"{area.size[0] * area.size[1]:.1f}")
        large = [c for c in rng.permutation(COUNTED) if c in LARGE]
        yield from (tell.number(str(c)) for c in large[:9])
        for item in rng.permutation(np.array(world.askable, dtype=object)):
            where = [tell.whereabouts(item), tell.region(item), tell.near(item)]
            options = [*where, *tell.surface(item), tell.attribute(item, "state")]
            yield options[rng.integers(len(options))] or options[0]
        yield from (tell.number(c) for c in SMALL)
        for _ in range(8):
            a = tell.some()
            yield a and tell.nearer(a, tell.some(), tell.some())

    return composed("scene captioning", "description", say("describe scene", rng), enough(facts(), 96))


def plans(world: World, rng: np.random.Generator, most: int = 2) -> Iterator[Example]:
    """Numbered steps towards a goal, made of things that are really there."""
    tell = Teller(world, rng)
    made = 0
    for goal in rng.choice(list(GOALS), len(GOALS), replace=False, p=np.array(list(GOALS.values())) / sum(GOALS.values())):
        steps = [s for s in plan_steps(str(goal), tell) if s]
        if len(steps) >= 5 and made < most:
            made += 1
            last = steps[-2:] if goal in ("read", "work", "sleep") else []  # to sit or lie down is the point of these
            steps = [*enough(iter(steps[: len(steps) - len(last)]), 92 - 9 * len(last)), *last, tell.fact(f"step end {goal}")]
            text = " ".join(f"{i}. {s['text']}" for i, s in enumerate(steps, 1))
            yield composed("planning", str(goal), say(f"plan {goal}", rng), steps, text)


def plan_steps(goal: str, tell: Teller) -> Iterator[Fact | None]:
    """More steps than needed for one goal; steps that make no sense in this room are None."""
    world, rng = tell.world, tell.rng
    mixed = list(rng.permutation(np.array(world.askable, dtype=object)))

    def have(*categories: str) -> list[Object]:
        return [o for o in mixed if o.category in categories]

    tops = have("table", "desk", "cabinet", "nightstand", "tv stand", "stool")
    lying = [(o, world.host(o)[1]) for o in mixed if o.category in SMALL and world.host(o) and not world.held(o, "on")]
    lying = [(o, host) for o, host in lying if host in mixed]

    def go(item: Object) -> Fact | None:
        near, gap, margin = world.nearest_large(item)
        beside = gap <= 0.4 and margin >= 0.25 and world.host(item) is None
        if beside and near in mixed:
            return tell.fact("step go beside", item, near, ref=world.refs[item.id], host=world.refs[near.id])
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
            yield tell.fact("step count", *(world.by_id[i] for i in seats["objects"]), **seats["slots"])
        for top in have("table", "tv stand", "cabinet")[:2]:
            yield go(top)
            yield tell.about("step wipe", top)
        for item, host in [(o, h) for o, h in lying if o.category in ("bowl", "vase", "bottle", "mug")][:2]:
            yield from carry(item, host, tell.pick([t for t in have("table") if t is not host]))
        yield from (tell.about("step switch on", o) for o in have("lamp", "radio")[:2])
        yield from (tell.about("step open", o) for o in have("door") if o.attributes.get("state") != "open")
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
                yield from carry(item, host, tell.pick([t for t in have("cabinet", "desk") if t is not host]))
            yield go(host)
            yield tell.about("step wipe", host)
        yield go(bed)
        yield tell.about("step lie", bed)
    elif goal == "clean":
        for top in have(
            "table", "desk", "cabinet", "nightstand", "tv stand", "stool", "sink", "bathtub", "toilet", "stove", "fridge"
        ):
            yield go(top)
            yield tell.about("step wipe", top)
    elif goal == "decorate":
        for pot in have("plant")[:2]:
            to = tell.pick(have("sofa", "bookshelf", "cabinet", "bed", "bathtub"))
            yield go(pot)
            yield to and tell.about("step move", pot, to)
        for item, host in [(o, h) for o, h in lying if o.category in ("vase", "bowl", "book", "radio")][:3]:
            yield from carry(item, host, tell.pick([t for t in tops if t is not host]))
        yield from (tell.about("step switch on", o) for o in have("lamp")[:1])


def dialogues(world: World, rng: np.random.Generator, most: int = 2) -> Iterator[Example]:
    """An opening about one object, then two to four turns in which it is only called "it"."""
    tell = Teller(world, rng)
    for item in rng.permutation(np.array(world.askable, dtype=object))[:most]:
        name = world.refs[item.id]
        where = tell.whereabouts(item) or tell.region(item) or tell.near(item)
        turns = [("talk about", (item,), {"ref": name}, [tell.looks(item), where or tell.number(item.category)])]
        a, b, c = (tell.some() for _ in range(3))
        on_it = tell.surface(item)
        options = [
            ("it colour", (), {}, [tell.attribute(item, "colour")]),
            ("it pattern", (), {}, [tell.attribute(item, "pattern")]),
            ("it state", (), {}, [tell.attribute(item, "state")]),
            ("it height", (), {}, [tell.size(item)]),
            ("it place", (), {}, [tell.whereabouts(item) or tell.near(item), tell.region(item)]),
            ("it on", (), {}, on_it if all(on_it) else []),
            ("it nearer", (a, b), {"a": world.refs[a.id], "b": world.refs[b.id]}, [tell.nearer(item, a, b)]),
            ("it taller", (c,), {"a": world.refs[c.id]}, [tell.taller(item, c)]),
        ]
        possible = [o for o in (options[i] for i in rng.permutation(len(options))) if o[3] and o[3][0]]
        for key, others, slots, facts in possible[: rng.integers(2, 5)]:
            extra = [tell.near(item), tell.apart(item, tell.some()), tell.taller(item, tell.some())]
            turns.append((key, (item, *others), slots, [*facts, extra[rng.integers(3)]]))
        if len(turns) < 3:
            continue
        told, spoken = [], []
        for key, objects, slots, facts in turns:
            kept = enough(iter(facts), 99)
            told.append({"question": {"rule": key, "slots": slots, "objects": [o.id for o in objects]}, "facts": kept})
            spoken.append([say(key, rng, **slots), " ".join(f["text"] for f in kept)])
        question, answer = spoken.pop()
        yield Example("", "", "dialogue", turns[-1][0], question, [answer], history=spoken, derivation={"turns": told})
