"""Checkpoints: everything a run needs to go on exactly where it stopped, in one safetensors file."""

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


def save_checkpoint(
    file: Path, model: LeoVL, optimizers: list[torch.optim.Optimizer], history: list[float]
) -> None:
    """Weights, optimisers and the losses so far in one safetensors file, replaced at once."""
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
    if optimizers and model.is_nano and not {"token_shift", "echo"} & set(weights):
        raise InputError(
            f"{file} is of an older nano without token shift, to whose weights the optimisers' states "
            "belong; it cannot be continued, name another file"
        )
    fill(model, weights, file)
    names = {k.split(".")[0] for k in tensors} - {"model"}
    if optimizers and names != {type(optimizer).__name__ for optimizer in optimizers}:
        raise InputError(
            f"{file} was written by a run with another optimiser, and cannot be continued; "
            "name another file"
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
    """Begin with weights made before: a checkpoint, or anything ``LeoVL.from_pretrained`` takes."""
    path = Path(start)
    if path.is_file():
        with safe_open(path, "pt") as opened:
            if any(key.startswith("model.") for key in opened.keys()):
                load_checkpoint(path, model)
                return
    fill(model, weights_of(LeoVL.from_pretrained(start)), path)
