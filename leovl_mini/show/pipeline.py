"""The method in one picture: a bundled room from frames to an answer, with the real shapes.

``make picture`` writes it. Explained in notebook 00 (overview).
"""

import sys
import textwrap
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.patheffects import Normal, Stroke
from PIL import Image
from skimage.measure import find_contours
from torch import Tensor

from leovl_mini.data.examples import Example, load_examples
from leovl_mini.data.samples import sample_room
from leovl_mini.model.leovl import LeoVL
from leovl_mini.scans.geometry import scene_points
from leovl_mini.scans.load import load_scene
from leovl_mini.scans.scene import Object, Scene
from leovl_mini.show import plots
from leovl_mini.show.objects import BOX_PATH, box_corners
from leovl_mini.tokens import representation
from leovl_mini.tokens.base import SceneInput, SceneTokens, group_mean
from leovl_mini.tokens.pipeline import perceive

WIDTH, HEIGHT = 0.222, 0.285  # of a panel, as parts of the figure
LINE = {"color": "black", "path_effects": [Stroke(linewidth=3.2, foreground="white"), Normal()]}


def corner(row: int, column: int) -> tuple[float, float]:
    """Left and lower edge of a panel, as parts of the figure."""
    return 0.012 + 0.252 * column, 0.64 - 0.475 * row


def panel(figure: Figure, row: int, column: int, title: str, caption: str) -> Axes:
    """Axes without ticks in the given place, a title above and a caption below them."""
    left, bottom = corner(row, column)
    figure.text(left, bottom + HEIGHT + 0.015, title, fontsize=11.5, fontweight="bold")
    figure.text(left, bottom - 0.018, caption, fontsize=10, va="top", linespacing=1.3)
    axes = figure.add_axes((left, bottom, WIDTH, HEIGHT))
    axes.set_axis_off()
    return axes


def arrow(figure: Figure, row: int, column: int) -> None:
    """An arrow from the panel in this place to the one right of it."""
    left, bottom = corner(row, column)
    x, y = left + WIDTH, bottom + HEIGHT / 2
    style = {"arrowstyle": "-|>", "mutation_scale": 14, "color": "0.25", "linewidth": 1.6}
    figure.add_artist(FancyArrowPatch((x + 0.004, y), (x + 0.027, y), **style))


def outline(axes: Axes, mask: Bool[Tensor, "H W"]) -> None:
    """The edge of a mask."""
    for edge in find_contours(np.pad(mask.numpy().astype(float), 1), 0.5):
        axes.plot(edge[:, 1] - 1, edge[:, 0] - 1, linewidth=1.5, **LINE)


def on_page(points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """World to page without perspective, as seen from a corner of the ceiling: right, up, and
    nearness.
    """
    turn, lift = np.radians([-58, 40])
    right = np.array([-np.sin(turn), np.cos(turn), 0])
    near = np.array([np.cos(lift) * np.cos(turn), np.cos(lift) * np.sin(turn), np.sin(lift)])
    return points @ np.stack([right, np.cross(near, right), near], axis=1)


def doll_house(points: Float[np.ndarray, "N 3"], room: Float[Tensor, "P 3"]) -> np.ndarray:
    """Which points are left when ceiling and the two near walls are taken away."""
    low, high = (room.quantile(q, dim=0).numpy() for q in (0.01, 0.99))
    return (points[:, 0] < high[0] - 0.3) & (points[:, 1] > low[1] + 0.3) & (points[:, 2] < high[2])


def draw_cubes(
    axes: Axes, cells: Int64[np.ndarray, "M 3"], size: float, colours: Float[np.ndarray, "M 3"]
) -> None:
    """The three visible faces of each voxel, far ones first; sides are darker than tops."""
    faces = {
        1.0: [(0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)],
        0.82: [(1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 0, 1)],
        0.66: [(0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1)],
    }
    corners = np.concatenate([cells[:, None] + np.array(face) for face in faces.values()])
    colours = np.concatenate([colours * brightness for brightness in faces])
    page = on_page(corners * size)
    order = page[..., 2].mean(1).argsort()
    squares = page[order][..., :2]
    style = {"edgecolors": "white", "linewidths": 0.25}
    axes.add_collection(PolyCollection(squares, facecolors=colours[order], **style))
    axes.set_aspect("equal")
    axes.autoscale_view()


def show_box(axes: Axes, thing: Object) -> None:
    """The edges of an object's box, in a picture made by ``on_page``."""
    path = on_page(box_corners(thing).numpy())[BOX_PATH]
    axes.plot(path[:, 0], path[:, 1], linewidth=1.3, **LINE)


def shows(tokens: SceneTokens, scene_input: SceneInput, thing: Object) -> Bool[np.ndarray, "K"]:
    """Which tokens are mostly made of patches that show a thing and lie on it."""
    patches = scene_input.patches
    near = (patches.centers - torch.tensor(thing.center)).norm(dim=1) < 1
    hit = ((patches.segments == thing.id) & near).float()[:, None]
    return (group_mean(hit, tokens.source, len(tokens))[:, 0] > 0.3).numpy()


def frame_panels(figure: Figure, scene: Scene, scene_input: SceneInput, thing: Object) -> None:
    """The upper row: colour, depth, features, points."""
    views, height, width = scene.depth.shape
    _, h, w, channels = scene_input.features.shape
    view = int((scene.instances == thing.id).flatten(1).sum(1).argmax())
    mask = scene.instances[view] == thing.id

    caption = f"V = {views} views, H × W = {height} × {width},\neach with its camera pose"
    axes = panel(figure, 0, 0, "1  frames", caption)
    plots.show_image(axes, scene.rgb[view])
    outline(axes, mask)

    caption = "metres to each pixel; yellow is\nnear, white was not measured"
    axes = panel(figure, 0, 1, "    with depth", caption)
    plots.show_depth(axes, scene.depth[view])
    outline(axes, mask)
    arrow(figure, 0, 1)

    caption = f"h × w = {h} × {w} patches, from a\nfrozen network: C = {channels} numbers"
    axes = panel(figure, 0, 2, "2  features", caption)
    colours = plots.feature_colours(scene_input.features[view], scene_input.patches.features)
    plots.show_image(axes, colours, interpolation="nearest")
    outline(axes, F.interpolate(mask[None, None].float(), (h, w), mode="area")[0, 0] > 0.5)
    arrow(figure, 0, 2)

    points, rgb = (x.numpy() for x in scene_points(scene))
    count = f"{len(points):,} pixels get their place,\n"
    caption = f"{count}so do P = {len(scene_input.patches):,} patches"
    axes = panel(figure, 0, 3, "3  back-projected points", caption)
    kept = np.flatnonzero(doll_house(points, scene_input.patches.centers))[::3]
    page = on_page(points[kept])
    order = page[:, 2].argsort()
    dots = {"s": 1.1, "marker": "s", "linewidths": 0}
    axes.scatter(page[order, 0], page[order, 1], c=rgb[kept][order] / 255, **dots)
    axes.set_aspect("equal")
    show_box(axes, thing)


def token_panels(
    figure: Figure, scene_input: SceneInput, proxies: SceneTokens, thing: Object
) -> None:
    """The lower row up to the answer: voxels, grid tokens, proxies."""
    patches, grid, voxels = scene_input.patches, scene_input.tokens, plots.voxels_of(scene_input)
    caption = f"M = {len(voxels):,} cubes of {voxels.size} m,\nthe mean of their patches each"
    axes = panel(figure, 1, 0, "4  voxels", caption)
    kept = doll_house(voxels.centers.numpy(), patches.centers)
    colours = plots.feature_colours(voxels.features, patches.features).numpy()
    draw_cubes(axes, voxels.cells.numpy()[kept], voxels.size, colours[kept])
    show_box(axes, thing)
    arrow(figure, 1, 0)

    caption = f"a token for each pillar of voxels:\nK = {len(grid)}, seen from above"
    axes = panel(figure, 1, 1, "5  grid tokens (LEO-VL)", caption)
    corners = ((grid.centers[:, :2] / grid.cell).floor() * grid.cell).numpy()
    colours, marked = plots.token_colours(grid, patches).numpy(), shows(grid, scene_input, thing)
    for rows, edge, width in ((~marked, "white", 0.4), (marked, "black", 1.5)):
        squares = [Rectangle(tuple(corner), grid.cell, grid.cell) for corner in corners[rows]]
        style = {"edgecolors": edge, "linewidths": width}
        axes.add_collection(PatchCollection(squares, facecolors=colours[rows], **style))
    axes.set_aspect("equal")
    axes.autoscale_view()
    limits = {"xlim": axes.get_xlim(), "ylim": axes.get_ylim()}

    caption = f"a token for each cluster of\npatches inside an object: K = {len(proxies)}"
    axes = panel(figure, 1, 2, "    or proxies (Proxy3D)", caption)
    marked = shows(proxies, scene_input, thing)
    edges, widths = np.where(marked, "black", "0.7"), np.where(marked, 1.5, 0.3)
    style = {"c": plots.token_colours(proxies, patches), "s": 18, "edgecolors": edges}
    axes.scatter(*proxies.centers[:, :2].T, linewidths=widths, **style)
    axes.set(**limits, aspect="equal")
    arrow(figure, 1, 2)


def answer_panel(
    figure: Figure, scene_input: SceneInput, model: LeoVL, example: Example, answers: list[str]
) -> None:
    """Tokens, question and answer; below, what the model says without the scene."""
    caption = f"without the room, the same model\nsays: {answers[1]}"
    axes = panel(figure, 1, 3, "6  answer", caption)
    axes.set(xlim=(0, 10), ylim=(0, 10))
    width = model.language.config.hidden_size
    text = {"fontsize": 10, "va": "center", "linespacing": 1.3}
    axes.text(0, 8.6, f"K tokens, projected to D = {width}\nand given their position", **text)
    colours = plots.token_colours(scene_input.tokens, scene_input.patches)
    for i, colour in enumerate(colours[:: len(colours) // 17][:17].tolist()):
        axes.add_patch(Rectangle((0.58 * i, 6.4), 0.5, 0.9, facecolor=colour))
    axes.text(0, 4.4, "\n".join(textwrap.wrap(example.question, 30)), style="italic", **text)
    middle = {"ha": "center", "va": "center"}
    box = {"boxstyle": "round,pad=.45", "facecolor": "#dceaf7", "edgecolor": "#0072b2"}
    axes.text(5, 2.1, "language model", fontsize=10, bbox=box, **middle)
    axes.text(5, 0.1, answers[0], fontsize=12, fontweight="bold", color="#d55e00", **middle)
    for start, end in ((3.6, 2.9), (1.4, 0.7)):
        down = {"arrowstyle": "-|>", "color": "0.25"}
        axes.annotate("", (5, end), (5, start), arrowprops=down)


def pipeline_picture(room: Path) -> Figure:
    """A room with object masks and questions through every stage, up to the answer to its first
    question about a colour.
    """
    scene, model = load_scene(room), LeoVL.from_pretrained("nano")
    scene_input = perceive(scene, model.representation)
    proxies = representation("proxies", budget=len(scene_input))(scene_input.patches)
    example = next(e for e in load_examples(room / "examples.jsonl") if e.kind == "colour")
    answers = [model.generate(shown, [example])[0] for shown in (scene_input.tokens, None)]
    thing = next(o for o in scene.objects if o.id == example.derivation["objects"][0])

    figure = Figure(figsize=(10.24, 6.1), dpi=125)
    frame_panels(figure, scene, scene_input, thing)
    token_panels(figure, scene_input, proxies, thing)
    answer_panel(figure, scene_input, model, example, answers)
    note = "Colours in 2, 4, 5 and 6: the three main directions of the features (PCA)."
    note = f"{note} Black outline: the {thing.category} that is asked about."
    figure.text(0.012, 0.012, note, fontsize=10, color="0.3")
    return figure


def write_small(figure: Figure, path: Path) -> None:
    """A PNG with a palette of 256 colours, a third of the size."""
    png = BytesIO()
    figure.savefig(png, format="png")
    image = Image.open(png).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    image.save(path, optimize=True)


if __name__ == "__main__":
    write_small(pipeline_picture(sample_room()), Path(sys.argv[1]))
