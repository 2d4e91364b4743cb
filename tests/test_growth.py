"""Growth of time and memory, and token counts of a corpus, as files that a notebook reads."""

import json

import torch
from typer.testing import CliRunner

from leovl_mini.cli import app
from leovl_mini.experiments import growth
from leovl_mini.rooms.dataset import make_rooms


def test_peak_memory_is_the_most_held_at_one_time():
    x = torch.zeros(1000, 1000)
    assert growth.peak_bytes(lambda: (x + 1).sum()) - 4_000_000 < 10_000
    assert growth.peak_bytes(lambda: (x + 1) * (x + 2)) == 12_000_000  # both terms and the result
    assert (
        growth.peak_bytes(lambda: [(x + i).sum() for i in range(5)]) < 4_010_000
    )  # one after the other


def test_growth_has_a_row_for_everything(tmp_path, monkeypatch):
    rows = growth.measure(repeats=1, frames=(1, 4), budgets=(30, 60))
    monkeypatch.setattr(growth, "measure", lambda: rows)
    growth.write_growth(tmp_path / "growth.json")
    found = json.loads((tmp_path / "growth.json").read_text())
    assert (
        found["rows"] == rows
        and found["command"].startswith("leovl-mini bench")
        and "cores" in found["hardware"]
    )
    assert {(r["what"], r["against"], r["value"]) for r in rows} == {
        *((what, "frames", n) for what in ("lifting", *growth.KINDS) for n in (1, 4)),
        *((what, "budget", n) for what in ("voxels", "grid", "proxies") for n in (30, 60)),
    }
    assert all(r["milliseconds"] > 0 and r["megabytes"] > 0 and r["tokens"] > 0 for r in rows)
    assert all(r["tokens"] <= r["value"] for r in rows if r["against"] == "budget")
    few, many = (
        next(r for r in rows if r["what"] == "lifting" and r["value"] == n) for n in (1, 4)
    )
    assert (
        3.5 < many["megabytes"] / few["megabytes"] < 4.5 and many["patches"] == 4 * few["patches"]
    )


def test_the_token_counts_of_a_corpus_are_written(tmp_path):
    make_rooms(tmp_path / "corpus", rooms=4, views=2, workers=1, pairs=0.0, quiet=True)
    run = CliRunner().invoke(
        app, ["rooms", "tokens", str(tmp_path / "corpus"), "--write", str(tmp_path / "tokens.json")]
    )
    assert run.exit_code == 0, run.output
    found = json.loads((tmp_path / "tokens.json").read_text())
    assert found["rooms"] == len(found["scenes"]) == 4 and "--rooms 4 --views 2" in found["command"]
    assert all(row["patches"] > row["voxels"] > row["grid"] for row in found["scenes"])
