"""The one dial: a preset names the encoder, the token settings and the language model that belong
together.

Explained in notebook 00 (overview).
"""

from dataclasses import dataclass, replace
from typing import Literal

Tokens = Literal["patches", "voxels", "grid", "proxies", "objects"]


@dataclass(frozen=True)
class Preset:
    """What belongs together, from the picture to the step of tuning."""

    encoder: str
    """2D encoder: a packaged network or a name on the hub."""
    longest_side: int
    """Pixels that the encoder sees; EfficientNet's map has one cell per 8 pixels."""
    voxel_size: float
    """Cells of grid and voxels, metres."""
    budget: int
    """Scene tokens at most (LEO-VL's tables: 750)."""
    language: str
    """Language model: "nano", a packaged one, or a name on the hub."""
    prompt: str
    """Style of the prompt, see model/prompts.py."""
    batch_size: int
    """Scenes of a step of tuning."""
    text_budget: int
    """Scene tokens and text tokens in each of their sequences."""
    learning_rate: float
    """The highest one of tuning; low, for what the language model knows must last."""

    def options(self, tokens: str) -> dict[str, float | int]:
        """The options of a representation: cells and budget where it has them."""
        if tokens not in ("grid", "voxels"):
            return {}
        return {"voxel_size": self.voxel_size, "budget": self.budget}


NANO = Preset(
    encoder="efficientnet-lite0",
    longest_side=320,
    voxel_size=0.25,  # a third fewer tokens than with 0.2 m, which a laptop notices in training
    budget=750,
    language="nano",
    prompt="plain",
    batch_size=8,
    text_budget=512,
    learning_rate=4e-4,
)


PRESETS = {
    "nano": NANO,
    "smol": replace(
        NANO,
        language="smollm2-135m-instruct",
        prompt="chat",
        batch_size=4,
        text_budget=480,  # about 8 questions
        learning_rate=5e-4,
    ),
    # Paper scale, for a large GPU, from the hub: Proxy3D's encoder and language model (it took the
    # 7B one: change both names). Its frames have 512 pixels, here whole cells of 28.
    "qwen": Preset(
        encoder="Qwen/Qwen2.5-VL-3B-Instruct",
        longest_side=504,
        voxel_size=0.2,
        budget=750,
        language="Qwen/Qwen2.5-VL-3B-Instruct",
        prompt="chat",
        batch_size=4,
        text_budget=480,
        learning_rate=2e-4,
    ),
}


def get_preset(name: str) -> Preset:
    """The preset of this name; ValueError where there is none."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; choose one of: {', '.join(PRESETS)}")
    return PRESETS[name]


def check_choices(preset: str, device: str) -> None:
    """ValueError where there is no such preset, or the device cannot be used."""
    get_preset(preset)
    if device != "auto":
        pick_device(device)


def pick_device(device: str = "auto") -> "torch.device":
    """The device of this name; "auto" takes CUDA where there is one, else the CPU. ValueError where
    it cannot be used.
    """
    import torch  # here, for it takes a second: whoever asks for --help needs settings alone

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # AssertionError: torch built without CUDA
        raise ValueError(
            f"device {device!r} cannot be used here ({str(error).splitlines()[0]}); try auto or cpu"
        ) from None
    return torch.device(device)
