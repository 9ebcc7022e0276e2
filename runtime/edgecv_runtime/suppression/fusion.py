"""Weighted boxes fusion: boxes around one object are averaged instead of thrown away."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgecv_runtime.suppression.overlap import Boxes, iou

Index = npt.NDArray[np.intp]
Scores = npt.NDArray[np.float64]


def fuse(
    boxes: Boxes, scores: Scores, codes: npt.NDArray[np.intp] | None, threshold: float
) -> tuple[Index, Scores, Boxes]:
    """Weighted boxes fusion (Solovyev et al. 2021, section 3) of one set of boxes.

    From the best box on: one that overlaps a fused box by more than `threshold` joins the one that it overlaps most,
    and moves it to the average of its members, weighted by their scores; else it founds a new one. A fused box scores
    the mean of its members.

    Parameters
    ----------
    boxes : (N, 4) float64 xyxy, best first
    scores : (N,) float64
        Not negative where boxes are fused: they are weights. Members that all score 0 count alike.
    codes : (N,) int, or None
        Classes: only boxes of one class are fused.
    threshold : float

    Returns
    -------
    positions : (K,) int
        The founder of each, by the fused score; ties in order of position.
    scores : (K,) float64
    boxes : (K, 4) float64
    """
    count = len(boxes)
    fused, weighted = np.empty((count, 4)), np.zeros((count, 4))
    weight, total, members = np.zeros(count), np.zeros(count), np.zeros(count)
    founder, codes_of = np.zeros(count, np.intp), np.zeros(count, np.intp)
    clusters = 0
    for position in range(count):
        place = clusters
        if clusters:
            overlap = iou(boxes[position], fused[:clusters])
            if codes is not None:
                overlap[codes_of[:clusters] != codes[position]] = -1.0
            best = int(overlap.argmax())
            if overlap[best] > threshold:
                place = best
        if place == clusters:
            clusters += 1
            founder[place] = position
            codes_of[place] = 0 if codes is None else codes[position]
        score = max(scores[position], 0.0)
        weighted[place] += score * boxes[position]
        weight[place] += score
        total[place] += scores[position]
        members[place] += 1
        if weight[place] > 0:
            fused[place] = boxes[founder[place]] if members[place] == 1 else weighted[place] / weight[place]
        else:  # all members score 0
            fused[place] = boxes[founder[place]]
    values = total[:clusters] / np.maximum(members[:clusters], 1)
    order = (-values).argsort(kind="stable")
    return founder[order], values[order], fused[order]
