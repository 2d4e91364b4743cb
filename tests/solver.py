"""An independent solver of the room examples: it derives every sentence and answer again, from the
boxes of a room and the phrases, and shares no code with leovl_mini.

``solve`` returns what it disagrees with; an empty list means that the example is right.
"""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import shapely

FILE = Path(__file__).parents[1] / "leovl_mini" / "rooms" / "texts" / "phrases.json"
PHRASES = json.loads(FILE.read_text(encoding="utf-8"))

LARGE = "table desk chair armchair sofa bed nightstand cabinet bookshelf lamp plant stool".split()
LARGE += ["tv stand", "sink", "bathtub", "toilet", "fridge", "stove"]
SMALL = "mug parcel vase book bottle bowl ball basket laptop radio backpack television".split()
FLAT = "table desk cabinet nightstand stool fridge stove parcel book".split() + ["tv stand"]
COLOURS, PATTERNS = "red|blue|green|yellow|orange|purple|white|black", "plain|striped|checked"

# The slots that name objects, in the order in which a derivation lists them.
REFERENCES = ("at", "facing", "anchor", "a", "b", "ref", "host")

# What the first sentence of an answer in a dialogue may state, if not the kind that was asked for.
WHERE = [f"say {w}" for w in "on under inside beside near wall corner middle".split()]
REPLIES = {
    "it colour": ["say colour", "say object"],
    "it pattern": ["say pattern", "say object"],
    "it height": ["say size"],
    "it place": WHERE,
    "it on": ["say on", "say nothing on"],
    "talk about": ["say object"],
}


class Disagreement(Exception):
    """One thing that the solver holds for wrong."""


def need(condition, message: str):
    if not condition:
        raise Disagreement(message)


def plural(category: str) -> str:
    return "bookshelves" if category == "bookshelf" else category + "s"


def rounds_to(text: str, value: float, step: float) -> bool:
    """The text is the value rounded to the step; a value half way between two may go either way."""
    form = r"-?\d+" if step == 1 else r"-?\d+\.\d"
    return bool(re.fullmatch(form, text)) and abs(float(text) - value) <= step / 2 + 1e-6


# Boxes


def to_frame(box: dict, x: float, y: float) -> np.ndarray:
    """A point of the floor in the frame of the box: x along its width, y towards its front."""
    cos, sin = np.cos(box["yaw"]), np.sin(box["yaw"])
    dx, dy = x - box["center"][0], y - box["center"][1]
    return np.array([cos * dx + sin * dy, cos * dy - sin * dx])


def corners(box: dict) -> np.ndarray:
    """The four corners (4,2) of the footprint, one after the other around it."""
    cos, sin = np.cos(box["yaw"]), np.sin(box["yaw"])
    u = np.array([cos, sin]) * box["size"][0] / 2
    v = np.array([-sin, cos]) * box["size"][1] / 2
    return np.array(box["center"][:2]) + [u + v, v - u, -u - v, u - v]


def covers(box: dict, x: float, y: float) -> bool:
    return bool((abs(to_frame(box, x, y)) <= np.array(box["size"][:2]) / 2 + 1e-9).all())


def bottom(box: dict) -> float:
    return box["center"][2] - box["size"][2] / 2


def top(box: dict) -> float:
    return box["center"][2] + box["size"][2] / 2


def gap(a: dict, b: dict) -> float:
    flat = shapely.Polygon(corners(a)).distance(shapely.Polygon(corners(b)))
    return float(np.hypot(flat, max(0.0, bottom(a) - top(b), bottom(b) - top(a))))


def on(a: dict, b: dict) -> bool:
    return a is not b and abs(bottom(a) - top(b)) <= 0.02 and covers(b, *a["center"][:2])


def under(a: dict, b: dict) -> bool:
    low = b["category"] in ("table", "desk") and bottom(a) <= 0.02
    return a is not b and low and covers(b, *a["center"][:2])


def inside(a: dict, b: dict) -> bool:
    hollow = b["category"] in ("bookshelf", "basket")
    held = bottom(b) <= bottom(a) < top(b) - 0.02
    return a is not b and hollow and held and covers(b, *a["center"][:2])


HELD = {"on": on, "under": under, "inside": inside}


class Room:
    """The objects and areas of a scene, and what can be said about them."""

    def __init__(self, objects: list[dict], areas: list[dict]):
        self.objects, self.areas = objects, areas

    def matching(self, thing: str) -> list[dict]:
        """All objects that "an orange striped chair", "red chair" or "red chairs" fits."""
        form = rf"(?:(an?) )?(?:({COLOURS}) )?(?:({PATTERNS}) )?(.+)"
        article, hue, pattern, name = re.fullmatch(form, thing).groups()
        first = thing.removeprefix(f"{article} ")[0]
        need(article is None or (article == "an") == (first in "aeiou"), f"article in {thing!r}")
        alike = [o for o in self.objects if name in (o["category"], plural(o["category"]))]
        looks = [(o, o["attributes"].get("colour"), o["attributes"].get("pattern")) for o in alike]
        return [o for o, h, p in looks if hue in (None, h) and pattern in (None, p)]

    def name(self, box: dict) -> str | None:
        """How the box must be called, None where no name singles it out."""
        same = [o for o in self.objects if o["category"] == box["category"]]
        hues = [o["attributes"].get("colour") for o in same]
        hue = box["attributes"].get("colour")
        if len(same) == 1:
            return box["category"]
        return f"{hue} {box['category']}" if hue and hues.count(hue) == 1 else None

    def find(self, reference: str) -> dict:
        found = [o for o in self.objects if self.name(o) == reference]
        need(len(found) == 1, f"{reference!r} is the name of {len(found)} objects")
        return found[0]

    def hosts(self, box: dict) -> list[dict]:
        return [o for o in self.objects if any(rule(box, o) for rule in HELD.values())]

    def relations(self, a: dict, b: dict) -> list[str]:
        stands = a["category"] in SMALL and bottom(a) <= 0.02 and not self.hosts(a)
        beside = stands and b["category"] in LARGE and gap(a, b) <= 0.4 + 1e-9
        return [name for name, rule in HELD.items() if rule(a, b)] + ["beside"] * beside

    def neighbours(self, box: dict) -> list[tuple[float, dict]]:
        """The large objects other than its hosts, the nearest first."""
        left_out = [box, *self.hosts(box)]
        large = [o for o in self.objects if o["category"] in LARGE and o not in left_out]
        return sorted(((gap(box, o), o) for o in large), key=lambda pair: pair[0])

    def place(self, box: dict) -> tuple[str, dict]:
        held = [(name, o) for name in ("on", "inside", "under") for o in self.hosts(box)]
        held = [(name, o) for name, o in held if HELD[name](box, o)]
        need(len({name for name, _ in held}) == len(held), f"object {box['id']} is on several")
        if held:
            return held[0]
        near = self.neighbours(box)
        need(near and "beside" in self.relations(box, near[0][1]), f"no place of {box['id']}")
        clear = len(near) == 1 or near[1][0] - near[0][0] >= 0.25 - 1e-6
        need(clear, "the second nearest large object is too near")
        return "beside", near[0][1]

    def area(self, box: dict) -> tuple[np.ndarray, np.ndarray]:
        """Middle and size of the area that holds the box's centre, or comes nearest to it."""
        areas = [(np.array(area["center"]), np.array(area["size"])) for area in self.areas]
        return min(areas, key=lambda area: max(abs(box["center"][:2] - area[0]) - area[1] / 2))

    def walls(self, box: dict) -> np.ndarray:
        """How far the footprint is from the nearer wall along x and along y, in its own area."""
        middle, size = self.area(box)
        return (size / 2 - abs(corners(box) - middle)).min(axis=0)

    def central(self, box: dict) -> bool:
        middle, size = self.area(box)
        return bool((abs(box["center"][:2] - middle) <= 0.25 * size + 1e-9).all())

    def claim(self, slots: dict[str, str], **more) -> SimpleNamespace:
        """What is claimed: the texts of the slots ``s``, the object that each reference names, and
        the objects that the description among them fits.
        """
        thing = slots.get("a_thing") or slots.get("things") or slots.get("thing")
        named = {slot: self.find(text) for slot, text in slots.items() if slot in REFERENCES}
        fits = self.matching(thing) if thing else []
        return SimpleNamespace(room=self, s=slots, named=named, fits=fits, **named, **more)


# Questions with one answer: what must be said, None where nothing may be asked


def rounded(said: str, value: float, step: float) -> str | None:
    return said if rounds_to(said, value, step) else None


def floor(areas: list[dict]) -> float:
    return sum(area["size"][0] * area["size"][1] for area in areas)


def contents(c, relation: str) -> str | None:
    c.fits = [x for x in c.room.objects if HELD[relation](x, c.host)]
    return c.fits[0]["category"] if len(c.fits) == 1 else None


def place(c) -> str:
    relation, host = c.room.place(c.ref)
    c.fits = [host]
    return f"{relation} the {c.room.name(host)}"


def situated(c) -> str | None:
    away = np.array(c.ref["center"][:2]) - c.example["position"][:2]
    turn = (np.degrees(np.arctan2(away[1], away[0]) - c.example["heading"]) + 180) % 360 - 180
    border = min(abs(abs(turn) - 45), abs(abs(turn) - 135))
    if np.hypot(*away) < 0.7 - 1e-6 or border < 15 - 1e-6:
        return None
    sides = {"front": abs(turn) < 45, "behind": abs(turn) > 135, "left": turn > 0}
    return next((side for side, holds in sides.items() if holds), "right")


def nearest(c) -> str | None:
    near, far = sorted((gap(c.anchor, c.named[slot]), slot) for slot in "ab")
    return c.s[near[1]] if far[0] >= max(1.3 * near[0], near[0] + 0.3) - 1e-6 else None


def taller(c) -> str | None:
    low, high = sorted((c.named[slot]["size"][2], slot) for slot in "ab")
    return c.s[high[1]] if high[0] - low[0] >= 0.1 - 1e-6 else None


def coordinates(c) -> str | None:
    halves = 2 * np.array(c.ref["center"][:2])
    clear = (abs(halves - np.floor(halves) - 0.5) >= 0.1 - 1e-6).all()
    x, y = np.round(halves) / 2 + 0.0
    return f"x {x:.1f}, y {y:.1f}" if clear else None


def upper(c) -> str:
    return "a" if on(c.a, c.b) else "b" if on(c.b, c.a) else ""


def ground(c) -> str:
    c.fits = [x for x in c.fits if "host" not in c.s or on(x, c.host)]
    ids = sorted(x["id"] for x in c.fits)
    need((c.example.get("targets") or []) == ids, f"the targets are {ids}")
    return " ".join(f"<OBJ{i:03d}>" for i in ids) or "none"


LOOKS = ("colour", "pattern", "state")
ANSWERS = {
    "existence": lambda c: "yes" if c.fits else "no",
    "count": lambda c: str(len(c.fits)) if 1 <= len(c.fits) <= 9 else None,
    **{look: lambda c, look=look: c.ref["attributes"].get(look) for look in LOOKS},
    **{f"contents {word}": lambda c, word=word: contents(c, word) for word in HELD},
    "place": place,
    "relation": lambda c: " ".join(c.room.relations(c.a, c.b)) or None,
    "situated": situated,
    "nearest": nearest,
    "taller": taller,
    "height": lambda c: rounded(c.said, 100 * c.ref["size"][2], 1),
    "length": lambda c: rounded(c.said, 100 * max(c.ref["size"][:2]), 1),
    "distance": lambda c: gap(c.a, c.b) >= 0.3 - 1e-6 and rounded(c.said, gap(c.a, c.b), 0.1),
    "room size": lambda c: rounded(c.said, floor(c.room.areas), 0.1),
    "coordinates": coordinates,
    "stack order": lambda c: c.s.get(upper(c)),
    "stacked": lambda c: {"a": "yes", "b": "no"}.get(upper(c)),
    **dict.fromkeys(("ground", "ground on"), ground),
}


# Sentences: what is true, and what can be done


def this(c) -> bool:
    c.fits = [x for x in c.fits if x["id"] in c.ids[:1]]
    return len(c.fits) == 1


def size(c) -> bool:
    width, _, height = c.ref["size"]
    return rounds_to(c.s["width"], 100 * width, 1) and rounds_to(c.s["height"], 100 * height, 1)


def near(c) -> bool:
    large = c.room.neighbours(c.a)
    metres = [d for d, x in large if x is c.b and d <= large[0][0] + 1e-6]
    return bool(metres) and rounds_to(c.s["metres"], metres[0], 0.1)


def room_area(c) -> bool:
    areas = [area for area in c.room.areas if area["kind"] == c.s["room"]]
    return any(rounds_to(c.s["metres"], floor([area]), 0.1) for area in areas)


def is_closed(c) -> bool:
    opens = c.ref["category"] in ("cabinet", "fridge", "nightstand", "window", "door")
    return c.ref["attributes"].get("state", "closed" if opens else "") == "closed"


def go_beside(c) -> bool:
    near = c.ref is not c.host and gap(c.ref, c.host) <= 0.4 + 1e-9
    return near and c.host not in c.room.hosts(c.ref)


def take(c) -> bool:
    """``moved`` follows what earlier steps have taken (None) or put somewhere (host's id)."""
    held = c.a["id"] in c.moved
    found = c.moved[c.a["id"]] == c.b["id"] if held else c.b in c.room.hosts(c.a)
    c.moved[c.a["id"]] = None
    return found


def put(c) -> bool:
    c.moved[c.a["id"]] = c.b["id"]
    return c.a is not c.b and c.b["category"] in FLAT


KINDS = {
    "sit": ("chair", "armchair", "sofa", "stool"),
    "lie": ("bed", "sofa"),
    "switch on": ("lamp", "radio", "television", "laptop"),
    "wipe": (*FLAT, "sink", "bathtub", "toilet"),
    "water": ("plant", "vase"),
    "fill": ("mug", "bottle", "bowl", "vase"),
}
TRUE = {
    "say object": this,
    "say one": lambda c: len(c.fits) == 1,
    **dict.fromkeys(("say count", "step count"), lambda c: len(c.fits) == int(c.s["number"])),
    "say size": size,
    **{
        f"say {word}": lambda c, word=word: word in c.room.relations(c.a, c.b)
        for word in (*HELD, "beside")
    },
    "say near": near,
    "say wall": lambda c: min(c.room.walls(c.ref)) <= 0.35 + 1e-9,
    "say corner": lambda c: max(c.room.walls(c.ref)) <= 0.45 + 1e-9,
    "say middle": lambda c: c.room.central(c.ref),
    "say room": room_area,
    **{
        f"say {look}": lambda c, look=look: c.ref["attributes"].get(look) == c.s[look]
        for look in LOOKS
    },
    "say taller": lambda c: c.a["size"][2] > c.b["size"][2],
    "say nearer": lambda c: gap(c.anchor, c.a) < gap(c.anchor, c.b),
    "say nothing on": lambda c: not any(on(x, c.ref) for x in c.room.objects),
    "say distance": lambda c: rounds_to(c.s["metres"], gap(c.a, c.b), 0.1),
    "step go": lambda c: True,
    "step go beside": go_beside,
    "step take": take,
    "step put on": put,
    **{f"step {do}": lambda c, do=do: c.ref["category"] in KINDS[do] for do in KINDS},
    "step open": is_closed,
    "step fill": lambda c: c.a["category"] in KINDS["fill"] and c.b["category"] == "sink",
    "step move": lambda c: c.a is not c.b and c.a["category"] not in ("door", "window"),
}


# Examples


def check_text(room: Room, derivation: dict, text: str, **more) -> SimpleNamespace:
    """The text must be a phrase of the derivation's rule; what it claims, and whether its objects
    are those of the derivation in order (those that the answer adds may stand among them).
    """
    key, slots = derivation["rule"], {k: str(v) for k, v in derivation.get("slots", {}).items()}
    need(text in [p.format(**slots) for p in PHRASES[key]], f"{text!r} does not say {key} {slots}")
    claim = room.claim(slots, ids=derivation.get("objects", []), **more)
    answers = TRUE | ANSWERS
    claim.answer = answers[key](claim) if key in answers else True
    before = more.get("before", [])
    found = [*before, *(claim.named[slot]["id"] for slot in REFERENCES if slot in claim.named)]
    need([i for i in claim.ids if i in found] == found, f"objects {claim.ids}, not {found}")
    others = set(claim.ids) - set(found) - {o["id"] for o in claim.fits}
    need(not others, f"{text!r} is not about {others}")
    return claim


def check_question(room: Room, example: dict):
    """A question with one answer, a situated question or grounding."""
    derivation, said, before = example["derivation"], example["answers"][0], []
    if derivation["rule"] == "situated":
        at, facing = (o for i in derivation["objects"][:2] for o in room.objects if o["id"] == i)
        names = {"at": room.name(at), "facing": room.name(facing)}
        situations = [p.format(**names) for p in PHRASES["situation"]]
        need(None not in names.values() and example.get("situation") in situations, "situation")
        check_pose(room, example, at, facing)
        before = [at["id"], facing["id"]]
    more = {"said": said, "example": example, "before": before}
    want = check_text(room, derivation, example["question"], **more).answer
    need(said == want, f"{derivation['rule']}: {said!r} instead of {want!r}")


def check_pose(room: Room, example: dict, at: dict, facing: dict):
    need(None not in (example.get("position"), example.get("heading")), "without a pose")
    x, y = example["position"][:2]
    need(at is not facing, "beside and facing the same object")
    for o in room.objects:
        blocked = o["category"] in LARGE and covers(o, x, y)
        need(not blocked, f"the position is inside {o['category']} {o['id']}")
    away = shapely.Polygon(corners(at)).distance(shapely.Point(x, y))
    need(away <= 0.8 + 1e-5, f"the position is {away:.2f} m from the {at['category']}")
    areas = [(np.array(a["center"]), np.array(a["size"])) for a in room.areas]
    within = any((abs([x, y] - middle) <= size / 2).all() for middle, size in areas)
    need(within, "the position is outside every area")
    bearing = np.arctan2(facing["center"][1] - y, facing["center"][0] - x)
    turn = (np.degrees(bearing - example["heading"]) + 180) % 360 - 180
    need(abs(turn) <= 2, f"the heading misses the {facing['category']} by {turn:.1f} degrees")


def check_fact(room: Room, fact: dict, moved: dict[int, int | None]):
    """One sentence of a caption, a plan or an answer in a dialogue."""
    claim = check_text(room, fact, fact["text"], moved=moved)
    need(claim.answer, f"not true, or not possible: {fact['text']!r}")


def check_caption(room: Room, example: dict):
    """A caption or a plan is its sentences in a row, and answers the right question."""
    facts, plan = example["derivation"]["facts"], example["task"] == "planning"
    texts = [f"{i}. {f['text']}" if plan else f["text"] for i, f in enumerate(facts, 1)]
    need(example["answers"][0] == " ".join(texts), "the answer is not its sentences in a row")
    rules = [fact["rule"] for fact in facts]
    need(all(r.startswith("step " if plan else "say ") for r in rules), "sentences of another sort")
    asked = {"object captioning": "describe object", "scene captioning": "describe scene"}
    goal = example.get("kind")
    key = asked.get(example["task"], f"plan {goal}")
    need(example["question"] in PHRASES[key], f"{example['question']!r} is no {key}")
    ends = [rule for rule in rules if rule.startswith("step end ")]
    need(ends == [f"step end {goal}"] * plan and (not plan or ends == rules[-1:]), f"ends {ends}")
    if example["task"] == "object captioning":
        check_spot(room, example["spot"], facts)


def check_spot(room: Room, spot: list[float], facts: list[dict]):
    """The selected point lies on the object that the first sentence names, and all other sentences
    are about it.
    """
    (box,) = (o for o in room.objects if o["id"] in facts[0]["objects"][:1])
    x, y = to_frame(box, *spot[:2])
    half = np.array(box["size"]) / 2 + 0.05 + 1e-9
    reach = half[1] + (0.5 if box["attributes"].get("state") == "open" else 0)
    level = abs(spot[2] - box["center"][2]) <= half[2]
    need(abs(x) <= half[0] and -half[1] <= y <= reach and level, "the spot is not on the object")
    strays = [f["text"] for f in facts if f.get("objects") and box["id"] not in f["objects"]]
    need(not strays, f"not about {box['category']} {box['id']}: {strays}")


def check_turn(room: Room, turn: dict, before: dict | None, question: str, answer: str):
    """A question of a dialogue, what "it" means in it, and whether the answer's first sentence
    replies to it.
    """
    asked, facts = turn["question"], turn["facts"]
    key, ids, reply = asked["rule"], facts[0]["objects"], facts[0]
    it = asked["objects"][:1] if key == "talk about" else before["question"]["objects"][:1]
    check_text(room, asked, question, before=it if key != "talk about" else [])
    need(answer == " ".join(f["text"] for f in facts), "the answer is not its sentences")
    need(all(fact["rule"].startswith("say ") for fact in facts), "sentences of another sort")
    need(reply["rule"] in REPLIES.get(key, [key.replace("it ", "say ")]), f"no reply to {key!r}")
    subject = {"it on": ids[-1:], "it taller": ids}.get(key, ids[:1])
    need(it[0] in subject, f"{reply['text']!r} is not about object {it}")
    if key in ("it taller", "it nearer"):
        need(set(ids) == set(asked["objects"]), f"{reply['text']!r} compares others")
    if key == "it on":
        (box,) = (o for o in room.objects if [o["id"]] == it)
        held = {o["id"] for o in room.objects if on(o, box)}
        said = {f["objects"][0] for f in facts if f["rule"] == "say on"}
        need(held == said, f"{said} said to be on object {it}, not {held}")


def solve(example: dict, objects: list[dict], areas: list[dict]) -> list[str]:
    """Everything in the example that this solver does not agree with."""
    room, derivation, problems = Room(objects, areas), example.get("derivation", {}), []

    def attempt(check, *arguments):
        try:
            check(*arguments)
        except Disagreement as problem:
            problems.append(str(problem))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as problem:
            problems.append(f"{check.__name__}: the example garbles something: {problem!r}")

    moved: dict[int, int | None] = {}
    if "turns" in derivation:
        spoken = [*example.get("history", []), [example["question"], example["answers"][0]]]
        turns = derivation["turns"]
        if len(spoken) != len(turns):
            return [f"{len(spoken)} turns spoken, {len(turns)} derived"]
        for before, turn, (question, answer) in zip([None, *turns], turns, spoken, strict=False):
            attempt(check_turn, room, turn, before, question, answer)
    elif "facts" in derivation:
        attempt(check_caption, room, example)
    else:
        attempt(check_question, room, example)
    for part in (derivation, *derivation.get("turns", [])):
        for fact in part.get("facts", []):
            attempt(check_fact, room, fact, moved)
    return problems
