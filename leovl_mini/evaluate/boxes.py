"""Scores of grounding: overlap of upright boxes, and which of the wanted objects were found."""

import math

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from leovl_mini.rooms.room import corners
from leovl_mini.scans.scene import Object


def box_iou(a: Object, b: Object) -> float:
    """Intersection over union of the volumes of two upright boxes, each with its own yaw; exact. 0
    if both are empty.
    """
    low, high = (
        np.array([o.center[2] for o in (a, b)]) + sign * np.array([o.size[2] for o in (a, b)]) / 2
        for sign in (-1, 1)
    )
    height = max(0.0, float(high.min() - low.max()))
    shared = polygon_area(clipped(corners(a), corners(b))) * height
    union = math.prod(a.size) + math.prod(b.size) - shared
    return shared / union if union > 0 else 0.0


def clipped(polygon: np.ndarray, window: np.ndarray) -> np.ndarray:
    """The part (k,2) of a polygon (n,2) inside a convex window (m,2), corners counter-clockwise
    (Sutherland and Hodgman).
    """
    for start, end in zip(window, np.roll(window, -1, 0), strict=True):
        if not len(polygon):
            break
        normal = np.array(
            [start[1] - end[1], end[0] - start[0]]
        )  # to the left of the edge, which is inside
        inside, following = (polygon - start) @ normal, np.roll(polygon, -1, 0)
        kept = []
        for p, q, d, e in zip(polygon, following, inside, np.roll(inside, -1), strict=True):
            kept += [p] if d >= 0 else []
            kept += [p + (q - p) * d / (d - e)] if d * e < 0 else []
        polygon = np.array(kept).reshape(-1, 2)
    return polygon


def polygon_area(polygon: np.ndarray) -> float:
    x, y = (polygon - polygon[:1]).T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def accuracy_at(iou: Float[np.ndarray, "n"], k: float) -> float:
    """ScanRefer's Acc@k: the share of predicted boxes with IoU >= k; give 0 for a box that is
    missing.
    """
    return float((iou >= k).mean())


def multi3drefer_f1(iou: Float[np.ndarray, "P G"], k: float) -> float:
    """Multi3DRefer's F1@k of one row, from the IoU of P predicted and G true boxes: 2 TP / (P + G).

    TP are the pairs with IoU >= k in the assignment (Hungarian) of largest total IoU. Without true
    boxes, 1 iff none is predicted.
    """
    if 0 in iou.shape:
        return float(sum(iou.shape) == 0)
    return 2 * int((iou[linear_sum_assignment(iou, maximize=True)] >= k).sum()) / sum(iou.shape)


def identifier_f1(predicted: set[int], targets: set[int]) -> float:
    """F1 of object ids; Multi3DRefer's rule without targets: 1 iff nothing is predicted."""
    return (
        2 * len(predicted & targets) / (len(predicted) + len(targets))
        if predicted or targets
        else 1.0
    )
