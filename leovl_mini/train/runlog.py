"""What a run leaves in its folder: ``checkpoint.safetensors`` to go on from (checkpoints.py),
``run.json`` with settings and curves, and at the end the weights (``config.json``,
``model.safetensors``, ``README.md``, see model/hub.py).

Explained in notebook 07 (fine-tuning).
"""

import json
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from leovl_mini.config import command_of, settings_of
from leovl_mini.data.examples import Example
from leovl_mini.data.files import hardware, write_json
from leovl_mini.evaluate.run import predict, summarise
from leovl_mini.model.leovl import LeoVL
from leovl_mini.model.symbols import Symbols
from leovl_mini.rooms.room import parse_name
from leovl_mini.scans.scene import InputError
from leovl_mini.tokens.base import SceneTokens
from leovl_mini.train.batches import to_device
from leovl_mini.train.checkpoints import CHECKPOINT

RUN = "run.json"


def made_by(command: str, config: Any, **more: str) -> dict:
    """How something is made: the command with its settings, seed, hardware and versions."""
    return {
        "command": command_of(command, config),
        **more,
        "config": settings_of(config),
        "seed": config.seed,
        "hardware": hardware(),
        "versions": {name: version(name) for name in ("leovl-mini", "torch", "transformers")},
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
        write_json(self.file, content)

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
        moved = {name: s and to_device(s, model.device) for name, s in scenes.items()}
        result = summarise(predict(model, moved, questions), questions) if questions else {}
        return {kind: row["score"] for kind, row in result.items()}

    return score


def eval_subset(examples: Iterable[Example], scenes: int) -> list[Example]:
    """The short questions about so many scenes, of all domains."""
    questions = [e for e in examples if e.task == "qa"]
    names = {e.scene for e in questions}
    names = sorted(names, key=lambda name: (parse_name(name).number, name))[:scenes]
    return [e for e in questions if e.scene in names]
