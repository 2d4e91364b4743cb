"""What a run leaves in its folder: ``checkpoint.safetensors`` to go on from exactly where it
stopped, ``run.json`` with settings and curves, and at the end the weights (``config.json``,
``model.safetensors``, ``README.md``, see model/hub.py).

Explained in notebook 07 (fine-tuning).
"""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

import leovl_mini
from leovl_mini.config import command_of, settings_of
from leovl_mini.data.examples import Example
from leovl_mini.data.files import atomic_write, hardware
from leovl_mini.evaluate.run import predict, summarise
from leovl_mini.model.hub import fill, weights_of
from leovl_mini.model.leovl import LeoVL
from leovl_mini.model.symbols import Symbols
from leovl_mini.scans.scene import InputError
from leovl_mini.tokens.base import SceneTokens
from leovl_mini.train.batches import to_device

CHECKPOINT, RUN = "checkpoint.safetensors", "run.json"


# -- settings and curves ---------------------------------------------------------------------------


def made_by(command: str, config: Any, **more: str) -> dict:
    """How something is made: the command with its settings, seed, hardware and versions."""
    return {
        "command": command_of(command, config),
        **more,
        "config": settings_of(config),
        "seed": config.seed,
        "hardware": hardware(),
        "versions": {
            "leovl-mini": leovl_mini.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }


class RunLog:
    """``run.json``: how a run was made (``made_by``), its losses, its minutes, and what ``score``
    says of the model now and then. A run that another command began is not continued.
    """

    def __init__(self, folder: Path, made: dict, score: Callable[[LeoVL], dict]):
        self.file, self.checkpoint = folder / RUN, folder / CHECKPOINT
        self.made, self.score = made, score
        self.scores, self.minutes_before, self.start = [], 0.0, time.perf_counter()
        if self.file.exists():
            before = json.loads(self.file.read_text())
            self.scores, self.minutes_before = before["scores"], before["minutes"]
            for key in ("command", "corpus"):
                if before.get(key) != made.get(key):
                    raise InputError(
                        f"{self.file} is of another run ({before.get(key)}, now "
                        f"{made.get(key)}); take another --out, or remove that folder"
                    )

    def has_begun(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return self.checkpoint.exists()

    def minutes(self) -> float:
        """Also those before an interruption."""
        return round(self.minutes_before + (time.perf_counter() - self.start) / 60, 1)

    def evaluate(self, model: LeoVL, step: int) -> None:
        self.scores = [row for row in self.scores if row["step"] < step]
        self.scores.append({"step": step, "minutes": self.minutes(), **self.score(model)})
        self.write()

    def write(self, **results: Any) -> None:
        content = {**self.made, **results, "minutes": self.minutes(), "scores": self.scores}
        with atomic_write(self.file.parent) as partial:
            (partial / RUN).write_text(json.dumps(content) + "\n")

    def finish(self, model: LeoVL, losses: list[float]) -> dict:
        """Write the trained weights and the last state of the curves; returns what is noted with
        the weights: how they were made, steps, minutes, and the mean loss of the last 50 steps.
        """
        last = losses[-50:]
        loss = round(sum(last) / len(last), 3)
        model.made = {
            **self.made,
            "steps": len(losses),
            "loss": loss,
            "minutes": self.minutes(),
        }
        model.save_pretrained(self.file.parent)
        self.write(steps=len(losses), loss=loss, losses=[round(v, 4) for v in losses])
        return model.made


def scorer(
    questions: list[Example], shown: Callable[[str], SceneTokens | Symbols | None]
) -> Callable[[LeoVL], dict]:
    """{kind: score} of a model's answers to questions, whatever it is shown of their scenes; {}
    without questions.
    """
    scenes = {name: shown(name) for name in {e.scene for e in questions}}

    def score(model: LeoVL) -> dict:
        here = {name: s and to_device(s, model.device) for name, s in scenes.items()}
        result = summarise(predict(model, here, questions), questions) if questions else {}
        return {kind: row["score"] for kind, row in result.items()}

    return score


def eval_subset(examples: Iterable[Example], scenes: int) -> list[Example]:
    """The short questions about so many scenes, of all domains."""
    questions = [e for e in examples if e.task == "qa"]
    names = {e.scene for e in questions}
    names = sorted(names, key=lambda name: (int(name.split("_")[1].split("-")[0]), name))[:scenes]
    return [e for e in questions if e.scene in names]


# -- checkpoints -----------------------------------------------------------------------------------


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
