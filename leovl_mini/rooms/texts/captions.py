"""Captions of objects and scenes, and dialogues: sentences of the ``SentenceWriter``, chosen and
put in order.

Explained in notebook 01 (rgbd_and_cameras).
"""

from collections.abc import Iterator

import numpy as np

from leovl_mini.data.examples import Example
from leovl_mini.rooms.facts import MEASURES, SceneGraph
from leovl_mini.rooms.furniture import COUNTED, LARGE, SMALL
from leovl_mini.rooms.texts.phrases import say
from leovl_mini.rooms.texts.sentences import Fact, SentenceWriter, composed, enough
from leovl_mini.scans.scene import Object


def object_captions(
    graph: SceneGraph, rng: np.random.Generator, spots: dict[int, list[float]], most: int = 5
) -> Iterator[Example]:
    """Descriptions of the object at a selected spot. ``spots`` gives a point on the surface of
    every object that has one.
    """
    writer = SentenceWriter(graph, rng)
    pointed_at = np.array([o for o in graph.askable if o.id in spots], dtype=object)
    for item in rng.permutation(pointed_at)[:most]:
        question = say("describe object", rng)
        facts = enough(facts_about(item, writer), 48)
        yield composed("object captioning", item.category, question, facts, spot=spots[item.id])


def facts_about(item: Object, writer: SentenceWriter) -> Iterator[Fact | None]:
    """More than a caption needs: looks first, then size and place, then comparisons."""
    rng = writer.rng
    yield writer.looks(item)
    middle = [writer.size(item), writer.whereabouts(item), writer.region(item)]
    middle += [*writer.surface(item), writer.attribute(item, "state")]
    yield from (middle[i] for i in rng.permutation(len(middle)))
    yield writer.near(item)
    for _ in range(6):
        more = (
            writer.taller(item, writer.any_object()),
            writer.nearer(item, writer.any_object(), writer.any_object()),
            writer.apart(item, writer.any_object()),
        )
        yield from (more[i] for i in rng.permutation(3))


def scene_caption(graph: SceneGraph, rng: np.random.Generator) -> Example:
    """What there is, how much of it, and where the main things are."""
    question = say("describe scene", rng)
    facts = enough(facts_about_room(SentenceWriter(graph, rng)), 96)
    return composed("scene captioning", "description", question, facts)


def facts_about_room(writer: SentenceWriter) -> Iterator[Fact | None]:
    graph, rng = writer.graph, writer.rng
    if len(graph.areas) == 1:
        metres = MEASURES["room size"].said(graph, *graph.areas)
        yield writer.fact("say room", room=graph.areas[0].kind, metres=metres)
    large = [c for c in rng.permutation(COUNTED) if c in LARGE]
    yield from (writer.number(str(category)) for category in large[:9])
    for item in rng.permutation(np.array(graph.askable, dtype=object)):
        where = [writer.whereabouts(item), writer.region(item), writer.near(item)]
        options = [*where, *writer.surface(item), writer.attribute(item, "state")]
        yield options[rng.integers(len(options))] or options[0]
    yield from (writer.number(category) for category in SMALL)
    for _ in range(8):
        anchor = writer.any_object()
        yield anchor and writer.nearer(anchor, writer.any_object(), writer.any_object())


# -- dialogues -------------------------------------------------------------------------------------

Turn = tuple[str, tuple[Object, ...], dict[str, str], list[Fact | None]]  # key, about, slots, facts


def dialogues(graph: SceneGraph, rng: np.random.Generator, most: int = 2) -> Iterator[Example]:
    """An opening about one object, then two to four turns in which it is only called "it"."""
    writer = SentenceWriter(graph, rng)
    for item in rng.permutation(np.array(graph.askable, dtype=object))[:most]:
        turns = [opening(item, writer)]
        options = follow_ups(item, writer)
        possible = [o for o in (options[i] for i in rng.permutation(len(options))) if any(o[3][:1])]
        for key, others, slots, facts in possible[: rng.integers(2, 5)]:
            extra = [
                writer.near(item),
                writer.apart(item, writer.any_object()),
                writer.taller(item, writer.any_object()),
            ]
            turns.append((key, (item, *others), slots, [*facts, extra[rng.integers(3)]]))
        if len(turns) >= 3:
            yield spoken(turns, rng)


def opening(item: Object, writer: SentenceWriter) -> Turn:
    where = writer.whereabouts(item) or writer.region(item) or writer.near(item)
    facts = [writer.looks(item), where or writer.number(item.category)]
    return "talk about", (item,), {"ref": writer.graph.names[item.id]}, facts


def follow_ups(item: Object, writer: SentenceWriter) -> list[Turn]:
    """What else may be asked about "it"; the first fact of a turn is the reply."""
    a, b, c = (writer.any_object() for _ in range(3))
    names, on_it = writer.graph.names, writer.surface(item)
    attributes = [
        (f"it {name}", (), {}, [writer.attribute(item, name)])
        for name in ("colour", "pattern", "state")
    ]
    height = [writer.size(item)]
    where = [writer.whereabouts(item) or writer.near(item), writer.region(item)]
    compared = [writer.nearer(item, a, b)]
    return [
        *attributes,
        ("it height", (), {}, height),
        ("it place", (), {}, where),
        ("it on", (), {}, on_it if all(on_it) else []),
        ("it nearer", (a, b), {"a": names[a.id], "b": names[b.id]}, compared),
        ("it taller", (c,), {"a": names[c.id]}, [writer.taller(item, c)]),
    ]


def spoken(turns: list[Turn], rng: np.random.Generator) -> Example:
    derived, history = [], []
    for key, objects, slots, facts in turns:
        kept = enough(iter(facts), 99)
        asked = {"rule": key, "slots": slots, "objects": [o.id for o in objects]}
        derived.append({"question": asked, "facts": kept})
        history.append([say(key, rng, **slots), " ".join(f["text"] for f in kept)])
    question, answer = history.pop()
    proof = {"turns": derived}
    kind = turns[-1][0]
    return Example("", "", "dialogue", kind, question, [answer], history=history, derivation=proof)
