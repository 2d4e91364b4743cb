"""Several processes train the same model as one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_training import trained
from tiny_scenes import scenes_with_questions
from torch.testing import assert_close

from leovl_mini.model.leovl import LeoVL
from leovl_mini.train.loop import train_steps
from leovl_mini.train.losses import answer_loss

HERE = Path(__file__).parent
PROCESS = """
import sys
from pathlib import Path
import torch
from accelerate import PartialState
torch.set_num_threads(1)
from test_training import trained
from leovl_mini.train import loop

folder, state = Path(sys.argv[1]), PartialState(cpu=True)
assert state.num_processes == 2
save = loop.save_checkpoint

def noted(*arguments):
    (folder / f"saved-by-{state.process_index}").touch()
    save(*arguments)

loop.save_checkpoint = noted
trained(1, checkpoint=folder / "two.safetensors", quiet=False)
"""


def test_two_processes_equal_one(tmp_path):
    (tmp_path / "train.py").write_text(PROCESS)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [sys.executable, *torchrun, str(tmp_path / "train.py"), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent}"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    tensors = load_file(tmp_path / "two.safetensors")
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    expected, _ = trained(1)
    assert len(weights) > 40
    assert all((v - expected[k]).abs().max() < 1e-5 for k, v in weights.items())
    assert [f.name for f in tmp_path.glob("saved-by-*")] == ["saved-by-0"]
    assert done.stderr.count("4/4") == 1  # one bar


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_gpu_learns_the_same():
    model = LeoVL("nano", channels=8, seed=3).to("cuda")
    some = scenes_with_questions(model, batch_size=3, text_budget=120)
    history = train_steps(model, some, answer_loss, steps=4, warmup_steps=2, quiet=True)
    assert_close(torch.tensor(history), trained(1)[1], atol=1e-3, rtol=0)
