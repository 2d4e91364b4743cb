"""Augmentation: a scene turned by quarters of a circle (LEO's), with fewer tokens of background;
and a question in its shortest phrasing.

Explained in notebook 07 (fine-tuning).
"""

import dataclasses
import math
import re

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from leovl_mini.data.examples import Example
from leovl_mini.scans.scene import Object
from leovl_mini.tokens.base import SceneInput, SceneTokens

# -- scenes ----------------------------------------------------------------------------------------


def augment(
    scene: SceneInput, quarters: int, background: float, rng: np.random.Generator
) -> SceneInput:
    """A scene turned by ``quarters`` of a circle. Of the tokens without objects, only floor and
    wall, a random share ``background`` is kept: they cost much and teach little.
    """
    kept = torch.from_numpy(rng.random(len(scene)) < background) | scene.object_ids.any(1)
    tokens = turned_tokens(select(scene.tokens, kept), quarters)
    objects = [turned_object(item, quarters) for item in scene.objects]
    return SceneInput(tokens, scene.object_ids[kept], objects, scene.name)


def select(tokens: SceneTokens, kept: Bool[Tensor, "K"]) -> SceneTokens:
    """Some of the tokens. Representations that embed their patches' places (voxels) lose the
    patches of the others.
    """
    kept = kept.to(tokens.features.device)
    number, token = kept.cumsum(0) - 1, tokens.source.clamp(min=0)
    source = torch.where((tokens.source >= 0) & kept[token], number[token], -1)
    return dataclasses.replace(
        tokens, features=tokens.features[kept], centers=tokens.centers[kept], source=source
    )


def turned_tokens(tokens: SceneTokens, quarters: int) -> SceneTokens:
    """The cells of a grid around the origin fall on cells, so the features stay what they are."""
    if quarters == 0:
        return tokens
    turn = torch.tensor(
        [[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], device=tokens.centers.device
    ).matrix_power(quarters)
    points = None if tokens.points is None else tokens.points @ turn
    return dataclasses.replace(tokens, centers=tokens.centers @ turn, points=points)


def turned_object(item: Object, quarters: int) -> Object:
    center = tuple(turned_point(item.center, quarters))
    return dataclasses.replace(item, center=center, yaw=item.yaw + quarters * math.pi / 2)


def turned_point(point: tuple[float, ...] | list[float], quarters: int) -> list[float]:
    """A point (x, y) or (x, y, z) in metres, turned around the z axis."""
    x, y, *rest = point
    for _ in range(quarters % 4):
        x, y = -y, x
    return [x + 0.0, y + 0.0, *rest]  # -0.0 becomes 0.0


# -- questions -------------------------------------------------------------------------------------


def turned_example(example: Example, quarters: int) -> Example:
    """Poses, selected points and coordinates turn with the scene; everything else that is said
    holds from every side.
    """
    if quarters == 0:
        return example
    position, heading, spot = example.position, example.heading, example.spot
    answers = example.answers
    if example.kind == "coordinates":
        answers = [turned_coordinates(answer, quarters) for answer in answers]
    return dataclasses.replace(
        example,
        position=None if position is None else turned_point(position, quarters),
        heading=None if heading is None else heading + quarters * math.pi / 2,
        spot=None if spot is None else turned_point(spot, quarters),
        answers=answers,
    )


def turned_coordinates(answer: str, quarters: int) -> str:
    x, y = turned_point([float(v) for v in re.findall(r"-?\d+\.\d", answer)], quarters)
    return f"x {x:.1f}, y {y:.1f}"


SHORT_PHRASES = {
    "existence": "Is there {a_thing}?",
    "count": "How many {things} are there?",
    "description": "What is in the room?",
}


def short_phrasing(example: Example) -> Example:
    """A question in the words that come to mind first, where there are such. The rooms' own
    wordings are longer, and a nano that has never met the short ones misreads them.
    """
    phrase, slots = SHORT_PHRASES.get(example.kind, ""), example.derivation.get("slots", {})
    if not phrase or ("{" in phrase and not slots):
        return example
    question = phrase.format(**slots)
    return dataclasses.replace(example, question=question, id=f"{example.id}, short")
