"""Three bundled rooms as small scenes, and batches of them: what tests of training learn from."""

import dataclasses
import json

import torch

from leovl_mini.data.examples import Example, load_examples
from leovl_mini.data.samples import sample_room
from leovl_mini.model.leovl import LeoVL
from leovl_mini.scans.scene import Object
from leovl_mini.tokens.base import SceneInput, SceneTokens
from leovl_mini.train.batches import Batch, SceneQADataset
from leovl_mini.train.symbolic_batches import SymbolicQADataset

NAMES = ("scannet_2", "rscan_3", "multiscan_1")


def room_examples(name: str = "scannet_2") -> list[Example]:
    found = load_examples(sample_room(name) / "examples.jsonl")
    return [
        dataclasses.replace(e, scene=name, id=f"{name}/{e.id}")
        for e in found
        if e.task != "grounding"
    ]


def room_objects(name: str = "scannet_2") -> list[Object]:
    objects = json.loads((sample_room(name) / "scene.json").read_text())["objects"]
    return [Object.from_dict(o) for o in objects]


def fake_scene(name: str = "scannet_2") -> SceneInput:
    """The objects of a bundled room, with one token of 8 random features for each."""
    objects = room_objects(name)
    centers = torch.tensor([o.center for o in objects], dtype=torch.float32)
    features = torch.randn(len(objects), 8, generator=torch.Generator().manual_seed(len(objects)))
    ids = torch.tensor([[o.id, 0] for o in objects])
    tokens = SceneTokens(features, centers, torch.zeros(0, dtype=torch.long))
    return SceneInput(tokens, ids, objects, name)


def scenes_with_questions(model: LeoVL, **options) -> SceneQADataset:
    examples = [e for name in NAMES for e in room_examples(name)]
    small = {"batch_size": 2, "text_budget": 90}
    return SceneQADataset(model, fake_scene, examples, **small | options)


def symbolic_scenes(model: LeoVL, **options) -> SymbolicQADataset:
    examples = [e for name in NAMES for e in room_examples(name)]
    small = {"batch_size": 2, "text_budget": 90}
    return SymbolicQADataset(model, room_objects, examples, **small | options)


def batch_of(dataset, step: int = 0) -> Batch:
    """The whole batch of a step."""
    return dataset[step, 0, 1]


def texts_of(model: LeoVL, batch: Batch) -> list[list[str]]:
    """Every turn of every scene as text."""
    return [[model.tokenizer.decode(turn.ids) for turn in turns] for turns in batch.turns]
