"""Soft, matrix and weighted suppression against their definitions, box by box."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.suppression import suppress
from edgecv_runtime.suppression.overlap import diou, iou


@pytest.mark.parametrize("sigma", [None, 0.5, 0.1])
def test_soft(sigma: float | None, plain: Any) -> None:
    method = "soft-linear" if sigma is None else "soft-gaussian"
    for boxes, scores, classes, threshold in plain.cases(500, 16, seed=2):
        for codes in (None, classes):
            for least in (0.0, 0.3):
                found = suppress(
                    boxes, scores, threshold, classes=codes, method=method, sigma=sigma or 1.0, score_threshold=least
                )
                indices, values = plain.soft(boxes, scores, threshold, codes, sigma, least)
                assert found.indices.tolist() == indices
                assert found.scores.tolist() == values


def test_soft_by_hand() -> None:
    """Two boxes that overlap by a third."""
    boxes = [[0, 0, 2, 1], [1, 0, 3, 1]]
    found = suppress(boxes, [0.9, 0.6], 0.3, method="soft-linear")
    np.testing.assert_allclose(found.scores, [0.9, 0.6 * 2 / 3], rtol=1e-12)
    assert suppress(boxes, [0.9, 0.6], 0.4, method="soft-linear").scores.tolist() == [0.9, 0.6]
    found = suppress(boxes, [0.9, 0.6], method="soft-gaussian", sigma=0.5)
    np.testing.assert_allclose(found.scores, [0.9, 0.6 * math.exp(-(1 / 9) / 0.5)], rtol=1e-12)


def test_matrix(plain: Any) -> None:
    for boxes, scores, classes, _ in plain.cases(600, 20, seed=3):
        for codes in (None, classes):
            for least in (0.0, 0.25):
                found = suppress(boxes, scores, classes=codes, method="matrix", score_threshold=least)
                indices, values = plain.matrix(boxes, scores, codes, least)
                assert found.indices.tolist() == indices
                assert found.scores.tolist() == values


def test_matrix_in_parts(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgecv_runtime.suppression import decay

    boxes, scores, classes, _ = next(case for case in plain.cases(50, 60, seed=4) if len(case[0]) > 40)
    whole = suppress(boxes, scores, classes=classes, method="matrix")
    monkeypatch.setattr(decay, "_CELLS", 130)
    parts = suppress(boxes, scores, classes=classes, method="matrix")
    np.testing.assert_array_equal(whole.indices, parts.indices)
    np.testing.assert_array_equal(whole.scores, parts.scores)


def test_weighted(plain: Any) -> None:
    for boxes, scores, classes, threshold in plain.cases(600, 20, seed=6):
        if np.abs(boxes).max(initial=0) > 1e4 or (scores <= 0).any():
            continue  # sums in another order round elsewhere
        for codes in (None, classes):
            found = suppress(boxes, scores, threshold, classes=codes, method="weighted")
            indices, values, fused = plain.fuse(boxes, scores, threshold, codes)
            assert sorted(found.indices.tolist()) == sorted(indices)
            np.testing.assert_allclose(found.scores, values, rtol=1e-12)
            np.testing.assert_allclose(found.boxes, np.reshape(fused, (-1, 4)), rtol=1e-9, atol=1e-9)


def test_weighted_by_hand() -> None:
    found = suppress([[0, 0, 10, 10], [0, 0, 12, 10], [50, 50, 60, 60]], [0.9, 0.3, 0.8], method="weighted")
    assert found.indices.tolist() == [2, 0]
    np.testing.assert_allclose(found.scores, [0.8, 0.6])
    np.testing.assert_allclose(found.boxes, [[50, 50, 60, 60], [0, 0, 10.5, 10]])


def test_overlaps_by_hand(plain: Any) -> None:
    boxes = np.array([[0, 0, 4, 4], [2, 2, 6, 6], [10, 0, 14, 4], [1, 1, 1, 3]], np.float64)
    np.testing.assert_allclose(iou(boxes[0], boxes), [1, 4 / 28, 0, 0])
    np.testing.assert_allclose(diou(boxes[0], boxes), [1, 1 / 7 - 8 / 72, -100 / 212, -1 / 32])
    for a in boxes.tolist():
        for b in boxes.tolist():
            assert iou(np.array(a), np.array(b)) == plain.overlap(a, b)
            assert diou(np.array(a), np.array(b)) == plain.distance_overlap(a, b)
