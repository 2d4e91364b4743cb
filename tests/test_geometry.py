"""Depth to points, and feature maps to 3D patches: against Open3D, against plain loops, and on
hand-made cells.
"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_inputs import devices, random_cameras, random_depth
from torch.testing import assert_close

from leovl_mini.perception.lift import lift, patch_centers, patchify
from leovl_mini.scans.geometry import back_project, pixel_grid, project, scene_points
from leovl_mini.scans.scene import Scene

UNEVEN = [
    (6, 8, 2, 4),
    (7, 5, 3, 2),
    (5, 7, 5, 7),
    (13, 17, 4, 5),
    (10, 3, 1, 1),
]  # H, W, rows, columns
ONE_CAMERA = torch.tensor([[[100.0, 0, 3.5], [0, 100, 3.5], [0, 0, 1]]]), torch.eye(4)[None]


def naive_cell(image: np.ndarray, row: int, column: int, rows: int, columns: int) -> np.ndarray:
    """The pixels of one cell of an image (H,W,...)."""
    height, width = image.shape[:2]
    return image[
        row * height // rows : (row + 1) * height // rows,
        column * width // columns : (column + 1) * width // columns,
    ]


def naive_center(
    depth: np.ndarray, points: np.ndarray, min_valid: float, tolerance: float
) -> np.ndarray | None:
    """The rule for one cell: median depth, pixels within the tolerance, mean of their points; None
    for too little depth.
    """
    valid = depth > 0
    if valid.sum() == 0 or valid.sum() < min_valid * depth.size:
        return None
    ordered = np.sort(depth[valid])
    median = ordered[(len(ordered) - 1) // 2]
    return points[valid & (abs(depth - median) <= tolerance * median)].mean(0)


def center_of_cell(depth: torch.Tensor) -> torch.Tensor | None:
    """The centre of an image (H,W) that is one single cell, or None."""
    centers, keep = patch_centers(depth[None], *ONE_CAMERA, 1, 1)
    return centers[0, 0, 0] if keep.item() else None


def test_back_project_equals_open3d():
    from leovl_mini.data.open3d_headless import open3d

    depth, (intrinsics, poses) = random_depth(3, 24, 32), random_cameras(3, 24, 32)
    points = back_project(depth, intrinsics, poses)
    for d, K, pose, ours in zip(
        depth, intrinsics.double().numpy(), poses.double().numpy(), points, strict=True
    ):
        cloud = open3d.geometry.PointCloud.create_from_depth_image(
            open3d.geometry.Image(d.numpy()),
            open3d.camera.PinholeCameraIntrinsic(32, 24, K[0, 0], K[1, 1], K[0, 2], K[1, 2]),
            np.linalg.inv(pose),
            depth_scale=1.0,
            project_valid_depth_only=True,
        )
        assert_close(
            ours[d > 0].double(), torch.from_numpy(np.asarray(cloud.points)), atol=1e-4, rtol=0
        )


def test_pixels_without_depth_land_on_the_camera_centre():
    intrinsics, poses = random_cameras(2, 4, 5)
    points = back_project(torch.zeros(2, 4, 5), intrinsics, poses)
    assert_close(points, poses[:, None, None, :3, 3].expand_as(points))


@given(seed=st.integers(0, 10**6), height=st.integers(1, 9), width=st.integers(1, 9))
def test_project_inverts_back_project(seed, height, width):
    depth, (intrinsics, poses) = (
        random_depth(2, height, width, seed, holes=0),
        random_cameras(2, height, width, seed),
    )
    pixels, z = project(back_project(depth, intrinsics, poses), intrinsics, poses)
    assert_close(z, depth, atol=1e-4, rtol=0)
    assert_close(pixels, pixel_grid(height, width)[..., :2].expand_as(pixels), atol=1e-3, rtol=0)


def test_a_point_behind_the_camera_has_negative_depth():
    _, z = project(torch.tensor([[[0.0, 0, -2]]]), *ONE_CAMERA)
    assert z.item() == -2


def test_scene_points_are_the_measured_pixels_with_their_colours():
    depth, (intrinsics, poses) = random_depth(2, 4, 5), random_cameras(2, 4, 5)
    rgb = torch.arange(2 * 4 * 5 * 3, dtype=torch.uint8).view(2, 4, 5, 3)
    points, colours = scene_points(Scene(rgb, depth, intrinsics, poses))
    assert len(points) == int((depth > 0).sum())
    pixels, _ = project(points[None], intrinsics[:1], poses[:1])
    first = (depth[0] > 0).nonzero()  # (row, column) of the measured pixels in view 0
    assert_close(pixels[0, : len(first)], first.flip(1).float(), atol=1e-3, rtol=0)
    assert torch.equal(colours[: len(first)], rgb[0][depth[0] > 0])


@devices
@pytest.mark.parametrize("height, width, rows, columns", [*UNEVEN, (3, 4, 5, 9)])
def test_cells_equal_a_plain_loop_and_hold_every_pixel_once(device, height, width, rows, columns):
    image = torch.arange(2.0 * height * width).view(2, height, width)
    cut = patchify(image.to(device), rows, columns, -1.0).cpu()
    assert cut.shape[:3] == (2, rows, columns)
    for view in range(2):
        for row in range(rows):
            for column in range(columns):
                expected = naive_cell(image[view].numpy(), row, column, rows, columns).ravel()
                assert (
                    cut[view, row, column][cut[view, row, column] >= 0].tolist()
                    == expected.tolist()
                )
    assert torch.equal(cut[cut >= 0].sort().values, image.flatten())


@devices
@pytest.mark.parametrize("height, width, rows, columns", UNEVEN)
@pytest.mark.parametrize("min_valid, tolerance", [(0.25, 0.1), (0.6, 0.5)])
def test_patch_centers_equal_a_plain_loop(
    device, height, width, rows, columns, min_valid, tolerance
):
    depth, (intrinsics, poses) = random_depth(3, height, width), random_cameras(3, height, width)
    inputs = (x.to(device) for x in (depth, intrinsics, poses))
    centers, keep = patch_centers(*inputs, rows, columns, min_valid, tolerance)
    points = back_project(depth, intrinsics, poses).numpy()
    for view in range(3):
        for row in range(rows):
            for column in range(columns):
                d, p = (
                    naive_cell(x, row, column, rows, columns)
                    for x in (depth[view].numpy(), points[view])
                )
                expected = naive_center(d, p, min_valid, tolerance)
                assert keep[view, row, column] == (expected is not None)
                if expected is not None:
                    assert_close(
                        centers[view, row, column].cpu(),
                        torch.from_numpy(expected),
                        atol=1e-4,
                        rtol=0,
                    )


@pytest.mark.parametrize("near, far", [(1.0, 3.0), (3.0, 1.0)])
@pytest.mark.parametrize("columns_near", [5, 6, 7, 8])
@pytest.mark.parametrize("holes", [False, True])
def test_a_cell_on_an_edge_gets_a_centre_on_the_larger_surface(near, far, columns_near, holes):
    depth = torch.full((8, 8), far)
    depth[:, :columns_near] = near
    if holes:
        depth[::2] = 0
    assert_close(center_of_cell(depth)[2], torch.tensor(near))


def test_a_cell_split_in_equal_halves_gets_a_centre_on_one_of_them():
    depth = torch.ones(8, 8)
    depth[:, 4:] = 3
    assert_close(
        center_of_cell(depth), torch.tensor([(1.5 - 3.5) / 100, 0, 1])
    )  # the nearer one, and its own middle column


def test_a_slanted_surface_is_averaged_whole():
    depth = torch.linspace(0.96, 1.04, 8).expand(8, 8)
    assert_close(center_of_cell(depth)[2], torch.tensor(1.0))


@pytest.mark.parametrize(
    "measured, kept", [(16, True), (4, True), (3, False), (1, False), (0, False)]
)
def test_a_cell_needs_a_quarter_of_its_pixels_measured(measured, kept):
    depth = torch.zeros(16)
    depth[:measured] = 1
    assert (center_of_cell(depth.view(4, 4)) is not None) == kept


@pytest.mark.parametrize("rows, columns", [(8, 8), (40, 40)])
def test_a_map_finer_than_the_depth_keeps_only_cells_that_hold_a_pixel(rows, columns):
    _, keep = patch_centers(torch.ones(1, 4, 4), *ONE_CAMERA, rows, columns)
    assert int(keep.sum()) == 16


@devices
def test_lift_keeps_or_counts_every_cell_and_leaves_features_untouched(device):
    depth, (intrinsics, poses) = random_depth(3, 13, 17, holes=0.7), random_cameras(3, 13, 17)
    features = torch.randn(3, 4, 5, 6)
    patches = lift(*(x.to(device) for x in (features, depth, intrinsics, poses)))
    centers, keep = patch_centers(depth, intrinsics, poses, 4, 5)
    view, row, column = patches.cells.cpu().unbind(1)
    assert 0 < patches.dropped < 60 and len(patches) + patches.dropped == 60
    assert torch.equal(patches.cells.cpu(), keep.nonzero())
    assert torch.equal(patches.features.cpu(), features[view, row, column])
    assert_close(patches.centers.cpu(), centers[view, row, column], atol=1e-4, rtol=0)


@devices
def test_no_depth_gives_no_patches(device):
    intrinsics, poses = random_cameras(2, 6, 8)
    patches = lift(
        *(x.to(device) for x in (torch.randn(2, 3, 4, 5), torch.zeros(2, 6, 8), intrinsics, poses))
    )
    assert len(patches) == 0 and patches.centers.shape == (0, 3) and patches.dropped == 24


def test_gradients_reach_exactly_the_kept_features():
    features = torch.randn(2, 4, 5, 6, requires_grad=True)
    patches = lift(features, random_depth(2, 13, 17, holes=0.75), *random_cameras(2, 13, 17))
    patches.features.sum().backward()
    kept = torch.zeros(2, 4, 5)
    kept[patches.cells.unbind(1)] = 1
    assert torch.equal(features.grad, kept[..., None].expand_as(features))
