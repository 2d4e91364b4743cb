"""Masks for captures that have none: surfaces of all frames fused in 3D and cut into things.

Two things that touch meet in a concave crease, and the surface of one thing is mostly convex, so
what stays connected without crossing a crease is a thing or a part of one (Stein et al. 2014,
"Object Partitioning using Local Convexity", here on voxels). Floor, walls and ceiling come first,
as planes; a crease between parts of one colour does not count, so that a chair keeps its back.

Explained in notebook 05 (proxies).
"""

import numpy as np
import torch
from jaxtyping import Int, Int32
from scipy.sparse import coo_array
from scipy.spatial import cKDTree
from torch import Tensor

from leovl_mini.perception.surfaces import Surface, find, fuse, keys_of, moments, parts, room_planes
from leovl_mini.scans.geometry import back_project
from leovl_mini.scans.scene import Scene

MAX_PIXELS = 1_500_000  # more are thinned out evenly before fusing; every pixel gets an id still
CREASE = 0.05  # radians that the normal turns inwards per voxel, at least

# Differences of colour, of 255: parts of one thing; a door in its wall; two voxels side by side.
SAME_COLOUR, OTHER_PAINT, EDGE = 25.0, 25.0, 60.0


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
    surface = fuse(scene, points, use, voxel)
    a, b = surface.near.tocoo().coords
    plane = room_planes(surface, a, b, voxel)
    label = smooth_pieces(surface, plane, a, b)
    label = absorb_small(label, surface, min_voxels, reach=5 * voxel)
    label = join_parts(label, surface, plane, a, b)

    rank = np.zeros(label.max() + 1, dtype=np.int32)
    rank[1 + np.argsort(-np.bincount(label)[1:], kind="stable")] = np.arange(1, len(rank))
    pixels = points[valid].numpy()
    place = find(surface.keys, keys_of(pixels, voxel))
    lost = place < 0  # in voxels that only thinned-out pixels fall into
    place[lost] = cKDTree(surface.position).query(pixels[lost])[1]
    ids[valid.to(ids.device)] = torch.from_numpy(rank[label[place]]).to(ids.device)
    return ids


def smooth_pieces(
    s: Surface,
    plane: Int[np.ndarray, "n"],
    a: Int[np.ndarray, "E"],
    b: Int[np.ndarray, "E"],
) -> Int[np.ndarray, "n"]:
    """Pieces from 1 that are connected without a crease or an edge of colours, or within a plane by
    its paint: doors, windows and pictures have another. 0: creases.
    """
    flat, planes = plane >= 0, np.unique(plane)
    paints = np.stack([np.median(s.colour[plane == k], axis=0) for k in planes])
    paint = paints[np.searchsorted(planes, plane)]
    other = flat & (np.linalg.norm(s.colour - paint, axis=1) > OTHER_PAINT)
    others, all_flat = (s.near @ np.stack([other, flat], axis=1).astype(float)).T
    other = others > 0.3 * all_flat  # smoothed

    core = flat | (s.curvature > -CREASE)
    smooth = (s.normal[a] * s.normal[b]).sum(1) > 0
    smooth &= np.linalg.norm(s.colour[a] - s.colour[b], axis=1) < EDGE
    linked = np.where(flat[a], other[a] == other[b], smooth)
    label = 1 + parts(len(s.keys), a, b, core[a] & core[b] & (plane[a] == plane[b]) & linked)
    return np.where(core, label, 0)


def absorb_small(
    label: Int[np.ndarray, "n"], s: Surface, min_voxels: int, reach: float
) -> Int[np.ndarray, "n"]:
    """Creases and small pieces go to the piece within ``reach`` metres that lies most as they do,
    by place and direction; 0 where there is none.
    """
    large = (label > 0) & (np.bincount(label)[label] >= min_voxels)
    place = np.hstack([s.position, 0.1 * s.normal])
    tree, label = cKDTree(place[large]), np.where(large, label, 0)
    nearest = tree.query(place[~large], distance_upper_bound=reach)[1]
    label[~large] = np.append(label[large], 0)[nearest]
    return label


def join_parts(
    label: Int[np.ndarray, "n"],
    s: Surface,
    plane: Int[np.ndarray, "n"],
    a: Int[np.ndarray, "E"],
    b: Int[np.ndarray, "E"],
) -> Int[np.ndarray, "n"]:
    """Pieces of one colour that touch are parts of one thing, unless they are pieces of a plane."""
    size, colours = np.split(moments(label, s.colour)[:, :4], [1], axis=1)
    colours = colours / size.clip(1)
    free = np.bincount(label, plane >= 0) < 0.5 * size[:, 0]  # no piece of a plane
    free[0] = False
    links = coo_array((np.ones(len(a)), (label[a], label[b])), shape=(len(size), len(size)))
    touch = links.tocsr().tocoo()  # adds up equal pairs
    p, q = (side.astype(np.int64) for side in touch.coords)
    alike = np.linalg.norm(colours[p] - colours[q], axis=1) < SAME_COLOUR
    return parts(len(size), p, q, free[p] & free[q] & (touch.data > 10) & alike)[label]


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
