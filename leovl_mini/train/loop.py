"""The loop that every stage shares. A stage is a model, a data set of batches, a loss, and a number
of steps.

Explained in notebook 07 (fine-tuning).
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import reduce
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from leovl_mini.model.leovl import LeoVL
from leovl_mini.train.batches import Batch
from leovl_mini.train.checkpoints import load_checkpoint, save_checkpoint


@dataclass(frozen=True)
class LoopSettings:
    """How steps are taken."""

    steps: int
    learning_rate: float = 1e-3
    """The highest one, see ``rate_at``."""
    warmup_steps: int = 50
    weight_decay: float = 0.05
    muon: bool = False
    """Muon for the matrices of linear layers, see ``make_optimizers``."""
    bf16: bool = False
    """For GPUs, and CPUs with AMX or AVX512-BF16; other CPUs are 5 to 10 times slower with it."""
    accumulate: int = 1
    """Read the scenes of a step in so many parts, in less memory; under torchrun or accelerate
    launch each process reads its own. Ratios inside a loss (``alignment_loss``) are those of each
    part."""
    reduction: str = "sequence"
    """What weighs the same whatever the parts: every answer ("sequence") or answer token ("token"),
    as in the loss."""
    save_every: int = 200
    """Steps from one checkpoint and evaluation to the next; the last step has both."""
    workers: int | None = None
    """Processes that draw the next batches; by default none on a CPU, up to 8 for a GPU."""


def train_steps(
    model: LeoVL,
    dataset: Dataset,
    loss: Callable[[LeoVL, Batch], Tensor],
    checkpoint: Path | None = None,
    evaluate: Callable[[LeoVL, int], None] | None = None,
    quiet: bool = False,
    **settings,
) -> list[float]:
    """Train a model by the steps of ``LoopSettings``; returns the loss of every step.

    With ``checkpoint``, a file, it goes on where it stopped. ``evaluate`` is called with the model
    and the number of steps done. ValueError where a step has fewer scenes than parts.
    """
    settings = LoopSettings(**settings)
    process, device = PartialState(cpu=not torch.cuda.is_available()), model.device
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizers = make_optimizers(model, settings)
    history = []
    if checkpoint and checkpoint.exists():
        history = load_checkpoint(checkpoint, model, optimizers)
    todo = range(len(history), settings.steps)
    parts = parts_of_step(dataset, settings, process)
    keys = [(step, *part) for step in todo for part in parts]
    batches = draw_batches(dataset, keys, settings.workers, device)
    bar = tqdm(
        todo,
        initial=len(history),
        total=settings.steps,
        unit="step",
        disable=quiet or not process.is_main_process,
        mininterval=5,
    )
    for step in bar:
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = settings.learning_rate * rate_at(step, settings)
        # What a loss draws depends on the step, too: a resumed run equals an unbroken one.
        torch.manual_seed(1_000_000 * dataset.seed + step)
        model.zero_grad()
        sums = []
        for _ in parts:
            batch = next(batches).to(device)
            weight = weight_of(batch, settings.reduction)
            with torch.autocast(device.type, torch.bfloat16, enabled=settings.bf16):
                value = loss(model, batch) * weight
            value.backward()
            sums.append((value.detach(), weight))
        history.append(mean_over_answers(trained, sums))
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        for optimizer in optimizers:
            optimizer.step()

        bar.set_postfix_str(f"loss {np.mean(history[-50:]):.3f}", refresh=False)
        done = step + 1
        if process.is_main_process and (done % settings.save_every == 0 or done == settings.steps):
            if checkpoint:
                save_checkpoint(checkpoint, model, optimizers, history)
            if evaluate:
                evaluate(model, done)
                model.train()
    model.trained = True
    return history


def rate_at(step: int, settings: LoopSettings) -> float:
    """Share of the highest learning rate: a linear rise, then half a cosine down to a twentieth.

    (The nearest schedules of transformers begin with a rate of 0, or are a step ahead.)
    """
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    rest = max(settings.steps - settings.warmup_steps, 1)
    return 0.05 + 0.475 * (1 + math.cos(math.pi * (step - settings.warmup_steps) / rest))


def make_optimizers(model: LeoVL, settings: LoopSettings) -> list[torch.optim.Optimizer]:
    """AdamW for everything that is trained, or, with ``muon``, for all but the matrices of linear
    layers. These then take Muon's steps, about as long in every direction (Keller Jordan 2024;
    altogether as long as AdamW's: Liu et al. 2025, arXiv 2502.16982).
    """
    rate, decay = settings.learning_rate, settings.weight_decay
    trained, head = list(model.parameters()), model.language.get_output_embeddings()
    trained = [p for p in trained if p.requires_grad]
    layers = set()
    if settings.muon:
        linear = (m for m in model.modules() if isinstance(m, nn.Linear) and m is not head)
        layers = {m.weight for m in linear}
    others = [p for p in trained if p not in layers]
    optimizers = [torch.optim.AdamW(others, rate, betas=(0.9, 0.99), weight_decay=decay)]
    if settings.muon:
        matrices = [p for p in trained if p in layers]
        optimizers.append(torch.optim.Muon(matrices, rate, decay, adjust_lr_fn="match_rms_adamw"))
    return optimizers


# -- one step in several parts ---------------------------------------------------------------------


def parts_of_step(
    dataset: Dataset, settings: LoopSettings, process: PartialState
) -> list[tuple[int, int]]:
    """The parts (number, of how many) of each step that this process reads."""
    parts = settings.accumulate * process.num_processes
    if parts > dataset.batch_size:
        raise ValueError(
            f"{dataset.batch_size} scenes a step cannot be shared out in {parts} parts"
        )
    return [(i, parts) for i in range(process.process_index, parts, process.num_processes)]


def draw_batches(
    dataset: Dataset,
    keys: Sequence[tuple[int, int, int]],
    workers: int | None,
    device: torch.device,
) -> Iterator[Batch]:
    """The data set's items in the order of ``keys``, drawn ahead by other processes for a GPU."""
    if workers is None:
        workers = min(8, (os.cpu_count() or 1) // 2) if device.type == "cuda" else 0
    if workers:  # a batch holds more tensors than a process may open files
        torch.multiprocessing.set_sharing_strategy("file_system")
    own = torch.Generator()  # the loader draws a seed from it: resuming stays exact
    return iter(
        DataLoader(dataset, batch_size=None, sampler=keys, num_workers=workers, generator=own)
    )


def weight_of(batch, reduction: str) -> int:
    """What a part of a step counts: its answers, or their tokens; its scenes if none is asked."""
    count = batch.answer_count if reduction == "sequence" else batch.answer_token_count
    return count or len(batch.scenes)


def mean_over_answers(trained: list[torch.nn.Parameter], sums: list[tuple[Tensor, int]]) -> float:
    """From the loss summed over the answers of each part, here and in other processes, to the mean:
    of loss and gradients.
    """
    total, weight = reduce(
        torch.tensor(sums, dtype=torch.float64, device=trained[0].device).sum(0), "sum"
    ).tolist()
    for p in trained:
        if p.grad is not None:
            p.grad = reduce(p.grad, "sum") / weight
    return total / weight
