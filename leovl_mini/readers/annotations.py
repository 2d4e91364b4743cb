"""Published question files as ``Example``s: SQA3D, ScanQA, Beacon3D and what VSI-Bench asks of its meta information.

Every reader returns the entries in the order of the file, texts unchanged. A file that is not as published raises
``CaptureError`` with one sentence: what is wrong, in which file and entry, and what to do.
"""

import itertools
import json
import math
from pathlib import Path

import numpy as np
from scipy.optimize import lsq_linear
from scipy.spatial.transform import Rotation

from leovl_mini.examples import Example
from leovl_mini.scene import CaptureError

FIRST_WORDS = ("what", "is", "how", "can", "which")  # the question types of SQA3D; all others are "others"

# VSI-Bench's questions
ROOM_SIZE = (
    "What is the size of this room (in square meters)? If multiple rooms are shown, estimate the size of the combined space."
)
COUNT = "How many {}(s) are in this room?"
SIZE = "What is the length of the longest dimension (length, width, or height) of the {}, measured in centimeters?"
DISTANCE = "Measuring from the closest point of each object, what is the distance between the {} and the {} (in meters)?"


def read_sqa3d(questions: str | Path, annotations: str | Path) -> list[Example]:
    """SQA3D's questions with their answers; both files of one split. ``kind`` is the question's first word (``first_word``).

    ``position`` (3,) is in metres from the centre of the bounding box of the scan as scanned (``vh_clean_2.ply`` before ScanNet's
    axis alignment), and z is always 0: the floor plan is annotated, not the height. ``rotation`` is a quaternion (x, y, z, w)
    about z, and **identity faces -x**: SQA3D's own ``utils/visualize_data.py`` (github.com/SilongYong/SQA3D) turns an arrow that
    points along -x by it, and so "facing the door" agrees with the door's box in VSI-Bench, to about 20 degrees. ``heading`` is
    therefore the quaternion's angle + pi, in [-pi, pi]. ``alternative_situation`` is left out.
    """
    asked, answered = (
        index(rows(path, key), "question_id", path) for path, key in ((questions, "questions"), (annotations, "annotations"))
    )
    for have, other, path, where in ((asked, answered, annotations, questions), (answered, asked, questions, annotations)):
        if missing := [i for i in have if i not in other]:
            raise CaptureError(f"{path} has no question_id {missing[0]}, which {where} has; take both files from the same split.")
    examples = []
    for i, question in asked.items():
        at, annotation = f"{annotations}, question_id {i}", answered[i]
        scene, text = (get(question, key, "text", f"{questions}, question_id {i}") for key in ("scene_id", "question"))
        if get(annotation, "scene_id", "text", at) != scene:
            raise CaptureError(f"{at}: scene_id is not {scene}, as in {questions}; take both files from the same split.")
        place, turn = (get(annotation, key, "object", at) for key in ("position", "rotation"))
        answers = [get(answer, "answer", "text", at) for answer in get(annotation, "answers", "list of objects", at)]
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
                heading=heading([get(turn, f"_{axis}", "number", f"{at}, rotation") for axis in "xyzw"], at),
            )
        )
    return examples


def heading(quaternion: list[int | float], where: str) -> float:
    """Where an SQA3D agent looks, seen from above: radians from +x towards +y, in [-pi, pi]."""
    if math.hypot(*quaternion) < 1e-6:
        raise CaptureError(f"{where}: the rotation is zero, which is no quaternion; take the file as it is published.")
    x, y, z = Rotation.from_quat(quaternion).apply([-1, 0, 0])
    if abs(z) > 0.1:
        raise CaptureError(f"{where}: the rotation is not about z; take the file as it is published.")
    return math.atan2(y, x)


def first_word(question: str) -> str:
    """The question type of SQA3D: what, is, how, can, which or others, by how the question begins (so "What's" is "what").

    Source: ``get_sqa_question_type`` of LEO (github.com/embodied-generalist/embodied-generalist, data/data_utils.py).
    """
    return next((word for word in FIRST_WORDS if question.lstrip().lower().startswith(word)), "others")


def read_scanqa(path: str | Path) -> list[Example]:
    """One file of ScanQA. ``targets`` are the ids of the objects that the question is about; the test splits have no answers."""
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
                targets=get(entry, "object_ids", "list of whole numbers", at) if "object_ids" in entry else None,
                derivation={"names": get(entry, "object_names", "list of texts", at)} if "object_names" in entry else {},
            )
        )
    return examples


def read_beacon3d_qa(path: str | Path) -> list[Example]:
    """Beacon3D's questions (github.com/beacon-3d/beacon-3d). An id is SCENE_OBJECT_INDEX_TAG_KNOWLEDGE, and TAG is the ``kind``.

    ``derivation`` holds the id's parts: ``object`` (id of the object; a score by object groups by scene and object), ``index``
    (of the question about it) and ``knowledge`` (0 or 1), and ``names`` of the ``targets``.
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
    """Beacon3D's descriptions of objects. An id is SCENE_OBJECT_chain_CHAIN_LEVEL_TAGS, and TAGS ("class-spatial") is the ``kind``.

    ``question`` is the description and ``targets`` all objects that fit it, from the file; there are no ``answers``.
    ``derivation`` holds ``object``, ``chain``, ``level`` (each level of a chain drops a part of the description, so more objects
    may fit) and the object's ``name``. In a few entries ``object`` is not among the targets or of another class; they stay so.
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


def read_vsibench_meta(path: str | Path) -> list[Example]:
    """The numeric questions that VSI-Bench (arXiv 2412.14171) derives from its meta information, in VSI-Bench's words.

    ``kind`` is its question type; ``derivation`` holds the ``unit``, the ``value`` before rounding and the ``categories`` asked of.

    - room_size_estimation: ``room_size``, square metres, one decimal
    - object_counting: ``object_counts``, of categories with two objects or more
    - object_size_estimation: the longest of the box's three ``axesLengths``, whole centimetres; of categories with one object
    - object_abs_distance: between the closest points of two boxes (``box_distance``), metres, one decimal; of pairs of categories
      with one object each, without pairs that are less than 0.2 m apart

    Rounding and the limits (2 objects, 0.2 m) are those of VLM-3R's generators, which extend VSI-Bench's
    (github.com/VITA-Group/VLM-3R, vlm_3r_data_process/src/tasks/vsibench). Those sample points in the boxes, so their distances
    may be a few centimetres larger than these exact ones. VSI-Bench itself asks a part of these questions, checked by hand.
    """
    data = load(path)
    if not isinstance(data, dict):
        raise CaptureError(f"{path} must be an object of scenes, found a {type(data).__name__}; take the file as it is published.")
    examples = []
    for scene, entry in data.items():
        at = f"{path}, scene {scene}"
        area = get(entry, "room_size", "number", at)
        found = [("room_size_estimation", ROOM_SIZE, f"{area:.1f}", area, "square metres", [])]
        counts, boxes = (get(entry, key, "object", at) for key in ("object_counts", "object_bbox"))
        for name in counts:
            count = get(counts, name, "whole number", f"{at}, object_counts")
            if count > 1:
                found.append(("object_counting", COUNT.format(name), str(count), count, "objects", [name]))
        single = {name: one_box(boxes, name, at) for name, count in counts.items() if count == 1}
        for name, (_, _, lengths) in single.items():
            longest = 100 * float(lengths.max())
            found.append(("object_size_estimation", SIZE.format(name), f"{longest:.0f}", longest, "centimetres", [name]))
        for a, b in itertools.combinations(single, 2):
            distance = box_distance(single[a], single[b])
            if round(distance, 1) >= 0.2:
                found.append(("object_abs_distance", DISTANCE.format(a, b), f"{distance:.1f}", distance, "metres", [a, b]))
        for kind, question, answer, value, unit, names in found:
            examples.append(
                Example(
                    id="/".join([scene, kind, *names]),
                    scene=scene,
                    task="qa",
                    kind=kind,
                    question=question,
                    answers=[answer],
                    derivation={"unit": unit, "value": value, "categories": names},
                )
            )
    return examples


def one_box(boxes: dict, name: str, where: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The box of a category with one object: centre (3,), axes (3,3) with one unit vector per row, and lengths (3,) along them."""
    where = f"{where}, object_bbox"
    entries = get(boxes, name, "list of objects", where)
    if len(entries) != 1:
        raise CaptureError(f"{where}: {name!r} has {len(entries)} boxes but a count of 1; take the file as it is published.")
    parts = [np.array(get(entries[0], key, "list of numbers", where)) for key in ("centroid", "normalizedAxes", "axesLengths")]
    if [len(part) for part in parts] != [3, 9, 3] or (parts[2] < 0).any():
        raise CaptureError(
            f"{where}: the box of {name!r} must have 3 + 9 + 3 numbers, lengths positive; take the file as it is published."
        )
    centre, axes, lengths = parts
    if np.abs(axes.reshape(3, 3) @ axes.reshape(3, 3).T - np.eye(3)).max() > 1e-3:
        raise CaptureError(f"{where}: the axes of {name!r} are not at right angles; take the file as it is published.")
    return centre, axes.reshape(3, 3), lengths


def box_distance(a: tuple[np.ndarray, np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray, np.ndarray]) -> float:
    """Metres between the closest points of two oriented boxes (centre, axes, lengths); 0 where they overlap.

    A point of a box is centre + axes.T @ s with -lengths/2 <= s <= lengths/2, so the closest pair solves a least-squares problem
    with bounds in six numbers, exactly.
    """
    (centre_a, axes_a, lengths_a), (centre_b, axes_b, lengths_b) = a, b
    half = np.concatenate([lengths_a, lengths_b]) / 2 + 1e-9  # bounds may not coincide
    solution = lsq_linear(np.hstack([axes_a.T, -axes_b.T]), centre_b - centre_a, bounds=(-half, half), tol=1e-12)
    return float(np.linalg.norm(solution.fun))


KINDS = {
    "text": lambda x: isinstance(x, str) and bool(x.strip()),
    "whole number": lambda x: isinstance(x, int) and not isinstance(x, bool),
    "number": lambda x: isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x),
    "object": lambda x: isinstance(x, dict),
}


def get(entry: object, key: str, kind: str, where: str):
    """One field of an entry, checked: ``kind`` is one of ``KINDS`` or "list of" one of them (which may not be empty)."""
    if not isinstance(entry, dict) or key not in entry:
        raise CaptureError(f"{where}: {key!r} is missing; take the file as it is published.")
    value = entry[key]
    if kind.startswith("list of "):
        good = isinstance(value, list) and value and all(KINDS[kind.removeprefix("list of ").rstrip("s")](x) for x in value)
    else:
        good = KINDS[kind](value)
    if not good:
        raise CaptureError(f"{where}: {key!r} must be a {kind}, found {str(value)[:40]!r}; take the file as it is published.")
    return value


def load(path: str | Path):
    """The content of a JSON file."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CaptureError(f"{path} does not exist; download it from the data set's page.") from None
    except OSError as error:
        raise CaptureError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise CaptureError(f"{path} is not a JSON file ({error}); download it again.") from None


def rows(path: str | Path, key: str | None = None) -> list:
    """The entries of a file: the file is their list, or an object that holds the list under ``key``."""
    data = load(path)
    entries = data if key is None else data.get(key) if isinstance(data, dict) else None
    if not isinstance(entries, list):
        wanted = "a list" if key is None else f"an object with a list named {key!r}"
        raise CaptureError(f"{path} must hold {wanted}; is it the right file?")
    return entries


def index(entries: list, key: str, path: str | Path) -> dict:
    """Entries by their id, in order; ids must not repeat."""
    kept = {}
    for number, entry in enumerate(entries):
        name = entry.get(key) if isinstance(entry, dict) else None
        if not (KINDS["text"](name) or KINDS["whole number"](name)):
            raise CaptureError(
                f"{path}, entry {number}: {key!r} must be a text or a whole number; take the file as it is published."
            )
        if name in kept:
            raise CaptureError(f"{path}, entry {number}: {key} {name} appears twice; remove one of the two.")
        kept[name] = entry
    return kept


def id_parts(name: str, scene: str, form: str, where: str) -> list[str]:
    """What follows the scene in a Beacon3D id, split at the underscores."""
    parts = str(name).removeprefix(f"{scene}_").split("_")
    if not str(name).startswith(f"{scene}_") or len(parts) != form.count("_") + 1:
        raise CaptureError(f"{where}: the id must be {scene}_{form}; take the file as it is published.")
    return parts


def whole(text: str, where: str) -> int:
    if not text.isdecimal():
        raise CaptureError(f"{where}: {text!r} in the id must be a whole number; take the file as it is published.")
    return int(text)
