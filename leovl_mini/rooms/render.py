"""Render a room as posed RGB-D frames with instance masks, by ray casting (Open3D)."""

import math

import numpy as np
import torch

from leovl_mini.open3d_headless import open3d
from leovl_mini.rooms.furniture import Part
from leovl_mini.rooms.layout import Room, corners
from leovl_mini.scene import Scene

LIGHT = np.array([0.35, -0.45, 0.82], dtype=np.float32) / np.linalg.norm([0.35, -0.45, 0.82])


def render(room: Room, views: int = 8, size: tuple[int, int] = (192, 256), field_of_view: float = 70.0) -> Scene:
    """``views`` frames of ``size`` (height, width) from cameras that walk around the room and look across it.

    ``field_of_view`` is horizontal, in degrees. Instance 0 is floor, walls and ceiling; object ids start at 1.
    """
    height, width = size
    focal = width / 2 / math.tan(math.radians(field_of_view) / 2)
    K = np.array([[focal, 0, width / 2 - 0.5], [0, focal, height / 2 - 0.5], [0, 0, 1]], dtype=np.float32)
    poses = camera_path(room, views)
    depth, instances, rgb = cast(room, K, poses, size)
    return Scene(
        rgb=torch.from_numpy(rgb),
        depth=torch.from_numpy(depth),
        intrinsics=torch.from_numpy(np.tile(K, (views, 1, 1))),
        camera_to_world=torch.from_numpy(poses),
        instances=torch.from_numpy(instances),
        objects=room.objects,
        name=f"room-{room.seed}",
        frame_names=[f"{i:03d}" for i in range(views)],
    )


def camera_path(room: Room, views: int) -> np.ndarray:
    """Camera-to-world poses (V,4,4): a walk around the room at eye height, looking over its middle and slightly down."""
    rng = np.random.default_rng((room.seed, 1))
    tall = [o for o in room.objects if o.center[2] + o.size[2] / 2 > 1.3]
    poses = []
    for i in range(views):
        for _ in range(50):  # do not stand inside a bookshelf
            angle = 2 * math.pi * (i + rng.uniform(-0.25, 0.25)) / views
            radius = rng.uniform(0.6, 0.85) * np.array(room.size[:2]) / 2
            eye = np.array([*(radius * [math.cos(angle), math.sin(angle)]), rng.uniform(1.4, 1.65)])
            if not any((np.abs(eye[:2] - corners(o).mean(0)) < np.ptp(corners(o, 0.35), axis=0) / 2).all() for o in tall):
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


def cast(room: Room, K: np.ndarray, poses: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth (V,H,W) metres, instances (V,H,W) int32 and shaded colour (V,H,W,3) uint8."""
    world, ids, colours = build(room)
    v, u = np.meshgrid(np.arange(size[0]), np.arange(size[1]), indexing="ij")
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(K).T  # z = 1, so the hit distance is the z-depth
    directions = np.einsum("vij,hwj->vhwi", poses[:, :3, :3], rays)
    origins = np.broadcast_to(poses[:, None, None, :3, 3], directions.shape)
    hit = world.cast_rays(open3d.core.Tensor(np.concatenate([origins, directions], -1).astype(np.float32)))
    t, part = hit["t_hit"].numpy(), hit["geometry_ids"].numpy()
    miss = ~np.isfinite(t)
    depth = np.where(miss, 0, t).astype(np.float32)
    part = np.where(miss, 0, part)
    points = origins + depth[..., None] * directions
    rgb = shade(colours[part], points, hit["primitive_normals"].numpy(), part)
    return depth, ids[part].astype(np.int32), np.where(miss[..., None], 0, rgb).astype(np.uint8)


def shade(colour: np.ndarray, points: np.ndarray, normals: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Diffuse light from above, floor boards, and a fine grain that depends on the place alone (so views agree)."""
    boards = ((points[..., 1] / 0.14).astype(int) % 3 - 1) * 0.05 * (part == 0)
    grain = 0.03 * np.sin(points @ [61.0, 47.0, 83.0]) * np.sin(points @ [-29.0, 71.0, 37.0])
    facing = np.abs(normals @ LIGHT) * 0.35 + np.abs(normals[..., 2]) * 0.2
    return (255 * (colour * (0.5 + facing + boards + grain)[..., None]).clip(0, 1)).round()


def build(room: Room):
    """The ray casting scene, the instance id of each geometry and its colour; the first six geometries are the room itself."""
    world = open3d.t.geometry.RaycastingScene()
    (w, d, h), t = room.size, 0.1
    white = (0.93, 0.93, 0.92)
    shell = [Part((0.0, 0.0, -t / 2), (w + t, d + t, t), room.floor_colour), Part((0.0, 0.0, h + t / 2), (w + t, d + t, t), white)]
    shell += [Part((s * (w + t) / 2, 0.0, h / 2), (t, d + 2 * t, h), room.wall_colour) for s in (-1.0, 1.0)]
    shell += [Part((0.0, s * (d + t) / 2, h / 2), (w + 2 * t, t, h), room.wall_colour) for s in (-1.0, 1.0)]
    ids, colours = [], []
    for part in shell:
        world.add_triangles(mesh(part, np.eye(4)))
        ids.append(0)
        colours.append(part.colour)
    for item, parts in zip(room.objects, room.parts, strict=True):
        cos, sin = math.cos(item.yaw), math.sin(item.yaw)
        x, y, z = item.center
        pose = np.array([[cos, -sin, 0, x], [sin, cos, 0, y], [0, 0, 1, z - item.size[2] / 2], [0, 0, 0, 1]])
        for part in parts:
            world.add_triangles(mesh(part, pose))
            ids.append(item.id)
            colours.append(part.colour)
    return world, np.array(ids), np.array(colours)


def mesh(part: Part, pose: np.ndarray):
    """One part as an Open3D triangle mesh in the world."""
    if part.round:
        shape = open3d.geometry.TriangleMesh.create_cylinder(part.size[0] / 2, part.size[2], 24, 1)
    else:
        shape = open3d.geometry.TriangleMesh.create_box(*part.size).translate(-np.array(part.size) / 2)
    shape.translate(part.center).transform(pose)
    return open3d.t.geometry.TriangleMesh.from_legacy(shape)
