"""Which anchor answers for which box."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError

BACKGROUND = -1
IGNORED = -2


def match(
    overlaps: npt.ArrayLike, positive: float = 0.5, negative: float | None = None, *, every_box: bool = True
) -> npt.NDArray[np.int64]:
    """Give each anchor a box, the background, or nothing to learn.

    An anchor takes the box that it overlaps most where that is at least `positive` (Liu et al. 2016, section 2.2;
    Ren et al. 2015, section 3.1.2). With `every_box` each box first takes the anchor of largest overlap that no other
    box holds, the largest overlap of all first, however small: no box stays without an anchor while there are any.

    Parameters
    ----------
    overlaps : (A, N)
        IoU of A anchors with N boxes, as `edgecv.detection.boxes.iou_matrix` gives it.
    positive : float
    negative : float, optional
        Anchors whose largest overlap is below are background; those between are left out of the loss. Default:
        `positive`, which leaves none out.
    every_box : bool

    Returns
    -------
    (A,) int64
        Index of the box, `BACKGROUND` (-1) or `IGNORED` (-2).

    Raises
    ------
    InputError
        Another shape, or thresholds out of order.

    Examples
    --------
    >>> match([[0.6, 0.0], [0.1, 0.3], [0.0, 0.2], [0.45, 0.0]], 0.5, 0.4).tolist()
    [0, 1, -1, -2]
    """
    table = np.asarray(overlaps, np.float64)
    low = positive if negative is None else negative
    if table.ndim != 2:
        raise InputError(f"overlaps must be (anchors, boxes); received shape {table.shape}")
    if not 0 <= low <= positive <= 1:
        raise InputError(f"thresholds must be 0 <= negative <= positive <= 1; received {low} and {positive}")
    anchors, boxes = table.shape
    if boxes == 0 or anchors == 0:
        return np.full(anchors, BACKGROUND, np.int64)
    best = table.max(axis=1)
    matched = np.where(best >= positive, table.argmax(axis=1), np.where(best < low, BACKGROUND, IGNORED))
    if every_box:
        _own_anchors(table, matched)
    return matched.astype(np.int64)


def _own_anchors(table: npt.NDArray[np.float64], matched: npt.NDArray[np.int64]) -> None:
    """Write into `matched` the anchor of each box's own."""
    left = table.copy()
    for _ in range(min(left.shape)):
        anchor, box = np.unravel_index(int(left.argmax()), left.shape)
        if left[anchor, box] <= 0:
            return  # what overlaps nothing answers for nothing
        matched[anchor] = box
        left[anchor] = left[:, box] = -1
