"""Masks for captures that have none: surfaces of all frames fused in 3D and cut into things.

Two things that touch meet in a concave crease, and the surface of one thing is mostly convex, so
what stays connected without crossing a crease is a thing or a part of one (Stein et al. 2014,
"Object Partitioning using Local Convexity", here on voxels). Floor, walls and ceiling come first,
as planes; a crease between parts of one colour does not count, so that a chair keeps its back.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int32
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from torch import Tensor

from leovl_mini.scans.geometry import back_project
from leovl_mini.scans.scene import Scene

# more are thinned out evenly over each image before fusing; every pixel gets an id all the same
MAX_PIXELS = 1_500_000


STEPS = np.array(
    [1 << 42, 1 << 21, 1]
)  # voxel coordinates in one int64, 21 bits each: neighbours differ by a constant


AROUND = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(27, 3)


FLAT, CREASE = (
    0.04,
    0.05,
)  # radians the normal turns per voxel: less is flat; more, turning inwards, is a crease


SAME_COLOUR, OTHER_PAINT, EDGE = (
    25.0,
    25.0,
    60.0,
)  # of 255: parts of one thing; a door in its wall; two voxels side by side


@dataclass
class Surface:
    """The n voxels that depth pixels fall into, in the order of their ``keys``; ``near`` is 1 for
    voxels that touch, and i = j.
    """

    keys: Int[np.ndarray, "n"]
    position: Float[np.ndarray, "n 3"]  # metres
    normal: Float[np.ndarray, "n 3"]  # unit length, towards the cameras
    colour: Float[np.ndarray, "n 3"]  # 0..255, less half the brightness, because shadows change it
    curvature: Float[
        np.ndarray, "n"
    ]  # radians per voxel, over the neighbourhood; positive = convex, negative = concave
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
    return np.stack(
        [np.bincount(index, column) for column in (np.concatenate(columns, axis=1) * weight).T],
        axis=1,
    )


def plane_fit(sums: Float[np.ndarray, "M D"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre (M,3), normal (M,3) and thickness (M,) in metres, from ``moments`` of points and of
    directions to the front.
    """
    centre = sums[:, 1:4] / sums[:, :1]
    spread, axes = np.linalg.eigh(
        (sums[:, 4:13] / sums[:, :1]).reshape(-1, 3, 3) - centre[:, :, None] * centre[:, None]
    )
    back = (axes[:, :, 0] * sums[:, 13:16]).sum(1, keepdims=True) < 0
    return centre, np.where(back, -axes[:, :, 0], axes[:, :, 0]), np.sqrt(spread[:, 0].clip(0))


def parts(
    count: int, a: Int[np.ndarray, "E"], b: Int[np.ndarray, "E"], keep: Bool[np.ndarray, "E"]
) -> Int[np.ndarray, "n"]:
    """Which connected part each of ``count`` nodes belongs to, given the links a-b that are kept."""
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
    once, own = near @ sums, sums[:, 1:4] / sums[:, :1]
    centre, normal, _ = plane_fit(near @ once)
    position = (
        own - ((own - centre) * normal).sum(1, keepdims=True) * normal
    )  # onto the plane of the neighbourhood
    # Neighbours i, j are locally convex if (x_i - x_j) . (n_i - n_j) > 0; here the mean over all j,
    # written out as sums over j:
    dot, square = (position * normal).sum(1, keepdims=True), (position**2).sum(1, keepdims=True)
    weight, px, pn, pdot, psquare = np.split(
        near
        @ (near @ (sums[:, :1] * np.hstack([np.ones_like(dot), position, normal, dot, square]))),
        [1, 4, 7, 8],
        axis=1,
    )
    turn = pdot - (px * normal + pn * position).sum(1, keepdims=True) + weight * dot
    reach = psquare - 2 * (px * position).sum(1, keepdims=True) + weight * square
    return Surface(
        keys,
        position,
        normal,
        once[:, 16:] / once[:, :1],
        voxel * (turn / reach.clip(1e-9))[:, 0],
        near,
    )


def room_planes(
    s: Surface, a: Int[np.ndarray, "E"], b: Int[np.ndarray, "E"], voxel: float
) -> Int[np.ndarray, "n"]:
    """The large flat patch a voxel lies on, -1 = none: floor (z near 0), ceilings, walls (nothing
    behind them, or over 2 m).
    """
    flat = np.abs(s.curvature) < FLAT
    patch = parts(
        len(s.keys), a, b, flat[a] & flat[b] & ((s.normal[a] * s.normal[b]).sum(1) > 0.97)
    )
    large = np.flatnonzero(np.bincount(patch) * voxel**2 > 0.8)  # square metres
    centre, normal, thick = plane_fit(moments(patch, s.position, s.normal))
    behind = ((s.position @ normal[large].T - (centre * normal).sum(1)[large]) < -0.2).mean(0)
    top = np.array([np.percentile(s.position[patch == k, 2], 98) for k in large])
    up, height = normal[large, 2], centre[large, 2]
    room = (
        (up > 0.95) & (height < 0.15)
        | (up < -0.95) & (height > 1.8)
        | (abs(up) < 0.2) & ((behind < 0.03) | (top > 2.1))
    )
    on = np.isin(patch, large[room & (thick[large] < 0.06)])
    _, nearest = cKDTree(s.position[on]).query(s.position, distance_upper_bound=4 * voxel)
    plane = np.append(patch[on], -1)[nearest]
    distance, aligned = (
        np.abs(((s.position - centre[plane]) * normal[plane]).sum(1)),
        (s.normal * normal[plane]).sum(1) > 0.9,
    )
    return np.where((distance < voxel) | (distance < 2 * voxel) & aligned, plane, -1)


def segment(scene: Scene, voxel: float = 0.04, min_voxels: int = 15) -> Int32[Tensor, "V H W"]:
    """Segment ids (V,H,W) by size: 1 = the largest surface, 0 = no depth or lone specks; one id for
    one thing in every frame.

    ``voxel`` is in metres; connected pieces below ``min_voxels`` go to the nearest larger one.
    """
    ids, scene = torch.zeros_like(scene.depth, dtype=torch.int32), scene.to("cpu")
    valid, step = scene.depth > 0, int(np.ceil(np.sqrt(scene.depth.numel() / MAX_PIXELS)))
    use = torch.zeros_like(valid)
    use[:, step // 2 :: step, step // 2 :: step] = valid[:, step // 2 :: step, step // 2 :: step]
    if not use.any():
        return ids
    points = back_project(scene.depth, scene.intrinsics, scene.camera_to_world)
    s = fuse(scene, points, use, voxel)
    a, b = s.near.tocoo().coords
    plane = room_planes(s, a, b, voxel)
    flat, planes = plane >= 0, np.unique(plane)
    paint = np.stack([np.median(s.colour[plane == k], axis=0) for k in planes])[
        np.searchsorted(planes, plane)
    ]
    other = s.near @ np.stack(
        [flat & (np.linalg.norm(s.colour - paint, axis=1) > OTHER_PAINT), flat], axis=1
    ).astype(float)
    other = other[:, 0] > 0.3 * other[:, 1]  # smoothed: doors, windows and pictures on a plane
    core = flat | (s.curvature > -CREASE)
    smooth = ((s.normal[a] * s.normal[b]).sum(1) > 0) & (
        np.linalg.norm(s.colour[a] - s.colour[b], axis=1) < EDGE
    )
    keep = (
        core[a] & core[b] & (plane[a] == plane[b]) & np.where(flat[a], other[a] == other[b], smooth)
    )
    label = 1 + parts(len(s.keys), a, b, keep)
    label[~core | (np.bincount(label)[label] < min_voxels)] = 0
    known, place = (
        label > 0,
        np.hstack([s.position, 0.1 * s.normal]),
    )  # creases go to the side they look like
    label[~known] = np.append(label[known], 0)[
        cKDTree(place[known]).query(place[~known], distance_upper_bound=5 * voxel)[1]
    ]
    size, paints = np.split(moments(label, s.colour)[:, :4], [1], axis=1)
    paints, free = (
        paints / size.clip(1),
        np.bincount(label, flat) < 0.5 * size[:, 0],
    )  # no piece of a plane
    touch = (
        coo_array((np.ones(len(a)), (label[a], label[b])), shape=(len(size), len(size)))
        .tocsr()
        .tocoo()
    )  # adds up equal pairs
    p, q = (side.astype(np.int64) for side in touch.coords)
    alike = np.linalg.norm(paints[p] - paints[q], axis=1) < SAME_COLOUR
    joined = free[p] & free[q] & (p > 0) & (q > 0) & (touch.data > 10) & alike
    label = parts(len(size), p, q, joined)[label]
    rank = np.zeros(label.max() + 1, dtype=np.int32)
    rank[1 + np.argsort(-np.bincount(label)[1:], kind="stable")] = np.arange(1, len(rank))
    pixels = points[valid].numpy()
    place = find(s.keys, keys_of(pixels, voxel))
    place[place < 0] = cKDTree(s.position).query(pixels[place < 0])[
        1
    ]  # voxels that only thinned-out pixels fall into
    ids[valid.to(ids.device)] = torch.from_numpy(rank[label[place]]).to(ids.device)
    return ids


def masks(scene: Scene) -> Int32[Tensor, "V H W"]:
    """The scene's own instance masks where it has them, else segments."""
    return segment(scene) if scene.instances is None else scene.instances


def segment_quality(
    found: Int32[Tensor, "V H W"], true: Int32[Tensor, "V H W"]
) -> dict[str, float]:
    """How well segments (0 = none) fit true objects (0 = floor, walls, ceiling), all 0..1, and 0
    where there is nothing to compare.

    ``purity``: share of the segments' pixels that show their segment's most frequent true id (0
    counts as one); ``coverage``: mean over objects of the largest share of an object's pixels in
    one segment; ``iou``: mean over objects of the best overlap.
    """
    shared = coo_array(
        (np.ones(found.numel()), (found.cpu().ravel().numpy(), true.cpu().ravel().numpy()))
    ).toarray()
    shared = np.pad(shared, ((0, 1), (0, 0)))  # an empty segment, in case that none was found
    sizes, objects = shared.sum(0), 1 + np.flatnonzero(shared.sum(0)[1:])
    both, count = shared[1:, objects], max(len(objects), 1)
    coverage = (both.max(0) / sizes[objects]).sum() / count
    iou = (both / (shared[1:].sum(1, keepdims=True) + sizes[objects] - both)).max(0).sum() / count
    purity = shared[1:].max(1).sum() / max(shared[1:].sum(), 1)
    return {"purity": float(purity), "coverage": float(coverage), "iou": float(iou)}
