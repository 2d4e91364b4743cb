"""What does the language model read? Prompts, scene tokens, packing, answers, weights.

Explained in notebook 06 (scene to language).
"""

from leovl_mini.model.ask import Answer, load_model
from leovl_mini.model.lora import add_lora
from leovl_mini.model.nano import share_scene_position, shift_tokens, swap_halves
from leovl_mini.model.packing import pack
from leovl_mini.model.prompts import STYLES, before_scene, encode, question_text
from leovl_mini.model.symbols import (
    WORDS,
    Vocabulary,
    objects_as_symbols,
    simulate_grid,
    tokens_as_symbols,
)

__all__ = [
    "STYLES",
    "WORDS",
    "Answer",
    "Vocabulary",
    "add_lora",
    "before_scene",
    "encode",
    "load_model",
    "objects_as_symbols",
    "pack",
    "question_text",
    "share_scene_position",
    "shift_tokens",
    "simulate_grid",
    "swap_halves",
    "tokens_as_symbols",
]
