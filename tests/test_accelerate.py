"""Several processes, or several parts of a batch, train the same model as one process with all of
it.
"""

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_training import lessons
from torch import Tensor
from torch.testing import assert_close

from leovl_mini.model.leovl import LeoVL
from leovl_mini.train.loop import train_steps
from leovl_mini.train.losses import answer_loss, tuning_loss

HERE = Path(__file__).parent
PROCESS = """
import sys
from pathlib import Path
import torch
from accelerate import PartialState
torch.set_num_threads(1)
sys.path.insert(0, "tests")
from test_accelerate import trained
from leovl_mini.train import loop as training

folder = Path(sys.argv[1])
state = PartialState(cpu=True)
assert state.num_processes == 2
save = training.save_checkpoint

def noted(*arguments):
    (folder / f"saved-by-{state.process_index}").touch()
    save(*arguments)

training.save_checkpoint = noted
trained(checkpoint=folder / "two.safetensors", quiet=False)
"""


def trained(
    accumulate: int = 1, steps: int = 4, **options
) -> tuple[dict[str, Tensor], list[float]]:
    model = LeoVL("nano", channels=8, seed=3)
    options = {"warmup": 2, "quiet": True, **options}
    history = train_steps(
        model,
        lessons(model, rooms=3, budget=120),
        steps,
        answer_loss,
        accumulate=accumulate,
        **options,
    )
    return model.state_dict(), history


@pytest.fixture(scope="module")
def whole() -> tuple[dict[str, Tensor], list[float]]:
    return trained()


def assert_same(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, weight in weights.items():
        assert_close(weight, expected[name], atol=1e-5, rtol=0)


def test_parts_have_different_numbers_of_answers():
    """Otherwise the tests below would say little."""
    some = lessons(LeoVL("nano", channels=8), rooms=3, budget=120)
    assert len({some.batch(0, part, 2).answers for part in range(2)}) == 2


@pytest.mark.parametrize("accumulate", [2, 3])
def test_parts_one_after_the_other_equal_the_undivided_batch(whole, accumulate):
    weights, history = trained(accumulate)
    assert_close(torch.tensor(history), torch.tensor(whole[1]), atol=1e-5, rtol=0)
    assert_same(weights, whole[0])


def test_two_processes_equal_one(whole, tmp_path):
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
    ]
    (tmp_path / "train.py").write_text(PROCESS)
    environment = {**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent}"}
    done = subprocess.run(
        [*launch, str(tmp_path / "train.py"), str(tmp_path)],
        cwd=HERE.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    kept = {
        k.removeprefix("model."): v
        for k, v in load_file(tmp_path / "two.safetensors").items()
        if k.startswith("model.")
    }
    assert len(kept) > 40
    assert_same(kept, whole[0])
    assert [f.name for f in tmp_path.glob("saved-by-*")] == ["saved-by-0"]
    assert done.stderr.count("4/4") == 1  # one bar


def test_more_parts_than_rooms_are_refused():
    with pytest.raises(ValueError, match="3 rooms a step cannot be shared out in 4 parts"):
        trained(accumulate=4)


def test_parts_weigh_as_much_as_their_words_where_the_loss_is_per_word():
    histories = []
    for accumulate in (1, 3):
        torch.manual_seed(0)
        model = LeoVL("nano", channels=8, seed=3)
        options = {"accumulate": accumulate, "warmup": 2, "quiet": True, "per": "token"}
        loss = functools.partial(answer_loss, per="token")
        histories.append(
            train_steps(model, lessons(model, rooms=3, budget=120), 3, loss, **options)
        )
    assert_close(*map(torch.tensor, histories), atol=1e-4, rtol=0)


def test_losses_that_compare_inside_a_batch_are_nearly_the_same():
    """Alignment divides by sums over its part of the batch."""
    histories = []
    for accumulate in (1, 3):
        torch.manual_seed(0)
        model = LeoVL("nano", channels=8, seed=3)
        some = lessons(model, rooms=3, budget=120)
        histories.append(
            train_steps(
                model,
                some,
                3,
                tuning_loss,
                accumulate=accumulate,
                warmup=2,
                quiet=True,
                per="token",
            )
        )
    assert_close(*map(torch.tensor, histories), atol=0, rtol=0.1)


def test_a_batch_moves_with_all_its_tensors():
    model = LeoVL("nano", channels=8)
    for kind in ("image", "objects"):
        batch = lessons(model, kind=kind).batch(0)
        there = batch.to(torch.device("meta"))
        tensors = [
            v
            for x in [*there.scenes, *(there.words or [])]
            for v in vars(x).values()
            if isinstance(v, Tensor)
        ]
        assert tensors and all(v.device.type == "meta" for v in tensors)
        assert there.turns is batch.turns and (there.words is None) == (batch.words is None)
        assert (
            batch.to(torch.device("cpu")).scenes[0].centers is batch.scenes[0].centers
        )  # nothing is copied in vain


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_gpu_learns_the_same(whole):
    model = LeoVL("nano", channels=8, seed=3).to("cuda")
    history = train_steps(
        model, lessons(model, rooms=3, budget=120), 4, answer_loss, warmup=2, quiet=True
    )
    assert_close(torch.tensor(history), torch.tensor(whole[1]), atol=1e-3, rtol=0)
