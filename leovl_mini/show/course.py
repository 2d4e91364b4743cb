"""Execute the course's notebooks (papermill), renew their outputs, write them as HTML pages."""

import os
import re
import shutil
import tempfile
from pathlib import Path

import nbformat
import papermill
from tqdm import tqdm

from leovl_mini.config import CourseConfig

PLOTLY = "application/vnd.plotly.v1+json"


def find_notebooks(folder: Path) -> list[Path]:
    """The notebooks of a folder in reading order."""
    books = sorted(folder.glob("*.ipynb"))
    if not books:
        raise FileNotFoundError(
            f"no notebooks in {folder}; run this in the folder that holds notebooks/, "
            "or pass --notebooks"
        )
    return books


def execute(
    book: Path, output: Path, parameters: dict | None = None, working_folder: Path | None = None
) -> None:
    """Run one notebook from a fresh kernel and save it with its outputs; the first error stops it
    and is raised.
    """
    papermill.execute_notebook(
        book,
        output,
        parameters or {},
        kernel_name="python3",
        cwd=working_folder or output.parent,
        progress_bar=False,
        # prints of one cell stay in one piece, or outputs would differ from run to run
        coalesce_streams=True,
    )


def run_course(folder: Path, out: Path, parameters: dict | None = None) -> Path:
    """Execute every notebook into ``out`` and write an HTML page for each; return the first."""
    books = find_notebooks(folder)
    out.mkdir(parents=True, exist_ok=True)
    for book in (bar := tqdm(books, desc="course")):
        bar.set_postfix_str(book.stem)
        execute(book, out / book.name, parameters)
        write_html(out / book.name)
    return out / f"{books[0].stem}.html"


def refresh_outputs(folder: Path) -> None:
    """Execute every notebook with its own parameters and keep the outputs, without time stamps,
    inside the notebook itself.
    """
    for book in (bar := tqdm(find_notebooks(folder), desc="refresh")):
        bar.set_postfix_str(book.stem)
        with tempfile.TemporaryDirectory() as scratch:
            execute(book, Path(scratch) / book.name)
            executed = nbformat.read(Path(scratch) / book.name, as_version=4)
        nbformat.write(strip(executed), book.with_suffix(".partial"))
        os.replace(book.with_suffix(".partial"), book)


def strip(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Remove what changes from run to run: papermill's records, execution times, the exact Python
    version.
    """
    notebook.metadata.pop("papermill", None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
    return notebook


def write_html(book: Path) -> None:
    """The notebook as a page beside it that needs no network: formulas become MathML, plotly.min.js
    is copied there once.
    """
    import plotly
    from nbconvert import HTMLExporter

    notebook = nbformat.read(book, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = formulas_to_mathml(cell.source)
        for output in cell.get("outputs", []):
            if PLOTLY in output.get("data", {}):
                shown = plotly.io.from_json(
                    plotly.io.to_json(output.data[PLOTLY], validate=False), skip_invalid=True
                )
                output.data["text/html"] = shown.to_html(
                    include_plotlyjs="plotly.min.js", full_html=False
                )
    script = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    shutil.copyfile(script, book.parent / "plotly.min.js")
    page, _ = HTMLExporter(
        exclude_input_prompt=True, exclude_output_prompt=True, mathjax_url="", require_js_url=""
    ).from_notebook_node(notebook)
    book.with_suffix(".html").write_text(page)


def formulas_to_mathml(markdown: str) -> str:
    """Replace $...$ and $$...$$ outside code by MathML, which browsers draw themselves."""
    from latex2mathml.converter import convert

    def formula(match: re.Match) -> str:
        code, block, inline = match.groups()
        return code or convert(block or inline, display="block" if block else "inline")

    return re.sub(
        r"(```.*?```|`[^`]*`)|\$\$(.+?)\$\$|\$([^$\n]+?)\$", formula, markdown, flags=re.S
    )


def make_course(config: CourseConfig) -> str | None:
    """``leovl-mini course``: pages of all notebooks, or with ``refresh`` new outputs in them."""
    if config.refresh:
        return refresh_outputs(config.notebooks)
    return f"open {run_course(config.notebooks, config.out)}"
