"""Static pictures (Matplotlib) of objects: their places, their tokens and segments, floor plans and
scene graphs.

Explained in notebooks 01 (RGB-D and cameras) and 05 (proxies).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon, Rectangle
from torch import Tensor

from leovl_mini.rooms.furniture import COLOURS, SMALL
from leovl_mini.scans.scene import RELATIONS, Object
from leovl_mini.show.plots import CUT, label_plane, show_image
from leovl_mini.tokens.inspect import ObjectReport

# Okabe and Ito's colours, which colour-blind readers can tell apart
OKABE_ITO = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")

GREY = "#c4c4c4"

# corners of ``box_corners`` along which one line passes every edge of a box
BOX_PATH = [0, 1, 3, 2, 0, 4, 5, 7, 6, 4, 5, 1, 3, 7, 6, 2]


class Style(NamedTuple):
    """How an object is drawn: its category's name, colour and marker."""

    category: str
    colour: str
    marker: str


def object_styles(objects: list[Object]) -> dict[int, Style]:
    """The style of each object id, alike within a category; when the seven colours are used up, the
    marker changes.
    """
    styles = {}
    for i, category in enumerate(sorted({o.category for o in objects})):
        turn, colour = divmod(i, len(OKABE_ITO))
        styles[category] = Style(category, OKABE_ITO[colour], "osD^vP*"[turn % 7])
    return {o.id: styles[o.category] for o in objects}


def object_view(
    axes: Axes,
    centers: Float[Tensor, "K 3"],
    ids: Int64[Tensor, "K"],
    styles: dict[int, Style],
    title: str = "",
    size: float = 14,
    ringed: Sequence[Object] = (),
) -> Axes:
    """Places from above in the style of the object they belong to; ids without a style (0 =
    background) are small grey dots below. ``ringed`` objects get a ring and their name.
    """
    keep = (centers[:, 2] < CUT).cpu()
    x, y = centers.detach().cpu()[keep, :2].T
    found = [styles.get(i) for i in ids.cpu()[keep].tolist()]
    background = [n for n, style in enumerate(found) if style is None]
    axes.scatter(x[background], y[background], c=GREY, s=size / 3)
    edge = {"edgecolors": "black", "linewidths": 0.3}
    for marker in sorted({style.marker for style in styles.values()}):
        rows = [n for n, style in enumerate(found) if style and style.marker == marker]
        colours = [found[n].colour for n in rows]
        axes.scatter(x[rows], y[rows], c=colours, marker=marker, s=size, **edge)
    for item in ringed:
        place, name = item.center[:2], f"{item.category} {item.id}"
        axes.plot(*place, "o", color="black", fillstyle="none", markersize=16)
        axes.annotate(name, place, (9, 9), textcoords="offset points", fontsize=8)
    return label_plane(axes, title)


def object_legend(figure: Figure, styles: dict[int, Style]) -> None:
    """The categories' colours and markers, right of a figure with a constrained layout."""
    edge = {"markeredgecolor": "black", "markeredgewidth": 0.3}
    entries = [
        Line2D([], [], color=s.colour, marker=s.marker, label=s.category, markersize=5, **edge)
        for s in sorted(set(styles.values()))
    ]
    entries.append(Line2D([], [], color=GREY, marker="o", label="background", markersize=3))
    for entry in entries:
        entry.set_linestyle("none")
    figure.legend(handles=entries, loc="outside right center", fontsize=8)


def object_image(ids: Int[Tensor, "*n"], styles: dict[int, Style]) -> Float[Tensor, "*n 3"]:
    """Object ids as colours in 0..1; ids without a style (0 = background) are grey."""
    colours = [to_rgb(styles[i].colour if i in styles else GREY) for i in range(int(ids.max()) + 1)]
    return torch.tensor(colours)[ids.cpu().long()]


def show_segments(
    axes: Axes,
    segments: Int[Tensor, "H W"],
    objects: Int[Tensor, "H W"],
    styles: dict[int, Style],
    title: str = "",
):
    """Segments of one frame, each in the colour of the object that it shows most; black lines
    between segments.
    """
    from skimage.segmentation import find_boundaries

    segments, objects = segments.cpu().long(), objects.cpu().long()
    shape = int(segments.max()) + 1, int(objects.max()) + 1
    count = torch.bincount((segments * shape[1] + objects).flatten(), minlength=shape[0] * shape[1])
    image = object_image(count.view(shape).argmax(1)[segments], styles)
    image[torch.from_numpy(find_boundaries(segments.numpy(), mode="inner"))] = 0
    return show_image(axes, image, title)


def report_bars(
    tokens: Axes, purity: Axes, reports: dict[str, ObjectReport], labels: list[str]
) -> None:
    """Tokens and purity of every object, one bar for each of at most four reports; a cross marks
    objects that are lost.
    """
    rows, height = np.arange(len(labels)), 0.8 / len(reports)
    for n, (name, report) in enumerate(reports.items()):
        colour = OKABE_ITO[(4, 0, 2, 6)[n]]
        y, lost = rows + height * (n - (len(reports) - 1) / 2), report.lost.cpu().numpy()
        tokens.barh(y, report.tokens.cpu(), height, color=colour, label=name)
        purity.barh(y, 100 * report.purity.cpu(), height, color=colour)
        tokens.plot(np.full(lost.sum(), 0.6), y[lost], "x", color=colour, markersize=4)
    tokens.set(xlabel="tokens (log scale; cross: lost)", xscale="log", xlim=(0.5, None))
    tokens.set_ylabel("object")
    tokens.set_yticks(rows, labels, fontsize=8)
    tokens.invert_yaxis()
    tokens.legend(loc="lower right", fontsize=8)
    purity.set(xlabel="mean purity of the object's tokens (%)", xlim=(0, 102))


def box_corners(item: Object) -> Float[Tensor, "8 3"]:
    """The corners of an object's box in the world, in the order (-,-,-), (-,-,+), (-,+,-) ... of
    its own axes.
    """
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    cos, sin = float(np.cos(item.yaw)), float(np.sin(item.yaw))
    turn = torch.tensor([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    return signs * torch.tensor(item.size) / 2 @ turn + torch.tensor(item.center)


def holders(objects: list[Object]) -> dict[int, tuple[str, int]]:
    """For each object that is on, under or inside another one: the relation, the other one's id."""
    return {
        item.id: (relation, int(item.attributes[relation]))
        for item in objects
        for relation in RELATIONS
        if relation in item.attributes
    }


def floor_plan(
    axes: Axes, objects: list[Object], areas=(), title: str = "", names: bool = True
) -> Axes:
    """Footprints from above in the objects' colours, lower ones first. Large ones carry their name,
    small ones their id.
    """
    holder = holders(objects)
    holding = {host for _, host in holder.values()}
    for area in areas:
        low = np.array(area.center) - np.array(area.size) / 2
        style = {"facecolor": "0.97", "edgecolor": "0.4", "linewidth": 2}
        axes.add_patch(Rectangle(tuple(low), *area.size, **style))
    for item in sorted(objects, key=lambda o: o.center[2] + o.size[2] / 2):
        colour = COLOURS.get(item.attributes.get("colour", ""), (0.75, 0.75, 0.75))
        outline = box_corners(item)[[0, 2, 6, 4], :2].numpy()
        style = {"facecolor": (*colour, 0.55), "edgecolor": "black", "linewidth": 0.8}
        axes.add_patch(Polygon(outline, **style))
        if not names:
            continue
        label = str(item.id) if item.category in SMALL else f"{item.id} {item.category}"
        x, y = item.center[:2]
        if item.id in holding:  # leave the middle to what it holds
            above = outline[:, 1].max() + 0.1
            y = above if item.id in holder else outline[:, 1].min() - 0.12
        box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.8}
        axes.text(x, y, label, fontsize=8, ha="center", va="center", bbox=box)
    axes.autoscale_view()
    return label_plane(axes, title)


def scene_graph(axes: Axes, objects: list[Object], title: str = "") -> Axes:
    """What lies on, under or inside what: every object points at the one that holds it."""
    holder = holders(objects)
    holding = {host for _, host in holder.values()}
    row, deepest = 0.0, 0
    centred = {"fontsize": 8, "ha": "center", "va": "center"}

    def draw(item: Object, column: int) -> float:
        """Draw an object and, right of it, everything that it holds; return its row."""
        nonlocal row, deepest
        deepest = max(deepest, column)
        held = [o for o in objects if holder.get(o.id, ("", None))[1] == item.id]
        rows = [draw(other, column + 1) for other in held]
        y = sum(rows) / len(rows) if rows else row
        if not rows:
            row -= 1
        for other, other_row in zip(held, rows, strict=True):
            arrow = {"arrowstyle": "-|>", "color": "#0072b2", "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", (column + 0.62, y), (column + 1, other_row), arrowprops=arrow)
            relation, box = holder[other.id][0], {"color": "white", "pad": 0.5}
            place = column + 0.81, (y + other_row) / 2
            axes.text(*place, relation, color="#0072b2", bbox=box, **centred)
        name = f"{item.id} {item.attributes.get('colour', '')}\n{item.category}"
        box = {"boxstyle": "round", "facecolor": "0.95", "edgecolor": "0.4"}
        axes.text(column + 0.31, y, name, bbox=box, **centred)
        return y

    for item in objects:
        if item.id in holding and item.id not in holder:
            draw(item, 0)
    axes.set(xlim=(0, deepest + 0.65), ylim=(row + 0.4, 0.6))
    axes.set_axis_off()
    axes.set_title(title, fontsize=9)
    return axes
