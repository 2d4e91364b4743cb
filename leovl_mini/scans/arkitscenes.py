"""ARKitScenes: ``lowres_wide/``, ``lowres_depth/`` (millimetres),
``lowres_wide_intrinsics/*.pincam`` and ``lowres_wide.traj``.

A ``.traj`` row is: time, rotation as an axis-angle vector (3), translation (3),
**world-to-camera**. A ``.pincam`` file is one row: width, height, fx, fy, cx, cy. Images carry
their time in their name; each takes the pose within 5 ms. The world is z-up.
"""

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from leovl_mini.scans.capture import Camera, Capture, Frame, read_numbers
from leovl_mini.scans.scene import InputError
from leovl_mini.scans.tum import nearest

MAX_GAP = 0.005  # seconds; poses come at 10 Hz, images at up to 60 Hz


def recognise(path: Path) -> bool:
    return (path / "lowres_wide.traj").is_file()


def read(path: Path) -> Capture:
    trajectory = path / "lowres_wide.traj"
    rows = read_numbers(trajectory, (7,))
    rows = rows[rows[:, 0].argsort()]
    lost = ~np.isfinite(rows).all(1)
    world_to_camera = np.tile(np.eye(4), (len(rows), 1, 1))
    world_to_camera[:, :3, :3] = Rotation.from_rotvec(
        np.where(lost[:, None], 0, rows[:, 1:4])
    ).as_matrix()
    world_to_camera[:, :3, 3] = np.where(lost[:, None], 0, rows[:, 4:])
    poses = np.linalg.inv(world_to_camera)
    poses[lost] = np.nan

    images = sorted((path / "lowres_wide").glob("*.png"), key=time_of)
    if not images:
        raise InputError(f"{path / 'lowres_wide'} holds no .png images.")
    index, gap = nearest(rows[:, 0], np.array([time_of(image) for image in images]))
    matched = gap <= MAX_GAP + 1e-9
    notes = (
        []
        if matched.all()
        else [
            f"{(~matched).sum()} of {len(images)} images have no pose within {MAX_GAP} s and are left out"
        ]
    )
    if not matched.any():
        raise InputError(f"{path}: no image has a pose within {MAX_GAP} s in {trajectory.name}.")
    frames = [
        Frame(
            image.stem,
            image,
            path / "lowres_depth" / image.name,
            poses[index[i]],
            trajectory,
            read_pincam(path, image),
        )
        for i, image in enumerate(images)
        if matched[i]
    ]
    return Capture(path, frames, up="z", notes=notes)


def time_of(image: Path) -> float:
    try:
        return float(image.stem.rsplit("_", 1)[1])
    except (IndexError, ValueError):
        raise InputError(
            f"{image}: the name must end in _ and the time stamp, as in 41069021_305.433.png."
        ) from None


def read_pincam(path: Path, image: Path) -> Camera:
    """The camera of an image; its file may be named one millisecond off, as Apple's own loader
    knows.
    """
    prefix, time = image.stem.rsplit("_", 1)
    names = [f"{prefix}_{float(time) + shift:.3f}.pincam" for shift in (0, -0.001, 0.001)]
    files = [path / "lowres_wide_intrinsics" / name for name in names]
    file = next((f for f in files if f.exists()), files[0])
    width, height, fx, fy, cx, cy = read_numbers(file, (6,))[0]
    return Camera(np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), file, (int(height), int(width)))
