"""A known room written in every layout must come back point by point; wrong conventions must not;
real frames must agree.
"""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rooms import (
    Room,
    back_projected,
    box_scene,
    camera,
    look,
    moved,
    write_poses_txt,
    write_seven_scenes,
    write_tum,
)

from leovl_mini.scans import load_scene
from leovl_mini.scans.load import open_capture
from leovl_mini.scans.geometry import back_project, project
from leovl_mini.scans.frames import rescale_intrinsics
from leovl_mini.scans.scene import InputError, Object, Scene

KINECT = np.array([[585.0, 0, 320], [0, 585, 240], [0, 0, 1]])
WRITERS = {
    "poses.txt": write_poses_txt,
    "7-Scenes": write_seven_scenes,
    "tsdf-fusion": partial(write_seven_scenes, tsdf_fusion=True),
    "TUM": write_tum,
}
POSE_FILES = {
    "poses.txt": "poses.txt",
    "7-Scenes": "*.pose.txt",
    "tsdf-fusion": "*.pose.txt",
    "TUM": "groundtruth.txt",
}


def known_room(layout: str) -> Room:
    """The room in a tilted world; 7-Scenes states no camera, so its frames must be those of its
    Kinect.
    """
    return (
        box_scene(2, 640, 480, K=KINECT, world="tilted")
        if layout == "7-Scenes"
        else box_scene(world="tilted")
    )


def only(room: Room, frames: list[int]) -> Room:
    return Room(room.rgb[frames], room.depth[frames], room.K, room.camera_to_world[frames])


def distances(scene: Scene, room: Room) -> np.ndarray:
    """How far (metres) each measured point of the loaded scene lies from where it is in the
    capture's world.
    """
    loaded = back_project(
        scene.depth,
        scene.intrinsics,
        torch.linalg.inv(scene.world_from_capture) @ scene.camera_to_world,
    )
    true = np.stack(
        [
            back_projected(d, room.K, pose)
            for d, pose in zip(room.depth, room.camera_to_world, strict=True)
        ]
    )
    return np.linalg.norm(loaded.numpy() - true, axis=-1)[room.depth > 0]


def rewrite(path: Path, pattern: str, change) -> None:
    """Replace the numbers in the matching files by ``change(numbers)``."""
    for file in path.glob(pattern):
        np.savetxt(file, change(np.loadtxt(file, ndmin=2)))


def drop_lines(file: Path, *numbers: int) -> None:
    file.write_text(
        "".join(
            line
            for i, line in enumerate(file.read_text().splitlines(keepends=True))
            if i not in numbers
        )
    )


@pytest.fixture(scope="module", params=WRITERS)
def round_trip(request, tmp_path_factory) -> tuple[Room, Scene]:
    room = known_room(request.param)
    return room, load_scene(
        WRITERS[request.param](tmp_path_factory.mktemp("captures") / "room", *room)
    )


# --- what was written comes back


def test_every_point_comes_back_to_2_mm(round_trip):
    room, scene = round_trip
    assert distances(scene, room).max() < 0.002


def test_every_colour_and_every_hole_comes_back(round_trip):
    room, scene = round_trip
    np.testing.assert_array_equal(scene.rgb.numpy(), room.rgb)
    np.testing.assert_array_equal(scene.depth.numpy() > 0, room.depth > 0)
    assert not any("resampled" in note for note in scene.notes)


def test_the_scene_is_named_and_tells_what_was_done(round_trip):
    room, scene = round_trip
    assert scene.name == "room" and len(set(scene.frame_names)) == len(scene) == len(room.rgb)
    assert scene.dropped == {} and sum(note.startswith("gravity: ") for note in scene.notes) == 1
    assert scene.instances is None and scene.objects == []


# --- and would not come back if a convention were wrong


def transposed(rows: np.ndarray) -> np.ndarray:
    poses = rows.reshape(-1, 4, 4).copy()
    poses[:, :3, :3] = poses[:, :3, :3].mT
    return poses.reshape(rows.shape)


def inverted(rows: np.ndarray) -> np.ndarray:
    return np.linalg.inv(rows.reshape(-1, 4, 4)).reshape(rows.shape)


def wxyz(rows: np.ndarray) -> np.ndarray:
    return rows[:, [0, 1, 2, 3, 7, 4, 5, 6]]


def conjugated(rows: np.ndarray) -> np.ndarray:
    return rows * [1, 1, 1, 1, -1, -1, -1, 1]


@pytest.mark.parametrize(
    "layout, change",
    [
        ("poses.txt", transposed),
        ("poses.txt", inverted),
        ("tsdf-fusion", transposed),
        ("tsdf-fusion", inverted),
        ("TUM", wxyz),
        ("TUM", conjugated),
    ],
)
def test_poses_in_a_wrong_convention_are_far_off(tmp_path, layout, change):
    room = known_room(layout)
    path = WRITERS[layout](tmp_path / "room", *room)
    rewrite(path, POSE_FILES[layout], change)
    assert np.median(distances(load_scene(path), room)) > 0.1


def test_tum_depth_in_millimetres_is_far_off(tmp_path):
    room = known_room("TUM")
    assert (
        np.median(distances(load_scene(write_tum(tmp_path / "room", *room, scale=1000)), room))
        > 0.1
    )


# --- two cameras

LOOKING_AWAY = np.stack(
    [look((2, 1.4, 1.2), yaw, pitch=10) for yaw in (-60, -100)]
)  # the box, a jump in colour, is out of sight


@pytest.mark.parametrize(
    "size, other_camera, tolerance",
    [
        ((128, 96), False, 3),
        ((224, 168), False, 3),
        ((80, 60), False, 3),
        ((32, 24), False, 5),
        ((64, 48), True, 3),
        ((128, 96), True, 3),
    ],
)
def test_colour_is_resampled_onto_the_depth_camera(tmp_path, size, other_camera, tolerance):
    """The colours change by up to 7 levels per pixel: half a pixel off would be more than the
    tolerance.
    """
    colour = box_scene(
        poses=LOOKING_AWAY, width=size[0], height=size[1], K=camera(*size, focal=0.6)
    )
    focal, centre = (0.9, (0.45, 0.53)) if other_camera else (0.6, (0.51, 0.48))
    seen_by_depth = box_scene(poses=LOOKING_AWAY, K=camera(64, 48, focal, centre))
    path = write_poses_txt(
        tmp_path / "room", colour.rgb, seen_by_depth.depth, colour.K, colour.camera_to_world
    )
    if other_camera:
        np.savetxt(path / "K_depth.txt", seen_by_depth.K)
    scene = load_scene(path)
    assert f"colour ({size[0]}x{size[1]}) resampled onto the depth camera (64x48)" in scene.notes
    np.testing.assert_allclose(scene.intrinsics[0], seen_by_depth.K, atol=1e-4)
    assert distances(scene, seen_by_depth).max() < 0.002
    worst = np.abs(scene.rgb.numpy().astype(int) - seen_by_depth.rgb).max()
    assert worst <= tolerance


def test_fine_texture_is_averaged_not_skipped_when_colour_has_more_pixels_than_depth(tmp_path):
    room = box_scene(views=2)
    noise = np.random.default_rng(0).integers(0, 256, (2, 192, 256, 3)).astype(np.uint8)
    path = write_poses_txt(
        tmp_path / "room", noise, room.depth, camera(256, 192), room.camera_to_world
    )
    spread = noise.std() / load_scene(path).rgb.float().std()
    assert spread == pytest.approx(4, rel=0.05)  # the mean of 4x4 independent pixels


def test_where_the_colour_camera_sees_nothing_the_scene_is_black(tmp_path):
    colour = box_scene(poses=LOOKING_AWAY, K=camera(64, 48, focal=1.8))
    seen_by_depth = box_scene(poses=LOOKING_AWAY, K=camera(64, 48, focal=0.9))
    path = write_poses_txt(
        tmp_path / "room", colour.rgb, seen_by_depth.depth, colour.K, colour.camera_to_world
    )
    np.savetxt(path / "K_depth.txt", seen_by_depth.K)
    rgb = load_scene(path).rgb
    assert (
        rgb[:, :, :15].max() == 0 and rgb[:, :10].max() == 0
    )  # half the view, so a quarter of it on each side
    assert rgb[:, 14:34, 18:46].float().mean() > 50


def test_a_smaller_image_is_the_same_camera_with_edges_not_centres_scaled():
    K = torch.tensor(
        [[100.0, 0, 63.5], [0, 100, 47.5], [0, 0, 1]]
    )  # the exact middle of 128x96 pixels
    half = rescale_intrinsics(K, (96, 128), (48, 64))
    torch.testing.assert_close(half, torch.tensor([[50.0, 0, 31.5], [0, 50, 23.5], [0, 0, 1]]))
    torch.testing.assert_close(rescale_intrinsics(half, (48, 64), (96, 128)), K)
    torch.testing.assert_close(
        rescale_intrinsics(K, (96, 128), (96, 64))[1], K[1]
    )  # the height is as it was


# --- which frames


@pytest.mark.parametrize(
    "layout, file, lost",
    [
        ("poses.txt", "poses.txt", -np.inf),
        ("poses.txt", "poses.txt", np.nan),
        ("tsdf-fusion", "frame-000001.pose.txt", -np.inf),
        ("TUM", "groundtruth.txt", np.nan),
    ],
)
def test_frames_with_a_lost_pose_are_dropped_and_counted(tmp_path, layout, file, lost):
    def lose(rows: np.ndarray) -> np.ndarray:
        rows[1, 1:] = lost
        return rows

    room = known_room(layout)
    path = WRITERS[layout](tmp_path / "room", *room)
    rewrite(path, file, lose)
    scene = load_scene(path)
    assert scene.dropped == {"lost pose": 1}
    assert distances(scene, only(room, [i for i in range(len(room.rgb)) if i != 1])).max() < 0.002


@pytest.mark.parametrize("layout", ["poses.txt", "tsdf-fusion", "TUM"])
def test_frames_without_depth_are_dropped_and_counted(tmp_path, layout):
    room = known_room(layout)
    room.depth[1] = 0
    scene = load_scene(WRITERS[layout](tmp_path / "room", *room))
    assert (
        scene.dropped == {"no depth": 1}
        and len(scene) == len(scene.frame_names) == len(room.rgb) - 1
    )


def test_if_every_pose_is_lost_there_is_no_scene(tmp_path):
    path = write_poses_txt(tmp_path / "room", *box_scene(views=3))
    rewrite(path, "poses.txt", lambda rows: rows * np.nan)
    with pytest.raises(InputError, match="none of its 3 frames has a finite pose"):
        load_scene(path)


def test_a_single_usable_frame_is_a_scene_with_a_warning(tmp_path):
    path = write_poses_txt(tmp_path / "room", *box_scene(views=1))
    with pytest.warns(UserWarning, match="only one usable frame"):
        assert len(load_scene(path)) == 1


@pytest.mark.parametrize("choose", ["spread", "overlap"])
@pytest.mark.parametrize("count", [2, 5, 8, 40])
def test_max_frames_is_a_limit_and_the_rest_is_counted(tmp_path, choose, count):
    scene = load_scene(
        write_poses_txt(tmp_path / "room", *box_scene(views=8)), max_frames=count, choose=choose
    )
    assert len(scene) == min(count, 8) and scene.dropped.get("not chosen", 0) == max(0, 8 - count)
    assert scene.frame_names == sorted(set(scene.frame_names))  # in the order of the trajectory


def test_spread_takes_frames_evenly_from_the_first_to_the_last(tmp_path):
    path = write_poses_txt(tmp_path / "room", *box_scene(views=9))
    assert load_scene(path, max_frames=3).frame_names == ["00000", "00004", "00008"]


def test_overlap_sees_more_of_the_room_than_an_even_spread(tmp_path):
    """A camera that stands still and turns away for single frames only: 2, 6, 9 and 13 of 16."""
    turned = {2: 110, 6: 170, 9: 230, 13: 290}
    room = box_scene(
        poses=np.stack([look((2, 2, 1.5), turned.get(i, 20 + i / 2)) for i in range(16)])
    )
    path = write_poses_txt(tmp_path / "room", *room)

    def space_seen(names: list[str]) -> int:
        chosen = only(room, [int(name) for name in names])
        points = [
            back_projected(d, room.K, pose)
            for d, pose in zip(chosen.depth, chosen.camera_to_world, strict=True)
        ]
        return len(np.unique(np.floor(np.stack(points)[chosen.depth > 0] / 0.2), axis=0))

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
    path = write_poses_txt(tmp_path / "room", *box_scene(views=2))
    with pytest.raises(ValueError, match=next(iter(argument))) as error:
        load_scene(path, **argument)
    assert not isinstance(error.value, InputError)  # the capture is not to blame


# --- poses.txt


def twelve_numbers(path: Path) -> None:
    rewrite(path, "poses.txt", lambda rows: rows[:, :12])


def commas_and_comments(path: Path) -> None:
    file = path / "poses.txt"
    file.write_text("# row-major camera-to-world\n\n" + file.read_text().replace(" ", ", "))


def float_tiff(path: Path) -> None:
    for file in (path / "depth").iterdir():
        Image.fromarray(np.asarray(Image.open(file)).astype(np.float32) / 1000).save(
            file.with_suffix(".tiff")
        )
        file.unlink()


def no_frames_txt(path: Path) -> None:
    (path / "frames.txt").unlink()


def rename_frames(path: Path, names: list[str], listed: list[str]) -> None:
    for i, name in enumerate(names):
        for folder in ("images", "depth"):
            (path / folder / f"{i:05d}.png").rename(path / folder / name)
    (path / "frames.txt").write_text("\n".join(listed))


def names_not_in_alphabetical_order(path: Path) -> None:
    names = [f"{9 - i}.png" for i in range(8)]
    rename_frames(path, names, listed=names)


def time_stamps_as_names(path: Path) -> None:
    names = [f"1305031102.{i}" for i in range(8)]
    rename_frames(path, [f"{name}.png" for name in names], listed=names)


@pytest.mark.parametrize(
    "variant",
    [
        twelve_numbers,
        commas_and_comments,
        float_tiff,
        no_frames_txt,
        names_not_in_alphabetical_order,
        time_stamps_as_names,
    ],
)
def test_poses_txt_variants_are_the_same_scene(tmp_path, variant):
    room = known_room("poses.txt")
    path = write_poses_txt(tmp_path / "room", *room)
    variant(path)
    assert distances(load_scene(path), room).max() < 0.002


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA"])
def test_images_of_any_8_bit_kind_become_three_channels(tmp_path, mode):
    path = write_poses_txt(tmp_path / "room", *box_scene(views=2))
    for file in (path / "images").iterdir():
        Image.open(file).convert(mode).save(file)
    assert load_scene(path).rgb.shape == (2, 48, 64, 3)


def test_instances_and_scene_json_are_read(tmp_path):
    room = box_scene(views=2)
    path = write_poses_txt(tmp_path / "room", *room)
    masks = np.random.default_rng(0).integers(0, 1000, room.depth.shape).astype(np.uint16)
    (path / "instances").mkdir()
    for i, mask in enumerate(masks):
        Image.fromarray(mask).save(path / "instances" / f"{i:05d}.png")
    box = {
        "id": 7,
        "category": "box",
        "center": [1.6, 2.6, 0.35],
        "size": [0.8, 0.8, 0.7],
        "yaw": 0.5,
        "attributes": {"of": "oak"},
    }
    (path / "scene.json").write_text(json.dumps({"up": "z", "floor": 0.0, "objects": [box]}))
    scene = load_scene(path)
    np.testing.assert_array_equal(scene.instances.numpy(), masks)
    assert scene.objects == [
        Object(7, "box", (1.6, 2.6, 0.35), (0.8, 0.8, 0.7), 0.5, {"of": "oak"})
    ]
    torch.testing.assert_close(
        scene.world_from_capture, torch.eye(4)
    )  # up and floor were told, so nothing moves


def test_objects_are_left_out_when_the_world_they_were_measured_in_is_turned(tmp_path):
    path = write_poses_txt(tmp_path / "room", *box_scene(views=2, world="y-up"))
    box = {"id": 1, "category": "box", "center": [1.6, 2.6, 0.35], "size": [0.8, 0.8, 0.7]}
    (path / "scene.json").write_text(json.dumps({"objects": [box]}))
    assert load_scene(path).objects == []


def test_scene_json_tells_up_and_floor(tmp_path):
    path = write_poses_txt(
        tmp_path / "room", *box_scene(views=2, world=moved(np.eye(3), (0, 0, 3)))
    )
    (path / "scene.json").write_text(json.dumps({"up": "z", "floor": 2.5}))
    np.testing.assert_allclose(
        load_scene(path).world_from_capture, moved(np.eye(3), (0, 0, -2.5)), atol=1e-6
    )


def test_a_known_floor_height_belongs_to_the_known_axis(tmp_path):
    path = write_poses_txt(tmp_path / "room", *box_scene(views=2))
    (path / "scene.json").write_text(json.dumps({"up": "x", "floor": 2.5}))
    np.testing.assert_allclose(load_scene(path, up="z").world_from_capture, np.eye(4), atol=1e-3)


def test_instances_of_some_frames_only_are_no_instances(tmp_path):
    path = write_poses_txt(tmp_path / "room", *box_scene(views=2))
    (path / "instances").mkdir()
    Image.fromarray(np.ones((48, 64), np.uint16)).save(path / "instances" / "00000.png")
    assert load_scene(path).instances is None


# --- 7-Scenes and tsdf-fusion


def test_seven_scenes_without_calibration_gets_the_kinect_and_a_note(tmp_path):
    capture = open_capture(write_seven_scenes(tmp_path / "seq-01", *box_scene(views=1)))
    np.testing.assert_array_equal(capture.frames[0].camera.matrix, KINECT)
    assert any("Kinect is assumed" in note for note in capture.notes)


def test_tsdf_fusion_calibration_may_lie_beside_the_frames_or_above_them(tmp_path):
    room = box_scene(views=1)
    path = write_seven_scenes(tmp_path / "rgbd-frames", *room, tsdf_fusion=True)
    np.testing.assert_allclose(open_capture(path).frames[0].camera.matrix, room.K, rtol=1e-5)
    (path / "camera-intrinsics.txt").rename(tmp_path / "camera-intrinsics.txt")
    np.testing.assert_allclose(open_capture(path).frames[0].camera.matrix, room.K, rtol=1e-5)
    assert not open_capture(path).notes


def test_seven_scenes_colour_may_be_jpg(tmp_path):
    path = write_seven_scenes(tmp_path / "room", *box_scene(views=2), tsdf_fusion=True)
    for file in path.glob("*.color.png"):
        Image.open(file).save(file.with_suffix(".jpg"))
        file.unlink()
    assert len(load_scene(path)) == 2


# --- TUM


def test_tum_images_without_a_partner_within_20_ms_are_left_out_with_a_note(tmp_path):
    room = known_room("TUM")
    path = write_tum(tmp_path / "room", *room)
    drop_lines(
        path / "depth.txt", 3 + 2
    )  # three lines of comments; the neighbours' depth maps are 22 and 44 ms away
    drop_lines(path / "groundtruth.txt", 3 + 5)
    scene = load_scene(path)
    assert "2 of 8 images have no depth map or pose within 0.02 s and are left out" in scene.notes
    assert distances(scene, only(room, [0, 1, 3, 4, 6, 7])).max() < 0.002


def test_tum_lists_need_not_be_sorted(tmp_path):
    room = known_room("TUM")
    path = write_tum(tmp_path / "room", *room)
    for name in ("depth.txt", "groundtruth.txt"):
        file = path / name
        file.write_text("\n".join(reversed(file.read_text().splitlines())))
    assert distances(load_scene(path), room).max() < 0.002


@pytest.mark.parametrize(
    "folder, fx, fy, cx, cy",
    [
        ("rgbd_dataset_freiburg1_xyz", 517.3, 516.5, 318.6, 255.3),
        ("rgbd_dataset_freiburg2_desk", 520.9, 521.0, 325.1, 249.7),
        ("rgbd_dataset_freiburg3_long_office_household", 535.4, 539.2, 320.1, 247.6),
        ("my_kinect", 525.0, 525.0, 319.5, 239.5),
    ],
)
def test_tum_without_k_txt_gets_the_published_camera_and_a_note(tmp_path, folder, fx, fy, cx, cy):
    path = write_tum(tmp_path / folder, *box_scene(views=1))
    (path / "K.txt").unlink()
    capture = open_capture(path)
    np.testing.assert_array_equal(
        capture.frames[0].camera.matrix, [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]
    )
    assert any("no K.txt" in note for note in capture.notes)


# --- a real capture


def agreement(scene: Scene, camera_to_world: torch.Tensor) -> tuple[float, float]:
    """Every frame's points as the next frame sees them: median |dz| in metres and share within 5
    cm, the mean over the pairs.
    """
    points = back_project(scene.depth, scene.intrinsics, camera_to_world)[:-1, ::2, ::2].flatten(
        1, 2
    )
    pixels, z = project(points, scene.intrinsics[1:], camera_to_world[1:])
    height, width = scene.depth.shape[1:]
    u, v = pixels.nan_to_num(-1).round().clamp(-1, 10_000).long().unbind(-1)
    inside = (
        (scene.depth[:-1, ::2, ::2].flatten(1) > 0)
        & (z > 0)
        & (u >= 0)
        & (u < width)
        & (v >= 0)
        & (v < height)
    )
    figures = []
    for k, seen in enumerate(inside):
        measured = scene.depth[k + 1, v[k, seen], u[k, seen]]
        error = (z[k, seen] - measured).abs()[measured > 0]
        if len(error):
            figures.append((float(error.median()), float((error < 0.05).float().mean())))
    assert len(figures) > 20
    median, share = np.mean(figures, axis=0)
    return float(median), float(share)


@pytest.fixture(scope="module")
def real_scene(hololens_room) -> Scene:
    return load_scene(hololens_room)


def test_neighbouring_real_frames_agree(real_scene):
    median, share = agreement(real_scene, real_scene.camera_to_world)
    assert median <= 0.012 and share >= 0.90


def test_neighbouring_real_frames_do_not_agree_with_inverted_poses(real_scene):
    median, share = agreement(real_scene, torch.linalg.inv(real_scene.camera_to_world))
    assert median > 0.3 and share < 0.2
