"""The command line. A command's options are the fields of its dataclass in config/, read by tyro;
what it does is imported when it runs, so that --help answers in a moment.
"""

import sys
import time
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from leovl_mini import config as c

# The options of each command, and the function that takes them. What it returns is printed: lines,
# tables as (title, rows), and of a run of training its figures.
COMMANDS: dict[str, tuple[type, str]] = {
    "scene": (c.SceneConfig, "leovl_mini.cli:scene"),
    "ask": (c.AskConfig, "leovl_mini.cli:ask"),
    "rooms make": (c.RoomsConfig, "leovl_mini.cli:rooms_make"),
    "rooms symbolic": (c.SymbolicRoomsConfig, "leovl_mini.cli:rooms_symbolic"),
    "rooms table": (c.RoomTableConfig, "leovl_mini.show.report:rooms_tables"),
    "rooms export": (c.ExportConfig, "leovl_mini.cli:rooms_export"),
    "rooms samples": (c.SamplesConfig, "leovl_mini.cli:rooms_samples"),
    "train features": (c.FeaturesConfig, "leovl_mini.cli:train_features"),
    "train sample": (c.FeatureSampleConfig, "leovl_mini.cli:train_sample"),
    "train tokenizer": (c.TokenizerConfig, "leovl_mini.cli:train_tokenizer"),
    "train symbolic": (c.SymbolicConfig, "leovl_mini.train.curriculum:symbolic"),
    "train tune": (c.TuneConfig, "leovl_mini.train.curriculum:tune"),
    "train prefer": (c.PostTrainConfig, "leovl_mini.train.post_train:prefer"),
    "train card": (c.CardConfig, "leovl_mini.show.cards:make_card"),
    "evaluate": (c.EvaluateConfig, "leovl_mini.show.report:evaluate_weights"),
    "reproduce post-training": (
        c.ComparisonConfig,
        "leovl_mini.experiments.post_training:reproduce",
    ),
    "reproduce height": (c.HeightConfig, "leovl_mini.experiments.height:reproduce"),
    "reproduce tokens": (c.TokenCountsConfig, "leovl_mini.experiments.token_counts:reproduce"),
    "reproduce growth": (c.GrowthConfig, "leovl_mini.experiments.growth:reproduce"),
    "course": (c.CourseConfig, "leovl_mini.show.course:make_course"),
    "bench": (c.BenchConfig, "leovl_mini.cli:bench"),
}


console = Console()


# -- from words to a function, and from its result to the screen -----------------------------------


def main() -> None:
    """Expected failures become one sentence and exit code 2; anything else is a bug and keeps its
    traceback.
    """
    name, config = parse(sys.argv[1:])
    module, function = COMMANDS[name][1].split(":")
    start = time.perf_counter()
    try:
        result = getattr(import_module(module), function)(config)
        if result == {}:  # one of several processes of a run, and not the one that speaks
            return
        report(result)
        out = getattr(config, "out", None)
        if out and out.exists():
            minutes = (time.perf_counter() - start) / 60
            report(f"{out}: {megabytes(out):.1f} MB, {minutes:.1f} minutes")
    except expected_errors() as error:
        text = str(error)
        if isinstance(error, OSError) and error.filename:
            text = f"{error.filename}: {error.strerror}; choose a place that can be written"
        fail(text)


def parse(words: list[str]) -> tuple[str, Any]:
    """The command that the words begin with, and its options. Exits after --help, and where the
    words are wrong.
    """
    for name in (" ".join(words[:2]), " ".join(words[:1])):
        if name in COMMANDS:
            rest, program = words[len(name.split()) :], f"leovl-mini {name}"
            marks = (tyro.conf.PositionalMetavarFromFieldName,)
            return name, tyro.cli(COMMANDS[name][0], prog=program, args=rest, config=marks)
    group = [word for word in words if word not in ("-h", "--help")]
    known = [name for name in COMMANDS if name.split()[: len(group)] == group]
    if not known:
        fail(f"there is no command {' '.join(group)!r}; say leovl-mini --help")
    report("usage: leovl-mini COMMAND [OPTIONS], and leovl-mini COMMAND --help", "")
    for name in known:
        report(f"  {name:24} {' '.join(COMMANDS[name][0].__doc__.split())}")
    sys.exit(0)


def expected_errors() -> tuple[type[Exception], ...]:
    from leovl_mini.data.files import WeightsMissing
    from leovl_mini.scans.scene import InputError

    files = (FileNotFoundError, FileExistsError, NotADirectoryError, PermissionError)
    return (InputError, WeightsMissing, *files)


def fail(text: str) -> None:
    stderr = Console(stderr=True)
    stderr.print(f"error: {text}", style="red", soft_wrap=True, markup=False, highlight=False)
    sys.exit(2)


def report(*results: Any) -> None:
    """Print what a command returns."""
    for result in results:
        if isinstance(result, list):
            report(*result)
        elif isinstance(result, tuple):
            console.print(import_module("leovl_mini.show.report").table(*result))
        elif isinstance(result, dict):
            figures = ("steps", "loss", "minutes")
            report(", ".join(f"{name} {result[name]}" for name in figures if name in result))
        elif result is not None:
            console.print(result, soft_wrap=True, markup=False, highlight=False)


def megabytes(path: Path) -> float:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


# -- commands that are a few lines -----------------------------------------------------------------


def perceive_scene(config: c.SceneConfig | c.AskConfig, weights: Path | None = None) -> tuple:
    """(scene, what perception makes of it, the model that can read that). Warnings on the way
    become notes of the scene.
    """
    from leovl_mini.data.samples import sample_room
    from leovl_mini.model.ask import load_model
    from leovl_mini.scans.load import load_scene
    from leovl_mini.tokens.pipeline import Clock, perceive

    clock, device, path = Clock(), c.pick_device(config.device), config.path or sample_room()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        frames = config.max_frames, config.choose, config.up
        loaded = clock.measure("load", load_scene, path, *frames)
        name = str(weights or config.preset)
        model = clock.measure("models", load_model, name, config.tokens, device=device)
        scene_input = perceive(loaded.to(device), model.representation, preset=model.preset)
    loaded.notes += sorted({str(w.message) for w in caught if issubclass(w.category, UserWarning)})
    scene_input.seconds = {**clock.seconds, **scene_input.seconds}
    return loaded.to(device), scene_input, model


def scene(config: c.SceneConfig) -> list:
    from leovl_mini.data.files import atomic_write
    from leovl_mini.show.plots import overview
    from leovl_mini.show.report import question_table, scene_examples, scene_table, write_points
    from leovl_mini.show.viewer import figure, write_page

    examples = scene_examples(config) if config.questions else []
    with atomic_write(config.out) as partial:  # first: is it a place that can be written?
        loaded, scene_input, model = perceive_scene(config)
        written = write_points(loaded, partial / "points.ply")
        overview(loaded, scene_input).savefig(partial / "overview.png", dpi=120)
        write_page(figure(loaded, scene_input, max_points=60_000), partial / "scene.html")
    answers = ()
    if examples:
        answers = question_table(model, scene_input.tokens, examples, config.questions)
    files = [f"  {config.out / name}" for name in ("points.ply", "overview.png", "scene.html")]
    return [scene_table(loaded, scene_input, written), *answers, *files]


def ask(config: c.AskConfig) -> str | None:
    from leovl_mini.model.ask import ask

    loaded, scene_input, model = perceive_scene(config, config.weights)
    counts = f"{len(loaded)} frames, {len(scene_input)} scene tokens"
    report(f"{loaded.name}: {counts}, preset {model.preset}")
    question = config.question
    while question:
        start = time.perf_counter()
        answer = ask(scene_input, question, model)
        report(f"Q: {question}", f"A: {answer}  ({time.perf_counter() - start:.1f} s)")
        question = next(sys.stdin, "").strip() if config.talk else ""
    if not model.trained:
        return "The bridge from scene to language is untrained: no answer looks at the room yet."


def rooms_make(config: c.RoomsConfig) -> str | None:
    from leovl_mini.rooms.dataset import has_published_test_sets, make_rooms

    make_rooms(config.out, config.rooms, config.views, config.workers, config.pairs)
    same = has_published_test_sets(config.out)
    if same is not None:
        return f"its test sets {'are' if same else 'differ from'} the published ones"


def rooms_symbolic(config: c.SymbolicRoomsConfig) -> None:
    from leovl_mini.rooms.dataset import make_rooms

    make_rooms(config.out, config.rooms, workers=config.workers, pictures=False)


def rooms_export(config: c.ExportConfig) -> str:
    from leovl_mini.rooms.cameras import domain_room, record
    from leovl_mini.rooms.export import export

    room, name = domain_room(config.domain, config.number), f"{config.domain}_{config.number}"
    export(record(room, config.domain, config.views, name), config.out, config.format)
    return f"{config.views} frames, {len(room.objects)} objects"


def rooms_samples(config: c.SamplesConfig) -> None:
    from leovl_mini.rooms.export import export_samples

    export_samples(config.out)


def train_features(config: c.FeaturesConfig) -> None:
    from leovl_mini.tokens.cache import make_features, open_source

    device, source = c.pick_device(config.device), open_source(config.corpus)
    make_features(config.out, source, config.preset, config.tokens, device=device)


def train_sample(config: c.FeatureSampleConfig) -> None:
    from leovl_mini.rooms.dataset import RoomDataset
    from leovl_mini.tokens.cache import FeatureCache, export_sample

    rooms, cache = RoomDataset(config.corpus), FeatureCache(config.cache)
    export_sample(config.out, rooms, cache, config.train, config.val)


def train_tokenizer(config: c.TokenizerConfig) -> None:
    from leovl_mini.model import nano
    from leovl_mini.model.prompts import plain_texts
    from leovl_mini.rooms.dataset import RoomDataset

    nano.train_tokenizer(plain_texts(RoomDataset(config.corpus).examples("train")), config.out)


def bench(config: c.BenchConfig) -> None:
    from leovl_mini.experiments.speed import run_bench

    rows, missed = run_bench(config.seconds)
    report(("median of a call after warm-up", rows), [f"missed: {name}" for name in missed])
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
