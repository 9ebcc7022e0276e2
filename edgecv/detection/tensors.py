"""Boxes inside a graph: what losses need of them, for any Keras back end.

The numpy forms stand in `edgecv.detection.boxes`. Import it where Keras may be imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from edgecv.detection.boxes import VARIANCES

_TINY = 1e-7  # keeps the quotient of two boxes without an area, and its gradient, finite
_LARGEST = 10.0  # of a logarithm of sizes: exp of more is no size any more, and float32 ends at 88


def corners(centres: Any) -> Any:
    """From (..., 4) centre x, centre y, width, height to x1, y1, x2, y2."""
    half = centres[..., 2:] / 2
    return ops.concatenate([centres[..., :2] - half, centres[..., :2] + half], axis=-1)


def decode(offsets: Any, anchors: Any, variances: Sequence[float] = VARIANCES) -> Any:
    """See `edgecv.detection.boxes.decode_boxes`: (..., 4) offsets and centre-form anchors to corners."""
    scaled = offsets * ops.convert_to_tensor(variances, dtype=offsets.dtype)
    centres = anchors[..., :2] + scaled[..., :2] * anchors[..., 2:]
    sizes = anchors[..., 2:] * ops.exp(ops.minimum(scaled[..., 2:], _LARGEST))
    return corners(ops.concatenate([centres, sizes], axis=-1))


def areas(boxes: Any) -> Any:
    """(...) areas of (..., 4) corners; 0 of a box that is turned inside out."""
    sides = ops.maximum(boxes[..., 2:] - boxes[..., :2], 0.0)
    return sides[..., 0] * sides[..., 1]


def iou(a: Any, b: Any) -> Any:
    """Intersection over union of corner boxes that lie in pairs, by broadcasting: (...) in [0, 1]."""
    intersection = _intersection(a, b)
    return intersection / (areas(a) + areas(b) - intersection + _TINY)


def giou(a: Any, b: Any) -> Any:
    """Generalised IoU (Rezatofighi et al. 2019, algorithm 1): IoU less the share of the smallest box around both that
    neither fills, in (-1, 1]."""
    intersection = _intersection(a, b)
    union = areas(a) + areas(b) - intersection
    around = ops.concatenate([ops.minimum(a[..., :2], b[..., :2]), ops.maximum(a[..., 2:], b[..., 2:])], axis=-1)
    hull = areas(around)
    return intersection / (union + _TINY) - (hull - union) / (hull + _TINY)


def _intersection(a: Any, b: Any) -> Any:
    low, high = ops.maximum(a[..., :2], b[..., :2]), ops.minimum(a[..., 2:], b[..., 2:])
    sides = ops.maximum(high - low, 0.0)
    return sides[..., 0] * sides[..., 1]
