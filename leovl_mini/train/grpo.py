"""GRPO (Shao et al. 2024), a rival of SceneDPO: the model's own sampled answers, rewarded where
they match exactly.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from leovl_mini.data.examples import Example
from leovl_mini.evaluate.answers import exact_match
from leovl_mini.evaluate.run import Seen, predict
from leovl_mini.model.generation import generate_ids
from leovl_mini.model.leovl import LeoVL
from leovl_mini.model.prompts import Turn, encode
from leovl_mini.tokens.base import SceneTokens
from leovl_mini.train.scenedpo import PairBatch, sequence_log_probs


def sample(
    model: LeoVL,
    scenes: Sequence[SceneTokens],
    turns: Sequence[Turn],
    group: int,
    seed: int,
    max_new_tokens: int = 12,
    temperature: float = 1.0,
) -> list[list[Turn]]:
    """``group`` sampled answers to the question of each turn, one turn a scene; whatever answer the
    turn had is dropped.
    """
    generator, sampled = torch.Generator().manual_seed(seed), []
    for scene, turn in zip(scenes, turns, strict=True):
        question = Turn(turn.ids[: turn.answer_start], turn.answer_start, turn.places)
        answers = generate_ids(
            model,
            scene,
            [question] * group,
            max_new_tokens,
            temperature,
            greedy_tokens=0,
            generator=generator,
        )
        sampled.append(
            [Turn(question.ids + ids, turn.answer_start, turn.places) for ids in answers]
        )
    return sampled


def answer_text(model: LeoVL, turn: Turn) -> str:
    return model.tokenizer.decode(turn.ids[turn.answer_start :], skip_special_tokens=True).strip()


def advantages(rewards: Float[Tensor, "B G"]) -> Float[Tensor, "B G"]:
    """How much better an answer is than its group, in standard deviations; 0 where all are alike."""
    return (rewards - rewards.mean(1, keepdim=True)) / (
        rewards.std(1, correction=0, keepdim=True) + 1e-6
    )


def grpo_loss(model: LeoVL, batch: PairBatch, group: int = 8) -> Tensor:
    """Policy gradient on the model's own answers with exact match as reward (GRPO, Shao et al.
    2024). Answers serve for one step, so the ratio to the policy that wrote them is 1 and nothing
    is clipped; no KL term.
    """
    scenes, asked = (
        batch.scenes[: batch.answers],
        [turns[0] for turns in batch.turns[: batch.answers]],
    )
    turns = sample(model, scenes, asked, group, batch.seed)
    rewards = [
        [float(exact_match(answer_text(model, t), e.answers)) for t in row]
        for row, e in zip(turns, batch.examples, strict=True)
    ]
    log_probs = sequence_log_probs(model, scenes, turns).view(batch.answers, group)
    return -(advantages(torch.tensor(rewards, device=log_probs.device)) * log_probs).mean()


def on_policy_answers(
    model: LeoVL, seen: Seen, examples: Sequence[Example], samples: int = 0, seed: int = 0
) -> dict[str, list[str]]:
    """{id of example: the model's answers}: the greedy one, then so many sampled ones; what wrong
    answers are taken from first.
    """
    scenes = {e.scene: seen(e.scene).tokens for e in examples}
    own = {e.id: [p] for e, p in zip(examples, predict(model, scenes, examples), strict=True)}
    for i, example in enumerate(examples if samples else ()):
        asked = [encode(example, model.tokenizer, model.prompt_style)]
        own[example.id] += [
            answer_text(model, t)
            for t in sample(model, [scenes[example.scene]], asked, samples, seed + i)[0]
        ]
    return own
