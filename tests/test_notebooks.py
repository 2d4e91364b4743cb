"""The gates every notebook passes: executed, deterministic outputs; runs alone, anywhere, with
another seed; readable figures.

The committed outputs themselves are compared cell by cell by nbval, which collects notebooks/
beside these tests.
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
def test_every_code_cell_was_executed_without_error_or_warning(book):
    for cell in code_cells(book):
        assert cell.execution_count is not None, cell.source[:80]
        for output in cell.outputs:
            assert output.output_type != "error", cell.source[:80]
            assert output.get("name") != "stderr", output.text


@every_book
def test_parameters_come_first(book):
    first = code_cells(book)[0]
    assert "parameters" in tags(first)
    for line in ('MODE = "quick"', "SEED = ", 'DEVICE = "auto"'):
        assert line in first.source


@every_book
def test_few_outputs_are_exempt_and_each_is_followed_by_a_check(book):
    cells = code_cells(book)
    exempt = [i for i, cell in enumerate(cells) if IGNORED in tags(cell)]
    assert len(exempt) <= 0.15 * len(cells)
    for i in exempt:
        assert "assert" in cells[i + 1].source


@every_book
def test_size_and_outputs_without_traces_of_a_machine(book):
    assert book.stat().st_size <= 1_000_000
    notebook = nbformat.read(book, as_version=4)
    for cell in (c for c in notebook.cells if c.cell_type == "code"):
        text = "".join(
            str(o.get("text", "")) + str(o.get("data", {}).get("text/plain", ""))
            for o in cell.outputs
        )
        assert not re.search(r"/(home|tmp|root|work|Users)/|0x[0-9a-f]{6,}", text), text
        assert "nbval-skip" not in tags(cell) and "raises-exception" not in tags(cell)
    assert strip(nbformat.read(book, as_version=4)) == notebook, (
        "run `make refresh`: the notebook carries time stamps"
    )


@every_book
def test_has_the_parts_of_a_lesson(book):
    text = "\n".join(
        c.source for c in nbformat.read(book, as_version=4).cells if c.cell_type == "markdown"
    )
    assert text.startswith(f"# {book.stem[:2]} · ")
    for part in ("What you will build", "## Paper says / we do", "## Exercises", "## Summary"):
        assert part in text


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
    ("before", "after"),
    [("size=0.25)", "size=0.3)"), ("stage by stage = run()", "stage by stage")],
    ids=["an assert fails", "an output differs"],
)
def test_a_changed_cell_makes_the_gate_fail(tmp_path, before, after):
    notebook = nbformat.read(ROOT / "notebooks" / "00_overview.ipynb", as_version=4)
    changed = next(
        i
        for i, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and before in cell.source
    )
    notebook.cells[changed].source = notebook.cells[changed].source.replace(before, after)
    del notebook.cells[changed + 1 :]
    nbformat.write(notebook, tmp_path / "changed.ipynb")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval",
        "--nbval-current-env",
        str(tmp_path),
        "-q",
        "-o",
        "addopts=",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and "1 failed" in done.stdout, done.stdout[-2000:]
