"""Post-training: SceneDPO, and the methods it is compared with, by one loop on the same pairs.

Explained in notebook 09 (scenedpo).
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch

from leovl_mini.config import PostTrainConfig, pick_device
from leovl_mini.evaluate.preferences import preference_metrics
from leovl_mini.model.leovl import LeoVL
from leovl_mini.scans.scene import InputError
from leovl_mini.tokens.base import SceneInput
from leovl_mini.tokens.cache import FeatureCache
from leovl_mini.train.grpo import grpo_loss
from leovl_mini.train.loop import train_steps
from leovl_mini.train.pairs import Pair, load_pairs
from leovl_mini.train.runlog import RunLog, made_by
from leovl_mini.train.scenedpo import (
    PairDataset,
    Reference,
    contrast_log_probs,
    preference_loss,
    sft_loss,
)

METHODS = {  # the weights of the three losses; GRPO has rewards instead
    "sft": {"w_a": 0.0, "w_s": 0.0, "w_nll": 1.0},
    "answer dpo": {"w_a": 1.0, "w_s": 0.0, "w_nll": 1.0},
    "no nll": {"w_a": 1.0, "w_s": 1.0, "w_nll": 0.0},
    "scenedpo": {"w_a": 1.0, "w_s": 1.0, "w_nll": 1.0},
    "grpo": {},
}


def post_train(
    model: LeoVL,
    dataset: PairDataset,
    method: str = "scenedpo",
    beta: float = 0.5,
    **options,
) -> list[float]:
    """Train a tuned model by one of ``METHODS``; returns the loss of every step. ``beta`` is that
    of both contrasts; ``options`` are those of ``train_steps``.

    The model as it is now is the reference, also where a ``checkpoint`` is continued.
    """
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}; choose one of: {', '.join(METHODS)}")
    reference = Reference(model)
    preference = partial(
        preference_loss, reference=reference, beta_a=beta, beta_s=beta, **METHODS[method]
    )
    loss = {"sft": sft_loss, "grpo": grpo_loss}.get(method, preference)
    return train_steps(model, dataset, loss, **options)


def run_post_training(
    config: PostTrainConfig,
    pairs: Sequence[Pair],
    scene_input: Callable[[str], SceneInput],
    held: Sequence[Pair] = (),
    quiet: bool = False,
) -> LeoVL:
    """One run in the folder ``config.out``: the weights, and in ``run.json`` settings, losses and
    the preference metrics of ``held`` pairs over time. An interrupted run goes on where it stopped.
    """
    torch.manual_seed(config.seed)
    model = LeoVL.from_pretrained(config.start, pick_device("auto"))
    types = [pair.type for pair in held]

    def score(model: LeoVL) -> dict:
        return preference_metrics(contrast_log_probs(model, held, scene_input), types)

    log = RunLog(config.out, made_by("train prefer", config), score)
    if not log.has_begun():
        log.evaluate(model, 0) if held else log.write()
    losses = post_train(
        model,
        PairDataset(model, scene_input, pairs, seed=config.seed),
        config.method,
        config.beta,
        checkpoint=log.checkpoint,
        evaluate=log.evaluate if held else None,
        quiet=quiet,
        steps=config.steps,
        learning_rate=config.learning_rate,
        warmup_steps=min(50, config.steps // 5),
        save_every=max(config.steps // 8, 1),
    )
    log.finish(model, losses)
    log.checkpoint.unlink()  # 13 MB for each of many runs
    return model.eval()


def prefer(config: PostTrainConfig) -> dict:
    """``leovl-mini train prefer``: one run; returns how the weights were made."""
    pairs, features = load_pairs(config.pairs), FeatureCache(config.cache)
    return run_post_training(config, pairs, features.scene).made
