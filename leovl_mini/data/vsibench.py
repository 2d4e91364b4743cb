"""What VSI-Bench asks of its published meta information (room sizes, counts, boxes), as
``Example``s.
"""

import itertools
from pathlib import Path

import numpy as np
from scipy.optimize import lsq_linear

from leovl_mini.data.examples import Example
from leovl_mini.data.fields import get, load
from leovl_mini.scans.scene import InputError

ROOM_SIZE = "What is the size of this room (in square meters)? If multiple rooms are shown, estimate the size of the combined space."


COUNT = "How many {}(s) are in this room?"


SIZE = "What is the length of the longest dimension (length, width, or height) of the {}, measured in centimeters?"


DISTANCE = "Measuring from the closest point of each object, what is the distance between the {} and the {} (in meters)?"


def read_vsibench_meta(path: str | Path) -> list[Example]:
    """The numeric questions that VSI-Bench (arXiv 2412.14171) derives from its meta information, in
    VSI-Bench's words.

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
    data = load(path)
    if not isinstance(data, dict):
        raise InputError(
            f"{path} must be an object of scenes, found a {type(data).__name__}; take the file as it is published."
        )
    examples = []
    for scene, entry in data.items():
        at = f"{path}, scene {scene}"
        area = get(entry, "room_size", "number", at)
        found = [("room_size_estimation", ROOM_SIZE, f"{area:.1f}", area, "square metres", [])]
        counts, boxes = (get(entry, key, "object", at) for key in ("object_counts", "object_bbox"))
        for name in counts:
            count = get(counts, name, "whole number", f"{at}, object_counts")
            if count > 1:
                found.append(
                    ("object_counting", COUNT.format(name), str(count), count, "objects", [name])
                )
        single = {name: one_box(boxes, name, at) for name, count in counts.items() if count == 1}
        for name, (_, _, lengths) in single.items():
            longest = 100 * float(lengths.max())
            found.append(
                (
                    "object_size_estimation",
                    SIZE.format(name),
                    f"{longest:.0f}",
                    longest,
                    "centimetres",
                    [name],
                )
            )
        for a, b in itertools.combinations(single, 2):
            distance = box_distance(single[a], single[b])
            if round(distance, 1) >= 0.2:
                found.append(
                    (
                        "object_abs_distance",
                        DISTANCE.format(a, b),
                        f"{distance:.1f}",
                        distance,
                        "metres",
                        [a, b],
                    )
                )
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
    """The box of a category with one object: centre (3,), axes (3,3) with one unit vector per row,
    and lengths (3,) along them.
    """
    where = f"{where}, object_bbox"
    entries = get(boxes, name, "list of objects", where)
    if len(entries) != 1:
        raise InputError(
            f"{where}: {name!r} has {len(entries)} boxes but a count of 1; take the file as it is published."
        )
    parts = [
        np.array(get(entries[0], key, "list of numbers", where))
        for key in ("centroid", "normalizedAxes", "axesLengths")
    ]
    if [len(part) for part in parts] != [3, 9, 3] or (parts[2] < 0).any():
        raise InputError(
            f"{where}: the box of {name!r} must have 3 + 9 + 3 numbers, lengths positive; take the file as it is published."
        )
    centre, axes, lengths = parts
    if np.abs(axes.reshape(3, 3) @ axes.reshape(3, 3).T - np.eye(3)).max() > 1e-3:
        raise InputError(
            f"{where}: the axes of {name!r} are not at right angles; take the file as it is published."
        )
    return centre, axes.reshape(3, 3), lengths


def box_distance(
    a: tuple[np.ndarray, np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> float:
    """Metres between the closest points of two oriented boxes (centre, axes, lengths); 0 where they
    overlap.

    A point of a box is centre + axes.T @ s with -lengths/2 <= s <= lengths/2, so the closest pair
    solves a least-squares problem with bounds in six numbers, exactly.
    """
    (centre_a, axes_a, lengths_a), (centre_b, axes_b, lengths_b) = a, b
    half = np.concatenate([lengths_a, lengths_b]) / 2 + 1e-9  # bounds may not coincide
    solution = lsq_linear(
        np.hstack([axes_a.T, -axes_b.T]), centre_b - centre_a, bounds=(-half, half), tol=1e-12
    )
    return float(np.linalg.norm(solution.fun))
