"""SceneDPO: losses by hand, references, batches of pairs, GRPO, and metrics of preference."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from random_inputs import devices, random_tokens
from torch import Tensor
from torch.testing import assert_close

from leovl_mini.data.examples import Example
from leovl_mini.evaluate.preferences import edit_outcomes, hallucinations, preference_metrics
from leovl_mini.model.leovl import LeoVL
from leovl_mini.model.lora import add_lora
from leovl_mini.model.prompts import encode
from leovl_mini.scans.scene import InputError
from leovl_mini.tokens.base import SceneInput
from leovl_mini.train.grpo import advantages, answer_text, grpo_loss, on_policy_answers, sample
from leovl_mini.train.pairs import Pair
from leovl_mini.train.post_train import METHODS, post_train
from leovl_mini.train.scenedpo import (
    PairBatch,
    PairDataset,
    Reference,
    contrast_log_probs,
    pair_log_probs,
    preference_loss,
    scenedpo_loss,
    sequence_log_probs,
    sft_loss,
)

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture
def model() -> LeoVL:
    return LeoVL("nano", channels=8).eval()


def scene_input(name: str) -> SceneInput:
    """A scene of random tokens, of a size that its name says."""
    size = int(name)
    nothing = torch.zeros(size, 2, dtype=torch.long)
    return SceneInput(random_tokens(size, 8, seed=size), nothing, [], name)


def asked(number: int, scene: str, kind: str, question: str, *answers: str, **fields) -> Example:
    return Example(f"{scene}/{number}", scene, "qa", kind, question, list(answers), **fields)


SITUATION = {"situation": "By the door.", "position": [1.0, 0.5, 0.0], "heading": 0.3}
COLOUR = asked(0, "7", "colour", "Which colour is the sofa?", "red")
COUNT = asked(1, "7", "count", "How many chairs are there?", "2", "two")
PLACE = asked(2, "12", "place", "Where is the mug?", "on the table")
SPOT = asked(3, "9", "coordinates", "Where is the lamp?", "x 1.5, y -0.5")
SIDE = asked(4, "5", "situated", "Where is the bed?", "left", **SITUATION)
PAIRS = [
    Pair(COLOUR, "blue", "same kind", "11", "random"),
    Pair(COUNT, "3", "own generation", "9", "presupposition"),
    Pair(PLACE, "under the bed", "same kind", "5", "edit"),
    Pair(SPOT, "x -2.0, y 0.5", "same kind", "7", "random"),
    Pair(SIDE, "right", "same kind", "12", "random"),
]


def pairs_of(model: LeoVL, pairs=PAIRS, **options) -> PairDataset:
    return PairDataset(model, scene_input, pairs, **{"batch_size": 3} | options)


def whole(model: LeoVL, pairs=PAIRS) -> PairBatch:
    """Pairs as a batch without augmentation."""
    dataset = pairs_of(model, pairs, turn=False, background=1.0)
    return dataset.collate(pairs, [np.random.default_rng(0)] * len(pairs))


def moved(model: LeoVL, size: float = 0.02) -> LeoVL:
    """As if what is trained had learned something."""
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in (p for p in model.parameters() if p.requires_grad):
            p += size * torch.randn(p.shape, generator=random)
    return model


# -- log-probabilities -----------------------------------------------------------------------------


def by_transformers(model: LeoVL, scene: str, example: Example, answer: str) -> Tensor:
    """log π as transformers computes it for one plain sequence: minus the mean loss, times the
    number of tokens.
    """
    tokens = scene_input(scene).tokens
    turn = encode(example, model.tokenizer, model.prompt_style, answer)
    before = model.embed_prompt(tokens)
    words = model.embed_words(torch.tensor(turn.ids), turn.places)
    labels = torch.full((len(before) + len(turn.ids),), -100)
    labels[len(before) + turn.answer_start :] = torch.tensor(turn.ids[turn.answer_start :])
    positions = model.position_ids(len(before) - len(tokens), len(tokens), len(words))
    loss = model.language(
        inputs_embeds=torch.cat([before, words])[None],
        position_ids=positions[None],
        labels=labels[None],
    ).loss
    return -loss * (len(turn.ids) - turn.answer_start)


@torch.no_grad()
def test_log_probs_are_sums_over_tokens_of_separate_sequences(model):
    def log_probs(of) -> list[Tensor]:
        return [by_transformers(model, *of(p)) for p in PAIRS]

    expected = [
        log_probs(lambda p: (p.example.scene, p.example, p.example.answers[0])),
        log_probs(lambda p: (p.example.scene, p.example, p.rejected)),
        log_probs(lambda p: (p.negative, p.example, p.example.answers[0])),
    ]
    together = pair_log_probs(model, whole(model))
    assert together.dtype == torch.float32
    assert_close(together, torch.tensor(expected), atol=2e-4, rtol=0)
    alone = torch.cat([pair_log_probs(model, whole(model, [p])) for p in PAIRS], dim=1)
    assert_close(together, alone, atol=1e-4, rtol=0)


# -- the loss --------------------------------------------------------------------------------------


def log_sigmoid(x: float) -> float:
    return math.log(1 / (1 + math.exp(-x)))


def random_log_probs(columns: int = 4) -> tuple[Tensor, Tensor]:
    generators = (torch.Generator().manual_seed(seed) for seed in (0, 1))
    return tuple(-5 * torch.rand(3, columns, generator=g) for g in generators)


def test_the_loss_is_the_formula():
    """log π, log π_ref of (a✓,s✓), (a✗,s✓), (a✓,s✗) for two pairs; Δ = .5, -1, -.5 and -1, 0, 1."""
    policy = torch.tensor([[-1.0, -3.0], [-3.0, -2.0], [-2.5, -1.0]])
    reference = torch.tensor([[-1.5, -2.0], [-2.0, -2.0], [-2.0, -2.0]])
    first = -1.5 * log_sigmoid(0.2 * 1.5) - 0.7 * log_sigmoid(0.4 * 1.0) + 0.3 * 1.0
    second = -1.5 * log_sigmoid(0.2 * -1.0) - 0.7 * log_sigmoid(0.4 * -2.0) + 0.3 * 3.0
    for weights, expected in (
        ((1.5, 0.7, 0.3), (first + second) / 2),
        ((1.0, 0.0, 0.0), -(log_sigmoid(0.3) + log_sigmoid(-0.2)) / 2),
        ((0.0, 1.0, 0.0), -(log_sigmoid(0.4) + log_sigmoid(-0.8)) / 2),
        ((0.0, 0.0, 1.0), 2.0),
    ):
        assert_close(scenedpo_loss(policy, reference, 0.2, 0.4, *weights), torch.tensor(expected))


@pytest.mark.parametrize("beta_a, beta_s", [(0.1, 0.1), (0.5, 2.0)])
def test_both_contrasts_start_at_log_2(model, beta_a, beta_s):
    reference, batch = Reference(model), whole(model)
    for w_a, w_s in ((1.0, 0.0), (0.0, 1.0)):
        options = {"beta_a": beta_a, "beta_s": beta_s, "w_a": w_a, "w_s": w_s, "w_nll": 0.0}
        loss = preference_loss(model, batch, reference, **options)
        assert_close(loss, torch.tensor(math.log(2)), atol=1e-6, rtol=0)


def test_extreme_margins_neither_overflow_nor_vanish():
    policy = torch.tensor([[-1e4], [0.0], [0.0]], requires_grad=True)
    loss = scenedpo_loss(policy, torch.zeros(3, 1), 1.0, 1.0, w_nll=0.0)
    loss.backward()
    assert_close(loss.detach(), torch.tensor(2e4))
    assert policy.grad.isfinite().all() and policy.grad[0] == -2.0


def test_beta_widens_every_margin():
    better, worse = torch.tensor([[-1.0], [-3.0], [-4.0]]), torch.tensor([[-4.0], [-3.0], [-1.0]])
    for weights in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)):
        half = torch.full((3, 1), -2.0)
        none, small, large = (
            [scenedpo_loss(p, half, beta, beta, *weights) for p in (better, worse)]
            for beta in (0.0, 0.1, 1.0)
        )
        assert large[0] < small[0] < none[0] == none[1] < small[1] < large[1]


@pytest.mark.parametrize(
    "weights, signs",
    [
        ((1.0, 0.0, 0.0), (-1, 1, 0)),  # answer contrast
        ((0.0, 1.0, 0.0), (-1, 0, 1)),  # scene contrast
        ((0.0, 0.0, 1.0), (-1, 0, 0)),  # L_NLL
        ((1.0, 1.0, 1.0), (-1, 1, 1)),
    ],
)
def test_the_right_answer_in_the_right_scene_rises_and_the_others_fall(weights, signs):
    policy, reference = random_log_probs()
    policy.requires_grad_()
    scenedpo_loss(policy, reference, 0.1, 0.3, *weights).backward()
    assert policy.grad.sign().tolist() == [[s] * 4 for s in signs]


def test_gradients_are_those_of_the_formula():
    """dL_a/dlog π(a✓|s✓) = -β_a σ(-β_a m), m the margin."""
    policy, reference = random_log_probs(1)
    policy.requires_grad_()
    scenedpo_loss(policy, reference, 0.1, 0.3).backward()
    right, wrong_answer, wrong_scene = (policy - reference).detach()
    a = 0.1 * torch.sigmoid(-0.1 * (right - wrong_answer))
    s = 0.3 * torch.sigmoid(-0.3 * (right - wrong_scene))
    assert_close(policy.grad, torch.stack([-a - s - 1, a, s]))


def test_the_same_scene_twice_teaches_nothing(model):
    reference = Reference(model)
    same = [dataclasses.replace(p, negative=p.example.scene) for p in PAIRS]
    moved(model)
    for pairs, teaches in ((same, False), (PAIRS, True)):
        model.zero_grad()
        preference_loss(model, whole(model, pairs), reference, w_a=0.0, w_nll=0.0).backward()
        largest = max(p.grad.abs().max() for p in model.parameters() if p.grad is not None)
        assert (largest > 1e-3) if teaches else (largest < 1e-6)


def test_methods_are_weights_of_one_loss(model):
    reference, batch = Reference(model), whole(model)
    moved(model)
    answer, scene, nll = (
        preference_loss(model, batch, reference, w_a=a, w_s=s, w_nll=n)
        for a, s, n in torch.eye(3).tolist()
    )
    sums = {"sft": nll, "answer dpo": answer + nll, "no nll": answer + scene}
    sums["scenedpo"] = answer + scene + nll
    assert set(sums) | {"grpo"} == set(METHODS)
    for method, total in sums.items():
        assert_close(preference_loss(model, batch, reference, **METHODS[method]), total)
    assert_close(sft_loss(model, batch), nll)


# -- the reference ---------------------------------------------------------------------------------


def test_the_reference_stays_while_the_policy_learns(model):
    reference, batch = Reference(model), whole(model)
    before = pair_log_probs(model, batch).detach()
    moved(model)
    assert_close(reference(batch), before, atol=1e-5, rtol=0)
    assert (pair_log_probs(model, batch) - before).abs().min() > 1e-3
    assert not reference(batch).requires_grad


def test_everything_outside_the_language_model_is_frozen(model):
    before = {k: v.clone() for k, v in model.state_dict().items()}
    post_train(model, pairs_of(model, batch_size=2), steps=3, learning_rate=1e-2, quiet=True)
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed and all(name.startswith("language.") for name in changed)


def tuned_with_lora() -> LeoVL:
    model = LeoVL("tiny", channels=8)
    add_lora(model, 4)
    return moved(model, 0.1)


def test_with_lora_the_reference_is_the_merged_model_with_its_fresh_adapter_off():
    model = tuned_with_lora()
    before = pair_log_probs(model, whole(model)).detach()
    reference = Reference(model)
    assert reference.model is model and model.lora == 4
    now = pair_log_probs(model, whole(model)).detach()
    assert_close(now, before, atol=1e-3, rtol=0)  # merged; the fresh adapter does nothing yet
    moved(model, 0.1)
    assert_close(reference(whole(model)), before, atol=1e-3, rtol=0)
    assert (pair_log_probs(model, whole(model)) - before).abs().max() > 0.1  # on again
    assert all(".lora_" in name for name, p in model.named_parameters() if p.requires_grad)


def test_a_resumed_adapter_keeps_its_reference(tmp_path):
    def run(steps: int) -> tuple[LeoVL, list[float]]:
        model = tuned_with_lora()
        options = {"learning_rate": 1e-2, "checkpoint": tmp_path / "lora.safetensors"}
        dataset = pairs_of(model, batch_size=2)
        return model, post_train(model, dataset, steps=steps, quiet=True, **options)

    _, first = run(2)
    model, losses = run(3)
    assert losses[:2] == first
    with model.language.disable_adapter():
        off = pair_log_probs(model, whole(model))
    assert_close(off, pair_log_probs(tuned_with_lora(), whole(model)), atol=1e-3, rtol=0)


def test_a_remembered_reference_is_the_one_computed_on_the_fly(model):
    unchanged = pairs_of(model, turn=False, background=1.0)
    remembered, fresh = Reference(model), Reference(model)
    moved(model)
    for step in range(4):  # the fourth step has met all pairs before
        batch = unchanged[step, 0, 1]
        computed = fresh(dataclasses.replace(batch, numbers=None))
        assert_close(remembered(batch), computed, atol=1e-4, rtol=0)
    assert len(remembered.remembered) == len(PAIRS) and not fresh.remembered
    remembered.model = None  # nothing is computed any more
    assert remembered(unchanged[9, 0, 1]).shape == (3, 3)
    for options in ({"turn": True, "background": 1.0}, {"turn": False, "background": 0.3}):
        batch = pairs_of(model, **options)[0, 0, 1]
        fresh(batch)
        assert batch.numbers is None and not fresh.remembered  # augmented: always another pair


# -- batches ---------------------------------------------------------------------------------------


def test_a_batch_holds_the_right_scenes_and_then_the_wrong_ones(model):
    batch = whole(model)
    assert [len(s) for s in batch.scenes] == [7, 7, 12, 9, 5, 11, 9, 5, 7, 12]
    texts = [[answer_text(model, t) for t in turns] for turns in batch.turns]
    right = [p.example.answers[0] for p in PAIRS]
    assert texts == [[r, p.rejected] for r, p in zip(right, PAIRS, strict=True)] + [
        [r] for r in right
    ]


def centers(batch: PairBatch) -> list[Tensor]:
    return [s.centers for s in batch.scenes]


def test_batches_depend_on_seed_and_step_alone_and_parts_make_the_whole(model):
    first, again, other = (pairs_of(model, seed=s) for s in (0, 0, 1))
    a, b = first[1, 0, 1], again[1, 0, 1]
    assert a.turns == b.turns and a.seed == b.seed and all(map(torch.equal, centers(a), centers(b)))
    assert any(first[step, 0, 1].turns != other[step, 0, 1].turns for step in range(3))
    one, two = (first[1, part, 2] for part in range(2))
    rejoined = [centers(one)[0], centers(two)[0], centers(one)[1]]  # right scenes, then wrong ones
    rejoined += [centers(one)[2], centers(two)[1], centers(one)[3]]
    assert all(map(torch.equal, rejoined, centers(a)))
    few = pairs_of(model, batch_size=2)
    epochs = [e.id for step in range(5) for e in few[step, 0, 1].examples]
    assert sorted(epochs[:5]) == sorted(epochs[5:]) == sorted(p.example.id for p in PAIRS)


def test_both_scenes_and_all_coordinates_turn_together(model):
    some, turned = pairs_of(model, PAIRS[3:4], batch_size=1, background=1.0), set()
    accepted = ["x 1.5, y -0.5", "x 0.5, y 1.5", "x -1.5, y 0.5", "x -0.5, y -1.5"]
    rejected = ["x -2.0, y 0.5", "x -0.5, y -2.0", "x 2.0, y -0.5", "x 0.5, y 2.0"]
    before = [scene_input(name).tokens.centers[0, :2] for name in ("9", "7")]
    for step in range(12):
        batch = some[step, 0, 1]
        right, wrong = (c[0, :2] for c in centers(batch))
        quarters = next(q for q in range(4) if torch.allclose(rotated(before[0], q), right))
        assert_close(wrong, rotated(before[1], quarters))
        accept, reject = (answer_text(model, t) for t in batch.turns[0])
        assert accept == accepted[quarters] == batch.examples[0].answers[0]
        assert reject == rejected[quarters]
        turned.add(quarters)
    assert turned == {0, 1, 2, 3}


def rotated(point: Tensor, quarters: int) -> Tensor:
    x, y = point
    return torch.stack([(x, y), (-y, x), (-x, -y), (y, -x)][quarters])


# -- post-training ---------------------------------------------------------------------------------


def test_scenedpo_widens_both_contrasts(model):
    """Two scenes with the answers exchanged: what is learned must come from the scenes."""
    red = asked(0, "7", "colour", "Which colour is the sofa?", "red")
    blue = asked(1, "12", "colour", "Which colour is the sofa?", "blue")
    pairs = [
        Pair(red, "blue", "same kind", "12", "edit"),
        Pair(blue, "red", "same kind", "7", "edit"),
    ]
    dataset = pairs_of(model, pairs, batch_size=2, turn=False, background=1.0)
    options = {"learning_rate": 3e-3, "warmup_steps": 2, "quiet": True}
    post_train(model, dataset, "scenedpo", beta=1.0, steps=40, **options)
    log_probs = contrast_log_probs(model, pairs, scene_input)
    after = preference_metrics(log_probs, ["edit", "edit"])["edit"]
    assert after["answer"] == after["scene"] == 1 and after["gap"] > 0.5


def test_an_unknown_method_is_refused(model):
    with pytest.raises(InputError, match="unknown method 'ppo'; choose one of: sft, answer dpo, "):
        post_train(model, pairs_of(model), "ppo", steps=1)


@devices
@pytest.mark.parametrize("method", METHODS)
def test_a_step_of_every_method_runs_on_every_device(model, device, method):
    model.to(device)
    (loss,) = post_train(model, pairs_of(model), method, steps=1, quiet=True)
    assert math.isfinite(loss)


# -- GRPO ------------------------------------------------------------------------------------------


def test_cold_samples_are_the_greedy_answers(model):
    examples, scenes = [p.example for p in PAIRS], [p.example.scene for p in PAIRS]
    scenes = [scene_input(name).tokens for name in scenes]
    turns = [encode(e, model.tokenizer) for e in examples]
    cold = sample(model, scenes, turns, 3, seed=0, max_new_tokens=6, temperature=1e-5)
    greedy = [model.generate(s, [e], 6)[0] for s, e in zip(scenes, examples, strict=True)]
    assert [[answer_text(model, t) for t in row] for row in cold] == [[g] * 3 for g in greedy]
    for row, asked_turn in zip(cold, turns, strict=True):
        assert all(t.ids[: t.answer_start] == asked_turn.ids[: t.answer_start] for t in row)


def test_samples_follow_their_probabilities(model):
    """The first tokens of many samples come as often as the model says."""
    turn, tokens = encode(COLOUR, model.tokenizer), scene_input("7").tokens
    with torch.no_grad():
        model.language.get_output_embeddings().weight.mul_(4)  # a model that prefers some words
        before = model.embed_prompt(tokens)
        words = model.embed_words(torch.tensor(turn.ids[: turn.answer_start]), turn.places)
        positions = model.position_ids(len(before) - len(tokens), len(tokens), len(words))
        logits = model.language(
            inputs_embeds=torch.cat([before, words])[None], position_ids=positions[None]
        ).logits[0, -1]
    options = {"group": 150, "max_new_tokens": 1}
    first, again, other = (
        sample(model, [tokens], [turn], seed=seed, **options)[0] for seed in (0, 0, 1)
    )
    drawn = torch.tensor([t.ids[t.answer_start] for t in first])
    share, word = logits.softmax(-1).max(-1)
    found = float((drawn == word).float().mean())
    assert 0.05 < share < 0.95 and found == pytest.approx(float(share), abs=0.12)
    assert first == again != other


def test_advantages_compare_within_the_group():
    rewards = [[1.0, 0.0, 0.0, 0.0], [1.0] * 4, [0.0] * 4, [1.0, 1.0, 0.0, 0.0]]
    found = advantages(torch.tensor(rewards))
    assert_close(found[0], torch.tensor([3**0.5, *[-1 / 3**0.5] * 3]), atol=1e-4, rtol=0)
    assert (found[1:3] == 0).all()
    assert_close(found[3], torch.tensor([1.0, 1.0, -1.0, -1.0]), atol=1e-4, rtol=0)


def fixed_samples(model: LeoVL, monkeypatch, *answers: str):
    turns = [encode(COUNT, model.tokenizer, answer=a) for a in answers]
    monkeypatch.setattr("leovl_mini.train.grpo.sample", lambda *_: [turns])
    return turns


def test_only_right_answers_are_rewarded(model, monkeypatch):
    """One step along the gradient makes accepted answers likelier, in either spelling, and all
    others less likely.
    """
    turns = fixed_samples(model, monkeypatch, "2", "a pair", "3", "the two chairs")
    example, scene = dataclasses.replace(COUNT, answers=["2", "a pair"]), scene_input("7").tokens
    batch = whole(model, [dataclasses.replace(PAIRS[1], example=example)])
    before = sequence_log_probs(model, [scene], [turns]).detach()
    weights = torch.tensor([1.0, 1.0, -1.0, -1.0])
    loss = grpo_loss(model, batch, 4)
    assert_close(loss, -(weights * before).mean(), atol=1e-4, rtol=0)
    loss.backward()
    for p in model.parameters():
        p.data -= 1e-3 * p.grad if p.grad is not None else 0.0
    assert -(weights * sequence_log_probs(model, [scene], [turns])).mean() < loss


@pytest.mark.parametrize("answers", [("3", "4", "five"), ("2", "two", "2")])
def test_a_group_that_is_all_right_or_all_wrong_teaches_nothing(model, monkeypatch, answers):
    fixed_samples(model, monkeypatch, *answers)
    grpo_loss(model, whole(model, PAIRS[1:2]), 3).backward()
    assert max(p.grad.abs().max() for p in model.parameters() if p.grad is not None) == 0


def test_on_policy_answers_are_the_most_likely_ones(model):
    expected = [model.generate(scene_input("7").tokens, [e], 16)[0] for e in (COLOUR, COUNT)]
    found = on_policy_answers(model, scene_input, [COLOUR, COUNT])
    assert found == dict(zip([COLOUR.id, COUNT.id], expected, strict=True))


# -- metrics ---------------------------------------------------------------------------------------


def test_contrasts_compare_log_probs_per_type(model):
    columns = pair_log_probs(model, whole(model)).detach()
    log_probs = contrast_log_probs(model, PAIRS, scene_input, size=2)
    assert_close(log_probs, columns, atol=1e-4, rtol=0)
    found = preference_metrics(log_probs, [p.type for p in PAIRS])
    assert [(t, row["pairs"]) for t, row in found.items()] == [
        *(("edit", 1), ("presupposition", 1), ("random", 3))
    ]
    right, wrong_answer, wrong_scene = columns[:, [0, 3, 4]]
    row = found["random"]
    assert row["answer"] == pytest.approx(float((right > wrong_answer).float().mean()), abs=1e-4)
    assert row["scene"] == pytest.approx(float((right > wrong_scene).float().mean()), abs=1e-4)
    assert row["gap"] == pytest.approx(float((right - wrong_scene).mean()), abs=1e-3)


def test_edits_are_scored_as_wholes():
    examples = [
        asked(0, name, "colour", "?", answer, derivation={"pair": name, "role": role})
        for name in "123"
        for role, answer in (("base", "red"), ("flip", "blue"), ("same", "red"))
    ]
    right, blind, restless = "red Blue. red", "red red red", "green blue white"
    outcomes = edit_outcomes(f"{right} {blind} {restless}".split(), examples)
    assert [*outcomes.values()] == [(True, True), (False, True), (False, False)]


def test_hallucinations_are_yes_where_nothing_is():
    examples = [asked(0, str(i), "existence", "?", a) for i, a in enumerate(("no", "no", "yes"))]
    examples.append(asked(0, "3", "stacked", "?", "no"))
    assert hallucinations(["Yes.", "no", "yes", "yes"], examples) == [("0", True), ("1", False)]
