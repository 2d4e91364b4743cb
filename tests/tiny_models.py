"""Pre-trained models in miniature: random weights, saved as transformers saves the real ones."""

from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from leovl_mini.model import language


def plain_tokenizer() -> PreTrainedTokenizerFast:
    """nano's words without our special tokens, which other people's tokenizers do not have."""
    core = Tokenizer.from_file(str(Path(language.__file__).with_name("nano_tokenizer.json")))
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<eos>")


def tiny_llama() -> LlamaForCausalLM:
    """Two layers of width 32 for the words of ``plain_tokenizer``."""
    tokenizer = plain_tokenizer()
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    ends = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        num_attention_heads=2,
        tie_word_embeddings=True,
        **sizes,
        **ends,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(config)


def save_llama(folder: Path) -> None:
    tiny_llama().save_pretrained(folder)
    plain_tokenizer().save_pretrained(folder)


def enlarge(model: LlamaForCausalLM, factor: float = 5) -> None:
    """Larger weights in all layers: as it is initialised, a random model repeats one token."""
    with torch.no_grad():
        for weight in model.get_decoder().layers.parameters():
            weight.mul_(factor)


def save_qwen(
    folder: Path, layers: int = 3, spare_words: int = 200, tied: bool = True
) -> Qwen2_5_VLForConditionalGeneration:
    """Windows of 2 x 2 cells of 28 pixels; the third layer of the tower sees everything."""
    tokenizer = plain_tokenizer()
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 2, 2]}
    sizes = {
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    ends = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    text = {"vocab_size": len(tokenizer) + spare_words, "rope_parameters": rope, **sizes, **ends}
    vision = {
        "depth": layers,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "out_hidden_size": 48,
        "window_size": 56,
        "fullatt_block_indexes": [2],
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=tied)
        model = Qwen2_5_VLForConditionalGeneration(config).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil().save_pretrained(folder)
    return model
