"""Small random inputs shared by the tests, and the devices the tests run on."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from leovl_mini.perception.lift import Patches
from leovl_mini.tokens import SceneTokens

# On tensors this small a second thread only waits, and waits long on a busy machine.
torch.set_num_threads(1)

no_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
devices = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=no_cuda)])


def random_cameras(views: int, height: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Intrinsics (V,3,3) and camera-to-world poses (V,4,4), both different in every view."""
    random = np.random.default_rng(seed)
    intrinsics, poses = np.tile(np.eye(3), (views, 1, 1)), np.tile(np.eye(4), (views, 1, 1))
    intrinsics[:, 0, 0], intrinsics[:, 1, 1] = random.uniform(0.5, 1.5, (2, views)) * width
    intrinsics[:, 0, 2], intrinsics[:, 1, 2] = random.uniform(0.3, 0.7, (2, views)) * [
        [width],
        [height],
    ]
    poses[:, :3, :3] = Rotation.from_rotvec(random.normal(size=(views, 3)) * 2).as_matrix()
    poses[:, :3, 3] = random.uniform(-5, 5, (views, 3))
    return torch.from_numpy(intrinsics).float(), torch.from_numpy(poses).float()


def random_depth(views: int, height: int, width: int, seed: int = 0, holes: float = 0.3) -> Tensor:
    """Depth (V,H,W) between 0.5 and 8 m; a share of the pixels has none."""
    random = torch.Generator().manual_seed(seed)
    depth = torch.rand(views, height, width, generator=random) * 7.5 + 0.5
    return depth * (torch.rand(depth.shape, generator=random) >= holes)


def random_patches(
    count: int, channels: int = 8, room: float = 2.0, seed: int = 0, groups: int = 0
) -> Patches:
    """Patches spread over a cube of ``room`` metres around the origin, so that some coordinates are
    negative; of ``groups`` segments, where 0 is the background (no groups: without segments). The
    first camera stood at the origin.
    """
    random = torch.Generator().manual_seed(seed)
    centers = (torch.rand(count, 3, generator=random) - 0.5) * room
    features = torch.randn(count, channels, generator=random)
    segments = torch.randint(0, groups, (count,), generator=random) if groups else None
    cells = torch.zeros(count, 3, dtype=torch.long)
    return Patches(features, centers, cells, 0, segments, torch.zeros(3))


def patches_at(centers: Tensor, channels: int = 8) -> Patches:
    """Patches with random features at given places (P,3)."""
    return dataclasses.replace(random_patches(len(centers), channels), centers=centers)


def random_tokens(count: int, channels: int = 8, seed: int = 0) -> SceneTokens:
    patches = random_patches(count, channels, seed=seed)
    return SceneTokens(patches.features, patches.centers, torch.arange(count))


def permuted(patches: Patches, order: Tensor) -> Patches:
    """The same patches in another order."""
    tensors = per_patch(patches)
    return dataclasses.replace(patches, **{k: v[order] for k, v in tensors.items()})


def per_patch(patches: Patches) -> dict[str, Tensor]:
    fields = {f.name: getattr(patches, f.name) for f in dataclasses.fields(patches)}
    return {k: v for k, v in fields.items() if isinstance(v, Tensor) and k != "origin"}


def to_device(patches: Patches, device: str) -> Patches:
    moved = {k: v.to(device) for k, v in per_patch(patches).items()}
    return dataclasses.replace(patches, **moved, origin=patches.origin.to(device))
