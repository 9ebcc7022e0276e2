"""Average precision of keypoints as COCO defines it: detections and objects meet by their keypoints' similarity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgecv_runtime.errors import InputError
from edgecv_runtime.metrics.coco import SIZES, Found, Truth, mean_of
from edgecv_runtime.metrics.keypoint_accuracy import KeypointAccuracy
from edgecv_runtime.metrics.matching import OVERLAPS, RECALLS, Picture, accumulate, match
from edgecv_runtime.metrics.overlaps import COCO_DEVIATIONS, keypoint_similarity, keypoint_sizes

_MOST = 20  # detections of a class in a picture
_SIZES = {name: SIZES[name] for name in ("all", "medium", "large")}  # COCO labels no keypoints of small people


def keypoint_precision(
    truths: Sequence[Truth],
    found: Sequence[Found],
    deviations: Sequence[float] = COCO_DEVIATIONS,
    skipped: int = 0,
) -> KeypointAccuracy:
    """Evaluate keypoints.

    Parameters
    ----------
    truths, found : sequences, one item a picture, in one order
        With ``keypoints``. Objects without a labelled keypoint count neither way.
    deviations : (K,) sequence of float
        How far two careful people set each keypoint apart, as a share of the root of the object's area.
    skipped : int
        Handed on.

    Raises
    ------
    InputError
        The sequences differ in length, keypoints are missing or not K, or there is nothing to find.
    """
    if len(truths) != len(found):
        raise InputError(f"there must be one answer a picture; received {len(truths)} and {len(found)}")
    classes = sorted({int(index) for truth in truths for index in truth.classes})
    if not classes:
        raise InputError("average precision needs at least one labelled object; there is none")
    precision = np.full((len(OVERLAPS), len(RECALLS), len(classes), len(_SIZES)), -1.0)
    recall = np.full((len(OVERLAPS), len(classes), len(_SIZES)), -1.0)
    for k, index in enumerate(classes):
        pictures = [_of_class(truth, answer, index, deviations) for truth, answer in zip(truths, found, strict=True)]
        for a, limits in enumerate(_SIZES.values()):
            curve = accumulate([match(picture, limits) for picture in pictures], _MOST)
            if curve is not None:
                precision[:, :, k, a], recall[:, k, a] = curve
    objects = sum(int(((_labelled(truth) > 0) & ~truth.crowd).sum()) for truth in truths)
    return KeypointAccuracy(
        map=mean_of(precision[..., 0]),
        map50=mean_of(precision[0, ..., 0]),
        map75=mean_of(precision[5, ..., 0]),
        map_medium=mean_of(precision[..., 1]),
        map_large=mean_of(precision[..., 2]),
        ar=mean_of(recall[..., 0]),
        ar50=mean_of(recall[0, ..., 0]),
        ar75=mean_of(recall[5, ..., 0]),
        ar_medium=mean_of(recall[..., 1]),
        ar_large=mean_of(recall[..., 2]),
        n=len(truths),
        objects=objects,
        skipped=skipped,
    )


def _labelled(truth: Truth) -> Any:
    """(N,) number of labelled keypoints."""
    if truth.keypoints is None:
        return np.zeros(len(truth.classes), np.int64)
    return (truth.keypoints[..., 2] > 0).sum(axis=1)


def _of_class(truth: Truth, answer: Found, index: int, deviations: Sequence[float]) -> Picture:
    there, chosen = truth.classes == index, np.flatnonzero(answer.classes == index)
    order = chosen[np.argsort(-answer.scores[chosen], kind="stable")][:_MOST]
    count = len(deviations)
    objects, points = (
        _points(keypoints, rows, count)
        for keypoints, rows in ((truth.keypoints, np.flatnonzero(there)), (answer.keypoints, order))
    )
    crowd = truth.crowd[there]
    return Picture(
        keypoint_similarity(points, objects, truth.boxes[there], truth.areas[there], deviations),
        answer.scores[order],
        keypoint_sizes(points),
        truth.areas[there],
        crowd,
        crowd | (_labelled(truth)[there] == 0),
    )


def _points(keypoints: Any, rows: Any, count: int) -> Any:
    if keypoints is None:
        if len(rows):
            raise InputError("keypoints of every object and of every detection are required; some have none")
        return np.zeros((0, count, 3))
    if keypoints.shape[1] != count:
        raise InputError(f"there must be {count} keypoints, one a deviation; received {keypoints.shape[1]}")
    return keypoints[rows]
