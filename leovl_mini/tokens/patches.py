"""Every lifted patch is a token (Video-3D-LLM).

Explained in notebook 04 (voxels to grid).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from leovl_mini.perception.lift import Patches
from leovl_mini.tokens.base import SceneTokens, uniform_sample


@dataclass(frozen=True)
class PatchTokens:
    """``f_p``: the patches' own features, in the order of the frames (view, row, column).

    With more than ``budget`` patches a seeded uniform sample is kept; Video-3D-LLM itself reads
    them all, up to 8,000 tokens.
    """

    budget: int = 1024
    seed: int = 0
    kind: ClassVar[str] = "patches"
    needs_segments: ClassVar[bool] = False

    def __call__(self, patches: Patches) -> SceneTokens:
        """(P,C) patches -> (K,C) tokens, K <= budget."""
        # Number the patches by their place, so that the sample does not depend on the order of
        # frames.
        by_place = torch.arange(len(patches), device=patches.centers.device)
        for axis in (2, 1, 0):
            by_place = by_place[patches.centers[by_place, axis].sort(stable=True).indices]
        sample = uniform_sample(len(patches), self.budget, self.seed).to(by_place.device)
        kept = by_place[sample].sort().values
        source = torch.full((len(patches),), -1, device=kept.device)
        source[kept] = torch.arange(len(kept), device=kept.device)
        return SceneTokens(patches.features[kept], patches.centers[kept], source)
