"""The encoders: shapes, scale and places of their features, the original network as reference, and
what missing weights say.
"""

import json
import socket
import sys

import pytest
import torch
import torch.nn.functional as F
from efficientnet_lite_pytorch import EfficientNet
from random_inputs import devices
from torch.testing import assert_close
from transformers import (
    CLIPConfig,
    CLIPModel,
    ConvNextConfig,
    ConvNextModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    ResNetConfig,
    ResNetModel,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    SwinConfig,
    SwinModel,
    ViTConfig,
    ViTModel,
)

from leovl_mini.data.files import INSTALL, WeightsMissing, packaged_file
from leovl_mini.perception import encoders as perception
from leovl_mini.perception.encoders import LITE0, load_encoder

TOWER = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
VISION = TOWER | {"image_size": 32, "patch_size": 8}
TEXT = TOWER | {"vocab_size": 50}
TINY = {  # a random model of each kind, and its (rows, columns, channels)
    "vit": (ViTModel, ViTConfig(**VISION), (4, 4, 32)),
    "vit, not square": (ViTModel, ViTConfig(**VISION | {"image_size": [32, 48]}), (4, 6, 32)),
    "dinov2": (Dinov2Model, Dinov2Config(**VISION), (4, 4, 32)),
    "dinov2 with registers": (
        Dinov2WithRegistersModel,
        Dinov2WithRegistersConfig(**VISION),
        (4, 4, 32),
    ),
    "siglip": (SiglipModel, SiglipConfig(text_config=TEXT, vision_config=VISION), (4, 4, 32)),
    "siglip vision": (SiglipVisionModel, SiglipVisionConfig(**VISION), (4, 4, 32)),
    "clip": (CLIPModel, CLIPConfig(text_config=TEXT, vision_config=VISION), (4, 4, 32)),
    "swin": (
        SwinModel,
        SwinConfig(
            image_size=32,
            patch_size=2,
            embed_dim=16,
            depths=[1, 1],
            num_heads=[2, 2],
            window_size=4,
        ),
        (8, 8, 32),
    ),
    "convnext": (
        ConvNextModel,
        ConvNextConfig(image_size=32, num_stages=2, hidden_sizes=[8, 16], depths=[1, 1]),
        (4, 4, 16),
    ),
    "resnet": (
        ResNetModel,
        ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]),
        (28, 28, 16),
    ),
}
tiny_models = pytest.mark.parametrize(("model", "config", "shape"), TINY.values(), ids=TINY)


@pytest.fixture(scope="module")
def lite():
    return load_encoder()


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: asked.append(host) or [])
    yield
    assert not asked, f"this test looked for {asked} on the network"


def noise(views: int, height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (views, height, width, 3), dtype=torch.uint8)


def save(model, folder, **processor) -> str:
    """A model folder as on the hub: configuration, weights and preprocessor settings."""
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3} | processor)
    )
    return str(folder)


def strongest_change(one: torch.Tensor, other: torch.Tensor) -> tuple[int, int]:
    """The cell (row, column) at which two feature maps (h,w,C) differ most."""
    change = (one - other).norm(dim=-1)
    return divmod(int(change.argmax()), change.shape[1])


@pytest.mark.parametrize(
    "height, width, rows, columns",
    [
        (480, 640, 30, 40),
        (640, 480, 40, 30),
        (20, 20, 40, 40),
        (321, 200, 40, 24),
        (30, 900, 2, 40),
    ],
)
def test_efficientnet_gives_one_cell_per_8_pixels_of_the_resized_image(
    lite, height, width, rows, columns
):
    assert lite(noise(1, height, width)).shape == (1, rows, columns, lite.channels)


@devices
def test_efficientnet_does_not_depend_on_the_batch_size(device):
    encoder, images = load_encoder(longest_side=64, device=device), noise(5, 48, 64).to(device)
    alone = torch.cat([encoder(image[None]) for image in images])
    for batch in (2, 8):
        assert_close(encoder(images, batch=batch), alone, atol=1e-4, rtol=0)


def test_both_halves_of_a_feature_are_normalised(lite):
    for half in lite(noise(1, 60, 80)).split([40, 112], dim=-1):
        assert_close(half.mean(-1), torch.zeros(half.shape[:3]), atol=1e-4, rtol=0)
        assert_close(half.var(-1, correction=0), torch.ones(half.shape[:3]), atol=1e-2, rtol=0)


@pytest.mark.parametrize("block, stride, half", [(4, 8, slice(0, 40)), (10, 16, slice(40, None))])
def test_features_equal_those_of_the_original_network(lite, block, stride, half):
    original, maps = EfficientNet.from_name("efficientnet-lite0").eval(), []
    original.load_state_dict(torch.load(packaged_file(*LITE0), weights_only=True))
    original._blocks[block].register_forward_hook(
        lambda _module, _inputs, output: maps.append(output)
    )
    images = F.interpolate(torch.rand(2, 3, 12, 16) * 255, size=(240, 320), mode="bicubic")
    images = images.clamp(0, 255).byte()
    original((images - 127.0) / 128)  # the constants that EfficientNet-Lite was trained with
    assert maps[0].shape[2:] == (240 // stride, 320 // stride)
    expected = F.interpolate(maps[0], size=(30, 40), mode="bilinear").permute(0, 2, 3, 1)
    expected = (expected - expected.mean(-1, keepdim=True)) / expected.std(
        -1, correction=0, keepdim=True
    )
    assert_close(lite(images.permute(0, 2, 3, 1))[..., half], expected, atol=0.05, rtol=0)


@pytest.mark.parametrize("half", [slice(0, 40), slice(40, None)])
def test_a_bright_blob_is_felt_where_it_is(lite, half):
    empty = torch.full((1, 240, 320, 3), 90, dtype=torch.uint8)
    felt = []
    for row, column in [(10, 12), (10, 20), (18, 12)]:
        blob = empty.clone()
        blob[:, row * 8 : row * 8 + 16, column * 8 : column * 8 + 16] = 255
        felt.append(strongest_change(lite(blob)[0, ..., half], lite(empty)[0, ..., half]))
        assert abs(felt[-1][0] - row) <= 2 and abs(felt[-1][1] - column) <= 2
    (row, column), right, below = felt
    assert right == (row, column + 8) and below == (row + 8, column)


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ((*LITE0[:2], "0" * 64), (LITE0[0], "sha256 differs")),
        (("no_such_package", *LITE0[1:]), ("no_such_package",)),
        ((LITE0[0], "models/no-such-file.pth", LITE0[2]), (LITE0[0],)),
    ],
)
def test_weights_that_are_wrong_or_missing_are_named_with_the_command_that_installs_them(
    monkeypatch, wanted, says
):
    monkeypatch.setattr(perception, "LITE0", wanted)
    with pytest.raises(WeightsMissing) as error:
        load_encoder()
    assert all(text in str(error.value) for text in (*says, INSTALL))


def test_a_missing_network_package_is_named_with_the_command_that_installs_it(monkeypatch):
    name = "efficientnet_lite_pytorch"
    monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    with pytest.raises(WeightsMissing, match=f"{name} is not installed.*{INSTALL}"):
        load_encoder()


@tiny_models
def test_a_local_folder_of_any_vision_model_gives_a_normalised_map(tmp_path, model, config, shape):
    encoder = load_encoder(save(model(config), tmp_path))
    features = encoder(noise(3, 40, 60), batch=2)
    assert features.shape == (3, *shape) and encoder.channels == shape[-1]
    assert_close(features.mean(-1), torch.zeros(3, *shape[:2]), atol=1e-4, rtol=0)
    assert not any(p.requires_grad for p in encoder.parameters()) and not encoder.training


@tiny_models
def test_cells_are_laid_out_as_the_image_is(tmp_path, model, config, shape):
    encoder = load_encoder(save(model(config), tmp_path))
    image = noise(1, *encoder.size)
    height, width = encoder.size[0] // 4, encoder.size[1] // 4
    for row, column in [(0, 0), (1, 2), (3, 1)]:  # one of 4 x 4 parts
        changed = image.clone()
        changed[:, row * height : (row + 1) * height, column * width : (column + 1) * width] ^= 255
        change = (encoder(changed) - encoder(image)).norm(dim=-1)
        most = int(F.adaptive_avg_pool2d(change, 4).argmax())
        assert divmod(most, 4) == (row, column)


def test_pixels_are_normalised_as_the_preprocessor_says(tmp_path):
    mean, std, image = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6], noise(1, 32, 32)
    encoder = load_encoder(
        save(ViTModel(ViTConfig(**VISION)), tmp_path, image_mean=mean, image_std=std)
    )
    pixels = (image / 255 - torch.tensor(mean)) / torch.tensor(std)
    hidden = encoder.net(pixel_values=pixels.permute(0, 3, 1, 2)).last_hidden_state[0, 1:]
    expected = F.layer_norm(hidden.view(4, 4, 32), (32,))
    assert_close(encoder(image)[0], expected, atol=1e-4, rtol=0)


def test_a_half_precision_vision_model_gives_float32_features(tmp_path):
    encoder = load_encoder(save(ViTModel(ViTConfig(**VISION)).to(torch.bfloat16), tmp_path))
    assert encoder(noise(1, 32, 32)).dtype == torch.float32
