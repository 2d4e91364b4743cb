"""Checkpoints: everything a run needs to go on exactly where it stopped, in one safetensors file.

Explained in notebook 07 (fine-tuning).
"""

import json
from collections import defaultdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from leovl_mini.data.files import atomic_write
from leovl_mini.model.hub import fill, weights_of
from leovl_mini.model.leovl import LeoVL
from leovl_mini.scans.scene import InputError

CHECKPOINT = "checkpoint.safetensors"


def save_checkpoint(
    file: Path, model: LeoVL, optimizers: list[torch.optim.Optimizer], history: list[float]
) -> None:
    """Weights, optimisers and the losses so far in one file, replaced at once.

    Nothing else has a state: batches, rate and random numbers depend on the step alone. (accelerate
    has ``save_state``; it keeps optimisers and random states as pickles, which can run code.)
    """
    tensors = {f"model.{k}": v for k, v in weights_of(model).items()}
    for optimizer in optimizers:
        name = type(optimizer).__name__
        for i, state in optimizer.state_dict()["state"].items():
            tensors |= {f"{name}.{i}.{k}": v.detach().clone() for k, v in state.items()}
    with atomic_write(file.parent) as partial:
        save_file(tensors, partial / file.name, {"history": json.dumps(history)})


def load_checkpoint(
    file: Path, model: LeoVL, optimizers: list[torch.optim.Optimizer] | None = None
) -> list[float]:
    """Load a checkpoint into a model (and its optimisers); returns the losses so far."""
    try:
        tensors = load_file(file)
    except SafetensorError as error:
        raise InputError(
            f"{file} is no checkpoint, or damaged ({error}); "
            "name one that leovl-mini train has written"
        ) from None
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    if optimizers and model.token_shift is not None and not {"token_shift", "echo"} & set(weights):
        raise InputError(
            f"{file} is of an older nano without token shift, to whose weights the optimisers' "
            "states belong; it cannot be continued, name another folder"
        )
    fill(model, weights, file)
    names = {k.split(".")[0] for k in tensors} - {"model"}
    if optimizers and names != {type(optimizer).__name__ for optimizer in optimizers}:
        raise InputError(
            f"{file} was written by a run with another optimiser, and cannot be continued; "
            "name another folder"
        )
    for optimizer in optimizers or []:
        state: dict[int, dict] = defaultdict(dict)
        for key in [k for k in tensors if k.startswith(f"{type(optimizer).__name__}.")]:
            _, index, name = key.split(".")
            state[int(index)][name] = tensors[key]
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": dict(state), "param_groups": groups})
    with safe_open(file, "pt") as opened:
        return json.loads(opened.metadata()["history"])


def start_from(model: LeoVL, start: str | Path) -> None:
    """Begin with weights made before: a run (its checkpoint, which is not rounded), a checkpoint,
    or anything ``LeoVL.from_pretrained`` takes.
    """
    path = Path(start)
    if (path / CHECKPOINT).is_file():
        path = path / CHECKPOINT
    if path.is_file() and is_checkpoint(path):
        load_checkpoint(path, model)
    else:
        fill(model, weights_of(LeoVL.from_pretrained(start)), path)


def is_checkpoint(file: Path) -> bool:
    try:
        with safe_open(file, "pt") as opened:
            return any(key.startswith("model.") for key in opened.keys())
    except SafetensorError:
        return True  # damaged, as reading it will say
