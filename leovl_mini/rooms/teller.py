"""Facts about a room put into single sentences, of which longer answers are made and which can be
checked one by one.
"""

from collections.abc import Iterator

import numpy as np

from leovl_mini.data.examples import Example
from leovl_mini.rooms import facts
from leovl_mini.rooms.facts import SceneGraph
from leovl_mini.rooms.furniture import LARGE, SMALL
from leovl_mini.rooms.places import FLAT_TOPS
from leovl_mini.rooms.questions import plural, say, with_article
from leovl_mini.rooms.room import corners
from leovl_mini.scans.scene import Object

# {"rule": key of phrases.json, "slots": what fills it, "objects": ids, "text": the sentence}
Fact = dict


class SentenceWriter:
    """Puts facts about one world into words; every method returns a fact, or None where the fact
    does not hold or is unclear.
    """

    def __init__(self, world: SceneGraph, rng: np.random.Generator):
        self.world, self.rng = world, rng

    def fact(self, key: str, *objects: Object, **slots: str) -> Fact:
        return {
            "rule": key,
            "slots": slots,
            "objects": [o.id for o in objects],
            "text": say(key, self.rng, **slots),
        }

    def about(self, key: str, *objects: Object, **more: str) -> Fact | None:
        """A fact whose slots are the names of its objects: one is ``ref``, two are ``a`` and ``b``,
        three begin with ``anchor``.
        """
        names = {1: ("ref",), 2: ("a", "b"), 3: ("anchor", "a", "b")}[len(objects)]
        if all(o.id in self.world.clear and self.world.refs[o.id] for o in objects):
            return self.fact(
                key,
                *objects,
                **dict(zip(names, (self.world.refs[o.id] for o in objects), strict=True)),
                **more,
            )
        return None

    def pick(self, objects: list[Object]) -> Object | None:
        return objects[self.rng.integers(len(objects))] if objects else None

    def looks(self, item: Object) -> Fact:
        words = [item.attributes.get("colour"), item.attributes.get("pattern"), item.category]
        return self.fact(
            "say object",
            item,
            a_thing=with_article(" ".join(w for w in words if w and w != "plain")),
        )

    def size(self, item: Object) -> Fact | None:
        return self.about(
            "say size", item, height=f"{100 * item.size[2]:.0f}", width=f"{100 * item.size[0]:.0f}"
        )

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
        return (
            self.about("say beside", item, near)
            if small_on_floor and gap <= 0.4 and margin >= 0.25
            else None
        )

    def near(self, item: Object) -> Fact | None:
        near, gap, margin = self.world.nearest_large(item)
        clear = margin >= 0.05 and facts.away_from_rounding(gap)
        return (
            self.about("say near", item, near, metres=f"{gap:.1f}")
            if near is not item and clear
            else None
        )

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
        return self.fact(
            "say one", *found, a_thing=with_article(f"{colour} {category}" if colour else category)
        )

    def taller(self, item: Object, other: Object | None) -> Fact | None:
        if other is None or other is item or facts.taller(self.world, item, other) is None:
            return None
        return self.about("say taller", *sorted((item, other), key=lambda o: -o.size[2]))

    def nearer(self, anchor: Object, a: Object | None, b: Object | None) -> Fact | None:
        if (
            a is None
            or b is None
            or len({anchor.id, a.id, b.id}) < 3
            or facts.nearest(self.world, anchor, a, b) is None
        ):
            return None
        return self.about(
            "say nearer", anchor, *sorted((a, b), key=lambda o: self.world.gap(anchor, o))
        )

    def apart(self, item: Object, other: Object | None) -> Fact | None:
        verdict = (
            None if other is None or other is item else facts.distance(self.world, item, other)
        )
        return self.about("say distance", item, other, metres=verdict[0]) if verdict else None

    def some(self) -> Object | None:
        return self.pick(self.world.askable)


def enough(told: Iterator[Fact | None], words: int) -> list[Fact]:
    """Facts in order, without repetitions, until they have ``words`` words."""
    kept: list[Fact] = []
    for fact in told:
        known = any(
            fact and f["rule"] == fact["rule"] and f["objects"] == fact["objects"] for f in kept
        )
        if fact and not known:
            kept.append(fact)
        if sum(len(f["text"].split()) for f in kept) >= words:
            break
    return kept


def composed(
    task: str, kind: str, question: str, told: list[Fact], answer: str | None = None, **fields
) -> Example:
    text = answer or " ".join(f["text"] for f in told)
    return Example("", "", task, kind, question, [text], derivation={"facts": told}, **fields)
