"""Every file format in its published conventions: a known room comes back point by point, and does
not with poses in a wrong convention.

The room is written by the tests' own writers (rooms.py), which share no code with the package.
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
    box_scene,
    distances,
    look_around,
    moved,
    write_arkitscenes,
    write_multiscan,
    write_plain,
    write_rscan,
    write_scannet,
    write_seven_scenes,
    write_tum,
)
from scipy.spatial.transform import Rotation

from leovl_mini.scans import load_scene
from leovl_mini.scans.geometry import back_project
from leovl_mini.scans.load import open_capture
from leovl_mini.scans.scene import Object, Scene

KINECT = np.array([[585.0, 0, 320], [0, 585, 240], [0, 0, 1]])
ON_ITS_SIDE = moved(Rotation.from_euler("z", 90, degrees=True).as_matrix(), (0, 0, 0))

# writer, the world it writes in, and whether the camera lies on its side (a phone held upright)
FORMATS = {
    "plain": (write_plain, "tilted", False),
    "7-Scenes": (write_seven_scenes, "tilted", False),
    "tsdf-fusion": (partial(write_seven_scenes, tsdf_fusion=True), "tilted", False),
    "TUM": (write_tum, "tilted", False),
    "ScanNet": (write_scannet, "z-up", False),
    "3RScan": (write_rscan, "z-up", True),
    "ARKitScenes": (write_arkitscenes, "z-up", True),
    "MultiScan": (write_multiscan, "y-up", False),
}


def known_room(name: str) -> Room:
    """7-Scenes states no camera, so its frames must be those of its Kinect."""
    _, world, on_its_side = FORMATS[name]
    if name == "7-Scenes":
        return box_scene(2, 640, 480, K=KINECT, world=world)
    poses = look_around(8) @ ON_ITS_SIDE if on_its_side else None
    return box_scene(poses=poses, world=world)


def write(name: str, path: Path, room: Room) -> Path:
    return FORMATS[name][0](path, *room)


@pytest.fixture(scope="module", params=FORMATS)
def round_trip(request, tmp_path_factory) -> tuple[str, Room, Scene]:
    room = known_room(request.param)
    path = write(request.param, tmp_path_factory.mktemp("captures") / "room", room)
    return request.param, room, load_scene(path)


# -- what was written comes back -------------------------------------------------------------------


def test_every_point_comes_back_to_2_mm_and_holes_stay_holes(round_trip):
    _, room, scene = round_trip
    np.testing.assert_array_equal(scene.depth.numpy() > 0, room.depth > 0)
    assert distances(scene, room).max() < 0.002


def test_every_colour_comes_back_on_the_depth_camera(round_trip):
    """Exactly where images are PNG files and colour has the camera of depth."""
    name, room, scene = round_trip
    difference = np.abs(scene.rgb.numpy().astype(int) - room.rgb)
    if name in ("ScanNet", "3RScan"):
        assert np.quantile(difference[:, 3:-3, 3:-3], 0.95) <= 6
    else:
        assert difference.max() == 0
    assert any("resampled" in note for note in scene.notes) == (name == "ScanNet")


def test_up_is_up_and_the_scene_tells_what_was_done(round_trip):
    name, room, scene = round_trip
    z = back_project(scene.depth, scene.intrinsics, scene.camera_to_world)[scene.depth > 0][:, 2]
    assert abs(float(z.min())) < 0.02 and 1 < float(z.max()) < 2.52
    (note,) = (note for note in scene.notes if note.startswith("gravity: "))
    stated = name in ("ScanNet", "3RScan", "ARKitScenes", "MultiScan")  # others: estimated
    assert ("up is the capture's" in note) == stated
    assert scene.name == "room" and len(set(scene.frame_names)) == len(scene) == len(room.rgb)
    assert scene.dropped == {} and scene.instances is None and scene.objects == []


# -- and would not come back if a convention were wrong --------------------------------------------

MISTAKES = {
    "inverted": np.linalg.inv,
    "transposed": lambda poses: np.stack([moved(p[:3, :3].T, p[:3, 3]) for p in poses]),
    "other camera axes": lambda poses: poses @ np.diag([1, -1, -1, 1]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "7-Scenes"])
def test_poses_in_a_wrong_convention_are_far_off(tmp_path, name, mistake):
    room = known_room(name)
    wrong = room._replace(camera_to_world=MISTAKES[mistake](room.camera_to_world))
    scene = load_scene(write(name, tmp_path / "room", wrong))
    assert np.median(distances(scene, room)) > 0.1


def rewrite(file: Path, change) -> None:
    """Replace the numbers in a file by ``change(numbers)``."""
    np.savetxt(file, change(np.loadtxt(file, ndmin=2)))


@pytest.mark.parametrize("scale", [[1, 1, 1, 1, -1, -1, -1, 1], None], ids=["conjugated", "wxyz"])
def test_tum_quaternions_in_a_wrong_convention_are_far_off(tmp_path, scale):
    room = known_room("TUM")
    path = write_tum(tmp_path / "room", *room)
    order = [0, 1, 2, 3, 7, 4, 5, 6]
    rewrite(path / "groundtruth.txt", lambda x: x * scale if scale else x[:, order])
    assert np.median(distances(load_scene(path), room)) > 0.1


def test_tum_depth_in_millimetres_is_far_off(tmp_path):
    room = known_room("TUM")
    scene = load_scene(write_tum(tmp_path / "room", *room, scale=1000))
    assert np.median(distances(scene, room)) > 0.1


# -- lost poses, as each format writes them --------------------------------------------------------


@pytest.mark.parametrize(
    "name, file, lost",
    [
        ("plain", "poses.txt", -np.inf),
        ("plain", "poses.txt", np.nan),
        ("tsdf-fusion", "frame-000001.pose.txt", -np.inf),
        ("TUM", "groundtruth.txt", np.nan),
        ("ScanNet", "pose/1.txt", -np.inf),
        ("ARKitScenes", "lowres_wide.traj", np.nan),
    ],
)
def test_frames_with_a_lost_pose_are_dropped_and_counted(tmp_path, name, file, lost):
    def lose(rows: np.ndarray) -> np.ndarray:
        rows[2 if name == "ARKitScenes" else 1, 1:] = lost
        return rows

    room = known_room(name)
    path = write(name, tmp_path / "room", room)
    rewrite(path / file, lose)
    scene = load_scene(path)
    assert scene.dropped == {"lost pose": 1}
    assert distances(scene, room.only([0, 2, 3, 4, 5, 6, 7])).max() < 0.002


# -- plain -----------------------------------------------------------------------------------------


def twelve_numbers(path: Path) -> None:
    rewrite(path / "poses.txt", lambda rows: rows[:, :12])


def commas_and_comments(path: Path) -> None:
    file = path / "poses.txt"
    file.write_text("# row-major camera-to-world\n\n" + file.read_text().replace(" ", ", "))


def float_tiff(path: Path) -> None:
    for file in (path / "depth").iterdir():
        metres = np.asarray(Image.open(file)).astype(np.float32) / 1000
        Image.fromarray(metres).save(file.with_suffix(".tiff"))
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
def test_variants_of_plain_are_the_same_scene(tmp_path, variant):
    room = known_room("plain")
    path = write_plain(tmp_path / "room", *room)
    variant(path)
    assert distances(load_scene(path), room).max() < 0.002


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA"])
def test_images_of_any_8_bit_kind_become_three_channels(tmp_path, mode):
    path = write_plain(tmp_path / "room", *box_scene(views=2))
    for file in (path / "images").iterdir():
        Image.open(file).convert(mode).save(file)
    assert load_scene(path).rgb.shape == (2, 48, 64, 3)


BOX = {"id": 7, "category": "box", "center": [1.6, 2.6, 0.35], "size": [0.8, 0.8, 0.7], "yaw": 0.5}


def labelled(path: Path, masks: list[np.ndarray], world="z-up", **entries) -> Path:
    """Two views of the room with instance masks and a ``scene.json``."""
    write_plain(path, *box_scene(views=2, world=world))
    (path / "instances").mkdir()
    for i, mask in enumerate(masks):
        Image.fromarray(mask).save(path / "instances" / f"{i:05d}.png")
    (path / "scene.json").write_text(json.dumps(entries))
    return path


def test_instances_and_scene_json_are_read(tmp_path):
    masks = np.random.default_rng(0).integers(0, 1000, (2, 48, 64)).astype(np.uint16)
    box = BOX | {"attributes": {"of": "oak"}}
    scene = load_scene(labelled(tmp_path / "room", list(masks), up="z", floor=0.0, objects=[box]))
    np.testing.assert_array_equal(scene.instances.numpy(), masks)
    assert scene.objects == [
        Object(7, "box", (1.6, 2.6, 0.35), (0.8, 0.8, 0.7), 0.5, {"of": "oak"})
    ]
    assert torch.equal(scene.world_from_capture, torch.eye(4))  # up and floor were stated


def test_labels_that_do_not_fit_are_left_out_and_a_note_says_so(tmp_path):
    """Objects of a world that is turned, and masks of some frames only."""
    one_mask = [np.ones((48, 64), np.uint16)]
    scene = load_scene(labelled(tmp_path / "room", one_mask, world="y-up", objects=[BOX]))
    assert scene.objects == [] and scene.instances is None
    assert sum("left out" in note for note in scene.notes) == 2


def test_scene_json_states_up_and_floor(tmp_path):
    lifted = moved(np.eye(3), (0, 0, 3))
    path = labelled(tmp_path / "room", [], world=lifted, up="z", floor=2.5)
    world = load_scene(path).world_from_capture
    np.testing.assert_allclose(world, moved(np.eye(3), (0, 0, -2.5)), atol=1e-6)


def test_a_known_floor_height_belongs_to_the_known_axis(tmp_path):
    path = labelled(tmp_path / "room", [], up="x", floor=2.5)
    np.testing.assert_allclose(load_scene(path, up="z").world_from_capture, np.eye(4), atol=1e-3)


# -- 7-Scenes and tsdf-fusion ----------------------------------------------------------------------


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


# -- TUM -------------------------------------------------------------------------------------------


def test_tum_images_without_a_partner_within_20_ms_are_left_out_with_a_note(tmp_path):
    room = known_room("TUM")
    path = write_tum(tmp_path / "room", *room)
    for name, frame in (("depth.txt", 2), ("groundtruth.txt", 5)):  # the neighbours': 22, 44 ms off
        lines = (path / name).read_text().splitlines()
        del lines[3 + frame]  # behind three lines of comments
        (path / name).write_text("\n".join(lines))
    scene = load_scene(path)
    assert "2 of 8 images have no depth map or pose within 0.02 s and are left out" in scene.notes
    assert distances(scene, room.only([0, 1, 3, 4, 6, 7])).max() < 0.002


def test_tum_lists_need_not_be_sorted(tmp_path):
    room = known_room("TUM")
    path = write_tum(tmp_path / "room", *room)
    for file in (path / "depth.txt", path / "groundtruth.txt"):
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
    camera = capture.frames[0].camera.matrix
    np.testing.assert_array_equal(camera, [[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    assert any("no K.txt" in note for note in capture.notes)


# -- ScanNet, 3RScan, ARKitScenes, MultiScan -------------------------------------------------------


def test_scannet_frames_are_in_the_order_of_their_numbers(tmp_path):
    path = write_scannet(tmp_path / "room", *box_scene(views=12))
    assert load_scene(path).frame_names == [str(i) for i in range(12)]


@pytest.mark.parametrize("maximum", [65535, 10_000])
def test_rscan_depth_keeps_its_values_whatever_maximum_the_header_names(tmp_path, maximum):
    room = known_room("3RScan")
    path = write_rscan(tmp_path / "room", *room, maximum=maximum)
    assert distances(load_scene(path), room).max() < 0.002
    assert distances(load_scene(path / "sequence"), room).max() < 0.002  # may be named as well


def test_arkitscenes_images_without_a_pose_are_left_out(tmp_path):
    path = write_arkitscenes(tmp_path / "room", *known_room("ARKitScenes"))
    trajectory = path / "lowres_wide.traj"
    trajectory.write_text("\n".join(trajectory.read_text().splitlines()[2:]))
    scene = load_scene(path)
    assert len(scene) == 7 and any("1 of 8 images have no pose" in note for note in scene.notes)


def test_multiscan_exported_at_a_step_takes_every_such_line(tmp_path):
    room = known_room("MultiScan")
    scene = load_scene(write_multiscan(tmp_path / "room", *room, step=3))
    assert distances(scene, room).max() < 0.002
