"""The interactive scene (Plotly): turn it, toggle its layers in the legend, hover over a token to
see what it is made of.
"""

import numpy as np
import plotly.graph_objects as go
import torch
from PIL import Image
from torch import Tensor

from leovl_mini.perception.lift import Patches
from leovl_mini.scans.geometry import scene_points
from leovl_mini.scans.scene import Object, Scene
from leovl_mini.show.objects import box_corners
from leovl_mini.show.plots import feature_colours, token_colours, voxels_of
from leovl_mini.tokens.base import SceneInput, SceneTokens


def figure(
    scene: Scene,
    stages: SceneInput | None = None,
    max_points: int = 15_000,
    ceiling: float = 2.3,
    boxes: bool = False,
    more: dict[str, SceneTokens] | None = None,
) -> go.Figure:
    """Points and cameras of a scene and, with ``stages``, its voxels and tokens; with ``boxes``,
    its objects' labelled boxes.

    ``more`` holds further tokens of the same patches, by the name of their layer. Points above
    ``ceiling`` metres are hidden. ``max_points`` bounds the size: 15,000 points make about 0.3 MB.
    """
    points, colours = scene_points(scene)
    keep = points[:, 2] < ceiling
    points, colours = points[keep], colours[keep]
    pick = torch.linspace(
        0, len(points) - 1, min(max_points, len(points)), device=points.device
    ).long()
    traces = [point_layer(points[pick], colours[pick], "points", 2.0), camera_layer(scene)]
    if stages is not None:
        voxels = voxels_of(stages)
        low = voxels.centers[:, 2] < ceiling
        voxel_colours = (feature_colours(voxels.features)[low.cpu()] * 255).byte()
        traces.append(
            point_layer(
                voxels.centers[low], voxel_colours, "voxels", 5.0, hide=True, symbol="square"
            )
        )
        layers = {f"{stages.kind} tokens": stages.tokens, **(more or {})}
        traces += [
            token_layer(name, tokens, stages.patches, scene) for name, tokens in layers.items()
        ]
    if boxes:
        traces.append(box_layer(scene.objects))
    axis = {"backgroundcolor": "white", "gridcolor": "#dddddd"}
    scene_axes = {f"{name}axis": {"title": {"text": f"{name} (m)"}, **axis} for name in "xyz"}
    return go.Figure(traces).update_layout(
        scene={
            **scene_axes,
            "aspectmode": "data",
            "camera": {"eye": {"x": 1.1, "y": -1.1, "z": 1.2}},
        },
        margin={"l": 0, "r": 0, "t": 30, "b": 0},
        title={
            "text": f"{scene.name}: click a legend entry to show or hide its layer",
            "font": {"size": 13},
        },
        legend={"itemsizing": "constant"},
        height=560,
    )


def token_layer(name: str, tokens: SceneTokens, patches: Patches, scene: Scene) -> go.Scatter3d:
    """Tokens in the colours of their content; hovering tells where one is and which patches of
    which frames it is made of.
    """
    layer = point_layer(
        tokens.centers, (token_colours(tokens, patches) * 255).byte(), name, 7.0, hide=True
    )
    layer.text, layer.hoverinfo = made_of(tokens, patches, scene.frame_names), None
    where = "x %{x:.2f} m, y %{y:.2f} m<br>mean height %{z:.2f} m"
    layer.hovertemplate = (
        f"token %{{pointNumber}}<br>{where}<br>%{{text}} (frame:row,column)<extra></extra>"
    )
    return layer


def made_of(tokens: SceneTokens, patches: Patches, names: list[str], listed: int = 4) -> list[str]:
    """For each token how many patches it is made of, the frames that show most of them, and the
    first few patches.
    """
    kept = (tokens.source >= 0).cpu()
    token, place = tokens.source.cpu()[kept], patches.source.cpu()[kept]
    seen = torch.bincount(
        token * len(names) + place[:, 0], minlength=len(tokens) * len(names)
    ).view(len(tokens), len(names))
    places = place[token.argsort(stable=True)].tolist()  # token after token
    words, start = [], 0
    for counts in seen.tolist():
        total = sum(counts)
        frames = [
            f"{names[v]} ({-n})" for n, v in sorted((-n, v) for v, n in enumerate(counts) if n)
        ]
        first = [
            f"{names[v]}:{row},{column}"
            for v, row, column in places[start : start + min(listed, total)]
        ]
        seen_in = ", ".join(frames[:listed] + ["..."] * (len(frames) > listed))
        words.append(
            f"{total} patches: frame {seen_in}<br>{' '.join(first + ['...'] * (total > listed))}"
        )
        start += total
    return words


def point_layer(
    points: Tensor,
    colours: Tensor,
    name: str,
    size: float,
    hide: bool = False,
    symbol: str = "circle",
):
    """Coloured points. Colours are reduced to a palette of 256, which takes one byte a point
    instead of a text each.
    """
    image = Image.fromarray(colours.cpu().numpy().reshape(1, -1, 3)).quantize(256)
    palette = np.array(image.getpalette()).reshape(-1, 3)
    last = max(len(palette) - 1, 1)
    scale = [[i / last, f"rgb({r},{g},{b})"] for i, (r, g, b) in enumerate(palette)]
    scale = scale if len(scale) > 1 else [[0, scale[0][1]], [1, scale[0][1]]]
    marker = {
        "size": size,
        "symbol": symbol,
        "color": np.asarray(image)[0],
        "colorscale": scale,
        "cmin": 0,
        "cmax": last,
    }
    x, y, z = np.ascontiguousarray(points.detach().cpu().numpy().T, dtype=np.float32)
    visible = "legendonly" if hide else True
    return go.Scatter3d(
        x=x, y=y, z=z, mode="markers", marker=marker, name=name, visible=visible, hoverinfo="skip"
    )


def camera_layer(scene: Scene, length: float = 0.3) -> go.Scatter3d:
    """The cameras' path, and from each camera a short stroke in the direction it looks."""
    position, forward = scene.camera_to_world[:, :3, 3].cpu(), scene.camera_to_world[:, :3, 2].cpu()
    gap = torch.full_like(position, torch.nan)
    x, y, z = (
        torch.stack([position, position + length * forward, gap], dim=1).flatten(0, 1).T.numpy()
    )
    return go.Scatter3d(
        x=x,
        y=y,
        z=z,
        mode="lines",
        line={"color": "#d55e00", "width": 5},
        name="cameras",
        hoverinfo="skip",
    )


def box_layer(objects: list[Object]) -> go.Scatter3d:
    """The boxes' edges, and above each box its category and id."""
    path = [
        0,
        1,
        3,
        2,
        0,
        4,
        5,
        7,
        6,
        4,
        5,
        1,
        3,
        7,
        6,
        2,
    ]  # corners along which one line passes every edge
    places, words = [], []
    for item in objects:
        corners = box_corners(item)
        label = [*item.center[:2], item.center[2] + item.size[2] / 2 + 0.06]
        places += [*corners[path].tolist(), [None] * 3, label, [None] * 3]
        words += [*[""] * (len(path) + 1), f"{item.category} {item.id}", ""]
    x, y, z = (
        [None if v is None else round(v, 3) for v in axis] for axis in zip(*places, strict=True)
    )
    line = {"color": "#0072b2", "width": 3}
    return go.Scatter3d(
        x=x,
        y=y,
        z=z,
        text=words,
        mode="lines+text",
        line=line,
        textfont={"size": 11},
        name="object boxes",
        hoverinfo="skip",
    )
