"""From the answers for several views to the one for the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.augmented.views import View
from edgecv_runtime.results import Classification, Detections, Embedding, Pose
from edgecv_runtime.suppression import suppress
from edgecv_runtime.suppression.overlap import iou

MERGES = ("mean", "gmean", "max")

_LEAST = 1e-12  # the geometric mean's smallest probability


def merge_classes(answers: Sequence[Classification], merge: str) -> Classification:
    """The mean, geometric mean or maximum of each class's scores; a geometric mean is scaled to the sum of the mean."""
    by_class = np.stack([_by_class(answer) for answer in answers])
    if merge == "max":
        merged = by_class.max(axis=0)
    else:
        merged = by_class.mean(axis=0)
        if merge == "gmean":
            total = merged.sum()
            merged = np.exp(np.log(np.maximum(by_class, _LEAST)).mean(axis=0))
            merged *= total / merged.sum()
    return Classification.from_scores(merged.astype(np.float32), answers[0].names)


def _by_class(answer: Classification) -> npt.NDArray[np.float64]:
    scores = np.empty(len(answer), np.float64)
    scores[answer.indices] = answer.scores
    return scores


def merge_embeddings(answers: Sequence[Embedding]) -> Embedding:
    """The mean direction, of the mean length."""
    vectors = np.stack([answer.vector for answer in answers]).astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1)
    total = (vectors / np.maximum(lengths, _LEAST)[:, None]).sum(axis=0)
    length = np.linalg.norm(total)
    direction = total / length if length > 0 else total
    return Embedding((direction * lengths.mean()).astype(np.float32))


def merge_poses(answers: Sequence[Pose], views: Sequence[View]) -> Pose:
    """Each keypoint at the mean of its places, weighted by their scores; its score is their mean.

    In a mirrored view the left shoulder is found as the right one: keypoints whose names differ by left and right
    change places.
    """
    swap = _mirror_pairs(answers[0].names, len(answers[0]))
    points, scores = [], []
    for answer, view in zip(answers, views, strict=True):
        order = swap if view.mirrored else slice(None)
        points.append(view.to_source(answer.keypoints)[order])
        scores.append(answer.scores[order].astype(np.float64))
    weights = np.maximum(np.stack(scores), _LEAST)[..., None]
    merged = (np.stack(points) * weights).sum(axis=0) / weights.sum(axis=0)
    first = answers[0]
    return Pose(merged.astype(np.float32), np.mean(scores, axis=0).astype(np.float32), first.names, first.skeleton)


def _mirror_pairs(names: Sequence[str] | None, count: int) -> npt.NDArray[np.intp]:
    order = np.arange(count)
    known = {name: index for index, name in enumerate(names or ())}
    for name, index in known.items():
        for here, there in (("left", "right"), ("right", "left"), ("Left", "Right"), ("Right", "Left")):
            order[index] = known.get(name.replace(here, there), order[index]) if here in name else order[index]
    return order


def merge_detections(
    answers: Sequence[Detections], views: Sequence[View], size: tuple[int, int], iou_threshold: float
) -> Detections:
    """Boxes of all views, led back and fused (weighted boxes fusion, Solovyev et al. 2021).

    A fused box scores the mean of its members, times the share of the views in which one was found (their eq. 5).
    Boxes whose middle lies outside the picture are left out. Masks and keypoints are those of the best member. A box
    from a turned view is the upright one around its corners.
    """
    returned = [to_source(answer, view, size) for answer, view in zip(answers, views, strict=True)]
    together = concatenate(returned)
    of_view = np.repeat(np.arange(len(returned)), [len(found) for found in returned])
    fused = suppress(together.boxes, together.scores, iou_threshold, classes=together.classes, method="weighted")
    best = together._take(fused.indices)
    support = [
        len(set(of_view[(together.classes == code) & (iou(box, together.boxes.astype(np.float64)) > iou_threshold)]))
        for box, code in zip(fused.boxes, best.classes, strict=True)
    ]
    scores = fused.scores * np.maximum(support, 1) / len(views)
    order = (-scores).argsort(kind="stable")
    chosen = best._take(order)
    return Detections(
        fused.boxes[order].astype(np.float32),
        scores[order].astype(np.float32),
        chosen.classes,
        chosen.names,
        chosen.masks,
        chosen.keypoints,
        chosen.skeleton,
    )


def to_source(found: Detections, view: View, size: tuple[int, int]) -> Detections:
    """Detections of a view in the (height, width) source's pixels, clipped; those with their middle outside are out."""
    height, width = size
    x1, y1, x2, y2 = found.boxes.astype(np.float64).T
    corners = view.to_source(np.stack([np.stack(pair, -1) for pair in ((x1, y1), (x2, y1), (x2, y2), (x1, y2))], 1))
    low, high = corners.min(axis=1), corners.max(axis=1)
    middle = (low + high) / 2
    inside = ((middle >= 0) & (middle <= (width, height))).all(axis=1)
    boxes = np.concatenate([low, high], axis=1).clip(0, (width, height, width, height))
    masks, points = found.masks, found.keypoints
    if masks is not None:
        masks = np.stack([view.map_to_source(mask, size, False) for mask in masks]) if len(masks) else masks
        masks = masks.reshape(len(found), height, width)
    if points is not None:
        points = np.concatenate([view.to_source(points[..., :2]), points[..., 2:]], axis=2).astype(np.float32)
    moved = Detections(
        boxes.astype(np.float32), found.scores, found.classes, found.names, masks, points, found.skeleton
    )
    return moved._take(inside)


def concatenate(parts: Sequence[Detections]) -> Detections:
    """Several sets of detections of one picture as one, not sorted."""
    parts = [part for part in parts if len(part)] or parts[:1]

    def joined(values: list[Any]) -> Any:
        return None if any(value is None for value in values) else np.concatenate(values)

    return Detections(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.classes for part in parts]),
        parts[0].names,
        joined([part.masks for part in parts]),
        joined([part.keypoints for part in parts]),
        parts[0].skeleton,
    )
