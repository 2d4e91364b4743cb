"""The four data sets of LEO-VL, each in its published conventions: round trip of a known scene, and
wrong conventions fail.

The scene is written by the package's exporters and by the tests' own writers, which share no code.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rooms import (
    Room,
    back_projected,
    box_scene,
    look_around,
    moved,
    write_arkitscenes,
    write_multiscan,
    write_rscan,
    write_scannet,
)
from scipy.spatial.transform import Rotation

from leovl_mini.rooms import export
from leovl_mini.rooms.export import LAYOUTS as EXPORTED
from leovl_mini.scans import load_scene
from leovl_mini.scans.geometry import back_project
from leovl_mini.scans.scene import InputError, Object, Scene


def as_scene(room: Room, world_from_capture: np.ndarray | None = None) -> Scene:
    """The room as a scene; ``world_from_capture`` (4,4) turns the world of its poses."""
    poses = (
        room.camera_to_world
        if world_from_capture is None
        else world_from_capture @ room.camera_to_world
    )
    return Scene(
        rgb=torch.from_numpy(room.rgb),
        depth=torch.from_numpy(room.depth),
        intrinsics=torch.from_numpy(room.K).float().expand(len(poses), 3, 3).clone(),
        camera_to_world=torch.from_numpy(poses).float(),
        name="known_room",
        frame_names=[f"{i:03d}" for i in range(len(poses))],
    )


def exporter(layout: str):
    """A writer like those of rooms.py, around the package's ``export``, which takes z-up scenes
    (MultiScan's own world is y-up).
    """
    z_up = moved([[1, 0, 0], [0, 0, -1], [0, 1, 0]], (0, 0, 0)) if layout == "multiscan" else None

    def write(path: Path, *room) -> Path:
        export(as_scene(Room(*room), z_up), path, layout)
        return path

    return write


# writer, the world it is written in, and whether the camera lies on its side (a phone held upright)
LAYOUTS = {
    "exported scannet": (exporter("scannet"), "z-up", False),
    "exported rscan": (exporter("rscan"), "z-up", True),
    "exported arkitscenes": (exporter("arkitscenes"), "z-up", True),
    "exported multiscan": (exporter("multiscan"), "y-up", False),
    "ScanNet": (write_scannet, "z-up", False),
    "3RScan": (write_rscan, "z-up", True),
    "ARKitScenes": (write_arkitscenes, "z-up", True),
    "MultiScan": (write_multiscan, "y-up", False),
}
every_layout = pytest.mark.parametrize("layout", LAYOUTS)
every_export = pytest.mark.parametrize("layout", EXPORTED)


def known_scene(layout: str, views: int = 6) -> Room:
    _, world, on_its_side = LAYOUTS[layout]
    roll = (
        moved(Rotation.from_euler("z", 90, degrees=True).as_matrix(), (0, 0, 0))
        if on_its_side
        else np.eye(4)
    )
    return box_scene(views, poses=look_around(views) @ roll, world=world)


def error(path, room: Room) -> float:
    """Largest distance in metres between loaded and true points, in the capture's own world."""
    scene = load_scene(path)
    poses = scene.world_from_capture.inverse() @ scene.camera_to_world
    points = back_project(scene.depth, scene.intrinsics, poses).numpy()
    truth = np.stack(
        [
            back_projected(d, room.K, pose)
            for d, pose in zip(room.depth, room.camera_to_world, strict=True)
        ]
    )
    measured = room.depth > 0
    assert ((scene.depth.numpy() > 0) == measured).all()
    return float(np.linalg.norm(points - truth, axis=-1)[measured].max())


@every_layout
def test_every_point_comes_back_to_3_mm_and_up_is_up(tmp_path, layout):
    room = known_scene(layout)
    path = LAYOUTS[layout][0](tmp_path / "scan", *room)
    assert error(path, room) < 0.003
    scene = load_scene(path)
    points = back_project(scene.depth, scene.intrinsics, scene.camera_to_world)[scene.depth > 0]
    assert abs(float(points[:, 2].min())) < 0.02 and 1 < float(points[:, 2].max()) < 2.52
    assert any(
        "capture's" in note for note in scene.notes
    )  # the layout says where up is; nothing is estimated


@every_layout
def test_colours_come_back_on_the_depth_camera(tmp_path, layout):
    room = known_scene(layout)
    scene = load_scene(LAYOUTS[layout][0](tmp_path / "scan", *room))
    difference = np.abs(scene.rgb.numpy().astype(int) - room.rgb)[:, 3:-3, 3:-3]
    assert np.quantile(difference, 0.95) <= 6
    resampled = any("resampled" in note for note in scene.notes)
    assert resampled == (layout == "ScanNet")


@every_layout
@pytest.mark.parametrize("mistake", ["inverted", "transposed", "other camera axes"])
def test_poses_in_a_wrong_convention_are_far_off(tmp_path, layout, mistake):
    room = known_scene(layout)
    wrong = {
        "inverted": np.linalg.inv(room.camera_to_world),
        "transposed": np.stack([moved(p[:3, :3].T, p[:3, 3]) for p in room.camera_to_world]),
        "other camera axes": room.camera_to_world @ np.diag([1, -1, -1, 1]),
    }[mistake]
    path = LAYOUTS[layout][0](tmp_path / "scan", *room._replace(camera_to_world=wrong))
    assert error(path, room) > 0.1


def test_scannet_frames_are_in_the_order_of_their_numbers_and_lost_poses_are_dropped(tmp_path):
    path = write_scannet(tmp_path / "scan", *known_scene("ScanNet", views=12))
    (path / "pose" / "3.txt").write_text("-inf -inf -inf -inf\n" * 4)
    scene = load_scene(path)
    assert scene.frame_names == ["0", "1", "2", "4", "5", "6", "7", "8", "9", "10", "11"]
    assert scene.dropped == {"lost pose": 1}


@pytest.mark.parametrize("maximum", [65535, 10_000])
def test_rscan_depth_keeps_its_values_whatever_maximum_the_header_names(tmp_path, maximum):
    room = known_scene("3RScan")
    path = write_rscan(tmp_path / "scan", *room, maximum=maximum)
    assert error(path, room) < 0.003
    assert error(path / "sequence", room) < 0.003  # the inner folder may be named as well


def test_arkitscenes_images_without_a_pose_are_left_out(tmp_path):
    path = write_arkitscenes(tmp_path / "scan", *known_scene("ARKitScenes"))
    trajectory = path / "lowres_wide.traj"
    trajectory.write_text("\n".join(trajectory.read_text().splitlines()[2:]))
    scene = load_scene(path)
    assert len(scene) == 5 and any("1 of 6 images have no pose" in note for note in scene.notes)


def test_multiscan_exported_at_a_step_takes_every_such_line(tmp_path):
    room = known_scene("MultiScan")
    assert error(write_multiscan(tmp_path / "scan", *room, step=3), room) < 0.003


@every_export
@pytest.mark.parametrize("size", [(64, 48), (36, 64)], ids=["landscape", "portrait"])
def test_an_exported_scene_loads_as_the_same_scene(tmp_path, layout, size):
    """Also its world comes back: the z-up scene that MultiScan keeps in a y-up world is z-up again."""
    scene = as_scene(box_scene(5, *size))
    export(scene, tmp_path / "scan", layout)
    again = load_scene(tmp_path / "scan")
    assert again.depth.shape == (5, size[1], size[0])
    assert (
        torch.equal(again.depth > 0, scene.depth > 0)
        and float((again.depth - scene.depth).abs().max()) < 0.00051
    )
    assert torch.allclose(again.intrinsics, scene.intrinsics, atol=1e-5)
    assert torch.allclose(
        again.camera_to_world[:, :, :3], scene.camera_to_world[:, :, :3], atol=1e-5
    )
    off = (again.camera_to_world - scene.camera_to_world)[:, :3, 3].abs().amax(0)
    assert (
        float(off[:2].max()) < 1e-5 and float(off[2]) < 0.02
    )  # the floor is found again from the points
    assert np.quantile((again.rgb.int() - scene.rgb.int()).abs().numpy(), 0.95) <= 6
    assert not any("resampled" in note for note in again.notes)


def test_exported_files_hold_the_published_numbers(tmp_path):
    """One camera at (1, 2, 3), looking along +y: every number below is worked out by hand."""
    pose = moved([[1, 0, 0], [0, 0, 1], [0, -1, 0]], (1, 2, 3))[None]
    scene = as_scene(box_scene(1, poses=pose))
    scene.depth[0, 20, 30] = 1.2344
    for layout in EXPORTED:
        export(scene, tmp_path / layout, layout)

    def numbers(name):
        return np.loadtxt(tmp_path / name)

    assert np.allclose(
        numbers("scannet/pose/0.txt"), [[1, 0, 0, 1], [0, 0, 1, 2], [0, -1, 0, 3], [0, 0, 0, 1]]
    )
    assert np.allclose(
        numbers("scannet/intrinsic/intrinsic_depth.txt")[:3, :3], scene.intrinsics[0], atol=1e-5
    )
    assert np.allclose(
        numbers("rscan/sequence/frame-000000.pose.txt"), numbers("scannet/pose/0.txt")
    )
    # world-to-camera is a quarter turn about x, and takes the camera's place to the origin
    assert np.allclose(numbers("arkitscenes/lowres_wide.traj"), [0, np.pi / 2, 0, 0, -1, 3, -2])
    fx, cx, cy = (float(scene.intrinsics[0][i]) for i in ((0, 0), (0, 2), (1, 2)))
    pincam = numbers("arkitscenes/lowres_wide_intrinsics/00000000_0.000.pincam")
    assert np.allclose(pincam, [64, 48, fx, fx, cx, cy], atol=1e-5)
    # y-up: the camera is level in a level world, looking along -z, as ARKit's cameras do without a
    # turn
    line = json.loads((tmp_path / "multiscan/known_room.jsonl").read_text())
    assert np.allclose(line["transform"], [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 1, 3, -2, 1])
    assert np.allclose(line["intrinsics"], [fx, 0, 0, 0, fx, 0, cx, cy, 1])
    for png in (
        "scannet/depth/0.png",
        "arkitscenes/lowres_depth/00000000_0.000.png",
        "multiscan/depth/0.png",
    ):
        with Image.open(tmp_path / png) as image:
            assert np.asarray(image)[20, 30] == 1234
    pgm = (tmp_path / "rscan/sequence/frame-000000.depth.pgm").read_bytes()
    assert pgm.startswith(b"P5\n64 48\n65535\n") and pgm[-2 * 64 * 48 :][2 * (20 * 64 + 30) :][
        :2
    ] == bytes([4, 210])  # 1234


@every_export
def test_a_layout_refuses_or_keeps_what_it_can_hold(tmp_path, layout):
    scene = as_scene(box_scene(2, 32, 24))
    scene.intrinsics[1, 0, 0] += 1
    if layout in ("arkitscenes", "multiscan"):  # a camera per frame
        export(scene, tmp_path / "zoom", layout)
        assert torch.allclose(load_scene(tmp_path / "zoom").intrinsics, scene.intrinsics, atol=1e-5)
    else:
        with pytest.raises(ValueError, match="one camera matrix for all frames"):
            export(scene, tmp_path / "zoom", layout)
    scene = as_scene(box_scene(2, 32, 24))
    scene.depth[0, 10, 10] = 65.535
    with pytest.raises(ValueError, match="end at 65.534 m"):
        export(scene, tmp_path / "far", layout)
    assert not (tmp_path / "far").exists()
    scene.instances = torch.ones_like(scene.depth, dtype=torch.int32)
    scene.objects = [Object(1, "box", (1.6, 2.6, 0.35), (0.8, 0.8, 0.7))]
    scene.depth[0, 10, 10] = 65.534
    export(scene, tmp_path / "labelled", layout)
    again = load_scene(tmp_path / "labelled")
    assert (
        (again.objects == scene.objects) == (again.instances is not None) == (layout == "poses_txt")
    )


def test_extras_are_entries_of_scene_json(tmp_path):
    scene = as_scene(box_scene(2, 32, 24))
    export(scene, tmp_path / "room", extras={"seed": 3, "walls": [[0, 1]]})
    entries = json.loads((tmp_path / "room" / "scene.json").read_text())
    assert entries == {"up": "z", "floor": 0.0, "objects": [], "seed": 3, "walls": [[0, 1]]}
    assert len(load_scene(tmp_path / "room")) == 2
    with pytest.raises(ValueError, match="no scene.json"):
        export(scene, tmp_path / "other", "scannet", extras={"seed": 3})
    with pytest.raises(ValueError, match="layout must be one of poses_txt, scannet"):
        export(scene, tmp_path / "other", "kitti")


def edit(name, old, new):
    def change(path):
        file = path / name
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    return change


def first_line_without(key):
    def change(path):
        lines = (path / "scene_00000_00.jsonl").read_text().splitlines()
        entry = json.loads(lines[0])
        del entry[key]
        (path / "scene_00000_00.jsonl").write_text("\n".join([json.dumps(entry), *lines[1:]]))

    return change


@pytest.mark.parametrize(
    ("layout", "change", "says"),
    [
        ("ScanNet", lambda p: (p / "depth" / "2.png").unlink(), "depth/2.png is missing"),
        (
            "ScanNet",
            lambda p: (p / "pose" / "0.txt").rename(p / "pose" / "first.txt"),
            "pose/first.txt",
        ),
        (
            "ScanNet",
            edit("intrinsic/intrinsic_depth.txt", "0.000000 1.000000", "1.000000"),
            "intrinsic_depth.txt, line",
        ),
        (
            "3RScan",
            edit("sequence/_info.txt", "m_depthShift", "shift"),
            "sequence/_info.txt: no valid image sizes",
        ),
        (
            "3RScan",
            lambda p: (p / "sequence/frame-000001.depth.pgm").write_bytes(b"P5 64 48 65535\n123"),
            "000001.depth.pgm is not a c",
        ),
        (
            "3RScan",
            lambda p: (p / "sequence/frame-000001.depth.pgm").unlink(),
            "000001.depth.pgm is missing",
        ),
        (
            "ARKitScenes",
            lambda p: [f.unlink() for f in (p / "lowres_wide").iterdir()],
            "lowres_wide holds no .png",
        ),
        (
            "ARKitScenes",
            lambda p: [f.unlink() for f in (p / "lowres_wide_intrinsics").iterdir()],
            ".pincam is missing",
        ),
        (
            "ARKitScenes",
            lambda p: (p / "lowres_wide.traj").write_text("1 2 3\n"),
            "lowres_wide.traj, line 1: expected 7 numbers",
        ),
        (
            "MultiScan",
            first_line_without("transform"),
            "scene_00000_00.jsonl, line 1: no valid transform",
        ),
        (
            "MultiScan",
            lambda p: (p / "depth" / "0.png").unlink(),
            "6 images in color/ but 5 depth maps",
        ),
        ("MultiScan", lambda p: (p / "other.jsonl").write_text("{}"), "several .jsonl files"),
        (
            "MultiScan",
            lambda p: (p / "scene_00000_00.json").write_text("{}"),
            "scene_00000_00.json: no valid streams",
        ),
    ],
)
def test_bad_input_is_one_sentence_that_names_the_file(tmp_path, layout, change, says):
    path = LAYOUTS[layout][0](tmp_path / "scan", *known_scene(layout))
    change(path)
    with pytest.raises(InputError, match=re.escape(says)):
        load_scene(path)
