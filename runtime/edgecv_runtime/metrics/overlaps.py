"""How much a detection and an object are the same: by their boxes, their masks or their keypoints."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

# Per-keypoint constants k of COCO's 17 keypoints: σ, of which twice is k, found by annotating pictures twice.
COCO_DEVIATIONS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089,
    0.089,
)  # fmt: skip


def box_overlaps(found: Floats, truth: Floats, crowd: Flags) -> Floats:
    """(D, G) overlap: over the union, with a crowd over the detection's own area."""
    a, b = found[:, None], truth[None]
    width = np.maximum(np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0]), 0)
    height = np.maximum(np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1]), 0)
    shared = width * height
    own = (a[..., 2] - a[..., 0]) * (a[..., 3] - a[..., 1])
    union = np.where(crowd, own, own + (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1]) - shared)
    overlaps: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return overlaps


def mask_overlaps(found: Flags, truth: Flags, crowd: Flags) -> Floats:
    """(D, G) overlap of (D, H, W) with (G, H, W) masks, counted in pixels; crowds as of `box_overlaps`."""
    a, b = (masks.reshape(len(masks), math.prod(masks.shape[1:])).astype(np.float32) for masks in (found, truth))
    # Whole numbers below 2^24 are exact in single precision: pictures of up to 16 million pixels.
    shared = (a @ b.T).astype(np.float64)
    own = mask_areas(found)[:, None]
    union = np.where(crowd, own, own + mask_areas(truth) - shared)
    overlaps: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return overlaps


def mask_areas(masks: Flags) -> Floats:
    """(N,) pixels of (N, H, W) masks."""
    areas: Floats = np.count_nonzero(masks, axis=(1, 2)).astype(np.float64)
    return areas


def keypoint_similarity(
    found: Floats, truth: Floats, boxes: Floats, areas: Floats, deviations: Sequence[float] = COCO_DEVIATIONS
) -> Floats:
    """(D, G) object keypoint similarity, OKS: the mean of exp(−d² / (2 s² k²)) over the keypoints that are labelled.

    d is the distance in pixels, s² the object's area and k twice the deviation of the keypoint. An object without a
    labelled keypoint stands for its whole surroundings: the distance is that to a box three times as wide and high.

    Parameters
    ----------
    found : (D, K, 2 or more) x, y
    truth : (G, K, 3) x, y, and 0 where it is not labelled
    boxes : (G, 4) xyxy
    areas : (G,)
    deviations : (K,) sequence of float
    """
    variances = (2 * np.asarray(deviations, np.float64)) ** 2
    table = np.zeros((len(found), len(truth)))
    x, y = found[..., 0].astype(np.float64), found[..., 1].astype(np.float64)
    for g, (points, box, area) in enumerate(zip(truth, boxes, areas, strict=True)):
        labelled = points[:, 2] > 0
        if labelled.any():
            dx, dy = x - points[:, 0], y - points[:, 1]
        else:
            width, height = box[2] - box[0], box[3] - box[1]
            dx, dy = _beyond(x, box[0] - width, box[0] + 2 * width), _beyond(y, box[1] - height, box[1] + 2 * height)
        exponents = (dx**2 + dy**2) / variances / (area + np.spacing(1)) / 2
        table[:, g] = np.exp(-(exponents[:, labelled] if labelled.any() else exponents)).mean(axis=1)
    return table


def _beyond(values: Floats, low: float, high: float) -> Floats:
    return np.maximum(0, low - values) + np.maximum(0, values - high)


def keypoint_sizes(found: Floats) -> Floats:
    """(D,) areas of the boxes around all keypoints of (D, K, 2 or more): what COCO takes for a detection's size."""
    if not len(found):
        return np.zeros(0)
    sides = found[..., :2].astype(np.float64).max(axis=1) - found[..., :2].astype(np.float64).min(axis=1)
    areas: Floats = sides[:, 0] * sides[:, 1]
    return areas
