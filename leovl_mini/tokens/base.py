"""What every representation shares: the token structure, and the mean over groups."""

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from leovl_mini.scans.scene import Object


@dataclass
class SceneTokens:
    """K tokens of a scene. ``source[p]`` is the token that patch p went into, or -1 where it was
    left out.
    """

    features: Float[Tensor, "K C"]
    centers: Float[Tensor, "K 3"]  # metres
    source: Int64[Tensor, "P"]
    cell: float | None = None  # edge length in metres, where a token is a cell of a grid
    points: Float[Tensor, "P 3"] | None = (
        None  # the patches' own places, for representations that embed those (voxels)
    )

    def __len__(self) -> int:
        return len(self.features)

    def plus(self, position: Float[Tensor, "K C"]) -> "SceneTokens":
        """The same tokens with something added to their features."""
        return dataclasses.replace(self, features=self.features + position)


def group_mean(
    values: Float[Tensor, "P C"], group: Int64[Tensor, "P"], groups: int
) -> Float[Tensor, "M C"]:
    """Mean of the rows of each group (groups without rows give 0)."""
    total = values.new_zeros(groups, values.shape[1]).index_add_(0, group, values)
    return total / torch.bincount(group, minlength=groups).clamp(min=1)[:, None]


def group_max(
    values: Float[Tensor, "P C"], group: Int64[Tensor, "P"], groups: int
) -> Float[Tensor, "M C"]:
    """Largest value of each channel in each group (groups without rows give 0)."""
    index = group[:, None].expand_as(values)
    return values.new_zeros(groups, values.shape[1]).scatter_reduce(
        0, index, values, "amax", include_self=False
    )


def uniform_sample(count: int, budget: int, seed: int) -> Int64[Tensor, "K"]:
    """Indices of ``min(count, budget)`` of ``count`` things, all equally likely, in order; the same
    seed gives the same ones.
    """
    if budget < 1:
        raise ValueError(f"the budget must be at least 1 token, not {budget}")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return order[:budget].sort().values


def unique_cells(cell: Int64[Tensor, "P d"]) -> tuple[Int64[Tensor, "M d"], Int64[Tensor, "P"]]:
    """Distinct integer cells in lexicographic order, and the index of each row's cell.

    Rows are packed into one integer first: sorting one column is many times faster than
    ``torch.unique(dim=0)``.
    """
    if not len(cell):
        return cell, cell.new_zeros(0)
    low = cell.amin(0)
    extent = cell.amax(0) - low + 1
    if extent.double().prod() > 2**62:
        raise ValueError(
            f"the cells span {extent.tolist()}, too many to number; are the coordinates in metres?"
        )
    stride = torch.cat([extent.flip(0).cumprod(0).flip(0)[1:], extent.new_ones(1)])
    key, inverse = torch.unique(((cell - low) * stride).sum(1), return_inverse=True)
    return key[:, None] // stride % extent + low, inverse


OBJECTS_PER_TOKEN = 2  # so many objects are noted for each token


@dataclass
class SceneInput:
    """What training needs of one scene: its tokens before projection and position, and what each
    token shows.
    """

    tokens: SceneTokens
    shows: Int64[
        Tensor, "K 2"
    ]  # ids of the two objects with the most patches in each token, 0 = none
    objects: list[Object]
    name: str = ""

    def __len__(self) -> int:
        return len(self.tokens)


def symbolic_input(name: str, objects: list[Object]) -> SceneInput:
    """A scene's objects without its pictures, for lessons in words."""
    empty = torch.zeros(0, dtype=torch.long)
    return SceneInput(
        SceneTokens(torch.zeros(0, 1), torch.zeros(0, 3), empty),
        empty.view(0, OBJECTS_PER_TOKEN),
        objects,
        name,
    )
