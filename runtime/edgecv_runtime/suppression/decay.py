"""Suppression that lowers scores instead of striking boxes out: soft NMS and matrix NMS."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgecv_runtime.suppression.overlap import Boxes, iou

Index = npt.NDArray[np.intp]
Scores = npt.NDArray[np.float64]

_CELLS = 1 << 18  # pairs at a time in the matrix


def soft(
    boxes: Boxes,
    scores: Scores,
    codes: npt.NDArray[np.intp] | None,
    threshold: float,
    sigma: float | None,
    score_threshold: float,
) -> tuple[Index, Scores]:
    """Soft-NMS (Bodla et al. 2017): take the best box, lower those it overlaps, and so on.

    Linear (eq. 3), where `sigma` is None: ``s · (1 - IoU)`` where the IoU is above `threshold`. Gaussian (eq. 4):
    ``s · exp(-IoU² / sigma)`` everywhere.

    Parameters
    ----------
    boxes : (N, 4) float64 xyxy, best first
    scores : (N,) float64
    codes : (N,) int, or None
        Classes.
    threshold : float
    sigma : float, or None
    score_threshold : float
        Boxes whose score sinks below it are gone.

    Returns
    -------
    positions : (K,) int
        In the order in which they were taken, which is that of their new scores; ties in order of position.
    scores : (K,) float64
        New ones.
    """
    left = np.arange(len(boxes))
    now = scores.copy()
    taken: list[int] = []
    values: list[float] = []
    while len(left):
        best = int(now.argmax())
        taken.append(int(left[best]))
        values.append(float(now[best]))
        overlap = iou(boxes[left[best]], boxes[left])
        if codes is not None:
            overlap[codes[left] != codes[left[best]]] = 0.0
        if sigma is None:
            touched = overlap > threshold
            factor = 1.0 - overlap[touched]
        else:
            touched = overlap > 0
            factor = np.exp(-(overlap[touched] * overlap[touched]) / sigma)
        now[touched] *= factor
        remain = now >= score_threshold
        remain[best] = False
        left, now = left[remain], now[remain]
    return np.array(taken, np.intp), np.array(values, np.float64)


def matrix(
    boxes: Boxes, scores: Scores, codes: npt.NDArray[np.intp] | None, score_threshold: float
) -> tuple[Index, Scores]:
    """Matrix NMS (Wang et al. 2020, SOLOv2, eq. 4 and 5) with the linear decay ``f(IoU) = 1 - IoU``.

    Each box is lowered by the better box for which ``f(IoU) / f(that box's own largest IoU with a better one)`` is
    least, and never raised.

    Parameters
    ----------
    boxes, scores, codes, score_threshold
        As in `soft`.

    Returns
    -------
    positions : (K,) int
        By their new scores; ties in order of position.
    scores : (K,) float64
    """
    count = len(boxes)
    largest, factor = np.zeros(count), np.ones(count)
    step = max(1, _CELLS // max(count, 1))
    for start in range(0, count, step):
        end = min(count, start + step)
        overlap = iou(boxes[None, :end], boxes[start:end, None])  # (these, all that are better or among them)
        if codes is not None:
            overlap[codes[None, :end] != codes[start:end, None]] = 0.0
        overlap[np.arange(end) >= np.arange(start, end)[:, None]] = 0.0
        # What a row needs of the others is known: they are better, or rows of this part, which come first.
        largest[start:end] = overlap.max(axis=1)
        spared = 1.0 - largest[:end]
        # A box that coincides with a better one cannot lower others on its own: that one does.
        decay = np.divide(1.0 - overlap, spared, out=np.ones_like(overlap), where=spared > 0)
        factor[start:end] = np.minimum(decay.min(axis=1), 1.0)
    lowered = scores * factor
    order = (-lowered).argsort(kind="stable")
    order = order[lowered[order] >= score_threshold]
    return order, lowered[order]
