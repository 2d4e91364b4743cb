"""What is asked about a scene: ``Example``, and ``SceneSource``, the seam between scenes with their
questions and everything that learns from them or is scored on them.

Explained in notebook 01 (RGB-D frames and cameras).
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from leovl_mini.scans.scene import Scene

TASKS = ("object captioning", "scene captioning", "qa", "planning", "dialogue", "grounding")


@dataclass
class Example:
    """One question with its answer, from a known-answer room or a published annotation file.

    ``scene`` names the scene; ``answers`` are all accepted answers, the preferred one first.
    ``position`` (3,) metres and ``heading`` (radians from +x towards +y) are the situation's pose
    (SQA3D), in the world of the loaded scene; ``spot`` (3,) metres is a selected point on an object
    (object captioning); ``history`` holds the earlier (question, answer) turns of a dialogue;
    ``targets`` are the object ids that grounding must find. ``derivation`` says how the answer
    follows from the scene.
    """

    id: str
    scene: str
    task: str  # one of TASKS
    kind: str  # the kind of question inside the task, such as "count"
    question: str
    answers: list[str]
    situation: str = ""
    position: list[float] | None = None
    heading: float | None = None
    spot: list[float] | None = None
    history: list[list[str]] = field(default_factory=list)
    targets: list[int] | None = None
    derivation: dict = field(default_factory=dict)


@runtime_checkable
class SceneSource(Protocol):
    """Scenes with what is asked about them: the seam between data and all that learns or scores.

    Made rooms (``rooms.dataset.RoomDataset``) fill it, and so do published benchmarks
    (``data.benchmarks.Benchmark``): what trains on the one trains on the other. A split is a name
    such as train, val or test; a source raises ``InputError`` for one that it does not have, in a
    sentence that lists those it has, and for a scene that it does not have.
    """

    def names(self, split: str = "") -> list[str]:
        """The scenes of a split, each once; without a split, all of them."""

    def scene(self, name: str) -> Scene:
        """The posed RGB-D frames of a scene, read or rendered at every call."""

    def examples(self, split: str) -> Iterable[Example]:
        """What is asked about the scenes of a split: ``example.scene`` is in ``names(split)``."""


def dumps(example: Example) -> str:
    """One line of JSON without the fields that hold nothing."""
    full = dataclasses.asdict(example)
    kept = {
        k: v for k, v in full.items() if v not in (None, "", [], {}) or k in ("question", "answers")
    }
    return json.dumps(kept, ensure_ascii=False)


def save_examples(examples: Iterable[Example], path: Path) -> None:
    """Write one example per line."""
    path.write_bytes("".join(dumps(example) + "\n" for example in examples).encode())


def load_examples(path: Path) -> Iterator[Example]:
    """Read one example per line, lazily."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield Example(**json.loads(line))
