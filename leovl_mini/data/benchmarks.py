"""Published question files as ``Example``s: SQA3D, ScanQA, Beacon3D.

Every reader returns the entries in the order of the file, texts unchanged. A file that is not as
published raises ``InputError`` with one sentence: what is wrong, in which file and entry, and
what to do.
"""

import math
from pathlib import Path

from scipy.spatial.transform import Rotation

from leovl_mini.data.examples import Example
from leovl_mini.data.fields import get, index, rows
from leovl_mini.scans.scene import InputError

FIRST_WORDS = (
    "what",
    "is",
    "how",
    "can",
    "which",
)  # the question types of SQA3D; all others are "others"


def read_sqa3d(questions: str | Path, annotations: str | Path) -> list[Example]:
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
    asked, answered = (
        index(rows(path, key), "question_id", path)
        for path, key in ((questions, "questions"), (annotations, "annotations"))
    )
    for have, other, path, where in (
        (asked, answered, annotations, questions),
        (answered, asked, questions, annotations),
    ):
        if missing := [i for i in have if i not in other]:
            raise InputError(
                f"{path} has no question_id {missing[0]}, which {where} has; take both files from the same split."
            )
    examples = []
    for i, question in asked.items():
        at, annotation = f"{annotations}, question_id {i}", answered[i]
        scene, text = (
            get(question, key, "text", f"{questions}, question_id {i}")
            for key in ("scene_id", "question")
        )
        if get(annotation, "scene_id", "text", at) != scene:
            raise InputError(
                f"{at}: scene_id is not {scene}, as in {questions}; take both files from the same split."
            )
        place, turn = (get(annotation, key, "object", at) for key in ("position", "rotation"))
        answers = [
            get(answer, "answer", "text", at)
            for answer in get(annotation, "answers", "list of objects", at)
        ]
        examples.append(
            Example(
                id=str(i),
                scene=scene,
                task="qa",
                kind=first_word(text),
                question=text,
                answers=answers,
                situation=get(question, "situation", "text", f"{questions}, question_id {i}"),
                position=[float(get(place, axis, "number", f"{at}, position")) for axis in "xyz"],
                heading=heading(
                    [get(turn, f"_{axis}", "number", f"{at}, rotation") for axis in "xyzw"], at
                ),
            )
        )
    return examples


def heading(quaternion: list[int | float], where: str) -> float:
    """Where an SQA3D agent looks, seen from above: radians from +x towards +y, in [-pi, pi]."""
    if math.hypot(*quaternion) < 1e-6:
        raise InputError(
            f"{where}: the rotation is zero, which is no quaternion; take the file as it is published."
        )
    x, y, z = Rotation.from_quat(quaternion).apply([-1, 0, 0])
    if abs(z) > 0.1:
        raise InputError(f"{where}: the rotation is not about z; take the file as it is published.")
    return math.atan2(y, x)


def first_word(question: str) -> str:
    """The question type of SQA3D: what, is, how, can, which or others, by how the question begins
    (so "What's" is "what").

    Source: ``get_sqa_question_type`` of LEO (github.com/embodied-generalist/embodied-generalist,
    data/data_utils.py).
    """
    return next(
        (word for word in FIRST_WORDS if question.lstrip().lower().startswith(word)), "others"
    )


def read_scanqa(path: str | Path) -> list[Example]:
    """One file of ScanQA. ``targets`` are the ids of the objects that the question is about; the
    test splits have no answers.
    """
    examples = []
    for i, entry in index(rows(path), "question_id", path).items():
        at = f"{path}, question_id {i}"
        question = get(entry, "question", "text", at)
        examples.append(
            Example(
                id=get(entry, "question_id", "text", at),
                scene=get(entry, "scene_id", "text", at),
                task="qa",
                kind=first_word(question),
                question=question,
                answers=get(entry, "answers", "list of texts", at) if "answers" in entry else [],
                targets=get(entry, "object_ids", "list of whole numbers", at)
                if "object_ids" in entry
                else None,
                derivation={"names": get(entry, "object_names", "list of texts", at)}
                if "object_names" in entry
                else {},
            )
        )
    return examples


def read_beacon3d_qa(path: str | Path) -> list[Example]:
    """Beacon3D's questions (github.com/beacon-3d/beacon-3d). An id is
    SCENE_OBJECT_INDEX_TAG_KNOWLEDGE, and TAG is the ``kind``.

    ``derivation`` holds the id's parts: ``object`` (id of the object; a score by object groups by
    scene and object), ``index`` (of the question about it) and ``knowledge`` (0 or 1), and
    ``names`` of the ``targets``.
    """
    examples = []
    for i, entry in index(rows(path), "question_id", path).items():
        at = f"{path}, question_id {i}"
        scene = get(entry, "scene_id", "text", at)
        number, place, tag, knowledge = id_parts(i, scene, "OBJECT_INDEX_TAG_KNOWLEDGE", at)
        examples.append(
            Example(
                id=i,
                scene=scene,
                task="qa",
                kind=tag,
                question=get(entry, "question", "text", at),
                answers=get(entry, "answers", "list of texts", at),
                targets=get(entry, "object_ids", "list of whole numbers", at),
                derivation={
                    "object": whole(number, at),
                    "index": whole(place, at),
                    "knowledge": whole(knowledge, at),
                    "names": get(entry, "object_names", "list of texts", at),
                },
            )
        )
    return examples


def read_beacon3d_grounding(path: str | Path) -> list[Example]:
    """Beacon3D's descriptions of objects. An id is SCENE_OBJECT_chain_CHAIN_LEVEL_TAGS, and TAGS
    ("class-spatial") is the ``kind``.

    ``question`` is the description and ``targets`` all objects that fit it, from the file; there
    are no ``answers``. ``derivation`` holds ``object``, ``chain``, ``level`` (each level of a chain
    drops a part of the description, so more objects may fit) and the object's ``name``. In a few
    entries ``object`` is not among the targets or of another class; they stay so.
    """
    examples = []
    for i, entry in index(rows(path), "item_id", path).items():
        at = f"{path}, item_id {i}"
        scene = get(entry, "scan_id", "text", at)
        number, _, chain, level, tags = id_parts(i, scene, "OBJECT_chain_CHAIN_LEVEL_TAGS", at)
        examples.append(
            Example(
                id=i,
                scene=scene,
                task="grounding",
                kind=tags,
                question=get(entry, "utterance", "text", at),
                answers=[],
                targets=get(entry, "target_id", "list of whole numbers", at),
                derivation={
                    "object": whole(number, at),
                    "chain": whole(chain, at),
                    "level": whole(level, at),
                    "name": get(entry, "instance_type", "text", at),
                },
            )
        )
    return examples


def id_parts(name: str, scene: str, form: str, where: str) -> list[str]:
    """What follows the scene in a Beacon3D id, split at the underscores."""
    parts = str(name).removeprefix(f"{scene}_").split("_")
    if not str(name).startswith(f"{scene}_") or len(parts) != form.count("_") + 1:
        raise InputError(
            f"{where}: the id must be {scene}_{form}; take the file as it is published."
        )
    return parts


def whole(text: str, where: str) -> int:
    if not text.isdecimal():
        raise InputError(
            f"{where}: {text!r} in the id must be a whole number; take the file as it is published."
        )
    return int(text)
