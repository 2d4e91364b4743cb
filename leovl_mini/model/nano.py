"""nano: a tiny Llama that can be trained on a laptop, and everything that is ours for it."""

from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from leovl_mini.model.prompts import HEIGHT_BINS, SPECIAL


def nano() -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """A 4-layer Llama of 1.1 million parameters. It starts from random weights: it knows nothing."""
    tokenizer = nano_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        initializer_range=128
        ** -0.5,  # keeps the size of what passes through; the usual 0.02 is for widths of thousands
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return init_copy_heads(LlamaForCausalLM(config)), tokenizer


@torch.no_grad()
def init_copy_heads(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """Random weights that look at what is alike and copy what they find, which would take hundreds
    of steps to learn (ours).

    Scene tokens say "red chair, here" in the same vectors as the text, but with their halves
    exchanged (``LeoVL.dialect``). In the heads that read the scene, keys are queries with halves
    exchanged: the word "chair" looks for chairs in the scene, not for itself. Outputs are the
    transpose of the values: what is found is added to the word, in the dialect of the text. All
    heads of the first two layers read the scene, and half of those above.
    """
    width, half = model.config.hidden_size, model.config.hidden_size // 2
    for i, layer in enumerate(model.model.layers):
        layer.mlp.down_proj.weight /= (
            2 * len(model.model.layers)
        ) ** 0.5  # the sum over layers keeps its size (GPT-2)
        attention, rows = (
            layer.self_attn,
            slice(0, width if i < 2 else half),
        )  # of queries, keys and values
        attention.k_proj.weight[rows] = attention.q_proj.weight[rows].roll(half, 1)
        attention.o_proj.weight.copy_(attention.v_proj.weight.T / 2)
        attention.o_proj.weight[:, rows] = attention.v_proj.weight[rows].roll(half, 1).T / 2
    return model


def nano_tokenizer() -> PreTrainedTokenizerFast:
    """The words of the rooms' texts, about 2,000; anything else is spelled in bytes. Written by
    ``train_tokenizer``.
    """
    core = Tokenizer.from_file(str(Path(__file__).with_name("nano_tokenizer.json")))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<eos>")
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL + HEIGHT_BINS})
    return tokenizer


def train_tokenizer(texts: Iterable[str], file: Path) -> None:
    """Byte-pair encoding in which coordinates ("x 1.5"), numbers and words never share a token, so
    that each can be one.
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
