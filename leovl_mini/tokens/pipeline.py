"""Every stage in order, from a scene to its tokens, with the seconds each one took."""

import time
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from leovl_mini.perception.lift import Patches, lift
from leovl_mini.perception.segments import masks
from leovl_mini.scans.scene import Scene
from leovl_mini.tokens import REPRESENTATIONS
from leovl_mini.tokens.base import OBJECTS_PER_TOKEN, SceneInput, SceneTokens
from leovl_mini.tokens.grid import CondensedGrid
from leovl_mini.tokens.objects import ObjectTokens
from leovl_mini.tokens.proxies import Proxies
from leovl_mini.tokens.voxels import Voxels, voxelise


@torch.no_grad()
def perceive(scene: Scene, encoder: nn.Module, tokens: nn.Module) -> SceneInput:
    """Features, lifting, and everything in the representation that is not learned."""
    patches = lift(
        encoder(scene.rgb), scene.depth, scene.intrinsics, scene.camera_to_world, masks=masks(scene)
    )
    gathered = tokens.gather(patches)
    return SceneInput(gathered, shown_objects(gathered, patches), scene.objects, scene.name)


def shown_objects(tokens: SceneTokens, patches: Patches) -> Int64[Tensor, "K 2"]:
    """The ids of the ``SHOWN`` segments with the most patches in each token, most first, 0 where
    there are fewer.
    """
    ids, kept = patches.segments.clamp(min=0), tokens.source >= 0
    counts = torch.zeros(
        len(tokens),
        int(ids.max()) + 1 + OBJECTS_PER_TOKEN if len(ids) else 1 + OBJECTS_PER_TOKEN,
        dtype=torch.long,
        device=ids.device,
    )
    counts.index_put_((tokens.source[kept], ids[kept]), torch.ones_like(ids[kept]), accumulate=True)
    counts[:, 0] = 0  # background
    most = counts.topk(OBJECTS_PER_TOKEN, dim=1)
    return torch.where(most.values > 0, most.indices, 0)


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
