"""What loading does the same for every file format: bring colour and depth together, choose frames,
refuse wrong arguments. A real capture must agree with itself.
"""

import numpy as np
import pytest
import torch
from rooms import box_scene, camera, distances, look, write_plain

from leovl_mini.scans import load_scene
from leovl_mini.scans.frames import rescale_intrinsics
from leovl_mini.scans.geometry import back_project, project
from leovl_mini.scans.scene import InputError, Scene

# -- two cameras -----------------------------------------------------------------------------------

# the box, a jump in colour, is out of sight
LOOKING_AWAY = np.stack([look((2, 1.4, 1.2), yaw, pitch=10) for yaw in (-60, -100)])


def two_cameras(path, colour_camera, depth_camera, state_both=True):
    """A capture whose colour and depth images have cameras of their own: (K, width, height)."""
    (K, *size), (depth_K, *depth_size) = colour_camera, depth_camera
    colour = box_scene(2, *size, poses=LOOKING_AWAY, K=K)
    by_depth = box_scene(2, *depth_size, poses=LOOKING_AWAY, K=depth_K)
    write_plain(path, colour.rgb, by_depth.depth, K, LOOKING_AWAY)
    if state_both:
        np.savetxt(path / "K_depth.txt", depth_K)
    return load_scene(path), by_depth


@pytest.mark.parametrize(
    "width, height, other_camera",
    [(128, 96, False), (224, 168, False), (80, 60, False), (32, 24, False)]
    + [(64, 48, True), (128, 96, True)],
)
def test_colour_is_resampled_onto_the_depth_camera(tmp_path, width, height, other_camera):
    """The colours change by up to 7 levels per pixel: half a pixel off would be more than the
    tolerance.
    """
    focal, centre = (0.9, (0.45, 0.53)) if other_camera else (0.6, (0.51, 0.48))
    colour_camera = camera(width, height, focal=0.6), width, height
    depth_camera = camera(64, 48, focal, centre), 64, 48
    scene, by_depth = two_cameras(tmp_path / "room", colour_camera, depth_camera, other_camera)
    assert f"colour ({width}x{height}) resampled onto the depth camera (64x48)" in scene.notes
    np.testing.assert_allclose(scene.intrinsics[0], by_depth.K, atol=1e-4)
    assert distances(scene, by_depth).max() < 0.002
    worst = np.abs(scene.rgb.numpy().astype(int) - by_depth.rgb).max()
    assert worst <= (5 if width < 64 else 3)


def test_fine_texture_is_averaged_not_skipped_when_colour_has_more_pixels_than_depth(tmp_path):
    room = box_scene(views=2)
    noise = np.random.default_rng(0).integers(0, 256, (2, 192, 256, 3)).astype(np.uint8)
    path = write_plain(tmp_path / "room", noise, room.depth, camera(256, 192), room.camera_to_world)
    spread = noise.std() / load_scene(path).rgb.float().std()
    assert spread == pytest.approx(4, rel=0.05)  # the mean of 4x4 independent pixels


def test_where_the_colour_camera_sees_nothing_the_scene_is_black(tmp_path):
    narrow, wide = (camera(64, 48, focal=1.8), 64, 48), (camera(64, 48, focal=0.9), 64, 48)
    rgb = two_cameras(tmp_path / "room", narrow, wide)[0].rgb
    assert rgb[:, :, :15].max() == 0 and rgb[:, :10].max() == 0  # a quarter of the view a side
    assert rgb[:, 14:34, 18:46].float().mean() > 50


def test_a_smaller_image_is_the_same_camera_with_edges_not_centres_scaled():
    K = torch.tensor([[100.0, 0, 63.5], [0, 100, 47.5], [0, 0, 1]])  # the middle of 128x96 pixels
    half = rescale_intrinsics(K, (96, 128), (48, 64))
    torch.testing.assert_close(half, torch.tensor([[50.0, 0, 31.5], [0, 50, 23.5], [0, 0, 1]]))
    torch.testing.assert_close(rescale_intrinsics(half, (48, 64), (96, 128)), K)
    torch.testing.assert_close(rescale_intrinsics(K, (96, 128), (96, 64))[1], K[1])  # same height


# -- which frames ----------------------------------------------------------------------------------


def test_frames_without_depth_are_dropped_and_counted(tmp_path):
    room = box_scene()
    room.depth[1] = 0
    scene = load_scene(write_plain(tmp_path / "room", *room))
    assert scene.dropped == {"no depth": 1} and len(scene) == len(scene.frame_names) == 7


def test_if_every_pose_is_lost_there_is_no_scene(tmp_path):
    path = write_plain(tmp_path / "room", *box_scene(views=3))
    np.savetxt(path / "poses.txt", np.full((3, 16), np.nan))
    with pytest.raises(InputError, match="none of its 3 frames has a finite pose"):
        load_scene(path)


def test_a_single_usable_frame_is_a_scene_with_a_warning(tmp_path):
    path = write_plain(tmp_path / "room", *box_scene(views=1))
    with pytest.warns(UserWarning, match="only one usable frame"):
        assert len(load_scene(path)) == 1


@pytest.mark.parametrize("choose", ["spread", "overlap"])
def test_max_frames_is_a_limit_and_the_rest_is_counted(tmp_path, choose):
    path = write_plain(tmp_path / "room", *box_scene(views=8))
    for count in (2, 5, 8, 40):
        scene = load_scene(path, max_frames=count, choose=choose)
        assert len(scene) == min(count, 8)
        assert scene.dropped.get("not chosen", 0) == max(0, 8 - count)
        assert scene.frame_names == sorted(set(scene.frame_names))  # along the trajectory


def test_spread_takes_frames_evenly_from_the_first_to_the_last(tmp_path):
    path = write_plain(tmp_path / "room", *box_scene(views=9))
    assert load_scene(path, max_frames=3).frame_names == ["00000", "00004", "00008"]


def test_overlap_sees_more_of_the_room_than_an_even_spread(tmp_path):
    """A camera that stands still and turns away for single frames only: 2, 6, 9 and 13 of 16."""
    turned = {2: 110, 6: 170, 9: 230, 13: 290}
    poses = np.stack([look((2, 2, 1.5), turned.get(i, 20 + i / 2)) for i in range(16)])
    room = box_scene(poses=poses)
    path = write_plain(tmp_path / "room", *room)

    def space_seen(names: list[str]) -> int:
        chosen = room.only([int(name) for name in names])
        cells = np.floor(chosen.points()[chosen.depth > 0] / 0.2)
        return len(np.unique(cells, axis=0))

    even, overlap, again = (
        load_scene(path, max_frames=4, choose=how).frame_names
        for how in ("spread", "overlap", "overlap")
    )
    assert len(overlap) == 4 and overlap == again
    assert space_seen(overlap) > 1.5 * space_seen(even)


@pytest.mark.parametrize(
    "argument", [{"choose": "best"}, {"max_frames": 0}, {"max_frames": -3}, {"up": "w"}]
)
def test_a_wrong_argument_is_a_value_error_that_names_it(tmp_path, argument):
    path = write_plain(tmp_path / "room", *box_scene(views=2))
    with pytest.raises(ValueError, match=next(iter(argument))) as error:
        load_scene(path, **argument)
    assert not isinstance(error.value, InputError)  # the capture is not to blame


# -- a real capture --------------------------------------------------------------------------------


def agreement(scene: Scene, camera_to_world: torch.Tensor) -> tuple[float, float]:
    """Every frame's points as the next frame sees them: median |dz| in metres and share within 5
    cm, the mean over the pairs.
    """
    points = back_project(scene.depth, scene.intrinsics, camera_to_world)[:-1, ::2, ::2]
    pixels, z = project(points.flatten(1, 2), scene.intrinsics[1:], camera_to_world[1:])
    height, width = scene.depth.shape[1:]
    u, v = pixels.nan_to_num(-1).round().clamp(-1, 10_000).long().unbind(-1)
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    inside &= (z > 0) & (scene.depth[:-1, ::2, ::2].flatten(1) > 0)
    figures = []
    for k, seen in enumerate(inside):
        measured = scene.depth[k + 1, v[k, seen], u[k, seen]]
        error = (z[k, seen] - measured).abs()[measured > 0]
        if len(error):
            figures.append((float(error.median()), float((error < 0.05).float().mean())))
    assert len(figures) > 20
    median, share = np.mean(figures, axis=0)
    return float(median), float(share)


def test_neighbouring_real_frames_agree_and_do_not_with_inverted_poses(hololens_room):
    scene = load_scene(hololens_room)
    median, share = agreement(scene, scene.camera_to_world)
    assert median <= 0.012 and share >= 0.90
    median, share = agreement(scene, torch.linalg.inv(scene.camera_to_world))
    assert median > 0.3 and share < 0.2
