"""Symbolic scenes: oracle tokens, each the sum of the embeddings of the words that describe its
objects, to learn to reason before there are any features.

Our own addition in the spirit of Proxy3D's simplified first stages: where a token of the encoder
holds "red, chair" in features, a symbolic token holds it in the language model's own word
embeddings. The same words are the target that projected tokens are aligned to.
Explained in notebooks 06 (scene to language) and 07 (fine-tuning).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from leovl_mini.model.prompts import HEIGHT_BINS
from leovl_mini.rooms.texts.lists import LOOKS
from leovl_mini.scans.scene import RELATIONS, Object
from leovl_mini.tokens.base import OBJECTS_PER_TOKEN, SceneInput, SceneTokens

STEP = 0.2  # metres between two bins of height
WORDS = 8  # at most so many words describe an object
BY_ITSELF = "middle"  # the relation of an object that is not on, under or inside another


@dataclass
class Symbols:
    """K symbolic tokens. ``words`` are token ids, -1 where there are fewer; ``centers`` are in
    metres; ``share`` is 1 / (tokens of the same object), with which small objects count as much as
    large ones in a loss, and 0 where a token has no words.
    """

    words: Int64[Tensor, "K W"]
    centers: Float[Tensor, "K 3"]
    share: Float[Tensor, "K"] | None = None

    def __len__(self) -> int:
        return len(self.words)


class Vocabulary:
    """Token ids of the words that describe objects: category, colour, pattern, state, the height
    bins of bottom and top, and the relation to its support: on, under or inside something, or by
    itself.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self.tokenizer = tokenizer
        self.height_bin = {name: tokenizer.convert_tokens_to_ids(name) for name in HEIGHT_BINS}
        self.known: dict[str, list[int]] = {}

    def ids(self, word: str) -> list[int]:
        if word not in self.known:
            self.known[word] = self.tokenizer(f" {word}", add_special_tokens=False).input_ids
        return self.known[word]

    def describe(self, item: Object) -> list[int]:
        """The words of one object, padded with -1 to ``WORDS``; the last one is its relation."""
        words = [*self.ids(item.category)]
        for name in LOOKS:
            if name in item.attributes:
                words += self.ids(item.attributes[name])
        middle, half = item.center[2], item.size[2] / 2
        for end, z in (("bottom", middle - half), ("top", middle + half)):
            words.append(self.height_bin[f"<{end}{min(max(round(z / STEP), 0), 11)}>"])
        relation = next((r for r in RELATIONS if r in item.attributes), BY_ITSELF)
        padding = [-1] * (WORDS - 1 - len(words))
        return words[: WORDS - 1] + padding + self.ids(relation)[:1]


def objects_as_symbols(objects: list[Object], vocabulary: Vocabulary) -> Symbols:
    """One token per object. The rows are as long as those of ``tokens_as_symbols``, so that both
    kinds fit into one batch.
    """
    rest = [-1] * (OBJECTS_PER_TOKEN - 1) * WORDS
    words = torch.tensor([vocabulary.describe(o) + rest for o in objects], dtype=torch.long)
    centers = torch.tensor([o.center for o in objects], dtype=torch.float32)
    return Symbols(words.view(-1, OBJECTS_PER_TOKEN * WORDS), centers.view(-1, 3))


def simulate_grid(
    objects: list[Object], rng: np.random.Generator, cell: float = 0.25
) -> SceneInput:
    """A simulated grid with cells of ``cell`` metres: the places and the object ids that its
    tokens would have, without features.

    Random points on every footprint and a little beyond, densely or sparsely, fall into cells; a
    cell gets the ids of the ``OBJECTS_PER_TOKEN`` objects with the most points. Of the empty cells
    between (floor and walls) a random part is kept, often a small one, since each costs time.
    """
    sides = np.array([o.size[:2] for o in objects])
    middles = np.array([o.center[:2] for o in objects])
    density = np.exp(rng.uniform(-0.5, 2.5, len(objects)))  # points per cell
    counts = 6 + (density * sides.prod(1) / cell**2).astype(int)
    index = np.repeat(np.arange(len(objects)), counts)

    local = (rng.random((len(index), 2)) - 0.5) * sides[index]
    yaw = np.array([o.yaw for o in objects])[index]
    cos, sin = np.cos(yaw), np.sin(yaw)
    turned = np.stack(
        [local[:, 0] * cos - local[:, 1] * sin, local[:, 0] * sin + local[:, 1] * cos], 1
    )
    points = middles[index] + turned + rng.normal(0, 0.08, turned.shape)

    cells = np.floor(points / cell).astype(int)
    low, high = cells.min(0), cells.max(0) + 1
    hits = np.zeros((*(high - low), len(objects)), dtype=int)
    np.add.at(hits, (*(cells - low).T, index), 1)
    hits = hits.reshape(-1, len(objects))
    kept = hits.any(1) | (rng.random(len(hits)) < rng.random() ** 2)
    most = np.argsort(-hits[kept], axis=1, kind="stable")[:, :OBJECTS_PER_TOKEN]
    ids = np.array([o.id for o in objects])[most]
    object_ids = np.where(np.take_along_axis(hits[kept], most, 1) > 0, ids, 0)

    corners = np.stack(np.unravel_index(np.flatnonzero(kept), high - low), 1) + low
    centers = np.pad((corners + 0.5) * cell, ((0, 0), (0, 1)))
    nothing = torch.zeros(len(centers), 1)
    tokens = SceneTokens(
        nothing, torch.from_numpy(centers).float(), torch.zeros(0, dtype=torch.long)
    )
    return SceneInput(tokens, torch.from_numpy(object_ids), objects)


def tokens_as_symbols(scene: SceneInput, vocabulary: Vocabulary) -> Symbols:
    """One symbolic token for each scene token, with the words of its objects; none where it holds
    only floor or wall. Of each object's tokens only the one nearest to its centre has the word of
    its relation, so that relations can be counted.
    """
    ground = scene.tokens.centers[:, :2]
    words = torch.full((*scene.object_ids.shape, WORDS), -1)
    share = torch.zeros(len(words))
    for item in scene.objects:
        token, slot = (scene.object_ids == item.id).nonzero(as_tuple=True)
        if len(token):
            words[token, slot] = torch.tensor(vocabulary.describe(item))
            share[token] = share[token].clamp(min=1 / len(token))  # of two objects, the smaller
            middle = (ground[token] - torch.tensor(item.center[:2])).square().sum(1).argmin()
            others = torch.arange(len(token)) != middle
            words[token[others], slot[others], -1] = -1
    return Symbols(words.flatten(1), scene.tokens.centers, share)
