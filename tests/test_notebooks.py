"""The gates every notebook passes: executed, deterministic outputs; runs alone, anywhere, with
another seed; readable figures.

The committed outputs themselves are compared cell by cell by nbval, which collects notebooks/
beside these tests. So every notebook runs twice: there with its own seed, here with another one.
"""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from figure_check import faults
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from leovl_mini.show.course import execute, find_notebooks, strip, write_html

ROOT = Path(__file__).parent.parent
BOOKS = find_notebooks(ROOT / "notebooks")
IGNORED = "nbval-ignore-output"

every_book = pytest.mark.parametrize("book", BOOKS, ids=lambda b: b.stem)


def code_cells(book):
    return [cell for cell in nbformat.read(book, as_version=4).cells if cell.cell_type == "code"]


def tags(cell):
    return cell.metadata.get("tags", [])


@every_book
def test_every_cell_was_executed_and_left_no_error_and_no_trace_of_a_machine(book):
    assert book.stat().st_size <= 1_000_000
    notebook = nbformat.read(book, as_version=4)
    assert strip(nbformat.read(book, as_version=4)) == notebook, (
        "run `make refresh`: the notebook carries time stamps"
    )
    for cell in code_cells(book):
        assert cell.execution_count is not None, cell.source[:80]
        assert not {"nbval-skip", "raises-exception"} & set(tags(cell)), cell.source[:80]
        for output in cell.outputs:
            assert output.output_type != "error", cell.source[:80]
            assert output.get("name") != "stderr", output.text
            text = f"{output.get('text', '')}{output.get('data', {}).get('text/plain', '')}"
            assert not re.search(r"/(home|tmp|root|work|Users)/|0x[0-9a-f]{6,}", text), text


@every_book
def test_few_outputs_are_exempt_and_each_is_followed_by_a_check(book):
    cells = code_cells(book)
    exempt = [i for i, cell in enumerate(cells) if IGNORED in tags(cell)]
    assert len(exempt) <= 0.15 * len(cells)
    for i in exempt:
        assert "assert" in cells[i + 1].source


@every_book
def test_has_the_parts_of_a_lesson(book):
    cells = nbformat.read(book, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert text.startswith(f"# {book.stem[:2]} · ")
    for part in ("What you will build", "## Paper says / we do", "## Exercises", "## Summary"):
        assert part in text
    first = code_cells(book)[0]
    assert "parameters" in tags(first)
    for line in ('MODE = "quick"', "SEED = ", 'DEVICE = "auto"'):
        assert line in first.source


@every_book
def test_runs_alone_from_another_folder_with_another_seed(book, tmp_path, monkeypatch):
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00-figures.py").write_text((ROOT / "tests" / "figure_check.py").read_text())
    report = tmp_path / "figures.txt"
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("FIGURE_REPORT", str(report))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    execute(book, tmp_path / book.name, {"SEED": 7}, working_folder=elsewhere)

    figures = report.read_text().splitlines()
    assert figures and set(figures) == {"ok"}
    write_html(tmp_path / book.name)
    page = (tmp_path / book.name).with_suffix(".html").read_text()
    assert len(page) > 100_000 and "<math" in page
    assert not re.search(
        r"<(script|link|img)[^>]*(src|href)=.?http", page
    )  # the page needs no network
    if "plotly" in book.read_text():
        assert 'src="plotly.min.js"' in page and (tmp_path / "plotly.min.js").exists()


def test_the_figure_check_finds_blank_figures_and_missing_labels():
    def faults_of(draw):
        figure = Figure(figsize=(2, 2))
        axes = figure.subplots()
        draw(axes)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return faults(canvas)

    assert (
        faults_of(lambda axes: (axes.plot([1, 2]), axes.set(xlabel="x (m)", ylabel="y (m)"))) == []
    )
    assert (
        "no label on its y axis"
        in faults_of(lambda axes: (axes.plot([1, 2]), axes.set(xlabel="x (m)")))[0]
    )
    assert faults_of(lambda axes: axes.set_axis_off()) == ["the figure is blank"]


@pytest.mark.parametrize(
    ("source", "outcome"),
    [
        ("x = 1\nprint(x)", "1 passed"),
        ("x = 2\nprint(x)", "1 failed"),
        ("x = 1\nprint(x)\nassert x == 2", "1 failed"),
    ],
    ids=["as committed", "an output differs", "an assert fails"],
)
def test_a_changed_cell_makes_the_gate_fail(tmp_path, source, outcome):
    output = nbformat.v4.new_output("stream", name="stdout", text="1\n")
    cell = nbformat.v4.new_code_cell(source, outputs=[output], execution_count=1)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "gate.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-q"]
    command += ["-o", "addopts=", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert outcome in done.stdout, done.stdout[-2000:]
