"""What the commands print and write beside their pictures: tables, answers, the point cloud."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table

from leovl_mini.config import EvaluateConfig, RoomTableConfig, SceneConfig
from leovl_mini.data.examples import Example, load_examples
from leovl_mini.data.files import hardware, write_json
from leovl_mini.data.open3d_headless import open3d
from leovl_mini.data.samples import sample_room
from leovl_mini.evaluate.answers import main_score
from leovl_mini.evaluate.data import load_eval_data
from leovl_mini.evaluate.run import as_rows, evaluate, evaluate_texts
from leovl_mini.model.hub import find
from leovl_mini.model.leovl import LeoVL
from leovl_mini.rooms.balance import counts_table, kinds_table, occupancy
from leovl_mini.rooms.cameras import DOMAINS
from leovl_mini.rooms.dataset import RoomDataset
from leovl_mini.scans.geometry import scene_points
from leovl_mini.scans.scene import InputError, Scene
from leovl_mini.show.plots import voxels_of
from leovl_mini.tokens.base import SceneInput, SceneTokens
from leovl_mini.tokens.cache import FeatureCache, open_source


def write_points(scene: Scene, path: Path, spacing: float = 0.01) -> int:
    """A coloured binary PLY, one point per ``spacing`` metres; returns the number written."""
    points, colours = scene_points(scene)
    cloud = open3d.t.geometry.PointCloud(open3d.core.Tensor(points.cpu().numpy()))
    cloud.point.colors = open3d.core.Tensor(colours.cpu().numpy())
    cloud = cloud.voxel_down_sample(spacing)
    if not open3d.t.io.write_point_cloud(str(path), cloud):
        raise PermissionError(f"{path} could not be written")
    return len(cloud.point.positions)


def scene_table(scene: Scene, scene_input: SceneInput, written: int) -> Table:
    """Frames, counts, extent, seconds per stage and peak memory."""
    voxels = voxels_of(scene_input)
    points, _ = scene_points(scene)
    sample = points[:: max(1, len(points) // 1_000_000)]
    extent = sample.quantile(0.995, dim=0) - sample.quantile(0.005, dim=0)  # without stray points
    sides = " x ".join(f"{x:.1f}" for x in extent.tolist())
    dropped = ", ".join(f"{count} {reason}" for reason, count in scene.dropped.items()) or "none"
    _, height, width = scene.depth.shape
    patches, tokens = scene_input.patches, scene_input.tokens
    cell = f" of {tokens.cell:.2f} m" if tokens.cell else ""
    rows = {
        "frames": f"{len(scene)} used, {width}x{height} pixels; left out: {dropped}",
        "points": f"{len(points):,} measured ({written:,} written, one per cm)",
        "patches": f"{len(patches):,} lifted, {patches.dropped:,} without enough depth",
        "voxels": f"{len(voxels):,} of {voxels.size:.2f} m",
        f"{scene_input.kind} tokens": f"{len(tokens):,}{cell}",
        "extent": f"{sides} m (x, y, z; 99 % of the points)",
        "seconds": ", ".join(
            f"{name} {seconds:.2f}" for name, seconds in scene_input.seconds.items()
        ),
        "peak memory": peak_memory(),
        "device": str(scene.depth.device),
    }
    made = Table(title=scene.name, show_header=False, title_justify="left")
    for name, value in rows.items():
        made.add_row(name, value)
    for note in scene.notes:
        made.add_row("note", note)
    return made


def question_table(
    model: LeoVL, scene: SceneTokens, examples: Sequence[Example], count: int = 8
) -> tuple[Table, str]:
    """Answers beside the truth and beside what the same model says without the scene.

    Asked is the first short question of each kind, for the first ``count`` kinds. The sentence
    returned with the table counts right answers, also of all short questions of ``examples``;
    there numbers count in part, by how close they are (``main_score``).
    """
    questions = [e for e in examples if e.task == "qa"]
    answers = [model.generate(shown, questions, 16) for shown in (scene, None)]
    scores = [[main_score(a, e) for a, e in zip(row, questions, strict=True)] for row in answers]
    first = {e.kind: i for i, e in reversed(list(enumerate(questions)))}
    rows = sorted(first.values())[:count]

    who = f"{model.preset}{'' if model.trained else ' (untrained)'}"
    title = f"Questions about this scene. Without the scene: the same {who} model, no scene tokens"
    style = {"box": box.SIMPLE_HEAD, "show_edge": False, "pad_edge": False}
    made = Table(title=title, title_justify="left", **style)
    for heading in ("kind", "question", "truth", "answer", "without the scene"):
        made.add_column(heading)
    for i in rows:
        example = questions[i]
        marked = [
            answer[i] + ("" if score[i] >= 0.5 else " (wrong)")
            for answer, score in zip(answers, scores, strict=True)
        ]
        question = f"{example.situation} {example.question}".strip()
        made.add_row(example.kind, question, example.answers[0], *marked)
    right = [sum(score[i] >= 0.5 for i in rows) for score in scores]
    percent = [100 * sum(score) / max(len(score), 1) for score in scores]
    counted = (
        f"Right are {right[0]} of {len(rows)}, without the scene {right[1]}. "
        f"Of all {len(questions)} short questions about it {percent[0]:.0f} percent, "
        f"without it {percent[1]:.0f}."
    )
    return made, counted


def table(title: str, rows: list[list]) -> Table:
    """Rows of which the first holds the headings."""
    made = Table(title=title, title_justify="left")
    for i, heading in enumerate(rows[0]):
        made.add_column(str(heading), justify="left" if i == 0 else "right")
    for row in rows[1:]:
        made.add_row(*(f"{x:,}" if isinstance(x, int) else str(x) for x in row))
    return made


def markdown(title: str, rows: list[list]) -> str:
    """The same table in Markdown."""
    lines = [[f"{x:,}" if isinstance(x, int) else str(x) for x in row] for row in rows]
    lines.insert(1, ["---", *["---:"] * (len(rows[0]) - 1)])
    return "\n".join([f"### {title}", "", *("| " + " | ".join(line) + " |" for line in lines), ""])


def peak_memory() -> str:
    """The largest amount of main memory this process has held."""
    if sys.platform == "win32":
        return "not measured on Windows"
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes on Linux, bytes on macOS
    return f"{peak * (1 if sys.platform == 'darwin' else 1024) / 2**30:.2f} GiB"


# -- commands --------------------------------------------------------------------------------------


def scene_examples(config: SceneConfig) -> list[Example]:
    """The examples that lie beside the frames of a bundled room."""
    file = (config.path or sample_room()) / "examples.jsonl"
    if not file.is_file():
        raise InputError(
            f"{file} does not exist, so nothing can be asked by --questions; use leovl-mini ask"
        )
    return list(load_examples(file))


def rooms_tables(config: RoomTableConfig) -> list:
    """``leovl-mini rooms table``: examples per task and domain, questions per kind."""
    rooms, split = RoomDataset(config.corpus), config.split
    examples = list(rooms.examples(split))
    train_examples = None if split == "train" else rooms.examples("train")
    tables = {
        f"{split}: examples": counts_table(examples),
        f"{split}: questions": kinds_table(examples, train_examples),
    }
    share = occupancy(e for e in examples if e.task == "qa")
    summary = f"The 15 most frequent answer templates make up {share:.0%} of all QA."
    if config.write:
        parts = [markdown(title, rows) for title, rows in tables.items()]
        config.write.write_text("\n".join([*parts, summary, ""]))
    return [*tables.items(), summary]


def evaluate_weights(config: EvaluateConfig) -> list:
    """``leovl-mini evaluate``: scores beside controls, and by domain; perhaps of texts, too."""
    file = find(config.weights or "nano")
    model = LeoVL.from_pretrained(file)
    source = open_source(config.corpus) if config.corpus else None
    features = FeatureCache(config.cache or config.corpus) if config.corpus else None
    data = load_eval_data(source, features, config.split, config.scenes)
    twin = LeoVL.from_pretrained(config.question_only) if config.question_only else None
    results = evaluate(model, data, question_only=twin, quiet=False)

    by_domain = {k: r for k, r in results.items() if k in ("scene", *DOMAINS)}
    controls = {k: r for k, r in results.items() if k not in DOMAINS}
    names = list(dict.fromkeys(e.scene for e in data.examples))
    where = config.split if source else "the package's unseen rooms"
    lines = [
        f"{file.name} on {where}: {len(names)} rooms; percent right",
        ("With its scene, and controls", as_rows(controls)),
        ("By domain", as_rows(by_domain)),
    ]
    if config.text_scenes:
        texts = evaluate_texts(model, data, names[: config.text_scenes], quiet=False)
        rows = [[task, *row.values()] for task, row in texts.items()]
        lines.append(("Texts", [["task", *next(iter(texts.values()))], *rows]))
        results["texts"] = texts
    if config.write:
        about = {"weights": file.name, "trained": model.made, "split": where, "rooms": len(names)}
        write_json(config.write, {**about, "hardware": hardware(), "results": results})
    return lines
