"""Batches: scenes, each with as many questions behind it as fit, step after step.

A data set here is a torch ``Dataset`` whose items are whole batches: ``dataset[step, part, parts]``
is part ``part`` of the ``parts`` of the batch of a step. It depends on the seed and the step alone,
so a run that goes on after an interruption meets the very batches it would have met, and processes
that share a step need no word with each other. Explained in notebook 07 (fine-tuning).
"""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from leovl_mini.data.examples import Example
from leovl_mini.model.leovl import LeoVL
from leovl_mini.model.prompts import Turn, encode
from leovl_mini.model.symbols import Symbols, Vocabulary, tokens_as_symbols
from leovl_mini.rooms.texts.lists import short_form_questions
from leovl_mini.tokens.base import SceneInput, SceneTokens
from leovl_mini.train.augment import augment, short_phrasing, turned_example, turned_object

LEAST_TEXT = 64  # text tokens of a scene, however much of the budget its own tokens take


@dataclass
class Batch:
    """B scenes with the turns about each; ``symbols`` are image scenes in words, see
    ``alignment_loss``.
    """

    scenes: list[SceneTokens] | list[Symbols]
    turns: list[list[Turn]]
    symbols: list[Symbols] | None = None

    @property
    def answer_count(self) -> int:
        return sum(map(len, self.turns))

    @property
    def answer_token_count(self) -> int:
        return sum(len(t.ids) - t.answer_start for turns in self.turns for t in turns)

    def to(self, device: torch.device) -> "Batch":
        symbols = self.symbols and [to_device(s, device) for s in self.symbols]
        scenes = [to_device(s, device) for s in self.scenes]
        return dataclasses.replace(self, scenes=scenes, symbols=symbols)


def to_device(item: SceneTokens | Symbols, device: torch.device) -> SceneTokens | Symbols:
    """A copy with all tensors on a device."""
    tensors = {k: v.to(device) for k, v in vars(item).items() if isinstance(v, Tensor)}
    return dataclasses.replace(item, **tensors)


# -- what is asked ---------------------------------------------------------------------------------


# A symbolic token has a middle and a height, but no width.
UNSEEN_IN_WORDS = ("length", "distance", "room size")


# To look up a word is learned soon, to select, count and compare late: most questions of the first
# stage ask for that.
HARD = {
    "contents on": 6.0,
    "contents under": 6.0,
    "contents inside": 6.0,
    "count": 4.0,
    "taller": 2.0,
    "nearest": 2.0,
    "place": 1.5,
    "existence": 1.0,
    "coordinates": 0.7,
    "colour": 0.3,
    "situated": 0.3,  # hardly ever learned
    "pattern": 0.2,
    "state": 0.2,
    "height": 0.2,
}


# In tuning the same, less so.
WEIGHTS = {
    "qa": 1.0,
    "object captioning": 0.15,
    "scene captioning": 0.5,
    "planning": 0.25,
    "dialogue": 0.25,
    **{kind: weight**0.5 for kind, weight in HARD.items()},
}


class Questions:
    """The examples of each scene, and how a scene's share of a sequence is filled with them.

    ``weights``: how often a task is drawn, or a kind of question, relative to its number.
    """

    def __init__(self, model: LeoVL, examples: Iterable[Example], weights: Mapping[str, float]):
        self.tokenizer, self.style, self.weights = model.tokenizer, model.prompt_style, weights
        self.about: dict[str, list[Example]] = defaultdict(list)
        for example in examples:
            self.about[example.scene].append(example)
        self.names = sorted(self.about)
        self.encoded: dict[tuple[str, int], Turn] = {}

    def draw(
        self, examples: Sequence[Example], quarters: int, rng: np.random.Generator, budget: int
    ) -> list[Example]:
        """Examples in random order, as many as ``budget`` tokens hold."""
        weight = np.array(
            [self.weights.get(e.kind, self.weights.get(e.task, 1.0)) for e in examples]
        )
        # Weighted sampling without replacement: the largest u^(1/w) first (Efraimidis and Spirakis
        # 2006).
        order = np.argsort(-np.log(rng.random(len(examples))) / np.maximum(weight, 1e-9))
        drawn, used = [], 0
        for i in order[weight[order] > 0]:
            length = len(self.encode(examples[i], quarters).ids)
            if drawn and used + length > budget:
                continue
            drawn.append(examples[i])
            used += length
            if used > budget - 16:
                break
        return drawn

    def encode(self, example: Example, quarters: int = 0) -> Turn:
        key = (example.id, quarters)
        if key not in self.encoded:
            turned = turned_example(example, quarters)
            self.encoded[key] = encode(turned, self.tokenizer, self.style)
        return self.encoded[key]

    def encode_short(self, questions: Sequence[tuple[str, str]], budget: int) -> list[Turn]:
        """Lists and short-form questions with their answers; a list that is too long is cut."""
        turns = []
        for question, answer in questions[: max(budget // 14, 1)]:
            example = Example("", "", "qa", "list", question, [answer])
            turns.append(encode(example, self.tokenizer, self.style))
        turns[0] = dataclasses.replace(turns[0], ids=turns[0].ids[:budget])
        return turns


def scenes_of_step(count: int, seed: int, step: int, batch_size: int) -> list[int]:
    """Which of ``count`` scenes a step meets: all once an epoch, in a new order each time."""
    epoch, place = divmod(step * batch_size, count)
    orders = [np.random.default_rng((seed, 1, epoch + i)).permutation(count) for i in (0, 1)]
    return np.concatenate(orders)[place : place + batch_size].tolist()


# -- scenes that are seen --------------------------------------------------------------------------


@dataclass(eq=False)
class SceneQADataset(Dataset):
    """Image tokens with questions of all tasks, for alignment and tuning."""

    model: InitVar[LeoVL]
    scene_input: Callable[[str], SceneInput]
    examples: InitVar[Iterable[Example]]
    batch_size: int = 8
    """Scenes a step."""
    text_budget: int = 512
    """Tokens of a scene and its questions together: no padding, whatever a scene's size."""
    seed: int = 0
    weights: Mapping[str, float] = field(default_factory=dict)
    """See ``Questions``."""
    list_share: float = 0.0
    """Share of scenes with a list or short-form questions instead (rooms/texts/lists.py)."""
    short_share: float = 0.0
    """Share of questions in their shortest phrasing."""
    turn: bool = True
    """Turn scenes by 0, 90, 180 or 270 degrees."""
    background: float = 0.3
    """Share of tokens without objects that is kept."""
    ask: bool = True
    """Without, there are scenes and no questions: all that alignment needs."""

    def __post_init__(self, model: LeoVL, examples: Iterable[Example]):
        self.questions = Questions(model, examples, self.weights)
        self.vocabulary = Vocabulary(model.tokenizer)

    def __getitem__(self, key: tuple[int, int, int]) -> Batch:
        step, part, parts = key
        names = self.questions.names
        indices = scenes_of_step(len(names), self.seed, step, self.batch_size)[part::parts]
        rngs = [np.random.default_rng((self.seed, 2, step, i)) for i in indices]
        samples = [self.sample(names[i], rng) for i, rng in zip(indices, rngs, strict=True)]
        return Batch(*map(list, zip(*samples, strict=True)))

    def sample(
        self, name: str, rng: np.random.Generator
    ) -> tuple[SceneTokens, list[Turn], Symbols]:
        """A scene with its turns, and the same tokens in words."""
        quarters = int(rng.integers(4)) if self.turn else 0
        scene, short = self.scene_input(name), []
        if rng.random() < self.list_share and self.ask:
            visible = set(scene.object_ids.flatten().tolist())
            objects = [turned_object(o, quarters) for o in scene.objects if o.id in visible]
            short = short_form_questions(objects, rng)
        scene = augment(scene, quarters, self.background, rng)
        symbols = tokens_as_symbols(scene, self.vocabulary)
        budget = max(self.text_budget - len(scene), LEAST_TEXT)
        if not self.ask:
            return scene.tokens, [], symbols
        if short:
            return scene.tokens, self.questions.encode_short(short, budget), symbols
        drawn = self.questions.draw(self.questions.about[name], quarters, rng, budget)
        drawn = [short_phrasing(e) if rng.random() < self.short_share else e for e in drawn]
        return scene.tokens, [self.questions.encode(e, quarters) for e in drawn], symbols
