"""What is asked for, what is refused, and what comes back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import edgecv_runtime as ert
from edgecv_runtime.errors import InputError
from edgecv_runtime.suppression import METHODS, Suppressed, nms, suppress

BOXES = np.float32([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [0, 0, 10, 10]])
SCORES = np.float32([0.6, 0.9, 0.3, 0.6])


def test_by_hand() -> None:
    found = nms(BOXES, SCORES)  # 1 overlaps 0 and 3 by 90 / 110
    assert found.tolist() == [1, 2] and found.dtype == np.int64
    assert nms(BOXES, SCORES, 0.82).tolist() == [1, 0, 2]
    assert nms(BOXES, SCORES, classes=[0, 1, 0, 2]).tolist() == [1, 0, 3, 2]
    assert nms(BOXES, SCORES, score_threshold=0.6).tolist() == [1]
    assert nms(BOXES, SCORES, 0.82, max_detections=2).tolist() == [1, 0]
    assert nms(BOXES, SCORES, 0.9, top_k=3).tolist() == [1, 0]  # 3 coincides with 0; 2 is not looked at
    assert nms(BOXES, SCORES, 0.9, classes=[0, 0, 0, 1], top_k=3, max_detections=2).tolist() == [1, 0]
    assert ert.nms is nms


@pytest.mark.parametrize("method", METHODS)
def test_nothing_and_one(method: str) -> None:
    for boxes in (np.zeros((0, 4)), [], np.zeros((0, 4), np.float32)):
        assert nms(boxes, [], method=method).tolist() == []
        assert nms(boxes, [], classes=[], method=method).tolist() == []
        assert len(suppress(boxes, [], method=method)) == 0
    assert nms([[5, 5, 5, 5]], [0.25], method=method).tolist() == [0]
    assert nms([[5, 5, 5, 5]], [0.25], method=method, score_threshold=0.3).tolist() == []
    assert nms(np.tile(BOXES, (30, 1)), np.zeros(120), method=method, max_detections=5).shape == (5,) or method in (
        "hard", "diou", "weighted",
    )  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_companion_agrees_with_the_indices(method: str, plain: Any) -> None:
    for boxes, scores, classes, threshold in plain.cases(60, 20, seed=8):
        if np.abs(boxes).max(initial=0) > 1e15:
            continue
        options = {"classes": classes, "score_threshold": 0.2, "method": method, "max_detections": 7, "top_k": 15}
        found = suppress(boxes, scores, threshold, **options)
        np.testing.assert_array_equal(found.indices, nms(boxes, scores, threshold, **options))
        assert len(found) <= 7 and (np.diff(found.scores) <= 0).all()
        if method in ("hard", "diou"):
            np.testing.assert_array_equal(found.scores, scores[found.indices].astype(np.float64))
        if method != "weighted":
            np.testing.assert_array_equal(found.boxes, boxes[found.indices].astype(np.float64))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"boxes": np.zeros((4, 120))}, r"boxes must be \(N, 4\) xyxy; received shape \(4, 120\). Transpose first\?"),
        ({"boxes": np.zeros(4)}, r"boxes must be \(N, 4\) xyxy; received shape \(4,\)"),
        ({"boxes": [[0, 0, 1, float("nan")]] * 4}, "boxes must be finite and below 1e.150; received nan"),
        ({"boxes": np.float32([[0, 0, np.inf, 1]] * 4)}, "boxes must be finite and below 1e.150; received inf"),
        ({"boxes": [[0, 0, 1e200, 1]] * 4}, "received 1e.200"),
        ({"boxes": [["a"] * 4] * 4}, "boxes must be real numbers; received <U1"),
        ({"scores": [0.1, 0.2, float("nan"), 0.3]}, "scores must be numbers; received nan"),
        ({"scores": [0.1, 0.2]}, "one score a box; received 4 boxes and 2 scores"),
        ({"scores": np.zeros((4, 1))}, r"scores must be \(N,\); received shape \(4, 1\)"),
        ({"classes": [1, 2]}, r"one class a box; received 4 boxes and classes of shape \(2,\)"),
        ({"classes": [0.5, 1, 1, 1]}, "classes must be whole numbers; received float64"),
        ({"iou_threshold": 1.5}, r"iou_threshold must be in \[0, 1\]; received 1.5"),
        ({"iou_threshold": float("nan")}, "iou_threshold must be in"),
        ({"score_threshold": float("nan")}, "score_threshold must be a number; received nan"),
        ({"top_k": 0}, "top_k must be a whole number of at least 1, or None; received 0"),
        ({"max_detections": 2.0}, "max_detections must be a whole number of at least 1, or None; received 2.0"),
        ({"sigma": 0}, "sigma must be above 0; received 0"),
        ({"method": "fast"}, "method must be one of hard, diou, soft-linear.*received 'fast'"),
    ],
)
def test_refused(arguments: dict[str, Any], message: str, one_line: Any) -> None:
    with pytest.raises(InputError, match=message) as caught:
        nms(**{"boxes": BOXES, "scores": SCORES} | arguments)
    one_line(caught)


def test_classes_may_be_floats_that_are_whole() -> None:
    assert nms(BOXES, SCORES, classes=np.float32([0, 1, 0, 2])).tolist() == [1, 0, 3, 2]


def test_infinite_scores_rank() -> None:
    assert nms(BOXES, [0.1, 0.2, np.inf, -np.inf], score_threshold=-np.inf).tolist() == [2, 1]


def test_inputs_are_not_changed() -> None:
    for method in METHODS:
        boxes, scores = BOXES.astype(np.float64), SCORES.astype(np.float64)
        nms(boxes, scores, method=method)
        np.testing.assert_array_equal(boxes, BOXES)
        np.testing.assert_array_equal(scores, SCORES.astype(np.float64))


def test_suppressed_is_validated() -> None:
    with pytest.raises(InputError, match="must share their length"):
        Suppressed(np.zeros(2, np.int64), np.zeros(3), np.zeros((2, 4)))
