"""What an evaluation needs: questions, what the model is shown of their scenes, what is true."""

import dataclasses
import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from leovl_mini.data.examples import Example, SceneSource, load_examples
from leovl_mini.data.samples import samples_folder
from leovl_mini.evaluate.answers import SHORT
from leovl_mini.model.leovl import LeoVL
from leovl_mini.rooms.dataset import is_bundled
from leovl_mini.rooms.facts import SceneGraph
from leovl_mini.rooms.room import parse_name
from leovl_mini.scans.load import load_scene
from leovl_mini.scans.scene import InputError
from leovl_mini.tokens.base import SceneInput
from leovl_mini.tokens.cache import FeatureCache
from leovl_mini.tokens.pipeline import perceive


@dataclass
class EvalData:
    """Examples about scenes. ``scene_input`` gives the tokens of a scene by its name, ``graph``
    what is true in it (None where nobody knows); ``train_examples`` are what the majority baseline
    counts.
    """

    examples: list[Example]
    scene_input: Callable[[str], SceneInput]
    graph: Callable[[str], SceneGraph] | None = None
    train_examples: list[Example] = field(default_factory=list)


def load_eval_data(
    source: SceneSource | None = None,
    features: FeatureCache | None = None,
    split: str = "val",
    scenes: int = 200,
) -> EvalData:
    """The examples of a split about the first ``scenes`` scenes that have features; without a
    source, those about the unseen rooms that travel with the package.
    """
    if source is None:
        return load_samples()

    examples = [e for e in source.examples(split) if e.scene in features]
    examples = [e for e in examples if not is_bundled(e.scene)]
    # By their numbers, so that all domains take turns.
    names = sorted({e.scene for e in examples}, key=lambda n: (parse_name(n).number, n))[:scenes]
    graph = getattr(source, "graph", None)  # made rooms know what is true in them
    return EvalData(
        [e for e in examples if e.scene in names],
        features.scene,
        functools.cache(graph) if graph else None,
        train_questions(source),
    )


def train_questions(source: SceneSource) -> list[Example]:
    """Short questions of training; none where there is no such split, or its scans are missing."""
    try:
        return [e for e in source.examples("train") if e.task in SHORT]
    except InputError:
        return []


def load_samples() -> EvalData:
    folder = samples_folder() / "features"
    features = FeatureCache(folder)
    areas = json.loads(next(iter(features.files.values())).metadata()["areas"])

    @functools.cache
    def graph(name: str) -> SceneGraph:
        return SceneGraph.from_json({"objects": features.objects[name], "areas": areas[name]})

    return EvalData(
        list(load_examples(folder / "val.jsonl")),
        features.scene,
        graph,
        [e for e in load_examples(folder / "train.jsonl") if e.task in SHORT],
    )


def load_bundled_rooms(model: LeoVL) -> EvalData:
    """The bundled rooms, perceived as ``model`` needs it when they are first asked for; no weights
    of the package have learned from them.
    """
    rooms = samples_folder() / "rooms"

    @functools.cache
    def scene_input(name: str) -> SceneInput:
        return perceive(load_scene(rooms / name), model.representation, preset=model.preset)

    @functools.cache
    def graph(name: str) -> SceneGraph:
        return SceneGraph.from_json(json.loads((rooms / name / "scene.json").read_text()))

    examples = [
        dataclasses.replace(example, scene=folder.name)
        for folder in sorted(rooms.iterdir())
        for example in load_examples(folder / "examples.jsonl")
    ]
    return EvalData(examples, scene_input, graph)
