"""nano: a tiny Llama that can be trained on a laptop, and everything that is ours for it.

Neither paper has anything of this file; both start from a language model that can already speak.
nano starts from random weights, and four additions are meant to make it learn in minutes to look
things up in a scene: copy heads at the start, half-swapped scene vectors, a token shift, and one
position id for all scene tokens.
Explained in notebook 06 (scene to language).
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from leovl_mini.model.prompts import SPECIAL_TOKENS

WIDTH = 128


def nano() -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """A 4-layer Llama of 1.1 million parameters, untrained, with its tokenizer."""
    tokenizer = nano_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        # Keeps the size of what passes through; the usual 0.02 is for widths of thousands.
        initializer_range=WIDTH**-0.5,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return init_copy_heads(LlamaForCausalLM(config)), tokenizer


# -- what is ours ----------------------------------------------------------------------------------


def swap_halves(vectors: Float[Tensor, "*n D"]) -> Float[Tensor, "*n D"]:
    """The two halves of each vector exchanged: in this form scene tokens enter nano, so that they
    differ from words of the same meaning.
    """
    return vectors.roll(vectors.shape[-1] // 2, -1)


@torch.no_grad()
def init_copy_heads(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """Copy heads at the start: random weights with ties (W_K to W_Q, W_O to W_V) that attend to
    what is similar and copy what they find, which would take hundreds of steps to learn.

    A token of a red chair is the sum of the word embeddings of "red" and "chair", half-swapped. In
    the heads that read the scene, W_K is W_Q with its columns half-swapped, too, so that the word
    "chair" attends to chairs in the scene and not to itself. W_O is the transpose of W_V,
    half-swapped: what is found is added to the word in the vectors of words. All heads of the first
    two layers read the scene, and half of the heads above.
    """
    width, half = model.config.hidden_size, model.config.hidden_size // 2
    for i, layer in enumerate(model.model.layers):
        # The sum over layers keeps its size (GPT-2).
        layer.mlp.down_proj.weight /= (2 * len(model.model.layers)) ** 0.5
        attention = layer.self_attn
        rows = slice(0, width if i < 2 else half)  # of queries, keys and values
        attention.k_proj.weight[rows] = swap_halves(attention.q_proj.weight[rows])
        attention.o_proj.weight.copy_(attention.v_proj.weight.T / 2)
        attention.o_proj.weight[:, rows] = swap_halves(attention.v_proj.weight[rows]).T / 2
    return model


def shift_tokens(
    words: Float[Tensor, "N D"], share: Float[Tensor, ""], starts: Sequence[int]
) -> Float[Tensor, "N D"]:
    """Add to each word a learned ``share`` of the word before (token shift, in the spirit of RWKV,
    Peng et al. 2023, arXiv 2305.13048): in "red chair", the vector of "chair" then holds both. At
    ``starts`` texts begin: no word is before.
    """
    begins = torch.tensor(starts, device=words.device)
    return words + share * words.roll(1, 0).index_fill(0, begins, 0)


def share_scene_position(order: Int64[Tensor, "T"], prompt: int, scene: int) -> Int64[Tensor, "T"]:
    """Position ids in which all ``scene`` tokens, behind ``prompt`` tokens, have the same one: a
    room is a set, and where things are is in the position embedding.
    """
    return order.clamp(max=prompt).maximum(order - max(scene, 1) + 1)


# -- its tokenizer ---------------------------------------------------------------------------------


def nano_tokenizer() -> PreTrainedTokenizerFast:
    """About 2,000 words of the rooms' texts; anything else is spelled in bytes. Its file was
    written by ``train_tokenizer``.
    """
    core = Tokenizer.from_file(str(Path(__file__).with_name("nano_tokenizer.json")))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<eos>")
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL_TOKENS})
    return tokenizer


def train_tokenizer(texts: Iterable[str], file: Path) -> None:
    """Byte-pair encoding in which coordinates ("x 1.5"), numbers and words never share a token, so
    that each can be one. Writes the tokenizer to ``file``.
    """
    pieces = r" ?[xy] -?\d+\.\d| ?-?\d+(?:\.\d+)?| ?[^\W\d_]+| ?[^\s\w]+|\s+|_"
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pieces), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=2048,
        min_frequency=20,
        initial_alphabet=alphabet,
        special_tokens=["<pad>", "<eos>"],
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    core.save(str(file))
