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
    """(GRID, GRID): the best squared score of a box over the middle of each cell, 0 where there is none.

    Squared, so that what is hardly seen hardly counts.

    Parameters
    ----------
    boxes : (N, 4) x1, y1, x2, y2 as fractions of the picture
    scores : (N,)
    """
    middles = (np.arange(_GRID) + 0.5) / _GRID
    field = np.zeros((_GRID, _GRID), np.float32)
    for (left, top, right, bottom), score in zip(boxes, scores, strict=True):
        inside = np.ix_((middles >= top) & (middles < bottom), (middles >= left) & (middles < right))
        field[inside] = np.maximum(field[inside], score**2)
    return field
