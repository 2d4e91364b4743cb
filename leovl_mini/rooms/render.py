"""What cameras in a room see: ray casting (Open3D), paint, patterns, light and shadow.

Explained in notebook 01 (RGB-D frames and cameras).
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from leovl_mini.data.open3d_headless import open3d
from leovl_mini.rooms.furniture.shapes import mesh
from leovl_mini.rooms.room import Room, bottom
from leovl_mini.scans.scene import Object

LUMINANCE = np.array([0.30, 0.59, 0.11], dtype=np.float32)
PATTERNS = ("plain", "stripes", "checks", "wood", "tiles", "carpet", "weave")
PERIOD = 0.15  # m, of stripes and checks: some pixels wide at 4 m
BOARD, TILE = 0.14, 0.4  # m, width of floor boards and tiles
CELL, BORDER = 0.02, 10  # m per cell of the floor's shadow, and cells of wall around it


@dataclass
class Shot:
    """What V cameras see, pixel by pixel."""

    depth: np.ndarray  # (V,H,W) float32, metres along the optical axis; 0 where nothing is hit
    instances: np.ndarray  # (V,H,W) int32; 0 is floor, walls and ceiling
    rgb: np.ndarray  # (V,H,W,3) uint8
    facing: np.ndarray  # (V,H,W) float32, |cos| between the ray and the surface normal
    albedo: np.ndarray  # (V,H,W) float32, luminance 0..1 of the paint without the light


@dataclass
class Model:
    """A room as one triangle mesh, its parts, and its light."""

    surfaces: "open3d.t.geometry.RaycastingScene"
    part_of: np.ndarray  # (T,) int32, the part of each triangle
    bright: np.ndarray  # (T,) float32, the light on each triangle
    instances: np.ndarray  # (P,) int32
    colours: np.ndarray  # (3,P) float32
    seconds: np.ndarray  # (3,P) float32, the other colour of stripes and checks
    patterns: np.ndarray  # (P,) int8, index into PATTERNS
    frames: np.ndarray  # (5,P) float32: x, y, z of the object's origin, cosine and sine of its yaw
    tint: np.ndarray  # (3,1) float32, colour of the light
    shadow: np.ndarray  # (X,Y) float32, darkness of the floor in cells of CELL metres
    half: np.ndarray  # (2,1) float32, half the room's width and depth


def shoot(room: Room, K: np.ndarray, poses: np.ndarray, size: tuple[int, int]) -> Shot:
    """What cameras with pinhole matrix ``K`` (3,3) see from ``poses`` (V,4,4, camera to world) at
    ``size`` (height, width).
    """
    model, (height, width) = build_model(room), size
    v, u = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    pixels = np.stack([u, v, np.ones_like(u)]).reshape(3, -1)
    # rays with z = 1: the distance of a hit, counted in rays, is its z-depth
    rays = (np.linalg.inv(K) @ pixels).astype(np.float32)
    poses = poses.astype(np.float32)
    directions = poses[:, :3, :3] @ rays
    lines = np.empty((len(poses), height * width, 6), np.float32)
    lines[..., :3], lines[..., 3:] = poses[:, None, :3, 3], directions.transpose(0, 2, 1)
    hit = model.surfaces.cast_rays(open3d.core.Tensor(lines))
    hits = [hit[name].numpy() for name in ("t_hit", "primitive_ids", "primitive_normals")]
    lengths = np.sqrt((rays**2).sum(0))
    # view by view: small arrays stay in the processor's cache
    views = [
        shade(model, [x[i] for x in hits], directions[i], poses[i, :3, 3:], lengths)
        for i in range(len(poses))
    ]
    channels = (np.stack(channel) for channel in zip(*views, strict=True))
    return Shot(*(c.reshape(len(poses), height, width, *c.shape[2:]) for c in channels))


def shade(
    model: Model,
    hit: list[np.ndarray],
    directions: np.ndarray,
    eye: np.ndarray,
    lengths: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """The channels of a Shot for one camera's N rays: ``directions`` (3,N) of ``lengths`` (N,) from
    ``eye`` (3,1).

    ``hit``: z-depth (N,), triangle (N,) and its normal (N,3).
    """
    depth, triangle, normals = hit
    seen = np.isfinite(depth)
    depth, triangle = np.where(seen, depth, np.float32(0)), np.where(seen, triangle, 0)
    normals = normals.T.copy()
    points = directions * depth + eye
    part = model.part_of.take(triangle)
    instance = model.instances.take(part) * seen
    paint = painted(model, part, points, normals) * seen
    bright = 255 * model.bright.take(triangle) * dimmed(model, instance, points, normals)
    rgb = np.minimum(paint * bright * model.tint, 255).astype(np.uint8).T
    facing = np.abs((normals * directions).sum(0)) / lengths * seen
    return depth, instance, rgb, facing, LUMINANCE @ paint


# -- paint -----------------------------------------------------------------------------------------


def painted(model: Model, part: np.ndarray, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """The paint's colour (3,N) at each point (3,N); patterns are laid out in the object's own
    frame, so all views agree.
    """
    colour = model.colours.take(part, axis=1)  # much faster than model.colours[:, part]
    on = np.flatnonzero(model.patterns.take(part) > 0)
    patterned = part.take(on)
    x, y, z, cos, sin = model.frames.take(patterned, axis=1)
    px, py, pz = points.take(on, axis=1)
    nx, ny, nz = normals.take(on, axis=1)
    own_x, own_y, own_z = (px - x) * cos + (py - y) * sin, (py - y) * cos - (px - x) * sin, pz - z
    sideways, flat = np.abs(nx * cos + ny * sin) > 0.7, np.abs(nz) > 0.7
    u, v = np.where(sideways, own_y, own_x), np.where(flat, own_y, own_z)
    colour[:, on] = with_pattern(model, patterned, u, v, flat)
    grain = np.sin(np.float32([61, 47, 83]) @ points) * np.sin(np.float32([-29, 71, 37]) @ points)
    return colour * (1 + 0.015 * grain)


def with_pattern(
    model: Model, part: np.ndarray, u: np.ndarray, v: np.ndarray, flat: np.ndarray
) -> np.ndarray:
    """Colours (3,N) of parts (N,) at ``u`` across and ``v`` up a surface (m); ``flat``: it lies."""
    pattern, colour = model.patterns.take(part), model.colours.take(part, axis=1)
    stripes, checks, wood, tiles, carpet, weave = (
        np.flatnonzero(pattern == PATTERNS.index(name)) for name in PATTERNS[1:]
    )
    factor = np.ones_like(u)
    a, b = u[stripes] / PERIOD, np.floor(2 * u[checks] / PERIOD) + np.floor(2 * v[checks] / PERIOD)
    other = np.concatenate([stripes[a - np.floor(a) < 0.42], checks[b % 2 > 0]])
    colour[:, other] = model.seconds.take(part[other], axis=1)
    a, b = np.where(flat, v, u)[wood] / BOARD, np.where(flat, u, v)[wood]  # the grain runs along b
    board = np.floor(a)
    grain = 1 + 0.05 * np.sin(13 * a + 3 * np.sin(2.1 * b + board)) + 0.08 * np.sin(2.4 * board)
    factor[wood] = grain - 0.2 * (a - board < 0.05)
    a, b = u[tiles] / TILE, v[tiles] / TILE
    column, row = np.floor(a), np.floor(b)
    joint = (a - column < 0.035) | (b - row < 0.035)
    factor[tiles] = np.where(joint, 0.72, 1 + 0.04 * np.sin(12.9 * column + 7.7 * row))
    factor[carpet] = 1 + 0.05 * np.sin(70 * u[carpet]) * np.sin(60 * v[carpet])
    factor[weave] -= 0.25 * ((np.floor(u[weave] / 0.05) + np.floor(v[weave] / 0.03)) % 2)
    return colour * factor


def second_tone(colour: np.ndarray) -> np.ndarray:
    """What (3,N) goes with a colour in stripes and checks: whitish, but grey with white and with
    black.
    """
    bright = LUMINANCE @ colour
    whitish = np.where(bright < 0.12, np.float32(0.42), 0.35 * colour + 0.62)
    return np.where(bright > 0.8, 0.66 * colour, whitish)


# -- light -----------------------------------------------------------------------------------------


def dimmed(model: Model, ids: np.ndarray, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Factor (N,) by which walls are darker near the floor, and the floor near walls and under
    furniture.
    """
    factor = np.ones(len(ids), np.float32)
    floor = np.flatnonzero((ids == 0) & (normals[2] > 0.9) & (points[2] < 0.01))
    cell = ((points[:2].take(floor, axis=1) + model.half) / CELL).astype(np.intp)
    factor[floor] -= model.shadow[tuple(cell.clip(0, np.array([model.shadow.shape]).T - 1))]
    wall = np.flatnonzero((ids == 0) & (np.abs(normals[2]) < 0.1))
    factor[wall] -= 0.15 * np.exp(points[2].take(wall) / -0.12)
    return factor


def light(room: Room) -> tuple[np.ndarray, float, float, np.ndarray]:
    """Direction to the lamp (3,), its strength, the ambient light and their tint (3,): they belong
    to the room's seed.
    """
    rng = np.random.default_rng((room.seed, 2))
    angle, slope, strength, ambient, warm = rng.uniform(
        [0, 0.5, 0.30, 0.60, -0.06], [2 * math.pi, 1.1, 0.40, 0.70, 0.06]
    )
    level = math.cos(slope)
    lamp = np.array([math.cos(angle) * level, math.sin(angle) * level, math.sin(slope)])
    return lamp, strength, ambient, np.array([1 + warm, 1, 1 - warm], dtype=np.float32)


def contact_shadow(room: Room, lamp: np.ndarray) -> np.ndarray:
    """Darkness (X,Y) of the floor near walls and under furniture: blurred footprints, moved a
    little away from the lamp.
    """
    cells = [math.ceil(s / CELL) + 2 * BORDER for s in room.size[:2]]
    covered = np.ones(cells, np.float32)
    covered[BORDER:-BORDER, BORDER:-BORDER] = 0
    axes = [
        (np.arange(n) - BORDER + 0.5) * CELL - s / 2
        for n, s in zip(cells, room.size[:2], strict=True)
    ]
    for item in room.objects:
        if bottom(item) < 0.05:
            darken(covered, axes, item, np.array(item.center[:2]) - 0.08 * lamp[:2])
    blurred = ndimage.gaussian_filter(covered, 0.09 / CELL, truncate=2.5)
    return 0.4 * blurred[BORDER:-BORDER, BORDER:-BORDER]


def darken(covered: np.ndarray, axes: list[np.ndarray], item: Object, middle: np.ndarray) -> None:
    """Set the cells (X,Y), at x and y ``axes``, of an object's footprint moved to ``middle``."""
    reach = math.hypot(*item.size[:2]) / 2
    near = tuple(
        slice(*np.searchsorted(axis, [m - reach, m + reach]))
        for axis, m in zip(axes, middle, strict=True)
    )
    dx, dy = axes[0][near[0], None] - middle[0], axes[1][None, near[1]] - middle[1]
    cos, sin = math.cos(item.yaw), math.sin(item.yaw)
    across, along = np.abs(dx * cos + dy * sin), np.abs(dy * cos - dx * sin)
    covered[near][(across < item.size[0] / 2) & (along < item.size[1] / 2)] = 1


def build_model(room: Room) -> Model:
    """Merge walls and objects into one mesh and light it."""
    parts, instances = list(room.walls), [0] * len(room.walls)
    frames = [(0.0, 0.0, 0.0, 1.0, 0.0)] * len(room.walls)
    for item, own in zip(room.objects, room.parts, strict=True):
        x, y, _ = item.center
        parts += own
        instances += [item.id] * len(own)
        frames += [(x, y, bottom(item), math.cos(item.yaw), math.sin(item.yaw))] * len(own)
    points, faces, part_of = mesh(parts, np.array(frames))
    surfaces = open3d.t.geometry.RaycastingScene()
    surfaces.add_triangles(open3d.core.Tensor(points), open3d.core.Tensor(faces))
    lamp, strength, ambient, tint = light(room)
    a, b, c = points[faces].transpose(1, 0, 2)
    normals = np.cross(b - a, c - a)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    bright = ambient + strength * (0.5 + 0.5 * (normals @ lamp)) + 0.08 * normals[:, 2]
    colours = np.array([part.paint.colour for part in parts], dtype=np.float32).T.copy()
    return Model(
        surfaces=surfaces,
        part_of=part_of,
        bright=bright.astype(np.float32),
        instances=np.array(instances, dtype=np.int32),
        colours=colours,
        seconds=second_tone(colours).astype(np.float32),
        patterns=np.array([PATTERNS.index(part.paint.pattern) for part in parts], dtype=np.int8),
        frames=np.array(frames, dtype=np.float32).T.copy(),
        tint=tint[:, None],
        shadow=contact_shadow(room, lamp),
        half=np.array(room.size[:2], dtype=np.float32)[:, None] / 2,
    )
