"""Scenes in words: tokens that are sums of word embeddings, to learn to reason before there is anything to see.

Our own addition in the spirit of Proxy3D's simplified first stages: where an image token says "red, chair" in features, a symbolic
token says it in the language model's own word embeddings. The same words are the target that projected image tokens are aligned to.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from leovl_mini.data import SceneInput
from leovl_mini.language import LEVELS
from leovl_mini.lists import NAMED
from leovl_mini.scene import RELATIONS, Object

STEP = 0.2  # metres between two levels of height
WORDS = 8  # at most so many words describe an object
BY_ITSELF = "middle"  # said in the middle of an object that is not on, under or inside another


@dataclass
class Symbols:
    """K tokens in words. ``words`` are token ids, -1 where an object has fewer; ``centers`` in metres."""

    words: Int64[Tensor, "K W"]
    centers: Float[Tensor, "K 3"]

    def __len__(self) -> int:
        return len(self.words)


class Vocabulary:
    """Token ids of the words that describe objects: category, colour, pattern, state, the levels of bottom and top, and how it is
    there: on, under or inside something, or by itself. That is said once, in the middle of the object: then it can be counted."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self.tokenizer = tokenizer
        self.level = {name: tokenizer.convert_tokens_to_ids(name) for name in LEVELS}
        self.known: dict[str, list[int]] = {}

    def ids(self, word: str) -> list[int]:
        if word not in self.known:
            self.known[word] = self.tokenizer(f" {word}", add_special_tokens=False).input_ids
        return self.known[word]

    def describe(self, item: Object) -> list[int]:
        """The words of one object, padded with -1 to ``WORDS``; the last one says how it is there."""
        words = [*self.ids(item.category)]
        words += [i for name in NAMED if name in item.attributes for i in self.ids(item.attributes[name])]
        for end, z in (("bottom", item.center[2] - item.size[2] / 2), ("top", item.center[2] + item.size[2] / 2)):
            words.append(self.level[f"<{end}{min(max(round(z / STEP), 0), 11)}>"])
        there = next((relation for relation in RELATIONS if relation in item.attributes), BY_ITSELF)
        return words[: WORDS - 1] + [-1] * (WORDS - 1 - len(words)) + self.ids(there)[:1]


def objects_as_symbols(objects: list[Object], vocabulary: Vocabulary) -> Symbols:
    """One token per object."""
    words = torch.tensor([vocabulary.describe(o) for o in objects], dtype=torch.long).view(-1, WORDS)
    return Symbols(words, torch.tensor([o.center for o in objects], dtype=torch.float32).view(-1, 3))


def scattered(
    objects: list[Object], symbols: Symbols, rng: np.random.Generator, cell: float = 0.25, most: int = 24, near: float = 0.12
) -> Symbols:
    """The tokens of ``objects_as_symbols`` as a grid with cells of ``cell`` metres sees them.

    Each is repeated on random points of its object's footprint and a little beyond, for 40 to 110 % of the cells there but at most
    ``most``, the first in the middle. A token also shows what its object lies on, under or inside, and otherwise, as a rule, another
    object closer than ``near`` metres. Between them are up to a hundred tokens that say nothing, like floor and wall.
    """
    sides, yaw, middles = (
        np.array([f(o) for o in objects]) for f in (lambda o: o.size[:2], lambda o: o.yaw, lambda o: o.center[:2])
    )
    turn = np.stack([np.cos(yaw), np.sin(yaw), -np.sin(yaw), np.cos(yaw)], -1).reshape(-1, 2, 2)  # rows: an object's own axes
    many = np.ceil((sides + 0.1).prod(1) / cell**2 * rng.uniform(0.4, 1.1, len(objects))).clip(1, most).astype(int)
    index = np.repeat(np.arange(len(objects)), many)
    first = np.r_[True, index[1:] != index[:-1]]
    spots = (rng.random((len(index), 2)) - 0.5) * (sides[index] + 0.1) + rng.normal(0, 0.06, (len(index), 2))
    places = middles[index] + np.einsum("kax,ka->kx", turn[index], spots * ~first[:, None])
    beyond = np.abs(np.einsum("nax,knx->kna", turn, places[:, None] - middles)) - sides / 2
    distance = np.linalg.norm(beyond.clip(0), axis=-1)  # (K, n) from a token to every footprint
    distance[np.arange(len(index)), index] = np.inf
    row = {o.id: i for i, o in enumerate(objects)}
    holder = np.array([next((row.get(int(o.attributes[r]), -1) for r in RELATIONS if r in o.attributes), -1) for o in objects])
    beside = np.where((distance.min(1) < near) & (rng.random(len(index)) < 0.7), distance.argmin(1), -1)
    second = torch.from_numpy(np.where(holder[index] >= 0, holder[index], beside))
    other = torch.cat([symbols.words, torch.full((1, WORDS), -1)])[second]  # -1: the last row
    other[:, -1] = -1  # how it is there, it says in its own middle
    shown = torch.cat([symbols.words[index], other], 1)
    shown[:, WORDS - 1] = torch.where(torch.from_numpy(first), shown[:, WORDS - 1], -1)
    low, high = symbols.centers.amin(0), symbols.centers.amax(0)
    bare = low + torch.from_numpy(rng.random((rng.integers(100), 3))).float() * (high - low)
    words = torch.cat([shown, torch.full((len(bare), 2 * WORDS), -1)])
    centers = torch.cat([torch.from_numpy(places).float(), symbols.centers[index, 2:]], 1)
    return Symbols(words, torch.cat([centers, bare]))


def tokens_as_symbols(seen: SceneInput, vocabulary: Vocabulary) -> Symbols:
    """One token per image token, in the words of the objects that it shows; none where it shows only floor or wall. The token next
    to the middle of an object says how it is there."""
    words, places = torch.full((*seen.shows.shape, WORDS), -1), seen.tokens.centers[:, :2]
    for item in seen.objects:
        token, slot = (seen.shows == item.id).nonzero(as_tuple=True)
        if len(token):
            words[token, slot] = torch.tensor(vocabulary.describe(item))
            middle = (places[token] - torch.tensor(item.center[:2])).square().sum(1).argmin()
            others = torch.arange(len(token)) != middle
            words[token[others], slot[others], -1] = -1
    return Symbols(words.flatten(1), seen.tokens.centers)
