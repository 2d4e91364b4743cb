"""Packing: several scenes, each with several questions behind it, as one batch of sequences.

A scene costs hundreds of tokens and a question a dozen, so a scene is read once for all its
questions; an attention mask keeps the questions apart.
Explained in notebook 06 (scene to language).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from leovl_mini.model.prompts import Turn
from leovl_mini.model.symbols import Symbols
from leovl_mini.tokens.base import SceneTokens

if TYPE_CHECKING:
    from leovl_mini.model.leovl import LeoVL


@dataclass
class Packed:
    """B scenes with several turns each, as one batch of sequences of T positions: prompt, scene,
    turns.

    ``segments``: 0 = prompt and scene, n = the n-th turn, -1 = padding. A turn attends to the
    prompt, the scene and itself.
    """

    embeddings: Float[Tensor, "B T D"]
    positions: Int64[Tensor, "B T"]
    segments: Int64[Tensor, "B T"]
    ids: Int64[Tensor, "B T"]  # -1 where there is no word
    is_answer: Bool[Tensor, "B T"]  # the tokens that are learned

    def mask(self) -> Bool[Tensor, "B 1 T T"]:
        """Which position (row) attends to which (column): none to later ones, to padding, or to
        another turn.
        """
        query, key = self.segments[:, :, None], self.segments[:, None]
        length = self.segments.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=key.device).tril()
        allowed = causal & ((key == 0) | (key == query)) & (key >= 0)
        itself = torch.eye(length, dtype=torch.bool, device=key.device)
        return (allowed | itself)[:, None]  # padding attends to itself: no row may be empty


def pack(
    model: "LeoVL", scenes: Sequence[SceneTokens | Symbols], turns: Sequence[Sequence[Turn]]
) -> Packed:
    """One sequence per scene: the prompt, the scene, and all its turns behind each other, padded to
    the longest sequence.
    """
    prompt = model.prompt_ids()
    rows = [[i for turn in scene_turns for i in turn.ids] for scene_turns in turns]
    words = embed_texts(model, prompt, turns)
    texts = words[len(prompt) :].split([len(row) for row in rows])
    before = words[: len(prompt)]
    sequences, positions, segments, ids, is_answer = [], [], [], [], []
    for scene, text, row, scene_turns in zip(
        model.embed_scenes(scenes), texts, rows, turns, strict=True
    ):
        start = len(prompt) + len(scene)
        prefix = model.position_ids(len(prompt), len(scene))
        counts = [prefix[-1] + 1 + torch.arange(len(turn.ids)) for turn in scene_turns]
        number = [n for n, turn in enumerate(scene_turns, 1) for _ in turn.ids]
        learned = [flag for turn in scene_turns for flag in turn.is_answer]
        sequences.append(torch.cat([before, scene.to(words.dtype), text]))
        positions.append(torch.cat([prefix, *counts]))
        segments.append(torch.tensor([0] * start + number))
        ids.append(torch.tensor(prompt + [-1] * len(scene) + row))
        is_answer.append(torch.tensor([False] * start + learned))

    def padded(tensors: list[Tensor], fill: float | int | bool) -> Tensor:
        batch = nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=fill)
        return batch.to(words.device)

    return Packed(
        padded(sequences, 0.0),
        padded(positions, 0),
        padded(segments, -1),
        padded(ids, -1),
        padded(is_answer, False),
    )


def embed_texts(
    model: "LeoVL", prompt: list[int], turns: Sequence[Sequence[Turn]]
) -> Float[Tensor, "N D"]:
    """The embeddings of the prompt and of all turns of all scenes, behind each other."""
    ids, places, starts = list(prompt), {}, [0]
    for turn in (turn for scene_turns in turns for turn in scene_turns):
        places |= {len(ids) + i: point for i, point in turn.places.items()}
        starts.append(len(ids))
        ids += turn.ids
    return model.embed_words(torch.tensor(ids, device=model.device), places, starts)
