"""Losses by hand; what is not to be seen counts nothing."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from edgecv.pose.losses import HeatmapLoss, PointLoss


def test_masked_points() -> None:
    truth = np.array([[0.5, 0.5, -1, -1], [-1, -1, -1, -1]], np.float32)
    answer = np.array([[0.7, 0.4, 9, 9], [5, 5, 5, 5]], np.float32)
    loss = PointLoss(reduction="none")
    np.testing.assert_allclose(np.asarray(loss(truth, answer)), [(0.04 + 0.01) / 2, 0], atol=1e-6)


def test_heat() -> None:
    truth = np.zeros((1, 1, 2, 2), np.float32)
    truth[0, 0, 0, 0] = 1.0
    truth[..., 1] = -1  # not to be seen
    answer = np.array([[[[0.5, 7.0], [0.1, -3.0]]]], np.float32)
    plain = float(np.asarray(HeatmapLoss()(truth, answer)))
    assert plain == pytest.approx((0.25 + 0.01) / 2)
    assert float(np.asarray(HeatmapLoss(weight=10)(truth, answer))) == pytest.approx((10 * 0.25 + 0.01) / 2)
    assert float(np.asarray(HeatmapLoss()(np.full_like(truth, -1), answer))) == 0


def test_it_is_saved_with_its_weight() -> None:
    loss = keras.losses.deserialize(keras.losses.serialize(HeatmapLoss(weight=4.0)))
    assert isinstance(loss, HeatmapLoss) and loss.weight == 4.0
