"""What a caption, a plan or an answer says about a room: its sentences read back into facts, and
each fact checked.

N-gram scores cannot tell "the red chair" from "the blue chair" in a sentence of ten words; these
scores can. They are ours, not published, and they only read the wordings of ``phrases.json``: every
other sentence is counted as unread, neither true nor false.

Explained in notebook 08 (evaluation).
"""

import math
import re
from typing import NamedTuple

from leovl_mini.data.examples import Example
from leovl_mini.rooms import furniture
from leovl_mini.rooms.facts import MEASURES, STATEMENTS, SceneGraph
from leovl_mini.rooms.furniture import COLOURS, FIXED, FLAT_TOPS
from leovl_mini.rooms.texts.phrases import PHRASES, plural
from leovl_mini.scans.scene import Object

CATEGORIES = {form: name for name in furniture.CATEGORIES for form in (name, plural(name))}
COLOUR, PATTERN = "|".join(COLOURS), "plain|striped|checked"
THING = f"(?:(?:{COLOUR}) )?(?:(?:{PATTERN}) )?(?:{'|'.join(CATEGORIES)})"
FLAT = (*FLAT_TOPS, "parcel", "book")

VALUES = {  # what the slots hold that do not name one object
    "a_thing": f"an? {THING}",
    "things": THING,
    "colour": COLOUR,
    "pattern": PATTERN,
    "state": "open|closed",
    "room": "[a-z]+(?: room)?",
    "metres": r"\d+\.\d",
    "height": r"\d+",
    "width": r"\d+",
    "number": r"\d+",
}

Fact = tuple[str, tuple[tuple[str, str], ...]]  # a key of phrases.json, and what its slots hold


# -- from sentences to facts -----------------------------------------------------------------------


def expression(phrase: str) -> re.Pattern:
    """The phrase with its slots as groups that only match what such a slot can hold."""

    def group(slot: re.Match) -> str:
        return f"(?P<{slot[1]}>{VALUES.get(slot[1], THING)})"

    return re.compile(re.sub(r"\\\{(\w+)\\\}", group, re.escape(phrase)))


EXPRESSIONS = [
    (key, expression(phrase))
    for key, phrases in PHRASES.items()
    if key.startswith(("say ", "step "))
    for phrase in phrases
]


def read(text: str) -> tuple[list[Fact], list[str]]:
    """The facts that a text states, in order, and its unread sentences. The last step of a plan
    states nothing.
    """
    facts, unread = [], []
    for sentence in re.split(r"(?<=[.!?])\s+", text.strip()):
        if not sentence or re.fullmatch(r"\d+\.", sentence):  # the number of a step
            continue
        matches = ((key, phrase.fullmatch(sentence)) for key, phrase in EXPRESSIONS)
        key, match = next((found for found in matches if found[1]), ("", None))
        if match is None:
            unread.append(sentence)
        elif not key.startswith("step end "):
            facts.append((key, tuple(sorted(match.groupdict().items()))))
    return facts, unread


def fitting(graph: SceneGraph, thing: str) -> list[Object]:
    """All objects that words such as "a red striped chair", "red chairs" or "chair" fit."""
    words = re.fullmatch(rf"(?:an? )?(?:({COLOUR}) )?(?:({PATTERN}) )?(.+)", thing)
    return [
        o
        for o in graph.matching(CATEGORIES[words[3]], words[1])
        if words[2] in (None, o.attributes.get("pattern"))
    ]


def named(graph: SceneGraph, fact: Fact) -> dict[str, Object | None]:
    """The one object that each name in a fact fits; None for a name that fits none or several."""
    found = {slot: fitting(graph, text) for slot, text in fact[1] if slot not in VALUES}
    return {slot: objects[0] if len(objects) == 1 else None for slot, objects in found.items()}


# -- is it true? -----------------------------------------------------------------------------------


def holds(graph: SceneGraph, fact: Fact, subject: int | None = None) -> bool:
    """Whether a fact is true in the room, or a step possible in the room as it is before the plan.

    Taken literally: questions are asked with a margin, but a chair that is 1 cm taller is taller.
    Numbers must be right as rounded. ``subject`` is the id of the object that "This is ..." speaks
    of; without it, any object will do.
    """
    rule, slots, objects = fact[0], dict(fact[1]), named(graph, fact)
    if None in objects.values() or len({o.id for o in objects.values()}) < len(objects):
        return False
    if rule == "say object":
        return any(subject in (None, o.id) for o in fitting(graph, slots["a_thing"]))
    # To go to a thing, it need only be there.
    return rule not in CHECKS or bool(CHECKS[rule](graph, slots, objects))


def host_of(graph: SceneGraph, item: Object) -> Object | None:
    return (graph.host(item) or ("", None))[1]


def states(name: str, *slots: str):
    """A statement of ``rooms.facts`` about the objects in these slots, taken literally."""
    return lambda graph, s, o: STATEMENTS[name].holds(graph, *(o[slot] for slot in slots))


def attribute(name: str):
    return lambda graph, slots, o: o["ref"].attributes.get(name) == slots[name]


def is_one_of(slot: str, *categories: str):
    return lambda graph, slots, o: o[slot].category in categories


def is_closed(graph: SceneGraph, slots: dict[str, str], o: dict[str, Object]) -> bool:
    opens = o["ref"].category in ("cabinet", "fridge", "nightstand", "window", "door")
    return o["ref"].attributes.get("state", "closed" if opens else "") == "closed"


# Whether a fact holds or a step can be done, from the scene graph, the texts in the slots, and the
# objects that they name.
CHECKS = {
    **{f"say {word}": states(word, "a", "b") for word in ("on", "under", "inside", "beside")},
    **{f"say {word}": states(word, "ref") for word in ("wall", "corner", "middle", "nothing on")},
    "say taller": states("taller", "a", "b"),
    "say nearer": states("nearer", "anchor", "a", "b"),
    **{f"say {name}": attribute(name) for name in ("colour", "pattern", "state")},
    **dict.fromkeys(
        ("say count", "step count"),
        lambda g, s, o: len(fitting(g, s["things"])) == int(s["number"]),
    ),
    "say one": lambda g, s, o: len(fitting(g, s["a_thing"])) == 1,
    "say room": lambda g, s, o: any(
        a.kind == s["room"] and MEASURES["room size"].agrees(s["metres"], g, a) for a in g.areas
    ),
    "say size": lambda g, s, o: all(
        MEASURES[name].agrees(s[name], g, o["ref"]) for name in ("width", "height")
    ),
    "say distance": lambda g, s, o: MEASURES["distance"].agrees(s["metres"], g, o["a"], o["b"]),
    "say near": lambda g, s, o: (
        g.nearest_large(o["a"])[0] is o["b"]
        and MEASURES["distance"].agrees(s["metres"], g, o["a"], o["b"])
    ),
    "step go beside": lambda g, s, o: (
        STATEMENTS["close"].holds(g, o["ref"], o["host"]) and host_of(g, o["ref"]) is not o["host"]
    ),
    "step take": lambda g, s, o: host_of(g, o["a"]) is o["b"],
    "step put on": is_one_of("b", *FLAT),
    "step sit": is_one_of("ref", "chair", "armchair", "sofa", "stool"),
    "step lie": is_one_of("ref", "bed", "sofa"),
    "step switch on": is_one_of("ref", "lamp", "radio", "television", "laptop"),
    "step open": is_closed,
    "step wipe": is_one_of("ref", *FLAT, "sink", "bathtub", "toilet"),
    "step water": is_one_of("ref", "plant", "vase"),
    "step fill": lambda g, s, o: (
        o["a"].category in ("mug", "bottle", "bowl", "vase") and o["b"].category == "sink"
    ),
    "step move": lambda g, s, o: o["a"].category not in FIXED,
}


# -- scores ----------------------------------------------------------------------------------------


class FactScores(NamedTuple):
    """``true`` of the ``stated`` different facts hold; ``recalled`` of the ``expected`` reference
    facts are among them.
    """

    precision: float  # true / stated, 0 where nothing is stated
    recall: float  # recalled / expected, NaN without a reference
    true: int
    stated: int
    recalled: int
    expected: int
    unread: int  # sentences in other words than those of phrases.json


def fact_scores(text: str, graph: SceneGraph, example: Example | None = None) -> FactScores:
    """Score a caption, plan or dialogue answer by what it says of the scene of ``graph``, and by
    what it shares with ``example``'s derivation.

    Recall counts a reference fact if the text states it of the same objects with the same values,
    in whatever wording. A fact said twice counts once, so repeating a safe sentence earns nothing.
    The order of a plan's steps is not judged.
    """
    facts, unread = read(text)
    stated = {meaning(graph, fact): fact for fact in facts}
    derivation = example.derivation if example else {}
    reference = derivation.get("facts") or derivation.get("turns", [{"facts": []}])[-1]["facts"]
    expected = {
        meaning(graph, (fact["rule"], tuple(fact["slots"].items())))
        for fact in reference
        if not fact["rule"].startswith("step end ")
    }
    subject = next((f["objects"][0] for f in reference if f["rule"] == "say object"), None)
    true = sum(holds(graph, fact, subject) for fact in stated.values())
    recalled = len(stated.keys() & expected)
    return FactScores(
        true / len(stated) if stated else 0.0,
        recalled / len(expected) if expected else math.nan,
        true,
        len(stated),
        recalled,
        len(expected),
        len(unread),
    )


def meaning(graph: SceneGraph, fact: Fact) -> tuple:
    """A fact with the objects in place of their names: the same for "the sofa" and "the red sofa",
    if there is one sofa.
    """
    objects = named(graph, fact)
    words = {slot: item.id if (item := objects.get(slot)) else text for slot, text in fact[1]}
    if fact[0] == "say distance":  # the distance from a to b is the distance from b to a
        words["a"], words["b"] = sorted((words["a"], words["b"]), key=str)
    return fact[0], tuple(sorted(words.items()))
