"""Every lifted patch is a token (Video-3D-LLM)."""

import torch
from torch import nn

from leovl_mini.perception.lift import Patches
from leovl_mini.tokens.base import SceneTokens, uniform_sample
from leovl_mini.tokens.positions import sine_encoding


class PatchTokens(nn.Module):
    """``f_p + E(x_p, y_p, z_p)``: patch features plus a 3D sine encoding of their coordinate in 0.1
    m bins (Video-3D-LLM).

    Order: as in the frames (view, row, column). With more than ``budget`` patches a seeded uniform
    sample is kept; Video-3D-LLM itself reads them all, up to 8,000 tokens.
    """

    def __init__(self, channels: int, budget: int = 1024, seed: int = 0):
        super().__init__()
        self.budget, self.seed = budget, seed

    def forward(self, patches: Patches) -> SceneTokens:
        """(P,C) patches -> (K,C) tokens, K <= budget."""
        return self.place(self.gather(patches))

    def gather(self, patches: Patches) -> SceneTokens:
        """The patches that are kept, without their position."""
        by_place = torch.arange(len(patches), device=patches.centers.device)
        for axis in (
            2,
            1,
            0,
            # number the patches by their place, so that the sample does not depend on the order of
            # frames
        ):
            by_place = by_place[patches.centers[by_place, axis].sort(stable=True).indices]
        kept = (
            by_place[uniform_sample(len(patches), self.budget, self.seed).to(by_place.device)]
            .sort()
            .values
        )
        source = torch.full((len(patches),), -1, device=kept.device)
        source[kept] = torch.arange(len(kept), device=kept.device)
        return SceneTokens(patches.features[kept], patches.centers[kept], source)

    def place(self, tokens: SceneTokens) -> SceneTokens:
        """Add the positions, in whatever width the features have."""
        return tokens.plus(sine_encoding(tokens.centers, tokens.features.shape[1]))
