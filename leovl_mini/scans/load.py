"""Recognise a capture folder, choose its frames, check them and return a ``Scene``."""

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from leovl_mini.scans import arkitscenes, multiscan, rscan, scannet, seven_scenes, tum
from leovl_mini.scans import plain as poses_txt
from leovl_mini.scans.capture import Camera, Capture, Frame, read_depth, read_image, read_rgb
from leovl_mini.scans.geometry import back_project, pixel_grid
from leovl_mini.scans.gravity import align
from leovl_mini.scans.scene import InputError, Scene, check_intrinsics, check_pose, clean_depth

FORMATS = (
    poses_txt,
    scannet,
    rscan,
    arkitscenes,
    multiscan,
    tum,
    seven_scenes,
)  # 7-Scenes last: 3RScan's frames look alike


# What each folder must hold, for the message when none fits.
FORMAT_HINT = (
    "known layouts: poses.txt + K.txt + images/ + depth/; ScanNet (color/ + depth/ + pose/ + intrinsic/); "
    "3RScan (sequence/_info.txt); ARKitScenes (lowres_wide.traj); MultiScan (.jsonl + color/ + depth/); "
    "TUM RGB-D (rgb.txt + depth.txt + groundtruth.txt); 7-Scenes or tsdf-fusion (frame-*.pose.txt)"
)


def load_scene(
    path: str | Path, max_frames: int = 40, choose: str = "spread", up: str | None = None
) -> Scene:
    """Read a capture folder of any known layout into a checked, gravity-aligned ``Scene``.

    ``choose``: "spread" takes frames evenly along the trajectory; "overlap" takes, one after the
    other, the frame that sees the most not yet seen space (maximum coverage, as Video-3D-LLM).
    ``up`` names the world's up axis ("z", "y", "-y", ...) if you know it; otherwise it is taken
    from the layout or estimated. Frames with a lost pose or without any depth are dropped and
    counted in ``Scene.dropped``. Raises ``InputError`` with one sentence where the input cannot
    be used.
    """
    if choose not in ("spread", "overlap"):
        raise ValueError(f"choose must be 'spread' or 'overlap', not {choose!r}")
    if max_frames < 1:
        raise ValueError(f"max_frames must be at least 1, not {max_frames}")
    capture = open_capture(Path(path))
    tracked = [f for f in capture.frames if np.isfinite(f.camera_to_world).all()]
    dropped = Counter({"lost pose": len(capture.frames) - len(tracked)})
    if not tracked:
        raise InputError(f"{path}: none of its {len(capture.frames)} frames has a finite pose.")
    for frame in tracked:
        frame.camera_to_world = check_pose(
            frame.camera_to_world, f"{frame.pose_source}, frame {frame.name}"
        )
    chosen = (
        spread(tracked, max_frames)
        if choose == "spread"
        else by_overlap(tracked, max_frames, capture.depth_scale)
    )
    dropped["not chosen"] = len(tracked) - len(chosen)

    loaded = [
        load_frame(frame, capture.depth_scale)
        for frame in tqdm(chosen, desc="reading frames", disable=None, leave=False)
    ]
    kept = [frame for frame in loaded if (frame["depth"] > 0).any()]
    dropped["no depth"] = len(loaded) - len(kept)
    if not kept:
        raise InputError(
            f"{path}: none of the {len(loaded)} chosen frames has any valid depth (all values are 0, 65535 or NaN)."
        )
    if len({frame["depth"].shape for frame in kept}) > 1:
        raise InputError(
            f"{path}: the depth maps differ in size; one capture must keep one resolution."
        )
    if len(kept) == 1:
        warnings.warn(f"{path}: only one usable frame; the scene shows a single view", stacklevel=2)

    stacked = {
        key: torch.stack([f[key] for f in kept])
        for key in ("rgb", "depth", "intrinsics", "camera_to_world")
    }
    has_masks = all(f["instances"] is not None for f in kept)
    cameras = stacked["intrinsics"], stacked["camera_to_world"]
    floor = (
        capture.floor if up in (None, capture.up) else None
    )  # a known floor belongs to the known axis
    world, gravity_note = align(stacked["depth"], *cameras, up or capture.up, floor)
    stacked["camera_to_world"] = world @ stacked["camera_to_world"]
    notes = [*capture.notes, *sorted({note for f in kept for note in f["notes"]}), gravity_note]
    objects = capture.objects
    if objects and not torch.equal(world, torch.eye(4)):
        objects = []
        notes.append(
            "labelled objects left out: they belong to the capture's own axes, and the world was turned"
        )
    if any(f["instances"] is not None for f in kept) and not has_masks:
        notes.append("instance masks left out: not every frame has one")
    return Scene(
        **stacked,
        instances=torch.stack([f["instances"] for f in kept]) if has_masks else None,
        objects=objects,
        name=Path(path).resolve().name,
        frame_names=[f["name"] for f in kept],
        dropped={reason: count for reason, count in dropped.items() if count},
        notes=notes,
        world_from_capture=world,
    )


def open_capture(path: Path) -> Capture:
    """Recognise the layout of a folder and read its poses and cameras (no images yet)."""
    if not path.exists():
        raise InputError(f"{path} does not exist.")
    if not path.is_dir():
        raise InputError(f"{path} is a file; pass the folder of a capture ({FORMAT_HINT}).")
    if not any(path.iterdir()):
        raise InputError(f"{path} is empty; {FORMAT_HINT}.")
    for layout in FORMATS:
        if layout.recognise(path):
            capture = layout.read(path)
            if not capture.frames:
                raise InputError(f"{path} holds no frames.")
            return capture
    inner = next(
        (
            child
            for child in sorted(path.iterdir())
            if child.is_dir() and any(m.recognise(child) for m in FORMATS)
        ),
        None,
    )
    advice = f"did you mean {inner}?" if inner else f"{FORMAT_HINT}."
    raise InputError(f"{path} is not a capture in a known layout; {advice}")


def spread(frames: list[Frame], count: int) -> list[Frame]:
    """At most ``count`` frames, evenly along the trajectory, the first and the last included."""
    index = np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)
    return [frames[i] for i in index]


def by_overlap(frames: list[Frame], count: int, depth_scale: float) -> list[Frame]:
    """At most ``count`` frames by greedy maximum coverage of 0.2 m voxels, in the order of the
    trajectory.
    """
    candidates = spread(frames, 4 * count)
    if len(candidates) <= count:
        return candidates
    seen = []
    for frame in tqdm(candidates, desc="comparing views", disable=None, leave=False):
        loaded = load_frame(frame, depth_scale)
        points = back_project(
            *(loaded[k][None] for k in ("depth", "intrinsics", "camera_to_world"))
        )[0]
        seen.append((points[::8, ::8][loaded["depth"][::8, ::8] > 0] / 0.2).floor().long())
    voxel = torch.unique(torch.cat(seen), dim=0, return_inverse=True)[1]
    view = torch.repeat_interleave(torch.arange(len(seen)), torch.tensor([len(s) for s in seen]))
    sees = torch.zeros(len(candidates), int(voxel.max()) + 1 if len(voxel) else 1, dtype=torch.bool)
    sees[view, voxel] = True
    chosen: list[int] = []
    for _ in range(count):
        gain = sees.sum(1)
        gain[chosen] = -1
        best = int(gain.argmax())
        chosen.append(best)
        sees &= ~sees[best].clone()
    return [candidates[i] for i in sorted(chosen)]


def load_frame(frame: Frame, depth_scale: float) -> dict:
    """Decode one frame onto its depth camera: colour is resampled there when the two cameras
    differ, and a note says so.
    """
    rgb, raw = read_rgb(frame.rgb), read_depth(frame.depth)
    depth = torch.from_numpy(clean_depth(raw, depth_scale if raw.dtype.kind in "ui" else 1.0))
    colour_K = camera_matrix(frame.camera, rgb.shape[:2])
    if frame.depth_camera is None:
        depth_K = rescale_intrinsics(colour_K, rgb.shape[:2], depth.shape)
    else:
        depth_K = camera_matrix(frame.depth_camera, raw.shape)
    rgb, notes = torch.from_numpy(rgb.copy()), []
    if rgb.shape[:2] != depth.shape or not torch.allclose(colour_K, depth_K, atol=0.01):
        size = f"{rgb.shape[1]}x{rgb.shape[0]}"
        notes.append(
            f"colour ({size}) resampled onto the depth camera ({depth.shape[1]}x{depth.shape[0]})"
        )
        rgb = resample_colour(rgb, colour_K, depth_K, tuple(depth.shape))
    instances = None
    if frame.instances is not None:
        instances = torch.from_numpy(read_image(frame.instances).astype(np.int32))
        if instances.shape != depth.shape:
            raise InputError(
                f"{frame.instances}: the instance mask must have the size of the depth map."
            )
    pose = torch.from_numpy(np.asarray(frame.camera_to_world, dtype=np.float32))
    return {
        "name": frame.name,
        "rgb": rgb,
        "depth": depth,
        "intrinsics": depth_K,
        "camera_to_world": pose,
        "instances": instances,
        "notes": notes,
    }


def camera_matrix(camera: Camera, size: tuple[int, int]) -> torch.Tensor:
    """A checked camera matrix (3,3) for an image of this (height, width)."""
    K = check_intrinsics(camera.matrix, camera.size or size, str(camera.source))
    return rescale_intrinsics(torch.from_numpy(K), camera.size or size, size)


def rescale_intrinsics(K: torch.Tensor, old: tuple[int, int], new: tuple[int, int]) -> torch.Tensor:
    """The same camera at another resolution (height, width); pixel centres are integers, so edges
    lie at -0.5.
    """
    if tuple(old) == tuple(new):
        return K
    sy, sx = new[0] / old[0], new[1] / old[1]
    return (
        torch.tensor([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1]], dtype=K.dtype)
        @ K
    )


def resample_colour(
    rgb: torch.Tensor, colour_K: torch.Tensor, depth_K: torch.Tensor, size: tuple[int, int]
) -> torch.Tensor:
    """Colour (H',W',3) as the depth camera (H,W) sees it: each depth pixel's ray is followed into
    the colour image (bilinear).

    The two cameras are taken to stand at the same place, as the supported layouts state. Pixels
    outside the colour image are black.
    """
    height, width = rgb.shape[:2]
    pixel = pixel_grid(*size) @ (colour_K @ torch.linalg.inv(depth_K)).T
    uv = pixel[..., :2] / pixel[..., 2:]
    grid = (uv + 0.5) / torch.tensor([width, height]) * 2 - 1
    shrink = max(height / size[0], width / size[1])
    image = rgb.permute(2, 0, 1)[None].float()
    if shrink > 1.5:  # average before sampling fewer pixels, or fine texture would alias
        image = F.interpolate(image, scale_factor=1 / shrink, mode="area")
    sampled = F.grid_sample(image, grid[None], align_corners=False, padding_mode="border")[
        0
    ].permute(1, 2, 0)
    seen = (grid.abs() <= 1).all(
        -1, keepdim=True
    )  # what the colour camera does not see stays black
    return (sampled * seen).round().clamp(0, 255).byte()
