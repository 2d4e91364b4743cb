"""TUM RGB-D: ``rgb.txt``, ``depth.txt`` and ``groundtruth.txt``, each with time stamps.

A row of the first two is a time and a file; one of the third is time, tx ty tz, qx qy qz qw. Depth
is 16 bits at 5000 per metre, already registered to colour. Images, depth maps and poses have clocks
of their own: each image takes the depth map and the pose nearest in time, at most 0.02 s away;
images without such a partner are left out.

Explained in notebook 12 (own scan).
"""

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from leovl_mini.scans.capture import (
    Camera,
    Capture,
    Frame,
    nearest_in_time,
    pinhole,
    read_camera,
    read_lines,
    read_numbers,
    rigid,
)
from leovl_mini.scans.scene import InputError

FILES = "TUM RGB-D (rgb.txt + depth.txt + groundtruth.txt)"

MAX_GAP = 0.02  # seconds, as in the data set's own association tool

# fx, fy, cx, cy from the data set's calibration page; the last is the default it gives for all
CAMERAS = {
    "freiburg1": (517.3, 516.5, 318.6, 255.3),
    "freiburg2": (520.9, 521.0, 325.1, 249.7),
    "freiburg3": (535.4, 539.2, 320.1, 247.6),
    "": (525.0, 525.0, 319.5, 239.5),
}


def recognise(path: Path) -> bool:
    return (path / "rgb.txt").is_file() and (path / "depth.txt").is_file()


def read(path: Path) -> Capture:
    image_times, images = read_list(path / "rgb.txt")
    depth_times, depths = read_list(path / "depth.txt")
    pose_times, poses = read_trajectory(path / "groundtruth.txt")
    camera, notes = calibration(path)

    nearest_depth, depth_gap = nearest_in_time(depth_times, image_times)
    nearest_pose, pose_gap = nearest_in_time(pose_times, image_times)
    matched = (depth_gap <= MAX_GAP) & (pose_gap <= MAX_GAP)
    if not matched.any():
        raise InputError(
            f"{path}: no image has a depth map and a pose within {MAX_GAP} s; "
            "are the three clocks the same?"
        )
    if not matched.all():
        notes.append(
            f"{(~matched).sum()} of {len(matched)} images have no depth map or pose "
            f"within {MAX_GAP} s and are left out"
        )
    frames = []
    for i in matched.nonzero()[0]:
        image, depth = path / images[i], path / depths[nearest_depth[i]]
        pose = poses[nearest_pose[i]]
        frames.append(Frame(image.stem, image, depth, pose, path / "groundtruth.txt", camera))
    return Capture(path, frames, depth_scale=5000.0, notes=notes)


def calibration(path: Path) -> tuple[Camera, list[str]]:
    """The camera of ``K.txt``; without one, a published camera and a note that says so."""
    file = path / "K.txt"
    if file.exists():
        return read_camera(file), []
    name = next(name for name in CAMERAS if name in str(path.resolve()))
    values = CAMERAS[name]
    note = f"no K.txt: the published camera of {name or 'the ROS default'} is assumed {values}"
    assumed = path / "K.txt (missing: published camera assumed)"
    return Camera(pinhole(*values), assumed), [note]


def read_trajectory(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times (N,), sorted, and camera-to-world poses (N,4,4), NaN where the track was lost."""
    rows = read_numbers(file, (8,))
    rows = rows[rows[:, 0].argsort()]
    lost = ~np.isfinite(rows).all(1)
    rows[lost, 1:] = [0, 0, 0, 0, 0, 0, 1]
    if (np.abs(np.linalg.norm(rows[:, 4:], axis=1) - 1) > 1e-2).any():
        raise InputError(
            f"{file}: the rotations (columns 5-8, qx qy qz qw) are not unit quaternions."
        )
    poses = rigid(Rotation.from_quat(rows[:, 4:]), rows[:, 1:4])
    poses[lost] = np.nan
    return rows[:, 0], poses


def read_list(path: Path) -> tuple[np.ndarray, list[Path]]:
    """Time stamps (N,) and relative file paths, sorted by time."""
    rows = [line.split() for line in read_lines(path) if line.strip() and not line.startswith("#")]
    try:
        pairs = sorted((float(time), Path(file)) for time, file in rows)
    except ValueError:
        raise InputError(f"{path}: every line must hold a time stamp and a file name.") from None
    if not pairs:
        raise InputError(f"{path} lists no files.")
    return np.array([time for time, _ in pairs]), [file for _, file in pairs]
