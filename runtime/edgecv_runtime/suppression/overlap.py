"""Intersection over union of boxes, in double precision: what every variant means by "overlap"."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Overlap = npt.NDArray[np.float64]


def areas(boxes: Boxes) -> npt.NDArray[np.float64]:
    """(N,) areas of (N, 4) xyxy boxes; a box that is turned inside out has none."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0)
    area: npt.NDArray[np.float64] = sides[:, 0] * sides[:, 1]
    return area


def iou(a: Boxes, b: Boxes) -> Overlap:
    """Intersection over union of boxes that lie in pairs, by broadcasting; two boxes without an area have 0.

    Parameters
    ----------
    a, b : (..., 4) float64, xyxy

    Returns
    -------
    (...) float64 in [0, 1]
    """
    width = np.maximum(np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0]), 0.0)
    height = np.maximum(np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1]), 0.0)
    intersection = width * height
    union = _area(a) + _area(b) - intersection
    overlap: Overlap = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    return overlap


def diou(a: Boxes, b: Boxes) -> Overlap:
    """Distance-IoU of boxes that lie in pairs: IoU less the squared distance of the centres over the squared diagonal
    of the smallest box around both (Zheng et al. 2020, eq. 6 and 7).

    Parameters
    ----------
    a, b : (..., 4) float64, xyxy

    Returns
    -------
    (...) float64 in [-1, 1]
    """
    across = np.maximum(a[..., 2], b[..., 2]) - np.minimum(a[..., 0], b[..., 0])
    down = np.maximum(a[..., 3], b[..., 3]) - np.minimum(a[..., 1], b[..., 1])
    dx = (a[..., 0] + a[..., 2]) / 2 - (b[..., 0] + b[..., 2]) / 2
    dy = (a[..., 1] + a[..., 3]) / 2 - (b[..., 1] + b[..., 3]) / 2
    diagonal = across * across + down * down
    apart = np.divide(dx * dx + dy * dy, diagonal, out=np.zeros_like(diagonal), where=diagonal > 0)
    distance: Overlap = iou(a, b) - apart
    return distance


def _area(boxes: Boxes) -> npt.NDArray[np.float64]:
    area: npt.NDArray[np.float64] = np.maximum(boxes[..., 2] - boxes[..., 0], 0.0) * np.maximum(
        boxes[..., 3] - boxes[..., 1], 0.0
    )
    return area
