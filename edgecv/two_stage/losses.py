"""The losses of two-stage detectors, for any Keras back end. This module imports Keras when it is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from edgecv.detection.losses import binary_cross_entropy, cross_entropy, smooth_l1

BETA_FIRST = 1 / 9
"""Where the box loss of the first stage becomes a line: the 1/σ² with σ = 3 of Ren et al.'s implementation."""


def class_loss(labels: Any, logits: Any) -> Any:
    """Mean cross-entropy of what was sampled (Ren et al. 2017, eq. 1; Girshick 2015, section 2.3).

    Parameters
    ----------
    labels : (N, M) int
        -1 counts nothing.
    logits : (N, M, C)
    """
    known = ops.cast(labels >= 0, logits.dtype)
    terms = cross_entropy(ops.maximum(labels, 0), logits)
    return ops.sum(terms * known) / ops.maximum(ops.sum(known), 1.0)


def anchor_box_loss(labels: Any, targets: Any, offsets: Any) -> Any:
    """Smooth L1 of the four offsets of anchors with label 1, over the number of anchors sampled.

    Parameters
    ----------
    labels : (N, A) int
        1 object, 0 none, -1 not sampled.
    targets, offsets : (N, A, 4)
    """
    objects = ops.cast(labels == 1, offsets.dtype)
    sampled = ops.sum(ops.cast(labels >= 0, offsets.dtype))
    terms = ops.sum(smooth_l1(offsets - targets, BETA_FIRST), axis=-1)
    return ops.sum(terms * objects) / ops.maximum(sampled, 1.0)


def region_box_loss(labels: Any, targets: Any, offsets: Any) -> Any:
    """Smooth L1 of the four offsets of a region's own class, over the number of regions (Girshick 2015, eq. 2, 3).

    Parameters
    ----------
    labels : (N, R) int
        0 background, 1 + class, -1 nothing.
    targets : (N, R, 4)
    offsets : (N, R, 4 · classes)
    """
    classes = offsets.shape[-1] // 4
    own = ops.one_hot(ops.cast(labels, "int32") - 1, classes, dtype=offsets.dtype)  # background and -1: no class
    by_class = ops.reshape(offsets, (-1, offsets.shape[1], classes, 4))
    terms = ops.sum(smooth_l1(by_class - targets[:, :, None]), axis=-1)
    counted = ops.sum(ops.cast(labels >= 0, offsets.dtype))
    return ops.sum(terms * own) / ops.maximum(counted, 1.0)


def mask_loss(labels: Any, targets: Any, logits: Any) -> Any:
    """Mean binary cross-entropy of the map of a region's own class (He et al. 2017, section 3, "Mask").

    Parameters
    ----------
    labels : (N, F) int
        As of `region_box_loss`; background counts nothing.
    targets : (N, F, m, m) of 0 and 1
    logits : (N, F, m, m, classes)
    """
    classes = logits.shape[-1]
    own = ops.one_hot(ops.cast(labels, "int32") - 1, classes, dtype=logits.dtype)
    terms = ops.mean(binary_cross_entropy(targets[..., None], logits), axis=(2, 3))
    return ops.sum(terms * own) / ops.maximum(ops.sum(own), 1.0)


def keypoint_loss(cells: Any, logits: Any) -> Any:
    """Mean cross-entropy over the places of a keypoint's map (He et al. 2017, section 5).

    Parameters
    ----------
    cells : (N, F, K) int
        Which place, row by row; -1 counts nothing.
    logits : (N, F, h, h, K)
    """
    regions, side, points = logits.shape[1], logits.shape[2], logits.shape[4]
    rows = ops.reshape(ops.transpose(logits, (0, 1, 4, 2, 3)), (-1, regions * points, side * side))
    return class_loss(ops.reshape(cells, (-1, regions * points)), rows)


def losses(truth: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Every loss that the outputs of a training network allow, by name; they are added up with equal weight.

    Parameters
    ----------
    truth : mapping
        As from `edgecv.two_stage.train`.
    found : mapping
        Outputs of `edgecv.two_stage.train.training_network`.
    """
    terms: dict[str, Any] = {}
    if "rpn_logits" in found:
        terms["anchor_class"] = class_loss(truth["anchor_labels"], found["rpn_logits"])
        terms["anchor_box"] = anchor_box_loss(truth["anchor_labels"], truth["anchor_offsets"], found["rpn_offsets"])
    terms["region_class"] = class_loss(truth["labels"], found["logits"])
    terms["region_box"] = region_box_loss(truth["labels"], truth["offsets"], found["offsets"])
    if "masks" in found:
        terms["mask"] = mask_loss(truth["mask_labels"], truth["masks"], found["masks"])
    if "keypoints" in found:
        terms["keypoint"] = keypoint_loss(truth["keypoints"], found["keypoints"])
    return terms
