"""Stacks of two parcels, rendered in both orders by the same cameras: what the experiment on height
asks about.

LEO-VL shows no such test; stacks and cameras are our choice.

Explained in notebook 04 (voxels to grid).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from leovl_mini.perception.lift import Patches, lift
from leovl_mini.rooms.cameras import intrinsics, look_at
from leovl_mini.rooms.furniture import COLOURS, SMALL, WOOD
from leovl_mini.rooms.furniture.parts import box
from leovl_mini.rooms.layout import plan_areas
from leovl_mini.rooms.render import shoot
from leovl_mini.rooms.room import Room, empty_room
from leovl_mini.scans.scene import Object
from leovl_mini.tokens.base import group_mean, unique_cells

VOXEL = 0.2  # metres
VIEWS = 2  # pictures of each stack
SIZE = (160, 192)  # pixels; a parcel at 1.5 m is as large in them as in a room's at 3 m


@dataclass
class Stacks:
    """N stacks as pillars side by side: pillar 2i holds what two cameras saw of stack i, the first
    parcel on top; 2i + 1 swapped.

    ``pillars.segments`` is 1 for the first parcel, 2 for the second, 0 for what else is in the
    pillar.
    """

    pillars: Patches
    colours: Int64[Tensor, "N 2"]  # of the first and the second parcel, index into COLOURS


# -- from rooms to pillars -------------------------------------------------------------------------


def stacked_rooms(seed: int, index: int, colours: int = 8) -> tuple[list[Room], np.ndarray]:
    """The same room twice, first parcel on top and second on top, and the cameras (V,4,4) that look
    at both.
    """
    rng = np.random.default_rng((seed, index))
    paint = rng.choice(list(COLOURS)[:colours], 2, replace=False)
    sizes = rng.uniform(*SMALL["parcel"][1:], (2, 3))
    yaws = rng.uniform(0, math.pi, 2)
    x, y, base = rng.uniform([-0.4, -0.4, 0.05], [0.4, 0.4, 0.6]).tolist()

    rooms = []
    for upwards in ((1, 0), (0, 1)):
        other_rng = np.random.default_rng((seed, index, 1))
        areas = plan_areas(["bedroom"], other_rng)
        room = empty_room(100_000 * seed + index, areas, other_rng)
        room.walls.append(box(x, y, 0, 0.45, 0.45, base, WOOD))  # what the stack stands on
        bottom = base
        for i in upwards:
            size, colour = tuple(sizes[i].tolist()), {"colour": str(paint[i])}
            center = (x, y, bottom + size[2] / 2)
            room.add(Object(i + 1, "parcel", center, size, float(yaws[i]), colour))
            bottom += size[2]
        rooms.append(room)
    return rooms, cameras_around(np.array([x, y, base + sizes[:, 2].sum() / 2]), rng)


def cameras_around(target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Poses (V,4,4) of cameras at eye level that look at a point from sides far apart."""
    angle, poses = rng.uniform(0, 2 * math.pi), []
    for k in range(VIEWS):
        turn, distance, height = rng.uniform([-0.8, 1.0, 1.3], [0.8, 1.4, 1.6])
        direction = angle + 2 * math.pi * k / VIEWS + turn
        x, y = target[:2] + distance * np.array([math.cos(direction), math.sin(direction)])
        poses.append(look_at(np.array([x, y, height]), target + rng.uniform(-0.15, 0.15, 3)))
    return np.stack(poses).astype(np.float32)


@torch.no_grad()
def see_stacks(count: int, seed: int, encoder: nn.Module, colours: int = 8) -> Stacks:
    """Render, perceive and lift ``count`` stacks in both orders; of each keep the pillar that sees
    most of both parcels.

    Fewer ``colours`` are learnt from fewer stacks: a colour's height is read by as many numbers as
    a token has.
    """
    K, names, pillars, paint = intrinsics(SIZE, 60.0), list(COLOURS), [], []
    for index in range(count):
        rooms, poses = stacked_rooms(seed, index, colours)
        colour = {item.id: names.index(item.attributes["colour"]) for item in rooms[0].objects}
        paint.append([colour[1], colour[2]])

        shots = [shoot(room, K, poses, SIZE) for room in rooms]
        pictures = torch.from_numpy(np.concatenate([shot.rgb for shot in shots]))
        for shot, features in zip(shots, encoder(pictures).split(VIEWS), strict=True):
            camera = (shot.depth, np.tile(K, (VIEWS, 1, 1)), poses)
            masks = torch.from_numpy(shot.instances)
            patches = lift(features, *map(torch.from_numpy, camera), masks=masks)
            pillars.append(shared_pillar(patches))

    features, heights, segments = (torch.cat(column) for column in zip(*pillars, strict=True))
    sizes = torch.tensor([len(pillar[0]) for pillar in pillars])
    number = torch.arange(len(pillars)).repeat_interleave(sizes)
    return Stacks(side_by_side(features, number, heights, segments), torch.tensor(paint))


def shared_pillar(patches: Patches) -> tuple[Tensor, Tensor, Tensor]:
    """Features, heights and segments of the pillar that sees most of both parcels."""
    cells, pillar = unique_cells((patches.centers[:, :2] / VOXEL).floor().long())
    first, second = (
        torch.bincount(pillar[patches.segments == i], minlength=len(cells)) for i in (1, 2)
    )
    keep = pillar == torch.minimum(first, second).argmax()
    return patches.features[keep], patches.centers[keep, 2], patches.segments[keep]


# -- pillars by hand -------------------------------------------------------------------------------


def side_by_side(
    features: Float[Tensor, "P C"],
    number: Int64[Tensor, "P"],
    heights: Float[Tensor, "P"],
    segments: Int64[Tensor, "P"] | None = None,
) -> Patches:
    """Patches at their heights (metres), each in the pillar of its number."""
    centers = torch.stack([(number + 0.5) * VOXEL, torch.full_like(heights, VOXEL / 2), heights], 1)
    return Patches(features, centers, torch.zeros(len(features), 3, dtype=torch.long), 0, segments)


def parcels(stacks: Stacks) -> tuple[Float[Tensor, "N 2 2 C"], Float[Tensor, "N 2"]]:
    """Mean feature of (stack, order, parcel); and the mean heights (metres) of the lower and the
    upper parcel of each stack.
    """
    group = (stacks.pillars.centers[:, 0] / VOXEL).long() * 3 + stacks.pillars.segments
    rows = torch.cat([stacks.pillars.features, stacks.pillars.centers[:, 2:]], 1)
    mean = group_mean(rows, group, 6 * len(stacks.colours)).view(-1, 2, 3, rows.shape[1])[:, :, 1:]
    return mean[..., :-1], mean[..., -1].sort(-1).values.mean(1)


def pile(
    features: Float[Tensor, "N 2 2 C"],
    heights: Float[Tensor, "N 2"],
    clutter: Float[Tensor, "N n C"] | None = None,
    clutter_heights: Float[Tensor, "N n"] | None = None,
) -> Patches:
    """Pillars built by hand: in order 0 the first parcel gets the upper of two heights, in order 1
    the second one.

    With the same ``features`` in both orders nothing but the height tells them apart. ``clutter``
    is piled into both alike.
    """
    z = heights[:, [1, 0, 0, 1]].view(-1, 2, 2)
    if clutter is not None:
        features = torch.cat([features, clutter[:, None].expand(-1, 2, -1, -1)], 2)
        z = torch.cat([z, clutter_heights[:, None].expand(-1, 2, -1)], 2)
    number = torch.arange(2 * len(z)).repeat_interleave(z.shape[2])
    return side_by_side(features.flatten(0, 2), number, z.flatten())


def exchanged(features: Float[Tensor, "N 2 2 C"]) -> Float[Tensor, "N 2 2 C"]:
    """The mean over both orders, for both orders: what is left of a parcel when its picture cannot
    tell what lay above it.
    """
    return features.mean(1, keepdim=True).expand_as(features)
