"""TUM RGB-D: ``rgb.txt``, ``depth.txt`` (time stamp, file) and ``groundtruth.txt`` (time stamp, tx
ty tz, qx qy qz qw).

Depth is 16 bits at 5000 per metre, already registered to colour. Images, depth maps and poses have
clocks of their own: each image takes the depth map and the pose nearest in time, at most 0.02 s
away; images without such a partner are left out.
"""

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from leovl_mini.scans.capture import Camera, Capture, Frame, read_camera, read_lines, read_numbers
from leovl_mini.scans.scene import InputError

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
    notes = []
    image_times, images = read_list(path / "rgb.txt")
    depth_times, depths = read_list(path / "depth.txt")
    truth_file = path / "groundtruth.txt"
    truth = read_numbers(truth_file, (8,))
    truth = truth[truth[:, 0].argsort()]
    if (path / "K.txt").exists():
        camera = read_camera(path / "K.txt")
    else:
        name = next(name for name in CAMERAS if name in str(path.resolve()))
        fx, fy, cx, cy = CAMERAS[name]
        notes.append(
            f"no K.txt: the published camera of {name or 'the ROS default'} is assumed ({fx}, {fy}, {cx}, {cy})"
        )
        camera = Camera(
            np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]),
            path / "K.txt (missing: published camera assumed)",
        )
    nearest_depth, depth_gap = nearest(depth_times, image_times)
    nearest_pose, pose_gap = nearest(truth[:, 0], image_times)
    matched = (depth_gap <= MAX_GAP) & (pose_gap <= MAX_GAP)
    if not matched.any():
        raise InputError(
            f"{path}: no image has a depth map and a pose within {MAX_GAP} s; are the three clocks the same?"
        )
    if not matched.all():
        notes.append(
            f"{(~matched).sum()} of {len(matched)} images have no depth map or pose within {MAX_GAP} s and are left out"
        )
    lost = ~np.isfinite(truth).all(1)
    quaternions = np.where(lost[:, None], [0, 0, 0, 1], truth[:, 4:])
    if (np.abs(np.linalg.norm(quaternions, axis=1) - 1) > 1e-2).any():
        raise InputError(
            f"{truth_file}: the rotations (columns 5-8, qx qy qz qw) are not unit quaternions."
        )
    poses = np.tile(np.eye(4), (len(truth), 1, 1))
    poses[:, :3, :3] = Rotation.from_quat(quaternions).as_matrix()
    poses[:, :3, 3] = truth[:, 1:4]
    poses[lost] = np.nan
    frames = [
        Frame(
            images[i].stem,
            path / images[i],
            path / depths[nearest_depth[i]],
            poses[nearest_pose[i]],
            truth_file,
            camera,
        )
        for i in matched.nonzero()[0]
    ]
    return Capture(path, frames, depth_scale=5000.0, notes=notes)


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


def nearest(times: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every wanted time the index of the nearest of the sorted ``times``, and how far away it
    is.
    """
    after = np.minimum(np.searchsorted(times, wanted), len(times) - 1)
    before = np.maximum(after - 1, 0)
    index = np.where(np.abs(times[before] - wanted) < np.abs(times[after] - wanted), before, after)
    return index, np.abs(times[index] - wanted)
