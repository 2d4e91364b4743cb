"""Speed and growth: peak memory by hand, a row for everything that is measured."""

import json

import pytest
import torch

from leovl_mini.config import GrowthConfig
from leovl_mini.experiments import growth
from leovl_mini.tokens import REPRESENTATIONS


def test_peak_memory_is_the_most_held_at_one_time():
    x = torch.zeros(1000, 1000)
    assert growth.peak_bytes(lambda: (x + 1).sum()) - 4_000_000 < 10_000
    assert growth.peak_bytes(lambda: (x + 1) * (x + 2)) == 12_000_000  # both terms and the result
    one_by_one = growth.peak_bytes(lambda: [(x + i).sum() for i in range(5)])
    assert one_by_one < 4_010_000


def test_growth_has_a_row_for_everything(tmp_path, monkeypatch):
    rows = growth.measure(seconds=0.01, frames=(1, 4), budgets=(30, 60))
    monkeypatch.setattr(growth, "measure", lambda: rows)
    printed = growth.reproduce(GrowthConfig(write=tmp_path / "growth.json"))
    found = json.loads((tmp_path / "growth.json").read_text())
    assert found["rows"] == rows and "cores" in found["hardware"] and len(printed) == len(rows)
    assert found["command"] == "leovl-mini reproduce growth --write growth.json"
    assert {(r["what"], r["against"], r["value"]) for r in rows} == {
        *((what, "frames", n) for what in ("lifting", *REPRESENTATIONS) for n in (1, 4)),
        *((what, "budget", n) for what in growth.WITH_BUDGET for n in (30, 60)),
    }
    assert all(r["milliseconds"] > 0 and r["megabytes"] > 0 and r["tokens"] > 0 for r in rows)
    assert all(r["tokens"] <= r["value"] for r in rows if r["against"] == "budget")
    few, many = (r for r in rows if r["what"] == "lifting")
    assert many["patches"] == 4 * few["patches"]
    assert many["megabytes"] / few["megabytes"] == pytest.approx(4, abs=0.5)
