"""The interactive scene (Plotly): turn it, toggle its layers in the legend, hover over a token to
see what it is made of.

Explained in notebook 00 (overview).
"""

from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import torch
from PIL import Image
from torch import Tensor

from leovl_mini.perception.lift import Patches
from leovl_mini.scans.geometry import scene_points
from leovl_mini.scans.scene import Object, Scene
from leovl_mini.show.objects import BOX_PATH, box_corners
from leovl_mini.show.plots import feature_colours, token_colours, voxels_of
from leovl_mini.tokens.base import SceneInput, SceneTokens


def figure(
    scene: Scene,
    scene_input: SceneInput | None = None,
    max_points: int = 15_000,
    ceiling: float = 2.3,
    boxes: bool = False,
    more: dict[str, SceneTokens] | None = None,
) -> go.Figure:
    """Points and cameras of a scene; with ``scene_input`` its voxels and tokens; with ``boxes`` its
    objects' labelled boxes.

    ``more`` holds further tokens of the same patches, by the name of their layer. Points above
    ``ceiling`` metres are hidden. ``max_points`` bounds the size: 15,000 points make about 0.3 MB.
    """
    points, colours = scene_points(scene)
    keep = points[:, 2] < ceiling
    points, colours = points[keep], colours[keep]
    count = min(max_points, len(points))
    pick = torch.linspace(0, len(points) - 1, count, device=points.device).long()
    traces = [point_layer(points[pick], colours[pick], "points", 2.0), camera_layer(scene)]
    if scene_input is not None:
        traces.append(voxel_layer(scene_input, ceiling))
        layers = {f"{scene_input.kind} tokens": scene_input.tokens, **(more or {})}
        for name, tokens in layers.items():
            traces.append(token_layer(name, tokens, scene_input.patches, scene))
    if boxes:
        traces.append(box_layer(scene.objects))
    axis = {"backgroundcolor": "white", "gridcolor": "#dddddd"}
    scene_axes = {f"{name}axis": {"title": {"text": f"{name} (m)"}, **axis} for name in "xyz"}
    title = f"{scene.name}: click a legend entry to show or hide its layer"
    return go.Figure(traces).update_layout(
        scene={
            **scene_axes,
            "aspectmode": "data",
            "camera": {"eye": {"x": 1.0, "y": -1.1, "z": 1.6}, "center": {"z": -0.15}},
        },
        margin={"l": 0, "r": 0, "t": 30, "b": 0},
        title={"text": title, "font": {"size": 13}},
        legend={"itemsizing": "constant", "x": 1, "xanchor": "right", "y": 1},
        height=560,  # in a notebook
    )


def write_page(shown: go.Figure, path: Path) -> None:
    """A page of its own that needs no network; the figure fills the browser's window."""
    shown = go.Figure(shown).update_layout(height=None, autosize=True)
    resize = "Plotly.relayout('{plot_id}', {width: innerWidth, height: innerHeight})"
    html = shown.to_html(
        default_height="100vh", post_script=f"addEventListener('resize', () => {resize});"
    )
    style = "<style>body { margin: 0; overflow: hidden; }</style>"
    path.write_text(html.replace("<head>", f"<head>{style}", 1), encoding="utf-8")


def voxel_layer(scene_input: SceneInput, ceiling: float) -> go.Scatter3d:
    """Voxels below the ceiling as squares, coloured as their patches are."""
    voxels = voxels_of(scene_input)
    colours = (feature_colours(voxels.features, scene_input.patches.features) * 255).byte()
    low = voxels.centers[:, 2] < ceiling
    return point_layer(
        voxels.centers[low], colours[low.cpu()], "voxels", 5.0, hide=True, symbol="square"
    )


def token_layer(name: str, tokens: SceneTokens, patches: Patches, scene: Scene) -> go.Scatter3d:
    """Tokens in the colours of their content; hovering tells where one is and which patches of
    which frames it is made of.
    """
    layer = point_layer(
        tokens.centers, (token_colours(tokens, patches) * 255).byte(), name, 7.0, hide=True
    )
    layer.text, layer.hoverinfo = describe_tokens(tokens, patches, scene.frame_names), None
    where = "x %{x:.2f} m, y %{y:.2f} m<br>mean height %{z:.2f} m"
    layer.hovertemplate = (
        f"token %{{pointNumber}}<br>{where}<br>%{{text}} (frame:row,column)<extra></extra>"
    )
    return layer


def describe_tokens(
    tokens: SceneTokens, patches: Patches, names: list[str], listed: int = 4
) -> list[str]:
    """For each token how many patches it is made of, the frames that show most of them, and the
    first few patches.
    """
    kept = (tokens.source >= 0).cpu()
    token, place = tokens.source.cpu()[kept], patches.cells.cpu()[kept]
    shape = len(tokens), len(names)
    in_frame = torch.bincount(token * shape[1] + place[:, 0], minlength=shape[0] * shape[1])
    places = place[token.argsort(stable=True)].tolist()  # token after token
    texts, start = [], 0
    for counts in in_frame.view(shape).tolist():
        total = sum(counts)
        most = sorted((-n, v) for v, n in enumerate(counts) if n)
        frames = [f"{names[v]} ({-n})" for n, v in most[:listed]] + ["..."] * (len(most) > listed)
        cells = [f"{names[v]}:{r},{c}" for v, r, c in places[start : start + total][:listed]]
        cells += ["..."] * (total > listed)
        texts.append(f"{total} patches: frame {', '.join(frames)}<br>{' '.join(cells)}")
        start += total
    return texts


def point_layer(
    points: Tensor,
    colours: Tensor,
    name: str,
    size: float,
    hide: bool = False,
    symbol: str = "circle",
):
    """Coloured points. A palette of 256 colours takes one byte a point instead of a text each."""
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
    places, words = [], []
    for item in objects:
        corners = box_corners(item)
        label = [*item.center[:2], item.center[2] + item.size[2] / 2 + 0.06]
        places += [*corners[BOX_PATH].tolist(), [None] * 3, label, [None] * 3]
        words += [*[""] * (len(BOX_PATH) + 1), f"{item.category} {item.id}", ""]
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
