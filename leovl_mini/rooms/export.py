"""Write a scene to disk: in the plain file format of this package, or in that of a real data set.

Each writer fills an empty folder. Frames are numbered from 0 in their order; portrait images (H >
W) are written as they are. Depth is 16-bit millimetres in every format, 0 where nothing was
measured.

Explained in notebook 12 (own_scan).
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation
from torch import Tensor

from leovl_mini.data.examples import save_examples
from leovl_mini.data.files import atomic_folder
from leovl_mini.data.samples import SAMPLES
from leovl_mini.rooms.cameras import domain_room, record
from leovl_mini.rooms.facts import visible_graph
from leovl_mini.rooms.texts.tasks import examples_of
from leovl_mini.scans.scene import Scene

# ARKit's cameras have x right, y up, z backward; this package's x right, y down, z forward
ARKIT_CAMERA = np.diag([1.0, -1, -1, 1])
# turns a z-up world about x until y is up
Y_UP = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
RATE = 10  # frames per second


def export_samples(folder: Path) -> None:
    """Record the bundled rooms and write each with its examples; ``folder`` must be new."""
    with atomic_folder(folder) as partial:
        for domain, number in ((d, n) for d, numbers in SAMPLES.items() for n in numbers):
            room = domain_room(domain, number)
            scene = record(room, domain, name=f"{domain}_{number}")
            areas = {"areas": [dataclasses.asdict(a) for a in room.areas]}
            export(scene, partial / scene.name, extras=areas)
            examples = examples_of(scene, visible_graph(scene, room.areas), number)
            save_examples(examples, partial / scene.name / "examples.jsonl")


def export(
    scene: Scene, folder: str | Path, file_format: str = "plain", extras: dict | None = None
) -> None:
    """Write the frames of a z-up scene; depth becomes whole millimetres. ``folder`` must be new; it
    is written whole or not at all.

    ``file_format`` is one of ``FORMATS``. Only "plain" holds instance masks, objects and frame
    names, and ``extras``: further entries of its ``scene.json`` (JSON values; an entry named as one
    of the usual ones takes its place). The others hold RGB, depth, poses and cameras. Raises
    ``ValueError`` for what a format cannot hold, ``FileExistsError`` for a used folder.
    """
    if file_format not in FORMATS:
        raise ValueError(f"the format must be one of {', '.join(FORMATS)}, not {file_format!r}")
    if extras and file_format != "plain":
        raise ValueError(f"{file_format} has no scene.json to hold extras; use 'plain'")
    with atomic_folder(Path(folder)) as partial:
        if extras:
            plain(scene, partial, extras)
        else:
            FORMATS[file_format](scene, partial)


def plain(scene: Scene, folder: Path, extras: dict | None = None) -> None:
    """poses.txt, K.txt, frames.txt, images/, depth/, instances/ and scene.json: the plain format,
    one camera for all frames.
    """
    K = one_camera(scene)
    for name in ("images", "depth") + (("instances",) if scene.instances is not None else ()):
        (folder / name).mkdir()
    ids = np.uint8 if scene.instances is None or scene.instances.max() < 256 else np.uint16
    for i, name in enumerate(scene.frame_names):
        save_png(scene.rgb[i].numpy(), folder / "images" / f"{name}.png")
        save_depth(scene.depth[i], folder / "depth" / f"{name}.png")
        if scene.instances is not None:
            save_png(scene.instances[i].numpy().astype(ids), folder / "instances" / f"{name}.png")
    np.savetxt(folder / "K.txt", K, fmt="%.6f")
    np.savetxt(folder / "poses.txt", scene.camera_to_world.flatten(1).numpy(), fmt="%.7f")
    (folder / "frames.txt").write_text("\n".join(scene.frame_names) + "\n")
    entries = {"up": "z", "floor": 0.0, "objects": [dataclasses.asdict(o) for o in scene.objects]}
    (folder / "scene.json").write_text(json.dumps(entries | (extras or {}), indent=1) + "\n")


def scannet(scene: Scene, folder: Path) -> None:
    """As SensReader exports it: color/0.jpg, depth/0.png, pose/0.txt (4x4 camera-to-world) and 4x4
    matrices in intrinsic/.

    Source: github.com/ScanNet/ScanNet, SensReader/python. One camera for all frames.
    """
    K = one_camera(scene)
    for name in ("color", "depth", "pose", "intrinsic"):
        (folder / name).mkdir()
    for name in ("color", "depth"):
        np.savetxt(folder / "intrinsic" / f"intrinsic_{name}.txt", homogeneous(K), fmt="%f")
        np.savetxt(folder / "intrinsic" / f"extrinsic_{name}.txt", np.eye(4), fmt="%f")
    for i, pose in enumerate(scene.camera_to_world.numpy()):
        save_jpg(scene.rgb[i].numpy(), folder / "color" / f"{i}.jpg")
        save_depth(scene.depth[i], folder / "depth" / f"{i}.png")
        np.savetxt(folder / "pose" / f"{i}.txt", pose, fmt="%f")


def rscan(scene: Scene, folder: Path) -> None:
    """3RScan: sequence/ with _info.txt, frame-000000.color.jpg, .depth.pgm (16 bits, big-endian)
    and .pose.txt (camera-to-world).

    Source: github.com/WaldJohannaU/3RScan. One camera for all frames.
    """
    K, (height, width) = homogeneous(one_camera(scene)), scene.depth.shape[1:]
    camera, identity = (" ".join(f"{x:.6f}" for x in m.ravel()) for m in (K, np.eye(4)))
    info = ["m_versionNumber = 4", f"m_sensorName = {scene.name}"]
    for name in ("color", "depth"):
        info += [f"m_{name}Width = {width}", f"m_{name}Height = {height}"]
    info.append("m_depthShift = 1000")
    for name in ("Color", "Depth"):
        info += [
            f"m_calibration{name}Intrinsic = {camera}",
            f"m_calibration{name}Extrinsic = {identity}",
        ]
    info.append(f"m_frames.size = {len(scene)}")

    sequence = folder / "sequence"
    sequence.mkdir()
    (sequence / "_info.txt").write_text("\n".join(info) + "\n")
    for i, pose in enumerate(scene.camera_to_world.numpy()):
        save_jpg(scene.rgb[i].numpy(), sequence / f"frame-{i:06d}.color.jpg")
        header = f"P5\n{width} {height}\n65535\n".encode()
        pixels = millimetres(scene.depth[i]).astype(">u2").tobytes()
        (sequence / f"frame-{i:06d}.depth.pgm").write_bytes(header + pixels)
        np.savetxt(sequence / f"frame-{i:06d}.pose.txt", pose, fmt="%.7f")


def multiscan(scene: Scene, folder: Path) -> None:
    """MultiScan: color/0.png, depth/0.png, and NAME.jsonl with one line of JSON per frame in the
    conventions of ARKit.

    ``transform`` (16 numbers) is camera-to-world and ``intrinsics`` (9 numbers) the camera matrix,
    both column by column; the cameras are ARKit's and the world is y-up. NAME.json names the
    resolution [height, width] of the colour stream. Source: github.com/smartscenes/multiscan, and
    ARKit's ``ARCamera.transform``.
    """
    for name in ("color", "depth"):
        (folder / name).mkdir()
    for i in range(len(scene)):
        save_png(scene.rgb[i].numpy(), folder / "color" / f"{i}.png")
        save_depth(scene.depth[i], folder / "depth" / f"{i}.png")
    transforms = Y_UP @ scene.camera_to_world.double().numpy() @ ARKIT_CAMERA
    lines = []
    for i, (pose, K) in enumerate(zip(transforms, scene.intrinsics.double().numpy(), strict=True)):
        columns = {"transform": pose.T.ravel().tolist(), "intrinsics": K.T.ravel().tolist()}
        lines.append(json.dumps({"timestamp": i / RATE, **columns}))
    (folder / f"{scene.name}.jsonl").write_text("\n".join(lines) + "\n")
    size = list(scene.depth.shape[1:])
    stream = {"type": "color_camera", "number_of_frames": len(scene), "resolution": size}
    (folder / f"{scene.name}.json").write_text(json.dumps({"streams": [stream]}, indent=1) + "\n")


def arkitscenes(scene: Scene, folder: Path) -> None:
    """ARKitScenes: lowres_wide/ID_TIME.png, lowres_depth/, lowres_wide_intrinsics/ID_TIME.pincam
    and lowres_wide.traj.

    A .traj row is: time in seconds, rotation as an axis-angle vector (radians), translation
    (metres), **world-to-camera**. A .pincam file is: width height fx fy cx cy. ID is a video's
    eight digits, here zeros. Source: github.com/apple/ARKitScenes, DATA.md and
    threedod/benchmark_scripts/utils/tenFpsDataLoader.py.
    """
    for name in ("lowres_wide", "lowres_depth", "lowres_wide_intrinsics"):
        (folder / name).mkdir()
    (height, width), K = scene.depth.shape[1:], scene.intrinsics.numpy()
    cameras = np.stack([K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2]], axis=1)
    times = np.arange(len(scene)) / RATE
    for i, camera in enumerate(cameras):
        name = f"00000000_{times[i]:.3f}"
        save_png(scene.rgb[i].numpy(), folder / "lowres_wide" / f"{name}.png")
        save_depth(scene.depth[i], folder / "lowres_depth" / f"{name}.png")
        numbers = " ".join(f"{x:.6f}" for x in camera)
        file = folder / "lowres_wide_intrinsics" / f"{name}.pincam"
        file.write_text(f"{width} {height} {numbers}\n")
    pose = scene.camera_to_world.double().numpy()
    rotation = Rotation.from_matrix(pose[:, :3, :3]).inv()
    rows = np.c_[times, rotation.as_rotvec(), -rotation.apply(pose[:, :3, 3])]
    np.savetxt(folder / "lowres_wide.traj", rows, fmt="%.8f")


def one_camera(scene: Scene) -> np.ndarray:
    """The camera matrix (3,3) that all frames share."""
    if (scene.intrinsics != scene.intrinsics[0]).any():
        raise ValueError("this format holds one camera matrix for all frames")
    return scene.intrinsics[0].numpy()


def homogeneous(K: np.ndarray) -> np.ndarray:
    """A camera matrix (3,3) as the upper left part of a 4x4 identity."""
    matrix = np.eye(4)
    matrix[:3, :3] = K
    return matrix


def millimetres(depth: Tensor) -> np.ndarray:
    """Depth (H,W) in metres to 16-bit millimetres; 65535 is left out, as readers take it for a
    hole.
    """
    values = (depth.numpy() * 1000).round()
    if values.max() > 65534:
        raise ValueError(
            f"16-bit millimetres end at 65.534 m, but the depth reaches {values.max() / 1000:.3f} m"
        )
    return values.astype(np.uint16)


def save_depth(depth: Tensor, path: Path) -> None:
    save_png(millimetres(depth), path)


def save_png(pixels: np.ndarray, path: Path) -> None:
    Image.fromarray(pixels).save(path, optimize=True)


def save_jpg(pixels: np.ndarray, path: Path) -> None:
    Image.fromarray(pixels).save(path, quality=98, subsampling=0)


FORMATS = {
    "plain": plain,
    "scannet": scannet,
    "rscan": rscan,
    "multiscan": multiscan,
    "arkitscenes": arkitscenes,
}
