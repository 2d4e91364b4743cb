"""What every representation shares: the structures of tokens and scenes, and means over groups.

Explained in notebooks 04 (voxels to grid) and 05 (proxies).
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from leovl_mini.perception.lift import Patches
from leovl_mini.scans.scene import Object

OBJECTS_PER_TOKEN = 2  # so many object ids are kept for each token


@dataclass
class SceneTokens:
    """K tokens of a scene, still in the encoder's width C and without a position.

    ``source[p]`` is the token that patch p went into, or -1 where it was left out. ``points`` are
    the patches' own places, kept for the one representation that embeds those (voxels).
    """

    features: Float[Tensor, "K C"]
    centers: Float[Tensor, "K 3"]  # metres
    source: Int64[Tensor, "P"]
    cell: float | None = None  # edge length in metres, where a token is a cell of a grid
    points: Float[Tensor, "P 3"] | None = None

    def __len__(self) -> int:
        return len(self.features)


@dataclass
class SceneInput:
    """A scene as the language model and all that follows take it: its tokens, the ids of the
    objects in each of them, and the objects.

    ``features``, ``patches`` and ``seconds`` are what ``perceive`` computed on the way; a scene
    from a feature cache and a symbolic scene have none.
    """

    tokens: SceneTokens
    object_ids: Int64[Tensor, "K 2"]  # the two objects with the most patches in a token, 0 = none
    objects: list[Object]
    name: str = ""
    kind: str = "grid"  # the representation of the tokens
    features: Float[Tensor, "V h w C"] | None = None
    patches: Patches | None = None
    seconds: dict[str, float] = field(default_factory=dict)  # of each stage

    def __len__(self) -> int:
        return len(self.tokens)


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
