"""Batches of symbolic scenes: rooms without pictures, whose tokens say in words what is there.

Explained in notebook 07 (fine-tuning).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import InitVar, dataclass, field

import numpy as np
from torch.utils.data import Dataset

from leovl_mini.data.examples import Example
from leovl_mini.model.leovl import LeoVL
from leovl_mini.model.prompts import Turn
from leovl_mini.model.symbols import (
    Symbols,
    Vocabulary,
    objects_as_symbols,
    simulate_grid,
    tokens_as_symbols,
)
from leovl_mini.rooms.texts.lists import (
    EVERYTHING,
    counting_questions,
    object_list,
    short_form_questions,
)
from leovl_mini.scans.scene import RELATIONS, Object
from leovl_mini.train.augment import turned_object
from leovl_mini.train.batches import LEAST_TEXT, Batch, Questions, scenes_of_step


@dataclass(eq=False)
class SymbolicQADataset(Dataset):
    """Symbolic scenes, for the first stage: what their objects are is written in words.

    For three fifths of ``warmup_steps`` everything is to be listed, and nothing else is asked. Then
    come questions, about few objects at first, one token each; until the end of the warm-up the
    scenes fill up: among many tokens nothing tells attention where to look. From there on, up to
    half of the scenes look as through a grid (``simulate_grid``), if that leaves room for text; and
    for as many steps again every fourth only counts, in four times as many scenes: among longer
    answers, counting is learned much later. (All of this is ours.)
    """

    model: InitVar[LeoVL]
    objects: Callable[[str], list[Object]]
    examples: InitVar[Iterable[Example]]
    batch_size: int = 16
    """Scenes a step."""
    text_budget: int = 420
    """Tokens of a scene and its questions together."""
    seed: int = 0
    weights: Mapping[str, float] = field(default_factory=dict)
    """See ``Questions``."""
    list_share: float = 0.0
    """Share of scenes with a list or short-form questions instead (rooms/texts/lists.py)."""
    text_share: float = 0.0
    """Share of full scenes with captions, plans and dialogues instead."""
    turn: bool = True
    """Turn scenes by 0, 90, 180 or 270 degrees."""
    warmup_steps: int = 0
    """Of the curriculum; 0: begin with full scenes."""

    def __post_init__(self, model: LeoVL, examples: Iterable[Example]):
        self.questions = Questions(model, examples, self.weights)
        self.vocabulary = Vocabulary(model.tokenizer)

    def progress(self, step: int) -> float:
        """How full scenes are, from 0 to 1; below 0 they are only listed."""
        return min(1.0, 2.5 * step / self.warmup_steps - 1.5) if self.warmup_steps else 1.0

    def counts(self, step: int) -> bool:
        """Whether a step only counts."""
        return self.warmup_steps <= step < 2 * self.warmup_steps and step % 4 == 3

    def __getitem__(self, key: tuple[int, int, int]) -> Batch:
        step, part, parts = key
        names, size = self.questions.names, self.batch_size * (4 if self.counts(step) else 1)
        indices = scenes_of_step(len(names), self.seed, step, size)[part::parts]
        rngs = [np.random.default_rng((self.seed, 2, step, i)) for i in indices]
        samples = [self.sample(names[i], step, rng) for i, rng in zip(indices, rngs, strict=True)]
        return Batch(*map(list, zip(*samples, strict=True)))

    def some_objects(self, name: str, progress: float, rng: np.random.Generator) -> list[Object]:
        """At least five objects of a scene, and what they stand in a relation of support with."""
        objects = self.objects(name)
        count = max(5, round(progress * len(objects)))
        chosen = rng.permutation([o.id for o in objects])[:count]
        present = with_supports(set(chosen.tolist()), objects)
        return [o for o in objects if o.id in present]

    def sample(self, name: str, step: int, rng: np.random.Generator) -> tuple[Symbols, list[Turn]]:
        """A scene in words with its turns."""
        quarters = int(rng.integers(4)) if self.turn else 0
        progress, counts = self.progress(step), self.counts(step)
        captioning = progress == 1 and rng.random() < self.text_share
        objects = self.some_objects(name, progress, rng)
        present = {o.id for o in objects}
        objects = [turned_object(o, quarters) for o in objects]

        short = []
        if progress < 0:
            short = [(EVERYTHING, object_list(objects, rng))]
        elif counts:
            short = counting_questions(objects, rng)
        elif not captioning and rng.random() < self.list_share:
            short = short_form_questions(objects, rng)

        symbols = objects_as_symbols(objects, self.vocabulary)
        if progress == 1 and not counts and rng.random() < 0.5:
            grid = simulate_grid(objects, rng)
            if len(grid) <= self.text_budget - LEAST_TEXT:
                symbols = tokens_as_symbols(grid, self.vocabulary)
        budget = max(self.text_budget - len(symbols), LEAST_TEXT)
        if short:
            return symbols, self.questions.encode_short(short, budget)
        examples = [
            e
            for e in self.questions.about[name]
            if present.issuperset(e.derivation.get("objects", []))
            and captioning == (e.task != "qa")
        ]
        drawn = self.questions.draw(examples, quarters, rng, budget)
        return symbols, [self.questions.encode(e, quarters) for e in drawn]


def with_supports(ids: set[int], objects: list[Object]) -> set[int]:
    """Objects with what they lie on, under or inside, and with what lies there: otherwise answers
    would change.
    """
    for item in objects:
        holders = {int(item.attributes[r]) for r in RELATIONS if r in item.attributes}
        if item.id in ids:
            ids = ids | holders
        elif holders & ids:
            ids = ids | {item.id}
    return ids
