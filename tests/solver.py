"""An independent solver of the room examples: it reads sentences back into slots and derives every
answer again from boxes.

It knows the phrases and the objects of a scene and shares no code with leovl_mini. Its own geometry
works on the corners and edges of footprints. ``solve`` returns what it disagrees with; an empty
list means that the example is right.
"""

import json
import re
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np

PHRASES = json.loads(
    (Path(__file__).parent.parent / "leovl_mini" / "rooms" / "phrases.json").read_text(
        encoding="utf-8"
    )
)

LARGE = "table desk chair armchair sofa bed nightstand cabinet bookshelf lamp plant stool tv_stand sink bathtub toilet fridge stove"
LARGE = [word.replace("_", " ") for word in LARGE.split()]
SMALL = "mug parcel vase book bottle bowl ball basket laptop radio backpack television".split()
FIXED = ["door", "window"]
CATEGORIES = LARGE + SMALL + FIXED
COLOURS = "red blue green yellow orange purple white black".split()
PATTERNS = ["plain", "striped", "checked"]
FLAT = [
    "table",
    "desk",
    "cabinet",
    "nightstand",
    "tv stand",
    "stool",
    "fridge",
    "stove",
    "parcel",
    "book",
]
GOALS = "tidy read guests water work sleep clean decorate".split()
NUMBERS = "one two three four five six seven eight nine ten eleven twelve".split()

# The slots of every key, in the order in which a derivation lists its objects.
SLOTS = {
    **{
        "existence": "a_thing",
        "count": "things",
        "colour": "ref",
        "pattern": "ref",
        "state": "ref",
        "place": "ref",
    },
    **{
        "contents on": "host",
        "contents under": "host",
        "contents inside": "host",
        "relation": "a b",
        "situated": "ref",
    },
    **{
        "nearest": "anchor a b",
        "taller": "a b",
        "height": "ref",
        "length": "ref",
        "distance": "a b",
        "room size": "",
    },
    **{"coordinates": "ref", "stack order": "a b", "stacked": "a b", "situation": "at facing"},
    **{"ground": "thing", "ground on": "thing host", "describe object": "", "describe scene": ""},
    **{f"plan {goal}": "" for goal in GOALS},
    **{
        "say object": "a_thing",
        "say size": "ref height width",
        "say on": "a b",
        "say under": "a b",
        "say inside": "a b",
    },
    **{
        "say beside": "a b",
        "say near": "a b metres",
        "say wall": "ref",
        "say corner": "ref",
        "say middle": "ref",
    },
    **{
        "say count": "number things",
        "say one": "a_thing",
        "say room": "room metres",
        "say state": "ref state",
    },
    **{
        "say colour": "ref colour",
        "say pattern": "ref pattern",
        "say taller": "a b",
        "say nearer": "anchor a b",
    },
    **{"say nothing on": "ref", "say distance": "a b metres"},
    **{
        "step go": "ref",
        "step go beside": "ref host",
        "step take": "a b",
        "step put on": "a b",
        "step sit": "ref",
    },
    **{
        "step lie": "ref",
        "step switch on": "ref",
        "step open": "ref",
        "step wipe": "ref",
        "step water": "ref",
    },
    **{
        "step fill": "a b",
        "step move": "a b",
        "step count": "number things",
        **{f"step end {goal}": "" for goal in GOALS},
    },
    **{
        "talk about": "ref",
        "it colour": "",
        "it pattern": "",
        "it state": "",
        "it height": "",
        "it place": "",
        "it on": "",
    },
    **{"it nearer": "a b", "it taller": "a"},
}
SLOTS = {key: slots.split() for key, slots in SLOTS.items()}
QUESTIONS = list(SLOTS)[: list(SLOTS).index("situation")]
REFERENCES = {"ref", "a", "b", "host", "at", "facing", "anchor"}

# What the first sentence of an answer in a dialogue may state.
WHERE = {
    "say on",
    "say under",
    "say inside",
    "say beside",
    "say near",
    "say wall",
    "say corner",
    "say middle",
}
REPLIES = {
    **{
        "colour": {"say colour", "say object"},
        "pattern": {"say pattern", "say object"},
        "state": {"say state"},
    },
    **{"height": {"say size"}, "place": WHERE, "on": {"say on", "say nothing on"}},
    **{
        "nearer": {"say nearer"},
        "nearest": {"say nearer"},
        "taller": {"say taller"},
        "distance": {"say distance"},
    },
    **{
        "count": {"say count", "say one"},
        "contents on": {"say on"},
        "contents under": {"say under"},
    },
    **{"contents inside": {"say inside"}, "room size": {"say room"}, "length": {"say size"}},
}


class Disagreement(Exception):
    """One thing that the solver holds for wrong."""


def need(condition, message: str):
    if not condition:
        raise Disagreement(message)


# Sentences back to slots


def plural(category: str) -> str:
    return "bookshelves" if category == "bookshelf" else category + "s"


def words(*choices: str) -> str:
    return "(?:" + "|".join(choices) + ")"


def patterns() -> dict[str, str]:
    """A regular expression for every type of slot, limited to the words that it may hold."""
    colour, pattern, category = (
        f"(?:{words(*COLOURS)} )?",
        f"(?:{words(*PATTERNS[1:])} )?",
        words(*CATEGORIES),
    )
    slot = dict.fromkeys(REFERENCES, colour + category)
    slot |= {
        "thing": colour + pattern + category,
        "things": colour + pattern + words(*map(plural, CATEGORIES)),
    }
    slot |= {
        "a_thing": "an? " + slot["thing"],
        "colour": words(*COLOURS),
        "pattern": words(*PATTERNS),
        "state": "open|closed",
    }
    slot |= {
        "room": words("bedroom", "living room", "office", "kitchen", "bathroom"),
        "metres": r"\d+\.\d",
    }
    return slot | {"height": r"\d+", "width": r"\d+", "number": words(r"\d+", *NUMBERS)}


SLOT_PATTERNS = patterns()


@cache
def expressions(key: str) -> list[re.Pattern]:
    def named(slot: re.Match) -> str:
        return f"(?P<{slot[1]}>{SLOT_PATTERNS[slot[1]]})"

    return [
        re.compile(re.sub(r"\\\{(\w+)\\\}", named, re.escape(phrase))) for phrase in PHRASES[key]
    ]


def readings(key: str, sentence: str) -> list[dict[str, str]]:
    """All ways to read the sentence as a phrase of that key."""
    found = (expression.fullmatch(sentence) for expression in expressions(key))
    return [
        dict(unique)
        for unique in {tuple(sorted(match.groupdict().items())) for match in found if match}
    ]


def read(key: str, sentence: str) -> dict[str, str]:
    need(key in PHRASES, f"no phrases for {key!r}")
    ways = readings(key, sentence)
    need(len(ways) == 1, f"{len(ways)} readings of {sentence!r} as {key!r}")
    return ways[0]


def rounds_to(text: str, value: float, step: float) -> bool:
    """The text is the value rounded to the step; a value half way between two may go either way."""
    form = r"-?\d+" if step == 1 else r"-?\d+\.\d"
    return (
        bool(re.fullmatch(form, text))
        and text != "-0.0"
        and abs(float(text) - value) <= step / 2 + 1e-6
    )


# Boxes


def to_frame(box: dict, x: float, y: float) -> np.ndarray:
    """A point of the floor in the frame of the box: x along its width, y towards its front."""
    cos, sin = np.cos(box["yaw"]), np.sin(box["yaw"])
    dx, dy = x - box["center"][0], y - box["center"][1]
    return np.array([cos * dx + sin * dy, cos * dy - sin * dx])


def corners(box: dict) -> np.ndarray:
    """The four corners of the footprint, one after the other around it."""
    along = np.array([np.cos(box["yaw"]), np.sin(box["yaw"])]) * box["size"][0] / 2
    across = np.array([-np.sin(box["yaw"]), np.cos(box["yaw"])]) * box["size"][1] / 2
    return np.array(box["center"][:2]) + [
        along + across,
        across - along,
        -along - across,
        along - across,
    ]


def covers(box: dict, x: float, y: float) -> bool:
    return bool((abs(to_frame(box, x, y)) <= np.array(box["size"][:2]) / 2 + 1e-9).all())


def point_to_edge(point: np.ndarray, start: np.ndarray, end: np.ndarray) -> float:
    step = end - start
    share = np.clip((point - start) @ step / (step @ step), 0, 1)
    return float(np.hypot(*(start + share * step - point)))


def cross(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> float:
    return float((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))


def edges(polygon: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(zip(polygon, np.roll(polygon, -1, axis=0), strict=True))


def footprint_gap(a: dict, b: dict) -> float:
    """Zero where the rectangles overlap, else the shortest way from a corner of one to an edge of
    the other.
    """
    p, q = corners(a), corners(b)
    if any(covers(a, *point) for point in q) or any(covers(b, *point) for point in p):
        return 0.0
    for (s, e), (t, f) in product(edges(p), edges(q)):
        if cross(s, e, t) * cross(s, e, f) < 0 and cross(t, f, s) * cross(t, f, e) < 0:
            return 0.0
    return min(
        point_to_edge(point, *edge)
        for one, other in ((p, q), (q, p))
        for point in one
        for edge in edges(other)
    )


def bottom(box: dict) -> float:
    return box["center"][2] - box["size"][2] / 2


def top(box: dict) -> float:
    return box["center"][2] + box["size"][2] / 2


def gap(a: dict, b: dict) -> float:
    return float(np.hypot(footprint_gap(a, b), max(0.0, bottom(a) - top(b), bottom(b) - top(a))))


def on(a: dict, b: dict) -> bool:
    return a is not b and abs(bottom(a) - top(b)) <= 0.02 and covers(b, *a["center"][:2])


def under(a: dict, b: dict) -> bool:
    return (
        a is not b
        and b["category"] in ("table", "desk")
        and covers(b, *a["center"][:2])
        and bottom(a) <= 0.02
    )


def inside(a: dict, b: dict) -> bool:
    held = bottom(b) <= bottom(a) < top(b) - 0.02
    return (
        a is not b
        and b["category"] in ("bookshelf", "basket")
        and covers(b, *a["center"][:2])
        and held
    )


def colour(box: dict) -> str | None:
    return box["attributes"].get("colour")


class Room:
    """The objects and areas of a scene, and what can be said about them."""

    def __init__(self, objects: list[dict], areas: list[dict]):
        self.objects = objects
        self.areas = areas

    # Words

    def matching(self, thing: str) -> list[dict]:
        """All objects that "an orange striped chair", "red chair" or "red chairs" fits."""
        article, body = re.fullmatch(r"(?:(an?) )?(.*)", thing).groups()
        need(
            article is None or (article == "an") == (body[0] in "aeiou"),
            f"wrong article in {thing!r}",
        )
        first = body.split()[0]
        hue = first if first in COLOURS else None
        rest = body.removeprefix(f"{hue} ")
        pattern = next((p for p in PATTERNS if rest.startswith(f"{p} ")), None)
        category = next(c for c in CATEGORIES if rest.removeprefix(f"{pattern} ") in (c, plural(c)))
        wanted = (category, hue, pattern)
        return [o for o in self.objects if wanted == self.look(o, hue, pattern)]

    @staticmethod
    def look(box: dict, hue: str | None, pattern: str | None) -> tuple:
        return box["category"], hue and colour(box), pattern and box["attributes"].get("pattern")

    def name(self, box: dict) -> str | None:
        """How the box must be called, None where no name singles it out."""
        same = [o for o in self.objects if o["category"] == box["category"]]
        if len(same) == 1:
            return box["category"]
        return (
            f"{colour(box)} {box['category']}"
            if [colour(o) for o in same].count(colour(box)) == 1 and colour(box)
            else None
        )

    def find(self, reference: str) -> dict:
        found = [o for o in self.objects if self.name(o) == reference]
        need(len(found) == 1, f"{reference!r} is the name of {len(found)} objects")
        return found[0]

    # Places

    def hosts(self, box: dict) -> list[dict]:
        return [o for o in self.objects if on(box, o) or under(box, o) or inside(box, o)]

    def beside(self, a: dict, b: dict) -> bool:
        stands = a["category"] in SMALL and bottom(a) <= 0.02 and not self.hosts(a)
        return stands and b["category"] in LARGE and gap(a, b) <= 0.4 + 1e-9

    def relations(self, a: dict, b: dict) -> list[str]:
        truths = {
            "on": on(a, b),
            "inside": inside(a, b),
            "under": under(a, b),
            "beside": self.beside(a, b),
        }
        return [name for name, true in truths.items() if true]

    def neighbours(self, box: dict) -> list[tuple[float, dict]]:
        """The large objects other than its hosts, the nearest first."""
        others = [
            o
            for o in self.objects
            if o["category"] in LARGE and o is not box and o not in self.hosts(box)
        ]
        return sorted(((gap(box, o), o) for o in others), key=lambda pair: pair[0])

    def place(self, box: dict) -> tuple[str, dict]:
        for name, rule in (("on", on), ("inside", inside), ("under", under)):
            held = [o for o in self.objects if rule(box, o)]
            need(len(held) < 2, f"{box['category']} {box['id']} is {name} several objects")
            if held:
                return name, held[0]
        near = self.neighbours(box)
        need(near and self.beside(box, near[0][1]), f"{box['category']} {box['id']} has no place")
        need(
            len(near) == 1 or near[1][0] - near[0][0] >= 0.25 - 1e-6,
            "the second nearest large object is too near",
        )
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

    # Questions with one answer

    def answer(
        self, key: str, s: dict[str, str], o: dict[str, dict], said: str, example: dict
    ) -> list[dict]:
        """Check the answer ``said`` to a question of that key; return the objects that the answer
        speaks of.
        """
        extra = []
        match key:
            case "existence":
                extra = self.matching(s["a_thing"])
                want = "yes" if extra else "no"
            case "count":
                extra = self.matching(s["things"])
                want = str(len(extra))
                need(1 <= len(extra) <= 9, f"{want} is not a number from 1 to 9")
            case "colour" | "pattern" | "state":
                want = o["ref"]["attributes"].get(key)
            case "contents on" | "contents under" | "contents inside":
                rule = {"on": on, "under": under, "inside": inside}[key.split()[1]]
                extra = [x for x in self.objects if rule(x, o["host"])]
                need(len(extra) == 1, f"{len(extra)} objects, {key} {s['host']}")
                want = extra[0]["category"]
            case "place":
                preposition, host = self.place(o["ref"])
                extra, want = [host], f"{preposition} the {self.name(host)}"
                need(self.name(host), "the host has no name")
            case "relation":
                names = self.relations(o["a"], o["b"])
                need(len(names) == 1, f"relations of {s['a']} to {s['b']}: {names}")
                want = names[0]
            case "situated":
                want = self.direction(o["ref"], example)
            case "nearest":
                near, far = sorted((gap(o["anchor"], o[slot]), slot) for slot in "ab")
                need(
                    far[0] >= max(1.3 * near[0], near[0] + 0.3) - 1e-6,
                    f"gaps {near[0]:.2f} and {far[0]:.2f} are too alike",
                )
                want = s[near[1]]
            case "taller":
                need(
                    abs(o["a"]["size"][2] - o["b"]["size"][2]) >= 0.1 - 1e-6,
                    "heights are too alike",
                )
                want = s[max("ab", key=lambda slot: o[slot]["size"][2])]
            case "height" | "length":
                value = o["ref"]["size"][2] if key == "height" else max(o["ref"]["size"][:2])
                want = said if rounds_to(said, 100 * value, 1) else f"about {100 * value:.2f}"
            case "distance":
                value = gap(o["a"], o["b"])
                need(value >= 0.3 - 1e-6, f"a gap of {value:.2f} m is too small")
                want = said if rounds_to(said, value, 0.1) else f"about {value:.3f}"
            case "room size":
                value = sum(area["size"][0] * area["size"][1] for area in self.areas)
                want = said if rounds_to(said, value, 0.1) else f"about {value:.3f}"
            case "coordinates":
                halves = 2 * np.array(o["ref"]["center"][:2])
                need(
                    (abs(halves - np.floor(halves) - 0.5) >= 0.1 - 1e-6).all(),
                    "too near to a border of rounding",
                )
                want = "x {:.1f}, y {:.1f}".format(*(np.round(halves) / 2 + 0.0))
            case "stack order" | "stacked":
                upper = [slot for slot, other in ("ab", "ba") if on(o[slot], o[other])]
                need(len(upper) == 1, f"{s['a']} and {s['b']} are no stack")
                want = s[upper[0]] if key == "stack order" else "yes" if upper == ["a"] else "no"
            case "ground" | "ground on":
                extra = [
                    x for x in self.matching(s["thing"]) if key == "ground" or on(x, o["host"])
                ]
                ids = sorted(x["id"] for x in extra)
                want = " ".join(f"<OBJ{i:03d}>" for i in ids) or "none"
                need(
                    (example.get("targets") or []) == ids,
                    f"targets {example.get('targets')}, not {ids}",
                )
            case _:
                raise Disagreement(f"{key!r} is not a question with one answer")
        need(said == want, f"{key}: {said!r} instead of {want!r}")
        return extra

    # Situations

    def direction(self, target: dict, example: dict) -> str:
        away = np.array(target["center"][:2]) - example["position"][:2]
        need(np.hypot(*away) >= 0.7 - 1e-6, "the target is too near")
        turn = (np.degrees(np.arctan2(away[1], away[0]) - example["heading"]) + 180) % 360 - 180
        border = min(abs(abs(turn) - 45), abs(abs(turn) - 135))
        need(border >= 15 - 1e-6, f"{border:.1f} degrees from the border between two directions")
        return (
            "front"
            if abs(turn) < 45
            else "behind"
            if abs(turn) > 135
            else "left"
            if turn > 0
            else "right"
        )

    def check_pose(self, example: dict, at: dict, facing: dict):
        need(
            example.get("position") is not None and example.get("heading") is not None,
            "a situation without a pose",
        )
        x, y = example["position"][:2]
        need(at is not facing, "beside and facing the same object")
        for o in self.objects:
            need(
                o["category"] not in LARGE or not covers(o, x, y),
                f"the position is inside {o['category']} {o['id']}",
            )
        feet = {"center": [x, y, 0], "size": [1e-6, 1e-6, 0], "yaw": 0.0}
        need(
            footprint_gap(feet, at) <= 0.8 + 1e-5,
            f"the position is {footprint_gap(feet, at):.2f} m from the {at['category']}",
        )
        inside_area = (
            (abs(np.array([x, y]) - a["center"]) <= np.array(a["size"]) / 2).all()
            for a in self.areas
        )
        need(any(inside_area), "the position is outside every area")
        bearing = np.arctan2(facing["center"][1] - y, facing["center"][0] - x)
        turn = (np.degrees(bearing - example["heading"]) + 180) % 360 - 180
        need(abs(turn) <= 2, f"the heading misses the {facing['category']} by {turn:.1f} degrees")

    # Sentences of captions, plans and dialogues

    def state(self, key: str, s: dict[str, str], o: dict[str, dict], ids: list[int]) -> list[dict]:
        """Check that a statement is true; return the objects that it speaks of besides those in its
        slots.
        """
        a, b, ref = o.get("a"), o.get("b"), o.get("ref")
        extra = []
        match key.removeprefix("say "):
            case "object":
                extra = [x for x in self.matching(s["a_thing"]) if x["id"] in ids[:1]]
                true = len(extra) == 1
            case "size":
                true = rounds_to(s["height"], 100 * ref["size"][2], 1) and rounds_to(
                    s["width"], 100 * ref["size"][0], 1
                )
            case "on" | "under" | "inside" | "beside":
                true = key.split()[1] in self.relations(a, b)
            case "near":
                near = self.neighbours(a)
                true = any(
                    x is b and d <= near[0][0] + 1e-6 and rounds_to(s["metres"], d, 0.1)
                    for d, x in near
                )
            case "wall":
                true = min(self.walls(ref)) <= 0.35 + 1e-9
            case "corner":
                true = max(self.walls(ref)) <= 0.45 + 1e-9
            case "middle":
                true = self.central(ref)
            case "count":
                extra = self.matching(s["things"])
                true = self.number(s["number"]) == len(extra)
            case "one":
                extra = self.matching(s["a_thing"])
                true = len(extra) == 1
            case "room":
                rooms = [area["size"] for area in self.areas if area["kind"] == s["room"]]
                true = any(rounds_to(s["metres"], w * d, 0.1) for w, d in rooms)
            case "state" | "colour" | "pattern" as what:
                true = ref["attributes"].get(what) == s[what]
            case "taller":
                true = a["size"][2] > b["size"][2]
            case "nearer":
                true = gap(o["anchor"], a) < gap(o["anchor"], b)
            case "nothing on":
                true = not any(on(x, ref) for x in self.objects)
            case "distance":
                true = rounds_to(s["metres"], gap(a, b), 0.1)
            case _:
                raise Disagreement(f"{key!r} is no statement")
        need(true, f"not true: {key} {s}")
        return extra

    def step(
        self, key: str, s: dict[str, str], o: dict[str, dict], moved: dict[int, int]
    ) -> list[dict]:
        """Check that a step can be done; ``moved`` follows what earlier steps have taken (None) or
        put somewhere (host's id).
        """
        a, b, ref = o.get("a"), o.get("b"), o.get("ref")
        kind = ref and ref["category"]
        extra = []
        match key.removeprefix("step "):
            case "go":
                possible = True
            case "go beside":
                possible = (
                    ref is not o["host"]
                    and gap(ref, o["host"]) <= 0.4 + 1e-9
                    and o["host"] not in self.hosts(ref)
                )
            case "take":
                possible = moved[a["id"]] == b["id"] if a["id"] in moved else b in self.hosts(a)
                moved[a["id"]] = None
            case "put on":
                possible = a is not b and b["category"] in FLAT
                moved[a["id"]] = b["id"]
            case "sit":
                possible = kind in ("chair", "armchair", "sofa", "stool")
            case "lie":
                possible = kind in ("bed", "sofa")
            case "switch on":
                possible = kind in ("lamp", "radio", "television", "laptop")
            case "open":
                opens = kind in ("cabinet", "fridge", "nightstand", "window", "door")
                possible = ref["attributes"].get("state", "closed" if opens else None) == "closed"
            case "wipe":
                possible = kind in FLAT or kind in ("sink", "bathtub", "toilet")
            case "water":
                possible = kind in ("plant", "vase")
            case "fill":
                possible = b["category"] == "sink" and a["category"] in (
                    "mug",
                    "bottle",
                    "bowl",
                    "vase",
                )
            case "move":
                possible = a is not b and a["category"] not in FIXED
            case "count":
                extra = self.matching(s["things"])
                possible = self.number(s["number"]) == len(extra)
            case _:
                possible = key.startswith("step end ")
        need(possible, f"not possible: {key} {s}")
        return extra

    @staticmethod
    def number(text: str) -> int:
        return int(text) if text.isdigit() else NUMBERS.index(text) + 1


# Examples


def check_slots(
    room: Room, derivation: dict, sentence: str, known: dict[str, str] | None = None
) -> tuple[dict, dict]:
    """Read the sentence, compare with the derivation's slots, find the objects that its references
    name.
    """
    key, given = (
        derivation["rule"],
        {slot: str(text) for slot, text in derivation.get("slots", {}).items()},
    )
    slots = read(key, sentence)
    full = slots | (known or {})
    need(given in (slots, full), f"{sentence!r} says {slots}, the derivation {given}")
    return full, {slot: room.find(text) for slot, text in full.items() if slot in REFERENCES}


def check_objects(derivation: dict, found: list[dict], extra: list[dict]):
    """The derivation must list the objects of the slots in order; those that the answer adds may
    stand among them.
    """
    ids, wanted = derivation.get("objects", []), [o["id"] for o in found]
    need([i for i in ids if i in wanted] == wanted, f"objects {ids} instead of {wanted}")
    need(set(ids) <= {*wanted, *(o["id"] for o in extra)}, f"objects {ids} besides {wanted}")


def check_question(room: Room, example: dict):
    """A question with one answer, a situated question or grounding."""
    derivation, known = example["derivation"], {}
    if example.get("situation"):
        known = read("situation", example["situation"])
        room.check_pose(example, room.find(known["at"]), room.find(known["facing"]))
    need(known or derivation["rule"] != "situated", "no situation")
    slots, objects = check_slots(room, derivation, example["question"], known)
    extra = room.answer(derivation["rule"], slots, objects, example["answers"][0], example)
    order = [*known, *SLOTS[derivation["rule"]]]
    check_objects(derivation, [objects[slot] for slot in order if slot in REFERENCES], extra)


def check_fact(room: Room, fact: dict, moved: dict[int, int]):
    """One sentence of a caption, a plan or an answer in a dialogue."""
    slots, objects = check_slots(room, fact, fact["text"])
    if fact["rule"].startswith("step "):
        extra = room.step(fact["rule"], slots, objects, moved)
    else:
        extra = room.state(fact["rule"], slots, objects, fact.get("objects", []))
    check_objects(
        fact, [objects[slot] for slot in SLOTS[fact["rule"]] if slot in REFERENCES], extra
    )


def check_caption(room: Room, example: dict):
    facts, task = example["derivation"]["facts"], example["task"]
    if task == "planning":
        goal = next((goal for goal in GOALS if readings(f"plan {goal}", example["question"])), None)
        need(goal, f"{example['question']!r} asks for no plan")
        ends = [fact["rule"] for fact in facts if fact["rule"].startswith("step end ")]
        need(
            ends == [f"step end {goal}"] == [facts[-1]["rule"]],
            f"a plan to {goal} with ends {ends}",
        )
        texts = [f"{i}. {fact['text']}" for i, fact in enumerate(facts, 1)]
    else:
        read(
            "describe object" if task == "object captioning" else "describe scene",
            example["question"],
        )
        texts = [fact["text"] for fact in facts]
    need(
        all(fact["rule"].startswith("step " if task == "planning" else "say ") for fact in facts),
        "sentences of the wrong sort",
    )
    need(
        example["answers"][0] == " ".join(texts), "the answer is not the sequence of its sentences"
    )
    if task == "object captioning":
        check_spot(room, example["spot"], facts)


def check_spot(room: Room, spot: list[float], facts: list[dict]):
    """The selected point lies on the object that the first sentence names, and all other sentences
    are about it.
    """
    box = next((o for o in room.objects if o["id"] in facts[0]["objects"][:1]), None)
    need(box, "the first sentence names no object")
    x, y = to_frame(box, *spot[:2])
    half = np.array(box["size"]) / 2 + 0.05 + 1e-9
    reach = half[1] + (0.5 if box["attributes"].get("state") == "open" else 0)
    on_box = (
        abs(x) <= half[0] and -half[1] <= y <= reach and abs(spot[2] - box["center"][2]) <= half[2]
    )
    need(on_box, f"the spot is not on {box['category']} {box['id']}")
    strays = [
        fact["text"] for fact in facts if fact.get("objects") and box["id"] not in fact["objects"]
    ]
    need(not strays, f"not about {box['category']} {box['id']}: {strays}")


def check_turn(room: Room, turn: dict, before: dict | None, question: str, answer: str):
    """A question of a dialogue, what "it" means in it, and whether the answer's first sentence
    replies to it.
    """
    asked, facts = turn["question"], turn["facts"]
    slots, objects = check_slots(room, asked, question)
    key, named = (
        asked["rule"],
        [objects[slot] for slot in SLOTS[asked["rule"]] if slot in REFERENCES],
    )
    if key.startswith("it "):
        last = before["question"].get("objects", [])[:1] if before else []
        need(last, '"it" has nothing to refer to')
        named.insert(0, next(o for o in room.objects if o["id"] == last[0]))
    thing = slots.get("a_thing", slots.get("things"))
    check_objects(
        asked,
        named,
        room.matching(thing) if thing else room.objects if key.startswith("contents") else [],
    )
    need(
        facts and answer == " ".join(fact["text"] for fact in facts),
        "the answer is not the sequence of its sentences",
    )
    need(all(fact["rule"].startswith("say ") for fact in facts), "sentences of the wrong sort")
    reply = facts[0]
    need(
        reply["rule"] in REPLIES.get(key.removeprefix("it "), {reply["rule"]}),
        f"{reply['rule']!r} does not answer {key!r}",
    )
    if key.startswith("it ") or key == "talk about":
        it, ids = named[0]["id"], reply["objects"]
        subject = {"it on": ids[-1:], "it taller": ids, "it nearer": ids[:1]}.get(key, ids[:1])
        need(it in subject, f"{reply['text']!r} is not about object {it}")
        need(
            key not in ("it taller", "it nearer") or set(ids) == {o["id"] for o in named},
            f"{reply['text']!r} compares others",
        )
    if key == "it on":
        held = {o["id"] for o in room.objects if on(o, named[0])}
        said = {
            fact["objects"][0]
            for fact in facts
            if fact["rule"] == "say on" and fact["objects"][1] == it
        }
        need(held == said, f"{said} said to be on object {it}, not {held}")


def solve(example: dict, objects: list[dict], areas: list[dict]) -> list[str]:
    """Everything in the example that this solver does not agree with."""
    room, derivation, problems = Room(objects, areas), example.get("derivation", {}), []

    def attempt(check, *arguments):
        try:
            check(*arguments)
        except Disagreement as problem:
            problems.append(str(problem))
        except (KeyError, IndexError, TypeError, ValueError, StopIteration) as problem:
            problems.append(
                f"{check.__name__}: the example lacks or garbles something: {problem!r}"
            )

    if "turns" in derivation:
        spoken = [*example.get("history", []), [example["question"], example["answers"][0]]]
        turns = derivation["turns"]
        if len(spoken) != len(turns):
            return [f"{len(spoken)} turns spoken, {len(turns)} derived"]
        for before, turn, (question, answer) in zip([None, *turns], turns, spoken, strict=False):
            attempt(check_turn, room, turn, before, question, answer)
            for fact in turn["facts"]:
                attempt(check_fact, room, fact, {})
    elif "facts" in derivation:
        attempt(check_caption, room, example)
        moved = {}
        for fact in derivation["facts"]:
            attempt(check_fact, room, fact, moved)
    else:
        attempt(check_question, room, example)
    return problems
