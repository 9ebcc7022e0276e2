"""Forms of detections in which a small difference of the model is a small difference of numbers.

For detectors that decide in the graph: in a list of detections two of nearly one score change places, and the last one
comes and goes; in a map of scores over the picture, and in the best score of a class, a last digit stays a last digit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_GRID = 16  # cells a side


def score_map(boxes: npt.NDArray[Any], scores: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """(GRID, GRID): the best squared score of a box over each cell, 0 where there is none.

    Squared, so that what is hardly seen hardly counts; and times the share of the cell that the box covers, so that an
    edge that moves a little changes little.

    Parameters
    ----------
    boxes : (N, 4) x1, y1, x2, y2 as fractions of the picture
    scores : (N,)
    """
    edges = np.arange(_GRID + 1) / _GRID
    field = np.zeros((_GRID, _GRID), np.float32)
    for (left, top, right, bottom), score in zip(boxes, scores, strict=True):
        down, across = _covered(top, bottom, edges), _covered(left, right, edges)
        field = np.maximum(field, np.outer(down, across).astype(np.float32) * np.float32(score**2))
    return field


def _covered(start: float, end: float, edges: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """The share of each cell along one axis that lies between two places."""
    inside = np.minimum(edges[1:], end) - np.maximum(edges[:-1], start)
    covered: npt.NDArray[np.float64] = inside.clip(0) * _GRID
    return covered
