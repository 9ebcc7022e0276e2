"""The arguments of non-maximum suppression, checked once, and the way to its variants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.suppression.greedy import greedy
from edgecv_runtime.suppression.overlap import diou, iou

METHODS = ("hard", "diou", "soft-linear", "soft-gaussian", "matrix", "weighted")

# Beyond it areas would overflow double precision.
_LARGEST = 1e150


@dataclass(frozen=True, eq=False)
class Suppressed:
    """What a suppression left, best first.

    Attributes
    ----------
    indices : (K,) int64
        Which boxes of the input; of a fused box the best one that went into it.
    scores : (K,) float64
        As the variant leaves them: decayed by soft and matrix suppression, averaged by fusion, else as they came.
    boxes : (K, 4) float64
        Averaged by fusion, else as they came.
    """

    indices: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]
    boxes: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        count = len(self.indices)
        if self.scores.shape != (count,) or self.boxes.shape != (count, 4):
            raise InputError(
                f"indices, scores and boxes must share their length; received {self.indices.shape}, "
                f"{self.scores.shape} and {self.boxes.shape}"
            )

    def __len__(self) -> int:
        return len(self.indices)


def nms(
    boxes: npt.ArrayLike,
    scores: npt.ArrayLike,
    iou_threshold: float = 0.5,
    *,
    classes: npt.ArrayLike | None = None,
    score_threshold: float = 0.0,
    top_k: int | None = None,
    max_detections: int | None = None,
    method: str = "hard",
    sigma: float = 0.5,
) -> npt.NDArray[np.int64]:
    """Indices of the boxes that non-maximum suppression keeps, best first.

    Parameters
    ----------
    boxes : (N, 4) xyxy
        Any unit. A box without an area, or turned inside out, overlaps nothing.
    scores : (N,)
    iou_threshold : float in [0, 1]
        A box is struck out by a better one where their overlap is above it.
    classes : (N,) int, optional
        Boxes of different classes leave each other alone. Default: all are of one class.
    score_threshold : float
        Boxes with a lower score are left out; with soft and matrix suppression also those that decay below it.
    top_k : int, optional
        Only so many boxes, the best, are looked at.
    max_detections : int, optional
        Most boxes returned.
    method : str
        ``"hard"``: greedy. ``"diou"``: greedy by distance-IoU (Zheng et al. 2020). ``"soft-linear"`` and
        ``"soft-gaussian"`` (Bodla et al. 2017, eq. 3 and 4): scores decay instead; ``"matrix"`` (Wang et al. 2020,
        SOLOv2, eq. 5): they decay at one go; ``"weighted"``: boxes are fused (Solovyev et al. 2021). `suppress` also
        gives the new scores and boxes.
    sigma : float
        Of the Gaussian in ``"soft-gaussian"``.

    Returns
    -------
    (K,) int64
        Of equal scores the lower index comes first.

    Raises
    ------
    InputError
        A shape, a value that is no number, or an option out of range.

    Notes
    -----
    Overlap is computed in double precision: intersection / (area + area - intersection), 0 where both areas are.

    Examples
    --------
    >>> import edgecv_runtime as ert
    >>> ert.nms([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10]], [0.9, 0.8, 0.7]).tolist()
    [0, 2]
    """
    task = _Task(boxes, scores, iou_threshold, classes, score_threshold, top_k, max_detections, method, sigma)
    if method in ("hard", "diou"):
        return task.order[task.greedy()]
    return task.run().indices


def suppress(
    boxes: npt.ArrayLike,
    scores: npt.ArrayLike,
    iou_threshold: float = 0.5,
    *,
    classes: npt.ArrayLike | None = None,
    score_threshold: float = 0.0,
    top_k: int | None = None,
    max_detections: int | None = None,
    method: str = "hard",
    sigma: float = 0.5,
) -> Suppressed:
    """As `nms`, with the scores and boxes that the variant leaves."""
    return _Task(boxes, scores, iou_threshold, classes, score_threshold, top_k, max_detections, method, sigma).run()


class _Task:
    """Checked arguments, best first."""

    def __init__(
        self,
        boxes: npt.ArrayLike,
        scores: npt.ArrayLike,
        iou_threshold: float,
        classes: npt.ArrayLike | None,
        score_threshold: float,
        top_k: int | None,
        max_detections: int | None,
        method: str,
        sigma: float,
    ) -> None:
        if method not in METHODS:
            raise InputError(f"method must be one of {', '.join(METHODS)}; received {method!r}")
        if not 0 <= iou_threshold <= 1:
            raise InputError(f"iou_threshold must be in [0, 1]; received {iou_threshold}")
        if not sigma > 0:
            raise InputError(f"sigma must be above 0; received {sigma}")
        if score_threshold != score_threshold:
            raise InputError("score_threshold must be a number; received nan")
        self.method, self.threshold, self.sigma = method, iou_threshold, sigma
        self.score_threshold = score_threshold
        self.limit = _count(max_detections, "max_detections")
        found, values = _boxes(boxes), _scores(scores)
        if len(found) != len(values):
            raise InputError(f"there must be one score a box; received {len(found)} boxes and {len(values)} scores")
        codes = None if classes is None else _codes(classes, len(found))
        order = _ranking(values)
        ranked = values.take(order)
        # Ranked from the best: those below the threshold are the last ones.
        order = order[: int(np.count_nonzero(ranked >= score_threshold))][: _count(top_k, "top_k")]
        self.order: npt.NDArray[np.int64] = order.astype(np.int64, copy=False)
        self.boxes = found.take(order, axis=0)  # several times as quick as found[order]
        self.scores = ranked[: len(order)]
        self.codes = None if codes is None else codes.take(order)

    def greedy(self) -> npt.NDArray[np.intp]:
        measure = iou if self.method == "hard" else diou
        return greedy(
            self.boxes,
            self.threshold,
            codes=self.codes,
            measure=measure,
            only_iou=self.method == "hard",
            limit=self.limit,
        )

    def run(self) -> Suppressed:
        boxes, scores = self.boxes.astype(np.float64), self.scores.astype(np.float64)
        if self.method in ("hard", "diou"):
            kept = self.greedy()
            return Suppressed(self.order[kept], scores[kept], boxes[kept])
        if self.method == "weighted":
            from edgecv_runtime.suppression.fusion import fuse

            best, scores, boxes = fuse(boxes, scores, self.codes, self.threshold)
        else:
            from edgecv_runtime.suppression import decay

            if self.method == "matrix":
                best, scores = decay.matrix(boxes, scores, self.codes, self.score_threshold)
            else:
                gaussian = self.sigma if self.method == "soft-gaussian" else None
                best, scores = decay.soft(boxes, scores, self.codes, self.threshold, gaussian, self.score_threshold)
            boxes = boxes[best]
        most = self.limit
        return Suppressed(self.order[best][:most], scores[:most], boxes[:most])


def _ranking(scores: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.intp]:
    """Best first; of equal scores the lower index. numpy's stable sort takes several times as long as the other."""
    negative = -scores
    order = negative.argsort()
    ranked = negative.take(order)
    return negative.argsort(kind="stable") if (ranked[1:] == ranked[:-1]).any() else order


def _count(value: int | None, name: str) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1):
        raise InputError(f"{name} must be a whole number of at least 1, or None; received {value!r}")
    return value


def _boxes(given: npt.ArrayLike) -> npt.NDArray[np.floating[Any]]:
    boxes = np.asarray(given)
    if boxes.size == 0 and boxes.ndim == 1:
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        hint = ". Transpose first?" if boxes.ndim == 2 and boxes.shape[0] == 4 else ""
        raise InputError(f"boxes must be (N, 4) xyxy; received shape {boxes.shape}{hint}")
    if boxes.dtype != np.float32:
        boxes = _real(boxes, "boxes")
    # One pass finds NaN, infinities and coordinates whose areas would overflow.
    if boxes.size and not float(np.abs(boxes).max()) <= _LARGEST:
        raise InputError(f"boxes must be finite and below {_LARGEST:g}; received {_worst(boxes)}")
    return boxes


def _scores(given: npt.ArrayLike) -> npt.NDArray[np.floating[Any]]:
    scores = np.asarray(given)
    if scores.ndim != 1:
        raise InputError(f"scores must be (N,); received shape {scores.shape}")
    if scores.dtype != np.float32:
        scores = _real(scores, "scores")
    if np.isnan(scores).any():
        raise InputError("scores must be numbers; received nan")
    return scores


def _real(array: npt.NDArray[Any], name: str) -> npt.NDArray[np.float64]:
    if array.dtype.kind not in "fiub" and array.size:
        raise InputError(f"{name} must be real numbers; received {array.dtype}")
    return array.astype(np.float64)


def _codes(given: npt.ArrayLike, count: int) -> npt.NDArray[np.intp]:
    classes = np.asarray(given)
    if classes.shape != (count,):
        raise InputError(f"there must be one class a box; received {count} boxes and classes of shape {classes.shape}")
    if classes.dtype.kind in "iu":
        return classes.astype(np.intp, copy=False)
    if classes.dtype.kind != "f" or not np.isfinite(classes).all() or (classes != np.floor(classes)).any():
        if count == 0:
            return np.zeros(0, np.intp)
        raise InputError(f"classes must be whole numbers; received {classes.dtype}")
    return classes.astype(np.intp)


def _worst(boxes: npt.NDArray[Any]) -> float:
    values = boxes.astype(np.float64).ravel()
    return float(values[~(np.abs(values) <= _LARGEST)][0])
