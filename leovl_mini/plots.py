"""Static pictures (Matplotlib): what a scene, its features and its tokens look like. Every function returns its figure or axes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from leovl_mini.geometry import Patches, scene_points
from leovl_mini.pipeline import Stages
from leovl_mini.scene import Object, Scene
from leovl_mini.tokens import SceneTokens, group_mean
from leovl_mini.tokens.inspect import ObjectReport

DEPTH = LinearSegmentedColormap.from_list("depth", ["#fde725", "#35b779", "#31688e", "#440154"]).with_extremes(bad="white")
CUT = 2.1  # metres: what hangs higher (ceilings) is left out of views from above
RELATIONS = ("on", "under", "inside")
OKABE_ITO = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")  # safe for colour-blind readers
GREY = "#c4c4c4"


def feature_colours(features: Float[Tensor, "*n C"]) -> Float[Tensor, "*n 3"]:
    """The first three principal components as red, green, blue in 0..1: similar features get similar colours."""
    flat = features.detach().flatten(0, -2).cpu().double()
    if len(flat) < 4:
        return torch.full((*features.shape[:-1], 3), 0.5)
    centred = flat - flat.mean(0)
    directions = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -3:].flip(1)
    directions = directions * directions.gather(0, directions.abs().argmax(0)[None]).sign()  # eigenvectors have no sign
    colours = centred @ directions
    low, high = np.quantile(colours.numpy(), [0.02, 0.98], axis=0)
    return (
        torch.from_numpy(((colours.numpy() - low) / np.maximum(high - low, 1e-9)).clip(0, 1)).float().view(*features.shape[:-1], 3)
    )


def token_colours(tokens: SceneTokens, patches: Patches) -> Float[Tensor, "K 3"]:
    """Each token by the mean feature of the patches it was made from: its content, without its position embedding."""
    kept = tokens.source >= 0
    return feature_colours(group_mean(patches.features[kept], tokens.source[kept], len(tokens)))


def show_image(axes: Axes, image, title: str = "", **keywords):
    """An image without ticks: its pixels are its coordinates."""
    artist = axes.imshow(np.asarray(torch.as_tensor(image).cpu()), **keywords)
    axes.set_title(title, fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
    return artist


def show_depth(axes: Axes, depth: Tensor, title: str = "", longest: float | None = None):
    """A depth map in metres; white where nothing was measured."""
    image = torch.where(depth > 0, depth, torch.nan)  # "bad" values take the colour set above
    return show_image(axes, image, title, cmap=DEPTH, vmin=0, vmax=longest or float(depth.max()))


def top_view(
    axes: Axes, points: Float[Tensor, "N 3"], colours: Tensor, title: str = "", cell: float = 0.03, cut: float = CUT
) -> Axes:
    """Points seen from above: the highest point below ``cut`` metres colours each cell. ``colours`` (N,3) uint8 or 0..1."""
    points, colours = points.detach().cpu().numpy(), colours.cpu().numpy()
    colours = colours / 255 if colours.dtype == np.uint8 else colours
    keep = points[:, 2] < cut
    points, colours = points[keep], colours[keep]
    if not len(points):
        return label_plane(axes, title)
    order = points[:, 2].argsort(kind="stable")  # low points first: of repeated indices NumPy keeps the last
    low = points[:, :2].min(0) - cell
    column, row = ((points[order, :2] - low) / cell).astype(int).T
    image = np.ones((row.max() + 2, column.max() + 2, 3))
    image[row, column] = colours[order]
    extent = (low[0], low[0] + image.shape[1] * cell, low[1], low[1] + image.shape[0] * cell)
    axes.imshow(image, origin="lower", extent=extent, interpolation="nearest")
    return label_plane(axes, title)


def cells_view(axes: Axes, centers: Float[Tensor, "K 3"], colours: Tensor, size: float, title: str = "", cut: float = CUT) -> Axes:
    """Voxels or pillars seen from above, each as a square of ``size`` metres; higher ones lie on top."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    centers, colours = centers.detach().cpu(), colours.cpu()
    order = [i for i in centers[:, 2].argsort().tolist() if centers[i, 2] < cut]
    corner = (centers[:, :2] / size).floor() * size
    squares = [Rectangle(corner[i].tolist(), size, size) for i in order]
    axes.add_collection(PatchCollection(squares, facecolors=colours[order].numpy(), edgecolors="white", linewidths=0.3))
    axes.autoscale_view()
    return label_plane(axes, title)


class Style(NamedTuple):
    """How an object is drawn: its category's name, colour and marker."""

    category: str
    colour: str
    marker: str


def object_styles(objects: list[Object]) -> dict[int, Style]:
    """The style of each object id, alike within a category; when the seven colours are used up, the marker changes."""
    order = {name: divmod(i, len(OKABE_ITO)) for i, name in enumerate(sorted({o.category for o in objects}))}
    styles = {name: Style(name, OKABE_ITO[colour], "osD^vP*"[turn % 7]) for name, (turn, colour) in order.items()}
    return {o.id: styles[o.category] for o in objects}


def object_view(
    axes: Axes,
    centers: Float[Tensor, "K 3"],
    ids: Int64[Tensor, "K"],
    styles: dict[int, Style],
    title: str = "",
    size: float = 14,
    ringed: Sequence[Object] = (),
    cut: float = CUT,
) -> Axes:
    """Places from above in the style of the object they belong to; ids without a style (0 = room) are small grey dots below.

    ``ringed`` objects get a ring and their name.
    """
    keep = (centers[:, 2] < cut).cpu()
    x, y = centers.detach().cpu()[keep, :2].T
    found = [styles.get(i) for i in ids.cpu()[keep].tolist()]
    room = [n for n, style in enumerate(found) if style is None]
    axes.scatter(x[room], y[room], c=GREY, s=size / 3)
    for marker in sorted({style.marker for style in styles.values()}):
        some = [n for n, style in enumerate(found) if style and style.marker == marker]
        colours = [found[n].colour for n in some]
        axes.scatter(x[some], y[some], c=colours, marker=marker, s=size, edgecolors="black", linewidths=0.3)
    for item in ringed:
        axes.plot(*item.center[:2], "o", color="black", fillstyle="none", markersize=16)
        axes.annotate(f"{item.category} {item.id}", item.center[:2], (9, 9), textcoords="offset points", fontsize=8)
    return label_plane(axes, title)


def path_view(axes: Axes, centers: Float[Tensor, "K 3"], title: str = ""):
    """Places from above, joined in the order in which they are read, from dark to light; a triangle marks the first."""
    x, y = centers.detach().cpu()[:, :2].T
    axes.plot(x, y, color="0.7", linewidth=0.7)
    dots = axes.scatter(x, y, c=range(len(x)), cmap="cividis", s=10, zorder=2)
    axes.plot(x[0], y[0], "^", color=OKABE_ITO[5], markersize=9)
    label_plane(axes, title)
    return dots


def object_legend(figure: Figure, styles: dict[int, Style]) -> None:
    """The categories' colours and markers, right of a figure with a constrained layout."""
    look = {"linestyle": "none", "markersize": 5, "markeredgecolor": "black", "markeredgewidth": 0.3}
    entries = [Line2D([], [], color=s.colour, marker=s.marker, label=s.category, **look) for s in sorted(set(styles.values()))]
    room = Line2D([], [], color=GREY, marker="o", linestyle="none", markersize=3, label="room")
    figure.legend(handles=[*entries, room], loc="outside right center", fontsize=8)


def object_image(ids: Int[Tensor, "*n"], styles: dict[int, Style]) -> Float[Tensor, "*n 3"]:
    """Object ids as colours in 0..1; ids without a style (0 = room) are grey."""
    colours = [to_rgb(styles[i].colour if i in styles else GREY) for i in range(int(ids.max()) + 1)]
    return torch.tensor(colours)[ids.cpu().long()]


def show_segments(axes: Axes, segments: Int[Tensor, "H W"], objects: Int[Tensor, "H W"], styles: dict[int, Style], title: str = ""):
    """Segments of one frame, each in the colour of the object that it shows most; black lines between segments."""
    from skimage.segmentation import find_boundaries

    segments, objects = segments.cpu().long(), objects.cpu().long()
    shape = int(segments.max()) + 1, int(objects.max()) + 1
    count = torch.bincount((segments * shape[1] + objects).flatten(), minlength=shape[0] * shape[1])
    image = object_image(count.view(shape).argmax(1)[segments], styles)
    image[torch.from_numpy(find_boundaries(segments.numpy(), mode="inner"))] = 0
    return show_image(axes, image, title)


def spokes(axes: Axes, points: Float[Tensor, "P 3"], cluster: Int64[Tensor, "P"], title: str = "") -> Axes:
    """Clusters from above: each point joined to the mean of its cluster."""
    centers = group_mean(points, cluster, int(cluster.max()) + 1).cpu()
    ends = torch.stack([points.cpu(), centers[cluster.cpu()]], dim=1)[..., :2]
    axes.add_collection(LineCollection(ends.numpy(), colors=OKABE_ITO[1], linewidths=0.6))
    axes.plot(*centers[:, :2].T, "o", color=OKABE_ITO[5], markersize=4)
    return label_plane(axes, title)


def report_bars(tokens: Axes, purity: Axes, reports: dict[str, ObjectReport], labels: list[str]) -> None:
    """Tokens and purity of every object, one bar for each report; a cross marks objects that are lost."""
    rows, height = np.arange(len(labels)), 0.8 / len(reports)
    for n, ((name, report), colour) in enumerate(zip(reports.items(), (OKABE_ITO[i] for i in (4, 0, 2, 6)), strict=False)):
        y, lost = rows + height * (n - (len(reports) - 1) / 2), report.lost.cpu().numpy()
        tokens.barh(y, report.tokens.cpu(), height, color=colour, label=name)
        purity.barh(y, 100 * report.purity.cpu(), height, color=colour)
        tokens.plot(np.full(lost.sum(), 0.6), y[lost], "x", color=colour, markersize=4)
    tokens.set(xlabel="tokens (log scale; cross: lost)", xscale="log", xlim=(0.5, None), ylabel="object")
    tokens.set_yticks(rows, labels, fontsize=8)
    tokens.invert_yaxis()
    tokens.legend(loc="lower right", fontsize=8)
    purity.set(xlabel="mean purity of the object's tokens (%)", xlim=(0, 102))


def label_plane(axes: Axes, title: str) -> Axes:
    axes.set_aspect("equal")
    axes.set_xlabel("x (m)")
    axes.set_ylabel("y (m)")
    axes.set_title(title, fontsize=9)
    return axes


def box_corners(item: Object) -> Float[Tensor, "8 3"]:
    """The corners of an object's box in the world, in the order (-,-,-), (-,-,+), (-,+,-) ... of its own axes."""
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    cos, sin = float(np.cos(item.yaw)), float(np.sin(item.yaw))
    turn = torch.tensor([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    return signs * torch.tensor(item.size) / 2 @ turn + torch.tensor(item.center)


def floor_plan(axes: Axes, objects: list[Object], areas=(), title: str = "", names: bool = True) -> Axes:
    """Footprints from above in the objects' colours, lower ones first. Large ones carry their name, small ones their id."""
    from matplotlib.patches import Polygon, Rectangle

    from leovl_mini.rooms.furniture import COLOURS, SMALL

    box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.8}
    holders = {int(o.attributes[r]) for o in objects for r in RELATIONS if r in o.attributes}
    for area in areas:
        low = np.array(area.center) - np.array(area.size) / 2
        axes.add_patch(Rectangle(tuple(low), *area.size, facecolor="0.97", edgecolor="0.4", linewidth=2))
    for item in sorted(objects, key=lambda o: o.center[2] + o.size[2] / 2):
        colour = COLOURS.get(item.attributes.get("colour", ""), (0.75, 0.75, 0.75))
        outline = box_corners(item)[[0, 2, 6, 4], :2].numpy()
        axes.add_patch(Polygon(outline, facecolor=(*colour, 0.55), edgecolor="black", linewidth=0.8))
        if names:
            label = str(item.id) if item.category in SMALL else f"{item.id} {item.category}"
            (x, y), low, high = item.center[:2], outline[:, 1].min() - 0.12, outline[:, 1].max() + 0.1
            if item.id in holders:  # leave the middle to what it holds
                y = high if holders & {int(item.attributes.get(r, 0)) for r in RELATIONS} else low
            axes.text(x, y, label, fontsize=8, ha="center", va="center", bbox=box)
    axes.autoscale_view()
    return label_plane(axes, title)


def scene_graph(axes: Axes, objects: list[Object], title: str = "") -> Axes:
    """What lies on, under or inside what: every object points at the one that holds it."""
    holder = {o.id: (r, int(o.attributes[r])) for o in objects for r in RELATIONS if r in o.attributes}
    kept = [o for o in objects if o.id in holder or any(o.id == host for _, host in holder.values())]
    row, deepest = 0.0, 0

    def draw(item: Object, column: int) -> float:
        """Draw an object right of its holder and everything it holds right of it; return its row."""
        nonlocal row, deepest
        deepest = max(deepest, column)
        rows = [(draw(o, column + 1), holder[o.id][0]) for o in kept if holder.get(o.id, (0, 0))[1] == item.id]
        y = sum(r for r, _ in rows) / len(rows) if rows else row
        row -= 0 if rows else 1
        for other, relation in rows:
            arrow = {"arrowstyle": "-|>", "color": "#0072b2", "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", (column + 0.62, y), (column + 1, other), arrowprops=arrow)
            text = {"fontsize": 8, "color": "#0072b2", "ha": "center", "va": "center"}
            axes.text(column + 0.81, (y + other) / 2, relation, bbox={"color": "white", "pad": 0.5}, **text)
        name = f"{item.id} {item.attributes.get('colour', '')}\n{item.category}"
        box = {"boxstyle": "round", "facecolor": "0.95", "edgecolor": "0.4"}
        axes.text(column + 0.31, y, name, fontsize=8, ha="center", va="center", bbox=box)
        return y

    for item in kept:
        if item.id not in holder:
            draw(item, 0)
    axes.set(xlim=(0, deepest + 0.65), ylim=(row + 0.4, 0.6))
    axes.set_axis_off()
    axes.set_title(title, fontsize=9)
    return axes


def overview(scene: Scene, stages: Stages, columns: int = 6) -> Figure:
    """One page: frames, depth, features, and from above the points, the voxels and the grid tokens."""
    shown = np.linspace(0, len(scene) - 1, min(columns, len(scene))).round().astype(int)
    features = feature_colours(stages.features[shown])
    rows = 3 * 12 / len(shown) * scene.depth.shape[1] / scene.depth.shape[2] + 0.6  # inches that the images take
    figure = Figure(figsize=(14, rows + 5), dpi=70, layout="constrained")
    images, views = figure.subfigures(2, 1, height_ratios=[rows, 5])
    longest = float(scene.depth.max())
    axes = images.subplots(3, len(shown), squeeze=False)
    for column, i in enumerate(shown):
        show_image(axes[0, column], scene.rgb[i], f"frame {scene.frame_names[i]}")
        artist = show_depth(axes[1, column], scene.depth[i], longest=longest)
        show_image(axes[2, column], features[column], interpolation="nearest")
    for row, label in enumerate(("colour", "depth", "features (3 PCA)")):
        axes[row, 0].set_ylabel(label)
    images.colorbar(artist, ax=axes[1], label="depth (m), white = none", shrink=0.9)

    points, colours = scene_points(scene)
    voxels, tokens = stages.voxels, stages.tokens
    axes = views.subplots(1, 3, sharex=True, sharey=True)
    top_view(axes[0], points, colours, f"{len(points):,} points, below {CUT} m")
    path = scene.camera_to_world[:, :2, 3].cpu()
    axes[0].plot(path[:, 0], path[:, 1], "o-", color="#d55e00", markersize=3, linewidth=0.8, label="cameras")
    axes[0].legend(fontsize=8, loc="upper right")
    title = f"{len(voxels):,} voxels of {voxels.size:.2f} m, below {CUT} m"
    cells_view(axes[1], voxels.centers, feature_colours(voxels.features), voxels.size, title)
    if stages.kind == "grid":
        title = f"{len(tokens):,} grid tokens of {tokens.cell:.2f} m"
        cells_view(axes[2], tokens.centers, token_colours(tokens, stages.patches), tokens.cell, title, cut=float("inf"))
    else:
        axes[2].scatter(*tokens.centers[:, :2].cpu().T, c=token_colours(tokens, stages.patches), s=9)
        label_plane(axes[2], f"{len(tokens):,} {stages.kind} tokens")
    sample = points[:: max(1, len(points) // 100_000), :2].cpu().numpy()
    low, high = np.quantile(sample, [0.002, 0.998], axis=0)  # a few stray points must not shrink the room
    axes[0].set(xlim=(low[0] - 0.5, high[0] + 0.5), ylim=(low[1] - 0.5, high[1] + 0.5))
    return figure
