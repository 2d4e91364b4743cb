"""Training: the losses, the loop and its resumption, the optimisers."""

import dataclasses
import functools

import pytest
import torch
from tiny_scenes import batch_of, scenes_with_questions, symbolic_scenes
from torch.testing import assert_close

from leovl_mini.model.leovl import LeoVL
from leovl_mini.scans.scene import InputError
from leovl_mini.tokens import SceneTokens
from leovl_mini.train.checkpoints import load_checkpoint
from leovl_mini.train.loop import LoopSettings, make_optimizers, rate_at, train_steps
from leovl_mini.train.losses import (
    alignment_loss,
    answer_loss,
    coordinate_loss,
    question_only_loss,
    symbolic_loss,
    tuning_loss,
)

QUIET = {"quiet": True, "warmup_steps": 2}


@pytest.fixture(scope="module")
def model() -> LeoVL:
    return LeoVL("nano", channels=8)


# -- losses ----------------------------------------------------------------------------------------


def test_answers_are_averaged_by_token_or_by_answer(model):
    batch = batch_of(scenes_with_questions(model, text_budget=300))
    losses, answer = model(batch.scenes, batch.turns)
    assert_close(answer_loss(model, batch, "token"), losses.mean())
    means = torch.stack([losses[answer == i].mean() for i in answer.unique()])
    assert_close(answer_loss(model, batch), means.mean())
    assert len(means) == batch.answer_count and len(losses) == batch.answer_token_count
    assert (answer_loss(model, batch) - answer_loss(model, batch, "token")).abs() > 1e-3


def test_gradients_reach_everything_that_is_trained(model):
    model.zero_grad()
    tuning_loss(model, batch_of(scenes_with_questions(model))).backward()
    assert not [n for n, p in model.named_parameters() if p.grad is None or p.grad.norm() == 0]


def test_the_question_only_model_sees_no_scene(model):
    batch = batch_of(scenes_with_questions(model))
    other = [dataclasses.replace(s, features=-3 * s.features) for s in batch.scenes]
    others = dataclasses.replace(batch, scenes=other)
    assert torch.equal(question_only_loss(model, batch), question_only_loss(model, others))
    assert not torch.equal(answer_loss(model, batch), answer_loss(model, others))


def test_positions_learn_their_coordinates():
    model = LeoVL("nano", channels=8)
    words = model.language.get_input_embeddings().weight
    optimizer = torch.optim.Adam([*model.position.parameters(), words], 3e-3)
    torch.manual_seed(0)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = coordinate_loss(model)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_tuning_shows_symbolic_scenes_where_it_shall(model):
    batch = batch_of(scenes_with_questions(model, turn=False))

    def loss(share: float) -> float:
        torch.manual_seed(0)
        return float(tuning_loss(model, batch, "sequence", symbolic_share=share).detach())

    image, symbolic = (
        float(answer_loss(model, dataclasses.replace(batch, scenes=scenes)).detach())
        for scenes in (batch.scenes, batch.symbols)
    )
    assert abs(symbolic - image) > 0.01
    assert loss(1.0) - loss(0.0) == pytest.approx(symbolic - image, abs=1e-3)


def test_alignment_is_lowest_where_tokens_say_their_words(model, monkeypatch):
    batch = batch_of(scenes_with_questions(model, turn=False))
    before, project = float(alignment_loss(model, batch).detach()), model.project
    words = model.project(batch.symbols).detach()

    def loss_of(projected) -> float:
        def fake(scenes):
            return projected if isinstance(scenes[0], SceneTokens) else project(scenes)

        monkeypatch.setattr(model, "project", fake)
        return float(alignment_loss(model, batch))

    assert loss_of(words) < min(loss_of(words.roll(1, 0)), loss_of(2 * words), before)


# -- the loop --------------------------------------------------------------------------------------


def test_the_rate_rises_and_falls():
    settings = LoopSettings(steps=100, warmup_steps=10)
    rates = [rate_at(step, settings) for step in range(100)]
    assert rates[0] == 0.1 and max(rates) == rates[9] == 1.0 and 0.05 <= rates[-1] < 0.06
    assert rates[:10] == sorted(rates[:10]) and rates[9:] == sorted(rates[9:], reverse=True)


@pytest.mark.parametrize(
    "dataset, loss", [(symbolic_scenes, symbolic_loss), (scenes_with_questions, tuning_loss)]
)
def test_training_lowers_the_loss(dataset, loss):
    model = LeoVL("nano", channels=8)
    torch.manual_seed(0)
    some = dataset(model, turn=False, batch_size=3)
    before = float(loss(model, batch_of(some)).detach())
    train_steps(model, some, loss, steps=40, learning_rate=3e-3, **QUIET)
    assert float(loss(model, batch_of(some)).detach()) < 0.6 * before and model.trained


def test_a_resumed_run_equals_an_unbroken_one(tmp_path):
    """With both optimisers; it holds for all stages, which share the loop."""

    def run(file, interrupt_at=None):
        model, calls = LeoVL("nano", channels=8, seed=3), []  # as in a fresh process
        some = scenes_with_questions(model, batch_size=1, text_budget=40)

        def loss(m, batch):
            calls.append(1)
            if len(calls) == interrupt_at:
                raise KeyboardInterrupt
            return answer_loss(m, batch) * (1 + torch.rand(()))  # random, as coordinate_loss is

        torch.manual_seed(5)
        options = {"steps": 6, "save_every": 2, "muon": True, **QUIET}
        history = train_steps(model, some, loss, file, **options)
        return model.state_dict(), history, len(calls)

    whole, losses, _ = run(tmp_path / "whole.safetensors")
    with pytest.raises(KeyboardInterrupt):  # two steps were saved, the third is lost
        run(tmp_path / "broken.safetensors", interrupt_at=4)
    broken, again, calls = run(tmp_path / "broken.safetensors")
    assert calls == 4 and losses == again
    assert all(torch.equal(broken[k], v) for k, v in whole.items())
    assert load_checkpoint(tmp_path / "whole.safetensors", LeoVL("nano", channels=8)) == losses


def test_muon_moves_the_matrices_of_layers_and_adamw_the_rest():
    model = LeoVL("nano", channels=8, seed=3)
    model.projector.requires_grad_(False)
    names = {id(p): n for n, p in model.named_parameters()}

    def moved(muon: bool) -> list[set[str]]:
        optimizers = make_optimizers(model, LoopSettings(steps=1, muon=muon))
        return [{names[id(p)] for p in o.param_groups[0]["params"]} for o in optimizers]

    adamw, muon = moved(True)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    tables = {"language.model.embed_tokens.weight", "position.fourier.frequencies"}
    assert muon == {n for n, p in trained.items() if p.ndim == 2} - tables
    assert adamw == set(trained) - muon and moved(False) == [set(trained)]


def test_a_step_of_muon_is_as_long_in_every_direction_and_goes_downhill():
    model, rate = LeoVL("nano", channels=8, seed=3), 1e-3
    some = scenes_with_questions(model, batch_size=3)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    answer_loss(model, batch_of(some)).backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    options = {"steps": 1, "learning_rate": rate, "warmup_steps": 0, "weight_decay": 0.0}
    train_steps(model, some, answer_loss, muon=True, quiet=True, **options)
    name = "language.model.layers.1.mlp.up_proj.weight"
    step, gradient = dict(model.named_parameters())[name].detach() - before[name], gradients[name]
    # Liu et al. 2025, section 2.2
    sizes = torch.linalg.svdvals(step) / (0.2 * rate * max(step.shape) ** 0.5)
    assert sizes.median() == pytest.approx(1, abs=0.3) and sizes.max() < 1.4
    assert (step * gradient).sum() < 0
    assert (sizes > 0.5).float().mean() > 0.6  # less where the gradient is almost zero
    spectrum = torch.linalg.svdvals(gradient)  # which is not alike in all directions
    assert spectrum[:2].sum() > 5 * spectrum[60:62].sum()


@pytest.mark.parametrize("muon", [False, True])
def test_a_run_with_another_optimiser_is_not_continued(tmp_path, muon):
    model, file = LeoVL("nano", channels=8), tmp_path / "run.safetensors"
    some = scenes_with_questions(model, batch_size=1, text_budget=40)
    train_steps(model, some, answer_loss, file, steps=1, muon=muon, **QUIET)
    with pytest.raises(InputError, match="another optimiser"):
        train_steps(model, some, answer_loss, file, steps=2, muon=not muon, **QUIET)


def test_batches_drawn_by_other_processes_are_the_same():
    def run(workers: int) -> list[float]:
        model = LeoVL("nano", channels=8, seed=3)
        some = scenes_with_questions(model, text_budget=60)
        return train_steps(model, some, answer_loss, steps=3, workers=workers, **QUIET)

    assert run(0) == run(2)


# -- one step in several parts ---------------------------------------------------------------------


def trained(accumulate: int, loss=answer_loss, **options) -> tuple[dict, torch.Tensor]:
    """Weights and losses after four steps, each read in so many parts."""
    model = LeoVL("nano", channels=8, seed=3)
    some = scenes_with_questions(model, batch_size=3, text_budget=120)
    options = {"steps": 4, "accumulate": accumulate, **QUIET, **options}
    history = train_steps(model, some, loss, **options)
    return model.state_dict(), torch.tensor(history)


def test_parts_one_after_the_other_equal_the_undivided_batch():
    some = scenes_with_questions(LeoVL("nano", channels=8), batch_size=3, text_budget=120)
    assert len({some[0, part, 2].answer_count for part in range(2)}) == 2  # else it says little
    weights, history = trained(1)
    for accumulate in (2, 3):
        again, losses = trained(accumulate)
        assert_close(losses, history, atol=1e-5, rtol=0)
        assert all((again[k] - v).abs().max() < 1e-5 for k, v in weights.items())


def test_parts_weigh_as_much_as_their_tokens_where_the_loss_is_per_token():
    loss = functools.partial(answer_loss, reduction="token")
    (_, one), (_, three) = (trained(n, loss, reduction="token") for n in (1, 3))
    assert_close(one, three, atol=1e-4, rtol=0)


def test_losses_that_compare_inside_a_batch_are_nearly_the_same():
    """Alignment divides by sums over its part of the batch."""
    (_, one), (_, three) = (trained(n, tuning_loss, reduction="token") for n in (1, 3))
    assert_close(one, three, atol=0, rtol=0.1)


def test_more_parts_than_scenes_are_refused():
    with pytest.raises(ValueError, match="3 scenes a step cannot be shared out in 4 parts"):
        trained(4)
