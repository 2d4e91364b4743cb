"""Scores of grounding: overlap of upright boxes, and which of the wanted objects were found."""

import math

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from shapely import Polygon

from leovl_mini.rooms.room import corners
from leovl_mini.scans.scene import Object


def box_iou(a: Object, b: Object) -> float:
    """Intersection over union of the volumes of two upright boxes, each with its own yaw; exact. 0
    if both are empty.
    """
    footprint = Polygon(corners(a)).intersection(Polygon(corners(b))).area

    top = min(o.center[2] + o.size[2] / 2 for o in (a, b))
    bottom = max(o.center[2] - o.size[2] / 2 for o in (a, b))
    shared = footprint * max(0.0, top - bottom)

    union = math.prod(a.size) + math.prod(b.size) - shared
    return shared / union if union > 0 else 0.0


def accuracy_at(iou: Float[np.ndarray, "n"], k: float) -> float:
    """ScanRefer's Acc@k: the share of predicted boxes with IoU >= k; give 0 for a box that is
    missing.
    """
    return float((iou >= k).mean())


def multi3drefer_f1(iou: Float[np.ndarray, "P G"], k: float) -> float:
    """Multi3DRefer's F1@k of one description, from the IoU of P predicted and G true boxes:
    2 TP / (P + G).

    TP are the pairs with IoU >= k in the assignment (Hungarian) of largest total IoU. Without true
    boxes, 1 iff none is predicted.
    """
    if 0 in iou.shape:
        return float(sum(iou.shape) == 0)
    assigned = iou[linear_sum_assignment(iou, maximize=True)]
    return 2 * int((assigned >= k).sum()) / sum(iou.shape)


def identifier_f1(predicted: set[int], targets: set[int]) -> float:
    """F1 of object ids; Multi3DRefer's rule without targets: 1 iff nothing is predicted."""
    if not predicted and not targets:
        return 1.0
    return 2 * len(predicted & targets) / (len(predicted) + len(targets))
