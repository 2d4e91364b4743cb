"""The curves of a run: losses, minutes and validation scores, in a JSON file."""

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from leovl_mini.data.examples import Example
from leovl_mini.data.files import atomic_write
from leovl_mini.evaluate.run import predict, summarise
from leovl_mini.model.leovl import LeoVL
from leovl_mini.model.symbols import Symbols
from leovl_mini.scans.scene import InputError
from leovl_mini.tokens.base import SceneTokens
from leovl_mini.train.batches import to_device


def progress_file(out: Path) -> Path:
    return out.with_name(f"{out.stem}.progress.json")


class RunLog:
    """The curves of a run, in a JSON file: losses, minutes, and what ``score`` says of the model
    now and then. ``made``: by which command; a run that another command began is not continued
    (files are told apart by name only).
    """

    def __init__(self, file: Path, score: Callable[[LeoVL], dict], made: dict[str, str]):
        before = json.loads(file.read_text()) if file.exists() else {"scores": [], "minutes": 0.0}
        if other := [f"{before[k]}, now {v}" for k, v in made.items() if before.get(k, v) != v]:
            raise InputError(
                f"{file} is of another run ({'; '.join(other)}); take another --out, or remove file and checkpoint"
            )
        self.file, self.score, self.made = file, score, made
        self.scores, self.before, self.start = (
            before["scores"],
            before["minutes"],
            time.perf_counter(),
        )

    def minutes(self) -> float:
        """Also those before an interruption."""
        return round(self.before + (time.perf_counter() - self.start) / 60, 1)

    def watch(self, model: LeoVL, step: int) -> None:
        self.scores = [r for r in self.scores if r["step"] < step]
        self.scores.append({"step": step, "minutes": self.minutes(), **self.score(model)})
        self.write({})

    def write(self, note: dict) -> None:
        with atomic_write(self.file.parent) as partial:
            text = json.dumps(
                {**self.made, **note, "minutes": self.minutes(), "scores": self.scores}
            )
            (partial / self.file.name).write_text(text + "\n")


def scorer(
    examples: list[Example], shown: Callable[[str], SceneTokens | Symbols | None]
) -> Callable[[LeoVL], dict]:
    """{kind: score} of a model's answers to examples, whatever it is shown of their scenes; {}
    without examples.
    """
    scenes = {name: shown(name) for name in {e.scene for e in examples}}

    def score(model: LeoVL) -> dict:
        here = {name: scene and to_device(scene, model.device) for name, scene in scenes.items()}
        result = summarise(predict(model, here, examples), examples) if examples else {}
        return {kind: row["score"] for kind, row in result.items()}

    return score


def watched(
    examples: Iterable[Example], count: int, domain: str = "", kinds_left_out: tuple[str, ...] = ()
) -> list[Example]:
    """The short questions about so many rooms, of all domains."""
    some = [
        e
        for e in examples
        if e.task == "qa" and e.kind not in kinds_left_out and e.scene.startswith(domain)
    ]
    names = sorted(
        {e.scene for e in some}, key=lambda name: (int(name.split("_")[1].split("-")[0]), name)
    )[:count]
    return [e for e in some if e.scene in names]
