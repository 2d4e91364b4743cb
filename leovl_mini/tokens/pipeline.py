"""The one road from a scene to its tokens: 2D features, lifting to 3D, pooling.

Notebooks, commands, the feature cache and evaluation all take it.
Explained in notebook 00 (overview).
"""

import functools
import time
from collections.abc import Callable

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from leovl_mini.config import get_preset
from leovl_mini.perception.encoders import load_encoder
from leovl_mini.perception.lift import Patches, lift
from leovl_mini.perception.segments import masks
from leovl_mini.scans.scene import Scene
from leovl_mini.tokens import representation as make_representation
from leovl_mini.tokens.base import OBJECTS_PER_TOKEN, SceneInput, SceneTokens

cached_encoder = functools.cache(load_encoder)


def preset_encoder(preset: str, device: str | torch.device = "cpu") -> nn.Module:
    """The frozen encoder of a preset, loaded once per process and device."""
    settings = get_preset(preset)
    return cached_encoder(settings.encoder, settings.longest_side, torch.device(device))


@torch.no_grad()
def perceive(
    scene: Scene,
    representation: str | Callable[[Patches], SceneTokens] = "grid",
    encoder: nn.Module | None = None,
    preset: str = "nano",
) -> SceneInput:
    """Encode every frame, lift the features to 3D, pool them to tokens; nothing here is learned.

    ``representation`` and ``encoder`` are those of the ``preset`` unless they are given. Object ids
    come from the scene's instance masks; where it has none, they are 0, except for representations
    that need segments, which get found ones. Everything happens on the scene's device.
    """
    device = scene.depth.device
    if isinstance(representation, str):
        options = get_preset(preset).options(representation)
        representation = make_representation(representation, **options)
    if encoder is None:
        encoder = preset_encoder(preset, device)
    clock = Clock(device)
    features = clock.measure("2D features", encoder, scene.rgb)
    found = scene.instances
    if found is None and representation.needs_segments:
        found = clock.measure("segments", masks, scene)
    camera = scene.depth, scene.intrinsics, scene.camera_to_world
    patches = clock.measure("lift to 3D", lift, features, *camera, masks=found)
    tokens = clock.measure(f"{representation.kind} tokens", representation, patches)
    return SceneInput(
        tokens,
        object_ids(tokens, patches),
        scene.objects,
        scene.name,
        representation.kind,
        features=features,
        patches=patches,
        seconds=clock.seconds,
    )


def object_ids(tokens: SceneTokens, patches: Patches) -> Int64[Tensor, "K 2"]:
    """The ids of the ``OBJECTS_PER_TOKEN`` segments with the most patches in each token, most
    first, 0 where there are fewer.
    """
    if patches.segments is None or not len(patches):
        return tokens.source.new_zeros(len(tokens), OBJECTS_PER_TOKEN)
    ids, kept = patches.segments.clamp(min=0), tokens.source >= 0
    columns = int(ids.max()) + 1 + OBJECTS_PER_TOKEN
    cell = tokens.source[kept] * columns + ids[kept]
    counts = torch.bincount(cell, minlength=len(tokens) * columns).view(len(tokens), columns)
    counts[:, 0] = 0  # background
    most = counts.topk(OBJECTS_PER_TOKEN, dim=1)
    return torch.where(most.values > 0, most.indices, 0)


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
