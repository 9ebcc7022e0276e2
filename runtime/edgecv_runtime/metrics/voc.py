"""Average precision as Pascal VOC defines it: one overlap, each detection against the object that it overlaps most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecv_runtime.errors import InputError
from edgecv_runtime.metrics.coco import Found, Truth
from edgecv_runtime.metrics.overlaps import box_overlaps


def voc_average_precision(
    truths: Sequence[Truth], found: Sequence[Found], *, overlap: float = 0.5, eleven_points: bool = False
) -> tuple[float, dict[int, float]]:
    """Mean average precision, and that of every class.

    Parameters
    ----------
    truths, found : sequences, one item a picture, in one order
        ``crowd`` marks the objects called difficult, which count neither way.
    overlap : float
    eleven_points : bool
        The mean of the precision at recalls 0, 0.1, … 1 (until 2009); else the area under the whole curve.

    Notes
    -----
    Boxes are continuous here. The original counts the last pixel of integer boxes too, which makes them one larger.

    Raises
    ------
    InputError
        The sequences differ in length, or there is no object to be found.
    """
    if len(truths) != len(found):
        raise InputError(f"there must be one answer a picture; received {len(truths)} and {len(found)}")
    classes = sorted(
        {int(c) for truth in truths for c, hard in zip(truth.classes, truth.crowd, strict=True) if not hard}
    )
    if not classes:
        raise InputError("average precision needs at least one labelled object; there is none")
    values = {index: _of_class(truths, found, index, overlap, eleven_points) for index in classes}
    return float(np.mean(list(values.values()))), values


def _of_class(
    truths: Sequence[Truth], found: Sequence[Found], index: int, overlap: float, eleven_points: bool
) -> float:
    rows: list[tuple[float, int, int, float]] = []  # score, picture, best object (-1: none), its overlap
    wanted = 0
    difficult = []
    for place, (truth, answer) in enumerate(zip(truths, found, strict=True)):
        there, chosen = truth.classes == index, answer.classes == index
        difficult.append(truth.crowd[there])
        wanted += int((~truth.crowd[there]).sum())
        overlaps = box_overlaps(
            answer.boxes[chosen].astype(np.float64), truth.boxes[there], np.zeros(int(there.sum()), np.bool_)
        )
        for score, row in zip(answer.scores[chosen].tolist(), overlaps, strict=True):
            best = int(row.argmax()) if len(row) else -1
            rows.append((score, place, best, float(row[best]) if len(row) else 0.0))
    order = np.argsort([-row[0] for row in rows], kind="stable")
    taken: set[tuple[int, int]] = set()
    right, wrong = [], []
    for _, place, best, shared in (rows[row] for row in order):
        hit = shared >= overlap
        if hit and difficult[place][best]:
            continue
        fresh = hit and (place, best) not in taken
        if fresh:
            taken.add((place, best))
        right.append(fresh)
        wrong.append(not fresh)
    hits = np.cumsum(right)
    recall, precision = hits / wanted, hits / np.maximum(hits + np.cumsum(wrong), 1)
    if eleven_points:
        return float(np.mean([precision[recall >= step].max(initial=0.0) for step in np.linspace(0, 1, 11)]))
    envelope = np.maximum.accumulate(np.concatenate([precision, [0.0]])[::-1])[::-1]
    steps = np.diff(np.concatenate([[0.0], recall]))
    return float((steps * envelope[:-1]).sum())
