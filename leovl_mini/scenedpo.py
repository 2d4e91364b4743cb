"""SceneDPO (LEO-VL): post-training that prefers the right answer to a wrong one, and the right scene to a wrong one.

With Δ(a|s) = log π(a|s,q) - log π_ref(a|s,q), log-probabilities summed over the words of the answer and its end:

    L_a = -log σ(β_a [Δ(a✓|s✓) - Δ(a✗|s✓)])      answer contrast, as in DPO (Rafailov et al. 2023)
    L_s = -log σ(β_s [Δ(a✓|s✓) - Δ(a✓|s✗)])      scene contrast: the same answer must be less likely where it is false
    L_NLL = -log π(a✓|s✓,q)
    L = w_a L_a + w_s L_s + w_nll L_NLL

Values of β and w, the rate and the pairs are not published; those here are ours. Rivals learn from the same pairs, step by step.
"""

import copy
import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from leovl_mini.evaluate import Seen, main_score, predict
from leovl_mini.examples import Example
from leovl_mini.lessons import Lessons, chosen, moved, turned_example, turned_tokens
from leovl_mini.lora import add_lora, merge_lora
from leovl_mini.metrics import exact_match, normalise
from leovl_mini.model import LeoVL
from leovl_mini.pairs import Pair
from leovl_mini.prompts import Turn, encode
from leovl_mini.tokens import SceneTokens
from leovl_mini.training import train_steps

METHODS = {  # the weights of the three losses; GRPO has rewards instead
    "sft": {"w_a": 0.0, "w_s": 0.0, "w_nll": 1.0},
    "answer dpo": {"w_a": 1.0, "w_s": 0.0, "w_nll": 1.0},
    "no nll": {"w_a": 1.0, "w_s": 1.0, "w_nll": 0.0},
    "scenedpo": {"w_a": 1.0, "w_s": 1.0, "w_nll": 1.0},
    "grpo": {},
}

# -- pairs in batches ------------------------------------------------------------------------------------------------------------


@dataclass
class PairBatch:
    """B pairs as 2 B scenes: every s✓, about which a✓ and a✗ are said, then every s✗ with a✓. One packed batch of 3 B turns."""

    scenes: list[SceneTokens]
    turns: list[list[Turn]]
    examples: list[Example]  # B, turned as the scenes are
    seed: int  # for answers that are sampled
    numbers: list[int] | None = None  # which pairs these are; None where scenes are augmented, so that nothing may be remembered

    @property
    def answers(self) -> int:
        return len(self.examples)

    def to(self, device: torch.device) -> "PairBatch":
        return dataclasses.replace(self, scenes=[moved(s, device) for s in self.scenes])


class PairLessons(Lessons):
    """Pairs in random order, ``rooms`` a step. ``batch(step)`` depends on the seed and the step alone.

    Augmented like other lessons: ``turn`` turns both scenes by the same quarters of a circle, ``plain`` is the share of tokens of
    floor and wall that is kept. With ``turn=False, plain=1.0`` a pair is always the same, and its reference can be remembered.
    """

    def __init__(
        self, model: LeoVL, seen: Seen, pairs: Sequence[Pair], rooms: int = 8, seed: int = 0, turn: bool = True, plain: float = 0.3
    ):  # fmt: skip
        self.tokenizer, self.style, self.seen, self.pairs = model.tokenizer, model.prompt_style, seen, list(pairs)
        self.rooms, self.seed, self.turn, self.plain = rooms, seed, turn, plain

    def __len__(self) -> int:
        return len(self.pairs)

    def batch(self, step: int, part: int = 0, parts: int = 1) -> PairBatch:
        """The batch of a step; or, on several devices, part ``part`` of ``parts`` of it."""
        places = [divmod(i, len(self.pairs)) for i in range(step * self.rooms, (step + 1) * self.rooms)][part::parts]
        orders = {epoch: np.random.default_rng((self.seed, 1, epoch)).permutation(len(self.pairs)) for epoch, _ in places}
        numbers = [int(orders[epoch][place]) for epoch, place in places]
        rngs = [np.random.default_rng((self.seed, 2, step, i)) for i in range(self.rooms)][part::parts]
        batch = self.collect([self.pairs[i] for i in numbers], rngs)
        return batch if self.turn or self.plain < 1 else dataclasses.replace(batch, numbers=numbers)

    def collect(self, pairs: Sequence[Pair], rngs: Sequence[np.random.Generator]) -> PairBatch:
        """Some pairs as a batch, each augmented by its own generator."""
        right, wrong, said, repeated, examples = [], [], [], [], []
        for pair, rng in zip(pairs, rngs, strict=True):
            quarters = int(rng.integers(4)) if self.turn else 0
            example = turned_example(pair.example, quarters)
            rejected = turned_example(dataclasses.replace(pair.example, answers=[pair.rejected]), quarters)  # coordinates turn
            accept, reject = (encode(e, self.tokenizer, self.style) for e in (example, rejected))
            right.append(self.tokens(pair.example.scene, quarters, rng))
            wrong.append(self.tokens(pair.negative, quarters, rng))
            said.append([accept, reject])
            repeated.append([accept])
            examples.append(example)
        return PairBatch(right + wrong, said + repeated, examples, int(rngs[0].integers(2**31)))

    def tokens(self, name: str, quarters: int, rng: np.random.Generator) -> SceneTokens:
        seen = self.seen(name)
        kept = torch.from_numpy(rng.random(len(seen)) < self.plain) | seen.shows.any(1)
        return turned_tokens(chosen(seen.tokens, kept), quarters)


# -- the loss --------------------------------------------------------------------------------------------------------------------


def sequence_log_probs(model: LeoVL, scenes: Sequence[SceneTokens], turns: Sequence[Sequence[Turn]]) -> Float[Tensor, "N"]:
    """log π (nats) of each of the N answers, in the order of the turns: summed over its words and end, not divided by length."""
    losses, turn = model.token_losses(model.pack(scenes, turns))
    return -losses.new_zeros(sum(map(len, turns))).index_add(0, turn, losses)


def pair_log_probs(model: LeoVL, batch: PairBatch) -> Float[Tensor, "3 B"]:
    """log π(a✓|s✓), log π(a✗|s✓) and log π(a✓|s✗) of every pair, from one pass."""
    found = sequence_log_probs(model, batch.scenes, batch.turns)
    said, repeated = found.split([2 * batch.answers, batch.answers])
    return torch.stack([*said.view(-1, 2).T, repeated])


def scenedpo_loss(
    policy: Float[Tensor, "3 B"], reference: Float[Tensor, "3 B"], beta_a: float = 0.1, beta_s: float = 0.1, w_a: float = 1.0,
    w_s: float = 1.0, w_nll: float = 1.0,
) -> Tensor:  # fmt: skip
    """L, a mean over B pairs, from log-probabilities as ``pair_log_probs`` orders them. ``w_s=0``: DPO with L_NLL."""
    right, wrong_answer, wrong_scene = policy - reference
    answer_contrast = -F.logsigmoid(beta_a * (right - wrong_answer))
    scene_contrast = -F.logsigmoid(beta_s * (right - wrong_scene))
    return (w_a * answer_contrast + w_s * scene_contrast - w_nll * policy[0]).mean()


class Reference:
    """log π_ref: of the model as it is now, whatever it learns later.

    An adapter is merged and a fresh one put on top: switched off, it leaves the reference, and no second copy is needed. A model
    without adapter is copied. Projector, positions and volume are frozen. What pairs that never change give is remembered.
    """

    def __init__(self, model: LeoVL):
        self.model, self.copied, self.known = model, not model.lora, {}
        if rank := model.lora:
            merge_lora(model)
            add_lora(model, rank)
        for part in (model.projector, model.representation):
            part.requires_grad_(False)
        model.volume.requires_grad_(False)
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


def preference_loss(model: LeoVL, batch: PairBatch, reference: Reference, **weights: float) -> Tensor:
    return scenedpo_loss(pair_log_probs(model, batch), reference(batch), **weights)


def sft_loss(model: LeoVL, batch: PairBatch) -> Tensor:
    """L_NLL alone needs neither wrong answers nor wrong scenes."""
    scenes, turns = batch.scenes[: batch.answers], batch.turns[: batch.answers]
    return -sequence_log_probs(model, scenes, [[accept] for accept, _ in turns]).mean()


# -- GRPO ------------------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def sample(
    model: LeoVL, scenes: Sequence[SceneTokens], asked: Sequence[Turn], group: int, seed: int, max_new_tokens: int = 12,
    temperature: float = 1.0,
) -> list[list[Turn]]:  # fmt: skip
    """``group`` sampled answers to the question of each turn, one turn a scene; whatever answer the turn had is dropped.

    All are turns of one packed batch, which is read again for every word: a scene is read once for its group.
    """
    random = torch.Generator(model.volume.device).manual_seed(seed)
    end = model.tokenizer.eos_token_id
    written = [[t.ids[: t.answer_start] for _ in range(group)] for t in asked]
    flat, starts = [ids for row in written for ids in row], [t.answer_start for t in asked for _ in range(group)]
    for _ in range(max_new_tokens):
        # an end is put behind every turn as the only word to be foretold
        turns = [[Turn([*ids, end], len(ids), t.places) for ids in row] for row, t in zip(written, asked, strict=True)]
        packed = model.pack(scenes, turns)
        hidden = model.language.get_decoder()(
            inputs_embeds=packed.embeddings, attention_mask=packed.mask(), position_ids=packed.positions, use_cache=False
        ).last_hidden_state
        logits = model.language.get_output_embeddings()(hidden[:, :-1][packed.learned[:, 1:]]).float()
        words = torch.multinomial((logits / temperature).softmax(-1), 1, generator=random)[:, 0].tolist()
        for ids, start, word in zip(flat, starts, words, strict=True):
            if end not in ids[start:]:
                ids.append(word)
        if all(end in ids[start:] for ids, start in zip(flat, starts, strict=True)):
            break
    return [[Turn(ids, t.answer_start, t.places) for ids in row] for row, t in zip(written, asked, strict=True)]


def answer_text(model: LeoVL, turn: Turn) -> str:
    return model.tokenizer.decode(turn.ids[turn.answer_start :], skip_special_tokens=True).strip()


def advantages(rewards: Float[Tensor, "B G"]) -> Float[Tensor, "B G"]:
    """How much better an answer is than its group, in standard deviations; 0 where all are alike."""
    return (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, correction=0, keepdim=True) + 1e-6)


def grpo_loss(model: LeoVL, batch: PairBatch, group: int = 8) -> Tensor:
    """Policy gradient on the model's own answers with exact match as reward (GRPO, Shao et al. 2024). Answers serve for one step,
    so the ratio to the policy that wrote them is 1 and nothing is clipped; no KL term."""
    scenes, asked = batch.scenes[: batch.answers], [turns[0] for turns in batch.turns[: batch.answers]]
    turns = sample(model, scenes, asked, group, batch.seed)
    rewards = [
        [float(exact_match(answer_text(model, t), e.answers)) for t in row] for row, e in zip(turns, batch.examples, strict=True)
    ]
    log_probs = sequence_log_probs(model, scenes, turns).view(batch.answers, group)
    return -(advantages(torch.tensor(rewards, device=log_probs.device)) * log_probs).mean()


# -- post-training ---------------------------------------------------------------------------------------------------------------


def post_train(
    model: LeoVL, pairs: Sequence[Pair], seen: Seen, method: str = "scenedpo", steps: int = 200, rate: float = 1e-4,
    rooms: int = 8, seed: int = 0, beta_a: float = 0.1, beta_s: float = 0.1, augment: bool = True,
    checkpoint: Path | None = None, **options,
) -> list[float]:  # fmt: skip
    """Train a tuned model by one of ``METHODS``; returns the loss of every step. ``options`` are those of ``train_steps``.

    With ``checkpoint`` it goes on where it stopped; ``model`` must then be the one it started from, which is the reference.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose one of: {', '.join(METHODS)}")
    lessons = PairLessons(model, seen, pairs, rooms, seed, turn=augment, plain=0.3 if augment else 1.0)
    preference = partial(preference_loss, reference=Reference(model), beta_a=beta_a, beta_s=beta_s, **METHODS[method])
    loss = {"sft": sft_loss, "grpo": grpo_loss}.get(method, preference)
    return train_steps(model, lessons, steps, loss, rate=rate, checkpoint=checkpoint, **options)


# -- evaluation ------------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def contrast_log_probs(model: LeoVL, pairs: Sequence[Pair], seen: Seen, size: int = 8) -> Float[Tensor, "3 N"]:
    """``pair_log_probs`` of N pairs on whole scenes, ``size`` pairs at once."""
    model.eval()
    lessons, found = PairLessons(model, seen, pairs, turn=False, plain=1.0), []
    for some in (pairs[start : start + size] for start in range(0, len(pairs), size)):
        batch = lessons.collect(some, [np.random.default_rng(0)] * len(some))
        found.append(pair_log_probs(model, batch.to(model.volume.device)).cpu())
    return torch.cat(found, dim=1)


def contrasts(model: LeoVL, pairs: Sequence[Pair], seen: Seen, size: int = 8) -> dict[str, dict[str, int | float]]:
    """{type of wrong scene: {"pairs", "answer", "scene", "gap"}} on whole scenes.

    "answer": share of pairs with π(a✓|s✓) > π(a✗|s✓); "scene": with π(a✓|s✓) > π(a✓|s✗); "gap": the mean of log π(a✓|s✓) -
    log π(a✓|s✗), in nats, 0 for a model that does not look.
    """
    found = defaultdict(list)
    for pair, column in zip(pairs, contrast_log_probs(model, pairs, seen, size).T.tolist(), strict=True):
        found[pair.type].append(column)
    rows = {}
    for type, columns in sorted(found.items()):
        right, wrong_answer, wrong_scene = np.array(columns).T
        rates = {"answer": right > wrong_answer, "scene": right > wrong_scene, "gap": right - wrong_scene}
        rows[type] = {"pairs": len(columns), **{k: round(float(v.mean()), 4) for k, v in rates.items()}}
    return rows


def edit_outcomes(predictions: Sequence[str], examples: Sequence[Example]) -> dict[str, tuple[bool, bool]]:
    """{minimal edit: (right both before and after the edit that matters, same answer before and after the one that does not)}.
    ``examples`` are those of a split ``pairs-*``."""
    found: dict[str, dict[str, tuple[str, bool]]] = defaultdict(dict)
    for prediction, example in zip(predictions, examples, strict=True):
        right = main_score(prediction, example) == 1
        found[example.derivation["pair"]][example.derivation["role"]] = normalise(prediction), right
    return {k: (p["base"][1] and p["flip"][1], p["base"][0] == p["same"][0]) for k, p in found.items()}


def edit_scores(predictions: Sequence[str], examples: Sequence[Example]) -> dict[str, int | float]:
    """The shares of ``edit_outcomes``. An answer that merely changes is rewarded by "pair accuracy", and not by "invariance"."""
    both, same = zip(*edit_outcomes(predictions, examples).values(), strict=True)
    return {"pairs": len(both), "pair accuracy": float(np.mean(both)), "invariance": float(np.mean(same))}


def hallucination(predictions: Sequence[str], examples: Sequence[Example]) -> float:
    """How often "yes" is said of what is not there: the share of the questions of existence whose answer is no. NaN without any."""
    absent = [p for p, e in zip(predictions, examples, strict=True) if e.kind == "existence" and e.answers[0] == "no"]
    return sum(normalise(p) == "yes" for p in absent) / len(absent) if absent else float("nan")


def own_answers(model: LeoVL, seen: Seen, examples: Sequence[Example], samples: int = 0, seed: int = 0) -> dict[str, list[str]]:
    """{id of example: the model's answers}: the greedy one, then so many sampled ones; what wrong answers are taken from first."""
    scenes = {e.scene: seen(e.scene).tokens for e in examples}
    own = {e.id: [p] for e, p in zip(examples, predict(model, scenes, examples), strict=True)}
    for i, example in enumerate(examples if samples else ()):
        asked = [encode(example, model.tokenizer, model.prompt_style)]
        own[example.id] += [answer_text(model, t) for t in sample(model, [scenes[example.scene]], asked, samples, seed + i)[0]]
    return own
