"""Published annotation files as ``Example``s, one function per benchmark: SQA3D, ScanQA, Beacon3D.

Every reader returns the entries in the order of the file, texts unchanged. A file that is not as
published raises ``InputError`` with one sentence that names the file, the entry and the field.
``data/benchmarks.py`` brings the questions together with scans.
"""

import math
import re
from pathlib import Path

from scipy.spatial.transform import Rotation

from leovl_mini.data.entries import AS_PUBLISHED, Entry, read_entries
from leovl_mini.data.examples import Example
from leovl_mini.scans.scene import InputError

# the question types of SQA3D; all others are "others"
FIRST_WORDS = ("what", "is", "how", "can", "which")


# -- SQA3D -----------------------------------------------------------------------------------------


def read_sqa3d(questions: Path, annotations: Path) -> list[Example]:
    """SQA3D's questions with their answers; both files of one split. ``kind`` is the question's
    first word (``first_word``).

    ``position`` (3,) is in metres from the centre of the bounding box of the scan as scanned
    (``vh_clean_2.ply`` before ScanNet's axis alignment), and z is always 0: the floor plan is
    annotated, not the height. ``rotation`` is a quaternion (x, y, z, w) about z, and **identity
    faces -x**: SQA3D's own ``utils/visualize_data.py`` (github.com/SilongYong/SQA3D) turns an arrow
    that points along -x by it, and so "facing the door" agrees with the door's box in VSI-Bench, to
    about 20 degrees. ``heading`` is therefore the quaternion's angle + pi, in [-pi, pi].
    ``alternative_situation`` is left out.
    """
    asked = read_entries(questions, "question_id", "questions")
    answered = read_entries(annotations, "question_id", "annotations")
    for odd in asked.keys() ^ answered.keys():
        raise InputError(
            f"{questions} and {annotations} do not hold the same questions, such as {odd}; "
            "take both files from the same split."
        )
    examples = []
    for i, question in asked.items():
        annotation = answered[i]
        if annotation.get("scene_id") != question.get("scene_id"):
            raise InputError(
                f"{annotation.where}: scene_id is not {question.get('scene_id')}, as in "
                f"{questions}; take both files from the same split."
            )
        place, rotation = annotation.inner("position"), annotation.inner("rotation")
        answers = annotation.get("answers", list[dict])
        examples.append(
            Example(
                id=i,
                scene=question.get("scene_id"),
                task="qa",
                kind=first_word(question.get("question")),
                question=question.get("question"),
                answers=[Entry(a, annotation.where).get("answer") for a in answers],
                situation=question.get("situation"),
                position=[float(place.get(axis, float)) for axis in "xyz"],
                heading=heading([rotation.get(f"_{axis}", float) for axis in "xyzw"], rotation),
            )
        )
    return examples


def heading(quaternion: list[int | float], entry: Entry) -> float:
    """Where an SQA3D agent looks, seen from above: radians from +x towards +y, in [-pi, pi]."""
    if math.hypot(*quaternion) < 1e-6:
        raise InputError(f"{entry.where}: all numbers are 0; {AS_PUBLISHED}.")
    x, y, z = Rotation.from_quat(quaternion).apply([-1, 0, 0])
    if abs(z) > 0.1:
        raise InputError(f"{entry.where}: the rotation is not about z; {AS_PUBLISHED}.")
    return math.atan2(y, x)


def first_word(question: str) -> str:
    """The question type of SQA3D: what, is, how, can, which or others, by how the question begins
    (so "What's" is "what").

    Source: ``get_sqa_question_type`` of LEO (github.com/embodied-generalist/embodied-generalist,
    data/data_utils.py).
    """
    begin = question.lstrip().lower()
    return next((word for word in FIRST_WORDS if begin.startswith(word)), "others")


# -- ScanQA ----------------------------------------------------------------------------------------


def read_scanqa(path: Path) -> list[Example]:
    """One file of ScanQA. ``targets`` are the ids of the objects that the question is about,
    ``derivation`` has their ``names``; the test splits have no answers.
    """
    examples = []
    for i, entry in read_entries(path, "question_id").items():
        example = Example(
            id=i,
            scene=entry.get("scene_id"),
            task="qa",
            kind=first_word(entry.get("question")),
            question=entry.get("question"),
            answers=entry.get("answers", list[str]) if "answers" in entry else [],
        )
        if "object_ids" in entry:
            example.targets = entry.get("object_ids", list[int])
            example.derivation = {"names": entry.get("object_names", list[str])}
        examples.append(example)
    return examples


# -- Beacon3D --------------------------------------------------------------------------------------

QA_ID = re.compile(r"(?P<object>\d+)_(?P<index>\d+)_(?P<tag>[^_]+)_(?P<knowledge>\d+)")
GROUNDING_ID = re.compile(r"(?P<object>\d+)_chain_(?P<chain>\d+)_(?P<level>\d+)_(?P<tags>[^_]+)")


def read_beacon3d_qa(path: Path) -> list[Example]:
    """Beacon3D's questions (github.com/beacon-3d/beacon-3d). An id is
    SCENE_OBJECT_INDEX_TAG_KNOWLEDGE, and TAG is the ``kind``.

    ``derivation`` holds the id's parts: ``object`` (id of the object; a score by object groups by
    scene and object), ``index`` (of the question about it) and ``knowledge`` (0 or 1), and
    ``names`` of the ``targets``.
    """
    examples = []
    for i, entry in read_entries(path, "question_id").items():
        scene = entry.get("scene_id")
        part = id_parts(i, scene, QA_ID, entry)
        examples.append(
            Example(
                id=i,
                scene=scene,
                task="qa",
                kind=part["tag"],
                question=entry.get("question"),
                answers=entry.get("answers", list[str]),
                targets=entry.get("object_ids", list[int]),
                derivation={
                    "object": int(part["object"]),
                    "index": int(part["index"]),
                    "knowledge": int(part["knowledge"]),
                    "names": entry.get("object_names", list[str]),
                },
            )
        )
    return examples


def read_beacon3d_grounding(path: Path) -> list[Example]:
    """Beacon3D's descriptions of objects. An id is SCENE_OBJECT_chain_CHAIN_LEVEL_TAGS, and TAGS
    ("class-spatial") is the ``kind``.

    ``question`` is the description and ``targets`` all objects that fit it, from the file; there
    are no ``answers``. ``derivation`` holds ``object``, ``chain``, ``level`` (each level of a chain
    drops a part of the description, so more objects may fit) and the object's ``name``. In a few
    entries ``object`` is not among the targets or of another class; they stay so.
    """
    examples = []
    for i, entry in read_entries(path, "item_id").items():
        scene = entry.get("scan_id")
        part = id_parts(i, scene, GROUNDING_ID, entry)
        examples.append(
            Example(
                id=i,
                scene=scene,
                task="grounding",
                kind=part["tags"],
                question=entry.get("utterance"),
                answers=[],
                targets=entry.get("target_id", list[int]),
                derivation={
                    "object": int(part["object"]),
                    "chain": int(part["chain"]),
                    "level": int(part["level"]),
                    "name": entry.get("instance_type"),
                },
            )
        )
    return examples


def id_parts(name: str, scene: str, form: re.Pattern, entry: Entry) -> re.Match:
    """The parts of a Beacon3D id that follow the scene."""
    match = form.fullmatch(name.removeprefix(f"{scene}_"))
    if not match or not name.startswith(f"{scene}_"):
        raise InputError(
            f"{entry.where}: the id must be {scene}, {', '.join(form.groupindex)}, joined by _; "
            f"{AS_PUBLISHED}."
        )
    return match
