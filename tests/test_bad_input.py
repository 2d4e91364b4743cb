"""Every input that cannot be used ends in one InputError: one sentence that says what is wrong
and where.
"""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rooms import box_scene, write_poses_txt, write_seven_scenes, write_tum

from leovl_mini.scans import load_scene
from leovl_mini.scans.frames import read_image
from leovl_mini.scans.scene import InputError

ROOM = box_scene(views=3)
CX, CY = ROOM.K[:2, 2]
GREY_8, GREY_16 = np.ones((48, 64), np.uint8), np.ones((48, 64), np.uint16)
FORM = "the camera matrix is not of the form [fx 0 cx; 0 fy cy; 0 0 1]"


# Each of these returns a function that breaks the capture in a folder.


def remove(name: str):
    return lambda path: (path / name).unlink()


def write(name: str, content: str | bytes):
    return lambda path: (path / name).write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )


def truncate(name: str):
    return lambda path: (path / name).write_bytes((path / name).read_bytes()[:-500])


def images(pattern: str, pixels: np.ndarray):
    """Replace the images that match."""
    return lambda path: [Image.fromarray(pixels).save(file) for file in path.glob(pattern)] and None


def numbers(name: str, change):
    """Replace the numbers in a text file by ``change(numbers)``."""
    return lambda path: np.savetxt(path / name, change(np.loadtxt(path / name)))


def poses(change):
    """Replace the poses (V,4,4) by ``change(poses)``."""
    return numbers("poses.txt", lambda rows: change(rows.reshape(-1, 4, 4)).reshape(-1, 16))


def centre(cx: float, cy: float):
    return numbers("K.txt", lambda K: np.array([[K[0, 0], 0, cx], [0, K[1, 1], cy], [0, 0, 1]]))


def line(name: str, number: int, change):
    """Replace one line (the first is 1) of a text file by ``change(line)``."""

    def breaker(path: Path) -> None:
        lines = (path / name).read_text().splitlines()
        lines[number - 1] = change(lines[number - 1])
        (path / name).write_text("\n".join(lines))

    return breaker


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


# What is wrong; what makes it so (it may return another path to load); what the message must say.
POSES_TXT = [
    ("poses.txt missing", remove("poses.txt"), "poses.txt is missing"),
    ("poses.txt empty", write("poses.txt", "# nothing\n"), "poses.txt is empty"),
    ("poses.txt binary", write("poses.txt", b"\xff\xfe\x00"), "poses.txt is not a text file"),
    (
        "short row",
        line("poses.txt", 2, lambda row: row[: row.rindex(" ")]),
        "poses.txt, line 2: expected 16 or 12 numbers",
    ),
    (
        "too few rows",
        numbers("poses.txt", lambda rows: rows[:2]),
        "poses.txt has 2 rows for 3 frames",
    ),
    (
        "a word in the poses",
        line("poses.txt", 3, lambda row: "lost " + row),
        "poses.txt, line 3: expected numbers, found 'lost",
    ),
    (
        "poses left-handed",
        poses(lambda T: T @ np.diag([1, 1, -1, 1])),
        "{path}/poses.txt, frame 00000: the rotation is left-handed",
    ),
    (
        "poses scaled",
        poses(lambda T: T @ np.diag([2, 2, 2, 1])),
        "{path}/poses.txt, frame 00000: the rotation is not orthonormal",
    ),
    (
        "poses column-major",
        poses(lambda T: T.mT),
        "{path}/poses.txt, frame 00000: the last row of a pose must be 0 0 0 1",
    ),
    ("image missing", remove("images/00001.png"), "images/00001.* is missing"),
    ("image truncated", truncate("images/00001.png"), "images/00001.png is not a complete image"),
    (
        "image is text",
        write("images/00001.png", "hello"),
        "images/00001.png is not a complete image",
    ),
    ("image is empty", write("images/00001.png", ""), "images/00001.png is not a complete image"),
    (
        "image of 16 bits",
        images("images/00001.png", GREY_16),
        "images/00001.png: a colour image must have 8 bits",
    ),
    ("depth missing", remove("depth/00001.png"), "depth/00001.* is missing"),
    ("depth truncated", truncate("depth/00001.png"), "depth/00001.png is not a complete image"),
    (
        "depth of 8 bits",
        images("depth/00001.png", GREY_8),
        "depth/00001.png: a depth image must have one channel",
    ),
    (
        "depth in colour",
        images("depth/00001.png", ROOM.rgb[0]),
        "depth/00001.png: a depth image must have one channel",
    ),
    (
        "depth of two sizes",
        images("depth/00001.png", GREY_16[::2, ::2]),
        "the depth maps differ in size",
    ),
    (
        "depth all zero",
        images("depth/*", GREY_16 * 0),
        "none of the 3 chosen frames has any valid depth",
    ),
    (
        "depth all 65535",
        images("depth/*", GREY_16 * 65535),
        "none of the 3 chosen frames has any valid depth",
    ),
    ("K missing", remove("K.txt"), "K.txt is missing"),
    (
        "K of two rows",
        numbers("K.txt", lambda K: K[:2]),
        "K.txt: expected a 3x3 matrix, found 2 rows",
    ),
    ("K of 4x4", write("K.txt", "1 0 0 0\n" * 4), "K.txt, line 1: expected 3 numbers, found 4"),
    ("K zero", numbers("K.txt", np.zeros_like), FORM),
    (
        "K not finite",
        numbers("K.txt", lambda K: K * np.nan),
        "the camera matrix must be 3x3 finite numbers",
    ),
    ("K transposed", numbers("K.txt", np.transpose), FORM + "; is it transposed?"),
    ("K rows exchanged", numbers("K.txt", lambda K: K[[1, 0, 2]]), FORM),
    (
        "focal length negative",
        numbers("K.txt", lambda K: K * [-1, 1, 1]),
        "focal lengths must be positive",
    ),
    ("cx and cy swapped", centre(CY, CX), "look swapped for a 64x48 image"),
    (
        "principal point outside",
        centre(320, 240),
        "the principal point (320, 240) lies outside the 64x48 image",
    ),
    (
        "K_depth of another size",
        write("K_depth.txt", "585 0 320\n0 585 240\n0 0 1"),
        "{path}/K_depth.txt: the principal point",
    ),
    (
        "mask of another size",
        instances(GREY_16[::2, ::2]),
        "instances/00000.png: the instance mask must have the size",
    ),
    (
        "scene.json unreadable",
        write("scene.json", "{"),
        "scene.json is not a valid scene description",
    ),
    ("scene.json a list", write("scene.json", "[]"), "scene.json is not a valid scene description"),
    ("scene.json up unknown", write("scene.json", '{"up": "w"}'), "scene.json"),
    ("scene.json floor a word", write("scene.json", '{"up": "z", "floor": "low"}'), "scene.json"),
    ("empty folder", other_folder(), "other is empty; known file formats: poses.txt"),
    (
        "unknown layout",
        other_folder("notes.md"),
        "other is not a capture in a known file format; known file formats: poses.txt",
    ),
    ("folder around the capture", lambda path: path.parent, "did you mean {path}?"),
    ("a file", lambda path: path / "K.txt", "K.txt is a file; pass the folder of a capture"),
    ("no such path", lambda path: path / "nowhere", "nowhere does not exist"),
]
TSDF_FUSION = [
    (
        "colour missing",
        remove("frame-000001.color.png"),
        "frame-000001.color.png (or .jpg) is missing",
    ),
    ("depth missing", remove("frame-000001.depth.png"), "frame-000001.depth.png is missing"),
    (
        "pose of three rows",
        numbers("frame-000001.pose.txt", lambda T: T[:3]),
        "frame-000001.pose.txt: expected a 4x4 matrix",
    ),
    (
        "a word in a pose",
        line("frame-000001.pose.txt", 2, lambda row: "lost"),
        "frame-000001.pose.txt, line 2: expected numbers",
    ),
    (
        "calibration of 4x4",
        write("camera-intrinsics.txt", "1 0 0 0\n" * 4),
        "camera-intrinsics.txt, line 1: expected 3 numbers",
    ),
    (
        "not the Kinect's size",
        remove("camera-intrinsics.txt"),
        "the principal point (320, 240) lies outside the 64x48 image",
    ),
    ("folder around the capture", lambda path: path.parent, "did you mean {path}?"),
]
TUM = [
    ("groundtruth.txt missing", remove("groundtruth.txt"), "groundtruth.txt is missing"),
    (
        "quaternions not unit",
        numbers("groundtruth.txt", lambda rows: rows + np.eye(8)[7]),
        "groundtruth.txt: the rotations",
    ),
    ("rgb.txt empty", write("rgb.txt", ""), "rgb.txt lists no files"),
    ("depth.txt only comments", write("depth.txt", "# depth maps\n"), "depth.txt lists no files"),
    (
        "rgb.txt of three columns",
        line("rgb.txt", 4, lambda row: row + " more"),
        "rgb.txt: every line must hold a time stamp",
    ),
    (
        "listed image missing",
        lambda path: min((path / "rgb").iterdir()).unlink(),
        ".png is missing; the capture lists this frame",
    ),
    (
        "clocks an hour apart",
        numbers("groundtruth.txt", lambda rows: rows + 3600 * np.eye(8)[0]),
        "are the three clocks the same?",
    ),
    ("folder around the capture", lambda path: path.parent, "did you mean {path}?"),
]


def assert_one_sentence(message: str, path: Path) -> None:
    text = message.replace(str(path), "PATH").replace(str(path.parent), "PARENT")
    assert "\n" not in text and text[-1] in ".?" and not re.search(r"[.?!] +[A-Z]", text), text


@pytest.mark.parametrize(
    "write_capture, breaker, text",
    [
        pytest.param(writer, breaker, text, id=f"{layout}: {name}")
        for layout, writer, table in [
            ("poses.txt", write_poses_txt, POSES_TXT),
            (
                "tsdf-fusion",
                lambda path, *room: write_seven_scenes(path, *room, tsdf_fusion=True),
                TSDF_FUSION,
            ),
            ("TUM", write_tum, TUM),
        ]
        for name, breaker, text in table
    ],
)
def test_bad_input_is_one_capture_error_of_one_sentence(tmp_path, write_capture, breaker, text):
    path = write_capture(tmp_path / "room", *ROOM)
    other = breaker(path)
    with pytest.raises(InputError) as caught:
        load_scene(other if isinstance(other, Path) else path)
    message = str(caught.value)
    assert text.format(path=path) in message
    assert str(tmp_path) in message
    assert_one_sentence(message, path)
    assert caught.value.__cause__ is None and (
        caught.value.__suppress_context__ or not caught.value.__context__
    )  # no second error


@pytest.mark.parametrize(
    "file, breaker",
    [
        ("K.txt", numbers("K.txt", np.transpose)),
        ("K_depth.txt", write("K_depth.txt", "585 0 320\n0 585 240\n0 0 1")),
        ("poses.txt", poses(lambda T: T @ np.diag([1, 1, -1, 1]))),
    ],
    ids=["K.txt", "K_depth.txt", "poses.txt"],
)
def test_a_wrong_camera_or_pose_is_blamed_on_the_file_that_holds_it(tmp_path, file, breaker):
    path = write_poses_txt(tmp_path / "room", *ROOM)
    breaker(path)
    with pytest.raises(InputError, match=re.escape(str(path / file))):
        load_scene(path)


@pytest.mark.parametrize("choose", ["spread", "overlap"])
def test_a_broken_image_is_found_however_frames_are_chosen(tmp_path, choose):
    path = write_poses_txt(tmp_path / "room", *ROOM)
    truncate("images/00000.png")(path)
    with pytest.raises(InputError, match="00000.png is not a complete image"):
        load_scene(path, max_frames=2, choose=choose)


def test_an_image_cut_off_anywhere_is_never_half_an_image(tmp_path):
    whole = write_poses_txt(tmp_path / "room", *ROOM) / "images" / "00000.png"
    pixels, data, cut = read_image(whole), whole.read_bytes(), tmp_path / "cut.png"
    for length in {*range(60), *range(60, len(data), 97)}:
        cut.write_bytes(data[:length])
        try:
            np.testing.assert_array_equal(read_image(cut), pixels)  # only the end mark is missing
        except InputError as error:
            assert "cut.png is not a complete image" in str(error)
