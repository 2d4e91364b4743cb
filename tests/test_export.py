"""Rooms written in the file formats of real data sets: they load as the same scene, and the files
hold the published numbers.
"""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from rooms import Room, box_scene, moved

from leovl_mini.rooms import export
from leovl_mini.rooms.export import FORMATS
from leovl_mini.scans import load_scene
from leovl_mini.scans.scene import Object, Scene

every_format = pytest.mark.parametrize("name", FORMATS)


def as_scene(room: Room) -> Scene:
    views = len(room.rgb)
    return Scene(
        rgb=torch.from_numpy(room.rgb),
        depth=torch.from_numpy(room.depth),
        intrinsics=torch.from_numpy(room.K).float().expand(views, 3, 3).clone(),
        camera_to_world=torch.from_numpy(room.camera_to_world).float(),
        name="known_room",
        frame_names=[f"{i:03d}" for i in range(views)],
    )


@every_format
@pytest.mark.parametrize("size", [(64, 48), (36, 64)], ids=["landscape", "portrait"])
def test_an_exported_scene_loads_as_the_same_scene(tmp_path, name, size):
    """Also its world comes back: what MultiScan keeps in a y-up world is z-up again."""
    scene = as_scene(box_scene(5, *size))
    export(scene, tmp_path / "scan", name)
    again = load_scene(tmp_path / "scan")
    assert again.depth.shape == (5, size[1], size[0])
    assert torch.equal(again.depth > 0, scene.depth > 0)
    assert float((again.depth - scene.depth).abs().max()) < 0.00051
    assert torch.allclose(again.intrinsics, scene.intrinsics, atol=1e-5)
    off = (again.camera_to_world - scene.camera_to_world).abs().amax(0)
    assert float(off[:, :3].max()) < 1e-5 and float(off[:2, 3].max()) < 1e-5
    assert float(off[2, 3]) < 0.02  # the floor is found again from the points
    assert np.quantile((again.rgb.int() - scene.rgb.int()).abs().numpy(), 0.95) <= 6
    assert not any("resampled" in note for note in again.notes)


def test_exported_files_hold_the_published_numbers(tmp_path):
    """One camera at (1, 2, 3), looking along +y: every number below is worked out by hand."""
    pose = moved([[1, 0, 0], [0, 0, 1], [0, -1, 0]], (1, 2, 3))
    scene = as_scene(box_scene(1, poses=pose[None]))
    scene.depth[0, 20, 30] = 1.2344
    for name in FORMATS:
        export(scene, tmp_path / name, name)

    def numbers(name):
        return np.loadtxt(tmp_path / name)

    assert np.allclose(numbers("scannet/pose/0.txt"), pose)
    assert np.allclose(numbers("rscan/sequence/frame-000000.pose.txt"), pose)
    matrix = numbers("scannet/intrinsic/intrinsic_depth.txt")[:3, :3]
    assert np.allclose(matrix, scene.intrinsics[0], atol=1e-5)
    # world-to-camera is a quarter turn about x, and takes the camera's place to the origin
    assert np.allclose(numbers("arkitscenes/lowres_wide.traj"), [0, np.pi / 2, 0, 0, -1, 3, -2])
    fx, cx, cy = (float(scene.intrinsics[0][i]) for i in ((0, 0), (0, 2), (1, 2)))
    pincam = numbers("arkitscenes/lowres_wide_intrinsics/00000000_0.000.pincam")
    assert np.allclose(pincam, [64, 48, fx, fx, cx, cy], atol=1e-5)
    # y-up: the camera is level in a level world, looking along -z, as ARKit's do without a turn
    line = json.loads((tmp_path / "multiscan/known_room.jsonl").read_text())
    assert np.allclose(line["transform"], [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 1, 3, -2, 1])
    assert np.allclose(line["intrinsics"], [fx, 0, 0, 0, fx, 0, cx, cy, 1])
    for png in ("scannet/depth/0.png", "multiscan/depth/0.png"):
        assert np.asarray(Image.open(tmp_path / png))[20, 30] == 1234
    png = tmp_path / "arkitscenes/lowres_depth/00000000_0.000.png"
    assert np.asarray(Image.open(png))[20, 30] == 1234
    pgm = (tmp_path / "rscan/sequence/frame-000000.depth.pgm").read_bytes()
    assert pgm.startswith(b"P5\n64 48\n65535\n")
    assert pgm[-2 * 64 * 48 :][2 * (20 * 64 + 30) :][:2] == bytes([4, 210])  # 1234


@every_format
def test_a_format_refuses_or_keeps_what_it_can_hold(tmp_path, name):
    scene = as_scene(box_scene(2, 32, 24))
    scene.intrinsics[1, 0, 0] += 1
    if name in ("arkitscenes", "multiscan"):  # a camera per frame
        export(scene, tmp_path / "zoom", name)
        assert torch.allclose(load_scene(tmp_path / "zoom").intrinsics, scene.intrinsics, atol=1e-5)
    else:
        with pytest.raises(ValueError, match="one camera matrix for all frames"):
            export(scene, tmp_path / "zoom", name)
    scene = as_scene(box_scene(2, 32, 24))
    scene.depth[0, 10, 10] = 65.535
    with pytest.raises(ValueError, match="end at 65.534 m"):
        export(scene, tmp_path / "far", name)
    assert not (tmp_path / "far").exists()
    scene.instances = torch.ones_like(scene.depth, dtype=torch.int32)
    scene.objects = [Object(1, "box", (1.6, 2.6, 0.35), (0.8, 0.8, 0.7))]
    scene.depth[0, 10, 10] = 65.534
    export(scene, tmp_path / "labelled", name)
    again = load_scene(tmp_path / "labelled")
    labelled = name == "plain"
    assert (again.objects == scene.objects) == (again.instances is not None) == labelled


def test_extras_are_entries_of_scene_json(tmp_path):
    scene = as_scene(box_scene(2, 32, 24))
    export(scene, tmp_path / "room", extras={"seed": 3, "walls": [[0, 1]]})
    entries = json.loads((tmp_path / "room" / "scene.json").read_text())
    assert entries == {"up": "z", "floor": 0.0, "objects": [], "seed": 3, "walls": [[0, 1]]}
    assert len(load_scene(tmp_path / "room")) == 2
    with pytest.raises(ValueError, match="no scene.json"):
        export(scene, tmp_path / "other", "scannet", extras={"seed": 3})
    with pytest.raises(ValueError, match="must be one of plain, scannet"):
        export(scene, tmp_path / "other", "kitti")
