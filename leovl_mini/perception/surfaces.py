"""Surfaces of a capture: the pixels of all frames fused in 3D, with normals and curvature, and the
planes of the room among them.

What ``segments`` cuts into things.

Explained in notebook 05 (proxies).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from torch import Tensor

from leovl_mini.scans.scene import Scene

# Voxel coordinates in one int64, 21 bits each: the numbers of neighbours differ by a constant.
STEPS = np.array([1 << 42, 1 << 21, 1])
AROUND = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(27, 3)

FLAT = 0.04  # radians that the normal of a plane turns per voxel, at most


@dataclass
class Surface:
    """The n voxels that depth pixels fall into, in the order of their ``keys``; ``near`` is 1 for
    voxels that touch, and i = j.
    """

    keys: Int[np.ndarray, "n"]
    position: Float[np.ndarray, "n 3"]  # metres
    normal: Float[np.ndarray, "n 3"]  # unit length, towards the cameras
    colour: Float[np.ndarray, "n 3"]  # 0..255, less half the brightness, because shadows change it
    curvature: Float[np.ndarray, "n"]  # radians per voxel; positive = convex, negative = concave
    near: csr_array  # (n,n)


def keys_of(points: Float[np.ndarray, "N 3"], voxel: float) -> Int[np.ndarray, "N"]:
    """The number of the voxel (edge in metres) that each point lies in."""
    return (np.floor(points / voxel).astype(np.int64) + (1 << 20)) @ STEPS


def find(keys: Int[np.ndarray, "n"], wanted: Int[np.ndarray, "N"]) -> Int[np.ndarray, "N"]:
    """The place of every wanted number in the sorted ``keys``, or -1."""
    place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[place] == wanted, place, -1)


def moments(
    index: Int[np.ndarray, "N"], x: Float[np.ndarray, "N 3"], *more: np.ndarray, weight=1.0
) -> Float[np.ndarray, "M D"]:
    """Weighted sums over the rows with the same index: of 1, of x, of its nine products, and of the
    columns of ``more``.
    """
    columns = [np.ones((len(x), 1)), x, (x[:, :, None] * x[:, None]).reshape(-1, 9), *more]
    weighted = np.concatenate(columns, axis=1) * weight
    return np.stack([np.bincount(index, column) for column in weighted.T], axis=1)


def plane_fit(sums: Float[np.ndarray, "M D"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre (M,3), normal (M,3) and thickness (M,) in metres, from ``moments`` of points and of
    directions to the front.
    """
    centre = sums[:, 1:4] / sums[:, :1]
    squares = (sums[:, 4:13] / sums[:, :1]).reshape(-1, 3, 3)
    spread, axes = np.linalg.eigh(squares - centre[:, :, None] * centre[:, None])
    normal, thickness = axes[:, :, 0], np.sqrt(spread[:, 0].clip(0))
    back = (normal * sums[:, 13:16]).sum(1, keepdims=True) < 0
    return centre, np.where(back, -normal, normal), thickness


def parts(
    count: int, a: Int[np.ndarray, "E"], b: Int[np.ndarray, "E"], keep: Bool[np.ndarray, "E"]
) -> Int[np.ndarray, "n"]:
    """Which connected part each of ``count`` nodes belongs to, by the links a-b that are kept."""
    links = coo_array((np.ones(keep.sum()), (a[keep], b[keep])), shape=(count, count))
    return connected_components(links, directed=False)[1].astype(np.int64)


def fuse(
    scene: Scene, points: Float[Tensor, "V H W 3"], use: Bool[Tensor, "V H W"], voxel: float
) -> Surface:
    """Average the pixels to ``use`` per voxel (near ones count more: noise grows with depth), then
    fit planes to neighbourhoods.
    """
    eyes = scene.camera_to_world[:, None, None, :3, 3].expand(points.shape)
    x, eye, rgb = (t[use].numpy().astype(np.float64) for t in (points, eyes, scene.rgb))
    rgb -= 0.5 * rgb.mean(1, keepdims=True)
    keys, index = np.unique(keys_of(x, voxel), return_inverse=True)
    distance = np.linalg.norm(eye - x, axis=1, keepdims=True).clip(0.3)
    sums = moments(index, x, (eye - x) / distance, rgb, weight=1 / distance**2)

    place = find(keys, (keys[:, None] + AROUND @ STEPS).ravel())
    rows = np.repeat(np.arange(len(keys)), 27)[place >= 0]
    near = csr_array((np.ones(len(rows)), (rows, place[place >= 0])), shape=(len(keys), len(keys)))

    around, own = near @ sums, sums[:, 1:4] / sums[:, :1]
    centre, normal, _ = plane_fit(near @ around)
    # Onto the plane of the neighbourhood.
    position = own - ((own - centre) * normal).sum(1, keepdims=True) * normal
    colour = around[:, 16:] / around[:, :1]
    turn = curvature(position, normal, near, sums[:, :1])
    return Surface(keys, position, normal, colour, voxel * turn, near)


def curvature(
    position: Float[np.ndarray, "n 3"],
    normal: Float[np.ndarray, "n 3"],
    near: csr_array,
    weight: Float[np.ndarray, "n 1"],
) -> Float[np.ndarray, "n"]:
    """How convex a surface is at each voxel, in radians a metre.

    Neighbours i, j are locally convex if (x_i - x_j) . (n_i - n_j) > 0; here the mean over all j,
    divided by that of |x_i - x_j|^2, both written out as sums over j.
    """
    dot, square = (position * normal).sum(1, keepdims=True), (position**2).sum(1, keepdims=True)
    columns = weight * np.hstack([np.ones_like(dot), position, normal, dot, square])
    total, px, pn, pdot, psquare = np.split(near @ (near @ columns), [1, 4, 7, 8], axis=1)
    turn = pdot - (px * normal + pn * position).sum(1, keepdims=True) + total * dot
    reach = psquare - 2 * (px * position).sum(1, keepdims=True) + total * square
    return (turn / reach.clip(1e-9))[:, 0]


def room_planes(
    s: Surface, a: Int[np.ndarray, "E"], b: Int[np.ndarray, "E"], voxel: float
) -> Int[np.ndarray, "n"]:
    """The large flat patch a voxel lies on, -1 = none: floor (z near 0), ceilings, walls (nothing
    behind them, or over 2 m).
    """
    flat = np.abs(s.curvature) < FLAT
    aligned = (s.normal[a] * s.normal[b]).sum(1) > 0.97
    patch = parts(len(s.keys), a, b, flat[a] & flat[b] & aligned)
    large = np.flatnonzero(np.bincount(patch) * voxel**2 > 0.8)  # square metres

    centre, normal, thick = plane_fit(moments(patch, s.position, s.normal))
    behind = ((s.position @ normal[large].T - (centre * normal).sum(1)[large]) < -0.2).mean(0)
    top = np.array([np.percentile(s.position[patch == k, 2], 98) for k in large])
    up, height = normal[large, 2], centre[large, 2]
    floor = (up > 0.95) & (height < 0.15)
    ceiling = (up < -0.95) & (height > 1.8)
    wall = (abs(up) < 0.2) & ((behind < 0.03) | (top > 2.1))
    on = np.isin(patch, large[(floor | ceiling | wall) & (thick[large] < 0.06)])

    _, nearest = cKDTree(s.position[on]).query(s.position, distance_upper_bound=4 * voxel)
    plane = np.append(patch[on], -1)[nearest]
    distance = np.abs(((s.position - centre[plane]) * normal[plane]).sum(1))
    aligned = (s.normal * normal[plane]).sum(1) > 0.9
    return np.where((distance < voxel) | (distance < 2 * voxel) & aligned, plane, -1)
