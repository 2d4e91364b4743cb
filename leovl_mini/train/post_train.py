"""Post-training: SceneDPO, and the methods it is compared with, by one loop on the same pairs."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from leovl_mini.config import pick_device
from leovl_mini.data.files import hardware
from leovl_mini.evaluate.preferences import preference_metrics
from leovl_mini.evaluate.run import Seen
from leovl_mini.model.leovl import LeoVL
from leovl_mini.scans.scene import InputError
from leovl_mini.train.grpo import grpo_loss
from leovl_mini.train.loop import train_steps
from leovl_mini.train.pairs import Pair
from leovl_mini.train.runlog import RunLog
from leovl_mini.train.scenedpo import PairDataset, Reference, preference_loss, sft_loss

METHODS = {  # the weights of the three losses; GRPO has rewards instead
    "sft": {"w_a": 0.0, "w_s": 0.0, "w_nll": 1.0},
    "answer dpo": {"w_a": 1.0, "w_s": 0.0, "w_nll": 1.0},
    "no nll": {"w_a": 1.0, "w_s": 1.0, "w_nll": 0.0},
    "scenedpo": {"w_a": 1.0, "w_s": 1.0, "w_nll": 1.0},
    "grpo": {},
}


def post_train(
    model: LeoVL,
    pairs: Sequence[Pair],
    seen: Seen,
    method: str = "scenedpo",
    steps: int = 200,
    rate: float = 1e-4,
    rooms: int = 8,
    seed: int = 0,
    beta_a: float = 0.1,
    beta_s: float = 0.1,
    augment: bool = True,
    checkpoint: Path | None = None,
    **options,
) -> list[float]:
    """Train a tuned model by one of ``METHODS``; returns the loss of every step. ``options`` are
    those of ``train_steps``.

    With ``checkpoint`` it goes on where it stopped; ``model`` must then be the one it started from,
    which is the reference.
    """
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}; choose one of: {', '.join(METHODS)}")
    lessons = PairDataset(
        model, seen, pairs, rooms, seed, turn=augment, plain=0.3 if augment else 1.0
    )
    preference = partial(
        preference_loss, reference=Reference(model), beta_a=beta_a, beta_s=beta_s, **METHODS[method]
    )
    loss = {"sft": sft_loss, "grpo": grpo_loss}.get(method, preference)
    return train_steps(model, lessons, steps, loss, rate=rate, checkpoint=checkpoint, **options)


def run_post_training(
    start: Path,
    pairs: Sequence[Pair],
    seen: Seen,
    out: Path,
    method: str = "scenedpo",
    steps: int = 200,
    seed: int = 0,
    rate: float = 5e-4,
    beta: float = 0.5,
    held: Sequence[Pair] = (),
    quiet: bool = False,
) -> tuple[LeoVL, dict]:
    """Post-train the weights ``start`` and write them to ``out``: (model, note with the contrasts
    of ``held`` over time).

    ``beta`` is that of both contrasts. An interrupted run goes on where it stopped.
    """
    torch.manual_seed(seed)
    model = LeoVL.from_pretrained(start, pick_device("auto"))
    checkpoint = out.with_suffix(".checkpoint")
    command = f'leovl-mini train prefer PAIRS --cache CACHE --start {start.name} --method "{method}" --steps {steps}'
    command += f" --rate {rate} --beta {beta} --seed {seed}"
    dynamics = RunLog(
        out.with_suffix(".progress.json"),
        lambda model: preference_metrics(model, held, seen),
        {"command": command},
    )
    if not dynamics.scores:
        dynamics.watch(model, 0) if held else dynamics.write({})
    losses = post_train(
        model,
        pairs,
        seen,
        method,
        steps,
        rate,
        seed=seed,
        beta_a=beta,
        beta_s=beta,
        checkpoint=checkpoint,
        every=max(steps // 8, 1),
        warmup=min(50, steps // 5),
        quiet=quiet,
        watch=dynamics.watch if held else None,
    )
    made = {
        "method": method,
        "command": command,
        "steps": steps,
        "seed": seed,
        "hardware": hardware(),
    }
    made["minutes"] = dynamics.minutes()
    model.made = made
    model.save_pretrained(out.with_suffix(""))
    for file in (checkpoint, dynamics.file):
        file.unlink(missing_ok=True)
    return model.eval(), {
        **made,
        "losses": [round(v, 4) for v in losses],
        "dynamics": dynamics.scores,
    }
