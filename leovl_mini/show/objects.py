"""Static pictures (Matplotlib) of objects: their places, their tokens and segments, floor plans and
scene graphs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from leovl_mini.scans.scene import RELATIONS, Object
from leovl_mini.show.plots import CUT, label_plane, show_image
from leovl_mini.tokens.base import group_mean
from leovl_mini.tokens.inspect import ObjectReport

OKABE_ITO = (
    "#e69f00",
    "#56b4e9",
    "#009e73",
    "#f0e442",
    "#0072b2",
    "#d55e00",
    "#cc79a7",
)  # safe for colour-blind readers


GREY = "#c4c4c4"


class Style(NamedTuple):
    """How an object is drawn: its category's name, colour and marker."""

    category: str
    colour: str
    marker: str


def object_styles(objects: list[Object]) -> dict[int, Style]:
    """The style of each object id, alike within a category; when the seven colours are used up, the
    marker changes.
    """
    order = {
        name: divmod(i, len(OKABE_ITO))
        for i, name in enumerate(sorted({o.category for o in objects}))
    }
    styles = {
        name: Style(name, OKABE_ITO[colour], "osD^vP*"[turn % 7])
        for name, (turn, colour) in order.items()
    }
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
    """Places from above in the style of the object they belong to; ids without a style (0 = room)
    are small grey dots below.

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
        axes.scatter(
            x[some], y[some], c=colours, marker=marker, s=size, edgecolors="black", linewidths=0.3
        )
    for item in ringed:
        axes.plot(*item.center[:2], "o", color="black", fillstyle="none", markersize=16)
        axes.annotate(
            f"{item.category} {item.id}",
            item.center[:2],
            (9, 9),
            textcoords="offset points",
            fontsize=8,
        )
    return label_plane(axes, title)


def path_view(axes: Axes, centers: Float[Tensor, "K 3"], title: str = ""):
    """Places from above, joined in the order in which they are read, from dark to light; a triangle
    marks the first.
    """
    x, y = centers.detach().cpu()[:, :2].T
    axes.plot(x, y, color="0.7", linewidth=0.7)
    dots = axes.scatter(x, y, c=range(len(x)), cmap="cividis", s=10, zorder=2)
    axes.plot(x[0], y[0], "^", color=OKABE_ITO[5], markersize=9)
    label_plane(axes, title)
    return dots


def object_legend(figure: Figure, styles: dict[int, Style]) -> None:
    """The categories' colours and markers, right of a figure with a constrained layout."""
    look = {
        "linestyle": "none",
        "markersize": 5,
        "markeredgecolor": "black",
        "markeredgewidth": 0.3,
    }
    entries = [
        Line2D([], [], color=s.colour, marker=s.marker, label=s.category, **look)
        for s in sorted(set(styles.values()))
    ]
    room = Line2D([], [], color=GREY, marker="o", linestyle="none", markersize=3, label="room")
    figure.legend(handles=[*entries, room], loc="outside right center", fontsize=8)


def object_image(ids: Int[Tensor, "*n"], styles: dict[int, Style]) -> Float[Tensor, "*n 3"]:
    """Object ids as colours in 0..1; ids without a style (0 = room) are grey."""
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


def spokes(
    axes: Axes, points: Float[Tensor, "P 3"], cluster: Int64[Tensor, "P"], title: str = ""
) -> Axes:
    """Clusters from above: each point joined to the mean of its cluster."""
    centers = group_mean(points, cluster, int(cluster.max()) + 1).cpu()
    ends = torch.stack([points.cpu(), centers[cluster.cpu()]], dim=1)[..., :2]
    axes.add_collection(LineCollection(ends.numpy(), colors=OKABE_ITO[1], linewidths=0.6))
    axes.plot(*centers[:, :2].T, "o", color=OKABE_ITO[5], markersize=4)
    return label_plane(axes, title)


def report_bars(
    tokens: Axes, purity: Axes, reports: dict[str, ObjectReport], labels: list[str]
) -> None:
    """Tokens and purity of every object, one bar for each report; a cross marks objects that are
    lost.
    """
    rows, height = np.arange(len(labels)), 0.8 / len(reports)
    for n, ((name, report), colour) in enumerate(
        zip(reports.items(), (OKABE_ITO[i] for i in (4, 0, 2, 6)), strict=False)
    ):
        y, lost = rows + height * (n - (len(reports) - 1) / 2), report.lost.cpu().numpy()
        tokens.barh(y, report.tokens.cpu(), height, color=colour, label=name)
        purity.barh(y, 100 * report.purity.cpu(), height, color=colour)
        tokens.plot(np.full(lost.sum(), 0.6), y[lost], "x", color=colour, markersize=4)
    tokens.set(
        xlabel="tokens (log scale; cross: lost)", xscale="log", xlim=(0.5, None), ylabel="object"
    )
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


def floor_plan(
    axes: Axes, objects: list[Object], areas=(), title: str = "", names: bool = True
) -> Axes:
    """Footprints from above in the objects' colours, lower ones first. Large ones carry their name,
    small ones their id.
    """
    from matplotlib.patches import Polygon, Rectangle

    from leovl_mini.rooms.furniture import COLOURS, SMALL

    box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.8}
    holders = {int(o.attributes[r]) for o in objects for r in RELATIONS if r in o.attributes}
    for area in areas:
        low = np.array(area.center) - np.array(area.size) / 2
        axes.add_patch(
            Rectangle(tuple(low), *area.size, facecolor="0.97", edgecolor="0.4", linewidth=2)
        )
    for item in sorted(objects, key=lambda o: o.center[2] + o.size[2] / 2):
        colour = COLOURS.get(item.attributes.get("colour", ""), (0.75, 0.75, 0.75))
        outline = box_corners(item)[[0, 2, 6, 4], :2].numpy()
        axes.add_patch(
            Polygon(outline, facecolor=(*colour, 0.55), edgecolor="black", linewidth=0.8)
        )
        if names:
            label = str(item.id) if item.category in SMALL else f"{item.id} {item.category}"
            (x, y), low, high = (
                item.center[:2],
                outline[:, 1].min() - 0.12,
                outline[:, 1].max() + 0.1,
            )
            if item.id in holders:  # leave the middle to what it holds
                y = high if holders & {int(item.attributes.get(r, 0)) for r in RELATIONS} else low
            axes.text(x, y, label, fontsize=8, ha="center", va="center", bbox=box)
    axes.autoscale_view()
    return label_plane(axes, title)


def scene_graph(axes: Axes, objects: list[Object], title: str = "") -> Axes:
    """What lies on, under or inside what: every object points at the one that holds it."""
    holder = {
        o.id: (r, int(o.attributes[r])) for o in objects for r in RELATIONS if r in o.attributes
    }
    kept = [
        o for o in objects if o.id in holder or any(o.id == host for _, host in holder.values())
    ]
    row, deepest = 0.0, 0

    def draw(item: Object, column: int) -> float:
        """Draw an object right of its holder and everything it holds right of it; return its row."""
        nonlocal row, deepest
        deepest = max(deepest, column)
        rows = [
            (draw(o, column + 1), holder[o.id][0])
            for o in kept
            if holder.get(o.id, (0, 0))[1] == item.id
        ]
        y = sum(r for r, _ in rows) / len(rows) if rows else row
        row -= 0 if rows else 1
        for other, relation in rows:
            arrow = {"arrowstyle": "-|>", "color": "#0072b2", "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", (column + 0.62, y), (column + 1, other), arrowprops=arrow)
            text = {"fontsize": 8, "color": "#0072b2", "ha": "center", "va": "center"}
            axes.text(
                column + 0.81,
                (y + other) / 2,
                relation,
                bbox={"color": "white", "pad": 0.5},
                **text,
            )
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
