"""The checks between a capture on disk and a Scene: depth values, camera matrices, poses."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rooms import moved
from scipy.spatial.transform import Rotation

from leovl_mini.scans.scene import (
    InputError,
    Object,
    Scene,
    check_intrinsics,
    check_pose,
    clean_depth,
)

K = np.array([[50.0, 0, 31.5], [0, 52, 23.5], [0, 0, 1]])
SIZE = 48, 64  # height, width
TURN = Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix()
rotations = arrays(float, 3, elements=st.floats(-3, 3)).map(
    lambda v: Rotation.from_rotvec(v).as_matrix()
)


def changed(matrix: np.ndarray, at: tuple[int, int], value: float) -> np.ndarray:
    matrix = matrix.copy()
    matrix[at] = value
    return matrix


def test_integer_depth_becomes_metres_and_0_and_65535_become_none():
    depth = clean_depth(np.array([[0, 1, 1234, 65534, 65535]], dtype=np.uint16), 1000.0)
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, [[0, 0.001, 1.234, 65.534, 0]], rtol=1e-6)


def test_signed_depth_below_zero_becomes_none():
    np.testing.assert_array_equal(
        clean_depth(np.array([[-5, 2000]], dtype=np.int32), 1000.0), [[0, 2]]
    )


def test_float_depth_keeps_65535_and_loses_everything_that_is_no_distance():
    depth = clean_depth(
        np.array([[np.nan, np.inf, -np.inf, -1, 0, 2.5, 65535]], dtype=np.float32), 1.0
    )
    np.testing.assert_array_equal(depth, [[0, 0, 0, 0, 0, 2.5, 65535]])


@given(arrays(np.float32, (4, 5), elements=st.floats(width=32)))
def test_cleaned_depth_is_always_finite_and_never_negative(raw):
    depth = clean_depth(raw, 1.0)
    assert np.isfinite(depth).all() and (depth >= 0).all()


@pytest.mark.parametrize(
    "matrix", [K, np.pad(K, (0, 1)), changed(K, (0, 1), 0.3)], ids=["3x3", "4x4", "skewed"]
)
def test_a_good_camera_matrix_comes_back_as_3x3_float32(matrix):
    checked = check_intrinsics(matrix, SIZE, "K.txt")
    assert checked.dtype == np.float32
    np.testing.assert_allclose(checked, matrix[:3, :3], rtol=1e-6)


@pytest.mark.parametrize(
    "matrix, message",
    [
        (K[:2], "must be 3x3"),
        (changed(K, (0, 2), np.nan), "finite"),
        (K.T, "transposed"),
        (K[[1, 0, 2]], "form"),
        (changed(K, (1, 0), 2.0), "form"),
        (changed(K, (2, 2), 2.0), "form"),
        (np.zeros((3, 3)), "form"),
        (changed(K, (0, 0), 0.0), "focal"),
        (changed(K, (1, 1), -52.0), "focal"),
        (changed(K, (0, 2), 64.0), "outside"),
        (changed(K, (0, 2), 0.0), "outside"),
        (changed(K, (1, 2), 48.0), "outside"),
        (changed(K, (1, 2), -1.0), "outside"),
        (changed(changed(K, (0, 2), K[1, 2]), (1, 2), K[0, 2]), "swapped"),
    ],
)
def test_a_bad_camera_matrix_is_refused(matrix, message):
    with pytest.raises(InputError, match=rf"^K\.txt: .*{message}"):
        check_intrinsics(matrix, SIZE, "K.txt")


@pytest.mark.parametrize(
    "rotation", [changed(TURN, (0, 0), TURN[0, 0] + 4e-4), TURN.round(4), TURN * (1 + 2e-4)]
)
def test_a_pose_as_exact_as_real_files_are_becomes_rigid(rotation):
    pose = check_pose(moved(rotation, [1, 2, 3]), "pose").astype(float)
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(pose, moved(TURN, [1, 2, 3]), atol=4e-4)


@given(
    rotations, arrays(float, (3, 3), elements=st.floats(-2.8e-4, 2.8e-4))
)  # at most 2 sqrt(3) 2.8e-4 < 1e-3 off orthonormal
def test_any_rotation_with_a_little_noise_becomes_rigid_and_stays_where_it_was(rotation, noise):
    pose = check_pose(moved(rotation + noise), "pose").astype(float)
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-6)
    assert np.linalg.det(pose[:3, :3]) > 0
    np.testing.assert_allclose(pose[:3, :3], rotation, atol=1e-3)


@pytest.mark.parametrize(
    "pose, message",
    [
        (moved(TURN * 1.01), "orthonormal"),
        (moved(changed(TURN, (1, 1), TURN[1, 1] + 5e-3)), "orthonormal"),
        (moved(np.zeros((3, 3))), "orthonormal"),
        (moved(TURN @ np.diag([1, 1, -1])), "left-handed"),
        (moved(TURN).T, "last row"),
        (changed(moved(TURN), (3, 3), 2.0), "last row"),
    ],
)
def test_a_pose_that_is_not_rigid_is_refused(pose, message):
    with pytest.raises(InputError, match=f"^frame 7: .*{message}"):
        check_pose(pose, "frame 7")


def test_moving_a_scene_moves_every_tensor_and_keeps_the_rest():
    zeros = torch.zeros(2, 3, 4)
    views = {"rgb": torch.zeros(2, 3, 4, 3).byte(), "depth": zeros, "instances": zeros.int()}
    cameras = {
        "intrinsics": torch.eye(3).repeat(2, 1, 1),
        "camera_to_world": torch.eye(4).repeat(2, 1, 1),
    }
    box = Object(1, "box", (0.0, 0.0, 0.5), (1.0, 1.0, 1.0))
    scene = Scene(
        **views,
        **cameras,
        objects=[box],
        name="room",
        frame_names=["a", "b"],
        dropped={"lost pose": 1},
        notes=["n"],
    )
    there = scene.to("meta")  # a device that every machine has
    for name in [*views, *cameras, "world_from_capture"]:
        assert getattr(there, name).device.type == "meta", name
    for name in ["objects", "name", "frame_names", "dropped", "notes"]:
        assert getattr(there, name) == getattr(scene, name), name
    assert len(there) == 2 and scene.rgb.device.type == "cpu"
    assert Scene(views["rgb"], views["depth"], **cameras).to("meta").instances is None
