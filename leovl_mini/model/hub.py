"""Trained weights on disk: checkpoints of a run that can be resumed, and small files that travel
with the package.
"""

import hashlib
import json
from collections import defaultdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from leovl_mini.config import get_preset
from leovl_mini.data.files import atomic_write
from leovl_mini.data.samples import samples_folder
from leovl_mini.model.leovl import LeoVL
from leovl_mini.scans.scene import InputError


def weights_of(model: LeoVL) -> dict[str, Tensor]:
    """What a file must hold: all weights once (the output layer may share the table of words); of a
    model with LoRA, all but the frozen language model that the preset gives.
    """
    weights = {k: v.detach().contiguous() for k, v in model.state_dict().items()}
    if (
        model.language.get_output_embeddings().weight
        is model.language.get_input_embeddings().weight
    ):
        weights = {k: v for k, v in weights.items() if not k.endswith("lm_head.weight")}
    if model.lora and model.original:
        weights = {
            k: v for k, v in weights.items() if not k.startswith("language.") or ".lora_" in k
        }
    return weights


def save_checkpoint(
    file: Path, model: LeoVL, optimizers: list[torch.optim.Optimizer], history: list[float]
) -> None:
    """Weights, optimisers and the losses so far in one safetensors file, replaced at once."""
    tensors = {f"model.{k}": v for k, v in weights_of(model).items()}
    for optimizer in optimizers:
        for i, state in optimizer.state_dict()["state"].items():
            tensors |= {
                f"{type(optimizer).__name__}.{i}.{k}": v.detach().clone() for k, v in state.items()
            }
    with atomic_write(file.parent) as partial:
        save_file(tensors, partial / file.name, {"history": json.dumps(history)})


def restore(
    file: Path, model: LeoVL, optimizers: list[torch.optim.Optimizer] | None = None
) -> list[float]:
    """Load a checkpoint into a model (and its optimisers); returns the losses so far. A run can
    also start from finished weights, such as the package's, which are rounded to bfloat16 and have
    no past.
    """
    try:
        tensors = load_file(file)
    except SafetensorError as error:
        raise InputError(
            f"{file} is no checkpoint, or damaged ({error}); name one that leovl-mini train has written"
        ) from None
    if optimizers is None and not any(k.startswith("model.") for k in tensors):
        fill(model, weights_of(load_weights(file)), file)
        return []
    if optimizers and model.echo is not None and "model.echo" not in tensors:
        raise InputError(
            f"{file} is of an older version, whose nano heard no echo; it cannot be continued, name another file"
        )
    fill(
        model,
        {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")},
        file,
    )
    if optimizers and {k.split(".")[0] for k in tensors} - {"model"} != {
        type(optimizer).__name__ for optimizer in optimizers
    }:
        raise InputError(
            f"{file} was written by a run with another optimiser, and cannot be continued; name another file"
        )
    for optimizer in optimizers or []:
        state: dict[int, dict] = defaultdict(dict)
        for key in [k for k in tensors if k.startswith(f"{type(optimizer).__name__}.")]:
            _, index, name = key.split(".")
            state[int(index)][name] = tensors[key]
        optimizer.load_state_dict(
            {"state": dict(state), "param_groups": optimizer.state_dict()["param_groups"]}
        )
    with safe_open(file, "pt") as opened:
        return json.loads(opened.metadata()["history"])


def fill(model: LeoVL, tensors: dict[str, Tensor], file: Path) -> None:
    """Put tensors into a model; both must have the same names and shapes. Nano's older weights have
    no echo, see ``LeoVL``.
    """
    wanted = {k: v for k, v in weights_of(model).items() if k in tensors or k != "echo"}
    missing, left = set(wanted) - set(tensors), set(tensors) - set(wanted)
    wrong = {k for k in set(wanted) & set(tensors) if wanted[k].shape != tensors[k].shape}
    if wrong := wrong | missing | left:
        names = ", ".join(sorted(wrong)[:3])
        raise InputError(
            f"{file} does not fit this model ({len(wrong)} tensors differ, such as {names}); is it older?"
        )
    model.echo = model.echo if "echo" in tensors else None
    model.load_state_dict(tensors, strict=False)


def identity(model: LeoVL) -> dict[str, str]:
    """What weights belong to: preset, representation with its settings, channels of the encoder,
    the tokenizer's SHA-256; and an adapter's rank and language model.
    """
    settings = get_preset(model.preset)
    adapter = {
        "lora": str(model.lora),
        "lora base": settings["language"] if model.original else "in this file",
    }
    words = json.dumps(sorted(model.tokenizer.get_vocab().items())).encode()
    return {
        "preset": model.preset,
        "tokens": model.kind,
        "token settings": json.dumps(settings["tokens"].get(model.kind, {}), sort_keys=True),
        "encoder": f"{settings['encoder']} at {settings['longest_side']} pixels",
        "channels": str(model.channels),
        "tokenizer": hashlib.sha256(words).hexdigest(),
        **(adapter if model.lora else {}),
    }


def save_weights(model: LeoVL, file: Path, note: dict[str, str]) -> None:
    """Weights in bfloat16 with what they belong to, and a ``note`` (command, steps, minutes,
    hardware ...).
    """
    with atomic_write(file.parent) as partial:
        tensors = {k: v.bfloat16() for k, v in weights_of(model).items()}
        save_file(
            tensors,
            partial / file.name,
            {**identity(model), **{f"note {k}": v for k, v in note.items()}},
        )


def load_weights(file: str | Path, device: torch.device | str = "cpu") -> LeoVL:
    """The trained model of a file that ``save_weights`` wrote. Refused where tokenizer, preset or
    token settings have changed.
    """
    file = Path(file)
    if not file.is_file():
        raise InputError(f"{file} does not exist; trained weights are made with: leovl-mini train")
    try:
        with safe_open(file, "pt") as opened:
            about = opened.metadata() or {}
    except SafetensorError as error:
        raise InputError(f"{file} is damaged or no safetensors file ({error})") from None
    if not {"preset", "tokens", "channels"} <= set(about):
        raise InputError(
            f"{file} does not say what it belongs to; it was not written by leovl-mini train"
        )
    tensors = load_file(file)
    inner = len(tensors.get("projector.1.bias", ()))  # the width of its projector, once 256
    model = LeoVL(about["preset"], int(about["channels"]), tokens=about["tokens"], inner=inner)
    if "lora" in about:
        from leovl_mini.model.lora import add_lora

        model.original = model.original and about.get("lora base") != "in this file"
        add_lora(model, int(about["lora"]))
    changed = [k for k, v in identity(model).items() if about.get(k) != v]
    if changed:
        raise InputError(
            f"{file} was trained with another {', '.join(changed)}; train again, or use the version it came with"
        )
    fill(model, {k: v.float() for k, v in tensors.items()}, file)
    model.trained = True
    return model.to(device).eval()


def notes(file: str | Path) -> dict[str, str]:
    """The note of a file of weights."""
    with safe_open(Path(file), "pt") as opened:
        return {
            k.removeprefix("note "): v
            for k, v in opened.metadata().items()
            if k.startswith("note ")
        }


def shipped(name: str = "nano") -> Path:
    """The file of weights that travels with the package under this name; it may not exist."""
    return samples_folder() / "weights" / f"{name}.safetensors"


def ready_model(
    preset: str,
    channels: int,
    tokens: str = "grid",
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> LeoVL:
    """The trained model that travels with the package, where there is one for this preset and
    representation; else a new one.
    """
    if tokens == "grid" and shipped(preset).is_file():
        return load_weights(shipped(preset), device)
    return LeoVL(preset, channels, seed, tokens).to(device).eval()
