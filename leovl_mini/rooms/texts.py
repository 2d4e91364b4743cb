"""Captions of objects and scenes, and dialogues: sentences of the ``Teller`` chosen and put in
order.
"""

from collections.abc import Iterator

import numpy as np

from leovl_mini.data.examples import Example
from leovl_mini.rooms.facts import COUNTED, SceneGraph
from leovl_mini.rooms.furniture import LARGE, SMALL
from leovl_mini.rooms.questions import say
from leovl_mini.rooms.teller import SentenceWriter, composed, enough


def object_captions(
    world: SceneGraph, rng: np.random.Generator, spots: dict[int, list[float]], most: int = 5
) -> Iterator[Example]:
    """Descriptions of the object at a selected spot. ``spots`` gives a point on the surface of
    every object that has one.
    """
    tell = SentenceWriter(world, rng)
    for item in rng.permutation(
        np.array([o for o in world.askable if o.id in spots], dtype=object)
    )[:most]:

        def facts(item=item):
            yield tell.looks(item)
            middle = [tell.size(item), tell.whereabouts(item), tell.region(item)]
            middle += [*tell.surface(item), tell.attribute(item, "state")]
            yield from (middle[i] for i in rng.permutation(len(middle)))
            yield tell.near(item)
            for _ in range(6):
                more = (
                    tell.taller(item, tell.some()),
                    tell.nearer(item, tell.some(), tell.some()),
                    tell.apart(item, tell.some()),
                )
                yield from (more[i] for i in rng.permutation(3))

        yield composed(
            "object captioning",
            item.category,
            say("describe object", rng),
            enough(facts(), 48),
            spot=spots[item.id],
        )


def scene_caption(world: SceneGraph, rng: np.random.Generator) -> Example:
    """What there is, how much of it, and where the main things are."""
    tell = SentenceWriter(world, rng)

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

    return composed(
        "scene captioning", "description", say("describe scene", rng), enough(facts(), 96)
    )


def dialogues(world: SceneGraph, rng: np.random.Generator, most: int = 2) -> Iterator[Example]:
    """An opening about one object, then two to four turns in which it is only called "it"."""
    tell = SentenceWriter(world, rng)
    for item in rng.permutation(np.array(world.askable, dtype=object))[:most]:
        name = world.refs[item.id]
        where = tell.whereabouts(item) or tell.region(item) or tell.near(item)
        turns = [
            (
                "talk about",
                (item,),
                {"ref": name},
                [tell.looks(item), where or tell.number(item.category)],
            )
        ]
        a, b, c = (tell.some() for _ in range(3))
        on_it = tell.surface(item)
        options = [
            ("it colour", (), {}, [tell.attribute(item, "colour")]),
            ("it pattern", (), {}, [tell.attribute(item, "pattern")]),
            ("it state", (), {}, [tell.attribute(item, "state")]),
            ("it height", (), {}, [tell.size(item)]),
            ("it place", (), {}, [tell.whereabouts(item) or tell.near(item), tell.region(item)]),
            ("it on", (), {}, on_it if all(on_it) else []),
            (
                "it nearer",
                (a, b),
                {"a": world.refs[a.id], "b": world.refs[b.id]},
                [tell.nearer(item, a, b)],
            ),
            ("it taller", (c,), {"a": world.refs[c.id]}, [tell.taller(item, c)]),
        ]
        possible = [
            o for o in (options[i] for i in rng.permutation(len(options))) if o[3] and o[3][0]
        ]
        for key, others, slots, facts in possible[: rng.integers(2, 5)]:
            extra = [tell.near(item), tell.apart(item, tell.some()), tell.taller(item, tell.some())]
            turns.append((key, (item, *others), slots, [*facts, extra[rng.integers(3)]]))
        if len(turns) < 3:
            continue
        told, spoken = [], []
        for key, objects, slots, facts in turns:
            kept = enough(iter(facts), 99)
            told.append(
                {
                    "question": {"rule": key, "slots": slots, "objects": [o.id for o in objects]},
                    "facts": kept,
                }
            )
            spoken.append([say(key, rng, **slots), " ".join(f["text"] for f in kept)])
        question, answer = spoken.pop()
        yield Example(
            "",
            "",
            "dialogue",
            turns[-1][0],
            question,
            [answer],
            history=spoken,
            derivation={"turns": told},
        )
