"""What height RoPE keeps: two stacked parcels, and ONE pillar token that shall tell which colour is
on top.

Every stack is rendered in both orders by the same cameras, so guessing is right half of the time.
LEO-VL shows no such test: stacks, probe and sweeps are our choice. ``leovl-mini reproduce height``
measures everything.
"""

import dataclasses
import math
import os
import time
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from leovl_mini.config import HeightConfig, command_of
from leovl_mini.perception.encoders import load_encoder
from leovl_mini.perception.lift import Patches, lift
from leovl_mini.rooms.furniture import COLOURS, SMALL, WOOD
from leovl_mini.rooms.layout import empty_room
from leovl_mini.rooms.parts import box
from leovl_mini.rooms.render import intrinsics, look_at, shoot
from leovl_mini.rooms.room import Room
from leovl_mini.scans.scene import Object
from leovl_mini.tokens.base import group_mean, unique_cells
from leovl_mini.tokens.grid import CondensedGrid
from leovl_mini.tokens.positions import height_rope
from leovl_mini.tokens.voxels import voxelise

VOXEL, VIEWS, SIZE = (
    0.2,
    2,
    (160, 192),
)  # m; pictures; pixels, a parcel at 1.5 m is as large in them as in a room's at 3 m


READERS = {
    f"{height}, {pool}": (height, pool) for pool in ("mean", "max") for height in ("rope", "none")
}


GAPS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 1.0, 1.5, 2.0)  # m from the lower to the upper thing


CLUTTER = (0, 1, 2, 4, 6, 8)  # other things in the same pillar


WAVELENGTHS = (0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1.2, 1.6, 3.2, 6.4, 12.8, 25.6, 64.0)  # m


APART = 0.4  # m between the two things where something else is varied


@dataclass
class Stacks:
    """N stacks as pillars side by side: pillar 2i holds what two cameras saw of stack i, the first
    parcel on top; 2i + 1 swapped.

    ``pillars.segments`` is 1 for the first parcel, 2 for the second, 0 for what else is in the
    pillar.
    """

    pillars: Patches
    colours: Int64[Tensor, "N 2"]  # of the first and the second parcel, index into COLOURS


def stacked_rooms(seed: int, index: int, colours: int = 8) -> tuple[list[Room], np.ndarray]:
    """The same room twice, first parcel on top and second on top, and the cameras (V,4,4) that look
    at both.
    """
    rng = np.random.default_rng((seed, index))
    paint, sizes = (
        rng.choice(list(COLOURS)[:colours], 2, replace=False),
        rng.uniform(*SMALL["parcel"][1:], (2, 3)),
    )
    yaws, (x, y, base) = (
        rng.uniform(0, math.pi, 2),
        rng.uniform([-0.4, -0.4, 0.05], [0.4, 0.4, 0.6]),
    )
    angle, middle, rooms = (
        rng.uniform(0, 2 * math.pi),
        np.array([x, y, base + sizes[:, 2].sum() / 2]),
        [],
    )
    for upwards in ((1, 0), (0, 1)):
        room, z = (
            empty_room(
                100_000 * seed + index, ["bedroom"], np.random.default_rng((seed, index, 1)), False
            ),
            base,
        )
        room.walls.append(box(x, y, 0, 0.45, 0.45, base, WOOD))  # what the stack stands on
        for i in upwards:
            width, depth, height = sizes[i].tolist()
            center = (float(x), float(y), float(z + height / 2))
            room.add(
                Object(
                    i + 1,
                    "parcel",
                    center,
                    (width, depth, height),
                    float(yaws[i]),
                    {"colour": str(paint[i])},
                )
            )
            z += height
        rooms.append(room)
    poses = []
    for k in range(VIEWS):  # from two sides
        turn, far, eye = rng.uniform([-0.8, 1.0, 1.3], [0.8, 1.4, 1.6])
        direction = angle + 2 * math.pi * k / VIEWS + turn
        stand = np.array([x + far * math.cos(direction), y + far * math.sin(direction), eye])
        poses.append(look_at(stand, middle + rng.uniform(-0.15, 0.15, 3)))
    return rooms, np.stack(poses).astype(np.float32)


@torch.no_grad()
def see_stacks(count: int, seed: int, encoder: nn.Module, colours: int = 8) -> Stacks:
    """Render, perceive and lift ``count`` stacks in both orders; of each keep the pillar that sees
    most of both parcels.

    Fewer ``colours`` are learnt from fewer stacks: a colour's height is read by as many numbers as
    a token has.
    """
    K, kept, paint, threads = intrinsics(SIZE, 60.0), [], [], torch.get_num_threads()
    torch.set_num_threads(
        1
    )  # pictures this small gain nothing from a second core, and lose much where it is busy
    for index in range(count):
        rooms, poses = stacked_rooms(seed, index, colours)
        names = {item.id: item.attributes["colour"] for item in rooms[0].objects}
        paint.append([list(COLOURS).index(names[i]) for i in (1, 2)])
        shots = [shoot(room, K, poses, SIZE) for room in rooms]
        maps = encoder(torch.from_numpy(np.concatenate([shot.rgb for shot in shots]))).split(VIEWS)
        for shot, features in zip(shots, maps, strict=True):
            seen = (torch.from_numpy(x) for x in (shot.depth, np.tile(K, (VIEWS, 1, 1)), poses))
            patches = lift(features, *seen, masks=torch.from_numpy(shot.instances))
            cells, pillar = unique_cells((patches.centers[:, :2] / VOXEL).floor().long())
            of_each = torch.stack(
                [
                    torch.bincount(pillar[patches.segments == i], minlength=len(cells))
                    for i in (1, 2)
                ]
            )
            keep = pillar == of_each.amin(0).argmax()
            kept.append((patches.features[keep], patches.centers[keep, 2], patches.segments[keep]))
    torch.set_num_threads(threads)
    features, heights, segments = (torch.cat(column) for column in zip(*kept, strict=True))
    number = torch.arange(len(kept)).repeat_interleave(torch.tensor([len(k[0]) for k in kept]))
    return Stacks(side_by_side(features, number, heights, segments), torch.tensor(paint))


def side_by_side(
    features: Float[Tensor, "P C"],
    number: Int64[Tensor, "P"],
    heights: Float[Tensor, "P"],
    segments=None,
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
    return side_by_side(
        features.flatten(0, 2), torch.arange(2 * len(z)).repeat_interleave(z.shape[2]), z.flatten()
    )


@torch.no_grad()
def tokens(
    pillars: Patches, height: str = "rope", pool: str = "mean", wavelength: float | None = None
) -> Float[Tensor, "N 2 C"]:
    """One token per pillar, before the horizontal embedding. ``wavelength`` (metres) turns all
    channels alike instead.
    """
    voxels = voxelise(pillars, VOXEL)
    if wavelength:
        turned = height_rope(
            voxels.features, (voxels.cells[:, 2] + 0.5) * VOXEL, (wavelength, wavelength)
        )
        voxels, height = dataclasses.replace(voxels, features=turned), "none"
    pooled = CondensedGrid(pillars.features.shape[1], VOXEL, height=height, pool=pool).condense(
        voxels
    )[0]
    return pooled.view(-1, 2, pooled.shape[1])


def answers(
    token: Float[Tensor, "N 2 C"],
    colours: Int64[Tensor, "N 2"],
    folds: Int64[Tensor, "N"],
    ridge: float = 1.0,
) -> Float[Tensor, "N"]:
    """Share of right answers for each stack, by a linear probe that was fitted to the other folds
    only.

    The probe learns one direction w_c per colour, "how high is c": the first parcel is on top if
    (w_first - w_second) . token > 0. It is ridge regression of +1 and -1, solved in its kernel
    form; ``ridge`` is relative to the kernel's mean diagonal.
    """
    sides = F.one_hot(colours[:, 0], len(COLOURS)) - F.one_hot(colours[:, 1], len(COLOURS))
    x, sides = token.double().flatten(0, 1), sides.double().repeat_interleave(2, 0)
    truth, fold, right = (
        torch.tensor([1.0, -1.0]).double().repeat(len(token)),
        folds.repeat_interleave(2),
        torch.zeros(len(x)),
    )
    for k in folds.unique():
        fit = fold != k
        z = (x - x[fit].mean(0)) / x[fit].std(0).clamp(min=1e-6)
        kernel = (z @ z[fit].T) * (sides @ sides[fit].T)
        scale = kernel[fit].diagonal().mean().clamp(min=1e-9)
        score = kernel @ torch.linalg.solve(
            kernel[fit] + ridge * scale * torch.eye(int(fit.sum())).double(), truth[fit]
        )
        right[~fit] = (0.5 + 0.5 * (score * truth).sign()).float()[
            ~fit
        ]  # no preference counts as half right
    return right.view(-1, 2).mean(1)


def interval(right: Float[Tensor, "N"], seed: int = 0) -> tuple[float, float, float]:
    """Mean, and its 95 % bootstrap interval over stacks (the two orders of a stack are not
    independent).
    """
    draw = torch.randint(
        len(right), (2000, len(right)), generator=torch.Generator().manual_seed(seed)
    )
    return (
        float(right.mean()),
        *torch.quantile(right[draw].mean(1), torch.tensor([0.025, 0.975])).tolist(),
    )


def compare(stacks: Stacks) -> dict[tuple[str, str], dict[str, Tensor]]:
    """Right answers (N,) of every reader on three kinds of pillars, for new stacks and for colour
    pairs that were never fitted.

    "as seen": the pillar itself. "one voxel each": nothing in it but a mean feature of each parcel,
    from the picture of that order. "exchanged": the mean features of both pictures, so the very
    same numbers at exchanged heights.
    """
    features, heights = parcels(stacks)
    kinds = {
        "as seen": stacks.pillars,
        "one voxel each": pile(features, heights),
        "exchanged": pile(exchanged(features), heights),
    }
    folds = {
        "new stacks": torch.arange(len(heights)) % 4,
        "new colour pairs": stacks.colours[:, 0] ^ stacks.colours[:, 1],
    }
    return {
        (kind, reader): {
            name: answers(tokens(pillars, *how), stacks.colours, fold)
            for name, fold in folds.items()
        }
        for kind, pillars in kinds.items()
        for reader, how in READERS.items()
    }


def exchanged(features: Float[Tensor, "N 2 2 C"]) -> Float[Tensor, "N 2 2 C"]:
    """The mean over both orders, for both orders: what is left of a parcel when its picture cannot
    tell what lay above it.
    """
    return features.mean(1, keepdim=True).expand_as(features)


def sweeps(stacks: Stacks, seed: int = 0) -> dict[str, dict[str, list[tuple[float, Tensor]]]]:
    """Where it fails: right answers (N,) on exchanged features against height difference, clutter
    and a single wavelength.
    """
    features, generator = exchanged(parcels(stacks)[0]), torch.Generator().manual_seed(seed)
    folds, n = torch.arange(len(features)) % 4, len(features)
    base = 0.2 + 0.6 * torch.rand(n, generator=generator)

    def right(low: Tensor, gap: float, *clutter: Tensor, **how) -> Tensor:
        return answers(
            tokens(pile(features, torch.stack([low, low + gap], 1), *clutter), **how),
            stacks.colours,
            folds,
        )

    found = {
        "height difference (m)": {
            reader: [(gap, right(base, gap, height=how[0], pool=how[1])) for gap in GAPS]
            for reader, how in READERS.items()
        }
    }
    # clutter: parcels of other stacks and other colours, in voxels below 2.6 m that the two leave
    # free
    others = (stacks.colours[:, None, None] != stacks.colours[None, :, :, None]).all(-1) & (
        folds[:, None, None] == folds[None, :, None]
    )
    order = (others.flatten(1).float() * torch.rand(n, 2 * n, generator=generator)).argsort(
        1, descending=True
    )
    free = torch.rand(n, 13, generator=generator)
    free.scatter_(1, (torch.stack([base, base + APART], 1) / VOXEL).long(), -1)
    pool = features[:, 0].flatten(0, 1)
    found["other things in the pillar"] = {
        f"rope, {name}": [
            (
                k,
                right(
                    base,
                    APART,
                    pool[order[:, :k]],
                    (free.topk(k, 1).indices + 0.5) * VOXEL,
                    pool=name,
                ),
            )
            for k in CLUTTER
        ]
        for name in ("mean", "max")
    }
    found["the only wavelength (m)"] = {
        "all stacks at one height": [
            (w, right(torch.full_like(base, 0.3), APART, wavelength=w)) for w in WAVELENGTHS
        ],
        "stacks at all heights": [(w, right(base, APART, wavelength=w)) for w in WAVELENGTHS],
    }
    return found


def table(found: dict, curves: dict) -> str:
    """What ``compare`` and ``sweeps`` found, as Markdown: percent right, with 95 % intervals."""
    text = ["| pillar | reader | new stacks | new colour pairs |", "| --- | --- | ---: | ---: |"]
    for names, rights in found.items():
        shares = ["{:.1%} ({:.1%} to {:.1%})".format(*interval(right)) for right in rights.values()]
        text.append(f"| {' | '.join([*names, *shares])} |")
    for what, lines in curves.items():
        text += ["", f"| {' | '.join([what, *lines])} |", "| ---: |" + " ---: |" * len(lines)]
        for row in zip(*lines.values(), strict=True):
            text.append(
                f"| {row[0][0]:g} | " + " | ".join(f"{right.mean():.1%}" for _, right in row) + " |"
            )
    return "\n".join(text) + "\n"


def reproduce(config: HeightConfig) -> str:
    """``leovl-mini reproduce height``: measure everything, as Markdown."""
    start = time.perf_counter()
    stacks = see_stacks(config.stacks, config.seed, load_encoder(longest_side=max(SIZE)))
    measured = table(compare(stacks), sweeps(stacks, config.seed))
    minutes = (time.perf_counter() - start) / 60
    report = f"""### Which of two stacked parcels is on top? Percent right, from one pillar token

`{command_of("reproduce height", config)}`: {config.stacks} stacks in both orders,
encoder of preset nano at {max(SIZE)} pixels, {os.cpu_count()} CPU cores, {minutes:.1f} minutes.
Guessing: 50 %. In brackets: 95 % bootstrap interval over stacks.

{measured}"""
    if config.write:
        config.write.write_text(report)
    return report
