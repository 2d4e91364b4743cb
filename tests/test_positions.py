"""Height as a rotation, and position embeddings, against the formulas they stand for."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from random_inputs import devices, random_patches
from torch.testing import assert_close
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from leovl_mini.tokens import REPRESENTATIONS, SceneTokens, representation
from leovl_mini.tokens.positions import (
    LearnableFourier,
    height_rope,
    position_embedding,
    sine_encoding,
)

HEIGHTS = torch.tensor([-1.0, 0.1, 0.45, 1.7, 2.5])
metres = st.floats(-3, 3, width=32)


# -- height ----------------------------------------------------------------------------------------


@devices
@pytest.mark.parametrize("channels, shortest, longest", [(2, 0.5, 64.0), (64, 0.3, 5.0)])
def test_height_rope_equals_the_rotary_embedding_of_llama(device, channels, shortest, longest):
    features = torch.randn(5, channels)
    wavelengths = torch.logspace(math.log2(shortest), math.log2(longest), channels // 2, base=2)
    angle = (2 * math.pi * HEIGHTS[:, None] / wavelengths).repeat(1, 2)[None]
    expected, _ = apply_rotary_pos_emb(
        features[None, None], features[None, None], angle.cos(), angle.sin()
    )
    rotated = height_rope(features.to(device), HEIGHTS.to(device), (shortest, longest)).cpu()
    assert_close(rotated, expected[0, 0], atol=1e-4, rtol=0)


def test_the_slowest_quarter_of_the_channels_is_almost_unturned_at_the_ceiling():
    features = torch.randn(1, 64)
    slowest = [*range(24, 32), *range(56, 64)]  # channels i and i + 32 are a pair
    raised = height_rope(features, torch.tensor([2.5]))
    assert torch.cosine_similarity(features[:, slowest], raised[:, slowest]) > 0.7
    fastest = [*range(16), *range(32, 48)]
    assert torch.cosine_similarity(features[:, fastest], raised[:, fastest]) < 0.7


@pytest.mark.parametrize("height, factor", [(0.0, 1), (0.4, -1), (0.8, 1)])
def test_one_wavelength_up_is_one_full_turn(height, factor):
    features = torch.randn(1, 2)
    turned = height_rope(features, torch.tensor([height]), wavelengths=(0.8, 5.0))
    assert_close(turned, factor * features, atol=1e-5, rtol=0)


@given(a=metres, b=metres, shift=metres, seed=st.integers(0, 1000))
def test_products_depend_on_the_height_difference_only(a, b, shift, seed):
    u, v = torch.randn(2, 1, 16, generator=torch.Generator().manual_seed(seed))

    def product(height_u: float, height_v: float) -> torch.Tensor:
        return (
            height_rope(u, torch.tensor([height_u])) * height_rope(v, torch.tensor([height_v]))
        ).sum()

    assert_close(product(a, b), product(a + shift, b + shift), atol=2e-3, rtol=0)


def test_odd_channels_are_refused():
    with pytest.raises(ValueError, match="must be even, not 7"):
        height_rope(torch.randn(5, 7), HEIGHTS)


# -- learnable Fourier features --------------------------------------------------------------------


@devices
def test_learnable_fourier_equals_its_formula(device):
    fourier = LearnableFourier(channels=12, frequencies=7).to(device)
    first, _, second, norm = fourier.mlp
    position = torch.randn(9, 2, device=device)
    waves = torch.stack([fourier.frequencies @ p for p in position])  # W x, one row per position
    features = torch.cat([waves.cos(), waves.sin()], dim=1) / 14**0.5
    hidden = F.gelu(features @ first.weight.T) @ second.weight.T
    variance = hidden.var(1, keepdim=True, correction=0)
    hidden = (hidden - hidden.mean(1, keepdim=True)) / (variance + norm.eps).sqrt()
    assert_close(fourier(position), hidden * norm.weight + norm.bias, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("gamma", [0.25, 0.5, 2.0])
def test_frequencies_start_with_standard_deviation_one_over_gamma(gamma):
    fourier = LearnableFourier(4, frequencies=20_000, gamma=gamma)
    assert fourier.frequencies.std().item() == pytest.approx(1 / gamma, rel=0.03)


def test_gradients_reach_the_frequencies():
    fourier = LearnableFourier(12)
    (fourier(torch.randn(9, 2)) * torch.randn(9, 12)).sum().backward()
    assert (fourier.frequencies.grad.norm(dim=1) > 1e-4).all()


def test_places_start_out_different_and_near_ones_more_alike_than_far_ones():
    torch.manual_seed(0)
    fourier, points = LearnableFourier(152), torch.rand(200, 2) * 6
    near, far = (
        torch.cosine_similarity(fourier(points), fourier(points + shift)).mean()
        for shift in (0.1, 3.0)
    )
    assert far < 0.6 < 0.8 < near


# -- sines -----------------------------------------------------------------------------------------


def test_the_sine_encoding_equals_a_plain_loop():
    places = torch.tensor([[0.12, -1.0, 2.26], [3.0, 0.0, 0.04]])
    encoded = sine_encoding(places, 14)  # 2 pairs an axis, 2 channels left over
    rates = [1.0, 10_000**-0.5]
    for k, place in enumerate(places.tolist()):
        steps = [round(x / 0.1) for x in place]
        expected = [
            math.sqrt(2) * wave(step * rate)
            for step in steps
            for wave in (math.sin, math.cos)
            for rate in rates
        ]
        assert_close(encoded[k], torch.tensor([*expected, 0.0, 0.0]), atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="at least 6"):
        sine_encoding(places, 5)


def test_places_in_one_bin_of_ten_centimetres_are_encoded_alike():
    places = torch.tensor([[0.06, 1.0, 1.0], [0.14, 1.0, 1.0], [0.16, 1.0, 1.0]])
    a, b, c = sine_encoding(places, 12)
    assert torch.equal(a, b) and not torch.equal(b, c)


# -- positions of tokens ---------------------------------------------------------------------------


def tokens_of(kind: str, **options) -> SceneTokens:
    return representation(kind, **options)(random_patches(400, groups=5))


@pytest.mark.parametrize("kind", REPRESENTATIONS)
def test_every_kind_of_tokens_has_a_position_at_the_scale_of_normalised_features(kind):
    torch.manual_seed(0)
    tokens = tokens_of(kind)
    position = position_embedding(kind, 48)(tokens)
    assert position.shape == (len(tokens), 48)
    assert 0.4 < float(position.detach().square().mean().sqrt()) < 1.6


@pytest.mark.parametrize("kind", ["grid", "proxies", "objects"])
def test_the_position_of_a_token_is_the_embedding_of_its_place_on_the_ground(kind):
    tokens, position = tokens_of(kind), position_embedding(kind, 12)
    assert_close(position(tokens), position.fourier(tokens.centers[:, :2]))


def test_the_position_of_a_patch_is_the_sine_encoding_of_its_place():
    tokens = tokens_of("patches")
    position = position_embedding("patches", 12)
    assert_close(position(tokens), sine_encoding(tokens.centers, 12))
    assert not list(position.parameters())


@pytest.mark.parametrize("budget", [None, 40])
def test_the_position_of_a_voxel_equals_adding_each_patchs_place_before_averaging(budget):
    tokens = tokens_of("voxels", voxel_size=0.5, budget=budget)
    position = position_embedding("voxels", 12)
    found, embedded = position(tokens), position.embedding(tokens.points)
    for k in range(len(tokens)):
        assert_close(found[k], embedded[tokens.source == k].mean(0), atol=1e-5, rtol=1e-5)
