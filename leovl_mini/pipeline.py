"""Every stage in order, from a scene to its tokens, with the seconds each one took."""

import time
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from leovl_mini.geometry import Patches, lift
from leovl_mini.scene import Scene
from leovl_mini.tokens import CondensedGrid, SceneTokens, Voxels


@dataclass
class Stages:
    """What each stage produced for one scene; V views, h x w cells, P patches, M voxels, K tokens."""

    features: Float[Tensor, "V h w C"]
    patches: Patches
    voxels: Voxels
    tokens: SceneTokens
    seconds: dict[str, float]


@torch.no_grad()
def run(scene: Scene, encoder: nn.Module, grid: CondensedGrid) -> Stages:
    """Perceive, lift, voxelise, condense. The scene, the encoder and the grid must be on one device."""
    clock = Clock(scene.depth.device)
    features = clock.measure("2D features", encoder, scene.rgb)
    patches = clock.measure("lift to 3D", lift, features, scene.depth, scene.intrinsics, scene.camera_to_world)
    voxels = clock.measure("voxels", grid.voxels, patches)
    tokens = clock.measure("condensed grid", grid.tokens, voxels)
    return Stages(features, patches, voxels, tokens, clock.seconds)


class Clock:
    """Wall-clock seconds per stage; waits for the GPU to finish before it reads the time."""

    def __init__(self, device: torch.device | str = "cpu"):
        self.device, self.seconds = torch.device(device), {}

    def measure(self, name: str, function, *arguments, **keywords):
        start = time.perf_counter()
        result = function(*arguments, **keywords)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds[name] = time.perf_counter() - start
        return result
