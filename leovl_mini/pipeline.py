"""Every stage in order, from a scene to its tokens, with the seconds each one took."""

import time
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from leovl_mini.geometry import Patches, lift
from leovl_mini.scene import Scene
from leovl_mini.segments import masks
from leovl_mini.tokens import (
    REPRESENTATIONS,
    CondensedGrid,
    ObjectTokens,
    Proxies,
    SceneTokens,
    Voxels,
    voxelise,
)


@dataclass
class Stages:
    """What each stage produced for one scene; V views, h x w cells, P patches, M voxels, K tokens."""

    features: Float[Tensor, "V h w C"]
    patches: Patches
    voxels: Voxels
    tokens: SceneTokens
    seconds: dict[str, float]
    kind: str = "grid"  # the representation of the tokens, one of REPRESENTATIONS


@torch.no_grad()
def run(scene: Scene, encoder: nn.Module, representation: nn.Module) -> Stages:
    """Perceive, lift, voxelise, make tokens (before positions are added). All must be on one
    device.

    Representations that work object by object get the scene's masks, or segments where it has none.
    """
    clock = Clock(scene.depth.device)
    features = clock.measure("2D features", encoder, scene.rgb)
    by_object = isinstance(representation, Proxies | ObjectTokens)
    found = clock.measure("masks", masks, scene) if by_object else None
    patches = clock.measure(
        "lift to 3D",
        lift,
        features,
        scene.depth,
        scene.intrinsics,
        scene.camera_to_world,
        masks=found,
    )
    kind = next(
        name for name, module in REPRESENTATIONS.items() if isinstance(representation, module)
    )
    if isinstance(representation, CondensedGrid):
        voxels = clock.measure("voxels", representation.voxels, patches)
        tokens = clock.measure("condensed grid", representation.tokens, voxels)
    else:
        voxels = clock.measure("voxels", voxelise, patches)
        tokens = clock.measure(kind, representation.gather, patches)
    return Stages(features, patches, voxels, tokens, clock.seconds, kind)


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
