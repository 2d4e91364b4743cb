"""Lessons: rooms with their questions, batch after batch."""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from leovl_mini.data.examples import Example
from leovl_mini.model.leovl import LeoVL
from leovl_mini.model.prompts import Turn, encode
from leovl_mini.model.symbols import (
    Symbols,
    Vocabulary,
    objects_as_symbols,
    simulate_grid,
    tokens_as_symbols,
)
from leovl_mini.rooms.lists import EVERYTHING, counting_questions, object_list, short_form_questions
from leovl_mini.tokens.base import SceneInput, SceneTokens
from leovl_mini.train.augment import (
    select,
    short_phrasing,
    turned_example,
    turned_object,
    turned_tokens,
    with_supports,
)


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
            [to_device(x, device) for x in some or []] for some in (self.scenes, self.words)
        )
        return dataclasses.replace(self, scenes=scenes, words=words or None)


def to_device(item: SceneTokens | Symbols, device: torch.device) -> SceneTokens | Symbols:
    """A copy with all tensors on a device."""
    tensors = {k: v.to(device) for k, v in vars(item).items() if isinstance(v, Tensor)}
    return dataclasses.replace(item, **tensors)


class SceneQADataset:
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
        select = np.concatenate(orders)[place : place + rooms][part::parts]
        lessons = [
            self.lesson(self.names[i], np.random.default_rng((self.seed, 2, step, i)), full, tally)
            for i in select
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
            some, present = self.examples[name], set(seen.object_ids.flatten().tolist())
        here, asked = [o for o in objects if o.id in present], []
        if full < 0:
            asked = [(EVERYTHING, object_list(here, rng))]
        elif tally:
            asked = counting_questions(here, rng)
        elif not told and rng.random() < self.lists:
            asked = short_form_questions(here, rng)
        if self.kind == "objects":
            words = objects_as_symbols(here, self.vocabulary)
            if (
                full == 1
                and not tally
                and rng.random() < 0.5
                and len(grid := simulate_grid(here, rng)) <= self.budget - 64
            ):
                words = tokens_as_symbols(grid, self.vocabulary)
        else:
            kept = torch.from_numpy(rng.random(len(seen)) < self.plain) | seen.object_ids.any(1)
            seen = SceneInput(
                turned_tokens(select(seen.tokens, kept), quarters), seen.object_ids[kept], objects
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
                short_phrasing(e) if rng.random() < self.everyday else e
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
