"""What height RoPE keeps: two stacked parcels, and ONE pillar token that shall tell which colour is
on top.

Every stack is rendered in both orders by the same cameras, so guessing is right half of the time.
LEO-VL shows no such test: stacks, probe and sweeps are our choice.

Explained in notebook 04 (voxels to grid).
"""

import dataclasses
import time

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from leovl_mini.config import HeightConfig, command_of
from leovl_mini.data.files import hardware
from leovl_mini.evaluate.intervals import clustered_bootstrap
from leovl_mini.experiments.stacks import SIZE, VOXEL, Stacks, exchanged, parcels, pile, see_stacks
from leovl_mini.perception.encoders import load_encoder
from leovl_mini.perception.lift import Patches
from leovl_mini.rooms.furniture import COLOURS
from leovl_mini.tokens.grid import CondensedGrid
from leovl_mini.tokens.positions import height_rope
from leovl_mini.tokens.voxels import voxelise

# What is compared: how heights are written into a pillar's voxels, and how these are pooled.
READERS = {
    f"{height}, {pool}": {"height": height, "pool": pool}
    for pool in ("mean", "max")
    for height in ("rope", "none")
}

GAPS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 1.0, 1.5, 2.0)  # m from the lower to the upper thing
CLUTTER = (0, 1, 2, 4, 6, 8)  # other things in the same pillar
WAVELENGTHS = (0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1.2, 1.6, 3.2, 6.4, 12.8, 25.6, 64.0)  # m
APART = 0.4  # m between the two things where something else is varied

TITLE = "### Which of two stacked parcels is on top? Percent right, from one pillar token"

Curves = dict[str, dict[str, list[tuple[float, Tensor]]]]  # {axis: {line: (value, right (N,))}}


# -- from a pillar to an answer --------------------------------------------------------------------


@torch.no_grad()
def tokens(
    pillars: Patches, height: str = "rope", pool: str = "mean", wavelength: float | None = None
) -> Float[Tensor, "N 2 C"]:
    """One token per pillar, before the horizontal embedding. ``wavelength`` (metres) turns all
    channels alike instead.
    """
    voxels = voxelise(pillars, VOXEL)
    if wavelength:
        heights = (voxels.cells[:, 2] + 0.5) * VOXEL
        turned = height_rope(voxels.features, heights, (wavelength, wavelength))
        voxels, height = dataclasses.replace(voxels, features=turned), "none"
    pooled, _, _ = CondensedGrid(VOXEL, height=height, pool=pool).condense(voxels)
    return pooled.view(-1, 2, pooled.shape[1])


def probe(
    token: Float[Tensor, "N 2 C"],
    colours: Int64[Tensor, "N 2"],
    folds: Int64[Tensor, "N"],
    ridge: float = 1.0,
) -> Float[Tensor, "N"]:
    """Share of right answers for each stack, by a linear probe that was fitted to the other folds
    only.

    The probe learns one direction w_c per colour, "how high is c": the first parcel is on top if
    (w_first - w_second) . token > 0. It is ridge regression of +1 and -1, solved in its kernel
    form; ``ridge`` is relative to the kernel's mean diagonal. No preference is half right.
    """
    sides = F.one_hot(colours[:, 0], len(COLOURS)) - F.one_hot(colours[:, 1], len(COLOURS))
    x, sides = token.double().flatten(0, 1), sides.double().repeat_interleave(2, 0)
    truth = torch.tensor([1.0, -1.0]).double().repeat(len(token))
    fold = folds.repeat_interleave(2)

    right = torch.zeros(len(x))
    for k in folds.unique():
        fit = fold != k
        z = (x - x[fit].mean(0)) / x[fit].std(0).clamp(min=1e-6)
        kernel = (z @ z[fit].T) * (sides @ sides[fit].T)
        scale = kernel[fit].diagonal().mean().clamp(min=1e-9)
        regular = kernel[fit] + ridge * scale * torch.eye(int(fit.sum())).double()
        score = kernel @ torch.linalg.solve(regular, truth[fit])
        right[~fit] = (0.5 + 0.5 * (score * truth).sign()).float()[~fit]
    return right.view(-1, 2).mean(1)


def folds_of(count: int) -> Int64[Tensor, "N"]:
    """Four folds of whole stacks."""
    return torch.arange(count) % 4


# -- what is measured ------------------------------------------------------------------------------


def compare(stacks: Stacks) -> dict[tuple[str, str], dict[str, Float[Tensor, "N"]]]:
    """Right answers of every reader on three kinds of pillars, for new stacks and for colour pairs
    that were never fitted.

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
        "new stacks": folds_of(len(heights)),
        "new colour pairs": stacks.colours[:, 0] ^ stacks.colours[:, 1],
    }
    return {
        (kind, reader): {
            name: probe(tokens(pillars, **options), stacks.colours, fold)
            for name, fold in folds.items()
        }
        for kind, pillars in kinds.items()
        for reader, options in READERS.items()
    }


def sweeps(stacks: Stacks, seed: int = 0) -> Curves:
    """Where it fails: right answers on exchanged features against height difference, clutter and a
    single wavelength.
    """
    features, generator = exchanged(parcels(stacks)[0]), torch.Generator().manual_seed(seed)
    count = len(features)
    base = 0.2 + 0.6 * torch.rand(count, generator=generator)
    clutter = clutter_of(stacks, features, base, generator)

    def right(low: Tensor, gap: float, *others: Tensor, **options) -> Float[Tensor, "N"]:
        pillars = pile(features, torch.stack([low, low + gap], 1), *others)
        return probe(tokens(pillars, **options), stacks.colours, folds_of(count))

    one_height = torch.full_like(base, 0.3)
    return {
        "height difference (m)": {
            reader: [(gap, right(base, gap, **options)) for gap in GAPS]
            for reader, options in READERS.items()
        },
        "other things in the pillar": {
            f"rope, {pool}": [(k, right(base, APART, *clutter(k), pool=pool)) for k in CLUTTER]
            for pool in ("mean", "max")
        },
        "the only wavelength (m)": {
            name: [(w, right(low, APART, wavelength=w)) for w in WAVELENGTHS]
            for name, low in (
                ("all stacks at one height", one_height),
                ("stacks at all heights", base),
            )
        },
    }


def clutter_of(stacks: Stacks, features: Tensor, base: Tensor, generator: torch.Generator):
    """``clutter(k)``: features (N,k,C) and heights (N,k) of parcels of other stacks and other
    colours, in voxels below 2.6 m that the two parcels leave free.
    """
    count, folds = len(features), folds_of(len(features))
    other_colours = (stacks.colours[:, None, None] != stacks.colours[None, :, :, None]).all(-1)
    allowed = other_colours & (folds[:, None, None] == folds[None, :, None])
    draw = torch.rand(count, 2 * count, generator=generator)
    order = (allowed.flatten(1).float() * draw).argsort(1, descending=True)

    free = torch.rand(count, 13, generator=generator)
    free.scatter_(1, (torch.stack([base, base + APART], 1) / VOXEL).long(), -1)
    others = features[:, 0].flatten(0, 1)
    return lambda k: (others[order[:, :k]], (free.topk(k, 1).indices + 0.5) * VOXEL)


# -- the table -------------------------------------------------------------------------------------


def reproduce(config: HeightConfig) -> str:
    """``leovl-mini reproduce height``: the whole experiment as a text in Markdown, how it was made
    and four tables.
    """
    start, encoder = time.perf_counter(), load_encoder(longest_side=max(SIZE))
    stacks = see_stacks(config.stacks, config.seed, encoder)
    tables = table(compare(stacks), sweeps(stacks, config.seed))
    minutes = (time.perf_counter() - start) / 60
    report = f"""{TITLE}

`{command_of("reproduce height", config)}`: {config.stacks} stacks in both orders; pictures of
{SIZE[1]}x{SIZE[0]} pixels, encoder of preset nano; {hardware()}, {minutes:.1f} minutes.
Guessing: 50 %. In brackets: 95 % bootstrap interval over stacks.

{tables}"""
    if config.write:
        config.write.write_text(report)
    return report


def table(found: dict[tuple[str, str], dict[str, Tensor]], curves: Curves) -> str:
    """What ``compare`` and ``sweeps`` found, as Markdown: percent right, with 95 % intervals."""
    lines = ["| pillar | reader | new stacks | new colour pairs |", "| --- | --- | ---: | ---: |"]
    for names, rights in found.items():
        shares = ["{:.1%} ({:.1%} to {:.1%})".format(*interval(right)) for right in rights.values()]
        lines.append(f"| {' | '.join([*names, *shares])} |")
    for axis, curve in curves.items():
        lines += ["", f"| {' | '.join([axis, *curve])} |", "| ---: |" + " ---: |" * len(curve)]
        for row in zip(*curve.values(), strict=True):
            shares = " | ".join(f"{right.mean():.1%}" for _, right in row)
            lines.append(f"| {row[0][0]:g} | {shares} |")
    return "\n".join(lines) + "\n"


def interval(right: Float[Tensor, "N"]) -> tuple[float, float, float]:
    """Mean, and its 95 % interval over stacks (the two orders of a stack are not independent)."""
    return clustered_bootstrap(right.numpy(), range(len(right)))
