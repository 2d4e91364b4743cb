"""Static pictures (Matplotlib): what a scene, its features and its tokens look like. Every function
returns its figure or axes.
"""

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
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


def feature_colours(features: Float[Tensor, "*n C"]) -> Float[Tensor, "*n 3"]:
    """The first three principal components as red, green, blue in 0..1: similar features get
    similar colours.
    """
    flat = features.detach().flatten(0, -2).cpu().double()
    if len(flat) < 4:
        return torch.full((*features.shape[:-1], 3), 0.5)
    centred = flat - flat.mean(0)
    directions = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -3:].flip(1)
    directions = (
        directions * directions.gather(0, directions.abs().argmax(0)[None]).sign()
    )  # eigenvectors have no sign
    colours = centred @ directions
    low, high = np.quantile(colours.numpy(), [0.02, 0.98], axis=0)
    return (
        torch.from_numpy(((colours.numpy() - low) / np.maximum(high - low, 1e-9)).clip(0, 1))
        .float()
        .view(*features.shape[:-1], 3)
    )


def token_colours(tokens: SceneTokens, patches: Patches) -> Float[Tensor, "K 3"]:
    """Each token by the mean feature of the patches it was made from: its content, without its
    position embedding.
    """
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
    axes: Axes,
    points: Float[Tensor, "N 3"],
    colours: Tensor,
    title: str = "",
    cell: float = 0.03,
    cut: float = CUT,
) -> Axes:
    """Points seen from above: the highest point below ``cut`` metres colours each cell. ``colours``
    (N,3) uint8 or 0..1.
    """
    points, colours = points.detach().cpu().numpy(), colours.cpu().numpy()
    colours = colours / 255 if colours.dtype == np.uint8 else colours
    keep = points[:, 2] < cut
    points, colours = points[keep], colours[keep]
    if not len(points):
        return label_plane(axes, title)
    order = points[:, 2].argsort(
        kind="stable"
    )  # low points first: of repeated indices NumPy keeps the last
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
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

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
    axes.set_aspect("equal")
    axes.set_xlabel("x (m)")
    axes.set_ylabel("y (m)")
    axes.set_title(title, fontsize=9)
    return axes


def voxels_of(scene: SceneInput) -> Voxels:
    """The voxels behind a scene's tokens: those of the grid's own size, else of 0.2 m."""
    return voxelise(scene.patches, scene.tokens.cell or 0.2)


def overview(scene: Scene, stages: SceneInput, columns: int = 6) -> Figure:
    """One page: frames, depth, features, and from above the points, the voxels and the grid tokens."""
    shown = np.linspace(0, len(scene) - 1, min(columns, len(scene))).round().astype(int)
    features = feature_colours(stages.features[shown])
    rows = (
        3 * 12 / len(shown) * scene.depth.shape[1] / scene.depth.shape[2] + 0.6
    )  # inches that the images take
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
    voxels, tokens = voxels_of(stages), stages.tokens
    axes = views.subplots(1, 3, sharex=True, sharey=True)
    top_view(axes[0], points, colours, f"{len(points):,} points, below {CUT} m")
    path = scene.camera_to_world[:, :2, 3].cpu()
    axes[0].plot(
        path[:, 0], path[:, 1], "o-", color="#d55e00", markersize=3, linewidth=0.8, label="cameras"
    )
    axes[0].legend(fontsize=8, loc="upper right")
    title = f"{len(voxels):,} voxels of {voxels.size:.2f} m, below {CUT} m"
    cells_view(axes[1], voxels.centers, feature_colours(voxels.features), voxels.size, title)
    if stages.kind == "grid":
        title = f"{len(tokens):,} grid tokens of {tokens.cell:.2f} m"
        cells_view(
            axes[2],
            tokens.centers,
            token_colours(tokens, stages.patches),
            tokens.cell,
            title,
            cut=float("inf"),
        )
    else:
        axes[2].scatter(
            *tokens.centers[:, :2].cpu().T, c=token_colours(tokens, stages.patches), s=9
        )
        label_plane(axes[2], f"{len(tokens):,} {stages.kind} tokens")
    sample = points[:: max(1, len(points) // 100_000), :2].cpu().numpy()
    low, high = np.quantile(
        sample, [0.002, 0.998], axis=0
    )  # a few stray points must not shrink the room
    axes[0].set(xlim=(low[0] - 0.5, high[0] + 0.5), ylim=(low[1] - 0.5, high[1] + 0.5))
    return figure
