"""Lessons: rooms with their questions, batch after batch."""

import dataclasses
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from leovl_mini.data import SceneInput
from leovl_mini.examples import Example
from leovl_mini.lists import EVERYTHING, inventory, short_lessons, tallies
from leovl_mini.model import LeoVL
from leovl_mini.prompts import Turn, encode
from leovl_mini.scene import RELATIONS, Object
from leovl_mini.symbolic import Symbols, Vocabulary, objects_as_symbols, on_paper, tokens_as_symbols
from leovl_mini.tokens import SceneTokens


@dataclass
class Batch:
    """B scenes with the turns asked about each; ``words`` are the scenes' tokens in words, where
    there is something to align.
    """

    scenes: list[SceneTokens] | list[Symbols]
    turns: list[list[Turn]]
    words: list[Symbols] | None = None

    @property
    def answers(self) -> int:
        return sum(map(len, self.turns))

    @property
    def answer_words(self) -> int:
        return sum(len(t.ids) - t.answer_start for turns in self.turns for t in turns)

    def to(self, device: torch.device) -> "Batch":
        scenes, words = (
            [moved(x, device) for x in some or []] for some in (self.scenes, self.words)
        )
        return dataclasses.replace(self, scenes=scenes, words=words or None)


def moved(item: SceneTokens | Symbols, device: torch.device) -> SceneTokens | Symbols:
    """A copy with all tensors on a device."""
    tensors = {k: v.to(device) for k, v in vars(item).items() if isinstance(v, Tensor)}
    return dataclasses.replace(item, **tensors)


class Lessons:
    """Rooms with their questions. ``batch(step)`` depends on the seed and the step alone: training
    can be resumed exactly.

    ``kind``: "objects" (symbolic tokens), "words" (the image tokens' places, in words) or "image".
    ``budget``: so many tokens and words a scene may have together with its turns, which fill up
    what the scene leaves (no padding, and at least 64 words). ``turn``: rooms are turned by 0, 90,
    180 or 270 degrees. ``weights``: how often a task is drawn, or a kind of question, relative to
    its share. ``crowd``: for three fifths of so many steps everything is to be listed, and nothing
    else is asked. Rooms made of objects hold but few at first, one token each, and fill up: in a
    crowd nothing tells attention where to look. In the end up to half are seen as by a grid, see
    ``on_paper``, if that leaves 64 words. From ``crowd`` to twice as many steps, every fourth only
    asks for ``tallies``, in four times as many rooms, one token per thing: among longer answers,
    counting is learned much later. ``lists``: the share of rooms with lists or shorthand instead of
    questions, see lists.py. ``texts``: the share of rooms made of objects about which captions,
    plans and dialogues are asked for. ``plain``: the share of tokens without objects, only floor
    and wall, that is kept: they cost much and teach little. ``everyday``: the share of questions
    asked in the ``shortest`` words.
    """

    def __init__(
        self,
        model: LeoVL,
        seen: Callable[[str], SceneInput],
        examples: Iterable[Example],
        kind: str = "image",
        rooms: int = 32,
        budget: int = 360,
        seed: int = 0,
        turn: bool = True,
        weights: dict[str, float] | None = None,
        crowd: int = 0,
        plain: float = 0.3,
        lists: float = 0.0,
        everyday: float = 0.0,
        texts: float = 0.0,
    ):
        self.tokenizer, self.style, self.vocabulary = (
            model.tokenizer,
            model.prompt_style,
            Vocabulary(model.tokenizer),
        )
        self.seen, self.kind, self.rooms, self.budget, self.seed = seen, kind, rooms, budget, seed
        self.turn, self.crowd, self.plain, self.lists, self.everyday, self.texts = (
            turn,
            crowd,
            plain,
            lists,
            everyday,
            texts,
        )
        by_scene: dict[str, list[Example]] = defaultdict(list)
        for example in examples:
            by_scene[example.scene].append(example)
        self.examples, self.weights = dict(by_scene), weights or {}
        self.names = sorted(self.examples)
        self.encoded: dict[tuple[str, int], Turn] = {}

    def __len__(self) -> int:
        return sum(map(len, self.examples.values()))

    def batch(self, step: int, part: int = 0, parts: int = 1) -> Batch:
        """The batch of a step; or, on several devices, part ``part`` of ``parts`` of it."""
        full = min(1.0, 2.5 * step / self.crowd - 1.5) if self.crowd else 1.0  # below 0: only lists
        tally = self.crowd <= step < 2 * self.crowd and step % 4 == 3
        rooms = self.rooms * (4 if tally else 1)
        epoch, place = divmod(step * rooms, len(self.names))
        orders = [
            np.random.default_rng((self.seed, 1, epoch + i)).permutation(len(self.names))
            for i in (0, 1)
        ]
        chosen = np.concatenate(orders)[place : place + rooms][part::parts]
        lessons = [
            self.lesson(self.names[i], np.random.default_rng((self.seed, 2, step, i)), full, tally)
            for i in chosen
        ]
        scenes, turns, words = map(list, zip(*lessons, strict=True))
        return Batch(scenes, turns, words if self.kind == "image" else None)

    def lesson(
        self, name: str, rng: np.random.Generator, full: float, tally: bool
    ) -> tuple[SceneTokens | Symbols, list[Turn], Symbols]:
        quarters = int(rng.integers(4)) if self.turn else 0
        seen = self.seen(name)
        objects, told = [turned_object(o, quarters) for o in seen.objects], False
        if self.kind == "objects":
            told = full == 1 and rng.random() < self.texts
            few = rng.permutation([o.id for o in objects])[: max(5, round(full * len(objects)))]
            present = with_supports(set(few.tolist()), objects)
            some = [
                e
                for e in self.examples[name]
                if set(e.derivation.get("objects", [])) <= present and told == (e.task != "qa")
            ]
        else:
            some, present = self.examples[name], set(seen.shows.flatten().tolist())
        here, asked = [o for o in objects if o.id in present], []
        if full < 0:
            asked = [(EVERYTHING, inventory(here, rng))]
        elif tally:
            asked = tallies(here, rng)
        elif not told and rng.random() < self.lists:
            asked = short_lessons(here, rng)
        if self.kind == "objects":
            words = objects_as_symbols(here, self.vocabulary)
            if (
                full == 1
                and not tally
                and rng.random() < 0.5
                and len(grid := on_paper(here, rng)) <= self.budget - 64
            ):
                words = tokens_as_symbols(grid, self.vocabulary)
        else:
            kept = torch.from_numpy(rng.random(len(seen)) < self.plain) | seen.shows.any(1)
            seen = SceneInput(
                turned_tokens(chosen(seen.tokens, kept), quarters), seen.shows[kept], objects
            )
            words = tokens_as_symbols(seen, self.vocabulary)
        left = max(self.budget - len(words), 64)
        if asked:
            some = [
                Example("", name, "qa", "list", question, [answer])
                for question, answer in asked[: max(left // 14, 1)]
            ]
            turns = [encode(e, self.tokenizer, self.style) for e in some]
            turns[0] = dataclasses.replace(turns[0], ids=turns[0].ids[:left])  # a long list
        else:
            drawn = [
                shortest(e) if rng.random() < self.everyday else e
                for e in self.draw(some, quarters, rng, left)
            ]
            turns = [self.encode(e, quarters) for e in drawn]
        return (seen.tokens if self.kind == "image" else words), turns, words

    def draw(
        self, some: list[Example], quarters: int, rng: np.random.Generator, left: int
    ) -> list[Example]:
        """Examples in random order, as many as there are words left for."""
        # Weighted sampling without replacement (Efraimidis and Spirakis 2006): the largest u^(1/w)
        # first.
        weight = np.array([self.weights.get(e.kind, self.weights.get(e.task, 1.0)) for e in some])
        order = np.argsort(-np.log(rng.random(len(some))) / np.maximum(weight, 1e-9))
        drawn, used = [], 0
        for i in order[weight[order] > 0]:
            length = len(self.encode(some[i], quarters).ids)
            if drawn and used + length > left:
                continue
            drawn.append(some[i])
            used += length
            if used > left - 16:
                break
        return drawn

    def encode(self, example: Example, quarters: int) -> Turn:
        key = (example.id, quarters)
        if key not in self.encoded:
            self.encoded[key] = encode(
                turned_example(example, quarters), self.tokenizer, self.style
            )
        return self.encoded[key]


def with_supports(ids: set[int], objects: list[Object]) -> set[int]:
    """Objects with what they lie on, under or inside, and with what lies there: otherwise answers
    would change.
    """
    for item in objects:
        holder = {int(item.attributes[r]) for r in RELATIONS if r in item.attributes}
        ids = ids | holder if item.id in ids else ids | {item.id} if holder & ids else ids
    return ids


# -- in other words --------------------------------------------------------------------------------

EVERYDAY = {
    "existence": "Is there {a_thing}?",
    "count": "How many {things} are there?",
    "description": "What is in the room?",
}


def shortest(example: Example) -> Example:
    """A question in the words that come to mind first. The rooms' own wordings are longer, and a
    nano that has never met the short ones misreads them.
    """
    if example.kind not in EVERYDAY:
        return example
    question = EVERYDAY[example.kind].format(**example.derivation.get("slots", {}))
    return dataclasses.replace(example, question=question, id=f"{example.id}, short")


# -- turning a room by quarters of a circle --------------------------------------------------------


def turned_point(point: tuple[float, ...] | list[float], quarters: int) -> list[float]:
    x, y, *rest = point
    for _ in range(quarters % 4):
        x, y = -y, x
    return [x + 0.0, y + 0.0, *rest]  # -0.0 becomes 0.0


def chosen(tokens: SceneTokens, kept: Bool[Tensor, "K"]) -> SceneTokens:
    """Some of the tokens. Representations that embed their patches' places (voxels) lose the
    patches of the others.
    """
    kept = kept.to(tokens.features.device)
    number = kept.cumsum(0) - 1
    source = torch.where(
        (tokens.source >= 0) & kept[tokens.source.clamp(min=0)],
        number[tokens.source.clamp(min=0)],
        -1,
    )
    return dataclasses.replace(
        tokens, features=tokens.features[kept], centers=tokens.centers[kept], source=source
    )


def turned_tokens(tokens: SceneTokens, quarters: int) -> SceneTokens:
    """The cells of a grid around the origin fall on cells, so the features stay what they are
    (LEO's augmentation).
    """
    if quarters == 0:
        return tokens
    turn = torch.tensor(
        [[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], device=tokens.centers.device
    ).matrix_power(quarters)
    points = None if tokens.points is None else tokens.points @ turn
    return dataclasses.replace(tokens, centers=tokens.centers @ turn, points=points)


def turned_object(item: Object, quarters: int) -> Object:
    return dataclasses.replace(
        item,
        center=tuple(turned_point(item.center, quarters)),
        yaw=item.yaw + quarters * math.pi / 2,
    )


def turned_example(example: Example, quarters: int) -> Example:
    """Poses, selected spots and coordinates turn; everything else that is said holds from every
    side.
    """
    if quarters == 0:
        return example
    position = None if example.position is None else turned_point(example.position, quarters)
    heading = None if example.heading is None else example.heading + quarters * math.pi / 2
    spot = None if example.spot is None else turned_point(example.spot, quarters)
    answers = (
        [turned_coordinates(a, quarters) for a in example.answers]
        if example.kind == "coordinates"
        else example.answers
    )
    return dataclasses.replace(
        example, position=position, heading=heading, spot=spot, answers=answers
    )


def turned_coordinates(answer: str, quarters: int) -> str:
    x, y = turned_point([float(v) for v in re.findall(r"-?\d+\.\d", answer)], quarters)
    return f"x {x:.1f}, y {y:.1f}"
