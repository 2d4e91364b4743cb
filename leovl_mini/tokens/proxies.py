"""Proxy tokens (Proxy3D): patches are grouped by object, clustered inside each group, and read out
segment by segment.

The clustering chooses which patches belong together and is not differentiable; gradients flow
through the means to the features.
Explained in notebook 05 (proxies).
"""

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int64
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order
from torch import Tensor

from leovl_mini.perception.lift import Patches
from leovl_mini.tokens.base import SceneTokens, group_mean, unique_cells
from leovl_mini.tokens.objects import segments_of
from leovl_mini.tokens.positions import height_rope


@dataclass(frozen=True)
class Proxies:
    """``z_k = R(height_k) mean_{p in k} f_p`` for clusters k inside semantic groups (Proxy3D).

    Group g of ``|G_g|`` patches gets ``K_g`` proxies, in proportion to its size but at least one,
    ``budget`` in all; or, with ``per_object``, the same number each. ``grouped=False`` is the
    paper's ablation: one group, whatever the masks say. Order: breadth first from the proxy nearest
    to the first camera. Aggregation, the rule of neighbourhood and the clustering's start are not
    published; the mean, the ``neighbours`` nearest proxies and k-means++ are our choice.
    """

    budget: int = 700
    per_object: int | None = None
    grouped: bool = True
    neighbours: int = 6
    kind: ClassVar[str] = "proxies"
    needs_segments: ClassVar[bool] = True

    def __post_init__(self):
        if self.budget < 1 or (self.per_object is not None and self.per_object < 1):
            raise ValueError("the budget, and per_object where it is given, must be at least 1")

    def __call__(self, patches: Patches) -> SceneTokens:
        """(P,C) patches with segments -> (K,C) tokens; K = min(budget, P), less where
        ``per_object`` asks for less.
        """
        pooled, centers, source = self.cluster(patches)
        return SceneTokens(height_rope(pooled, centers[:, 2]), centers, source)

    def cluster(
        self, patches: Patches
    ) -> tuple[Float[Tensor, "K C"], Float[Tensor, "K 3"], Int64[Tensor, "P"]]:
        """Clusters in reading order, before their height is written into them: mean features, mean
        places, and the proxy of each patch.
        """
        if not len(patches):
            return patches.features, patches.centers, patches.cells[:, 0]
        segments = segments_of(patches) if self.grouped else torch.zeros_like(patches.cells[:, 0])
        group = merge_smallest(segments.unique(return_inverse=True)[1], self.budget)
        sizes = torch.bincount(group)
        if self.per_object is None:
            counts = allocate(sizes, self.budget)
        else:
            counts = sizes.clamp(max=self.per_object)
        proxy = kmeans(patches.centers, group, counts)
        centers = group_mean(patches.centers, proxy, int(counts.sum()))
        origin = centers.new_zeros(3) if patches.origin is None else patches.origin
        order = breadth_first(centers, origin, self.neighbours)
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order), device=order.device)
        return group_mean(patches.features, proxy, len(order))[order], centers[order], rank[proxy]


def merge_smallest(group: Int64[Tensor, "P"], budget: int) -> Int64[Tensor, "P"]:
    """Where there are more groups than ``budget``, the smallest ones become one group, and a
    warning says so.
    """
    sizes = torch.bincount(group)
    if len(sizes) <= budget:
        return group
    merged = f"the smallest {len(sizes) - budget + 1} become one"
    warnings.warn(f"{len(sizes)} groups share {budget} proxies: {merged}", stacklevel=4)
    rank = sizes.sort(descending=True, stable=True).indices.argsort()
    return rank.clamp(max=budget - 1)[group]


def allocate(sizes: Int64[Tensor, "G"], budget: int) -> Int64[Tensor, "G"]:
    """How many proxies each group gets: at least 1, at most its size, in proportion to the size,
    ``min(budget, P)`` in all.

    ``K_g`` proportional to ``|G_g| / L`` with a non-zero initial count (Proxy3D): one each, the
    rest by largest remainders.
    """
    total = min(budget, int(sizes.sum()))
    if total < len(sizes):
        raise ValueError(f"{budget} proxies are not enough for {len(sizes)} groups")
    share = sizes.double() / sizes.sum() * (total - len(sizes))
    counts = torch.minimum(1 + share.floor().long(), sizes)
    while (missing := total - int(counts.sum())) > 0:
        open_groups = counts < sizes  # full ones take no more
        remainder = torch.where(open_groups, 1 + share - counts, -torch.inf)
        order = remainder.sort(descending=True, stable=True).indices
        counts[order[: min(missing, int(open_groups.sum()))]] += 1
    return counts


def kmeans(
    points: Float[Tensor, "P 3"],
    group: Int64[Tensor, "P"],
    counts: Int64[Tensor, "G"],
    steps: int = 12,
    candidates: int = 8,
) -> Int64[Tensor, "P"]:
    """The cluster of every point: ``counts[g]`` clusters inside group g, numbered group after
    group, none of them empty.

    Lloyd's algorithm for all groups at once. In each step a point chooses among the ``candidates``
    centres of its group that are nearest to its present one, instead of all of them: points do not
    jump far.
    """
    group_of = torch.repeat_interleave(torch.arange(len(counts), device=points.device), counts)
    other_group = torch.where(group_of[:, None] == group_of, 0.0, torch.inf)
    center, cluster = seed_centers(points, group, counts)
    for _ in range(steps):
        distance = torch.cdist(center, center) + other_group
        near = distance.topk(min(candidates, len(center)), largest=False)
        # A small group has fewer centres: its first one fills the row.
        near = torch.where(near.values.isfinite(), near.indices, near.indices[:, :1])
        options = near[cluster]  # (P, candidates)
        choice = (center[options] - points[:, None]).square().sum(-1).argmin(1, keepdim=True)
        cluster = fill_empty(points, options.gather(1, choice)[:, 0], group, group_of, center)
        center = group_mean(points, cluster, len(group_of))
    return cluster


def seed_centers(
    points: Float[Tensor, "P 3"],
    group: Int64[Tensor, "P"],
    counts: Int64[Tensor, "G"],
    cell: float = 0.15,
    trials: int = 4,
) -> tuple[Float[Tensor, "K 3"], Int64[Tensor, "P"]]:
    """Centres to start from, and the nearest one for each point: greedy k-means++ (Arthur and
    Vassilvitskii 2007), seeded.

    New centres of a group are drawn with a probability that grows with the squared distance to the
    present ones; of ``trials`` draws the one that helps most is taken. All groups draw at the same
    time, among their occupied cells of ``cell`` metres, and a group that has n centres takes the
    best n / 4 of many draws at once: far fewer rounds than one by one.
    """
    # Groups with many centres come first, so that those which still draw are always the first ones.
    by_count = counts.sort(descending=True, stable=True).indices
    goal, first = counts[by_count], (counts.cumsum(0) - counts)[by_count]
    rank = by_count.argsort()[group][:, None]
    cells, cell_of = unique_cells(torch.cat([rank, (points / cell).floor().long()], dim=1))
    owner, place = cells[:, 0], group_mean(points, cell_of, len(cells))
    weight = torch.bincount(cell_of).to(points.dtype)
    ends = torch.bincount(owner, minlength=len(counts)).cumsum(0)  # of each group's cells

    center, placed = points.new_zeros(int(counts.sum()), 3), torch.zeros_like(goal)
    distance = torch.full_like(weight, 100.0)  # square metres: farther than anything
    generator = torch.Generator().manual_seed(0)
    while active := int((placed < goal).sum()):
        m = int(ends[active - 1])  # the cells of active groups
        take = torch.minimum((placed // 4).clamp(min=1), goal - placed)[:active]
        drawer = torch.arange(active, device=points.device).repeat_interleave(trials * take)
        drawn = draw_cells(weight[:m] * distance[:m], ends[:active], drawer, generator)

        to_drawn = torch.cdist(place[:m], place[drawn]).square()
        to_drawn = to_drawn.masked_fill(owner[:m, None] != drawer, torch.inf)
        # A cell counts for the nearest draw only, so that of two neighbours one is taken.
        nearest, winner = to_drawn.min(1)
        gain = weight[:m] * (distance[:m] - nearest).clamp(min=0)
        gain = gain.new_zeros(len(drawer)).index_add_(0, winner, gain)

        # Group after group, the best draws first; each group takes as many as it may.
        order = gain.sort(descending=True, stable=True).indices
        order = order[drawer[order].sort(stable=True).indices]
        before = (trials * take).cumsum(0) - trials * take
        rank = torch.arange(len(drawer), device=points.device) - before[drawer]
        best = rank < take[drawer]
        chosen = order[best]
        distance[:m] = torch.minimum(distance[:m], to_drawn[:, chosen].amin(1))
        center[(first + placed)[drawer[best]] + rank[best]] = place[drawn[chosen]]
        placed[:active] += take

    group_of = torch.repeat_interleave(torch.arange(len(counts), device=points.device), counts)
    other_group = torch.where(by_count[owner][:, None] == group_of, 0.0, torch.inf)
    return center, (torch.cdist(place, center) + other_group).argmin(1)[cell_of]


def draw_cells(mass: Tensor, ends: Tensor, drawer: Tensor, generator: torch.Generator) -> Tensor:
    """A cell for each draw, among those of the group that draws, in proportion to their mass."""
    total = mass.cumsum(0)
    high, starts = total[ends - 1], torch.cat([ends.new_zeros(1), ends[:-1]])
    low = torch.cat([high.new_zeros(1), high[:-1]])
    draw = torch.rand(len(drawer), generator=generator).to(mass.device)
    drawn = torch.searchsorted(total, low[drawer] + draw * (high - low)[drawer], right=True)
    return torch.minimum(torch.maximum(drawn, starts[drawer]), ends[drawer] - 1)


def fill_empty(
    points: Tensor, cluster: Tensor, group: Tensor, group_of: Tensor, center: Tensor
) -> Tensor:
    """Give every empty cluster the point of its group that lies farthest from its centre and is not
    alone in its cluster.
    """
    size = torch.bincount(cluster, minlength=len(group_of))
    for empty in (size == 0).nonzero()[:, 0].tolist():  # rare
        distance = (points - center[cluster]).square().sum(1)
        movable = (group == group_of[empty]) & (size[cluster] > 1)
        farthest = torch.where(movable, distance, -1.0).argmax()
        size[cluster[farthest]] -= 1
        cluster[farthest] = empty
        size[empty] = 1
        center[empty] = points[farthest]
    return cluster


def breadth_first(
    centers: Float[Tensor, "K 3"], origin: Float[Tensor, "3"], neighbours: int
) -> Int64[Tensor, "K"]:
    """Order in which proxies are read: breadth first from the one nearest to ``origin``, neighbours
    from near to far.

    Two proxies are adjacent if one is among the ``neighbours`` nearest of the other. Where the rest
    cannot be reached, reading goes on with the unread proxy nearest to the origin.
    """
    place = centers.cpu()
    distance = torch.cdist(place, place)
    nearest = distance.topk(min(neighbours + 1, len(place)), largest=False).indices
    linked = torch.zeros_like(distance, dtype=torch.bool).scatter_(1, nearest, True)
    row, column = (linked | linked.T).nonzero(as_tuple=True)
    near_first = distance[row, column].sort(stable=True).indices
    near_first = near_first[row[near_first].sort(stable=True).indices]  # row after row
    ends = torch.bincount(row).cumsum(0).tolist()
    graph = csr_array((np.ones(len(row)), column[near_first].numpy(), [0, *ends]))

    order, unread = [], np.ones(len(place), dtype=bool)
    for start in (place - origin.cpu()).norm(dim=1).sort(stable=True).indices.tolist():
        if unread[start]:
            part = breadth_first_order(graph, start, return_predecessors=False)
            unread[part] = False
            order.append(torch.from_numpy(part).long())
    return torch.cat(order).to(centers.device)
