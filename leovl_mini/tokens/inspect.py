"""What becomes of each object: how many tokens it gets, how pure they are, whether it is lost.

Explained in notebook 05 (proxies).
"""

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from leovl_mini.perception.lift import Patches
from leovl_mini.tokens.base import SceneTokens, group_mean
from leovl_mini.tokens.grid import CondensedGrid
from leovl_mini.tokens.objects import segments_of
from leovl_mini.tokens.proxies import Proxies


@dataclass
class ObjectReport:
    """O objects (the distinct segments of the patches, 0 = none) in K tokens. Shares lie in 0..1.

    A token belongs to the object that most of its patches show, of two equally large ones to the
    smaller id.
    """

    ids: Int64[Tensor, "O"]  # ascending
    patches: Int64[Tensor, "O"]  # how many patches show the object
    tokens: Int64[Tensor, "O"]  # how many tokens belong to it
    purity: Float[Tensor, "O"]  # mean purity of these tokens; 0 where there are none
    coverage: Float[Tensor, "O"]  # share of its patches that went into these tokens
    owner: Int64[Tensor, "K"]  # the object that each token belongs to; -1: it holds no patch
    token_purity: Float[Tensor, "K"]  # share of each token's patches that show its owner

    @property
    def lost(self) -> Bool[Tensor, "O"]:
        """Objects to which no token belongs."""
        return self.tokens == 0


def object_report(tokens: SceneTokens, patches: Patches) -> ObjectReport:
    """Compare which patches went into which token with which object they show.

    ``patches.segments`` (P,) are the objects to judge by, for instance the true ones where the
    tokens were made from found ones. Example: patches 0-2 show object 5, patches 3-5 show 7; token
    0 holds patches 0-3, token 1 holds 4, and 5 was left out. Both objects have one token; 5 has
    purity 3/4 and coverage 1, and 7 has purity 1 and coverage 1/3.
    """
    ids, object_of = segments_of(patches).unique(return_inverse=True)
    # The first column stays 0: tokens without patches have their maximum there.
    K, columns = len(tokens), len(ids) + 1
    kept = tokens.source >= 0
    cell = tokens.source[kept] * columns + 1 + object_of[kept]
    count = torch.bincount(cell, minlength=K * columns).view(K, columns)
    most, owner = count.max(1)
    token_purity = most / count.sum(1).clamp(min=1)
    owned = torch.bincount(owner, minlength=columns)[1:]
    purity = group_mean(token_purity[:, None], owner, columns)[1:, 0]
    patches_of = torch.bincount(object_of, minlength=len(ids))
    coverage = most.new_zeros(columns).index_add_(0, owner, most)[1:] / patches_of
    return ObjectReport(
        ids,
        patches_of,
        owned,
        purity,
        coverage,
        torch.cat([ids.new_tensor([-1]), ids])[owner],
        token_purity,
    )


@torch.no_grad()
def equal_budget(
    patches: Patches, found: Int64[Tensor, "P"] | None = None
) -> dict[str, SceneTokens]:
    """The condensed grid, and proxies without and with groups (and with ``found`` segments), at the
    grid's number of tokens.

    For comparing what went into the tokens: proxies come without their height. They are clustered
    in double precision, in which rounding does not decide which point is drawn as a centre.
    """
    tokens = {"grid": CondensedGrid()(patches)}
    exact = dataclasses.replace(patches, centers=patches.centers.double())
    for name, segments in (
        ("ungrouped", torch.zeros_like(patches.segments)),
        ("proxies", patches.segments),
        ("found masks", found),
    ):
        if segments is not None:
            proxies = Proxies(budget=max(len(tokens["grid"]), 1))
            tokens[name] = SceneTokens(
                *proxies.cluster(dataclasses.replace(exact, segments=segments))
            )
    return tokens


def report_table(reports: dict[str, ObjectReport], labels: list[str]) -> str:
    """Reports on the same objects side by side, a line for each object: tokens, purity and
    coverage, or "lost".
    """

    def row(report: ObjectReport, i: int) -> str:
        shares = f"{report.purity[i]:7.0%}{report.coverage[i]:8.0%}"
        return f"{report.tokens[i]:8}{shares}" if report.tokens[i] else f"{'lost':>8}{'':15}"

    width, patches = max(map(len, labels), default=2), next(iter(reports.values())).patches
    lines = [f"{'':{width + 8}}" + "".join(f"{name:>23}" for name in reports)]
    lines.append(f"{'':{width}} patches" + "  tokens purity covered" * len(reports))
    for i, label in enumerate(labels):
        lines.append(
            f"{label:{width}}{patches[i]:8}"
            + "".join(row(report, i) for report in reports.values())
        )
    means = [
        f"{len(report.owner):8}{report.token_purity.mean():7.0%}{'':8}"
        for report in reports.values()
    ]
    return "\n".join(
        line.rstrip() for line in [*lines, f"{'all tokens':{width + 8}}" + "".join(means)]
    )
