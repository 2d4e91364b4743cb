"""The command line: ``leovl-mini scene``, ``ask``, ``rooms``, ``course``."""

import functools
import sys
import time
import warnings
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from leovl_mini.cli_rivals import train_app
from leovl_mini.cli_rooms import rooms_app
from leovl_mini.cli_train import Device, Preset, Tokens
from leovl_mini.data.files import WeightsMissing
from leovl_mini.scans.scene import InputError

app = typer.Typer(
    help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


app.add_typer(rooms_app, name="rooms")


app.add_typer(train_app, name="train")


console = Console()


ScenePath = Annotated[
    Path | None,
    typer.Argument(help="Folder of a capture; without it, a bundled room.", show_default=False),
]


Frames = Annotated[int, typer.Option(min=1, help="Use at most this many frames.")]


Choose = Annotated[
    Literal["spread", "overlap"],
    typer.Option(help="Frames evenly along the path, or by greedy view coverage."),
]


Axis = Literal["x", "y", "z", "-x", "-y", "-z"]


Up = Annotated[
    Axis | None,
    typer.Option(help="The world's up axis; by default read from the layout or estimated."),
]


@app.command()
def scene(
    path: ScenePath = None,
    out: Annotated[
        Path, typer.Option(help="Folder for points.ply, overview.png and scene.html.")
    ] = Path("output/scene"),
    max_frames: Frames = 40,
    choose: Choose = "spread",
    up: Up = None,
    preset: Preset = "nano",
    tokens: Tokens = "grid",
    device: Device = "auto",
) -> None:
    """Turn a capture into points, voxels and grid tokens; print a table and write pictures of every
    stage.
    """
    from leovl_mini.data.files import atomic_write
    from leovl_mini.show.plots import overview
    from leovl_mini.show.report import scene_table, write_points
    from leovl_mini.show.viewer import figure
    from leovl_mini.tokens.pipeline import Clock

    with atomic_write(
        out
    ) as partial:  # first, so that an unwritable place is found before the work is done
        loaded, stages, _ = run_stages(path, max_frames, choose, up, preset, tokens, device)
        clock = Clock()
        written = clock.measure("points.ply", write_points, loaded, partial / "points.ply")
        clock.measure(
            "overview.png",
            lambda: overview(loaded, stages).savefig(partial / "overview.png", dpi=110),
        )
        page = figure(loaded, stages, max_points=60_000)
        clock.measure("scene.html", page.write_html, partial / "scene.html", include_plotlyjs=True)
        stages.seconds.update(clock.seconds)
    console.print(scene_table(loaded, stages, written))
    for name in ("points.ply", "overview.png", "scene.html"):
        console.print(f"  {out / name}", soft_wrap=True, highlight=False)


@app.command()
def ask(
    path: ScenePath = None,
    question: Annotated[
        str, typer.Argument(help="What you want to know about the room.")
    ] = "Is there a table?",
    max_frames: Frames = 40,
    choose: Choose = "spread",
    up: Up = None,
    preset: Preset = "nano",
    tokens: Tokens = "grid",
    device: Device = "auto",
    weights: Annotated[
        Path | None,
        typer.Option(help="Your trained weights; their preset and representation count."),
    ] = None,
    talk: Annotated[
        bool, typer.Option("--talk", help="Then go on, a question a line; an empty line ends.")
    ] = False,
) -> None:
    """Put a question to the language model, with the scene's tokens in front of it."""
    loaded, stages, model = run_stages(
        path, max_frames, choose, up, preset, tokens, device, weights
    )
    console.print(
        f"{loaded.name}: {len(loaded)} frames, {len(stages.tokens)} scene tokens, preset {model.preset}"
    )
    from leovl_mini.model.ask import ask as put

    while question:
        start = time.perf_counter()
        answer = put(stages, question, model)
        console.print(f"Q: {question}", markup=False, soft_wrap=True)
        console.print(
            f"A: {answer}  ({time.perf_counter() - start:.1f} s)", markup=False, soft_wrap=True
        )
        question = next(sys.stdin, "").strip() if talk else ""
    if not answer.trained:
        console.print(
            "The bridge from scene to language is untrained: the answer does not look at the room yet.",
            style="yellow",
        )


@app.command()
def bench(
    repeats: Annotated[
        int, typer.Option(min=20, help="Timed calls of each row; the median counts.")
    ] = 20,
    growth: Annotated[
        Path | None,
        typer.Option(
            help="Instead, measure growth with frames and budgets; write it to this JSON file."
        ),
    ] = None,
) -> None:
    """Time the stages on this machine; exit with 1 where an aim is missed."""
    if growth:
        from leovl_mini.experiments.growth import write_growth

        for row in write_growth(growth):
            console.print("  ".join(str(value) for value in row.values()))
        return
    from leovl_mini.experiments.speed import run_bench
    from leovl_mini.show.report import table

    rows, missed = run_bench(repeats)
    console.print(table("median of a call after warm-up", rows))
    for name in missed:
        console.print(f"missed: {name}", style="red")
    if missed:
        raise typer.Exit(1)


@app.command()
def evaluate(
    weights: Annotated[
        Path | None, typer.Argument(help="Trained weights; without them, the ones of the package.")
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option(help="A corpus; without one, the eight unseen rooms of the package."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="The corpus's features, made by leovl-mini train features.")
    ] = None,
    split: Annotated[str, typer.Option(help="Which examples; keep test for the end.")] = "val",
    rooms: Annotated[int, typer.Option(min=1, help="At most so many rooms.")] = 200,
    blind: Annotated[
        Path | None,
        typer.Option(help="Weights of leovl-mini train tune --blind, as another control."),
    ] = None,
    texts: Annotated[
        int,
        typer.Option(min=0, help="Also score the captions, plans and dialogues of so many rooms."),
    ] = 0,
    write: Annotated[
        Path | None, typer.Option(help="Also write all scores with intervals to this JSON file.")
    ] = None,
) -> None:
    """Score short answers per kind, beside controls: no scene, the wrong scene, features on wrong
    places, no features.
    """
    from leovl_mini.data.files import hardware
    from leovl_mini.evaluate.run import as_rows, evaluate_texts, load_eval_data, write_results
    from leovl_mini.evaluate.run import evaluate as score
    from leovl_mini.model.hub import find
    from leovl_mini.model.leovl import LeoVL
    from leovl_mini.rooms.cameras import DOMAINS
    from leovl_mini.show.report import table

    file, start = find(weights or "nano"), time.perf_counter()
    model = LeoVL.from_pretrained(file)
    seen, examples, learned, world = load_eval_data(corpus, cache, split, rooms)
    world = functools.cache(world)
    results = score(
        model,
        seen,
        examples,
        learned,
        blind=LeoVL.from_pretrained(blind) if blind else None,
        world=world,
        quiet=False,
    )
    names = list(dict.fromkeys(e.scene for e in examples))
    where = split if corpus else "the package's unseen rooms"
    about = {"weights": file.name, "trained": model.made, "split": where, "rooms": len(names)}
    seconds = time.perf_counter() - start
    console.print(f"{file.name} on {where}: {len(names)} rooms, {seconds:.0f} s; percent right")
    console.print(
        table(
            "With its scene, and controls",
            as_rows({k: r for k, r in results.items() if k not in DOMAINS}),
        )
    )
    console.print(
        table("By domain", as_rows({k: r for k, r in results.items() if k in ("scene", *DOMAINS)}))
    )
    if texts:
        some = [e for e in examples if e.scene in names[:texts]]
        results["texts"] = evaluate_texts(
            model, seen, some, {n: world(n) for n in names[:texts]}, quiet=False
        )
        rows = [[task, *row.values()] for task, row in results["texts"].items()]
        console.print(table("Texts", [["task", *next(iter(results["texts"].values()))], *rows]))
    if write:
        write_results(write, {**about, "hardware": hardware()}, results)


@app.command()
def course(
    out: Annotated[
        Path, typer.Option(help="Folder for the executed notebooks and HTML pages.")
    ] = Path("output/course"),
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Instead, renew the outputs inside notebooks/ itself.")
    ] = False,
    notebooks: Annotated[Path, typer.Option(help="The folder of the notebooks.")] = Path(
        "notebooks"
    ),
) -> None:
    """Execute all notebooks in quick mode and write them as HTML pages."""
    from leovl_mini.show.course import refresh_outputs, run_course

    if refresh:
        refresh_outputs(notebooks)
    else:
        console.print(f"open {run_course(notebooks, out)}", soft_wrap=True)


def run_stages(
    path: Path | None,
    max_frames: int,
    choose: str,
    up: str | None,
    preset: str,
    tokens: str,
    device: str,
    weights: Path | None = None,
):
    """Load a scene, run every stage on it: (scene, stages, model). Warnings on the way are printed
    as plain lines.
    """
    from leovl_mini.config import get_preset, pick_device
    from leovl_mini.data.samples import sample_room
    from leovl_mini.model.ask import load_model
    from leovl_mini.perception.encoders import load_encoder
    from leovl_mini.scans.load import load_scene
    from leovl_mini.tokens.pipeline import Clock, perceive

    try:
        target = pick_device(device)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--device") from None
    trained = load_model(str(weights), device=target) if weights else None
    settings = get_preset(trained.preset if trained else preset)
    clock = Clock()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        loaded = clock.measure(
            "load", load_scene, path or sample_room(), max_frames, choose, up
        ).to(target)
        encoder = load_encoder(settings["encoder"], settings["longest_side"], target)
        model = trained or clock.measure(
            "models", load_model, preset, tokens, encoder.channels, target
        )
        stages = perceive(loaded, model.representation, encoder)
    loaded.notes += sorted({str(w.message) for w in caught if issubclass(w.category, UserWarning)})
    stages.seconds = {**clock.seconds, **stages.seconds}
    return loaded, stages, model


def main() -> None:
    """Expected failures become one sentence and exit code 2; anything else is a bug and keeps its
    traceback.
    """
    try:
        app(standalone_mode=True)
    except (
        InputError,
        WeightsMissing,
        FileNotFoundError,
        FileExistsError,
        NotADirectoryError,
        PermissionError,
    ) as error:
        text = str(error)
        if isinstance(error, OSError) and error.filename:
            text = f"{error.filename}: {error.strerror}; choose a place that can be written"
        Console(stderr=True).print(
            f"error: {text}", style="red", soft_wrap=True, markup=False, highlight=False
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
