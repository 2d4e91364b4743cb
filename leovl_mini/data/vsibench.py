"""What VSI-Bench (arXiv 2412.14171) asks of its published meta information (room sizes, counts,
boxes), as ``Example``s.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import lsq_linear

from leovl_mini.data.entries import AS_PUBLISHED, Entry
from leovl_mini.data.examples import Example
from leovl_mini.scans.capture import read_json
from leovl_mini.scans.scene import InputError

# the kinds of questions in VSI-Bench's words, the unit of the answer and its decimals
KINDS = {
    "room_size_estimation": (
        "What is the size of this room (in square meters)? If multiple rooms are shown, "
        "estimate the size of the combined space.",
        "square metres",
        1,
    ),
    "object_counting": ("How many {}(s) are in this room?", "objects", 0),
    "object_size_estimation": (
        "What is the length of the longest dimension (length, width, or height) of the {}, "
        "measured in centimeters?",
        "centimetres",
        0,
    ),
    "object_abs_distance": (
        "Measuring from the closest point of each object, what is the distance between the {} "
        "and the {} (in meters)?",
        "metres",
        1,
    ),
}

NEAREST = 0.2  # metres; nearer pairs are not asked about


def read_vsibench_meta(path: Path) -> list[Example]:
    """The numeric questions that VSI-Bench derives from its meta information.

    ``kind`` is its question type; ``derivation`` holds the ``unit``, the ``value`` before rounding
    and the ``categories`` asked of.

    - room_size_estimation: ``room_size``, square metres, one decimal
    - object_counting: ``object_counts``, of categories with two objects or more
    - object_size_estimation: the longest of the box's three ``axesLengths``, whole centimetres; of
      categories with one object
    - object_abs_distance: between the closest points of two boxes (``box_distance``), metres, one
      decimal; of pairs of categories with one object each, without pairs that are less than 0.2 m
      apart

    Rounding and the limits (2 objects, 0.2 m) are those of VLM-3R's generators, which extend
    VSI-Bench's (github.com/VITA-Group/VLM-3R, vlm_3r_data_process/src/tasks/vsibench). Those sample
    points in the boxes, so their distances may be a few centimetres larger than these exact ones.
    VSI-Bench itself asks a part of these questions, checked by hand.
    """
    data = read_json(Path(path))
    if not isinstance(data, dict):
        raise InputError(f"{path} must hold an object of scenes; is it the right file?")
    return [
        example(scene, kind, value, names)
        for scene, fields in data.items()
        for kind, value, names in values(Entry(data, str(path)).inner(scene))
    ]


def values(scene: Entry) -> list[tuple[str, int | float, list[str]]]:
    """What is asked of one scene: the kind of question, the exact answer, the categories."""
    counts, boxes = scene.inner("object_counts"), scene.inner("object_bbox")
    number = {name: counts.get(name, int) for name in counts.fields}
    single = {name: one_box(boxes, name) for name, count in number.items() if count == 1}
    found = [("room_size_estimation", scene.get("room_size", float), [])]
    found += [("object_counting", count, [name]) for name, count in number.items() if count > 1]
    found += [
        ("object_size_estimation", 100 * float(box.lengths.max()), [name])
        for name, box in single.items()
    ]
    for a, b in itertools.combinations(single, 2):
        distance = box_distance(single[a], single[b])
        if round(distance, 1) >= NEAREST:
            found.append(("object_abs_distance", distance, [a, b]))
    return found


def example(scene: str, kind: str, value: int | float, names: list[str]) -> Example:
    question, unit, decimals = KINDS[kind]
    return Example(
        id="/".join([scene, kind, *names]),
        scene=scene,
        task="qa",
        kind=kind,
        question=question.format(*names),
        answers=[f"{value:.{decimals}f}"],
        derivation={"unit": unit, "value": value, "categories": names},
    )


@dataclass
class Box:
    """A box turned in any way: ``axes`` has one unit vector a row, ``lengths`` go along them."""

    center: np.ndarray  # (3,) metres
    axes: np.ndarray  # (3,3)
    lengths: np.ndarray  # (3,) metres


def one_box(boxes: Entry, name: str) -> Box:
    """The box of a category with one object."""
    first, *others = boxes.get(name, list[dict])
    entry = Entry(first, f"{boxes.where}, {name}")
    center, axes, lengths = (
        np.array(entry.get(key, list[float]))
        for key in ("centroid", "normalizedAxes", "axesLengths")
    )
    shaped = (len(center), len(axes), len(lengths)) == (3, 9, 3)
    square = shaped and np.abs(axes.reshape(3, 3) @ axes.reshape(3, 3).T - np.eye(3)).max() < 1e-3
    if others or not square or lengths.min() < 0:
        raise InputError(
            f"{entry.where}: there must be one box, as the count says, of 3 + 9 + 3 numbers with "
            f"axes at right angles and lengths of at least 0; {AS_PUBLISHED}."
        )
    return Box(center, axes.reshape(3, 3), lengths)


def box_distance(a: Box, b: Box) -> float:
    """Metres between the closest points of two boxes; 0 where they overlap.

    A point of a box is center + axes.T @ s with -lengths/2 <= s <= lengths/2, so the closest pair
    solves a least-squares problem with bounds in six numbers, exactly.
    """
    half = np.concatenate([a.lengths, b.lengths]) / 2 + 1e-9  # bounds may not coincide
    solution = lsq_linear(
        np.hstack([a.axes.T, -b.axes.T]), b.center - a.center, bounds=(-half, half), tol=1e-12
    )
    return float(np.linalg.norm(solution.fun))
