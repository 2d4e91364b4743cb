"""Training: one loop for every stage. A stage is a model, lessons, a loss, and a number of steps."""

import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import reduce
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from leovl_mini.model.leovl import LeoVL
from leovl_mini.train.batches import Batch, SceneQADataset
from leovl_mini.train.checkpoints import load_checkpoint, save_checkpoint

# -- the loop --------------------------------------------------------------------------------------


def learning_rate(step: int, steps: int, warmup: int) -> float:
    """Share of the highest rate: a linear rise, then half a cosine down to a twentieth."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.05 + 0.475 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))


def train_steps(
    model: LeoVL,
    lessons: SceneQADataset,
    steps: int,
    loss: Callable[[LeoVL, Batch], Tensor],
    rate: float = 1e-3,
    warmup: int = 50,
    decay: float = 0.05,
    clip: float = 1.0,
    bf16: bool = False,
    accumulate: int = 1,
    checkpoint: Path | None = None,
    every: int = 200,
    quiet: bool = False,
    watch: Callable[[LeoVL, int], None] | None = None,
    per: str = "sequence",
    workers: int | None = None,
    muon: bool = False,
) -> list[float]:
    """AdamW with warm-up, cosine and clipping; returns the loss of every step. With ``checkpoint``
    it goes on where it stopped. ``muon``: and Muon, see ``optimizers_of``.

    ``bf16`` is for GPUs and for CPUs with AMX or AVX512-BF16; other CPUs are 5 to 10 times slower
    with it. ``accumulate``: the rooms of a step are read in so many parts, in less memory; under
    torchrun or accelerate launch each process reads its own. Answers (``per`` "token": their words)
    weigh the same whatever the parts; ratios inside a loss (``alignment_loss``) are those of each
    part. ``watch`` is called with the model and the number of steps done, ``every`` so many steps
    and at the end. ``workers``: so many processes draw the next batches while the model learns; by
    default none on a CPU, up to 8 for a GPU.
    """
    here, device = PartialState(cpu=not torch.cuda.is_available()), model.device
    if (parts := accumulate * here.num_processes) > lessons.rooms:
        raise ValueError(f"{lessons.rooms} rooms a step cannot be shared out in {parts} parts")
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizers = optimizers_of(model, rate, decay, muon)
    history = (
        load_checkpoint(checkpoint, model, optimizers) if checkpoint and checkpoint.exists() else []
    )
    quiet = quiet or not here.is_main_process
    mine = range(here.process_index, parts, here.num_processes)
    order = [(step, part, parts) for step in range(len(history), steps) for part in mine]
    if workers is None:
        workers = min(8, (os.cpu_count() or 1) // 2) if device.type == "cuda" else 0
    if workers:
        torch.multiprocessing.set_sharing_strategy(
            "file_system"
        )  # a batch holds more tensors than a process may open files
    draw = {
        "collate_fn": lambda key: lessons.batch(*key),
        "generator": torch.Generator(),
    }  # its own: resuming stays exact
    batches = iter(DataLoader(order, batch_size=None, num_workers=workers, **draw))
    bar = tqdm(
        range(len(history), steps),
        initial=len(history),
        total=steps,
        unit="step",
        disable=quiet,
        mininterval=5,
    )
    for step in bar:
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = rate * learning_rate(step, steps, warmup)
        torch.manual_seed(
            1_000_000 * lessons.seed + step
        )  # what a loss draws is the same after an interruption
        model.zero_grad()
        sums = []
        for _ in mine:
            batch = next(batches).to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                weight = batch.answers if per == "sequence" else batch.answer_words
                value = loss(model, batch) * weight
            value.backward()
            sums.append((value.detach(), weight))
        history.append(mean_over_answers(trained, sums))
        torch.nn.utils.clip_grad_norm_(trained, clip)
        for optimizer in optimizers:
            optimizer.step()
        bar.set_postfix_str(f"loss {np.mean(history[-50:]):.3f}", refresh=False)
        if here.is_main_process and ((step + 1) % every == 0 or step + 1 == steps):
            if checkpoint:
                save_checkpoint(checkpoint, model, optimizers, history)
            if watch:
                watch(model, step + 1)
                model.train()
    model.trained = True
    return history


def optimizers_of(
    model: LeoVL, rate: float, decay: float, muon: bool
) -> list[torch.optim.Optimizer]:
    """AdamW for everything that is trained, or, with ``muon``, for all but the matrices of linear
    layers. These then take Muon's steps, about as long in every direction (Keller Jordan 2024;
    altogether as long as AdamW's: Liu et al. 2025, arXiv 2502.16982).
    """
    head = model.language.get_output_embeddings()
    layers = (
        {m.weight for m in model.modules() if isinstance(m, nn.Linear) and m is not head}
        if muon
        else set()
    )
    trained = [p for p in model.parameters() if p.requires_grad]
    adamw = torch.optim.AdamW(
        [p for p in trained if p not in layers], rate, betas=(0.9, 0.99), weight_decay=decay
    )
    matrices = [p for p in trained if p in layers]
    return (
        [adamw, torch.optim.Muon(matrices, rate, decay, adjust_lr_fn="match_rms_adamw")]
        if muon
        else [adamw]
    )


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
