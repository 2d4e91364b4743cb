"""GRPO (Shao et al. 2024), compared with SceneDPO: the model's own sampled answers, rewarded where
they match exactly.

Explained in notebook 09 (scenedpo).
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from leovl_mini.data.examples import Example
from leovl_mini.evaluate.answers import exact_match
from leovl_mini.evaluate.run import predict
from leovl_mini.model.generation import generate_ids
from leovl_mini.model.leovl import LeoVL
from leovl_mini.model.prompts import Turn
from leovl_mini.tokens.base import SceneInput, SceneTokens
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
    options = {"greedy_tokens": 0, "generator": generator}
    for scene, turn in zip(scenes, turns, strict=True):
        question = Turn(turn.ids[: turn.answer_start], turn.answer_start, turn.places)
        answers = generate_ids(
            model, scene, [question] * group, max_new_tokens, temperature, **options
        )
        sampled.append([Turn(question.ids + a, turn.answer_start, turn.places) for a in answers])
    return sampled


def answer_text(model: LeoVL, turn: Turn) -> str:
    return model.tokenizer.decode(turn.ids[turn.answer_start :], skip_special_tokens=True).strip()


def advantages(rewards: Float[Tensor, "B G"]) -> Float[Tensor, "B G"]:
    """How much better an answer is than its group, in standard deviations; 0 if all are alike."""
    deviation = rewards.std(1, correction=0, keepdim=True)
    return (rewards - rewards.mean(1, keepdim=True)) / (deviation + 1e-6)


def grpo_loss(model: LeoVL, batch: PairBatch, group: int = 8) -> Tensor:
    """Policy gradient on the model's own answers with exact match as reward (GRPO, Shao et al.
    2024). Answers serve for one step, so the ratio to the policy that wrote them is 1 and nothing
    is clipped; no KL term.
    """
    count = batch.answer_count
    scenes, questions = batch.scenes[:count], [turns[0] for turns in batch.turns[:count]]
    answers = sample(model, scenes, questions, group, batch.seed)
    rewards = [
        [float(exact_match(answer_text(model, t), e.answers)) for t in row]
        for row, e in zip(answers, batch.examples, strict=True)
    ]
    log_probs = sequence_log_probs(model, scenes, answers).view(count, group)
    return -(advantages(torch.tensor(rewards, device=log_probs.device)) * log_probs).mean()


def on_policy_answers(
    model: LeoVL, scene_input: Callable[[str], SceneInput], examples: Sequence[Example]
) -> dict[str, str]:
    """{id of an example: the model's most likely answer}: the first choice for wrong answers."""
    scenes = {e.scene: scene_input(e.scene).tokens for e in examples}
    predictions = predict(model, scenes, examples)
    return {e.id: p for e, p in zip(examples, predictions, strict=True)}
