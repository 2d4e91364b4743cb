"""The commands ``leovl-mini train ...``: features, and the stages of training."""

import time
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

train_app = typer.Typer(help="Training, stage by stage.", no_args_is_help=True)


console = Console()


Preset = Annotated[
    Literal["nano", "smol", "qwen"],
    typer.Option(help="Encoder, token settings and language model."),
]


Tokens = Annotated[
    Literal["patches", "voxels", "grid", "proxies", "objects"],
    typer.Option("--tokens", help="Scene representation."),
]


Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]


CorpusPath = Annotated[Path, typer.Argument(help="Folder written by leovl-mini rooms make.")]


Watch = Annotated[
    int, typer.Option(min=0, help="Validation rooms asked about every 200 steps, for the curves.")
]


Steps = Annotated[int, typer.Option(min=1, help="Steps of the optimiser.")]


@train_app.command("features")
def make_features(
    corpus: CorpusPath,
    out: Annotated[
        Path, typer.Option(help="Folder of the feature cache; an interrupted one is continued.")
    ],
    preset: Preset = "nano",
    tokens: Tokens = "grid",
    device: Device = "auto",
) -> None:
    """Run perception once over a corpus and keep what it saw."""
    from leovl_mini.config import pick_device
    from leovl_mini.rooms.dataset import RoomDataset
    from leovl_mini.tokens.cache import make_features

    start = time.perf_counter()
    make_features(out, RoomDataset(corpus), preset, tokens, device=pick_device(device))
    size = sum(file.stat().st_size for file in out.iterdir()) / 1e9
    console.print(
        f"{out}: {size:.2f} GB, {(time.perf_counter() - start) / 60:.1f} minutes", soft_wrap=True
    )


@train_app.command("sample")
def make_feature_sample(
    corpus: CorpusPath,
    cache: Annotated[
        Path, typer.Option(help="The corpus's features, made by leovl-mini train features.")
    ],
    out: Annotated[Path, typer.Option(help="A new folder.")],
    learned: Annotated[int, typer.Option(min=1, help="So many training rooms.")] = 24,
    unseen: Annotated[int, typer.Option(min=1, help="So many validation rooms.")] = 8,
) -> None:
    """Take a few rooms out of a feature cache, with their examples, to train on a laptop at once."""
    from leovl_mini.rooms.dataset import RoomDataset
    from leovl_mini.tokens.cache import FeatureCache, export_sample

    export_sample(out, RoomDataset(corpus), FeatureCache(cache), learned, unseen)
    console.print(
        f"{out}: {sum(file.stat().st_size for file in out.iterdir()) / 1e6:.1f} MB", soft_wrap=True
    )


@train_app.command("tokenizer")
def make_tokenizer(
    corpus: CorpusPath, out: Annotated[Path, typer.Option(help="The JSON file to write.")]
) -> None:
    """Learn nano's words from the training texts of a corpus."""
    from leovl_mini.model.nano import train_tokenizer
    from leovl_mini.model.prompts import plain_texts
    from leovl_mini.rooms.dataset import RoomDataset

    train_tokenizer(plain_texts(RoomDataset(corpus).examples("train")), out)
    console.print(f"{out}: {out.stat().st_size // 1000} kB", soft_wrap=True)


@train_app.command("layouts")
def write_layouts(
    out: Annotated[Path, typer.Option(help="A new folder.")],
    rooms: Annotated[int, typer.Option(min=40, help="So many rooms.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Furnish rooms on paper only, with questions and texts: what the first stage learns from."""
    from leovl_mini.rooms.symbolic import make_symbolic_rooms

    start = time.perf_counter()
    make_symbolic_rooms(out, rooms, workers)
    console.print(
        f"{out}: {rooms} rooms, {(time.perf_counter() - start) / 60:.1f} minutes", soft_wrap=True
    )


@train_app.command("symbolic")
def train_symbolic(
    layouts: Annotated[Path, typer.Argument(help="Folder written by leovl-mini train layouts.")],
    out: Annotated[Path, typer.Option(help="The checkpoint; an interrupted run is continued.")],
    start: Annotated[Path | None, typer.Option(help="Checkpoint or weights that go on.")] = None,
    steps: Steps = 1800,
    seed: Annotated[int, typer.Option(help="Another seed, other first weights and batches.")] = 0,
    rooms: Annotated[int, typer.Option(min=1, help="Rooms a step: more for a GPU.")] = 16,
    texts: Annotated[
        float, typer.Option(min=0, max=1, help="Share of rooms with captions, plans and dialogues.")
    ] = 0.0,
    watch: Watch = 16,
) -> None:
    """Stage 1: learn to answer about rooms made of words."""
    from leovl_mini.train.curriculum import symbolic

    report_stage(
        symbolic(layouts, out, steps, seed, watch=watch, rooms=rooms, start=start, texts=texts), out
    )


@train_app.command("tune")
def train_tune(
    corpus: CorpusPath,
    cache: Annotated[Path, typer.Option(help="Folder written by leovl-mini train features.")],
    out: Annotated[Path, typer.Option(help="The checkpoint; an interrupted run is continued.")],
    start: Annotated[
        Path | None, typer.Option(help="Checkpoint or weights to start from; else random ones.")
    ] = None,
    steps: Steps = 1000,
    align: Annotated[
        int, typer.Option(min=0, help="First so many steps of alignment without a language model.")
    ] = 3000,
    blind: Annotated[
        bool, typer.Option("--blind", help="Train the control that never sees a scene.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Another seed, other batches.")] = 0,
    preset: Preset = "nano",
    lora: Annotated[
        int, typer.Option(min=0, help="Of the language model train only an adapter of this rank.")
    ] = 0,
    accumulate: Annotated[
        int, typer.Option(min=1, help="Read the rooms of a step in so many parts, to save memory.")
    ] = 1,
    split: Annotated[str, typer.Option(help="Which examples, such as skewed-train.")] = "train",
    domain: Annotated[
        str,
        typer.Option(help="Only rooms of this domain: scannet, rscan, multiscan or arkitscenes."),
    ] = "",
    per: Annotated[
        Literal["token", "sequence"],
        typer.Option(help="Average the loss over words, or over answers."),
    ] = "token",
    everyday: Annotated[
        float, typer.Option(min=0, max=1, help="Share of questions asked in the shortest words.")
    ] = 0.0,
    in_words: Annotated[
        float, typer.Option(min=0, max=1, help="Share of steps in which rooms are shown in words.")
    ] = 0.0,
    texts: Annotated[bool, typer.Option(help="Also captions, plans and dialogues.")] = True,
    lists: Annotated[
        float, typer.Option(min=0, max=1, help="Share of rooms with lists or shorthand.")
    ] = 0.2,
    bf16: Annotated[
        bool,
        typer.Option("--bf16", help="For GPUs, and CPUs with AMX or AVX512-BF16; slow on others."),
    ] = False,
    watch: Watch = 16,
) -> None:
    """Stages 2 and 3: align image tokens with words, then learn to answer about rooms that are
    seen.
    """
    from leovl_mini.train.curriculum import tune

    options = {
        "preset": preset,
        "lora": lora,
        "accumulate": accumulate,
        "split": split,
        "domain": domain,
        "per": per,
    }
    options |= {
        "watch": watch,
        "everyday": everyday,
        "in_words": in_words,
        "texts": texts,
        "lists": lists,
        "bf16": bf16,
    }
    result = tune(Path(corpus), cache, out, start, steps, align, blind, seed, **options)
    report_stage(result, out)


@train_app.command("card")
def ship_weights(
    weights: Annotated[Path, typer.Argument(help="Weights written by leovl-mini train.")],
    name: Annotated[str, typer.Argument(help="The name they shall have.")],
    out: Annotated[
        Path, typer.Option(help="Folder for NAME.safetensors and its card NAME.md.")
    ] = Path("data_samples/weights"),
    about: Annotated[str, typer.Option(help="A sentence that says what they are for.")] = "",
    scores: Annotated[
        Path | None, typer.Option(help="Scores written by leovl-mini evaluate --write.")
    ] = None,
) -> None:
    """Put weights on the shelf, with a model card."""

    from leovl_mini.show.cards import export_weights

    console.print(f"{export_weights(weights, name, out, about, scores)}", soft_wrap=True)


def report_stage(result: dict, out: Path) -> None:
    text = "{steps} steps, {minutes:.1f} minutes, last loss {loss:.3f}".format(**result)
    console.print(f"{out.with_name(out.stem + '.weights.safetensors')}: {text}", soft_wrap=True)
