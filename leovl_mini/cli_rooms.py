"""The commands ``leovl-mini rooms ...``: known-answer rooms."""

import time
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

rooms_app = typer.Typer(help="Known-answer rooms.", no_args_is_help=True)


console = Console()


DomainName = Annotated[
    Literal["scannet", "rscan", "multiscan", "arkitscenes"], typer.Option(help="The capture style.")
]


Layout = Literal["poses_txt", "scannet", "rscan", "multiscan", "arkitscenes"]


Views = Annotated[int, typer.Option(min=1, help="Frames of each room.")]


@rooms_app.command("make")
def make_rooms(
    out: Annotated[
        Path, typer.Option(help="Folder of the corpus; an interrupted one is continued.")
    ],
    rooms: Annotated[
        int, typer.Option(min=1, help="Number of rooms, spread over the four domains.")
    ] = 2000,
    views: Views = 8,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    pairs: Annotated[
        float, typer.Option(min=0, max=1, help="Share of rooms with minimally edited copies.")
    ] = 0.2,
) -> None:
    """Record many rooms and write all their questions, captions, plans and dialogues in balanced
    splits.
    """
    from leovl_mini.rooms.dataset import has_published_test_sets, make_rooms

    start = time.perf_counter()
    make_rooms(out, rooms, views, workers, pairs)
    size = sum(file.stat().st_size for file in out.iterdir()) / 1e9
    console.print(
        f"{out}: {rooms} rooms, {size:.2f} GB, {(time.perf_counter() - start) / 60:.1f} minutes",
        soft_wrap=True,
    )
    same = has_published_test_sets(out)
    if same is not None:
        console.print(
            "its test sets are the published ones"
            if same
            else "its test sets differ from the published ones",
            soft_wrap=True,
        )


@rooms_app.command("table")
def tables(
    corpus: Annotated[Path, typer.Argument(help="Folder written by leovl-mini rooms make.")],
    split: Annotated[str, typer.Option(help="Which examples.")] = "train",
    write: Annotated[
        Path | None, typer.Option(help="Also write the tables to this Markdown file.")
    ] = None,
) -> None:
    """Count a split's examples per task and domain, and show what can be answered without looking."""
    from leovl_mini.rooms.balance import counts_table, kinds_table, occupancy
    from leovl_mini.rooms.dataset import RoomDataset
    from leovl_mini.show.report import markdown, table

    examples = list(RoomDataset(corpus).examples(split))
    learned = None if split == "train" else RoomDataset(corpus).examples("train")
    share = occupancy(e for e in examples if e.task == "qa")
    tables = {
        f"{split}: examples": counts_table(examples),
        f"{split}: questions": kinds_table(examples, learned),
    }
    summary = f"The 15 most frequent answer templates make up {share:.0%} of all QA."
    for title, rows in tables.items():
        console.print(table(title, rows))
    console.print(summary)
    if write:
        write.write_text(
            "\n".join([*(markdown(title, rows) for title, rows in tables.items()), summary, ""])
        )


@rooms_app.command("export")
def export_room(
    out: Annotated[Path, typer.Option(help="New folder for the room.")],
    number: Annotated[int, typer.Option(min=0, help="Another number, another room.")] = 1,
    domain: DomainName = "scannet",
    layout: Annotated[
        Layout, typer.Option(help="Folder layout; poses_txt also holds instance masks and objects.")
    ] = "poses_txt",
    views: Views = 8,
) -> None:
    """Record one room and write it as a capture, in the plain layout or in that of a real data set."""
    from leovl_mini.rooms.cameras import domain_room, record
    from leovl_mini.rooms.export import export

    room = domain_room(domain, number)
    export(record(room, domain, views, f"{domain}_{number}"), out, layout)
    console.print(f"{out}: {views} frames, {len(room.objects)} objects", soft_wrap=True)


@rooms_app.command("samples")
def write_samples(out: Annotated[Path, typer.Option(help="New folder for the rooms.")]) -> None:
    """Write the rooms that travel with the package: two of every domain, with their examples."""
    from leovl_mini.rooms.export import export_samples

    export_samples(out)
    console.print(f"{out}: {', '.join(sorted(p.name for p in out.iterdir()))}", soft_wrap=True)


@rooms_app.command("tokens")
def count(
    corpus: Annotated[Path, typer.Argument(help="Folder written by leovl-mini rooms make.")],
    rooms: Annotated[int, typer.Option(min=1, help="How many rooms to count.")] = 800,
    write: Annotated[
        Path | None, typer.Option(help="Also write the counts of every room to this JSON file.")
    ] = None,
) -> None:
    """Count the patches, voxels and pillars of many rooms."""
    import json
    import statistics

    from tqdm import tqdm

    from leovl_mini.data.files import hardware
    from leovl_mini.experiments.token_counts import corpus_statistics
    from leovl_mini.rooms.dataset import RoomDataset
    from leovl_mini.show.report import table, write_rows

    start = time.perf_counter()
    rows = list(tqdm(corpus_statistics(corpus, rooms), total=rooms, unit="room"))
    minutes = round((time.perf_counter() - start) / 60, 1)
    lines = [["", "median", "mean", "deviation"]]
    for kind in ("patches", "voxels", "grid"):
        counts = [row[kind] for row in rows]
        lines.append(
            [
                kind,
                *(
                    f"{f(counts):,.0f}"
                    for f in (statistics.median, statistics.mean, statistics.stdev)
                ),
            ]
        )
    console.print(table(f"{len(rows)} rooms, cells of 0.2 m", lines))
    if write:
        made = json.loads((corpus / "corpus.json").read_text())
        command = f"{RoomDataset(corpus).command()}; leovl-mini rooms tokens CORPUS --rooms {rooms}"
        note = {"command": command, "rooms": len(rows), "views": made["views"], "voxel_size": 0.2}
        write_rows(write, {**note, "hardware": hardware(), "minutes": minutes}, "scenes", rows)
