"""Turning a room by quarters of a circle, and asking in other words."""

import dataclasses
import math
import re

import torch
from jaxtyping import Bool
from torch import Tensor

from leovl_mini.data.examples import Example
from leovl_mini.scans.scene import RELATIONS, Object
from leovl_mini.tokens.base import SceneTokens


def with_supports(ids: set[int], objects: list[Object]) -> set[int]:
    """Objects with what they lie on, under or inside, and with what lies there: otherwise answers
    would change.
    """
    for item in objects:
        holder = {int(item.attributes[r]) for r in RELATIONS if r in item.attributes}
        ids = ids | holder if item.id in ids else ids | {item.id} if holder & ids else ids
    return ids


# -- in other words --------------------------------------------------------------------------------

SHORT_PHRASES = {
    "existence": "Is there {a_thing}?",
    "count": "How many {things} are there?",
    "description": "What is in the room?",
}


def short_phrasing(example: Example) -> Example:
    """A question in the words that come to mind first. The rooms' own wordings are longer, and a
    nano that has never met the short ones misreads them.
    """
    if example.kind not in SHORT_PHRASES:
        return example
    question = SHORT_PHRASES[example.kind].format(**example.derivation.get("slots", {}))
    return dataclasses.replace(example, question=question, id=f"{example.id}, short")


# -- turning a room by quarters of a circle --------------------------------------------------------


def turned_point(point: tuple[float, ...] | list[float], quarters: int) -> list[float]:
    x, y, *rest = point
    for _ in range(quarters % 4):
        x, y = -y, x
    return [x + 0.0, y + 0.0, *rest]  # -0.0 becomes 0.0


def select(tokens: SceneTokens, kept: Bool[Tensor, "K"]) -> SceneTokens:
    """Some of the tokens. Representations that embed their patches' places (voxels) lose the
    patches of the others.
    """
    kept = kept.to(tokens.features.device)
    number = kept.cumsum(0) - 1
    source = torch.where(
        (tokens.source >= 0) & kept[tokens.source.clamp(min=0)],
        number[tokens.source.clamp(min=0)],
        -1,
    )
    return dataclasses.replace(
        tokens, features=tokens.features[kept], centers=tokens.centers[kept], source=source
    )


def turned_tokens(tokens: SceneTokens, quarters: int) -> SceneTokens:
    """The cells of a grid around the origin fall on cells, so the features stay what they are
    (LEO's augmentation).
    """
    if quarters == 0:
        return tokens
    turn = torch.tensor(
        [[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], device=tokens.centers.device
    ).matrix_power(quarters)
    points = None if tokens.points is None else tokens.points @ turn
    return dataclasses.replace(tokens, centers=tokens.centers @ turn, points=points)


def turned_object(item: Object, quarters: int) -> Object:
    return dataclasses.replace(
        item,
        center=tuple(turned_point(item.center, quarters)),
        yaw=item.yaw + quarters * math.pi / 2,
    )


def turned_example(example: Example, quarters: int) -> Example:
    """Poses, selected spots and coordinates turn; everything else that is said holds from every
    side.
    """
    if quarters == 0:
        return example
    position = None if example.position is None else turned_point(example.position, quarters)
    heading = None if example.heading is None else example.heading + quarters * math.pi / 2
    spot = None if example.spot is None else turned_point(example.spot, quarters)
    answers = (
        [turned_coordinates(a, quarters) for a in example.answers]
        if example.kind == "coordinates"
        else example.answers
    )
    return dataclasses.replace(
        example, position=position, heading=heading, spot=spot, answers=answers
    )


def turned_coordinates(answer: str, quarters: int) -> str:
    x, y = turned_point([float(v) for v in re.findall(r"-?\d+\.\d", answer)], quarters)
    return f"x {x:.1f}, y {y:.1f}"
