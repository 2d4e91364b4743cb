"""One token per object (Chat-Scene, in miniature)."""

import torch
from torch import nn

from leovl_mini.perception.lift import Patches
from leovl_mini.tokens.base import SceneTokens, group_mean
from leovl_mini.tokens.positions import LearnableFourier, height_rope


class ObjectTokens(nn.Module):
    """``R(z) mean_p f_p + F(x, y)`` over all patches of one object; patches of no object (segment
    0) are left out.

    Order: by object id. With more than ``budget`` objects those with the most patches are kept.
    Chat-Scene adds an identifier word and a second token from a 3D encoder per object; here
    position takes the 3D encoder's place, as in the other representations.
    """

    def __init__(self, channels: int, budget: int = 100):
        super().__init__()
        self.budget = budget
        self.fourier = LearnableFourier(channels)

    def forward(self, patches: Patches) -> SceneTokens:
        """(P,C) patches with segments -> (K,C) tokens, K <= budget."""
        return self.place(self.gather(patches))

    def gather(self, patches: Patches) -> SceneTokens:
        """Each object's mean feature, turned by its height."""
        segments = segments_of(patches)
        ids, counts = segments[segments > 0].unique(return_counts=True)
        ids = ids[counts.sort(descending=True, stable=True).indices[: self.budget]].sort().values
        place = torch.searchsorted(ids, segments).clamp(max=max(len(ids) - 1, 0))
        known = (
            (ids[place] == segments) if len(ids) else torch.zeros_like(segments, dtype=torch.bool)
        )
        source = torch.where(known, place, -1)
        features = group_mean(patches.features[known], place[known], len(ids))
        centers = group_mean(patches.centers[known], place[known], len(ids))
        return SceneTokens(height_rope(features, centers[:, 2]), centers, source)

    def place(self, tokens: SceneTokens) -> SceneTokens:
        """Add the horizontal position."""
        return tokens.plus(self.fourier(tokens.centers[:, :2]))


def segments_of(patches: Patches) -> torch.Tensor:
    """The segment ids of the patches, or a ``ValueError`` that says where they come from."""
    if patches.segments is None:
        raise ValueError(
            "these tokens need to know which patch belongs to which object: give lift() masks (see segments.masks)"
        )
    return patches.segments
