"""Voxels: the mean feature of all patches that fall into one cube of space (LEO-VL, voxelisation; LLaVA-3D, voxel pooling)."""

from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor

from leovl_mini.geometry import Patches
from leovl_mini.tokens.pooling import group_mean, unique_cells


@dataclass
class Voxels:
    """M occupied voxels, in lexicographic order of their integer cells (x, then y, then z)."""

    features: Float[Tensor, "M C"]
    centers: Float[Tensor, "M 3"]  # mean of the patch coordinates inside, metres
    cells: Int64[Tensor, "M 3"]  # floor(coordinate / size)
    source: Int64[Tensor, "P"]  # the voxel of each patch
    size: float  # edge length, metres

    def __len__(self) -> int:
        return len(self.features)


def voxelise(patches: Patches, size: float = 0.2) -> Voxels:
    """Average the patches inside each cube of ``size`` metres: (P,C) -> (M,C) with M occupied voxels.

    LEO-VL does not publish its voxel size; 0.2 m is LLaVA-3D's, and gives furnished rooms nearly LEO-VL's voxel count.
    """
    if size <= 0:
        raise ValueError(f"voxel size must be positive, not {size}")
    cells, source = unique_cells((patches.centers / size).floor().long())
    features = group_mean(patches.features, source, len(cells))
    return Voxels(features, group_mean(patches.centers, source, len(cells)), cells, source, size)
