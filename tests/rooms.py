"""A room whose every depth and colour is known exactly, made without the package's geometry, and a
writer for each file format.

The writers share no code with the package: they are the oracle of its readers. They write what real
scans have and the package's own exporters do not: colour of another resolution, other PGM headers,
time stamps that differ, frames left out.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

# lower and upper corner in metres, z up, the floor at z = 0
ROOM = np.array([[0, 0, 0], [4, 5, 2.5]])
BOX = np.array([[1.2, 2.2, 0], [2.0, 3.0, 0.7]])


def moved(rotation, translation=(0.3, -0.8, 1.1)) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, translation
    return pose


# capture_from_room: how the capture's own world stands to the z-up room
WORLDS = {
    "z-up": np.eye(4),
    "y-up": moved([[1, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "y-down": moved([[1, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "z-down": moved([[1, 0, 0], [0, -1, 0], [0, 0, -1]]),
    "tilted": moved(Rotation.from_rotvec([0.5, -0.9, 0.4]).as_matrix()),
}


class Room(NamedTuple):
    rgb: np.ndarray  # (V,H,W,3) uint8
    depth: np.ndarray  # (V,H,W) float32 metres, 0 = none
    K: np.ndarray  # (3,3)
    camera_to_world: np.ndarray  # (V,4,4)

    def points(self) -> np.ndarray:
        """Where each pixel's surface is (V,H,W,3), in the world of the poses."""
        pairs = zip(self.depth, self.camera_to_world, strict=True)
        return np.stack([back_projected(depth, self.K, pose) for depth, pose in pairs])

    def only(self, frames: list[int]) -> "Room":
        return Room(self.rgb[frames], self.depth[frames], self.K, self.camera_to_world[frames])


def camera(
    width: int, height: int, focal: float = 0.8, centre: tuple[float, float] = (0.51, 0.48)
) -> np.ndarray:
    """The same camera at any size: focal length in image widths, centre in image sizes from the
    corner of the first pixel.
    """
    f, cx, cy = focal * width, centre[0] * width - 0.5, centre[1] * height - 0.5
    return np.array([[f, 0, cx], [0, f, cy], [0, 0, 1]])


def look(position, yaw: float, pitch: float = -25.0) -> np.ndarray:
    """The pose of a camera at ``position``, turned ``yaw`` degrees from +x to +y and ``pitch``
    degrees up.
    """
    a, b = np.radians([yaw, pitch])
    forward = np.array([np.cos(a) * np.cos(b), np.sin(a) * np.cos(b), np.sin(b)])
    right = np.array([np.sin(a), -np.cos(a), 0])
    return moved(np.stack([right, np.cross(forward, right), forward], axis=1), position)


def look_around(views: int) -> np.ndarray:
    """Poses on a circle about the middle of the room, looking across it."""
    yaws = np.linspace(0, 360, views, endpoint=False) + 20
    centre, radians = np.array([2, 2.5, 1.5]), np.radians(yaws)
    return np.stack(
        [
            look(centre - 1.2 * np.array([np.cos(a), np.sin(a), 0]), yaw)
            for a, yaw in zip(radians, yaws, strict=True)
        ]
    )


def distances(scene, room: Room) -> np.ndarray:
    """How far (metres) each measured point of a loaded scene lies from where it is in the
    capture's own world.
    """
    poses = np.linalg.inv(scene.world_from_capture.numpy()) @ scene.camera_to_world.numpy()
    loaded = Room(scene.rgb.numpy(), scene.depth.numpy(), scene.intrinsics[0].numpy(), poses)
    return np.linalg.norm(loaded.points() - room.points(), axis=-1)[room.depth > 0]


def colour_at(points: np.ndarray) -> np.ndarray:
    """A smooth colour for every place in the room."""
    phase = points @ np.array([[1.1, 0.5, -0.4], [0.7, -1.2, 0.9], [0.6, 1.0, 1.3]]).T
    return (127 + 100 * np.sin(phase)).round().astype(np.uint8)


def back_projected(depth: np.ndarray, K: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """World points (H,W,3) of one depth image."""
    v, u = np.indices(depth.shape)
    rays = np.stack(
        [(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones(depth.shape)], axis=-1
    )
    return (depth[..., None] * rays) @ pose[:3, :3].T + pose[:3, 3]


def ray_depth(K: np.ndarray, pose: np.ndarray, width: int, height: int) -> np.ndarray:
    """Exact z-depth (H,W): the nearest of the walls, seen from inside, and the box, seen from
    outside.
    """
    # z = 1 in the camera, so lengths are z-depths
    rays = back_projected(np.ones((height, width)), K, pose) - pose[:3, 3]
    rays = np.where(np.abs(rays) < 1e-12, 1e-12, rays)
    to_room, to_box = ((corners[:, None, None] - pose[:3, 3]) / rays for corners in (ROOM, BOX))
    wall = to_room.max(0).min(-1)
    enter, leave = to_box.min(0).max(-1), to_box.max(0).min(-1)
    return np.where((enter > 0) & (enter < leave), enter, wall)


def box_scene(
    views: int = 8,
    width: int = 64,
    height: int = 48,
    poses: np.ndarray | None = None,
    K: np.ndarray | None = None,
    world: np.ndarray | str = "z-up",
) -> Room:
    """Views of the room, all of them with a small corner without depth. ``world`` turns the world
    the poses are given in.
    """
    poses = look_around(views) if poses is None else poses
    K = camera(width, height) if K is None else K
    depth = np.stack([ray_depth(K, pose, width, height) for pose in poses])
    rgb = np.stack(
        [colour_at(back_projected(d, K, pose)) for d, pose in zip(depth, poses, strict=True)]
    )
    depth[:, : height // 10, : width // 10] = 0
    capture_from_room = WORLDS[world] if isinstance(world, str) else world
    return Room(rgb, depth.astype(np.float32), K, capture_from_room @ poses)


def save_depth(path: Path, depth: np.ndarray, scale: float, hole: int = 0) -> None:
    """A 16-bit PNG with ``scale`` values per metre."""
    Image.fromarray(np.where(depth > 0, (depth * scale).round(), hole).astype(np.uint16)).save(path)


def write_plain(path: Path, rgb, depth, K, camera_to_world) -> Path:
    for folder in ("images", "depth"):
        (path / folder).mkdir(parents=True)
    names = [f"{i:05d}.png" for i in range(len(rgb))]
    for name, image, d in zip(names, rgb, depth, strict=True):
        Image.fromarray(image).save(path / "images" / name)
        save_depth(path / "depth" / name, d, 1000)
    (path / "frames.txt").write_text("".join(name + "\n" for name in names))
    np.savetxt(path / "poses.txt", camera_to_world.reshape(-1, 16))
    np.savetxt(path / "K.txt", K)
    return path


def write_seven_scenes(
    path: Path, rgb, depth, K, camera_to_world, tsdf_fusion: bool = False
) -> Path:
    """7-Scenes has no calibration file; tsdf-fusion adds ``camera-intrinsics.txt`` and writes 0 for
    holes.
    """
    path.mkdir(parents=True)
    for i, (image, d, pose) in enumerate(zip(rgb, depth, camera_to_world, strict=True)):
        Image.fromarray(image).save(path / f"frame-{i:06d}.color.png")
        save_depth(path / f"frame-{i:06d}.depth.png", d, 1000, hole=0 if tsdf_fusion else 65535)
        np.savetxt(path / f"frame-{i:06d}.pose.txt", pose, fmt="%.7e", delimiter="\t ")
    if tsdf_fusion:
        np.savetxt(path / "camera-intrinsics.txt", K, fmt="%.6e")
    return path


def write_tum(path: Path, rgb, depth, K, camera_to_world, scale: float = 5000) -> Path:
    """30 images per second; the depth camera's clock is 11 ms late and the tracker's 6 ms early."""
    lines = {
        "rgb": ["# color images", "# file: 'box_scene.bag'", "# timestamp filename"],
        "depth": ["# depth maps", "# file: 'box_scene.bag'", "# timestamp filename"],
        "groundtruth": [
            "# ground truth trajectory",
            "# file: 'box_scene.bag'",
            "# timestamp tx ty tz qx qy qz qw",
        ],
    }
    for folder in ("rgb", "depth"):
        (path / folder).mkdir(parents=True)
    for i, (image, d, pose) in enumerate(zip(rgb, depth, camera_to_world, strict=True)):
        time = 1305031102.175304 + i / 30
        names = {"rgb": f"rgb/{time:.6f}.png", "depth": f"depth/{time + 0.011:.6f}.png"}
        Image.fromarray(image).save(path / names["rgb"])
        save_depth(path / names["depth"], d, scale)
        lines["rgb"].append(f"{time:.6f} {names['rgb']}")
        lines["depth"].append(f"{time + 0.011:.6f} {names['depth']}")
        numbers = [*pose[:3, 3], *Rotation.from_matrix(pose[:3, :3]).as_quat()]  # x y z w
        lines["groundtruth"].append(f"{time - 0.006:.4f} " + " ".join(f"{x:.4f}" for x in numbers))
    for name, rows in lines.items():
        (path / f"{name}.txt").write_text("\n".join(rows) + "\n")
    np.savetxt(path / "K.txt", K)  # the reader takes it before the data set's published cameras
    return path


def resized(images: np.ndarray, width: int, height: int) -> list[Image.Image]:
    return [
        Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC) for image in images
    ]


def write_scannet(path: Path, rgb, depth, K, camera_to_world) -> Path:
    """As SensReader exports: colour has twice the resolution of depth; frames are numbered 0, 1,
    ... 10, 11.
    """
    for folder in ("color", "depth", "pose", "intrinsic"):
        (path / folder).mkdir(parents=True)
    height, width = depth.shape[1:]
    for i, (image, d, pose) in enumerate(
        zip(resized(rgb, 2 * width, 2 * height), depth, camera_to_world, strict=True)
    ):
        image.save(path / "color" / f"{i}.jpg", quality=98, subsampling=0)
        save_depth(path / "depth" / f"{i}.png", d, 1000)
        np.savetxt(path / "pose" / f"{i}.txt", pose, fmt="%.6f")
    twice = np.diag([2.0, 2, 1]) @ K + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    for name, matrix in (("color", twice), ("depth", K)):
        np.savetxt(
            path / "intrinsic" / f"intrinsic_{name}.txt",
            np.block([[matrix, np.zeros((3, 1))], [0, 0, 0, 1]]),
            fmt="%.6f",
        )
    return path


def write_rscan(path: Path, rgb, depth, K, camera_to_world, maximum: int = 65535) -> Path:
    """``path`` is the scan; its ``sequence`` folder holds the frames. Depth maps are big-endian PGM
    files.
    """
    folder = path / "sequence"
    folder.mkdir(parents=True)
    height, width = depth.shape[1:]
    for i, (image, d, pose) in enumerate(zip(rgb, depth, camera_to_world, strict=True)):
        Image.fromarray(image).save(folder / f"frame-{i:06d}.color.jpg", quality=98, subsampling=0)
        header = f"P5\n{width} {height}\n{maximum}\n".encode()
        (folder / f"frame-{i:06d}.depth.pgm").write_bytes(
            header + (d * 1000).round().astype(">u2").tobytes()
        )
        np.savetxt(folder / f"frame-{i:06d}.pose.txt", pose, fmt="%.7f")
    numbers = " ".join(f"{x:.6f}" for x in np.block([[K, np.zeros((3, 1))], [0, 0, 0, 1]]).ravel())
    lines = ["m_versionNumber = 4", "m_sensorName = TangoSensor"]
    for name in ("color", "depth"):
        lines += [
            f"m_{name}Width = {width}",
            f"m_{name}Height = {height}",
            f"m_calibration{name.title()}Intrinsic = {numbers} ",
        ]
    (folder / "_info.txt").write_text(
        "\n".join([*lines, "m_depthShift = 1000", f"m_frames.size = {len(rgb)}"]) + "\n"
    )
    return path


def write_arkitscenes(path: Path, rgb, depth, K, camera_to_world) -> Path:
    """Poses world-to-camera as axis-angle rows; a pose for every frame, and two rows in between
    that no image belongs to.
    """
    for folder in ("lowres_wide", "lowres_depth", "lowres_wide_intrinsics"):
        (path / folder).mkdir(parents=True)
    rows, (height, width) = [], depth.shape[1:]
    for i, (image, d, pose) in enumerate(zip(rgb, depth, camera_to_world, strict=True)):
        time = 305.433 + 0.1 * i
        name = f"41069021_{time:.3f}"
        Image.fromarray(image).save(path / "lowres_wide" / f"{name}.png")
        save_depth(path / "lowres_depth" / f"{name}.png", d, 1000)
        # every second calibration is named a millisecond late
        late = f"41069021_{time + 0.001 * (i % 2):.3f}"
        numbers = (width, height, K[0, 0], K[1, 1], K[0, 2], K[1, 2])
        (path / "lowres_wide_intrinsics" / f"{late}.pincam").write_text(
            " ".join(f"{x:.6f}" for x in numbers)
        )
        world_to_camera = np.linalg.inv(pose)
        row = [
            time + 0.0004,
            *Rotation.from_matrix(world_to_camera[:3, :3]).as_rotvec(),
            *world_to_camera[:3, 3],
        ]
        rows += [row, [time + 0.05, 0, 0, 0, 0, 0, 0]]
    (path / "lowres_wide.traj").write_text(
        "".join(" ".join(f"{x:.8f}" for x in row) + "\n" for row in rows)
    )
    return path


def write_multiscan(path: Path, rgb, depth, K, camera_to_world, step: int = 1) -> Path:
    """ARKit cameras (y up, z backward), column by column, for every frame of the stream; every
    ``step``-th one was exported.

    The intrinsics belong to a stream of three times the resolution, as ``SCAN.json`` says.
    """
    for folder in ("color", "depth"):
        (path / folder).mkdir(parents=True)
    stream = np.diag([3.0, 3, 1]) @ K + np.array([[0, 0, 1.0], [0, 0, 1], [0, 0, 0]])
    lines = []
    for i, (image, d, pose) in enumerate(zip(rgb, depth, camera_to_world, strict=True)):
        Image.fromarray(image).save(path / "color" / f"{i}.png")
        save_depth(path / "depth" / f"{i * step}.png", d, 1000)
        transform = (pose @ np.diag([1, -1, -1, 1])).ravel(order="F").tolist()
        entry = {"transform": transform, "intrinsics": stream.ravel(order="F").tolist()}
        lines.append(json.dumps({"timestamp": i / 60} | entry))
        lines += [json.dumps(entry | {"transform": np.eye(4).ravel().tolist()})] * (step - 1)
    (path / "scene_00000_00.jsonl").write_text("\n".join(lines) + "\n")
    resolution = [3 * depth.shape[1], 3 * depth.shape[2]]
    (path / "scene_00000_00.json").write_text(
        json.dumps({"depth_unit": "m", "streams": [{"resolution": resolution}]})
    )
    return path
