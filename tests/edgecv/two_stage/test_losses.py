"""The losses of two-stage detectors, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgecv.two_stage.losses import (
    BETA_FIRST,
    anchor_box_loss,
    class_loss,
    keypoint_loss,
    losses,
    mask_loss,
    region_box_loss,
)


def test_class_loss() -> None:
    logits = np.log(np.float32([[[1, 3], [2, 2], [9, 1]]]))
    assert float(class_loss(np.array([[1, 0, -1]]), logits)) == pytest.approx(-(math.log(0.75) + math.log(0.5)) / 2)
    assert float(class_loss(np.array([[-1, -1, -1]]), logits)) == 0


def test_anchor_box_loss() -> None:
    """Beyond 1/9 the loss is |d| − 1/18, within it 4.5 d²; over the three anchors sampled."""
    offsets = np.float32([[[1, 0.05, 0, 0], [5, 5, 5, 5], [7, 7, 7, 7], [9, 9, 9, 9]]])
    found = anchor_box_loss(np.array([[1, 0, 0, -1]]), np.zeros_like(offsets), offsets)
    assert float(found) == pytest.approx((1 - BETA_FIRST / 2 + 4.5 * 0.05**2) / 3, rel=1e-5)


def test_region_box_loss() -> None:
    """Only the offsets of the region's own class count: of class 1 (label 2) the second four."""
    offsets = np.float32([[[9, 9, 9, 9, 2, 0.5, 0, 0], [3] * 8, [3] * 8]])
    targets = np.zeros((1, 3, 4), np.float32)
    found = region_box_loss(np.array([[2, 0, -1]]), targets, offsets)
    assert float(found) == pytest.approx((1.5 + 0.125) / 2, rel=1e-6)


def test_mask_loss() -> None:
    logits = np.zeros((1, 2, 2, 2, 3), np.float32)
    logits[0, 0, :, :, 1] = math.log(3)
    targets = np.float32([[[[1, 1], [1, 0]], [[1, 1], [1, 1]]]])
    found = mask_loss(np.array([[2, 0]]), targets, logits)
    assert float(found) == pytest.approx(-(3 * math.log(0.75) + math.log(0.25)) / 4, rel=1e-6)


def test_keypoint_loss() -> None:
    logits = np.zeros((1, 1, 2, 2, 2), np.float32)
    logits[0, 0, 1, 0, 0] = math.log(5)  # keypoint 0: 5 of 8 at the third place
    found = keypoint_loss(np.array([[[2, -1]]]), logits)
    assert float(found) == pytest.approx(-math.log(5 / 8), rel=1e-6)


def test_only_the_losses_of_what_is_there() -> None:
    truth = {"labels": np.array([[1]]), "offsets": np.zeros((1, 1, 4), np.float32)}
    found = {"logits": np.zeros((1, 1, 2), np.float32), "offsets": np.ones((1, 1, 4), np.float32)}
    terms = losses(truth, found)
    assert {name: float(value) for name, value in terms.items()} == {
        "region_class": pytest.approx(math.log(2)),
        "region_box": pytest.approx(2.0),
    }
