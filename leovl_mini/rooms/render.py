"""Render a room as posed RGB-D frames with instance masks, by ray casting (Open3D)."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from leovl_mini.data.open3d_headless import open3d
from leovl_mini.rooms.parts import Part
from leovl_mini.rooms.room import Room, corners
from leovl_mini.scans.scene import Scene

LUMINANCE = np.array([0.30, 0.59, 0.11], dtype=np.float32)


PATTERNS = ("plain", "stripes", "checks", "wood", "tiles", "carpet", "weave")


PERIOD = 0.15  # m, of stripes and checks: some pixels wide at 4 m


BOARD, TILE = 0.14, 0.4  # m, width of floor boards and tiles


CELL, BORDER = 0.02, 10  # m per cell of the floor's shadow, and cells of wall around it


# outlines (radius, height) that are turned about the z axis, in a box of side 1 around the origin
OUTLINES = {
    "cylinder": [(0, -0.5), (0.5, -0.5), (0.5, 0.5), (0, 0.5)],
    "sphere": [
        (0.5 * math.cos(a), 0.5 * math.sin(a)) for a in np.linspace(-math.pi / 2, math.pi / 2, 11)
    ],
    "cone": [(0, -0.5), (0.5, -0.5), (0.28, 0.5), (0, 0.5)],
    "cup": [
        (0, -0.5),
        (0.44, -0.5),
        (0.5, -0.3),
        (0.5, 0.5),
        (0.44, 0.5),
        (0.43, -0.2),
        (0.3, -0.35),
        (0, -0.38),
    ],
    "bowl": [
        (0, -0.5),
        (0.28, -0.5),
        (0.42, -0.1),
        (0.5, 0.5),
        (0.45, 0.5),
        (0.36, -0.05),
        (0.2, -0.35),
        (0, -0.38),
    ],
    "belly": [
        (0, -0.5),
        (0.3, -0.5),
        (0.46, -0.2),
        (0.5, 0.05),
        (0.44, 0.28),
        (0.25, 0.5),
        (0, 0.5),
    ],
}


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

    world: "open3d.t.geometry.RaycastingScene"
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


def render(
    room: Room, views: int = 8, size: tuple[int, int] = (192, 256), field_of_view: float = 70.0
) -> Scene:
    """``views`` frames of ``size`` (height, width) from cameras that walk around the room and look
    across it.

    ``field_of_view`` is horizontal, in degrees. Instance 0 is floor, walls and ceiling; object ids
    start at 1.
    """
    K, poses = intrinsics(size, field_of_view), camera_path(room, views)
    shot = shoot(room, K, poses, size)
    return Scene(
        rgb=torch.from_numpy(shot.rgb),
        depth=torch.from_numpy(shot.depth),
        intrinsics=torch.from_numpy(np.tile(K, (views, 1, 1))),
        camera_to_world=torch.from_numpy(poses),
        instances=torch.from_numpy(shot.instances),
        objects=room.objects,
        name=f"room-{room.seed}",
        frame_names=[f"{i:03d}" for i in range(views)],
    )


def intrinsics(size: tuple[int, int], field_of_view: float) -> np.ndarray:
    """Pinhole matrix (3,3) of square pixels; ``field_of_view`` horizontal, degrees."""
    height, width = size
    focal = width / 2 / math.tan(math.radians(field_of_view) / 2)
    return np.array(
        [[focal, 0, width / 2 - 0.5], [0, focal, height / 2 - 0.5], [0, 0, 1]], dtype=np.float32
    )


def camera_path(room: Room, views: int) -> np.ndarray:
    """Camera-to-world poses (V,4,4): a walk around the room at eye height, looking over its middle
    and slightly down.
    """
    rng = np.random.default_rng((room.seed, 1))
    tall = [o for o in room.objects if o.center[2] + o.size[2] / 2 > 1.3]
    poses = []
    for i in range(views):
        for _ in range(50):  # do not stand inside a bookshelf
            angle = 2 * math.pi * (i + rng.uniform(-0.25, 0.25)) / views
            radius = rng.uniform(0.6, 0.85) * np.array(room.size[:2]) / 2
            eye = np.array([*(radius * [math.cos(angle), math.sin(angle)]), rng.uniform(1.4, 1.65)])
            if not any(
                (np.abs(eye[:2] - corners(o).mean(0)) < np.ptp(corners(o, 0.35), axis=0) / 2).all()
                for o in tall
            ):
                break
        target = np.array([*(-0.35 * eye[:2] + rng.uniform(-0.5, 0.5, 2)), rng.uniform(0.5, 0.8)])
        poses.append(look_at(eye, target))
    return np.stack(poses).astype(np.float32)


def look_at(eye: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Camera-to-world (4,4) of an upright camera: x right, y down, z forward."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3] = np.stack([right, np.cross(forward, right), forward, eye], axis=1)
    return pose


def shoot(room: Room, K: np.ndarray, poses: np.ndarray, size: tuple[int, int]) -> Shot:
    """What cameras with pinhole matrix ``K`` (3,3) see from ``poses`` (V,4,4, camera to world) at
    ``size`` (height, width).
    """
    model, (height, width) = build(room), size
    v, u = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    rays = (np.linalg.inv(K) @ np.stack([u, v, np.ones_like(u)]).reshape(3, -1)).astype(
        np.float32
    )  # z = 1: hit distance = z-depth
    poses = poses.astype(np.float32)
    directions = poses[:, :3, :3] @ rays
    lines = np.empty((len(poses), height * width, 6), np.float32)
    lines[..., :3], lines[..., 3:] = poses[:, None, :3, 3], directions.transpose(0, 2, 1)
    hit = model.world.cast_rays(open3d.core.Tensor(lines))
    hits = zip(
        *(hit[name].numpy() for name in ("t_hit", "primitive_ids", "primitive_normals")),
        strict=True,
    )
    slant = np.sqrt((rays**2).sum(0))
    # view by view: small arrays stay in the processor's cache
    views = [
        shade(model, *view, slant) for view in zip(hits, directions, poses[:, :3, 3:], strict=True)
    ]
    return Shot(
        *(
            np.stack(c).reshape(len(poses), height, width, *c[0].shape[1:])
            for c in zip(*views, strict=True)
        )
    )


def shade(
    model: Model,
    hit: tuple[np.ndarray, ...],
    directions: np.ndarray,
    eye: np.ndarray,
    slant: np.ndarray,
):
    """The channels of a Shot for one camera's N rays: ``directions`` (3,N) of lengths ``slant``
    from ``eye`` (3,1).

    ``hit``: z-depth (N,), triangle (N,) and its normal (N,3).
    """
    depth, triangle, normals = hit
    seen = np.isfinite(depth)
    depth, triangle, normals = (
        np.where(seen, depth, np.float32(0)),
        np.where(seen, triangle, 0),
        normals.T.copy(),
    )
    points = directions * depth + eye
    part = model.part_of.take(triangle)
    instance, paint = (
        model.instances.take(part) * seen,
        painted(model, part, points, normals) * seen,
    )
    bright = 255 * model.bright.take(triangle) * dimmed(model, instance, points, normals)
    rgb = np.minimum(paint * bright * model.tint, 255).astype(np.uint8).T
    return (
        depth,
        instance,
        rgb,
        np.abs((normals * directions).sum(0)) / slant * seen,
        LUMINANCE @ paint,
    )


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


def dimmed(
    model: Model, instance: np.ndarray, points: np.ndarray, normals: np.ndarray
) -> np.ndarray:
    """Factor (N,) by which walls are darker near the floor, and the floor near walls and under
    furniture.
    """
    factor = np.ones(len(instance), np.float32)
    floor = np.flatnonzero((instance == 0) & (normals[2] > 0.9) & (points[2] < 0.01))
    cell = ((points[:2].take(floor, axis=1) + model.half) / CELL).astype(np.intp)
    factor[floor] -= model.shadow[tuple(cell.clip(0, np.array([model.shadow.shape]).T - 1))]
    wall = np.flatnonzero((instance == 0) & (np.abs(normals[2]) < 0.1))
    factor[wall] -= 0.15 * np.exp(points[2].take(wall) / -0.12)
    return factor


def with_pattern(
    model: Model, part: np.ndarray, u: np.ndarray, v: np.ndarray, flat: np.ndarray
) -> np.ndarray:
    """Colours (3,N) of parts (N,) at ``u`` across and ``v`` up a surface (metres); ``flat``: it
    lies horizontally.
    """
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
    factor[wood] = (
        1
        + 0.05 * np.sin(13 * a + 3 * np.sin(2.1 * b + board))
        + 0.08 * np.sin(2.4 * board)
        - 0.2 * (a - board < 0.05)
    )
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
    return np.where(
        bright > 0.8, 0.66 * colour, np.where(bright < 0.12, np.float32(0.42), 0.35 * colour + 0.62)
    )


def light(room: Room) -> tuple[np.ndarray, float, float, np.ndarray]:
    """Direction to the lamp (3,), its strength, the ambient light and their tint (3,): they belong
    to the room's seed.
    """
    rng = np.random.default_rng((room.seed, 2))
    angle, slope, strength, ambient, warm = rng.uniform(
        [0, 0.5, 0.30, 0.60, -0.06], [2 * math.pi, 1.1, 0.40, 0.70, 0.06]
    )
    lamp = np.array(
        [math.cos(angle) * math.cos(slope), math.sin(angle) * math.cos(slope), math.sin(slope)]
    )
    return lamp, strength, ambient, np.array([1 + warm, 1, 1 - warm], dtype=np.float32)


def contact_shadow(room: Room, lamp: np.ndarray) -> np.ndarray:
    """Darkness (X,Y) of the floor near walls and under furniture: blurred footprints, moved a
    little away from the lamp.
    """
    cells = [math.ceil(s / CELL) + 2 * BORDER for s in room.size[:2]]
    covered = np.ones(cells, np.float32)
    covered[BORDER:-BORDER, BORDER:-BORDER] = 0
    x, y = (
        (np.arange(n) - BORDER + 0.5) * CELL - s / 2
        for n, s in zip(cells, room.size[:2], strict=True)
    )
    for item in room.objects:
        if item.center[2] - item.size[2] / 2 < 0.05:
            middle, reach = (
                np.array(item.center[:2]) - 0.08 * lamp[:2],
                math.hypot(*item.size[:2]) / 2,
            )
            columns, rows = (
                slice(*np.searchsorted(axis, [m - reach, m + reach]))
                for axis, m in zip((x, y), middle, strict=True)
            )
            dx, dy = x[columns, None] - middle[0], y[None, rows] - middle[1]
            cos, sin = math.cos(item.yaw), math.sin(item.yaw)
            across, along = np.abs(dx * cos + dy * sin), np.abs(dy * cos - dx * sin)
            covered[columns, rows][(across < item.size[0] / 2) & (along < item.size[1] / 2)] = 1
    return (
        0.4
        * ndimage.gaussian_filter(covered, 0.09 / CELL, truncate=2.5)[
            BORDER:-BORDER, BORDER:-BORDER
        ]
    )


def build(room: Room) -> Model:
    """Merge walls and objects into one mesh and light it."""
    parts, instances, frames = (
        list(room.walls),
        [0] * len(room.walls),
        [(0.0, 0.0, 0.0, 1.0, 0.0)] * len(room.walls),
    )
    for item, own in zip(room.objects, room.parts, strict=True):
        x, y, z = item.center
        parts += own
        instances += [item.id] * len(own)
        frames += [(x, y, z - item.size[2] / 2, math.cos(item.yaw), math.sin(item.yaw))] * len(own)
    points, faces, part_of = merge(parts, np.array(frames))
    world = open3d.t.geometry.RaycastingScene()
    world.add_triangles(open3d.core.Tensor(points), open3d.core.Tensor(faces))
    lamp, strength, ambient, tint = light(room)
    a, b, c = points[faces].transpose(1, 0, 2)
    normals = np.cross(b - a, c - a)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    colours = np.array([part.paint.colour for part in parts], dtype=np.float32).T.copy()
    return Model(
        world=world,
        part_of=part_of,
        bright=(ambient + strength * (0.5 + 0.5 * (normals @ lamp)) + 0.08 * normals[:, 2]).astype(
            np.float32
        ),
        instances=np.array(instances, dtype=np.int32),
        colours=colours,
        seconds=second_tone(colours).astype(np.float32),
        patterns=np.array([PATTERNS.index(part.paint.pattern) for part in parts], dtype=np.int8),
        frames=np.array(frames, dtype=np.float32).T.copy(),
        tint=tint[:, None],
        shadow=contact_shadow(room, lamp),
        half=np.array(room.size[:2], dtype=np.float32)[:, None] / 2,
    )


def merge(parts: list[Part], frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (n,3) in the world, triangles (T,3), and each triangle's part (T,); all parts of a
    shape are made at once.
    """
    shapes = np.array([part.shape for part in parts])
    size, center = (
        np.array([part.size for part in parts]),
        np.array([part.center for part in parts]),
    )
    points, faces, part_of, count = [], [], [], 0
    for shape in np.unique(shapes):
        index = np.flatnonzero(shapes == shape)
        corners, triangles = UNITS[shape]
        own_x, own_y, own_z = np.moveaxis(corners * size[index, None] + center[index, None], -1, 0)
        x, y, z, cos, sin = frames[index].T[..., None]
        points.append(
            np.stack(
                [x + own_x * cos - own_y * sin, y + own_x * sin + own_y * cos, z + own_z], -1
            ).reshape(-1, 3)
        )
        faces.append(
            (triangles + count + len(corners) * np.arange(len(index))[:, None, None]).reshape(-1, 3)
        )
        part_of.append(np.repeat(index, len(triangles)))
        count += len(points[-1])
    return (
        np.concatenate(points).astype(np.float32),
        np.concatenate(faces).astype(np.uint32),
        np.concatenate(part_of),
    )


def turned(outline: list, sides: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (n,3) and triangles (m,3) of an outline (radius, height) that is turned about the z
    axis.
    """
    angle = 2 * math.pi * np.arange(sides) / sides
    vertices = np.array([(r * math.cos(a), r * math.sin(a), z) for r, z in outline for a in angle])
    i, j = np.meshgrid(np.arange(len(outline) - 1) * sides, np.arange(sides), indexing="ij")
    a, b = (i + j).ravel(), (i + (j + 1) % sides).ravel()
    faces = np.concatenate(
        [np.stack([a, b, b + sides], -1), np.stack([a, b + sides, a + sides], -1)]
    )
    p, q, r = vertices[faces].transpose(1, 0, 2)
    return vertices, faces[
        np.linalg.norm(np.cross(q - p, r - p), axis=1) > 1e-9
    ]  # a triangle at the axis may have no area


def cube() -> tuple[np.ndarray, np.ndarray]:
    """The same of a box of side 1."""
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    quads = np.array(
        [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    )
    return corners, np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


UNITS = {"box": cube(), **{name: turned(outline) for name, outline in OUTLINES.items()}}
