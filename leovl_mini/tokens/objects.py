"""One token per object (Chat-Scene, in miniature).

Explained in notebook 05 (proxies).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int64
from torch import Tensor

from leovl_mini.perception.lift import Patches
from leovl_mini.tokens.base import SceneTokens, group_mean
from leovl_mini.tokens.positions import height_rope


@dataclass(frozen=True)
class ObjectTokens:
    """``R(z) mean_p f_p`` over all patches p of one object; patches of no object (segment 0) are
    left out.

    Order: by object id. With more than ``budget`` objects those with the most patches are kept.
    Chat-Scene adds an identifier word and a second token from a 3D encoder per object; here the
    position embedding takes the 3D encoder's place, as in the other representations.
    """

    budget: int = 100
    kind: ClassVar[str] = "objects"
    needs_segments: ClassVar[bool] = True

    def __call__(self, patches: Patches) -> SceneTokens:
        """(P,C) patches with segments -> (K,C) tokens, K <= budget."""
        segments = segments_of(patches)
        ids, counts = segments[segments > 0].unique(return_counts=True)
        largest = counts.sort(descending=True, stable=True).indices[: self.budget]
        ids = ids[largest].sort().values
        slot = torch.searchsorted(ids, segments).clamp(max=max(len(ids) - 1, 0))
        known = (
            (ids[slot] == segments) if len(ids) else torch.zeros_like(segments, dtype=torch.bool)
        )
        features = group_mean(patches.features[known], slot[known], len(ids))
        centers = group_mean(patches.centers[known], slot[known], len(ids))
        source = torch.where(known, slot, -1)
        return SceneTokens(height_rope(features, centers[:, 2]), centers, source)


def segments_of(patches: Patches) -> Int64[Tensor, "P"]:
    """The segment ids of the patches, or a ``ValueError`` that says where they come from."""
    if patches.segments is None:
        raise ValueError(
            "these tokens need to know which patch belongs to which object: "
            "give lift() masks (see segments.masks)"
        )
    return patches.segments
