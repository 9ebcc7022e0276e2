"""Losses against sums worked by hand, on pictures of a few boxes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from keras import ops

from edgecv.detection.anchor_free import AnchorFreeLoss
from edgecv.detection.losses import binary_cross_entropy, cross_entropy, focal, hardest_negatives, smooth_l1
from edgecv.detection.ssd import SSDLoss
from edgecv.detection.yolo_anchor import YOLOAnchorLoss
from edgecv.detection.yolo_v1 import YOLOv1Loss
from edgecv.explain.gradients import gradient


def value(tensor: Any) -> float:
    return float(np.asarray(tensor))


def log_logistic(x: float) -> float:
    return -math.log(1 + math.exp(-x))


# -- terms -------------------------------------------------------------------------------------------------------------


def test_smooth_l1_by_hand() -> None:
    np.testing.assert_allclose(
        np.asarray(smooth_l1(ops.convert_to_tensor([0.0, 0.5, -0.5, 1.0, -3.0]))), [0, 0.125, 0.125, 0.5, 2.5]
    )
    # β = 1/9, of the region proposals: 0.5 · 0.01 · 9, and 1 - 1/18.
    np.testing.assert_allclose(np.asarray(smooth_l1(ops.convert_to_tensor([0.1, 1.0]), 1 / 9)), [0.045, 17 / 18], 1e-5)


def test_binary_cross_entropy_by_hand_and_without_overflow() -> None:
    logits = ops.convert_to_tensor([0.0, 2.0, -2.0, 500.0, -500.0])
    targets = ops.convert_to_tensor([1.0, 1.0, 1.0, 0.0, 0.0])
    expected = [math.log(2), -log_logistic(2), -log_logistic(-2), 500, 0]
    np.testing.assert_allclose(np.asarray(binary_cross_entropy(targets, logits)), expected, rtol=1e-6)
    half = binary_cross_entropy(ops.convert_to_tensor([0.25]), ops.convert_to_tensor([1.0]))
    assert value(half[0]) == pytest.approx(-0.25 * log_logistic(1) - 0.75 * log_logistic(-1), rel=1e-6)


def test_focal_by_hand() -> None:
    # p = 0.9: a one costs α (0.1)² (-ln 0.9), a zero (1 - α) (0.9)² (-ln 0.1).
    logit = math.log(9)
    found = np.asarray(focal(ops.convert_to_tensor([1.0, 0.0]), ops.convert_to_tensor([logit, logit])))
    np.testing.assert_allclose(found, [0.25 * 0.01 * -math.log(0.9), 0.75 * 0.81 * -math.log(0.1)], rtol=1e-4)
    plain = focal(ops.convert_to_tensor([1.0]), ops.convert_to_tensor([logit]), 0.5, 0.0)
    assert value(plain[0]) == pytest.approx(-0.5 * math.log(0.9), rel=1e-5)


def test_focal_has_a_gradient_where_it_is_certain() -> None:
    _, slope = gradient(lambda x: ops.sum(focal(ops.ones((1, 2)), x)), np.float32([[60.0, -60.0]]))
    assert np.isfinite(slope).all()


def test_hardest_negatives() -> None:
    losses = ops.convert_to_tensor([[0.1, 0.9, 0.5, 0.7, 0.3, 0.8], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    positive = ops.convert_to_tensor([[0.0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    negative = ops.convert_to_tensor([[1.0, 0, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1]])
    # Three for the one positive: 0.7, 0.5 and 0.3; the last is neither. A picture without positives has none.
    assert np.asarray(hardest_negatives(losses, positive, negative)).tolist() == [[0, 0, 1, 1, 1, 0], [0] * 6]
    least = np.asarray(hardest_negatives(losses, positive, negative, 1.0, least=2))
    assert least.tolist() == [[0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]]


def test_cross_entropy_by_hand() -> None:
    logits = ops.convert_to_tensor([[0.0, math.log(3)]])
    assert value(cross_entropy(ops.convert_to_tensor([0]), logits)[0]) == pytest.approx(math.log(4), rel=1e-6)


# -- families ----------------------------------------------------------------------------------------------------------


def test_ssd_by_hand() -> None:
    """Two pictures of five default boxes; one is matched, in the first."""
    logits = np.zeros((2, 5, 3), np.float32)  # every cross-entropy is ln 3 but where it says otherwise
    logits[0, 1, 0] = 5.0  # a background that is well known
    offsets = np.zeros((2, 5, 4), np.float32)
    offsets[0, 0] = [0.5, 2.0, 0, 0]
    targets = {
        "boxes": np.zeros((2, 5, 4), np.float32),
        "classes": np.int32([[2, 0, 0, 0, 0], [0, 0, 0, 0, 0]]),
    }
    # Location: 0.125 + 1.5. Confidence: the match and the three backgrounds that are not known, ln 3 each.
    loss = SSDLoss()(targets, {"boxes": offsets, "scores": logits})
    assert value(loss) == pytest.approx(1.625 + 4 * math.log(3), rel=1e-6)
    half = SSDLoss(alpha=0.5, ratio=1)(targets, {"boxes": offsets, "scores": logits})
    assert value(half) == pytest.approx(0.5 * 1.625 + 2 * math.log(3), rel=1e-6)
    none = {**targets, "classes": np.int32([[-1, 0, 0, 0, 0]] * 2)}
    assert value(SSDLoss()(none, {"boxes": offsets, "scores": logits})) == 0


def test_yolo_v1_by_hand() -> None:
    """A grid of one cell and two boxes of two classes, of which the second box fits."""
    truth = np.float32([1, 0.5, 0.5, 0.5, 0.5, 0, 1])  # a centred object, a quarter of the side
    answered = np.float32([0.0, 0.5, 0.5, 0.5, 0.3, 0.5, 0.5, 0.5, 1.0, 0.6, 0.2, 0.7])
    # The second box: 0.25 by 1, the object in its middle: IoU = 0.0625 / 0.25 = 0.25. The first lies about the left
    # edge: 0.25 by 0.25, apart from the object, IoU 0.
    place = (1.0 - 0.5) ** 2
    expected = 5 * place + (0.6 - 0.25) ** 2 + 0.5 * 0.3**2 + (0.2**2 + 0.3**2)
    targets, outputs = {"grid": truth.reshape(1, 1, 1, 7)}, {"grid": answered.reshape(1, 1, 1, 12)}
    assert value(YOLOv1Loss()(targets, outputs)) == pytest.approx(expected, rel=1e-5)


def test_yolo_v1_without_an_object() -> None:
    answered = np.zeros((2, 3, 3, 12), np.float32)
    answered[0, 0, 0, [4, 9]] = 0.5, 2.0
    answered[0, 1, 1, :4] = 7.0  # the place of nothing costs nothing
    answered[0, 1, 1, 10:] = 3.0
    loss = YOLOv1Loss()({"grid": np.zeros((2, 3, 3, 7), np.float32)}, {"grid": answered})
    assert value(loss) == pytest.approx(0.5 * (0.25 + 4) / 2, rel=1e-6)  # the mean of two pictures


@pytest.mark.parametrize("exclusive", [False, True])
def test_yolo_with_anchors_by_hand(exclusive: bool) -> None:
    """One cell of two anchors and two classes: an object, and an empty anchor."""
    truth = np.float32([[0.25, 0.5, 0.1, -0.2, 1, 1], [0, 0, 0, 0, 0, 0]]).reshape(1, 1, 1, 2, 6)
    raw = np.float32([[0, 0, 0.3, -0.2, 2, 0, 1], [9, 9, 9, 9, -1, 9, 9]]).reshape(1, 1, 1, 14)
    place = 2 * math.log(2) + 0.2**2
    classes = math.log(1 + math.exp(-1)) if exclusive else math.log(2) - log_logistic(1)
    expected = place + classes - log_logistic(2) - log_logistic(1)
    loss = YOLOAnchorLoss(exclusive=exclusive)
    assert value(loss({"grid": truth}, {"grid": raw})) == pytest.approx(expected, rel=1e-5)
    truth[..., 1, 4] = -1  # left out: the empty anchor costs nothing
    assert value(loss({"grid": truth}, {"grid": raw})) == pytest.approx(expected + log_logistic(1), rel=1e-5)


def test_yolo_with_anchors_divides_by_the_objects_of_all_maps() -> None:
    truth = np.float32([0.5, 0.5, 0, 0, 1, 0]).reshape(1, 1, 1, 1, 6)
    raw = np.float32([0, 0, 0, 0, 0, 0]).reshape(1, 1, 1, 6)
    one = YOLOAnchorLoss()({"a": truth}, {"a": raw})
    assert value(one) == pytest.approx(4 * math.log(2), rel=1e-6)
    two = YOLOAnchorLoss()({"a": truth, "b": truth}, {"a": raw, "b": raw})
    assert value(two) == pytest.approx(value(one), rel=1e-6)


def test_anchor_free_by_hand() -> None:
    """Two cells of stride 8; the first learns a box that its answer overlaps by a third."""
    cells = np.float32([[0, 0, 8], [1, 0, 8]])
    targets = {"boxes": np.float32([[[0, 0, 8, 8], [0, 0, 0, 0]]]), "classes": np.int32([[1, -1]])}
    boxes = np.float32([[[1.0, 0.5, 0, 0], [3, 3, 3, 3]]])  # (4, 0, 12, 8)
    outputs = {
        "boxes": boxes,
        "objectness": np.float32([[[1], [-2]]]),
        "scores": np.float32([[[0, 2], [5, 5]]]),
    }
    expected = 2 * (1 - 1 / 3) + math.log(2) - log_logistic(2) - log_logistic(1) - log_logistic(2)
    assert value(AnchorFreeLoss(cells)(targets, outputs)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("scale", [0.0, 1.0, 40.0])
def test_gradients_are_numbers(scale: float) -> None:
    """Also far from any answer, and where nothing is to be found."""
    rng = np.random.default_rng(0)

    def noise(*shape: int) -> np.ndarray:
        return scale * rng.normal(size=shape).astype(np.float32)

    cells = np.float32([[0, 0, 8], [1, 0, 8]])
    boxes, classes = np.float32([[[0, 0, 8, 8], [0, 0, 0, 0]]]), np.int32([[1, -1]])
    cases: list[tuple[Any, Any, Any, np.ndarray]] = [
        (SSDLoss(), {"boxes": boxes, "classes": np.int32([[1, 0]])}, _ssd_outputs, noise(1, 2, 7)),
        (YOLOv1Loss(), {"grid": np.ones((1, 2, 2, 7), np.float32)}, _grid, noise(1, 2, 2, 12)),
        (YOLOv1Loss(), {"grid": np.zeros((1, 2, 2, 7), np.float32)}, _grid, noise(1, 2, 2, 12)),
        (YOLOAnchorLoss(), {"grid": np.ones((1, 2, 2, 2, 6), np.float32)}, _grid, noise(1, 2, 2, 14)),
        (AnchorFreeLoss(cells), {"boxes": boxes, "classes": classes}, _rows, noise(1, 2, 7)),
        (AnchorFreeLoss(cells), {"boxes": 0 * boxes, "classes": 0 * classes - 1}, _rows, noise(1, 2, 7)),
    ]
    for loss, targets, outputs, start in cases:
        found, slope = gradient(lambda x, one=loss, t=targets, o=outputs: ops.reshape(one(t, o(x)), (1,)), start)
        assert np.isfinite(np.asarray(found)).all()
        assert np.isfinite(slope).all()


def _ssd_outputs(x: Any) -> dict[str, Any]:
    return {"boxes": x[..., :4], "scores": x[..., 4:]}


def _rows(x: Any) -> dict[str, Any]:
    return {"boxes": x[..., :4], "objectness": x[..., 4:5], "scores": x[..., 5:]}


def _grid(x: Any) -> dict[str, Any]:
    return {"grid": x}
