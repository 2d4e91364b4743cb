"""SceneDPO: the losses by hand, references, batches, resumption, GRPO, and the scores of contrasts."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from random_inputs import devices, random_tokens
from torch import Tensor
from torch.testing import assert_close

from leovl_mini.data.examples import Example
from leovl_mini.evaluate.preferences import edit_outcomes, hallucination, preference_metrics
from leovl_mini.model.hub import restore
from leovl_mini.model.leovl import LeoVL
from leovl_mini.model.lora import add_lora
from leovl_mini.model.prompts import encode
from leovl_mini.tokens.base import SceneInput
from leovl_mini.train.grpo import advantages, answer_text, grpo_loss, on_policy_answers, sample
from leovl_mini.train.pairs import Pair
from leovl_mini.train.post_train import METHODS, post_train
from leovl_mini.train.scenedpo import (
    PairBatch,
    PairDataset,
    Reference,
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


def seen(name: str) -> SceneInput:
    """A scene of random tokens, of a size that its name says."""
    size = int(name)
    return SceneInput(
        random_tokens(size, 8, seed=size), torch.zeros(size, 2, dtype=torch.long), [], name
    )


def asked(number: int, scene: str, kind: str, question: str, *answers: str, **fields) -> Example:
    return Example(f"{scene}/{number}", scene, "qa", kind, question, list(answers), **fields)


PAIRS = [
    Pair(
        asked(0, "7", "colour", "Which colour is the sofa?", "red"),
        "blue",
        "same kind",
        "11",
        "random",
    ),
    Pair(
        asked(1, "7", "count", "How many chairs are there?", "2", "two"),
        "3",
        "own generation",
        "9",
        "presupposition",
    ),
    Pair(
        asked(2, "12", "place", "Where is the mug?", "on the table"),
        "under the bed",
        "same kind",
        "5",
        "edit",
    ),
    Pair(
        asked(3, "9", "coordinates", "Where is the lamp?", "x 1.5, y -0.5"),
        "x -2.0, y 0.5",
        "same kind",
        "7",
        "random",
    ),
    Pair(
        asked(
            4,
            "5",
            "situated",
            "Where is the bed?",
            "left",
            situation="By the door.",
            position=[1.0, 0.5, 0.0],
            heading=0.3,
        ),
        "right",
        "same kind",
        "12",
        "random",
    ),
]


def whole(model: LeoVL, pairs=PAIRS, **options) -> PairBatch:
    """Pairs as a batch without augmentation."""
    return PairDataset(model, seen, pairs, turn=False, plain=1.0, **options).collect(
        pairs, [np.random.default_rng(0)] * len(pairs)
    )


def moved_weights(model: LeoVL, size: float = 0.02) -> LeoVL:
    """As if what is trained had learned something."""
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in (p for p in model.parameters() if p.requires_grad):
            p += size * torch.randn(p.shape, generator=random)
    return model


# -- log-probabilities -----------------------------------------------------------------------------


def by_transformers(model: LeoVL, scene, example: Example, answer: str) -> Tensor:
    """log π as transformers computes it for one plain sequence: minus the mean loss, times the
    number of words and the end.
    """
    turn = encode(example, model.tokenizer, model.prompt_style, answer)
    before, words = (
        model.embed_prompt(scene),
        model.embed_words(torch.tensor(turn.ids), turn.places),
    )
    labels = torch.full((len(before) + len(turn.ids),), -100)
    labels[len(before) + turn.answer_start :] = torch.tensor(turn.ids[turn.answer_start :])
    positions = model.position_ids(len(before) - len(scene), len(scene), len(words))[None]
    loss = model.language(
        inputs_embeds=torch.cat([before, words])[None], position_ids=positions, labels=labels[None]
    ).loss
    return -loss * (len(turn.ids) - turn.answer_start)


@torch.no_grad()
def test_log_probs_are_sums_over_words_of_separate_sequences(model):
    rows = [
        [
            by_transformers(model, seen(p.example.scene).tokens, p.example, p.example.answers[0])
            for p in PAIRS
        ],
        [
            by_transformers(model, seen(p.example.scene).tokens, p.example, p.rejected)
            for p in PAIRS
        ],
        [
            by_transformers(model, seen(p.negative).tokens, p.example, p.example.answers[0])
            for p in PAIRS
        ],
    ]
    assert_close(pair_log_probs(model, whole(model)), torch.tensor(rows), atol=2e-4, rtol=0)


@torch.no_grad()
def test_a_pair_in_a_batch_is_as_alone(model):
    together = pair_log_probs(model, whole(model))
    alone = torch.cat([pair_log_probs(model, whole(model, [p])) for p in PAIRS], dim=1)
    assert_close(together, alone, atol=1e-4, rtol=0)


@torch.no_grad()
def test_a_longer_answer_costs_more(model):
    """A mean over words would not fall with every word that is added."""
    turns = [
        [
            encode(PAIRS[0].example, model.tokenizer, answer=a)
            for a in ("red", "red red", "red red red")
        ]
    ]
    found = sequence_log_probs(model, [seen("7").tokens], turns)
    assert found.dtype == torch.float32 and (found.diff() < -1).all()


# -- the loss --------------------------------------------------------------------------------------


def log_sigmoid(x: float) -> float:
    return math.log(1 / (1 + math.exp(-x)))


def random_log_probs(columns: int = 4) -> tuple[Tensor, Tensor]:
    return tuple(
        -5 * torch.rand(3, columns, generator=torch.Generator().manual_seed(s)) for s in (0, 1)
    )


def test_the_loss_is_the_formula():
    """log π, log π_ref of (a✓,s✓), (a✗,s✓), (a✓,s✗) for two pairs; Δ = (.5, -1, -.5) and (-1, 0,
    1).
    """
    policy = torch.tensor([[-1.0, -3.0], [-3.0, -2.0], [-2.5, -1.0]])
    reference = torch.tensor([[-1.5, -2.0], [-2.0, -2.0], [-2.0, -2.0]])
    first = -1.5 * log_sigmoid(0.2 * 1.5) - 0.7 * log_sigmoid(0.4 * 1.0) + 0.3 * 1.0
    second = -1.5 * log_sigmoid(0.2 * -1.0) - 0.7 * log_sigmoid(0.4 * -2.0) + 0.3 * 3.0
    found = scenedpo_loss(policy, reference, beta_a=0.2, beta_s=0.4, w_a=1.5, w_s=0.7, w_nll=0.3)
    assert_close(found, torch.tensor((first + second) / 2))
    assert_close(
        scenedpo_loss(policy, reference, 0.2, 0.4, 1.0, 0.0, 0.0),
        torch.tensor(-(log_sigmoid(0.3) + log_sigmoid(-0.2)) / 2),
    )
    assert_close(
        scenedpo_loss(policy, reference, 0.2, 0.4, 0.0, 1.0, 0.0),
        torch.tensor(-(log_sigmoid(0.4) + log_sigmoid(-0.8)) / 2),
    )
    assert_close(scenedpo_loss(policy, reference, 0.2, 0.4, 0.0, 0.0, 1.0), torch.tensor(2.0))


@pytest.mark.parametrize("beta_a, beta_s", [(0.1, 0.1), (0.5, 2.0)])
def test_both_contrasts_start_at_log_2(model, beta_a, beta_s):
    reference, batch = Reference(model), whole(model)
    for weights in ({"w_a": 1.0, "w_s": 0.0}, {"w_a": 0.0, "w_s": 1.0}):
        loss = preference_loss(
            model, batch, reference, beta_a=beta_a, beta_s=beta_s, w_nll=0.0, **weights
        )
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
        losses = {
            b: [scenedpo_loss(p, torch.full((3, 1), -2.0), b, b, *weights) for p in (better, worse)]
            for b in (0.0, 0.1, 1.0)
        }
        assert (
            losses[1.0][0]
            < losses[0.1][0]
            < losses[0.0][0]
            == losses[0.0][1]
            < losses[0.1][1]
            < losses[1.0][1]
        )


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
    a, s = (
        0.1 * torch.sigmoid(-0.1 * (right - wrong_answer)),
        0.3 * torch.sigmoid(-0.3 * (right - wrong_scene)),
    )
    assert_close(policy.grad, torch.stack([-a - s - 1, a, s]))


def test_the_same_scene_twice_teaches_nothing(model):
    reference, same = (
        Reference(model),
        [dataclasses.replace(p, negative=p.example.scene) for p in PAIRS],
    )
    moved_weights(model)
    for pairs, some in ((same, False), (PAIRS, True)):
        model.zero_grad()
        preference_loss(model, whole(model, pairs), reference, w_a=0.0, w_nll=0.0).backward()
        largest = max(p.grad.abs().max() for p in model.parameters() if p.grad is not None)
        assert (largest > 1e-3) if some else (largest < 1e-6)


def test_methods_are_weights_of_one_loss(model):
    reference, batch = Reference(model), whole(model)
    moved_weights(model)
    answer, scene, nll = (
        preference_loss(model, batch, reference, w_a=a, w_s=s, w_nll=n)
        for a, s, n in torch.eye(3).tolist()
    )
    sums = {
        "sft": nll,
        "answer dpo": answer + nll,
        "no nll": answer + scene,
        "scenedpo": answer + scene + nll,
    }
    assert set(sums) | {"grpo"} == set(METHODS)
    for method, total in sums.items():
        assert_close(preference_loss(model, batch, reference, **METHODS[method]), total)
    assert_close(sft_loss(model, batch), nll)


# -- the reference ---------------------------------------------------------------------------------


def test_the_reference_stays_while_the_policy_learns(model):
    reference, batch = Reference(model), whole(model)
    before = pair_log_probs(model, batch).detach()
    moved_weights(model)
    assert_close(reference(batch), before, atol=1e-5, rtol=0)
    assert (pair_log_probs(model, batch) - before).abs().min() > 1e-3 and not reference(
        batch
    ).requires_grad


def test_projector_and_positions_are_frozen(model):
    frozen = {k: v.clone() for k, v in model.state_dict().items() if not k.startswith("language.")}
    words = model.language.get_input_embeddings().weight.detach().clone()
    post_train(model, PAIRS, seen, steps=3, rate=1e-2, rooms=2, warmup=0, quiet=True)
    assert all(torch.equal(model.state_dict()[k], v) for k, v in frozen.items())
    assert not torch.equal(model.language.get_input_embeddings().weight, words)


def tuned_with_lora() -> LeoVL:
    model = LeoVL("tiny", channels=8)
    add_lora(model, 4)
    return moved_weights(model, 0.1)


def test_with_lora_the_reference_is_the_merged_model_with_its_fresh_adapter_off():
    model = tuned_with_lora()
    before = pair_log_probs(model, whole(model)).detach()
    reference = Reference(model)
    assert reference.model is model and model.lora == 4
    assert_close(
        pair_log_probs(model, whole(model)).detach(), before, atol=1e-3, rtol=0
    )  # merged, and the fresh one does nothing yet
    moved_weights(model, 0.1)
    assert_close(reference(whole(model)), before, atol=1e-3, rtol=0)
    assert (pair_log_probs(model, whole(model)) - before).abs().max() > 0.1  # on again
    assert all(".lora_" in name for name, p in model.named_parameters() if p.requires_grad)


def test_a_remembered_reference_is_the_one_computed_on_the_fly(model):
    unchanged = PairDataset(model, seen, PAIRS, rooms=3, turn=False, plain=1.0)
    remembered, fresh = Reference(model), Reference(model)
    moved_weights(model)
    for step in range(4):  # the fourth step has met all pairs before
        batch = unchanged.batch(step)
        assert_close(
            remembered(batch), fresh(dataclasses.replace(batch, numbers=None)), atol=1e-4, rtol=0
        )
    assert len(remembered.known) == len(PAIRS) and not fresh.known
    remembered.model = None  # nothing is computed any more
    assert remembered(unchanged.batch(9)).shape == (3, 3)


@pytest.mark.parametrize("options", [{"turn": True, "plain": 1.0}, {"turn": False, "plain": 0.3}])
def test_augmented_pairs_are_not_remembered(model, options):
    reference, lessons = Reference(model), PairDataset(model, seen, PAIRS, rooms=3, **options)
    reference(lessons.batch(0))
    assert lessons.batch(0).numbers is None and not reference.known


# -- batches ---------------------------------------------------------------------------------------


def test_a_batch_holds_the_right_scenes_and_then_the_wrong_ones(model):
    batch = whole(model)
    assert [len(s) for s in batch.scenes] == [
        7,
        7,
        12,
        9,
        5,
        11,
        9,
        5,
        7,
        12,
    ] and batch.answers == 5
    texts = [[answer_text(model, t) for t in turns] for turns in batch.turns]
    assert texts == [[p.example.answers[0], p.rejected] for p in PAIRS] + [
        [p.example.answers[0]] for p in PAIRS
    ]


def test_batches_depend_on_seed_and_step_alone_and_parts_make_the_whole(model):
    first, again, other = (PairDataset(model, seen, PAIRS, rooms=3, seed=s) for s in (0, 0, 1))
    first.batch(4)
    a, b = first.batch(1), again.batch(1)
    assert a.turns == b.turns and a.seed == b.seed and all(map(torch.equal, centers(a), centers(b)))
    assert any(first.batch(step).turns != other.batch(step).turns for step in range(3))
    parts = [first.batch(1, part, 2) for part in range(2)]
    assert [len(p.examples) for p in parts] == [2, 1]
    order = [0, 2, 1, 3, 5, 4]  # every second pair; then the wrong scenes
    rejoined = [[*p.scenes[: p.answers]] for p in parts] + [[*p.scenes[p.answers :]] for p in parts]
    assert all(
        torch.equal(s.centers, a.scenes[i].centers)
        for s, i in zip(sum(rejoined, []), order, strict=True)
    )
    epoch = [
        e.id
        for step in range(5)
        for e in PairDataset(model, seen, PAIRS, rooms=2).batch(step).examples
    ]
    assert (
        sorted(epoch[:5])
        == sorted(epoch[5:])
        == [p.example.id for p in sorted(PAIRS, key=lambda p: p.example.id)]
    )


def centers(batch: PairBatch) -> list[Tensor]:
    return [s.centers for s in batch.scenes]


def test_both_scenes_and_all_coordinates_turn_together(model):
    lessons, turned = PairDataset(model, seen, PAIRS[3:4], rooms=1, plain=1.0), set()
    for step in range(12):
        batch = lessons.batch(step)
        right, wrong = (c[0, :2] for c in centers(batch))
        quarters = next(
            q
            for q in range(4)
            if torch.allclose(rotated(seen("9").tokens.centers[0, :2], q), right)
        )
        assert_close(wrong, rotated(seen("7").tokens.centers[0, :2], quarters))
        accept, reject = (answer_text(model, t) for t in batch.turns[0])
        assert (
            accept
            == ["x 1.5, y -0.5", "x 0.5, y 1.5", "x -1.5, y 0.5", "x -0.5, y -1.5"][quarters]
            == batch.examples[0].answers[0]
        )
        assert (
            reject == ["x -2.0, y 0.5", "x -0.5, y -2.0", "x 2.0, y -0.5", "x 0.5, y 2.0"][quarters]
        )
        turned.add(quarters)
    assert turned == {0, 1, 2, 3}


def rotated(point: Tensor, quarters: int) -> Tensor:
    x, y = point
    return torch.stack([(x, y), (-y, x), (-x, -y), (y, -x)][quarters])


# -- post-training ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_equals_an_unbroken_one(tmp_path, method, monkeypatch):
    def run(file, interrupt_at=None):
        model, steps = LeoVL("nano", channels=8, seed=3), []
        real = PairDataset.batch

        def batch(self, step, part=0, parts=1):
            if step == interrupt_at:
                raise KeyboardInterrupt
            steps.append(step)
            return real(self, step, part, parts)

        with monkeypatch.context() as patch:
            patch.setattr(PairDataset, "batch", batch)
            losses = post_train(
                model,
                PAIRS,
                seen,
                method,
                4,
                rate=1e-3,
                rooms=2,
                checkpoint=file,
                every=2,
                quiet=True,
                warmup=1,
            )
        return model.state_dict(), losses, steps

    unbroken, losses, _ = run(tmp_path / "whole.safetensors")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken.safetensors", interrupt_at=3)
    broken, again, steps = run(tmp_path / "broken.safetensors")
    assert (
        steps == [2, 3]
        and losses == again
        and all(torch.equal(broken[k], v) for k, v in unbroken.items())
    )
    assert restore(tmp_path / "whole.safetensors", LeoVL("nano", channels=8)) == losses


def test_a_resumed_adapter_keeps_its_reference(tmp_path):
    def run(steps):
        model = tuned_with_lora()
        return model, post_train(
            model,
            PAIRS,
            seen,
            "scenedpo",
            steps,
            1e-2,
            2,
            checkpoint=tmp_path / "lora.safetensors",
            quiet=True,
        )

    _, first = run(2)
    model, losses = run(3)
    assert losses[:2] == first
    with model.language.disable_adapter():
        off = pair_log_probs(model, whole(model))
    assert_close(off, pair_log_probs(tuned_with_lora(), whole(model)), atol=1e-3, rtol=0)


def test_scenedpo_widens_both_contrasts_and_sft_does_not_look(model):
    """Two scenes with the answers exchanged: what is learned must come from the scenes."""
    questions = [
        asked(i, s, "colour", "Which colour is the sofa?", a)
        for i, (s, a) in enumerate([("7", "red"), ("12", "blue")])
    ]
    pairs = [
        Pair(questions[0], "blue", "same kind", "12", "edit"),
        Pair(questions[1], "red", "same kind", "7", "edit"),
    ]
    options = {"rate": 3e-3, "rooms": 2, "augment": False, "quiet": True, "warmup": 2}
    post_train(model, pairs, seen, "scenedpo", 40, beta_a=1.0, beta_s=1.0, **options)
    after = preference_metrics(model, pairs, seen)["edit"]
    assert after["answer"] == after["scene"] == 1 and after["gap"] > 0.5


def test_an_unknown_method_is_refused(model):
    with pytest.raises(
        ValueError,
        match="unknown method 'ppo'; choose one of: sft, answer dpo, no nll, scenedpo, grpo",
    ):
        post_train(model, PAIRS, seen, "ppo")


@devices
def test_a_step_runs_on_every_device(model, device):
    model.to(device)
    for method in METHODS:
        assert all(
            math.isfinite(x) for x in post_train(model, PAIRS, seen, method, 1, rooms=3, quiet=True)
        )


# -- GRPO ------------------------------------------------------------------------------------------


def test_cold_samples_are_the_greedy_answers(model):
    examples, scenes = [p.example for p in PAIRS], [seen(p.example.scene).tokens for p in PAIRS]
    turns = [encode(e, model.tokenizer) for e in examples]
    cold = sample(model, scenes, turns, 3, seed=0, max_new_tokens=6, temperature=1e-5)
    greedy = [model.generate(s, [e], 6)[0] for s, e in zip(scenes, examples, strict=True)]
    assert [[answer_text(model, t) for t in row] for row in cold] == [[g] * 3 for g in greedy]
    assert all(
        t.ids[: t.answer_start] == q.ids[: q.answer_start]
        for row, q in zip(cold, turns, strict=True)
        for t in row
    )


def test_samples_follow_their_probabilities(model):
    """The first words of many samples come as often as the model says."""
    turn, tokens = encode(PAIRS[0].example, model.tokenizer), seen("7").tokens
    with torch.no_grad():
        model.language.get_output_embeddings().weight.mul_(4)  # a model that prefers some words
        logits = model.language(
            inputs_embeds=model.embed(tokens, PAIRS[0].example),
            position_ids=model.position_ids(*lengths(model, tokens, turn))[None],
        ).logits[0, -1]
    drawn = sample(model, [tokens], [turn], 150, seed=0, max_new_tokens=1)[0]
    counts = torch.bincount(
        torch.tensor([t.ids[t.answer_start] for t in drawn]), minlength=len(logits)
    )
    share, word = logits.softmax(-1).max(-1)
    assert 0.05 < share < 0.95 and float(counts[word] / 150) == pytest.approx(
        float(share), abs=0.12
    )
    again = sample(model, [tokens], [turn], 150, seed=0, max_new_tokens=1)[0]
    assert drawn == again != sample(model, [tokens], [turn], 150, seed=1, max_new_tokens=1)[0]


def lengths(model: LeoVL, tokens, turn) -> tuple[int, int, int]:
    return len(model.embed_prompt(None)), len(tokens), turn.answer_start


def test_nothing_follows_the_end_of_a_sample(model):
    """A word that this model likes to say is made the end."""
    turn, tokens = encode(PAIRS[0].example, model.tokenizer), seen("7").tokens
    model.language.get_output_embeddings().weight.data.mul_(4)
    liked = sample(model, [tokens], [turn], 1, seed=0, max_new_tokens=1, temperature=1e-5)[0][
        0
    ].ids[-1]
    model.tokenizer.eos_token = model.tokenizer.convert_ids_to_tokens(liked)
    answers = [
        t.ids[t.answer_start :]
        for t in sample(model, [tokens], [turn], 24, seed=0, max_new_tokens=3)[0]
    ]
    assert {len(a) for a in answers} >= {1, 3} and all(
        liked not in a[:-1] and (a[-1] == liked or len(a) == 3) for a in answers
    )


def test_advantages_compare_within_the_group():
    found = advantages(
        torch.tensor(
            [[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]
        )
    )
    assert_close(found[0], torch.tensor([3**0.5, *[-1 / 3**0.5] * 3]), atol=1e-4, rtol=0)
    assert (found[1:3] == 0).all()
    assert_close(found[3], torch.tensor([1.0, 1.0, -1.0, -1.0]), atol=1e-4, rtol=0)


def fixed_samples(model: LeoVL, monkeypatch, *answers: str):
    turns = [encode(PAIRS[1].example, model.tokenizer, answer=a) for a in answers]
    monkeypatch.setattr("leovl_mini.train.grpo.sample", lambda *_: [turns])
    return turns


def test_only_right_answers_are_rewarded(model, monkeypatch):
    """One step along the gradient makes accepted answers likelier, in either spelling, and all
    others less likely.
    """
    turns = fixed_samples(model, monkeypatch, "2", "a pair", "3", "the two chairs")
    pair = dataclasses.replace(
        PAIRS[1], example=dataclasses.replace(PAIRS[1].example, answers=["2", "a pair"])
    )
    batch, before = (
        whole(model, [pair]),
        sequence_log_probs(model, [seen("7").tokens], [turns]).detach(),
    )
    weights = torch.tensor([1.0, 1.0, -1.0, -1.0])
    loss = grpo_loss(model, batch, 4)
    assert_close(loss, -(weights * before).mean(), atol=1e-4, rtol=0)
    parameters = [p for p in model.parameters() if p.requires_grad]
    for p, g in zip(
        parameters, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True
    ):
        p.data -= 1e-3 * g if g is not None else 0.0
    assert -(weights * sequence_log_probs(model, [seen("7").tokens], [turns])).mean() < loss


@pytest.mark.parametrize("answers", [("3", "4", "five"), ("2", "two", "2")])
def test_a_group_that_is_all_right_or_all_wrong_teaches_nothing(model, monkeypatch, answers):
    fixed_samples(model, monkeypatch, *answers)
    grpo_loss(model, whole(model, PAIRS[1:2]), 3).backward()
    assert max(p.grad.abs().max() for p in model.parameters() if p.grad is not None) == 0


# -- scores ----------------------------------------------------------------------------------------


def test_contrasts_compare_log_probs_per_type(model):
    columns = pair_log_probs(model, whole(model)).detach()
    found = preference_metrics(model, PAIRS, seen, size=2)
    assert {t: row["pairs"] for t, row in found.items()} == {
        "edit": 1,
        "presupposition": 1,
        "random": 3,
    }
    some = columns[:, [0, 3, 4]]
    assert found["random"]["answer"] == pytest.approx(
        float((some[0] > some[1]).float().mean()), abs=1e-4
    )
    assert found["random"]["scene"] == pytest.approx(
        float((some[0] > some[2]).float().mean()), abs=1e-4
    )
    assert found["random"]["gap"] == pytest.approx(float((some[0] - some[2]).mean()), abs=1e-3)


def test_edits_are_scored_as_wholes():
    def triple(name, base, flip):
        roles = (("base", base), ("flip", flip), ("same", base))
        return [
            asked(0, name, "colour", "?", a, derivation={"pair": name, "role": r}) for r, a in roles
        ]

    examples = triple("1", "red", "blue") + triple("2", "red", "blue") + triple("3", "red", "blue")
    predictions = [
        "red",
        "Blue.",
        "red",
        "red",
        "red",
        "red",
        "green",
        "blue",
        "white",
    ]  # right; blind; moved by what does not matter
    assert [*edit_outcomes(predictions, examples).values()] == [
        (True, True),
        (False, True),
        (False, False),
    ]


def test_hallucinations_are_yes_where_nothing_is():
    examples = [asked(0, "1", "existence", "?", a) for a in ("no", "no", "yes", "no")] + [
        asked(0, "1", "stacked", "?", "no")
    ]
    assert hallucination(["yes", "no", "yes", "Yes.", "yes"], examples) == 2 / 3
    assert math.isnan(hallucination(["yes"], examples[2:3]))


def test_own_answers_are_greedy_and_then_sampled(model):
    examples = [p.example for p in PAIRS[:2]]
    greedy, more = (
        on_policy_answers(model, seen, examples),
        on_policy_answers(model, seen, examples, samples=2),
    )
    assert (
        {k: v[:1] for k, v in more.items()}
        == greedy
        == {e.id: [model.generate(seen("7").tokens, [e], 16)[0]] for e in examples}
    )
    assert all(len(v) == 3 for v in more.values()) and more == on_policy_answers(
        model, seen, examples, samples=2
    )
