"""YOLO heads, each against boxes worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.errors import BundleError
from edgecv_runtime.preprocess import Geometry

Make = Callable[..., Any]


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def test_yolox_by_hand(decoder: Make, plain: Geometry, letterboxed: Geometry) -> None:
    head = decoder("yolox", {"o": (1, 84, 7)}, strides=[8, 16, 32])  # 64 + 16 + 4 cells, two classes
    rows = np.zeros((84, 7), np.float32)
    # Stride 16 begins at row 64; cell (row 2, column 1) there is number 9.
    rows[64 + 9] = [0.5, 0.25, math.log(2), math.log(0.5), 0.9, 0.1, 0.8]
    rows[3] = [0, 0, 0, 0, 0.4, 0.5, 0.3]  # 0.2: below the threshold
    found = head.decode([rows], plain)
    # Centre ((0.5 + 1) · 16, (0.25 + 2) · 16) = (24, 36), size (32, 8).
    np.testing.assert_allclose(found.boxes, [[8, 32, 40, 40]], atol=1e-5)
    np.testing.assert_allclose(found.scores, [0.72], rtol=1e-6)
    assert found.classes.tolist() == [1]
    # In the letterbox: y from 16 on, times 3.125; x times 3.125.
    np.testing.assert_allclose(head.decode([rows], letterboxed).boxes, [[25, 50, 125, 75]], atol=1e-4)


def test_yolox_applies_what_is_left_to_it(decoder: Make, plain: Geometry) -> None:
    head = decoder("yolox", {"o": (1, 84, 7)}, activation="sigmoid", score_threshold=0.3)
    rows = np.full((84, 7), -20, np.float32)
    rows[0] = [0, 0, 0, 0, logit(0.8), logit(0.5), logit(0.2)]
    found = head.decode([rows], plain)
    np.testing.assert_allclose(found.scores, [0.4], rtol=1e-5)
    np.testing.assert_allclose(found.boxes, [[0, 0, 4, 4]], atol=1e-5)  # 8 wide about (0, 0), clipped


def test_yolox_in_three_outputs_is_the_same(decoder: Make, plain: Geometry) -> None:
    roles = {"boxes": "b", "objectness": "o", "scores": "s"}
    shapes = {"s": (1, 84, 2), "b": (1, 84, 4), "o": (1, 84, 1)}  # the manifest's order is its own
    rows = np.random.default_rng(0).normal(size=(84, 7)).astype(np.float32)
    for activation in ("none", "sigmoid"):
        parts = {"b": rows[:, :4], "o": rows[:, 4:5], "s": rows[:, 5:]}
        one = decoder("yolox", {"o": (1, 84, 7)}, activation=activation).decode([rows], plain)
        three = decoder("yolox", shapes, activation=activation, outputs=roles)
        found = three.decode([parts[name] for name in shapes], plain)
        assert len(one) > 3
        np.testing.assert_array_equal(found.boxes, one.boxes)
        np.testing.assert_array_equal(found.scores, one.scores)
        np.testing.assert_array_equal(found.classes, one.classes)


def test_yolox_s_three_outputs_are_checked(decoder: Make) -> None:
    roles = {"boxes": "b", "objectness": "o", "scores": "s"}
    for shapes in ({"b": (1, 84, 5)}, {"o": (1, 84, 2)}, {"s": (1, 80, 2)}, {"b": (84, 4)}):
        with pytest.raises(BundleError, match=r"reads \(batch, 84, 4, 1 and classes\) for a 64x64 input"):
            decoder("yolox", {"b": (1, 84, 4), "o": (1, 84, 1), "s": (1, 84, 2), **shapes}, outputs=roles)
    whole = {"b": (1, 84, 4), "o": (1, 84, 1), "s": (1, 84, 2)}
    with pytest.raises(BundleError, match="one label per class: 2 classes, 1 labels"):
        decoder("yolox", whole, outputs=roles, labels=("a",))
    with pytest.raises(BundleError, match="needs outputs = {boxes: NAME, objectness: NAME, scores: NAME}"):
        decoder("yolox", whole, outputs={"boxes": "b", "scores": "s"})


def test_suppression_is_within_classes_unless_agnostic(decoder: Make, plain: Geometry) -> None:
    rows = np.zeros((84, 7), np.float32)
    rows[9] = [0.5, 0.5, math.log(2), math.log(2), 1, 0.9, 0]
    rows[10] = [-0.4, 0.5, math.log(2), math.log(2), 1, 0, 0.8]  # nearly the same place, another class
    rows[11] = [-1.4, 0.5, math.log(2), math.log(2), 1, 0.7, 0]  # and the first class again
    assert decoder("yolox", {"o": (1, 84, 7)}).decode([rows], plain).classes.tolist() == [0, 1]
    assert decoder("yolox", {"o": (1, 84, 7)}, class_agnostic=True).decode([rows], plain).classes.tolist() == [0]
    assert len(decoder("yolox", {"o": (1, 84, 7)}, max_detections=1).decode([rows], plain)) == 1
    assert len(decoder("yolox", {"o": (1, 84, 7)}, iou_threshold=1.0).decode([rows], plain)) == 3
    soft = decoder("yolox", {"o": (1, 84, 7)}, method="soft-linear", iou_threshold=0.3).decode([rows], plain)
    assert (soft.scores[-1] < 0.7 and len(soft) == 3) or len(soft) == 2


def test_numbers_that_are_none_lose_one_candidate_only(decoder: Make, plain: Geometry) -> None:
    rows = np.zeros((84, 7), np.float32)
    rows[0] = [0, 0, 1000, 0, 1, 0.9, 0]  # exp overflows
    rows[1] = [np.nan, 0, 0, 0, 1, 0.9, 0]
    rows[30] = [0, 0, 0, 0, 1, 0.5, 0]
    assert decoder("yolox", {"o": (1, 84, 7)}).decode([rows], plain).scores.tolist() == [0.5]


def test_nothing_found(decoder: Make, plain: Geometry) -> None:
    found = decoder("yolox", {"o": (1, 84, 7)}, labels=("a", "b")).decode([np.zeros((84, 7), np.float32)], plain)
    assert len(found) == 0 and found.boxes.shape == (0, 4) and found.labels == ()


def test_v5_and_v8_are_the_same_rows(decoder: Make, plain: Geometry) -> None:
    rows = np.zeros((10, 7), np.float32)
    rows[4] = [20, 30, 10, 20, 0.5, 0.8, 0.2]
    found = decoder("yolov5", {"o": (1, 10, 7)}).decode([rows], plain)
    np.testing.assert_allclose(found.boxes, [[15, 20, 25, 40]])
    np.testing.assert_allclose(found.scores, [0.4])
    eight = np.zeros((6, 10), np.float32)
    eight[:, 4] = [20, 30, 10, 20, 0.8, 0.2]
    found = decoder("yolov8", {"o": (1, 6, 10)}).decode([eight], plain)
    np.testing.assert_allclose(found.boxes, [[15, 20, 25, 40]])
    np.testing.assert_allclose(found.scores, [0.8])
    rows[4, :4] /= 64
    found = decoder("yolov5", {"o": (1, 10, 7)}, units="fraction").decode([rows], plain)
    np.testing.assert_allclose(found.boxes, [[15, 20, 25, 40]], atol=1e-4)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_anchors_by_hand(decoder: Make, plain: Geometry, layout: str) -> None:
    """The course's grid: 3×3 cells, two anchors, eight numbers each, here of a 64×64 input and with a second scale."""
    shape = (1, 3, 3, 16) if layout == "NHWC" else (1, 16, 3, 3)
    anchors = [[[10, 20], [30, 15]]]
    raw = np.full((3, 3, 2, 8), -20, np.float32)
    raw[1, 2, 1] = [0, logit(0.25), math.log(2), 0, logit(0.9), -20, logit(0.5), -20]
    output = raw.reshape(3, 3, 16)
    output = output if layout == "NHWC" else output.transpose(2, 0, 1)
    found = decoder("yolo-anchor", {"o": shape}, anchors=anchors, layout=layout).decode([output], plain)
    # Stride 64/3: centre ((0.5 + 2), (0.25 + 1)) · 64/3 = (53.33, 26.67), size (60, 15).
    np.testing.assert_allclose(found.boxes, [[160 / 3 - 30, 80 / 3 - 7.5, 64, 80 / 3 + 7.5]], atol=1e-4)
    np.testing.assert_allclose(found.scores, [0.45], rtol=1e-5)
    assert found.classes.tolist() == [1]
    square = decoder("yolo-anchor", {"o": shape}, anchors=anchors, layout=layout, coding="square")
    # Centre ((1 - 0.5 + 2), (0.5 - 0.5 + 1)) · 64/3; σ(log 2) = 2/3, so (4/3)² · 30 wide and 15 high.
    x, y, half = 2.5 * 64 / 3, 64 / 3, 16 / 9 * 30 / 2
    np.testing.assert_allclose(square.decode([output], plain).boxes, [[x - half, y - 7.5, 64, y + 7.5]], atol=1e-4)


def test_anchors_of_two_scales_meet_in_one_suppression(decoder: Make, plain: Geometry) -> None:
    head = decoder(
        "yolo-anchor", {"a": (1, 2, 2, 6), "b": (1, 4, 4, 6)}, anchors=[[[32, 32]], [[32, 32]]], classes="softmax"
    )
    coarse, fine = np.full((2, 2, 6), -20, np.float32), np.full((4, 4, 6), -20, np.float32)
    coarse[0, 0] = [0, 0, 0, 0, logit(0.8), 3]  # centre (16, 16)
    fine[1, 1] = [-20, -20, 0, 0, logit(0.7), 3]  # centre (16, 16) too
    fine[3, 3] = [0, 0, 0, 0, logit(0.6), 3]
    found = head.decode([coarse, fine], plain)
    np.testing.assert_allclose(found.scores, [0.8, 0.6], rtol=1e-5)


def test_the_first_yolo_by_hand(decoder: Make, plain: Geometry) -> None:
    """2×2 cells, two boxes, three classes: 13 numbers a cell."""
    cells = np.zeros((2, 2, 13), np.float32)
    cells[1, 0] = [0, 0, 0, 0, 0, 0.5, 0.25, 0.5, 0.75, 0.8, 0.1, 0.9, 0]
    for output, shape in ((cells, (1, 2, 2, 13)), (cells.reshape(-1), (1, 52))):
        found = decoder("yolo-v1", {"o": shape}, grid=2).decode([output], plain)
        # Centre (0.25, 0.625) · 64 = (16, 40), size (0.25, 0.5625) · 64 = (16, 36).
        np.testing.assert_allclose(found.boxes, [[8, 22, 24, 58]], atol=1e-4)
        np.testing.assert_allclose(found.scores, [0.72], rtol=1e-6)
        assert found.classes.tolist() == [1]
    straight = decoder("yolo-v1", {"o": (1, 52)}, grid=2, root_size=False).decode([cells.reshape(-1)], plain)
    np.testing.assert_allclose(straight.boxes, [[0, 16, 32, 64]], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "outputs", "parameters", "message"),
    [
        ("yolox", {"o": (1, 80, 7)}, {}, r"reads \(batch, 84, 5 \+ classes\) for a 64x64 input; the manifest says"),
        ("yolox", {"o": (1, 84, 5)}, {}, "one label per class: 0 classes"),
        ("yolox", {"o": (1, 84, 7)}, {"labels": ("a",)}, "one label per class: 2 classes, 1 labels"),
        ("yolox", {"o": (1, 84, 7), "p": (1,)}, {}, "decoder 'yolox' reads one output; the manifest names 2"),
        ("yolox", {"o": (1, 84, 7)}, {"score": 0.1}, "not 'score'"),
        ("yolox", {"o": (1, 84, 7)}, {"score_threshold": 1.5}, r"must be a number in \[0, 1\] .* says 1.5"),
        ("yolox", {"o": (1, 84, 7)}, {"strides": [8, 0]}, "strides of decoder .yolox. must be a list"),
        ("yolox", {"o": (1, 84, 7)}, {"max_detections": 2.5}, "max_detections .* must be a whole number"),
        ("yolox", {"o": (1, 84, 7)}, {"class_agnostic": 1}, "must be true or false"),
        ("yolox", {"o": (1, 84, 7)}, {"method": "none"}, r"must be hard \| diou"),
        ("yolov8", {"o": (1, 6)}, {}, "decoder 'yolov8' reads three dimensions"),
        ("yolo-anchor", {"o": (1, 3, 3, 16)}, {}, "decoder 'yolo-anchor' needs anchors"),
        ("yolo-anchor", {"o": (1, 3, 3, 16)}, {"anchors": [[[1, 2]], [[1, 2]]]}, "1 outputs, 2 lists"),
        ("yolo-anchor", {"o": (1, 3, 3, 16)}, {"anchors": [[[1, 2]] * 3]}, r"must have 3 × \(5 \+"),
        ("yolo-anchor", {"o": (1, 3, 3, 16)}, {"anchors": [[[1, 2, 3]]]}, "a list of a list of a list of 2 times"),
        ("yolo-v1", {"o": (1, 50)}, {"grid": 2}, r"reads 2 × 2 × \(2 · 5 \+ classes\) numbers"),
        ("yolo-v1", {"o": (1, 52)}, {}, "decoder 'yolo-v1' needs grid: a whole number"),
    ],
)  # fmt: skip
def test_refused(
    name: str, outputs: dict[str, Any], parameters: dict[str, Any], message: str, decoder: Make, one_line: Any
) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        decoder(name, outputs, **parameters)
    one_line(caught)
