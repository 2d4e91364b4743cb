"""Every capture that cannot be used ends in one InputError: one sentence that says what is wrong
and where.
"""

import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rooms import (
    box_scene,
    write_arkitscenes,
    write_multiscan,
    write_plain,
    write_rscan,
    write_scannet,
    write_seven_scenes,
    write_tum,
)

from leovl_mini.scans import load_scene
from leovl_mini.scans.frames import read_image
from leovl_mini.scans.scene import InputError

ROOM = box_scene(views=3)
GREY_8, GREY_16 = np.ones((48, 64), np.uint8), np.ones((48, 64), np.uint16)


# Each of these returns a function that breaks the capture in a folder.


def remove(*names: str):
    return lambda path: [file.unlink() for name in names for file in path.glob(name)] and None


def rename(name: str, new: str):
    return lambda path: (path / name).rename((path / name).with_name(new)) and None


def write(name: str, content: str | bytes):
    data = content if isinstance(content, bytes) else content.encode()
    return lambda path: (path / name).write_bytes(data)


def truncate(name: str):
    return lambda path: (path / name).write_bytes((path / name).read_bytes()[:-500])


def images(pattern: str, pixels: np.ndarray):
    """Replace the images that match."""
    return lambda path: [Image.fromarray(pixels).save(file) for file in path.glob(pattern)] and None


def numbers(name: str, change):
    """Replace the numbers in a text file by ``change(numbers)``."""
    return lambda path: np.savetxt(path / name, change(np.loadtxt(path / name)))


def line(name: str, number: int, change):
    """Replace one line (the first is 1) of a text file by ``change(line)``."""

    def breaker(path: Path) -> None:
        lines = (path / name).read_text().splitlines()
        lines[number - 1] = change(lines[number - 1])
        (path / name).write_text("\n".join(lines))

    return breaker


def without(key: str):
    """One line of JSON without a key."""
    return lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != key})


def instances(pixels: np.ndarray):
    def breaker(path: Path) -> None:
        (path / "instances").mkdir()
        for name in ("00000.png", "00001.png", "00002.png"):
            Image.fromarray(pixels).save(path / "instances" / name)

    return breaker


def other_folder(*files: str):
    """Point at another folder, which holds only these files."""

    def breaker(path: Path) -> Path:
        (path.parent / "other").mkdir()
        for name in files:
            (path.parent / "other" / name).write_text("hello")
        return path.parent / "other"

    return breaker


def parent(path: Path) -> Path:
    return path.parent


# What breaks the capture (it may return another path to load), and what the message must say.
PLAIN = [
    (remove("poses.txt"), "poses.txt is missing"),
    (write("poses.txt", "# nothing\n"), "poses.txt is empty"),
    (write("poses.txt", b"\xff\xfe\x00"), "poses.txt is not a text file"),
    (
        line("poses.txt", 2, lambda row: row[: row.rindex(" ")]),
        "poses.txt, line 2: expected 16 or 12 numbers, found 15",
    ),
    (
        line("poses.txt", 2, lambda row: row.rsplit(" ", 4)[0]),
        "poses.txt, line 2: found 12 numbers, but the first row has 16",
    ),
    (numbers("poses.txt", lambda rows: rows[:2]), "poses.txt has 2 rows for 3 frames"),
    (
        line("poses.txt", 3, lambda row: "lost " + row),
        "poses.txt, line 3: expected numbers, found 'lost",
    ),
    # what a camera matrix or a pose can have wrong is tested in test_scene.py; here: who is blamed
    (numbers("poses.txt", lambda rows: -rows), "{path}/poses.txt, frame 00000: the last row"),
    (remove("images/00001.png"), "images/00001.* is missing"),
    (truncate("images/00001.png"), "images/00001.png is not a complete image"),
    (write("images/00001.png", "hello"), "images/00001.png is not a complete image"),
    (write("images/00001.png", ""), "images/00001.png is not a complete image"),
    (images("images/00001.png", GREY_16), "images/00001.png: a colour image must have 8 bits"),
    (remove("depth/00001.png"), "depth/00001.* is missing"),
    (truncate("depth/00001.png"), "depth/00001.png is not a complete image"),
    (images("depth/00001.png", GREY_8), "00001.png: a depth image must have one channel"),
    (images("depth/00001.png", ROOM.rgb[0]), "00001.png: a depth image must have one channel"),
    (images("depth/00001.png", GREY_16[::2, ::2]), "the depth maps differ in size"),
    (images("depth/*", GREY_16 * 0), "none of the 3 chosen frames has any valid depth"),
    (images("depth/*", GREY_16 * 65535), "none of the 3 chosen frames has any valid depth"),
    (remove("K.txt"), "K.txt is missing"),
    (numbers("K.txt", lambda K: K[:2]), "K.txt: expected a 3x3 matrix, found 2 rows"),
    (write("K.txt", "1 0 0 0\n" * 4), "K.txt, line 1: expected 3 numbers, found 4"),
    (numbers("K.txt", np.transpose), "{path}/K.txt: the camera matrix is not of the form"),
    (
        write("K_depth.txt", "585 0 320\n0 585 240\n0 0 1"),
        "{path}/K_depth.txt: the principal point",
    ),
    (instances(GREY_16[::2, ::2]), "instances/00000.png: the instance mask must have the size"),
    (write("scene.json", "{"), "scene.json is not a JSON file"),
    (write("scene.json", "[]"), "scene.json is not a valid scene description"),
    (write("scene.json", '{"up": "w"}'), "scene.json is not a valid scene description: up must"),
    (write("scene.json", '{"floor": "low"}'), "scene.json is not a valid scene description"),
    (write("scene.json", '{"objects": [{"id": 1}]}'), "scene.json is not a valid scene descr"),
    (other_folder(), "other is empty; known file formats: poses.txt"),
    (
        other_folder("notes.md"),
        "other is not a capture in a known file format; known file formats: poses.txt",
    ),
    (parent, "did you mean {path}?"),
    (lambda path: path / "K.txt", "K.txt is a file; pass the folder of a capture"),
    (lambda path: path / "nowhere", "nowhere does not exist"),
]
TSDF_FUSION = [
    (remove("frame-000001.color.png"), "frame-000001.color.png (or .jpg) is missing"),
    (remove("frame-000001.depth.png"), "frame-000001.depth.png is missing"),
    (
        numbers("frame-000001.pose.txt", lambda T: T[:3]),
        "frame-000001.pose.txt: expected a 4x4 matrix",
    ),
    (
        line("frame-000001.pose.txt", 2, lambda row: "lost"),
        "frame-000001.pose.txt, line 2: expected numbers",
    ),
    (
        write("camera-intrinsics.txt", "1 0 0 0\n" * 4),
        "camera-intrinsics.txt, line 1: expected 3 numbers",
    ),
    (
        remove("camera-intrinsics.txt"),  # not the Kinect's size
        "the principal point (320, 240) lies outside the 64x48 image",
    ),
    (parent, "did you mean {path}?"),
]
TUM = [
    (remove("groundtruth.txt"), "groundtruth.txt is missing"),
    (numbers("groundtruth.txt", lambda rows: rows + np.eye(8)[7]), "groundtruth.txt: the rotation"),
    (write("rgb.txt", ""), "rgb.txt lists no files"),
    (write("depth.txt", "# depth maps\n"), "depth.txt lists no files"),
    (line("rgb.txt", 4, lambda row: row + " more"), "rgb.txt: every line must hold a time stamp"),
    (
        lambda path: min((path / "rgb").iterdir()).unlink(),
        ".png is missing; the capture lists this frame",
    ),
    (
        numbers("groundtruth.txt", lambda rows: rows + 3600 * np.eye(8)[0]),
        "are the three clocks the same?",
    ),
    (parent, "did you mean {path}?"),
]
SCANNET = [
    (remove("depth/2.png"), "depth/2.png is missing"),
    (rename("pose/0.txt", "first.txt"), "pose/first.txt: frames"),
    (
        line("intrinsic/intrinsic_depth.txt", 4, lambda row: row + " 1"),
        "intrinsic_depth.txt, line 4: expected 4 numbers",
    ),
    (remove("pose/*"), "room holds no frames"),
]
RSCAN = [
    (remove("sequence/*.pose.txt"), "room holds no frames"),
    (
        line("sequence/_info.txt", 9, lambda row: row.replace("m_depthShift", "shift")),
        "sequence/_info.txt: no valid image sizes",
    ),
    (
        write("sequence/frame-000001.depth.pgm", b"P5 64 48 65535\n123"),
        "000001.depth.pgm is not a complete PGM image",
    ),
    (remove("sequence/frame-000001.depth.pgm"), "000001.depth.pgm is missing"),
]
ARKITSCENES = [
    (remove("lowres_wide/*"), "lowres_wide holds no .png"),
    (remove("lowres_wide_intrinsics/*"), ".pincam is missing"),
    (write("lowres_wide.traj", "1 2 3\n"), "lowres_wide.traj, line 1: expected 7 numbers"),
    (
        numbers("lowres_wide.traj", lambda rows: rows + 3600 * np.eye(7)[0]),
        "no image has a pose within 0.005 s",
    ),
    (rename("lowres_wide/41069021_305.433.png", "a.png"), "a.png: the name must end in _ and the"),
]
MULTISCAN = [
    (
        line("scene_00000_00.jsonl", 1, without("transform")),
        "scene_00000_00.jsonl, line 1: no valid transform",
    ),
    (line("scene_00000_00.jsonl", 1, lambda row: "{"), "00.jsonl, line 1: no valid transform"),
    (write("scene_00000_00.jsonl", "{}\n"), "scene_00000_00.jsonl"),
    (remove("depth/0.png"), "3 images in color/ but 2 depth maps"),
    (write("other.jsonl", "{}"), "several .jsonl files"),
    (write("scene_00000_00.json", "{}"), "scene_00000_00.json: no valid streams"),
    (write("scene_00000_00.json", "{"), "scene_00000_00.json is not a JSON file"),
]
FORMATS = {
    "plain": (write_plain, PLAIN),
    "tsdf-fusion": (partial(write_seven_scenes, tsdf_fusion=True), TSDF_FUSION),
    "TUM": (write_tum, TUM),
    "ScanNet": (write_scannet, SCANNET),
    "3RScan": (write_rscan, RSCAN),
    "ARKitScenes": (write_arkitscenes, ARKITSCENES),
    "MultiScan": (write_multiscan, MULTISCAN),
}


def assert_one_sentence(message: str, path: Path) -> None:
    text = message.replace(str(path), "PATH").replace(str(path.parent), "PARENT")
    assert "\n" not in text and text[-1] in ".?" and not re.search(r"[.?!] +[A-Z]", text), text


@pytest.mark.parametrize(
    "writer, breaker, text",
    [
        pytest.param(writer, breaker, text, id=f"{name}-{text}")
        for name, (writer, table) in FORMATS.items()
        for breaker, text in table
    ],
)
def test_bad_input_is_one_input_error_of_one_sentence(tmp_path, writer, breaker, text):
    path = writer(tmp_path / "room", *ROOM)
    other = breaker(path)
    with pytest.raises(InputError) as caught:
        load_scene(other if isinstance(other, Path) else path)
    message = str(caught.value)
    assert text.format(path=path) in message
    assert str(tmp_path) in message
    assert_one_sentence(message, path)
    error = caught.value  # not the second of two
    assert error.__cause__ is None and (error.__suppress_context__ or not error.__context__)


@pytest.mark.parametrize("choose", ["spread", "overlap"])
def test_a_broken_image_is_found_however_frames_are_chosen(tmp_path, choose):
    path = write_plain(tmp_path / "room", *ROOM)
    truncate("images/00000.png")(path)
    with pytest.raises(InputError, match="00000.png is not a complete image"):
        load_scene(path, max_frames=2, choose=choose)


def test_an_image_cut_off_anywhere_is_never_half_an_image(tmp_path):
    whole = write_plain(tmp_path / "room", *ROOM) / "images" / "00000.png"
    pixels, data, cut = read_image(whole), whole.read_bytes(), tmp_path / "cut.png"
    for length in {*range(60), *range(60, len(data), 97)}:
        cut.write_bytes(data[:length])
        try:
            np.testing.assert_array_equal(read_image(cut), pixels)  # only the end mark is missing
        except InputError as error:
            assert "cut.png is not a complete image" in str(error)
