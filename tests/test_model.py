"""LeoVL: what the language model reads, losses, answers, and the front door of the package."""

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from random_inputs import no_cuda, random_patches, random_tokens, to_device
from sequences import greedy, sequence_of, turns_of
from tiny_models import enlarge
from torch.nn.parallel import DistributedDataParallel
from torch.testing import assert_close

import leovl_mini
from leovl_mini import LeoVL, ask, load_scene, perceive
from leovl_mini.config import PRESETS, get_preset, pick_device
from leovl_mini.data.samples import sample_room
from leovl_mini.model.ask import Answer, load_model
from leovl_mini.model.generation import GREEDY_TOKENS, generate_ids
from leovl_mini.model.nano import nano_tokenizer
from leovl_mini.model.prompts import before_scene
from leovl_mini.scans.scene import InputError, Object
from leovl_mini.tokens import REPRESENTATIONS

TOKENIZER = nano_tokenizer()
QUESTIONS = ["Where is the lamp?", "How many chairs are there in the room?"]


@pytest.fixture(scope="module")
def model() -> LeoVL:
    leovl = LeoVL("nano", channels=8)
    enlarge(leovl.language)
    return leovl


@pytest.fixture
def pretrained(tiny) -> LeoVL:
    """A preset with a pre-trained language model: nothing of nano's additions."""
    leovl = LeoVL("tiny", channels=8)
    enlarge(leovl.language, 8)
    return leovl


def decode(model: LeoVL, embedded: torch.Tensor) -> str:
    """The text whose word embeddings these (T,D) are, each with a share of the one before."""
    table, ids = model.language.get_input_embeddings().weight, []
    for vector in embedded:
        word = vector - model.token_shift * table[ids[-1]] if ids else vector
        ids.append(int(torch.cdist(word[None], table).argmin()))
        assert_close(table[ids[-1]], word)
    return model.tokenizer.decode(ids)


def rms(x: torch.Tensor) -> float:
    return float(x.detach().square().mean().sqrt())


# -- settings --------------------------------------------------------------------------------------


def test_an_unknown_preset_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="'huge'.*nano, smol"):
        get_preset("huge")


def test_a_device_is_picked_or_refused():
    cuda = torch.cuda.is_available()
    assert pick_device("auto").type == ("cuda" if cuda else "cpu")
    assert pick_device("cpu").type == "cpu"
    with pytest.raises(ValueError, match="'abacus' cannot be used here"):
        pick_device("abacus")


# -- what the language model reads -----------------------------------------------------------------


def test_the_language_model_reads_role_then_scene_then_question(model):
    tokens, turn = random_tokens(7), model.open_turn("Where is the lamp?")
    sequence = sequence_of(model, tokens, turn)["inputs_embeds"][0]
    start, end = len(TOKENIZER(before_scene()).input_ids), len(sequence) - len(turn.ids)
    assert end - start == 7
    assert decode(model, sequence[:start]) == before_scene()
    assert decode(model, sequence[end:]) == " USER: Where is the lamp? ASSISTANT:"
    position = model.position.fourier(tokens.centers[:, :2])
    content = model.scene_scale * (model.projector(tokens.features) + position)
    assert_close(sequence[start:end], torch.cat(content.chunk(2, -1)[::-1], -1))  # halves swapped


def test_to_every_word_of_nano_a_share_of_the_one_before_is_added(model):
    table = model.language.get_input_embeddings().weight
    words = model.embed_words(torch.tensor([7, 8, 9, 10]), {}, starts=[0, 2])
    assert model.token_shift.item() == 0.5
    shifted = [table[7], table[8] + table[7] / 2, table[9], table[10] + table[9] / 2]
    assert_close(words, torch.stack(shifted))
    (gradient,) = torch.autograd.grad(words.sum(), model.token_shift)  # the share is learned
    assert_close(gradient, (table[7] + table[9]).sum())


def test_a_pretrained_model_reads_plain_words_and_counts_on(pretrained):
    table = pretrained.language.get_input_embeddings().weight
    assert pretrained.token_shift is None
    assert torch.equal(pretrained.embed_words(torch.tensor([7, 8]), {}), table[7:9])
    assert pretrained.position_ids(3, 4, 2).tolist() == list(range(9))
    tokens = random_tokens(5)
    content = pretrained.projector(tokens.features) + pretrained.position(tokens)
    assert_close(pretrained.embed_scenes([tokens])[0], pretrained.scene_scale * content)


@pytest.mark.parametrize("kind", REPRESENTATIONS)
def test_several_scenes_are_embedded_like_each_alone(kind):
    model = LeoVL("nano", channels=8, tokens=kind)
    scenes = [model.representation(random_patches(60, groups=4, seed=s)) for s in (0, 1)]
    for together, scene in zip(model.embed_scenes(scenes), scenes, strict=True):
        assert together.shape == model.position(scene).shape == (len(scene), 128)
        assert_close(together, model.embed_scenes([scene])[0], atol=1e-5, rtol=1e-5)


def test_scene_tokens_start_at_the_scale_of_words(smol):
    for model in (LeoVL("nano", channels=8), smol):
        scene = model.scene_scale * model.projector(random_tokens(200).features)
        words = model.language.get_input_embeddings().weight
        assert 1 / 1.5 < rms(scene) / rms(words) < 1.5


def test_the_same_seed_gives_the_same_weights_and_leaves_the_random_state_alone():
    torch.manual_seed(5)
    first, number = LeoVL(seed=1).state_dict(), torch.rand(1)
    torch.manual_seed(5)
    assert torch.rand(1) == number
    again, other = LeoVL(seed=1).state_dict(), LeoVL(seed=2).state_dict()
    assert all(torch.equal(again[name], weight) for name, weight in first.items())
    random = ("projector.1.weight", "projector.3.weight", "position.fourier.frequencies")
    for name in (*random, "language.model.embed_tokens.weight"):
        assert not torch.equal(other[name], first[name])
    assert sum(weight.numel() for weight in first.values()) <= 3_500_000


# -- training in several processes -----------------------------------------------------------------


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def test_ddp_takes_it_as_it_is(tmp_path):
    model = LeoVL("nano", channels=8)
    batch = [random_tokens(7)], [turns_of(model, 2)]
    model(*batch)[0].mean().backward()
    expected = gradients(model)
    assert all(g is not None and g.norm() > 0 for g in expected.values())
    model.zero_grad()
    file = f"file://{tmp_path}/store"
    torch.distributed.init_process_group("gloo", init_method=file, rank=0, world_size=1)
    try:
        DistributedDataParallel(model)(*batch)[0].mean().backward()
    finally:
        torch.distributed.destroy_process_group()
    for name, gradient in gradients(model).items():
        assert_close(gradient, expected[name])


# -- answers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scene", [random_tokens(20), random_tokens(0), None])
def test_greedy_answers_equal_a_plain_loop_without_a_cache(model, scene):
    expected = [greedy(model, scene, question, 12) for question in QUESTIONS]
    assert expected[0] != expected[1] and len(set(expected[0])) > 5
    assert model.generate(scene, QUESTIONS, 12) == expected
    assert model.generate(scene, QUESTIONS[1:], 12) == expected[1:]


def test_answers_equal_those_of_transformers(pretrained):
    scene, turns = random_tokens(9), [pretrained.open_turn(q) for q in QUESTIONS]
    found = generate_ids(pretrained, scene, turns, 14, temperature=0.0)
    for turn, ids in zip(turns, found, strict=True):
        sequence = sequence_of(pretrained, scene, turn)["inputs_embeds"]
        expected = pretrained.language.generate(
            inputs_embeds=sequence,
            attention_mask=torch.ones(sequence.shape[:2]),
            max_new_tokens=14,
            do_sample=False,
        )
        assert ids == expected[0].tolist() and len(set(ids)) > 3


def test_another_scene_gives_another_answer(model):
    answers = {model.generate(random_tokens(20, seed=s), QUESTIONS[:1], 12)[0] for s in range(3)}
    assert len(answers) > 1


def test_only_later_tokens_are_sampled_and_always_with_the_same_noise(model):
    scene = random_tokens(20)
    sure, likely, sampled = (
        model.generate(scene, QUESTIONS, 24, temperature=t) for t in (0.0, 1e-6, 5.0)
    )
    short = model.generate(scene, QUESTIONS, GREEDY_TOKENS, temperature=5.0)
    assert sure == likely and all(a != b for a, b in zip(sure, sampled, strict=True))
    for answer, beginning in zip(sure + sampled, 2 * short, strict=True):
        assert answer.startswith(beginning.rstrip("\ufffd"))
    assert sampled == [model.generate(scene, [q], 24, temperature=5.0)[0] for q in QUESTIONS]


def test_tokens_are_sampled_as_often_as_they_are_likely(model, monkeypatch):
    """A model that finds three words likely in the proportion 5 to 4 to 1, whatever it reads, at
    temperature 1.
    """
    likely = torch.full((1, 1, len(TOKENIZER)), -1e9)
    likely[0, 0, TOKENIZER(" red blue green").input_ids] = torch.tensor([5.0, 4.0, 1.0]).log()
    cache = SimpleNamespace(batch_repeat_interleave=lambda _: None)
    output = SimpleNamespace(logits=likely, past_key_values=cache)
    monkeypatch.setattr(model.language, "forward", lambda **_: output)
    answer = model.generate(None, ["Why?"], GREEDY_TOKENS + 1000, temperature=1.0)[0].split()
    often = [answer[GREEDY_TOKENS:].count(word) / 1000 for word in ("red", "blue", "green")]
    assert set(answer[:GREEDY_TOKENS]) == {"red"}
    assert often == pytest.approx([0.5, 0.4, 0.1], abs=0.04)


def test_no_questions_have_no_answers(model):
    assert model.generate(random_tokens(5), []) == []


@no_cuda
def test_answers_are_the_same_on_cuda(model):
    patches = random_patches(200)
    expected = model.generate(model.representation(patches), QUESTIONS, 8)
    model.to("cuda")
    found = model.generate(model.representation(to_device(patches, "cuda")), QUESTIONS, 8)
    model.to("cpu")
    assert found == expected


# -- the front door --------------------------------------------------------------------------------


def test_the_package_is_imported_without_torch():
    """So that ``leovl-mini --help`` is quick."""
    code = "import leovl_mini, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'leo'"):
        leovl_mini.leo  # noqa: B018


def test_a_question_is_answered_alike_whatever_stands_for_the_scene():
    path, question = sample_room(), "Is there a television?"
    scene, model = load_scene(path), LeoVL.from_pretrained("nano")
    scene_input = perceive(scene)
    answers = [ask(s, question, model) for s in (scene, scene_input, scene_input.tokens)]
    assert [str(a) for a in (*answers, ask(str(path), question))] == ["yes"] * 4


def test_tokens_of_another_kind_than_the_models_are_refused():
    scene_input = perceive(load_scene(sample_room(), max_frames=2), "voxels")
    with pytest.raises(InputError, match="voxels tokens, but the model was made for grid"):
        ask(scene_input, "Why?")


def test_a_model_without_weights_says_that_it_is_untrained(tiny):
    for model in (load_model("nano", "voxels"), load_model("tiny")):
        assert model.channels == 152 and not model.training
        answer = ask(random_tokens(5, 152), "Why?", model, max_new_tokens=3)
        assert not answer.trained and str(answer) == f"[untrained] {answer.text}"
    assert load_model("nano").trained and str(Answer("a chair", trained=True)) == "a chair"


def test_objects_come_back_from_json():
    item = Object(3, "lamp", (1.0, 2.0, 0.5), (0.2, 0.2, 0.6), 0.1, {"colour": "red"})
    fields = {**vars(item), "center": [1.0, 2.0, 0.5], "size": [0.2, 0.2, 0.6]}
    assert Object.from_dict(fields) == item


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_language_model_in_any_precision_can_be_asked(tiny, monkeypatch, tmp_path, dtype):
    leovl_mini.model.language.load_language(str(tiny)).model.to(dtype).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    monkeypatch.setitem(PRESETS, "local", replace(PRESETS["tiny"], language=str(tmp_path)))
    model = LeoVL("local", channels=8)
    assert isinstance(model.generate(random_tokens(5), ["Why?"], 3)[0], str)
