"""Published annotation files become examples, and with scans of ScanNet a source of scenes to learn
from: tiny files in the published form, and the real ones where they are at hand.
"""

import dataclasses
import json
import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from rooms import box_scene, write_scannet
from scipy.spatial.transform import Rotation

from leovl_mini.config import TuneConfig
from leovl_mini.data.annotations import (
    first_word,
    read_beacon3d_grounding,
    read_beacon3d_qa,
    read_scanqa,
    read_sqa3d,
)
from leovl_mini.data.benchmarks import Benchmark
from leovl_mini.data.examples import TASKS, load_examples, save_examples
from leovl_mini.data.vsibench import Box, box_distance, read_vsibench_meta
from leovl_mini.evaluate.data import load_eval_data
from leovl_mini.evaluate.run import evaluate
from leovl_mini.model.leovl import LeoVL
from leovl_mini.rooms.dataset import RoomDataset
from leovl_mini.scans.scene import InputError
from leovl_mini.tokens.cache import FeatureCache, make_features, open_source
from leovl_mini.train.curriculum import tune


def turn(degrees: float) -> dict:
    half = math.radians(degrees) / 2
    return {"_x": 0, "_y": 0, "_z": math.sin(half), "_w": math.cos(half)}


def box(centre, lengths, yaw=0.0) -> dict:
    """A box turned ``yaw`` degrees about +z, as VSI-Bench writes it: one axis per row."""
    axes = Rotation.from_euler("z", yaw, degrees=True).as_matrix().T.ravel().tolist()
    return {"centroid": list(centre), "axesLengths": list(lengths), "normalizedAxes": axes}


SQA3D = (
    "v1_balanced_questions_test_scannetv2.json",
    "v1_balanced_sqa_annotations_test_scannetv2.json",
)
SCANQA, META = "ScanQA_v1.0_val.json", "scannet_meta_info_val.json"
QA, GROUNDING = "beacon3d_qa_test.json", "beacon3d_grounding_test.json"


SCANQA_ROWS = """[
    {"scene_id": "scene0011_00", "question_id": "val-scene0011-0", "object_ids": [8, 3],
     "object_names": ["cabinet", "cabinet"], "question": "What is under the sink?",
     "answers": ["brown cabinet", "cabinet"]},
    {"scene_id": "scene0012_00", "question_id": "test-scene0012-0", "question": "Where is the bin?"}
]"""  # the second as in the test splits
QA_ROW = """{
    "question_id": "scene0025_00_27_2_spatial_1", "scene_id": "scene0025_00", "object_ids": [27],
    "object_names": ["box"], "question": "Is the box near the door?", "answers": ["No"]
}"""
GROUNDING_ROW = """{
    "item_id": "scene0025_00_27_chain_3_1_class-spatial", "scan_id": "scene0025_00",
    "target_id": [29, 27], "instance_type": "box", "utterance": "Box on the desk"
}"""


def tiny() -> dict:
    """The content of small files as they are published, by their names."""
    question = {"situation": "I face the sofa.", "scene_id": "scene0001_00"}
    question["alternative_situation"] = ["I look at the sofa."]
    answer = {"scene_id": "scene0001_00", "position": {"x": 1, "y": -0.5, "z": 0}}
    boxes = {
        "chair": [box((0, 0, 0), (1, 1, 1)), box((3, 0, 0), (1, 1, 1))],
        "bed": [box((0, 0, 0), (1.6, 2.0449, 0.5))],
        "sofa": [box((4, 0, 0), (2, 2, 0.5), yaw=45)],
        "table": [box((0, 0, 0.3), (0.5, 0.5, 0.5))],
    }
    counts = {name: len(some) for name, some in boxes.items()}
    asked = [
        question | {"question": "Which way is the door?", "question_id": 7},
        question | {"question": "Are there chairs?", "question_id": 5},
    ]
    answered = [
        answer | {"question_id": 5, "rotation": turn(0), "answers": [{"answer": "no"}]},
        answer | {"question_id": 7, "rotation": turn(45), "answers": [{"answer": "left"}]},
    ]
    return {
        SQA3D[0]: {"questions": asked},
        SQA3D[1]: {"annotations": answered},
        SCANQA: json.loads(SCANQA_ROWS),
        QA: [json.loads(QA_ROW)],
        GROUNDING: [json.loads(GROUNDING_ROW)],
        META: {
            "scene0251_00": {"room_size": 35.857, "object_counts": counts, "object_bbox": boxes}
        },
    }


READERS = {
    "SQA3D": (read_sqa3d, SQA3D, 2),
    "ScanQA": (read_scanqa, (SCANQA,), 2),
    "Beacon3D QA": (read_beacon3d_qa, (QA,), 1),
    "Beacon3D grounding": (read_beacon3d_grounding, (GROUNDING,), 1),
    "VSI-Bench": (read_vsibench_meta, (META,), 7),
}


@pytest.fixture
def files(tmp_path) -> Path:
    for name, content in tiny().items():
        (tmp_path / name).write_text(json.dumps(content))
    return tmp_path


def check_plausible(examples, folder: Path) -> None:
    """What holds for every example of every file; saving loses nothing."""
    assert len({e.id for e in examples}) == len(examples)
    for e in examples:
        assert e.task in TASKS and e.kind and e.scene and e.question.strip()
        assert all(answer.strip() for answer in e.answers)
        assert bool(e.answers) != (e.task == "grounding") or "test" in e.id
        assert e.position is None or (len(e.position) == 3 and all(abs(x) < 15 for x in e.position))
        assert e.heading is None or -math.pi <= e.heading <= math.pi
        assert e.targets is None or (e.targets and all(target >= 0 for target in e.targets))
    save_examples(examples, folder / "examples.jsonl")
    assert list(load_examples(folder / "examples.jsonl")) == examples


# -- files to examples -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", READERS)
def test_a_file_becomes_examples_that_survive_saving(files, name):
    read, names, count = READERS[name]
    examples = read(*(files / n for n in names))
    assert len(examples) == count
    check_plausible(examples, files)


def test_sqa3d_pairs_by_id_and_identity_faces_minus_x(files):
    first, second = read_sqa3d(*(files / name for name in SQA3D))
    assert (first.id, first.kind, first.answers) == ("7", "which", ["left"])
    assert (second.id, second.kind, second.answers) == ("5", "others", ["no"])
    assert first.scene == "scene0001_00" and first.situation == "I face the sofa."
    assert first.position == [1.0, -0.5, 0.0]
    assert second.heading == pytest.approx(math.pi)  # no turn: -x
    assert first.heading == pytest.approx(-3 * math.pi / 4)  # 45 degrees to the left of -x


def test_question_type_is_the_first_word():
    kinds = {"What's here?": "what", " is it?": "is", "How many?": "how", "CAN I?": "can"}
    kinds |= {"Which?": "which", "Are we?": "others"}
    assert {question: first_word(question) for question in kinds} == kinds


def test_scanqa_and_its_test_split_without_answers(files):
    with_answers, without = read_scanqa(files / SCANQA)
    assert with_answers.answers == ["brown cabinet", "cabinet"] and with_answers.targets == [8, 3]
    assert with_answers.derivation == {"names": ["cabinet"] * 2} and with_answers.kind == "what"
    assert without.answers == [] and without.targets is None and without.kind == "others"


def test_beacon3d_ids_name_scene_object_and_tag(files):
    (asked,) = read_beacon3d_qa(files / QA)
    assert (asked.scene, asked.kind, asked.targets) == ("scene0025_00", "spatial", [27])
    assert asked.derivation == {"object": 27, "index": 2, "knowledge": 1, "names": ["box"]}
    (described,) = read_beacon3d_grounding(files / GROUNDING)
    assert (described.task, described.kind) == ("grounding", "class-spatial")
    assert described.question == "Box on the desk" and described.targets == [29, 27]
    assert described.derivation == {"object": 27, "chain": 3, "level": 1, "name": "box"}


def test_vsibench_questions_follow_from_counts_and_boxes(files):
    examples = read_vsibench_meta(files / META)
    gap = 4 - math.sqrt(2) - 0.8  # the sofa's corner points at the bed
    assert {(e.kind, *e.derivation["categories"]): e.answers for e in examples} == {
        ("room_size_estimation",): ["35.9"],
        ("object_counting", "chair"): ["2"],
        ("object_size_estimation", "bed"): ["204"],
        ("object_size_estimation", "sofa"): ["200"],
        ("object_size_estimation", "table"): ["50"],
        ("object_abs_distance", "bed", "sofa"): [f"{gap:.1f}"],
        ("object_abs_distance", "sofa", "table"): ["2.3"],  # bed and table overlap: not asked
    }
    (distance,) = (e for e in examples if e.id.endswith("/bed/sofa"))
    assert distance.derivation["value"] == pytest.approx(gap, abs=1e-6)
    assert distance.question.endswith(
        "what is the distance between the bed and the sofa (in meters)?"
    )


def test_box_distance_is_that_of_alternating_projections():
    """Projecting to and fro between convex bodies ends at their closest points (von Neumann)."""
    rng = np.random.default_rng(0)

    def random_box() -> Box:
        axes = Rotation.from_rotvec(rng.normal(size=3)).as_matrix()
        return Box(rng.uniform(-2, 2, 3), axes, rng.uniform(0, 1.5, 3))

    def nearest_in(b: Box, point: np.ndarray) -> np.ndarray:
        inside = np.clip(b.axes @ (point - b.center), -b.lengths / 2, b.lengths / 2)
        return b.center + b.axes.T @ inside

    for _ in range(30):
        a, b = random_box(), random_box()
        p = a.center
        for _ in range(1000):
            q = nearest_in(b, p)
            p = nearest_in(a, q)
        assert box_distance(a, b) == pytest.approx(np.linalg.norm(p - q), abs=1e-5)


# -- what is not as published ----------------------------------------------------------------------


def put(*path, value):
    """A change of a file's content: the field at ``path`` gets a value."""

    def change(content):
        for step in path[:-1]:
            content = content[step]
        content[path[-1]] = value

    return change


def drop(*path):
    def change(content):
        for step in path[:-1]:
            content = content[step]
        del content[path[-1]]

    return change


def twice(*path):
    def change(content):
        for step in path:
            content = content[step]
        content.append(content[0])

    return change


BED = ("scene0251_00", "object_bbox", "bed")
BAD = {
    "SQA3D": [
        (0, drop("questions"), "'questions' is missing"),
        (0, drop("questions", 1), "do not hold the same questions, such as 5"),
        (1, drop("annotations", 1), "do not hold the same questions, such as 7"),
        (0, twice("questions"), "entry 2: question_id 7 appears twice"),
        (
            1,
            put("annotations", 0, "scene_id", value="x"),
            "5: scene_id is not scene0001_00",
        ),
        (1, put("annotations", 0, "rotation", "_w", value=0), "5, rotation: all numbers are 0"),
        (
            1,
            put("annotations", 0, "rotation", "_y", value=1),
            "5, rotation: the rotation is not ab",
        ),
        (1, put("annotations", 0, "position", "y", value="1"), "position: 'y' must be a number"),
        (1, put("annotations", 0, "position", "y", value=math.nan), "'y' must be a number"),
        (1, put("annotations", 0, "position", value=3), "5: 'position' must be an object"),
        (1, drop("annotations", 1, "answers", 0, "answer"), "question_id 7: 'answer' is missing"),
        (1, put("annotations", 1, "answers", value=[]), "'answers' must be a list of objects"),
    ],
    "ScanQA": [
        (0, drop(0, "question"), "question_id val-scene0011-0: 'question' is missing"),
        (0, drop(1, "question_id"), "entry 1: 'question_id' is missing"),
        (0, put(0, "answers", value="cabinet"), "must be a list of texts, found 'cabinet'"),
        (0, put(0, "object_ids", value=[True]), "'object_ids' must be a list of whole numbers"),
        (0, put(1, value="text"), "must hold a list of objects"),
        (0, twice(), "entry 2: question_id val-scene0011-0 appears twice"),
    ],
    "Beacon3D QA": [
        (
            0,
            put(0, "question_id", value="scene0025_00_27_spatial_1"),
            "the id must be scene0025_00",
        ),
        (0, put(0, "question_id", value="scene0025_00_27_2_spatial_x"), "the id must be scene0025"),
        (0, put(0, "scene_id", value="scene0001_00"), "the id must be scene0001_00, object, index"),
    ],
    "Beacon3D grounding": [
        (0, put(0, "utterance", value=" "), "'utterance' must be a text"),
    ],
    "VSI-Bench": [
        (0, put("scene0251_00", value=[]), "'scene0251_00' must be an object"),
        (0, twice(*BED), "object_bbox, bed: there must be one box, as the count says"),
        (0, put(*BED, 0, "axesLengths", value=[1, 2]), "bed: there must be one box"),
        (0, put(*BED, 0, "axesLengths", value=[1, 2, -1]), "bed: there must be one box"),
        (0, put(*BED, 0, "normalizedAxes", value=[1] * 9), "bed: there must be one box"),
        (0, put("scene0251_00", "object_counts", "bed", value=1.0), "'bed' must be a whole number"),
    ],
}


@pytest.mark.parametrize(
    "name, file, change, says",
    [
        pytest.param(name, *case, id=f"{name}-{case[2]}")
        for name, cases in BAD.items()
        for case in cases
    ],
)
def test_bad_content_is_one_sentence_that_names_file_and_entry(files, name, file, change, says):
    read, names, _ = READERS[name]
    path = files / names[file]
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=re.escape(says)) as caught:
        read(*(files / n for n in names))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", READERS)
def test_files_that_are_not_json_are_named(files, name):
    read, names, _ = READERS[name]
    file = files / names[-1]
    for content, says in (
        (b"{", "is not a JSON file"),
        (b"\xff\xfe", "is not a text file"),
        (b"3", "'annotations' is missing|must hold"),
        (None, "is missing"),
    ):
        file.unlink() if content is None else file.write_bytes(content)
        with pytest.raises(InputError, match=f"{re.escape(str(file))}:? ({says})"):
            read(*(files / n for n in names))


# -- scans with questions --------------------------------------------------------------------------


def write_mesh(scan: Path, low, high) -> None:
    """A mesh of two vertices, the corners of its bounding box."""
    kinds = "\n".join(f"property float {axis}" for axis in "xyz")
    header = f"ply\nformat ascii 1.0\nelement vertex 2\n{kinds}\nend_header\n"
    vertices = "".join(" ".join(map(str, corner)) + "\n" for corner in (low, high))
    (scan / f"{scan.name}_vh_clean_2.ply").write_text(header + vertices)


@pytest.fixture
def benchmark(files) -> Path:
    """The tiny files with the scans of three of the scenes they ask about."""
    for scene in ("scene0001_00", "scene0011_00", "scene0025_00"):
        write_scannet(files / "scans" / scene, *box_scene(views=2))
    write_mesh(files / "scans" / "scene0001_00", (-1, 0, -7), (5, 6, 2))  # around (2, 3)
    return files


def test_scans_with_questions_are_a_source_of_scenes(benchmark, tmp_path):
    """From files to the features that training reads, and to scores."""
    source = open_source(benchmark)
    assert isinstance(source, Benchmark)
    assert source.names("test") == ["scene0001_00", "scene0025_00"]
    with pytest.warns(UserWarning, match="lacks 2 of the 3 scans of split 'val': 8 of 9 questions"):
        assert source.names() == ["scene0001_00", "scene0011_00", "scene0025_00"]
    assert [e.id for e in source.examples("val")] == ["val-scene0011-0"]
    tasks = Counter((e.scene, e.task) for e in source.examples("test"))
    assert tasks == {
        ("scene0001_00", "qa"): 2,
        ("scene0025_00", "qa"): 1,
        ("scene0025_00", "grounding"): 1,
    }
    scene = source.scene("scene0001_00")
    assert scene.name == "scene0001_00" and len(scene) == 2
    make_features(tmp_path / "features", source, quiet=True)
    cache = FeatureCache(tmp_path / "features")
    assert len(cache) == 3 and all(e.scene in cache for e in source.examples("test"))
    assert len(cache.scene("scene0025_00").tokens) > 10
    data = load_eval_data(source, cache, "test")
    results = evaluate(LeoVL("nano"), data, controls=("scene", "wrong scene"))
    assert set(results) <= {"scene", "wrong scene", "majority"}
    assert results["scene"]["mean"]["questions"] == 3
    settings = {"split": "test", "steps": 1, "eval_scenes": 0}
    config = TuneConfig(benchmark, tmp_path / "features", tmp_path / "run", **settings)
    with pytest.raises(InputError, match="nothing is known about the objects .* --align-steps 0"):
        tune(config)
    tuned = tune(dataclasses.replace(config, align_steps=0), quiet=True)
    assert tuned["steps"] == 1 and math.isfinite(tuned["loss"])


def test_sqa3d_positions_are_moved_from_the_middle_of_the_mesh_into_the_world(benchmark):
    example = Benchmark(benchmark).examples("test")[0]
    assert example.position == [1 + 2, -0.5 + 3, 0] and example.heading is not None
    mesh = benchmark / "scans" / "scene0001_00" / "scene0001_00_vh_clean_2.ply"
    mesh.write_text("ply")
    with pytest.raises(InputError, match="vh_clean_2.ply is not a complete mesh"):
        Benchmark(benchmark).examples("test")
    mesh.unlink()
    with pytest.warns(UserWarning, match="1 scans of split 'test' lack their mesh"):
        example = Benchmark(benchmark).examples("test")[0]
    assert example.position is None and example.heading is None and example.situation


def test_scans_may_lie_beside_the_annotation_files(benchmark, tmp_path):
    (tmp_path / "ScanQA").mkdir()
    (benchmark / SCANQA).rename(tmp_path / "ScanQA" / SCANQA)
    with pytest.warns(UserWarning, match="lacks 1 of the 2 scans"):
        assert open_source(tmp_path / "ScanQA").names("val") == ["scene0011_00"]


def test_what_is_no_source_is_refused_in_one_sentence(benchmark, tmp_path):
    source = Benchmark(benchmark)
    with pytest.raises(InputError, match=r"has no split 'train'; there are: val, test\.$"):
        source.examples("train")
    with pytest.raises(InputError, match="has no scan 'scene0999_00'"):
        source.scene("scene0999_00")
    (benchmark / "scans").rename(benchmark / "elsewhere")
    with pytest.raises(InputError, match="has no folder scans/ in it or beside it"):
        open_source(benchmark)
    (benchmark / "scans").mkdir()
    with (
        pytest.warns(UserWarning, match="lacks"),
        pytest.raises(InputError, match="holds none of the scans that split 'test'"),
    ):
        open_source(benchmark).examples("test")
    with pytest.raises(InputError, match="holds neither made rooms nor"):
        open_source(benchmark / "scans")
    (benchmark / "scans" / "rooms.json").write_text("{}")
    assert isinstance(open_source(benchmark / "scans"), RoomDataset)


# -- the real files --------------------------------------------------------------------------------


def test_real_sqa3d(real_text, tmp_path):
    examples = read_sqa3d(
        real_text / "sqa3d_questions_400.json", real_text / "sqa3d_annotations_400.json"
    )
    check_plausible(examples, tmp_path)
    assert len(examples) == 400 and len({e.scene for e in examples}) == 67
    kinds = {"what": 129, "is": 78, "others": 60, "how": 50, "which": 44, "can": 39}
    assert Counter(e.kind for e in examples) == kinds
    first = examples[0]
    assert (first.id, first.scene, first.answers) == ("220602000002", "scene0050_00", ["piano"])
    assert first.question == "What instrument in front of me is ebony and ivory?"
    angle = 2 * math.atan2(-0.9995736, -0.0291995) + math.pi
    assert first.heading == pytest.approx(angle, abs=1e-5)
    assert all(len(e.answers) == 1 and e.situation and e.position[2] == 0 for e in examples)


# What some situations say the agent sees ahead (0 degrees), to its left (90), behind it (180) or to
# its right (-90).
WARDROBE_LEFT = "I am facing the door with the wardrobe cabinet to my left"
SEEN = [
    ("scene0354_00", "facing the door and there is another chair", "door", 0),
    ("scene0354_00", "looking at the TV", "tv", 0),
    ("scene0354_00", "closed the door behind me", "door", 180),
    ("scene0354_00", "facing the window and there is another chair", "window", 0),
    ("scene0353_00", WARDROBE_LEFT, "door", 0),
    ("scene0353_00", WARDROBE_LEFT, "closet", 90),
    ("scene0353_00", WARDROBE_LEFT, "refrigerator", 180),
    ("scene0353_00", "facing the wardrobe cabinet", "closet", 0),
    ("scene0353_00", "in front of the mini fridge", "refrigerator", 0),
    ("scene0353_00", "I am facing the couch", "sofa", 0),
    ("scene0338_00", "I am opening a door", "door", 0),
]


def test_real_sqa3d_headings_agree_with_what_the_situations_say(real_text):
    """VSI-Bench's boxes of the same scans, moved to SQA3D's origin: the named object lies where the
    situation says.
    """
    examples = read_sqa3d(
        real_text / "sqa3d_questions_400.json", real_text / "sqa3d_annotations_400.json"
    )
    meta = json.loads((real_text / "vsibench_meta_scannet_10.json").read_text())
    for scene, words, name, bearing in SEEN:
        example = next(e for e in examples if e.scene == scene and words in e.situation)
        (only,) = meta[scene]["object_bbox"][name]
        x, y, _ = np.subtract(only["centroid"], meta[scene]["room_center"]) - example.position
        off = math.degrees(math.atan2(y, x) - example.heading) - bearing
        assert abs((off + 180) % 360 - 180) < 25, (scene, words, name)


def test_real_beacon3d(real_text, tmp_path):
    asked = read_beacon3d_qa(real_text / "beacon3d_scannet_qa.json")
    described = read_beacon3d_grounding(real_text / "beacon3d_scannet_grounding.json")
    check_plausible(asked + described, tmp_path)
    assert len(asked) == 1155 and len(described) == 1611
    kinds = {"appearance": 333, "spatial": 305, "existence": 245, "geometry": 158, "class": 111}
    assert Counter(e.kind for e in asked) == kinds | {"functionality": 3}
    assert all(e.targets == [e.derivation["object"]] for e in asked)
    assert sum(e.derivation["object"] not in e.targets for e in described) == 2
    assert asked[0].id == "scene0025_00_27_0_appearance_0" and asked[0].answers == ["White"]
    third = described[2]
    assert (third.question, third.targets, third.kind) == ("Box", [29, 27], "class")
    names = json.loads((real_text / "beacon3d_scannet_obj_id_to_class.json").read_text())
    assert sum(names[e.scene][str(e.targets[0])] != e.derivation["name"] for e in described) == 16


def test_real_vsibench(real_text, tmp_path):
    examples = read_vsibench_meta(real_text / "vsibench_meta_scannet_10.json")
    check_plausible(examples, tmp_path)
    limits = {
        "room_size_estimation": (5, 60, 0.05),
        "object_counting": (2, 20, 0),
        "object_size_estimation": (20, 500, 0.5),
        "object_abs_distance": (0.2, 8, 0.05),
    }
    for e in examples:
        low, high, rounding = limits[e.kind]
        assert low <= float(e.answers[0]) <= high, e
        assert abs(float(e.answers[0]) - e.derivation["value"]) <= rounding + 1e-9
    assert [sum(e.kind == kind for e in examples) for kind in limits][:3] == [10, 17, 42]
    answers = {e.id: e.answers for e in examples}
    assert answers["scene0251_00/room_size_estimation"] == ["35.9"]
    assert answers["scene0251_00/object_counting/trash bin"] == ["5"]


def test_real_vsibench_boxes_have_their_axes_in_rows(real_text):
    """``min`` and ``max`` in the file are those of the turned boxes only if rows are axes."""
    meta = json.loads((real_text / "vsibench_meta_scannet_10.json").read_text())
    boxes = [b for scene in meta.values() for some in scene["object_bbox"].values() for b in some]
    axes, lengths, centres, high = (
        np.array([b[key] for b in boxes])
        for key in ("normalizedAxes", "axesLengths", "centroid", "max")
    )
    reach = (np.abs(axes.reshape(-1, 3, 3)) * lengths[:, :, None]).sum(1) / 2
    assert np.abs(centres + reach - high).max() < 1e-3


def test_real_questions_about_scans_reach_the_features(real_text, tmp_path):
    """Real rows of three benchmarks, about three scans that are rooms of ours."""
    names = {
        "sqa3d_questions_400.json": SQA3D[0],
        "sqa3d_annotations_400.json": SQA3D[1],
        "beacon3d_scannet_qa.json": QA,
        "vsibench_meta_scannet_10.json": META,
    }
    for name, published in names.items():
        (tmp_path / published).write_bytes((real_text / name).read_bytes())
    scenes = ["scene0050_00", "scene0251_00", "scene0353_00"]
    for scene in scenes:
        write_scannet(tmp_path / "scans" / scene, *box_scene(views=2))
        write_mesh(tmp_path / "scans" / scene, (0, 0, 0), (4, 5, 2.5))
    source = open_source(tmp_path)
    with pytest.warns(UserWarning, match="questions are left out"):
        make_features(tmp_path / "features", source, quiet=True)
    cache = FeatureCache(tmp_path / "features")
    examples = [*source.examples("test"), *source.examples("val")]
    assert {e.scene for e in examples} == set(scenes) == set(source.names())
    assert len(cache) == 3 and all(len(cache.scene(e.scene).tokens) > 10 for e in examples)
    piano = next(e for e in examples if e.answers == ["piano"])
    assert np.allclose(piano.position, [2 + 0.71103, 2.5 - 0.03220, 0], atol=1e-4)
