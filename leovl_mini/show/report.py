"""What the commands tell and write beside their pictures: tables, rows of measurements, the point
cloud.
"""

import json
import sys
from pathlib import Path

from rich.table import Table

from leovl_mini.data.files import atomic_write
from leovl_mini.data.open3d_headless import open3d
from leovl_mini.scans.geometry import scene_points
from leovl_mini.scans.scene import Scene
from leovl_mini.show.plots import voxels_of
from leovl_mini.tokens.base import SceneInput


def write_points(scene: Scene, path: Path, spacing: float = 0.01) -> int:
    """A coloured binary PLY, one point per ``spacing`` metres; returns the number written."""
    points, colours = scene_points(scene)
    cloud = open3d.t.geometry.PointCloud(open3d.core.Tensor(points.cpu().numpy()))
    cloud.point.colors = open3d.core.Tensor(colours.cpu().numpy())
    cloud = cloud.voxel_down_sample(spacing)
    if not open3d.t.io.write_point_cloud(str(path), cloud):
        raise PermissionError(f"{path} could not be written")
    return len(cloud.point.positions)


def scene_table(scene: Scene, stages: SceneInput, written: int) -> Table:
    """Frames, counts, extent, seconds per stage and peak memory."""
    voxels = voxels_of(stages)
    points, _ = scene_points(scene)
    sample = points[:: max(1, len(points) // 1_000_000)]
    extent = sample.quantile(0.995, dim=0) - sample.quantile(0.005, dim=0)  # without stray points
    dropped = ", ".join(f"{count} {reason}" for reason, count in scene.dropped.items()) or "none"
    table = Table(title=scene.name, show_header=False, title_justify="left")
    rows = {
        "frames": f"{len(scene)} used, {scene.depth.shape[2]}x{scene.depth.shape[1]} pixels; left out: {dropped}",
        "points": f"{len(points):,} measured ({written:,} written, one per cm)",
        "patches": f"{len(stages.patches):,} lifted, {stages.patches.dropped:,} without enough depth",
        "voxels": f"{len(voxels):,} of {voxels.size:.2f} m",
        f"{stages.kind} tokens": f"{len(stages.tokens):,}"
        + (f" of {stages.tokens.cell:.2f} m" if stages.tokens.cell else ""),
        "extent": " x ".join(f"{x:.1f}" for x in extent.tolist())
        + " m (x, y, z; 99 % of the points)",
        "seconds": ", ".join(f"{name} {seconds:.2f}" for name, seconds in stages.seconds.items()),
        "peak memory": peak_memory(),
        "device": str(scene.depth.device),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    for note in scene.notes:
        table.add_row("note", note)
    return table


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


def write_rows(path: Path, note: dict, key: str, rows: list[dict]) -> None:
    """A JSON file with a note (command, hardware ...) and, under ``key``, one line for each row."""
    lines = ",\n".join(json.dumps(row) for row in rows)
    with atomic_write(path.parent) as partial:
        (partial / path.name).write_text(f'{json.dumps(note)[:-1]}, "{key}": [\n{lines}\n]}}\n')


def peak_memory() -> str:
    """The largest amount of main memory this process has held."""
    if sys.platform == "win32":
        return "not measured on Windows"
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes on Linux, bytes on macOS
    return f"{peak * (1 if sys.platform == 'darwin' else 1024) / 2**30:.2f} GiB"
