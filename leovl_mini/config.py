"""The one dial: a preset names the encoder, the token settings and the language model that belong
together.
"""

import torch

PRESETS = {
    "nano": {
        "encoder": "efficientnet-lite0",
        "longest_side": 320,  # pixels the encoder sees; its map has one cell per 8 pixels
        # Settings of the representations; metres, and scene tokens at most (LEO-VL's tables: 750).
        # Cells of 0.25 m instead of 0.2 m make a third fewer tokens, which a laptop notices in
        # training.
        "tokens": {
            "grid": {"voxel_size": 0.25, "budget": 750},
            "voxels": {"voxel_size": 0.25, "budget": 750},
        },
        "language": "nano",
        "prompt": "plain",
        # A step of tuning: so many rooms, so many scene tokens and words in each of their
        # sequences; the highest rate, which is low: what the first stage has learned must last.
        "tuning": {"rooms": 8, "budget": 512, "rate": 4e-4},
    },
    "smol": {
        "encoder": "efficientnet-lite0",
        "longest_side": 320,
        "tokens": {
            "grid": {"voxel_size": 0.25, "budget": 750},
            "voxels": {"voxel_size": 0.25, "budget": 750},
        },
        "language": "smollm2-135m-instruct",
        "prompt": "chat",
        "tuning": {"rooms": 4, "budget": 480, "rate": 5e-4},  # about 8 questions
    },
    # Paper scale, for a large GPU, from the hub: Proxy3D's encoder and language model (it took the
    # 7B one: change both names). Its frames have 512 pixels, here whole cells of 28.
    "qwen": {
        "encoder": "Qwen/Qwen2.5-VL-3B-Instruct",
        "longest_side": 504,
        "tokens": {
            "grid": {"voxel_size": 0.2, "budget": 750},
            "voxels": {"voxel_size": 0.2, "budget": 750},
        },
        "language": "Qwen/Qwen2.5-VL-3B-Instruct",
        "prompt": "chat",
        "tuning": {"rooms": 4, "budget": 480, "rate": 2e-4},
    },
}


def get_preset(name: str) -> dict:
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; choose one of: {', '.join(PRESETS)}")
    return PRESETS[name]


def pick_device(device: str = "auto") -> torch.device:
    """ "auto" takes CUDA where there is one, else the CPU."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
    except (
        RuntimeError,
        AssertionError,
        NotImplementedError,
    ) as error:  # AssertionError: torch built without CUDA
        raise ValueError(
            f"device {device!r} cannot be used here ({str(error).splitlines()[0]}); try auto or cpu"
        ) from None
    return torch.device(device)
