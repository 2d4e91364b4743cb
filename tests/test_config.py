"""Settings: the options of every command, written as a command and read back."""

import ast
import contextlib
import dataclasses
import itertools
import json
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from leovl_mini import cli
from leovl_mini.config import (
    PRESETS,
    ComparisonConfig,
    TuneConfig,
    command_of,
    presets,
    runs,
    settings_of,
    tools,
)

NAMES = sorted(cli.COMMANDS)


def required(name: str) -> list[str]:
    """The words that a command cannot do without."""
    words = []
    for field in dataclasses.fields(cli.COMMANDS[name][0]):
        if field.default is dataclasses.MISSING:
            hint = str(cli.COMMANDS[name][0].__annotations__[field.name])
            option = [] if "Positional" in hint else [f"--{field.name.replace('_', '-')}"]
            words += [*option, field.name]
    return words


def changed(value):
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple):
        return value[:2]
    other = {int: lambda v: v + 50, float: lambda v: v / 2 + 0.4, str: lambda v: v and f"{v} x"}
    return other.get(type(value), lambda v: v)(value)


def varied(name: str) -> list:
    """The settings of a command with each field changed in turn, as far as that is allowed."""
    _, base = cli.parse([*name.split(), *required(name)])
    found = [base]
    for field in dataclasses.fields(base):
        change = {field.name: changed(getattr(base, field.name))}
        with contextlib.suppress(Exception):  # a choice that has no other of this form
            found.append(dataclasses.replace(base, **change))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_command_is_written_from_its_settings_and_read_back(name):
    for settings in varied(name):
        text = command_of(name, settings)
        assert text.startswith(f"leovl-mini {name}")
        assert cli.parse(shlex.split(text)[1:]) == (name, settings), text


def test_only_what_differs_from_the_defaults_is_written_and_no_path_of_a_machine():
    settings = TuneConfig(Path("/home/me/corpus"), Path("/tmp/my features"), Path("out/run"))
    assert command_of("train tune", settings) == (
        "leovl-mini train tune corpus --cache 'my features' --out run"
    )
    texts = dataclasses.replace(settings, texts=False, bf16=True, short_share=0.3, lora=8)
    assert command_of("train tune", texts).endswith("--lora 8 --no-texts --short-share 0.3 --bf16")
    methods = ComparisonConfig(*map(Path, "abcd"), methods=("sft", "answer dpo"))
    assert command_of("reproduce post-training", methods).endswith("--methods sft 'answer dpo'")
    noted = json.loads(json.dumps(settings_of(methods)))
    assert noted["corpus"] == "a" and noted["methods"] == ["sft", "answer dpo"]
    assert settings_of(settings)["cache"] == "my features" and settings_of(texts)["lora"] == 8


@pytest.mark.parametrize("module", [presets, runs, tools])
def test_every_setting_is_explained(module):
    tree = ast.parse(Path(module.__file__).read_text())
    for made in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        assert ast.get_docstring(made)
        for field, below in itertools.pairwise(made.body):
            if isinstance(field, ast.AnnAssign):
                text = below.value.value if isinstance(below, ast.Expr) else ""
                assert text, f"{made.name}.{field.target.id}"


@pytest.mark.parametrize("words", [[], ["train", "tune"], ["rooms"]])
def test_help_answers_in_a_moment(words):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "leovl_mini.cli", *words, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "usage: leovl-mini" in done.stdout
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime < 1


@pytest.mark.parametrize("name, wrong", [("rooms make", "--pairs 2"), ("train tune", "--steps 0")])
def test_values_out_of_range_are_refused(name, wrong, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.parse([*name.split(), *required(name), *wrong.split()])
    assert stopped.value.code == 2 and wrong.split()[0] in capsys.readouterr().err


def test_options_of_a_representation_are_those_that_it_has():
    nano, qwen = PRESETS["nano"], PRESETS["qwen"]
    assert nano.options("grid") == nano.options("voxels") == {"voxel_size": 0.25, "budget": 750}
    assert nano.options("proxies") == {} and qwen.options("grid")["voxel_size"] == 0.2
