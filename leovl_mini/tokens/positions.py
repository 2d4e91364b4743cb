"""Position encodings: height as a rotation of the features, place as an embedding that is added.

Height is written into the features before pooling, in the encoder's width C (``height_rope``). The
place of a token is embedded by a module that belongs to the model, and added behind the projector,
in the language model's width D. (The papers leave open on which side of the projector; on this side
symbolic scenes have the same position embeddings.)
Explained in notebook 04 (voxels to grid).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from leovl_mini.tokens.base import SceneTokens, group_mean


def height_rope(
    features: Float[Tensor, "M C"],
    height: Float[Tensor, "M"],
    wavelengths: tuple[float, float] = (0.5, 64.0),
) -> Float[Tensor, "M C"]:
    """Rotate each feature by its height: ``R(z) v`` (LEO-VL, condensed feature grid; Proxy3D,
    position encoding).

    Channels i and i + C/2 form a plane, turned by ``2 pi z / wavelength_i``. The wavelengths, in
    metres, are geometric between the two given ends; both papers leave them open, so these are our
    choice: 0.5 m tells a seat from a table top, and 64 m leaves the slowest quarter of the channels
    almost unturned up to the ceiling: what is there stays readable beside how high. Same pairing as
    rotary embeddings in transformers (Llama). ValueError for an odd C.
    """
    channels = features.shape[-1]
    if channels % 2:
        raise ValueError(f"height_rope turns pairs of channels: C must be even, not {channels}")
    shortest, longest = wavelengths
    steps = torch.linspace(0, 1, channels // 2, device=features.device, dtype=features.dtype)
    angle = 2 * math.pi * height[:, None] / (shortest * (longest / shortest) ** steps)  # (M, C/2)
    first, second = features.chunk(2, dim=-1)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class LearnableFourier(nn.Module):
    """Horizontal position (x, y) in metres to a vector: ``F(x) = MLP([cos(x W^T), sin(x W^T)] /
    sqrt(D))``.

    Li et al. 2021, arXiv 2106.02795. W starts at N(0, gamma^-2); gamma, in metres, is our choice,
    as is the final layer norm: it gives the embedding the scale of the (normalised) features it is
    added to, or positions would be learned late.
    """

    def __init__(
        self, channels: int, dimensions: int = 2, frequencies: int = 64, gamma: float = 1.0
    ):
        super().__init__()
        self.frequencies = nn.Parameter(torch.randn(frequencies, dimensions) / gamma)
        # No biases: they would outweigh the small Fourier features, and all places would start out
        # alike.
        self.mlp = nn.Sequential(
            nn.Linear(2 * frequencies, channels, bias=False),
            nn.GELU(),
            nn.Linear(channels, channels, bias=False),
            nn.LayerNorm(channels),
        )

    def forward(self, position: Float[Tensor, "K d"]) -> Float[Tensor, "K C"]:
        phase = position @ self.frequencies.T
        fourier = torch.cat([phase.cos(), phase.sin()], dim=-1) / math.sqrt(
            2 * len(self.frequencies)
        )
        return self.mlp(fourier)


def sine_encoding(
    position: Float[Tensor, "K 3"], channels: int, bin: float = 0.1
) -> Float[Tensor, "K C"]:
    """Sines and cosines of x, y and z, rounded to bins of ``bin`` metres (Video-3D-LLM): a third of
    the channels for each axis.

    Wavelengths grow geometrically from 2 pi to 10,000 x 2 pi bins, as in the Transformer. Scaled to
    the size of normalised features; channels that three pairs do not fill stay 0.
    """
    pairs = channels // 6
    if pairs == 0:
        raise ValueError(f"sine_encoding needs at least 6 channels, not {channels}")
    rate = 10_000 ** (-torch.arange(pairs, device=position.device, dtype=position.dtype) / pairs)
    phase = (position / bin).round()[..., None] * rate  # (K, 3, pairs)
    waves = torch.cat([phase.sin(), phase.cos()], dim=-1).flatten(1) * math.sqrt(2)
    return nn.functional.pad(waves, (0, channels - waves.shape[1]))


class PointEmbedding(nn.Module):
    """A place (x, y, z) in metres to a vector: a two-layer MLP (LLaVA-3D), normalised to the scale
    of the features.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(3, channels), nn.GELU(), nn.Linear(channels, channels), nn.LayerNorm(channels)
        )

    def forward(self, position: Float[Tensor, "K 3"]) -> Float[Tensor, "K C"]:
        return self.mlp(position)


class GroundPosition(nn.Module):
    """``F(x, y)`` of each token: learnable Fourier features of its place on the ground (LEO-VL,
    Proxy3D).
    """

    def __init__(self, width: int):
        super().__init__()
        self.fourier = LearnableFourier(width)

    def forward(self, tokens: SceneTokens) -> Float[Tensor, "K D"]:
        return self.fourier(tokens.centers[:, :2])


class MeanPointPosition(nn.Module):
    """The mean of ``MLP(x_p, y_p, z_p)`` over a voxel's patches p: the same as adding each patch's
    place before the voxel is averaged (LLaVA-3D).
    """

    def __init__(self, width: int):
        super().__init__()
        self.embedding = PointEmbedding(width)

    def forward(self, tokens: SceneTokens) -> Float[Tensor, "K D"]:
        kept = tokens.source >= 0
        return group_mean(self.embedding(tokens.points[kept]), tokens.source[kept], len(tokens))


class SinePosition(nn.Module):
    """``E(x, y, z)`` of each token: sines of its place (Video-3D-LLM); nothing is learned."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width

    def forward(self, tokens: SceneTokens) -> Float[Tensor, "K D"]:
        return sine_encoding(tokens.centers, self.width)


def position_embedding(kind: str, width: int) -> nn.Module:
    """The position embedding for a kind of tokens: ``position(tokens: SceneTokens) -> (K, D)`` with
    D = ``width``.
    """
    own = {"patches": SinePosition, "voxels": MeanPointPosition}
    return own.get(kind, GroundPosition)(width)
