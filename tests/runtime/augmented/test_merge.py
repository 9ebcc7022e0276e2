"""Answers for several views, merged by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgecv_runtime.augmented.merge import merge_classes, merge_detections, merge_embeddings, merge_poses
from edgecv_runtime.augmented.views import View
from edgecv_runtime.results import Classification, Detections, Embedding, Pose


def view(matrix: np.ndarray | None = None) -> View:
    return View("view", np.zeros((1, 1, 3), np.uint8), np.eye(3) if matrix is None else matrix)


def mirror(width: int) -> View:
    return view(np.array([[-1.0, 0, width], [0, 1, 0], [0, 0, 1]]))


def classes(*scores: float) -> Classification:
    return Classification.from_scores(np.float32(scores), ("a", "b", "c"))


@pytest.mark.parametrize(
    ("merge", "expected"),
    [
        ("mean", [("b", 0.45), ("a", 0.35), ("c", 0.2)]),
        ("max", [("a", 0.6), ("b", 0.6), ("c", 0.3)]),
        # Roots of .6 × .1, .3 × .6 and .1 × .3: .2449, .4243, .1732, whose sum is .8424.
        ("gmean", [("b", 0.4243 / 0.8424), ("a", 0.2449 / 0.8424), ("c", 0.1732 / 0.8424)]),
    ],
)
def test_classes(merge: str, expected: list[tuple[str, float]]) -> None:
    merged = merge_classes([classes(0.6, 0.3, 0.1), classes(0.1, 0.6, 0.3)], merge)
    assert list(merged.labels) == [name for name, _ in expected]
    assert merged.scores.tolist() == pytest.approx([score for _, score in expected], abs=1e-4)


def test_a_geometric_mean_with_a_zero_stays_finite() -> None:
    merged = merge_classes([classes(1.0, 0.0, 0.0), classes(0.5, 0.5, 0.0)], "gmean")
    assert merged.labels[0] == "a" and np.isfinite(merged.scores).all()


def test_embeddings_take_the_mean_direction() -> None:
    merged = merge_embeddings([Embedding(np.float32([2, 0])), Embedding(np.float32([0, 4]))])
    assert merged.vector.tolist() == pytest.approx([3 / 2**0.5, 3 / 2**0.5])


def found(boxes: list[list[float]], scores: list[float], codes: list[int]) -> Detections:
    return Detections(np.float32(boxes).reshape(-1, 4), np.float32(scores), np.array(codes, np.int64), ("cat", "dog"))


def test_boxes_are_led_back_and_fused() -> None:
    plain = found([[10, 10, 20, 20], [50, 10, 60, 20]], [0.8, 0.5], [0, 1])
    mirrored = found([[80, 10, 90, 22]], [0.4], [0])  # of 100: 10..20
    merged = merge_detections([plain, mirrored], [view(), mirror(100)], (50, 100), 0.55)
    # Weighted by 0.8 and 0.4: y2 = (20 × .8 + 22 × .4) / 1.2; scores 0.6 × 2/2 and 0.5 × 1/2.
    assert merged.boxes.tolist() == [pytest.approx([10, 10, 20, 24.8 / 1.2]), pytest.approx([50, 10, 60, 20])]
    assert merged.scores.tolist() == pytest.approx([0.6, 0.25]) and merged.labels == ("cat", "dog")


def test_boxes_of_a_flip_come_back_exactly() -> None:
    plain = found([[3, 4, 30, 44], [0, 0, 12, 9]], [0.9, 0.3], [0, 1])
    mirrored = found([[70, 4, 97, 44], [88, 0, 100, 9]], [0.9, 0.3], [0, 1])
    merged = merge_detections([plain, mirrored], [view(), mirror(100)], (50, 100), 0.55)
    assert merged.boxes.tolist() == plain.boxes.tolist()
    assert merged.scores.tolist() == pytest.approx([0.9, 0.3])


def test_boxes_of_other_classes_and_outside_the_picture() -> None:
    plain = found([[10, 10, 20, 20]], [0.8], [0])
    other = found([[10, 10, 20, 20], [-30, 0, 10, 10]], [0.8, 0.9], [1, 1])
    merged = merge_detections([plain, other], [view(), view()], (50, 100), 0.55)
    assert merged.labels == ("cat", "dog") and merged.scores.tolist() == pytest.approx([0.4, 0.4])


def test_nothing_found() -> None:
    nothing = found([], [], [])
    assert len(merge_detections([nothing, nothing], [view(), mirror(9)], (9, 9), 0.5)) == 0


def test_masks_and_keypoints_come_from_the_best_member() -> None:
    mask = np.zeros((1, 4, 6), bool)
    mask[0, 1, 4] = True
    seen = Detections(
        np.float32([[4, 1, 5, 2]]),
        np.float32([0.7]),
        np.array([0]),
        masks=mask,
        keypoints=np.float32([[[4.5, 1.5, 0.9]]]),
    )
    merged = merge_detections([Detections.none(), seen], [view(), mirror(6)], (4, 6), 0.5)
    assert merged.boxes.tolist() == [[1, 1, 2, 2]] and np.argwhere(merged.masks[0]).tolist() == [[1, 1]]
    assert merged.keypoints.ravel().tolist() == pytest.approx([1.5, 1.5, 0.9])


def test_in_a_mirrored_view_left_is_right() -> None:
    names = ("nose", "left_eye", "right_eye")
    plain = Pose(np.float32([[50, 50], [60, 40], [40, 40]]), np.float32([1, 1, 0.5]), names)
    # The mirror image of a face: its left eye is on the other side, and found as the right one.
    mirrored = Pose(np.float32([[50, 50], [60, 40], [40, 40]]), np.float32([1, 0.5, 1]), names)
    merged = merge_poses([plain, mirrored], [view(), mirror(100)])
    assert merged.keypoints.tolist() == plain.keypoints.tolist()
    assert merged.scores.tolist() == [1, 1, 0.5]
