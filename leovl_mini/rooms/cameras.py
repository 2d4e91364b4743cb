"""Four ways to record a room. Each imitates the capture style of one data set (it is not that data
set):

- ``scannet``: handheld, landscape; a structured-light sensor with noise that grows with the
  distance, and holes on dark, slanted and half-hidden surfaces
- ``rscan``: 3RScan; a phone held upright; the same room is scanned again after things have moved
  (number 2k, then 2k + 1)
- ``multiscan``: two rooms in one scan, with doors and drawers open or closed; a tablet at the level
  of the chest
- ``arkitscenes``: a phone held upright, turning near the middle of the room; LiDAR depth that
  rounds edges off

Explained in notebook 01 (RGB-D frames and cameras).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from leovl_mini.rooms.layout import make_room, rearrange
from leovl_mini.rooms.render import Shot, shoot
from leovl_mini.rooms.room import Area, Room, free_floor
from leovl_mini.scans.scene import Scene


@dataclass(frozen=True)
class Domain:
    """``size`` (height, width) in pixels, horizontal ``field_of_view`` and largest ``roll`` in
    degrees; ``reach`` is the distance of the cameras from the area's middle (1 = at the wall);
    ``eye`` and ``target`` are heights in metres.
    """

    size: tuple[int, int]
    field_of_view: float
    reach: tuple[float, float]
    eye: tuple[float, float]
    target: tuple[float, float]
    roll: float
    sensor: Callable[[Shot, np.random.Generator], np.ndarray]


def structured_light(shot: Shot, rng: np.random.Generator) -> np.ndarray:
    """Axial noise after Nguyen et al. 2012, disparity in steps of 1/8 pixel, and no answer where
    the pattern is not seen.
    """
    z = shot.depth
    noisy = z + rng.normal(size=z.shape).astype(np.float32) * (0.0012 + 0.0019 * (z - 0.4) ** 2)
    disparity = 570 * 0.075 / noisy.clip(0.1)  # pixels: focal length times baseline over depth
    measured = 570 * 0.075 / (np.round(8 * disparity).clip(1) / 8)
    blotches = ndimage.zoom(
        rng.random((len(z), z.shape[1] // 8, z.shape[2] // 8), dtype=np.float32), (1, 8, 8), order=1
    )
    dark = (shot.albedo < 0.12) & (blotches < 0.5)
    shadow = np.roll(z, 4, axis=2) < z - 0.15  # the projector stands beside the camera
    return np.where((shot.facing < 0.2) | dark | shadow | (z > 6), 0, measured)


def time_of_flight(shot: Shot, rng: np.random.Generator) -> np.ndarray:
    """Half the resolution, one percent of noise, nothing beyond 4.5 m, and single pixels lost."""
    coarse = shot.depth[:, ::2, ::2]
    coarse = coarse * (1 + 0.01 * rng.normal(size=coarse.shape).astype(np.float32))
    lost = (
        (rng.random(coarse.shape, dtype=np.float32) < 0.03)
        | (coarse > 4.5)
        | (shot.facing[:, ::2, ::2] < 0.12)
    )
    return np.where(lost, 0, coarse).repeat(2, axis=1).repeat(2, axis=2)


def tablet(shot: Shot, rng: np.random.Generator) -> np.ndarray:
    """Dense and clean within 5 m."""
    noisy = shot.depth * (1 + 0.004 * rng.normal(size=shot.depth.shape).astype(np.float32))
    return np.where(noisy > 5, 0, noisy)


def lidar(shot: Shot, rng: np.random.Generator) -> np.ndarray:
    """Few true measurements spread over the image: edges come out rounded; the least certain ones
    are dropped.
    """
    smooth = ndimage.gaussian_filter(shot.depth, (0, 1.6, 1.6))
    jump = ndimage.maximum_filter(shot.depth, (1, 5, 5)) - ndimage.minimum_filter(
        shot.depth, (1, 5, 5)
    )
    noisy = smooth * (1 + 0.003 * rng.normal(size=smooth.shape).astype(np.float32))
    return np.where((jump > 0.6) | (noisy > 5), 0, noisy)


def exact(shot: Shot, rng: np.random.Generator) -> np.ndarray:
    """No faults at all: for measurements, and to see what a sensor does."""
    return shot.depth


DOMAINS = {
    "scannet": Domain(
        (192, 256), 66.0, (0.60, 0.95), (1.35, 1.65), (0.45, 0.85), 5.0, structured_light
    ),
    "rscan": Domain((256, 192), 56.0, (0.75, 1.0), (1.45, 1.65), (0.40, 0.70), 3.0, time_of_flight),
    "multiscan": Domain((192, 256), 74.0, (0.70, 0.95), (1.25, 1.45), (0.55, 0.90), 1.0, tablet),
    "arkitscenes": Domain((256, 192), 62.0, (0.30, 0.75), (1.40, 1.60), (0.50, 0.80), 2.0, lidar),
}


def domain_room(domain: str, number: int, novel: bool = False) -> Room:
    """Room ``number`` of a domain. No two domains share a room."""
    if domain not in DOMAINS:
        raise ValueError(f"unknown domain {domain!r}; choose one of {', '.join(DOMAINS)}")
    seed = 4 * number + list(DOMAINS).index(domain)
    if domain == "rscan":
        first = make_room(4 * (number // 2) + 1, novel=novel)
        return rearrange(first, seed) if number % 2 else first
    if domain == "multiscan":
        return make_room(seed, areas=2, states=True, novel=novel)
    return make_room(seed, novel=novel)


def look_at(eye: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Camera-to-world (4,4) of an upright camera: x right, y down, z forward."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3] = np.stack([right, np.cross(forward, right), forward, eye], axis=1)
    return pose


def intrinsics(size: tuple[int, int], field_of_view: float) -> np.ndarray:
    """Pinhole matrix (3,3) of square pixels for a ``size`` (height, width); ``field_of_view``
    horizontal, degrees.
    """
    height, width = size
    focal = width / 2 / math.tan(math.radians(field_of_view) / 2)
    return np.array(
        [[focal, 0, width / 2 - 0.5], [0, focal, height / 2 - 0.5], [0, 0, 1]], dtype=np.float32
    )


def place_cameras(
    room: Room, style: str | Domain, views: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Camera matrix (3,3) and camera-to-world poses (V,4,4): standing on free floor, looking across
    the area's middle, one area after the other.
    """
    style = DOMAINS.get(style, style)
    rng = np.random.default_rng((room.seed, seed, 3))
    floors = []
    for area in room.areas:
        points, free = free_floor(room.objects, area, 0.25)
        floors.append(points[free] if free.any() else np.array([area.center]))
    start, poses = rng.uniform(0, 2 * math.pi), []
    for i in range(views):
        which = i * len(room.areas) // views
        angle = start + 2 * math.pi * (i * len(room.areas) / views + rng.uniform(-0.04, 0.04))
        poses.append(hold_camera(style, room.areas[which], floors[which], angle, rng))
    K = intrinsics(style.size, style.field_of_view)
    return K, np.stack(poses).astype(np.float32)


def hold_camera(
    style: Domain, area: Area, floor: np.ndarray, angle: float, rng: np.random.Generator
) -> np.ndarray:
    """A pose (4,4) on the point of ``floor`` (N,2) nearest to where the ``angle`` leads, looking
    over the area's middle, with the hand's roll.
    """
    outward = np.array([math.cos(angle), math.sin(angle)])
    wish = area.center + outward * np.array(area.size) / 2 * rng.uniform(*style.reach)
    stand = floor[np.linalg.norm(floor - wish, axis=1).argmin()]
    across = area.center - 0.4 * (stand - area.center) + rng.uniform(-0.4, 0.4, 2)
    if np.linalg.norm(across - stand) < 0.5:
        across = stand + 2 * (area.center - wish)
    eye = np.array([*stand, rng.uniform(*style.eye)])
    pose = look_at(eye, np.array([*across, rng.uniform(*style.target)]))
    roll = math.radians(rng.uniform(-style.roll, style.roll))
    cos, sin = math.cos(roll), math.sin(roll)
    pose[:3, :3] = pose[:3, :3] @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    return pose


def record(
    room: Room,
    style: str | Domain,
    views: int = 8,
    name: str = "room",
    seed: int = 0,
    cameras: tuple[np.ndarray, np.ndarray] | None = None,
) -> Scene:
    """Walk through the room with the sensor of a domain, one of ``DOMAINS`` or your own: V frames
    with instance masks, in which 0 is floor, walls and ceiling. The same arguments give the same
    frames.

    ``cameras``: their matrix (3,3) and poses (V,4,4); without them, those of ``place_cameras``.
    """
    style = DOMAINS.get(style, style)
    K, poses = cameras or place_cameras(room, style, views, seed)
    rng = np.random.default_rng((room.seed, seed, 4))
    shot = shoot(room, K, poses, style.size)
    depth = np.where(shot.depth > 0, style.sensor(shot, rng), 0).astype(np.float32)
    exposure = rng.uniform(0.85, 1.12, (len(poses), 1, 1, 1))
    return Scene(
        rgb=torch.from_numpy((shot.rgb * exposure).clip(0, 255).astype(np.uint8)),
        depth=torch.from_numpy(depth),
        intrinsics=torch.from_numpy(np.tile(K, (len(poses), 1, 1))),
        camera_to_world=torch.from_numpy(poses),
        instances=torch.from_numpy(shot.instances),
        objects=room.objects,
        name=name,
        frame_names=[f"{i:03d}" for i in range(len(poses))],
    )
