"""Checkpoints: a run begins with weights made before, and only what fits goes on."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from leovl_mini import LeoVL
from leovl_mini.scans.scene import InputError
from leovl_mini.train.checkpoints import load_checkpoint, save_checkpoint, start_from


def optimizers(model: LeoVL) -> list[torch.optim.Optimizer]:
    """With the states of one step that moves nothing."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return [optimizer]


@pytest.fixture(scope="module")
def model() -> LeoVL:
    return LeoVL("nano", channels=8, seed=7)


@pytest.fixture
def checkpoint(model, tmp_path) -> Path:
    save_checkpoint(tmp_path / "run.safetensors", model, optimizers(model), [2.0, 1.5])
    return tmp_path / "run.safetensors"


def test_training_can_start_from_a_checkpoint_or_from_finished_weights(model, checkpoint, tmp_path):
    model.save_pretrained(tmp_path / "weights")
    places = ((checkpoint, torch.float32), (tmp_path / "weights", torch.bfloat16))
    for start, rounded in places:
        begun = LeoVL("nano", channels=8, seed=1)
        start_from(begun, start)
        for name, weight in model.state_dict().items():
            assert torch.equal(begun.state_dict()[name], weight.to(rounded).float())
        with pytest.raises(InputError, match="does not fit this model"):
            start_from(LeoVL("nano", channels=16), start)
    start_from(LeoVL("nano"), "nano-symbolic")  # a name of the package


def test_losses_and_states_come_back(model, checkpoint):
    begun = LeoVL("nano", channels=8, seed=1)
    fresh = [torch.optim.AdamW(begun.parameters())]
    assert load_checkpoint(checkpoint, begun, fresh) == [2.0, 1.5]
    states, expected = (o.state_dict()["state"] for o in (*fresh, *optimizers(model)))
    assert len(states) == len(expected) > 0
    for index, state in expected.items():
        assert all(torch.equal(states[index][name], value) for name, value in state.items())


def test_an_older_nano_can_be_started_from_but_not_continued(checkpoint):
    """The states of its optimisers would go to other weights."""
    tensors = load_file(checkpoint)
    del tensors["model.token_shift"]
    save_file(tensors, checkpoint, {"history": "[]"})
    begun = LeoVL("nano", channels=8)
    with pytest.raises(InputError, match="older nano without token shift"):
        load_checkpoint(checkpoint, begun, optimizers(begun))
    assert begun.token_shift is not None
    start_from(begun, checkpoint)
    assert begun.token_shift is None


def test_old_names_of_tensors_are_understood(model, checkpoint):
    old = {"model.token_shift": "model.echo", "model.scene_scale": "model.volume"}
    tensors = {
        old.get(k, k).replace("model.position.", "model.representation."): v
        for k, v in load_file(checkpoint).items()
    }
    save_file(tensors, checkpoint, {"history": "[]"})
    begun = LeoVL("nano", channels=8)
    load_checkpoint(checkpoint, begun, optimizers(begun))
    assert all(torch.equal(begun.state_dict()[k], v) for k, v in model.state_dict().items())


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(InputError, match="is no checkpoint, or damaged"):
        load_checkpoint(tmp_path / "text.safetensors", LeoVL("nano", channels=8))
