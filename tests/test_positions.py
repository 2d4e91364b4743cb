"""Height as a rotation, and the horizontal position as learnable Fourier features, against the
formulas they stand for.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from random_inputs import devices
from torch.testing import assert_close
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from leovl_mini.tokens.positions import LearnableFourier, height_rope

HEIGHTS = torch.tensor([-1.0, 0.1, 0.45, 1.7, 2.5])
metres = st.floats(-3, 3, width=32)


@devices
@pytest.mark.parametrize("channels", [2, 6, 64])
@pytest.mark.parametrize("shortest, longest", [(0.5, 64.0), (0.3, 5.0)])
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


def test_one_wavelength_up_is_one_full_turn():
    features = torch.randn(1, 2)
    assert_close(
        height_rope(features, torch.tensor([0.8]), wavelengths=(0.8, 5.0)),
        features,
        atol=1e-5,
        rtol=0,
    )
    assert_close(
        height_rope(features, torch.tensor([0.4]), wavelengths=(0.8, 5.0)),
        -features,
        atol=1e-5,
        rtol=0,
    )


def test_height_rope_preserves_lengths():
    features = torch.randn(5, 64)
    assert_close(height_rope(features, HEIGHTS).norm(dim=1), features.norm(dim=1))


def test_height_zero_changes_nothing():
    features = torch.randn(5, 64)
    assert torch.equal(height_rope(features, torch.zeros(5)), features)


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


@devices
def test_learnable_fourier_equals_its_formula(device):
    fourier = LearnableFourier(channels=12, frequencies=7).to(device)
    first, _, second, norm = fourier.mlp
    position = torch.randn(9, 2, device=device)
    waves = torch.stack([fourier.frequencies @ p for p in position])  # W x, one row per position
    features = torch.cat([waves.cos(), waves.sin()], dim=1) / 14**0.5
    hidden = F.gelu(features @ first.weight.T) @ second.weight.T
    hidden = (hidden - hidden.mean(1, keepdim=True)) / (
        hidden.var(1, keepdim=True, correction=0) + norm.eps
    ).sqrt()
    assert_close(fourier(position), hidden * norm.weight + norm.bias, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("gamma", [0.25, 0.5, 2.0])
def test_frequencies_start_with_standard_deviation_one_over_gamma(gamma):
    fourier = LearnableFourier(4, frequencies=20_000, gamma=gamma)
    assert fourier.frequencies.std().item() == pytest.approx(1 / gamma, rel=0.03)


def test_gradients_reach_the_frequencies():
    fourier = LearnableFourier(12)
    (fourier(torch.randn(9, 2)) * torch.randn(9, 12)).sum().backward()
    assert (fourier.frequencies.grad.norm(dim=1) > 1e-4).all()


def test_the_embedding_starts_at_unit_scale():
    assert LearnableFourier(152)(
        torch.rand(200, 2) * 6
    ).square().mean().sqrt().item() == pytest.approx(1, abs=0.05)


def test_places_start_out_different_and_near_ones_more_alike_than_far_ones():
    fourier, here = LearnableFourier(152), torch.rand(200, 2) * 6
    near, far = (
        torch.cosine_similarity(fourier(here), fourier(here + shift)).mean() for shift in (0.1, 3.0)
    )
    assert far < 0.6 < 0.8 < near
