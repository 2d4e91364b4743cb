"""Static pictures (Matplotlib): what a scene, its features and its tokens look like.

Every function returns its figure or axes. Explained in notebook 00 (overview).
"""

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from leovl_mini.perception.lift import Patches
from leovl_mini.scans.geometry import scene_points
from leovl_mini.scans.scene import Scene
from leovl_mini.tokens.base import SceneInput, SceneTokens, group_mean
from leovl_mini.tokens.voxels import Voxels, voxelise

DEPTH = LinearSegmentedColormap.from_list(
    "depth", ["#fde725", "#35b779", "#31688e", "#440154"]
).with_extremes(bad="white")

CUT = 2.1  # metres: what hangs higher (ceilings) is left out of views from above


def feature_colours(
    features: Float[Tensor, "*n C"], reference: Float[Tensor, "P C"] | None = None
) -> Float[Tensor, "*n 3"]:
    """Principal components as red, green, blue in 0..1: similar features get similar colours.

    The three directions and the range of colours are those of ``reference`` (by default of the
    features themselves), so that pictures with one reference can be compared.
    """
    flat = (features if reference is None else reference).detach().flatten(0, -2).cpu().double()
    if len(flat) < 4:
        return torch.full((*features.shape[:-1], 3), 0.5)
    mean = flat.mean(0)
    directions = torch.linalg.eigh((flat - mean).T @ (flat - mean)).eigenvectors[:, -3:].flip(1)
    # an eigenvector has no sign: its largest entry shall be positive
    directions = directions * directions.gather(0, directions.abs().argmax(0)[None]).sign()
    low, high = np.quantile(((flat - mean) @ directions).numpy(), [0.02, 0.98], axis=0)
    colours = ((features.detach().cpu().double() - mean) @ directions).numpy()
    return torch.from_numpy(((colours - low) / np.maximum(high - low, 1e-9)).clip(0, 1)).float()


def token_colours(tokens: SceneTokens, patches: Patches) -> Float[Tensor, "K 3"]:
    """Each token by the mean feature of the patches it was made from, coloured as these patches
    are: its content, without its position embedding.
    """
    kept = tokens.source >= 0
    means = group_mean(patches.features[kept], tokens.source[kept], len(tokens))
    return feature_colours(means, patches.features)


def show_image(axes: Axes, image, title: str = "", **keywords):
    """An image without ticks: its pixels are its coordinates."""
    artist = axes.imshow(np.asarray(torch.as_tensor(image).cpu()), **keywords)
    axes.set_title(title, fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
    return artist


def show_depth(axes: Axes, depth: Tensor, title: str = "", longest: float | None = None):
    """A depth map in metres; white where nothing was measured."""
    image = torch.where(depth > 0, depth, torch.nan)  # NaN takes the colour for bad values
    return show_image(axes, image, title, cmap=DEPTH, vmin=0, vmax=longest or float(depth.max()))


def top_view(
    axes: Axes,
    points: Float[Tensor, "N 3"],
    colours: Tensor,
    title: str = "",
    cell: float = 0.03,
    cut: float = CUT,
) -> Axes:
    """Points from above, in cells of ``cell`` metres: the highest point below ``cut`` metres gives
    the colour. ``colours`` (N,3) uint8 or 0..1.
    """
    points, colours = points.detach().cpu().numpy(), colours.cpu().numpy()
    colours = colours / 255 if colours.dtype == np.uint8 else colours
    keep = points[:, 2] < cut
    points, colours = points[keep], colours[keep]
    if not len(points):
        return label_plane(axes, title)
    # low points first: of repeated indices NumPy keeps the last
    order = points[:, 2].argsort(kind="stable")
    low = points[:, :2].min(0) - cell
    column, row = ((points[order, :2] - low) / cell).astype(int).T
    image = np.ones((row.max() + 2, column.max() + 2, 3))
    image[row, column] = colours[order]
    extent = (low[0], low[0] + image.shape[1] * cell, low[1], low[1] + image.shape[0] * cell)
    axes.imshow(image, origin="lower", extent=extent, interpolation="nearest")
    return label_plane(axes, title)


def cells_view(
    axes: Axes,
    centers: Float[Tensor, "K 3"],
    colours: Tensor,
    size: float,
    title: str = "",
    cut: float = CUT,
) -> Axes:
    """Voxels or pillars seen from above, each as a square of ``size`` metres; higher ones lie on
    top.
    """
    centers, colours = centers.detach().cpu(), colours.cpu()
    order = [i for i in centers[:, 2].argsort().tolist() if centers[i, 2] < cut]
    corner = (centers[:, :2] / size).floor() * size
    squares = [Rectangle(corner[i].tolist(), size, size) for i in order]
    axes.add_collection(
        PatchCollection(
            squares, facecolors=colours[order].numpy(), edgecolors="white", linewidths=0.3
        )
    )
    axes.autoscale_view()
    return label_plane(axes, title)


def label_plane(axes: Axes, title: str) -> Axes:
    """The axes of a view from above: equal scales, metres."""
    axes.set_aspect("equal")
    axes.set_xlabel("x (m)")
    axes.set_ylabel("y (m)")
    axes.set_title(title, fontsize=9)
    return axes


def voxels_of(scene: SceneInput) -> Voxels:
    """The voxels behind a scene's tokens: those of the grid's own size, else of 0.2 m."""
    return voxelise(scene.patches, scene.tokens.cell or 0.2)


def overview(scene: Scene, scene_input: SceneInput) -> Figure:
    """One page: some frames with their depth and features; from above all points, voxels and
    tokens. One colour means the same feature everywhere on it.
    """
    _, height, width = scene.depth.shape
    columns = min(len(scene), 4 if width > height else 6)
    views = np.linspace(0, len(scene) - 1, columns).round().astype(int)
    rows_height = 3 * (8.6 / columns * height / width + 0.2)  # inches
    figure = Figure(figsize=(10, rows_height + 4.4), dpi=80, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08)
    above, below = figure.subfigures(2, 1, height_ratios=[rows_height, 4.4])

    axes = above.subplots(3, columns, squeeze=False)
    longest = float(scene.depth.max())
    reference = scene_input.features.flatten(0, 2)
    for column, view in zip(axes.T, views, strict=True):
        show_image(column[0], scene.rgb[view], f"frame {scene.frame_names[view]}")
        depth = show_depth(column[1], scene.depth[view], longest=longest)
        colours = feature_colours(scene_input.features[view], reference)
        show_image(column[2], colours, interpolation="nearest")
    for axis, label in zip(axes[:, 0], ("colour", "depth", "features"), strict=True):
        axis.set_ylabel(label, fontsize=11)
    above.colorbar(depth, ax=axes[1], label="depth (m)\nwhite: none", shrink=0.9)

    points, colours = scene_points(scene)
    voxels, tokens = voxels_of(scene_input), scene_input.tokens
    axes = below.subplots(1, 3, sharex=True, sharey=True)
    top_view(axes[0], points, colours, f"{len(points):,} points")
    path = scene.camera_to_world[:, :2, 3].cpu()
    axes[0].plot(*path.T, "o-", color="#d55e00", markersize=3, linewidth=0.8, label="cameras")
    axes[0].legend(fontsize=10, loc="upper right")
    voxel_colours = feature_colours(voxels.features, reference)
    title = f"{len(voxels):,} voxels of {voxels.size:.2f} m"
    cells_view(axes[1], voxels.centers, voxel_colours, voxels.size, title)
    colours = token_colours(tokens, scene_input.patches)
    title = f"{len(tokens):,} {scene_input.kind} tokens"
    if scene_input.kind == "grid":
        title = f"{title} of {tokens.cell:.2f} m"
        cells_view(axes[2], tokens.centers, colours, tokens.cell, title, cut=float("inf"))
    else:
        axes[2].scatter(*tokens.centers[:, :2].cpu().T, c=colours, s=9)
        label_plane(axes[2], title)
    for axis in axes[1:]:
        axis.set_ylabel("")
    sample = points[:: max(1, len(points) // 100_000), :2].cpu().numpy()
    # a few stray points must not shrink the room
    low, high = np.quantile(sample, [0.002, 0.998], axis=0)
    axes[0].set(xlim=(low[0] - 0.5, high[0] + 0.5), ylim=(low[1] - 0.5, high[1] + 0.5))
    for axis in figure.axes:
        axis.title.set_fontsize(11)
    note = "Colours of features, voxels and tokens: their three principal components."
    figure.suptitle(f"{note} From above: up to {CUT} m of height.", fontsize=10)
    return figure
