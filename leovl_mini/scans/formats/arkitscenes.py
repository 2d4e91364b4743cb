"""ARKitScenes: ``lowres_wide/``, ``lowres_depth/`` (millimetres) and ``lowres_wide.traj``.

A ``.traj`` row is: time, rotation as an axis-angle vector (3), translation (3),
**world-to-camera**. A file ``lowres_wide_intrinsics/*.pincam`` is one row: width, height, fx, fy,
cx, cy. Images carry their time in their name; each takes the pose within 5 ms. The world is z-up.

Explained in notebook 12 (own scan).
"""

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from leovl_mini.scans.capture import (
    Camera,
    Capture,
    Frame,
    first_existing,
    nearest_in_time,
    pinhole,
    read_numbers,
    rigid,
)
from leovl_mini.scans.scene import InputError

FILES = "ARKitScenes (lowres_wide.traj)"

MAX_GAP = 0.005  # seconds; poses come at 10 Hz, images at up to 60 Hz


def recognise(path: Path) -> bool:
    return (path / "lowres_wide.traj").is_file()


def read(path: Path) -> Capture:
    trajectory = path / "lowres_wide.traj"
    times, poses = read_trajectory(trajectory)
    images = sorted((path / "lowres_wide").glob("*.png"), key=time_of)
    if not images:
        raise InputError(f"{path / 'lowres_wide'} holds no .png images.")

    index, gap = nearest_in_time(times, np.array([time_of(image) for image in images]))
    matched = gap <= MAX_GAP + 1e-9
    if not matched.any():
        raise InputError(f"{path}: no image has a pose within {MAX_GAP} s in {trajectory.name}.")
    notes = []
    if not matched.all():
        notes.append(
            f"{(~matched).sum()} of {len(images)} images have no pose within {MAX_GAP} s "
            "and are left out"
        )
    frames = []
    for i in matched.nonzero()[0]:
        image, depth = images[i], path / "lowres_depth" / images[i].name
        camera = read_pincam(path / "lowres_wide_intrinsics", image)
        frames.append(Frame(image.stem, image, depth, poses[index[i]], trajectory, camera))
    return Capture(path, frames, up="z", notes=notes)


def read_trajectory(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times (N,), sorted, and camera-to-world poses (N,4,4), NaN where the track was lost."""
    rows = read_numbers(file, (7,))
    rows = rows[rows[:, 0].argsort()]
    lost = ~np.isfinite(rows).all(1)
    rows[lost, 1:] = 0
    poses = np.linalg.inv(rigid(Rotation.from_rotvec(rows[:, 1:4]), rows[:, 4:]))
    poses[lost] = np.nan
    return rows[:, 0], poses


def time_of(image: Path) -> float:
    try:
        return float(image.stem.rsplit("_", 1)[1])
    except (IndexError, ValueError):
        raise InputError(
            f"{image}: the name must end in _ and the time stamp, as in 41069021_305.433.png."
        ) from None


def read_pincam(folder: Path, image: Path) -> Camera:
    """The camera of an image; its file may be named one millisecond off, as Apple's own loader
    knows.
    """
    prefix, time = image.stem.rsplit("_", 1)
    files = [folder / f"{prefix}_{float(time) + ms / 1000:.3f}.pincam" for ms in (0, -1, 1)]
    file = first_existing(*files) or files[0]
    width, height, *camera = read_numbers(file, (6,))[0]
    return Camera(pinhole(*camera), file, (int(height), int(width)))
