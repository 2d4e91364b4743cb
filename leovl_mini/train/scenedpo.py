"""SceneDPO (LEO-VL): post-training that prefers the right answer to a wrong one, and the right
scene to a wrong one.

With Δ(a|s) = log π(a|s,q) - log π_ref(a|s,q), log-probabilities summed over the tokens of the
answer and its end:

    L_a = -log σ(β_a [Δ(a✓|s✓) - Δ(a✗|s✓)])   answer contrast, as in DPO (Rafailov et al. 2023)
    L_s = -log σ(β_s [Δ(a✓|s✓) - Δ(a✓|s✗)])   scene contrast: less likely where it is false
    L_NLL = -log π(a✓|s✓,q)
    L = w_a L_a + w_s L_s + w_nll L_NLL

Values of β and w, the rate and the pairs are not published; those here are ours. All methods that
are compared learn from the same pairs, step by step. Explained in notebook 09 (scenedpo).
"""

import copy
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from leovl_mini.data.examples import Example
from leovl_mini.model.leovl import LeoVL
from leovl_mini.model.lora import add_lora, merge_lora
from leovl_mini.model.prompts import Turn, encode
from leovl_mini.tokens.base import SceneInput, SceneTokens
from leovl_mini.train.augment import augment, turned_example
from leovl_mini.train.batches import to_device
from leovl_mini.train.pairs import Pair

# -- pairs in batches ------------------------------------------------------------------------------


@dataclass
class PairBatch:
    """B pairs as 2 B scenes: every s✓ with the turns a✓ and a✗, then every s✗ with a✓. One packed
    batch of 3 B turns.

    ``examples`` (B) are turned as the scenes are; ``seed`` is for answers that are sampled;
    ``numbers`` says which pairs these are, and is None where scenes are augmented, so that nothing
    may be remembered.
    """

    scenes: list[SceneTokens]
    turns: list[list[Turn]]
    examples: list[Example]
    seed: int
    numbers: list[int] | None = None

    @property
    def answer_count(self) -> int:
        return len(self.examples)

    def to(self, device: torch.device) -> "PairBatch":
        return dataclasses.replace(self, scenes=[to_device(s, device) for s in self.scenes])


@dataclass(eq=False)
class PairDataset(Dataset):
    """Pairs in random order; an item is the batch of a step, or a part of it, see batches.py.

    With ``turn=False, background=1.0`` a pair is always the same, and its reference can be
    remembered.
    """

    model: InitVar[LeoVL]
    scene_input: Callable[[str], SceneInput]
    pairs: Sequence[Pair]
    batch_size: int = 8
    """Pairs a step."""
    seed: int = 0
    turn: bool = True
    """Turn both scenes by the same quarters of a circle."""
    background: float = 0.3
    """Share of tokens without objects that is kept."""

    def __post_init__(self, model: LeoVL):
        self.tokenizer, self.style = model.tokenizer, model.prompt_style

    def __getitem__(self, key: tuple[int, int, int]) -> PairBatch:
        step, part, parts = key
        first, size = step * self.batch_size, self.batch_size
        places = [divmod(i, len(self.pairs)) for i in range(first, first + size)][part::parts]
        orders = {
            epoch: np.random.default_rng((self.seed, 1, epoch)).permutation(len(self.pairs))
            for epoch, _ in places
        }
        numbers = [int(orders[epoch][place]) for epoch, place in places]
        rngs = [np.random.default_rng((self.seed, 2, step, i)) for i in range(size)][part::parts]
        batch = self.collate([self.pairs[i] for i in numbers], rngs)
        augmented = self.turn or self.background < 1
        return batch if augmented else dataclasses.replace(batch, numbers=numbers)

    def collate(self, pairs: Sequence[Pair], rngs: Sequence[np.random.Generator]) -> PairBatch:
        """Some pairs as a batch, each augmented by its own generator."""
        right, wrong, choices, repeated, examples = [], [], [], [], []
        for pair, rng in zip(pairs, rngs, strict=True):
            quarters = int(rng.integers(4)) if self.turn else 0
            example = turned_example(pair.example, quarters)
            rejected = turned_example(
                dataclasses.replace(pair.example, answers=[pair.rejected]), quarters
            )  # coordinates turn
            accept, reject = (encode(e, self.tokenizer, self.style) for e in (example, rejected))
            for name, scenes in ((pair.example.scene, right), (pair.negative, wrong)):
                scene = augment(self.scene_input(name), quarters, self.background, rng)
                scenes.append(scene.tokens)
            choices.append([accept, reject])
            repeated.append([accept])
            examples.append(example)
        seed = int(rngs[0].integers(2**31))
        return PairBatch(right + wrong, choices + repeated, examples, seed)


# -- the loss --------------------------------------------------------------------------------------


def sequence_log_probs(
    model: LeoVL, scenes: Sequence[SceneTokens], turns: Sequence[Sequence[Turn]]
) -> Float[Tensor, "N"]:
    """log π (nats) of each of the N answers, in the order of the turns: summed over its tokens
    and end, not divided by length.
    """
    losses, turn = model(scenes, turns)
    return -losses.new_zeros(sum(map(len, turns))).index_add(0, turn, losses)


def pair_log_probs(model: LeoVL, batch: PairBatch) -> Float[Tensor, "3 B"]:
    """log π(a✓|s✓), log π(a✗|s✓) and log π(a✓|s✗) of every pair, from one pass."""
    found = sequence_log_probs(model, batch.scenes, batch.turns)
    choices, repeated = found.split([2 * batch.answer_count, batch.answer_count])
    return torch.stack([*choices.view(-1, 2).T, repeated])


@torch.no_grad()
def contrast_log_probs(
    model: LeoVL, pairs: Sequence[Pair], scene_input: Callable[[str], SceneInput], size: int = 8
) -> Float[Tensor, "3 N"]:
    """``pair_log_probs`` of N pairs on whole scenes, ``size`` pairs at once; for evaluation."""
    model.eval()
    dataset = PairDataset(model, scene_input, pairs, turn=False, background=1.0)
    columns = []
    for start in range(0, len(pairs), size):
        chunk = pairs[start : start + size]
        batch = dataset.collate(chunk, [np.random.default_rng(0)] * len(chunk))
        columns.append(pair_log_probs(model, batch.to(model.device)).cpu())
    return torch.cat(columns, dim=1) if columns else torch.zeros(3, 0)


def scenedpo_loss(
    policy: Float[Tensor, "3 B"],
    reference: Float[Tensor, "3 B"],
    beta_a: float = 0.1,
    beta_s: float = 0.1,
    w_a: float = 1.0,
    w_s: float = 1.0,
    w_nll: float = 1.0,
) -> Tensor:
    """L, a mean over B pairs, from log-probabilities as ``pair_log_probs`` orders them. ``w_s=0``:
    DPO with L_NLL.
    """
    right, wrong_answer, wrong_scene = policy - reference
    answer_contrast = -F.logsigmoid(beta_a * (right - wrong_answer))
    scene_contrast = -F.logsigmoid(beta_s * (right - wrong_scene))
    return (w_a * answer_contrast + w_s * scene_contrast - w_nll * policy[0]).mean()


class Reference:
    """log π_ref: of the model as it is now, whatever it learns later.

    An adapter is merged and a fresh one put on top: switched off, it leaves the reference, and no
    second copy is needed. A model without adapter is copied. Everything outside the language model
    is frozen. What pairs that never change give is remembered.
    """

    def __init__(self, model: LeoVL):
        self.model, self.copied, self.remembered = model, not model.lora, {}
        if rank := model.lora:
            merge_lora(model)
            add_lora(model, rank)
        for weight in {*model.parameters()} - {*model.language.parameters()}:
            weight.requires_grad_(False)
        model.eval()  # without dropout policy and reference differ by their weights alone
        if self.copied:
            self.model = copy.deepcopy(model).requires_grad_(False)

    @torch.no_grad()
    def __call__(self, batch: PairBatch) -> Float[Tensor, "3 B"]:
        if batch.numbers is not None and all(i in self.remembered for i in batch.numbers):
            return torch.stack([self.remembered[i] for i in batch.numbers], dim=1)
        if self.copied:
            found = pair_log_probs(self.model, batch)
        else:
            with self.model.language.disable_adapter():
                found = pair_log_probs(self.model, batch)
        if batch.numbers is not None:
            self.remembered |= dict(zip(batch.numbers, found.unbind(1), strict=True))
        return found


def preference_loss(
    model: LeoVL, batch: PairBatch, reference: Reference, **weights: float
) -> Tensor:
    return scenedpo_loss(pair_log_probs(model, batch), reference(batch), **weights)


def sft_loss(model: LeoVL, batch: PairBatch) -> Tensor:
    """L_NLL alone needs neither wrong answers nor wrong scenes."""
    scenes, turns = batch.scenes[: batch.answer_count], batch.turns[: batch.answer_count]
    return -sequence_log_probs(model, scenes, [[accept] for accept, _ in turns]).mean()
