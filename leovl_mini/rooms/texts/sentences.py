"""Facts about a room put into single sentences, of which longer answers are made and which can be
checked one by one.

Explained in notebook 01 (RGB-D frames and cameras).
"""

from collections.abc import Iterator

import numpy as np

from leovl_mini.data.examples import Example
from leovl_mini.rooms.facts import MEASURES, RULES, STATEMENTS, SceneGraph
from leovl_mini.rooms.facts.rules import BESIDE_MARGIN, NEAREST_MARGIN, away_from_rounding
from leovl_mini.rooms.furniture import FLAT_TOPS, LARGE
from leovl_mini.rooms.texts.phrases import describe, plural, say, with_article
from leovl_mini.scans.scene import Object

# {"rule": key of phrases.json, "slots": what fills it, "objects": ids, "text": the sentence}
Fact = dict

SLOTS = {1: ("ref",), 2: ("a", "b"), 3: ("anchor", "a", "b")}  # by the number of objects


class SentenceWriter:
    """Puts facts about one room into words; every method returns a fact, or None where the fact
    does not hold or is unclear. What is true and clear is said by ``rooms.facts``.
    """

    def __init__(self, graph: SceneGraph, rng: np.random.Generator):
        self.graph, self.rng = graph, rng

    def fact(self, key: str, *objects: Object, **slots: str) -> Fact:
        text = say(key, self.rng, **slots)
        return {"rule": key, "slots": slots, "objects": [o.id for o in objects], "text": text}

    def about(self, key: str, *objects: Object, **more: str) -> Fact | None:
        """A fact whose slots (see ``SLOTS``) are the names of its objects, and ``more``."""
        if not all(o.id in self.graph.clear and self.graph.name(o) for o in objects):
            return None
        names = (self.graph.name(o) for o in objects)
        return self.fact(
            key, *objects, **dict(zip(SLOTS[len(objects)], names, strict=True)), **more
        )

    def pick(self, objects: list[Object]) -> Object | None:
        return objects[self.rng.integers(len(objects))] if objects else None

    def any_object(self) -> Object | None:
        return self.pick(self.graph.askable)

    # about one object

    def looks(self, item: Object) -> Fact:
        words = [item.attributes.get("colour"), item.attributes.get("pattern"), item.category]
        named = " ".join(w for w in words if w and w != "plain")
        return self.fact("say object", item, a_thing=with_article(named))

    def size(self, item: Object) -> Fact | None:
        sides = {name: MEASURES[name].said(self.graph, item) for name in ("height", "width")}
        return self.about("say size", item, **sides)

    def attribute(self, item: Object, name: str) -> Fact | None:
        value = item.attributes.get(name)
        return self.about(f"say {name}", item, **{name: value}) if value else None

    def whereabouts(self, item: Object) -> Fact | None:
        """What the thing lies on, under or inside, or the one large object it stands beside."""
        if host := self.graph.host(item):
            return self.about(f"say {host[0]}", item, host[1])
        near, _, margin = self.graph.nearest_large(item)
        beside = margin >= BESIDE_MARGIN and STATEMENTS["beside"].is_clear(self.graph, item, near)
        return self.about("say beside", item, near) if beside else None

    def near(self, item: Object) -> Fact | None:
        near, gap, margin = self.graph.nearest_large(item)
        if margin < NEAREST_MARGIN or not away_from_rounding(gap):
            return None
        metres = MEASURES["distance"].said(self.graph, item, near)
        return self.about("say near", item, near, metres=metres)

    def region(self, item: Object) -> Fact | None:
        """In a corner, at a wall, or near the middle of its area."""
        if item.category not in LARGE:
            return None
        regions = ("corner", "wall", "middle")
        found = (name for name in regions if STATEMENTS[name].is_clear(self.graph, item))
        name = next(found, None)
        return self.about(f"say {name}", item) if name else None

    def surface(self, item: Object) -> list[Fact | None]:
        """Everything on an object with a flat top, or that nothing is."""
        if item.category not in FLAT_TOPS:
            return []
        held = self.graph.held(item, "on")
        return [self.about("say on", o, item) for o in held] or [self.about("say nothing on", item)]

    def number(self, category: str) -> Fact | None:
        found = self.graph.matching(category)
        if not found or any(o.id not in self.graph.clear for o in found):
            return None
        if len(found) > 1:
            return self.fact("say count", *found, number=str(len(found)), things=plural(category))
        named = describe(category, found[0].attributes.get("colour"))
        return self.fact("say one", *found, a_thing=with_article(named))

    # about several

    def taller(self, item: Object, other: Object | None) -> Fact | None:
        if other is None or other is item or not RULES["taller"](self.graph, item, other):
            return None
        return self.about("say taller", *sorted((item, other), key=lambda o: -o.size[2]))

    def nearer(self, anchor: Object, a: Object | None, b: Object | None) -> Fact | None:
        if a is None or b is None or len({anchor.id, a.id, b.id}) < 3:
            return None
        if not RULES["nearest"](self.graph, anchor, a, b):
            return None
        near, far = sorted((a, b), key=lambda o: self.graph.gap(anchor, o))
        return self.about("say nearer", anchor, near, far)

    def apart(self, item: Object, other: Object | None) -> Fact | None:
        if other is None or other is item:
            return None
        verdict = RULES["distance"](self.graph, item, other)
        return self.about("say distance", item, other, metres=verdict[0]) if verdict else None


def enough(facts: Iterator[Fact | None], words: int) -> list[Fact]:
    """Facts in order, without repetitions, until they have ``words`` words."""
    kept: list[Fact] = []
    for fact in facts:
        known = any(
            fact and f["rule"] == fact["rule"] and f["objects"] == fact["objects"] for f in kept
        )
        if fact and not known:
            kept.append(fact)
        if sum(len(f["text"].split()) for f in kept) >= words:
            break
    return kept


def composed(
    task: str, kind: str, question: str, facts: list[Fact], answer: str | None = None, **fields
) -> Example:
    """An example whose answer (else the facts' sentences in a row) is proven by its facts."""
    text = answer or " ".join(f["text"] for f in facts)
    return Example("", "", task, kind, question, [text], derivation={"facts": facts}, **fields)
