"""Recognise a capture folder, choose its frames, check them and return a ``Scene``.

To add a file format, write one module in ``scans/formats/`` and list it in ``FORMATS``:

- its docstring says what the files hold: units, axes, which way poses map; the first line names it
- ``FILES``: its name and its files in a few words, for the message when a folder is not recognised
- ``recognise(path: Path) -> bool``: whether a folder is of this format, by names of files only
- ``read(path: Path) -> Capture``: poses and cameras as numbers, images as paths; no image is opened

``read`` returns poses as 4x4 camera-to-world in metres, for cameras with x right, y down, z forward
(OpenCV), and NaN where the track was lost; what it cannot use it refuses with an ``InputError``
that names the file. Everything else is done here, the same for all: checking poses and cameras,
decoding, depth to metres, bringing colour and depth together, and gravity. ``scans/capture.py``
has what several formats share. Then add a writer to ``tests/rooms.py`` and the format to the tables
of ``tests/test_formats.py``: a known room must come back point by point, and must not with poses in
a wrong convention.

Explained in notebook 12 (own scan).
"""

import warnings
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from leovl_mini.scans.capture import Capture, Frame
from leovl_mini.scans.formats import (
    arkitscenes,
    multiscan,
    plain,
    rscan,
    scannet,
    seven_scenes,
    tum,
)
from leovl_mini.scans.frames import View, load_frame
from leovl_mini.scans.geometry import back_project
from leovl_mini.scans.gravity import align
from leovl_mini.scans.scene import InputError, Scene, check_pose

# The first that recognises a folder reads it. 7-Scenes last: 3RScan's frames look alike.
FORMATS = (plain, scannet, rscan, arkitscenes, multiscan, tum, seven_scenes)

FORMAT_HINT = "known file formats: " + "; ".join(each.FILES for each in FORMATS)


def load_scene(
    path: str | Path, max_frames: int = 40, choose: str = "spread", up: str | None = None
) -> Scene:
    """Read a capture folder of any known file format into a checked, gravity-aligned ``Scene``.

    ``choose``: "spread" takes frames evenly along the trajectory; "overlap" takes, one after the
    other, the frame that sees the most not yet seen space (maximum coverage, as Video-3D-LLM).
    ``up`` names the world's up axis ("z", "y", "-y", ...) if you know it; otherwise it is taken
    from the file format or estimated. Frames with a lost pose or without any depth are dropped and
    counted in ``Scene.dropped``. Raises ``InputError`` with one sentence where the input cannot
    be used, ``ValueError`` for a wrong argument.
    """
    if choose not in ("spread", "overlap"):
        raise ValueError(f"choose must be 'spread' or 'overlap', not {choose!r}")
    if max_frames < 1:
        raise ValueError(f"max_frames must be at least 1, not {max_frames}")
    path = Path(path)
    capture = open_capture(path)
    tracked = frames_with_pose(capture)
    choice = spread(tracked, max_frames)
    if choose == "overlap":
        choice = by_overlap(tracked, max_frames, capture.depth_scale)
    progress = tqdm(choice, desc="reading frames", disable=None, leave=False)
    decoded = [load_frame(frame, capture.depth_scale) for frame in progress]
    views = views_with_depth(decoded, path)
    dropped = {
        "lost pose": len(capture.frames) - len(tracked),
        "not chosen": len(tracked) - len(choice),
        "no depth": len(decoded) - len(views),
    }
    scene = stack(views)
    scene.name = path.resolve().name
    scene.dropped = {reason: count for reason, count in dropped.items() if count}
    scene.notes = [*capture.notes, *scene.notes]
    scene.objects = capture.objects
    turn_upright(scene, capture, up)
    return scene


def open_capture(path: Path) -> Capture:
    """Recognise the file format of a folder and read its poses and cameras (no images yet)."""
    if not path.exists():
        raise InputError(f"{path} does not exist.")
    if not path.is_dir():
        raise InputError(f"{path} is a file; pass the folder of a capture ({FORMAT_HINT}).")
    if not any(path.iterdir()):
        raise InputError(f"{path} is empty; {FORMAT_HINT}.")
    for file_format in FORMATS:
        if file_format.recognise(path):
            capture = file_format.read(path)
            if not capture.frames:
                raise InputError(f"{path} holds no frames.")
            return capture
    folders = [child for child in sorted(path.iterdir()) if child.is_dir()]
    inner = next((child for child in folders if any(f.recognise(child) for f in FORMATS)), None)
    advice = f"did you mean {inner}?" if inner else f"{FORMAT_HINT}."
    raise InputError(f"{path} is not a capture in a known file format; {advice}")


# -- which frames ----------------------------------------------------------------------------------


def frames_with_pose(capture: Capture) -> list[Frame]:
    """The frames whose track was not lost, with checked poses."""
    tracked = [f for f in capture.frames if np.isfinite(f.camera_to_world).all()]
    if not tracked:
        raise InputError(
            f"{capture.path}: none of its {len(capture.frames)} frames has a finite pose."
        )
    for frame in tracked:
        where = f"{frame.pose_file}, frame {frame.name}"
        frame.camera_to_world = check_pose(frame.camera_to_world, where)
    return tracked


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
    cells = []  # of the space each candidate sees
    for frame in tqdm(candidates, desc="comparing views", disable=None, leave=False):
        view = load_frame(frame, depth_scale)
        points = back_project(view.depth[None], view.intrinsics[None], view.camera_to_world[None])
        measured = view.depth[::8, ::8] > 0
        cells.append((points[0, ::8, ::8][measured] / 0.2).floor().long())
    voxel = torch.unique(torch.cat(cells), dim=0, return_inverse=True)[1]
    view = torch.repeat_interleave(torch.arange(len(cells)), torch.tensor([len(c) for c in cells]))
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


# -- from views to a scene -------------------------------------------------------------------------


def views_with_depth(views: list[View], path: Path) -> list[View]:
    """The views that measured anything; all of one resolution."""
    kept = [view for view in views if (view.depth > 0).any()]
    if not kept:
        raise InputError(
            f"{path}: none of the {len(views)} chosen frames has any valid depth "
            "(all values are 0, 65535 or NaN)."
        )
    if len({view.depth.shape for view in kept}) > 1:
        raise InputError(
            f"{path}: the depth maps differ in size; one capture must keep one resolution."
        )
    if len(kept) == 1:
        warnings.warn(f"{path}: only one usable frame; the scene shows a single view", stacklevel=3)
    return kept


def stack(views: list[View]) -> Scene:
    """The views as one scene, in the capture's own world."""
    masks = [view.instances for view in views if view.instances is not None]
    complete = len(masks) == len(views)
    notes = sorted({view.note for view in views if view.note})
    if masks and not complete:
        notes.append("instance masks left out: not every frame has one")
    return Scene(
        rgb=torch.stack([view.rgb for view in views]),
        depth=torch.stack([view.depth for view in views]),
        intrinsics=torch.stack([view.intrinsics for view in views]),
        camera_to_world=torch.stack([view.camera_to_world for view in views]),
        instances=torch.stack(masks) if complete else None,
        frame_names=[view.name for view in views],
        notes=notes,
    )


def turn_upright(scene: Scene, capture: Capture, up: str | None) -> None:
    """Turn and move the world of a scene so that +z is up and the floor at z = 0."""
    floor = capture.floor if up in (None, capture.up) else None  # it belongs to the known axis
    world, note = align(
        scene.depth, scene.intrinsics, scene.camera_to_world, up or capture.up, floor
    )
    scene.camera_to_world = world @ scene.camera_to_world
    scene.world_from_capture = world
    scene.notes.append(note)
    if scene.objects and not torch.equal(world, torch.eye(4)):
        scene.objects = []
        scene.notes.append(
            "labelled objects left out: they belong to the capture's own axes, "
            "and the world was turned"
        )
