"""SceneDPO (LEO-VL): post-training that prefers the right answer to a wrong one, and the right
scene to a wrong one.

With Δ(a|s) = log π(a|s,q) - log π_ref(a|s,q), log-probabilities summed over the words of the answer
and its end:

    L_a = -log σ(β_a [Δ(a✓|s✓) - Δ(a✗|s✓)])      answer contrast, as in DPO (Rafailov et al. 2023)
    L_s = -log σ(β_s [Δ(a✓|s✓) - Δ(a✓|s✗)])      scene contrast: the same answer must be less likely
    where it is false L_NLL = -log π(a✓|s✓,q) L = w_a L_a + w_s L_s + w_nll L_NLL

Values of β and w, the rate and the pairs are not published; those here are ours. Rivals learn from
the same pairs, step by step.
"""

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from leovl_mini.data.examples import Example
from leovl_mini.evaluate.run import Seen
from leovl_mini.model.leovl import LeoVL
from leovl_mini.model.lora import add_lora, merge_lora
from leovl_mini.model.prompts import Turn, encode
from leovl_mini.tokens.base import SceneTokens
from leovl_mini.train.augment import select, turned_example, turned_tokens
from leovl_mini.train.batches import SceneQADataset, to_device
from leovl_mini.train.pairs import Pair

# -- pairs in batches ------------------------------------------------------------------------------


@dataclass
class PairBatch:
    """B pairs as 2 B scenes: every s✓, about which a✓ and a✗ are said, then every s✗ with a✓. One
    packed batch of 3 B turns.
    """

    scenes: list[SceneTokens]
    turns: list[list[Turn]]
    examples: list[Example]  # B, turned as the scenes are
    seed: int  # for answers that are sampled
    numbers: list[int] | None = (
        # which pairs these are; None where scenes are augmented, so that nothing may be remembered
        None
    )

    @property
    def answers(self) -> int:
        return len(self.examples)

    def to(self, device: torch.device) -> "PairBatch":
        return dataclasses.replace(self, scenes=[to_device(s, device) for s in self.scenes])


class PairDataset(SceneQADataset):
    """Pairs in random order, ``rooms`` a step. ``batch(step)`` depends on the seed and the step
    alone.

    Augmented like other lessons: ``turn`` turns both scenes by the same quarters of a circle,
    ``plain`` is the share of tokens of floor and wall that is kept. With ``turn=False, plain=1.0``
    a pair is always the same, and its reference can be remembered.
    """

    def __init__(
        self,
        model: LeoVL,
        seen: Seen,
        pairs: Sequence[Pair],
        rooms: int = 8,
        seed: int = 0,
        turn: bool = True,
        plain: float = 0.3,
    ):
        self.tokenizer, self.style, self.seen, self.pairs = (
            model.tokenizer,
            model.prompt_style,
            seen,
            list(pairs),
        )
        self.rooms, self.seed, self.turn, self.plain = rooms, seed, turn, plain

    def __len__(self) -> int:
        return len(self.pairs)

    def batch(self, step: int, part: int = 0, parts: int = 1) -> PairBatch:
        """The batch of a step; or, on several devices, part ``part`` of ``parts`` of it."""
        places = [
            divmod(i, len(self.pairs)) for i in range(step * self.rooms, (step + 1) * self.rooms)
        ][part::parts]
        orders = {
            epoch: np.random.default_rng((self.seed, 1, epoch)).permutation(len(self.pairs))
            for epoch, _ in places
        }
        numbers = [int(orders[epoch][place]) for epoch, place in places]
        rngs = [np.random.default_rng((self.seed, 2, step, i)) for i in range(self.rooms)][
            part::parts
        ]
        batch = self.collect([self.pairs[i] for i in numbers], rngs)
        return batch if self.turn or self.plain < 1 else dataclasses.replace(batch, numbers=numbers)

    def collect(self, pairs: Sequence[Pair], rngs: Sequence[np.random.Generator]) -> PairBatch:
        """Some pairs as a batch, each augmented by its own generator."""
        right, wrong, said, repeated, examples = [], [], [], [], []
        for pair, rng in zip(pairs, rngs, strict=True):
            quarters = int(rng.integers(4)) if self.turn else 0
            example = turned_example(pair.example, quarters)
            rejected = turned_example(
                dataclasses.replace(pair.example, answers=[pair.rejected]), quarters
            )  # coordinates turn
            accept, reject = (encode(e, self.tokenizer, self.style) for e in (example, rejected))
            right.append(self.tokens(pair.example.scene, quarters, rng))
            wrong.append(self.tokens(pair.negative, quarters, rng))
            said.append([accept, reject])
            repeated.append([accept])
            examples.append(example)
        return PairBatch(right + wrong, said + repeated, examples, int(rngs[0].integers(2**31)))

    def tokens(self, name: str, quarters: int, rng: np.random.Generator) -> SceneTokens:
        seen = self.seen(name)
        kept = torch.from_numpy(rng.random(len(seen)) < self.plain) | seen.object_ids.any(1)
        return turned_tokens(select(seen.tokens, kept), quarters)


# -- the loss --------------------------------------------------------------------------------------


def sequence_log_probs(
    model: LeoVL, scenes: Sequence[SceneTokens], turns: Sequence[Sequence[Turn]]
) -> Float[Tensor, "N"]:
    """log π (nats) of each of the N answers, in the order of the turns: summed over its words and
    end, not divided by length.
    """
    losses, turn = model(scenes, turns)
    return -losses.new_zeros(sum(map(len, turns))).index_add(0, turn, losses)


def pair_log_probs(model: LeoVL, batch: PairBatch) -> Float[Tensor, "3 B"]:
    """log π(a✓|s✓), log π(a✗|s✓) and log π(a✓|s✗) of every pair, from one pass."""
    found = sequence_log_probs(model, batch.scenes, batch.turns)
    said, repeated = found.split([2 * batch.answers, batch.answers])
    return torch.stack([*said.view(-1, 2).T, repeated])


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
    second copy is needed. A model without adapter is copied. Projector, positions, volume and echo
    are frozen. What pairs that never change give is remembered.
    """

    def __init__(self, model: LeoVL):
        self.model, self.copied, self.known = model, not model.lora, {}
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
        if batch.numbers is not None and all(i in self.known for i in batch.numbers):
            return torch.stack([self.known[i] for i in batch.numbers], dim=1)
        if self.copied:
            found = pair_log_probs(self.model, batch)
        else:
            with self.model.language.disable_adapter():
                found = pair_log_probs(self.model, batch)
        if batch.numbers is not None:
            self.known |= dict(zip(batch.numbers, found.unbind(1), strict=True))
        return found


def preference_loss(
    model: LeoVL, batch: PairBatch, reference: Reference, **weights: float
) -> Tensor:
    return scenedpo_loss(pair_log_probs(model, batch), reference(batch), **weights)


def sft_loss(model: LeoVL, batch: PairBatch) -> Tensor:
    """L_NLL alone needs neither wrong answers nor wrong scenes."""
    scenes, turns = batch.scenes[: batch.answers], batch.turns[: batch.answers]
    return -sequence_log_probs(model, scenes, [[accept] for accept, _ in turns]).mean()
