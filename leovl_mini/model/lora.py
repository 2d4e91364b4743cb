"""LoRA: a pre-trained language model stays as it is, and small matrices beside its weights learn
(Hu et al. 2021, arXiv 2106.09685), through peft.

Explained in notebook 07 (fine-tuning).
"""

import warnings
from typing import TYPE_CHECKING

import torch
from peft import LoraConfig, get_peft_model

if TYPE_CHECKING:
    from leovl_mini.model.leovl import LeoVL

# All projections of attention and of the MLP, as in LEO, whose rank and alpha were both 16.
# LEO-VL's are not published.
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def add_lora(model: "LeoVL", rank: int = 8, seed: int = 0) -> None:
    """Freeze the language model and put a fresh adapter of ``rank`` into it (alpha = 2 ``rank``, no
    dropout), which changes no output yet.

    Then adapter, projector, position embedding and scene scale are trained. ``with
    model.language.disable_adapter():`` switches the adapter off. ValueError where the model has one
    already.
    """
    if model.lora:
        raise ValueError(f"the model has an adapter of rank {model.lora} already; merge it first")
    with torch.random.fork_rng(), warnings.catch_warnings():
        torch.manual_seed(seed)
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers in an old way
        model.language = get_peft_model(
            model.language, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=TARGETS)
        )
    model.lora = rank


def merge_lora(model: "LeoVL") -> None:
    """Add the adapter into the weights, which stay frozen. With a fresh adapter on top, the model
    as it is now can be had again by switching that off: the reference of preference optimisation.
    Files of a merged model hold all its weights.
    """
    if not model.lora:
        raise ValueError("the model has no adapter to merge")
    model.language = model.language.merge_and_unload()
    model.lora, model.is_original = 0, False
