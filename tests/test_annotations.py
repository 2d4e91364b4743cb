"""Published question files become examples: tiny files in the published layouts, and the real ones
where they are at hand.
"""

import json
import math
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from leovl_mini.data.benchmarks import (
    first_word,
    read_beacon3d_grounding,
    read_beacon3d_qa,
    read_scanqa,
    read_sqa3d,
)
from leovl_mini.data.examples import TASKS, load_examples, save_examples
from leovl_mini.data.vsibench import box_distance, read_vsibench_meta
from leovl_mini.scans.scene import InputError

DATA = (
    Path(os.environ.get("LEOVL_REAL_DATA", Path(__file__).parent.parent.parent / "shared"))
    / "real_text"
)
real = pytest.mark.skipif(
    not DATA.is_dir(),
    reason=f"no real annotations at {DATA}; set LEOVL_REAL_DATA to a folder that holds real_text",
)


def box(centre, lengths, yaw=0.0) -> dict:
    """A box turned ``yaw`` degrees about +z, as VSI-Bench writes it: one axis per row."""
    axes = Rotation.from_euler("z", yaw, degrees=True).as_matrix().T
    return {
        "centroid": list(centre),
        "axesLengths": list(lengths),
        "normalizedAxes": axes.ravel().tolist(),
    }


def tiny() -> dict:
    """The content of one small file per layout, by file name."""
    situation = {
        "situation": "I face the sofa.",
        "alternative_situation": ["I look at the sofa."],
        "scene_id": "scene0001_00",
    }
    answer = {"scene_id": "scene0001_00", "question_type": "N/A", "answer_type": "other"}
    answer["position"] = {"x": 1, "y": -0.5, "z": 0}
    return {
        "questions.json": {
            "questions": [
                situation | {"question": "Which way is the door?", "question_id": 7},
                situation | {"question": "Are there chairs?", "question_id": 5},
            ]
        },
        "annotations.json": {
            "annotations": [
                answer
                | {"question_id": 5, "rotation": {"_x": 0, "_y": 0, "_z": 0, "_w": 1}}
                | {"answers": [{"answer": "no", "answer_confidence": "yes", "answer_id": 1}]},
                answer
                | {
                    "question_id": 7,
                    "rotation": {
                        "_x": 0,
                        "_y": 0,
                        "_z": math.sin(math.pi / 8),
                        "_w": math.cos(math.pi / 8),
                    },
                }
                | {"answers": [{"answer": "left", "answer_confidence": "yes", "answer_id": 1}]},
            ]
        },
        "scanqa.json": [
            {
                "answers": ["brown cabinet", "cabinet"],
                "object_ids": [8, 3],
                "object_names": ["cabinet", "cabinet"],
                "question": "What is under the sink?",
                "question_id": "val-scene0011-0",
                "scene_id": "scene0011_00",
            },
            {
                "question": "Where is the bin?",
                "question_id": "test-scene0012-0",
                "scene_id": "scene0012_00",
            },
        ],
        "qa.json": [
            {
                "question_id": "scene0025_00_27_2_spatial_1",
                "scene_id": "scene0025_00",
                "question": "Is the box near the door?",
                "object_ids": [27],
                "object_names": ["box"],
                "answers": ["No"],
            }
        ],
        "grounding.json": [
            {
                "item_id": "scene0025_00_27_chain_3_1_class-spatial",
                "scan_id": "scene0025_00",
                "target_id": [29, 27],
                "instance_type": "box",
                "utterance": "Box on the desk",
            }
        ],
        "meta.json": {
            "scene0251_00": {
                "room_size": 35.857,
                "object_counts": {"chair": 2, "bed": 1, "sofa": 1, "table": 1},
                "object_bbox": {
                    "chair": [box((0, 0, 0), (1, 1, 1)), box((3, 0, 0), (1, 1, 1))],
                    "bed": [box((0, 0, 0), (1.6, 2.0449, 0.5))],
                    "sofa": [box((4, 0, 0), (2, 2, 0.5), yaw=45)],
                    "table": [box((0, 0, 0.3), (0.5, 0.5, 0.5))],
                },
            }
        },
    }


READERS = {
    "SQA3D": (read_sqa3d, ("questions.json", "annotations.json"), 2),
    "ScanQA": (read_scanqa, ("scanqa.json",), 2),
    "Beacon3D QA": (read_beacon3d_qa, ("qa.json",), 1),
    "Beacon3D grounding": (read_beacon3d_grounding, ("grounding.json",), 1),
    "VSI-Bench": (read_vsibench_meta, ("meta.json",), 7),
}


@pytest.fixture
def files(tmp_path) -> Path:
    for name, content in tiny().items():
        (tmp_path / name).write_text(json.dumps(content))
    return tmp_path


def plausible(examples) -> None:
    """What holds for every example of every file."""
    assert len({e.id for e in examples}) == len(examples)
    for e in examples:
        assert e.task in TASKS and e.kind and e.scene and e.question.strip()
        assert all(answer.strip() for answer in e.answers)
        assert bool(e.answers) != (e.task == "grounding") or "test" in e.id
        assert e.position is None or (len(e.position) == 3 and all(abs(x) < 15 for x in e.position))
        assert e.heading is None or -math.pi <= e.heading <= math.pi
        assert e.targets is None or (e.targets and all(target >= 0 for target in e.targets))


@pytest.mark.parametrize("name", READERS)
def test_a_file_becomes_examples_that_survive_saving(files, name):
    read, names, count = READERS[name]
    examples = read(*(files / n for n in names))
    assert len(examples) == count
    plausible(examples)
    save_examples(examples, files / "examples.jsonl")
    assert list(load_examples(files / "examples.jsonl")) == examples


def test_sqa3d_pairs_by_id_and_identity_faces_minus_x(files):
    first, second = read_sqa3d(files / "questions.json", files / "annotations.json")
    assert (first.id, first.scene, first.kind, first.answers) == (
        "7",
        "scene0001_00",
        "which",
        ["left"],
    )
    assert (second.id, second.kind, second.answers) == ("5", "others", ["no"])
    assert first.situation == "I face the sofa." and first.position == [1.0, -0.5, 0.0]
    assert second.heading == pytest.approx(math.pi)  # no turn: -x
    assert first.heading == pytest.approx(-3 * math.pi / 4)  # 45 degrees to the left of -x


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("What's here?", "what"),
        (" is it?", "is"),
        ("How many?", "how"),
        ("CAN I?", "can"),
        ("Which?", "which"),
        ("Are we?", "others"),
    ],
)
def test_question_type_is_the_first_word(question, kind):
    assert first_word(question) == kind


def test_scanqa_and_its_test_split_without_answers(files):
    with_answers, without = read_scanqa(files / "scanqa.json")
    assert with_answers.answers == ["brown cabinet", "cabinet"] and with_answers.targets == [8, 3]
    assert (
        with_answers.derivation == {"names": ["cabinet", "cabinet"]} and with_answers.kind == "what"
    )
    assert without.answers == [] and without.targets is None and without.kind == "others"


def test_beacon3d_ids_name_scene_object_and_tag(files):
    (asked,) = read_beacon3d_qa(files / "qa.json")
    assert (asked.scene, asked.kind, asked.targets) == ("scene0025_00", "spatial", [27])
    assert asked.derivation == {"object": 27, "index": 2, "knowledge": 1, "names": ["box"]}
    (described,) = read_beacon3d_grounding(files / "grounding.json")
    assert (described.task, described.kind, described.targets) == (
        "grounding",
        "class-spatial",
        [29, 27],
    )
    assert described.question == "Box on the desk" and described.answers == []
    assert described.derivation == {"object": 27, "chain": 3, "level": 1, "name": "box"}


def test_vsibench_questions_follow_from_counts_and_boxes(files):
    examples = read_vsibench_meta(files / "meta.json")
    answers = {(e.kind, *e.derivation["categories"]): e.answers for e in examples}
    gap = 4 - math.sqrt(2) - 0.8  # the sofa's corner points at the bed
    assert answers == {
        ("room_size_estimation",): ["35.9"],
        ("object_counting", "chair"): ["2"],
        ("object_size_estimation", "bed"): ["204"],
        ("object_size_estimation", "sofa"): ["200"],
        ("object_size_estimation", "table"): ["50"],
        ("object_abs_distance", "bed", "sofa"): [
            f"{gap:.1f}"
        ],  # the bed and the table overlap: no question
        ("object_abs_distance", "sofa", "table"): ["2.3"],
    }
    assert examples[0].question.startswith("What is the size of this room")
    assert next(e for e in examples if e.id.endswith("/bed/sofa")).derivation[
        "value"
    ] == pytest.approx(gap, abs=1e-6)


def test_box_distance_is_that_of_alternating_projections():
    """Projecting to and fro between two convex bodies ends at their closest points (von Neumann)."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        a, b = (
            (
                rng.uniform(-2, 2, 3),
                Rotation.from_rotvec(rng.normal(size=3)).as_matrix(),
                rng.uniform(0, 1.5, 3),
            )
            for _ in "ab"
        )
        p = a[0]
        for _ in range(1000):
            q = b[0] + b[1].T @ np.clip(b[1] @ (p - b[0]), -b[2] / 2, b[2] / 2)
            p = a[0] + a[1].T @ np.clip(a[1] @ (q - a[0]), -a[2] / 2, a[2] / 2)
        assert box_distance(a, b) == pytest.approx(np.linalg.norm(p - q), abs=1e-5)


def drop(*path):
    """A change of a file's content: the last step of ``path`` is deleted."""

    def change(content):
        for step in path[:-1]:
            content = content[step]
        del content[path[-1]]

    return change


def put(*path, value):
    def change(content):
        for step in path[:-1]:
            content = content[step]
        content[path[-1]] = value

    return change


def twice(*path):
    def change(content):
        for step in path:
            content = content[step]
        content.append(content[0])

    return change


BED = ("scene0251_00", "object_bbox", "bed")


@pytest.mark.parametrize(
    ("name", "file", "change", "says"),
    [
        (
            "SQA3D",
            "questions.json",
            drop("questions"),
            "questions.json must hold an object with a list named 'questions'",
        ),
        (
            "SQA3D",
            "questions.json",
            drop("questions", 1),
            "questions.json has no question_id 5, which",
        ),
        (
            "SQA3D",
            "annotations.json",
            drop("annotations", 1),
            "annotations.json has no question_id 7, which",
        ),
        (
            "SQA3D",
            "questions.json",
            twice("questions"),
            "questions.json, entry 2: question_id 7 appears twice",
        ),
        (
            "SQA3D",
            "annotations.json",
            put("annotations", 0, "scene_id", value="other"),
            "question_id 5: scene_id is not scene0001_00",
        ),
        (
            "SQA3D",
            "annotations.json",
            put("annotations", 0, "rotation", "_w", value=0),
            "question_id 5: the rotation is zero",
        ),
        (
            "SQA3D",
            "annotations.json",
            put("annotations", 0, "rotation", "_y", value=1),
            "question_id 5: the rotation is not about z",
        ),
        (
            "SQA3D",
            "annotations.json",
            put("annotations", 0, "position", "y", value="1"),
            "question_id 5, position: 'y' must be a number",
        ),
        (
            "SQA3D",
            "annotations.json",
            put("annotations", 0, "position", "y", value=math.nan),
            "position: 'y' must be a number",
        ),
        (
            "SQA3D",
            "annotations.json",
            drop("annotations", 1, "answers", 0, "answer"),
            "question_id 7: 'answer' is missing",
        ),
        (
            "SQA3D",
            "annotations.json",
            put("annotations", 1, "answers", value=[]),
            "question_id 7: 'answers' must be a list of objects",
        ),
        (
            "SQA3D",
            "questions.json",
            drop("questions", 0, "situation"),
            "questions.json, question_id 7: 'situation' is missing",
        ),
        (
            "ScanQA",
            "scanqa.json",
            drop(0, "question"),
            "scanqa.json, question_id val-scene0011-0: 'question' is missing",
        ),
        (
            "ScanQA",
            "scanqa.json",
            drop(1, "question_id"),
            "scanqa.json, entry 1: 'question_id' must be a text or a whole number",
        ),
        (
            "ScanQA",
            "scanqa.json",
            put(0, "answers", value="cabinet"),
            "'answers' must be a list of texts, found 'cabinet'",
        ),
        (
            "ScanQA",
            "scanqa.json",
            put(0, "object_ids", value=[True]),
            "'object_ids' must be a list of whole numbers",
        ),
        (
            "ScanQA",
            "scanqa.json",
            put(1, value="text"),
            "scanqa.json, entry 1: 'question_id' must be",
        ),
        ("ScanQA", "scanqa.json", twice(), "entry 2: question_id val-scene0011-0 appears twice"),
        (
            "Beacon3D QA",
            "qa.json",
            put(0, "question_id", value="scene0025_00_27_spatial_1"),
            "must be scene0025_00_OBJECT_INDEX_TAG",
        ),
        (
            "Beacon3D QA",
            "qa.json",
            put(0, "question_id", value="scene0025_00_27_2_spatial_x"),
            "'x' in the id must be a whole number",
        ),
        (
            "Beacon3D QA",
            "qa.json",
            put(0, "scene_id", value="scene0001_00"),
            "the id must be scene0001_00_OBJECT",
        ),
        (
            "Beacon3D grounding",
            "grounding.json",
            put(0, "target_id", value=27),
            "'target_id' must be a list of whole numbers",
        ),
        (
            "Beacon3D grounding",
            "grounding.json",
            put(0, "utterance", value=" "),
            "'utterance' must be a text",
        ),
        (
            "VSI-Bench",
            "meta.json",
            put("scene0251_00", value=[]),
            "meta.json, scene scene0251_00: 'room_size' is missing",
        ),
        (
            "VSI-Bench",
            "meta.json",
            put(*BED, value=[]),
            "object_bbox: 'bed' must be a list of objects",
        ),
        ("VSI-Bench", "meta.json", put(*BED, value=[{}, {}]), "'bed' has 2 boxes but a count of 1"),
        (
            "VSI-Bench",
            "meta.json",
            put(*BED, 0, "axesLengths", value=[1, 2]),
            "the box of 'bed' must have 3 + 9 + 3 numbers",
        ),
        (
            "VSI-Bench",
            "meta.json",
            put(*BED, 0, "normalizedAxes", value=[1] * 9),
            "the axes of 'bed' are not at right angles",
        ),
        (
            "VSI-Bench",
            "meta.json",
            put("scene0251_00", "object_counts", "bed", value=1.0),
            "'bed' must be a whole number",
        ),
    ],
)
def test_bad_content_is_one_sentence_that_names_file_and_entry(files, name, file, change, says):
    content = json.loads((files / file).read_text())
    change(content)
    (files / file).write_text(json.dumps(content))
    read, names, _ = READERS[name]
    with pytest.raises(InputError, match=re.escape(says)) as caught:
        read(*(files / n for n in names))
    assert str(files) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "does not exist"),
        (b"{", "is not a JSON file"),
        (b"\xff\xfe", "is not a JSON file"),
        (b"3", "must"),
    ],
)
def test_files_that_are_not_json_are_named(files, name, content, says):
    read, names, _ = READERS[name]
    file = files / names[-1]
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(InputError, match=f"{re.escape(str(file))} {says}"):
        read(*(files / n for n in names))


@real
def test_real_sqa3d(tmp_path):
    examples = read_sqa3d(DATA / "sqa3d_questions_400.json", DATA / "sqa3d_annotations_400.json")
    plausible(examples)
    assert len(examples) == 400 and len({e.scene for e in examples}) == 67
    assert Counter(e.kind for e in examples) == {
        "what": 129,
        "is": 78,
        "others": 60,
        "how": 50,
        "which": 44,
        "can": 39,
    }
    first = examples[0]
    assert (first.id, first.scene, first.answers) == ("220602000002", "scene0050_00", ["piano"])
    assert first.question == "What instrument in front of me is ebony and ivory?"
    assert first.heading == pytest.approx(
        2 * math.atan2(-0.9995736, -0.0291995) + math.pi, abs=1e-5
    )
    assert all(len(e.answers) == 1 and e.situation and e.position[2] == 0 for e in examples)
    save_examples(examples, tmp_path / "examples.jsonl")
    assert list(load_examples(tmp_path / "examples.jsonl")) == examples


# What some situations say the agent sees ahead (0 degrees), to its left (90), behind it (180) or to
# its right (-90).
SEEN = [
    ("scene0354_00", "facing the door and there is another chair", "door", 0),
    ("scene0354_00", "looking at the TV", "tv", 0),
    ("scene0354_00", "closed the door behind me", "door", 180),
    ("scene0354_00", "facing the window and there is another chair", "window", 0),
    ("scene0353_00", "I am facing the door with the wardrobe cabinet to my left", "door", 0),
    ("scene0353_00", "I am facing the door with the wardrobe cabinet to my left", "closet", 90),
    (
        "scene0353_00",
        "I am facing the door with the wardrobe cabinet to my left",
        "refrigerator",
        180,
    ),
    ("scene0353_00", "facing the wardrobe cabinet", "closet", 0),
    ("scene0353_00", "in front of the mini fridge", "refrigerator", 0),
    ("scene0353_00", "I am facing the couch", "sofa", 0),
    ("scene0338_00", "I am opening a door", "door", 0),
]


@real
def test_real_sqa3d_headings_agree_with_what_the_situations_say():
    """VSI-Bench's boxes of the same scans, moved to SQA3D's origin: the named object lies where the
    situation says.
    """
    examples = read_sqa3d(DATA / "sqa3d_questions_400.json", DATA / "sqa3d_annotations_400.json")
    meta = json.loads((DATA / "vsibench_meta_scannet_10.json").read_text())
    for scene, words, name, bearing in SEEN:
        example = next(e for e in examples if e.scene == scene and words in e.situation)
        (only,) = meta[scene]["object_bbox"][name]
        x, y, _ = np.subtract(only["centroid"], meta[scene]["room_center"]) - example.position
        off = math.degrees(math.atan2(y, x) - example.heading) - bearing
        assert abs((off + 180) % 360 - 180) < 25, (scene, words, name)


@real
def test_real_beacon3d(tmp_path):
    asked, described = (
        read_beacon3d_qa(DATA / "beacon3d_scannet_qa.json"),
        read_beacon3d_grounding(DATA / "beacon3d_scannet_grounding.json"),
    )
    plausible(asked + described)
    assert len(asked) == 1155 and len(described) == 1611
    assert Counter(e.kind for e in asked) == {
        "appearance": 333,
        "spatial": 305,
        "existence": 245,
        "geometry": 158,
        "class": 111,
        "functionality": 3,
    }
    assert all(e.targets == [e.derivation["object"]] for e in asked)
    assert sum(e.derivation["object"] not in e.targets for e in described) == 2
    assert asked[0].id == "scene0025_00_27_0_appearance_0" and asked[0].answers == ["White"]
    assert (
        described[2].question == "Box"
        and described[2].targets == [29, 27]
        and described[2].kind == "class"
    )
    names = json.loads((DATA / "beacon3d_scannet_obj_id_to_class.json").read_text())
    assert sum(names[e.scene][str(e.targets[0])] != e.derivation["name"] for e in described) == 16
    save_examples(asked + described, tmp_path / "examples.jsonl")
    assert list(load_examples(tmp_path / "examples.jsonl")) == asked + described


@real
def test_real_vsibench(tmp_path):
    examples = read_vsibench_meta(DATA / "vsibench_meta_scannet_10.json")
    plausible(examples)
    kinds = Counter(e.kind for e in examples)
    assert (
        kinds["room_size_estimation"] == 10
        and kinds["object_counting"] == 17
        and kinds["object_size_estimation"] == 42
    )
    limits = {
        "room_size_estimation": (5, 60),
        "object_counting": (2, 20),
        "object_size_estimation": (20, 500),
        "object_abs_distance": (0.2, 8),
    }
    for e in examples:
        low, high = limits[e.kind]
        assert low <= float(e.answers[0]) <= high, e
        assert abs(float(e.answers[0]) - e.derivation["value"]) <= (
            0.5 if "size_est" in e.kind and e.derivation["categories"] else 0.05
        )
    answers = {e.id: e.answers for e in examples}
    assert answers["scene0251_00/room_size_estimation"] == ["35.9"]
    assert answers["scene0251_00/object_counting/trash bin"] == ["5"]
    save_examples(examples, tmp_path / "examples.jsonl")
    assert list(load_examples(tmp_path / "examples.jsonl")) == examples


@real
def test_real_vsibench_boxes_have_their_axes_in_rows():
    """``min`` and ``max`` in the file are those of the turned boxes only if rows are axes."""
    meta = json.loads((DATA / "vsibench_meta_scannet_10.json").read_text())
    boxes = [b for scene in meta.values() for some in scene["object_bbox"].values() for b in some]
    axes, lengths, centres, high = (
        np.array([b[key] for b in boxes])
        for key in ("normalizedAxes", "axesLengths", "centroid", "max")
    )
    reach = (np.abs(axes.reshape(-1, 3, 3)) * lengths[:, :, None]).sum(1) / 2
    assert np.abs(centres + reach - high).max() < 1e-3
