"""Objects that two detectors both found."""

from __future__ import annotations

import numpy as np

from edgecv_runtime.results import Detections
from edgecv_runtime.suppression.overlap import iou

MATCH_IOU = 0.5  # overlap of two boxes that are the same object


def matches(one: Detections, other: Detections, least: float = MATCH_IOU) -> int:
    """How many objects are in both: pairs of one class that overlap, each in one pair only, best scores first."""
    if not len(one) or not len(other):
        return 0
    overlap = iou(one.boxes.astype(np.float64)[:, None], other.boxes.astype(np.float64)[None])
    overlap[one.classes[:, None] != other.classes[None]] = 0
    count = 0
    for row in overlap:
        best = int(row.argmax())
        if row[best] >= least:
            overlap[:, best] = 0
            count += 1
    return count
