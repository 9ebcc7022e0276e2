"""Boxes, overlaps and offsets, worked by hand and against one another."""

from __future__ import annotations

import math

import numpy as np
import pytest
from keras import ops

from edgecv.detection import tensors
from edgecv.detection.boxes import decode_boxes, encode_boxes, iou_matrix, to_centres, to_corners
from edgecv_runtime.errors import InputError


def random_boxes(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 200, (count, 2))
    return np.concatenate([low, low + rng.uniform(1, 100, (count, 2))], axis=1).astype(np.float32)


def test_overlaps_by_hand() -> None:
    square = [0, 0, 10, 10]
    others = [[0, 0, 10, 10], [5, 0, 15, 10], [5, 5, 15, 15], [10, 0, 20, 10], [2, 2, 4, 4], [3, 3, 3, 9]]
    # 1; 50 of 150; 25 of 175; only an edge; 4 of 100; no area.
    np.testing.assert_allclose(iou_matrix([square], others)[0], [1, 1 / 3, 1 / 7, 0, 0.04, 0], atol=1e-12)
    assert iou_matrix(np.zeros((0, 4)), others).shape == (0, 6)


def test_offsets_by_hand() -> None:
    anchor = [50, 40, 20, 10]
    box = [[45, 45, 85, 50]]  # centre (65, 47.5), 40 by 5
    expected = [15 / 20 / 0.1, 7.5 / 10 / 0.1, math.log(2) / 0.2, math.log(0.5) / 0.2]
    np.testing.assert_allclose(encode_boxes(box, [anchor]), [expected], rtol=1e-6)


def test_there_and_back() -> None:
    boxes, anchors = random_boxes(200, 0), to_centres(random_boxes(200, 1))
    np.testing.assert_allclose(decode_boxes(encode_boxes(boxes, anchors), anchors), boxes, atol=1e-3)
    np.testing.assert_allclose(to_corners(to_centres(boxes)), boxes, atol=1e-4)


def test_graph_and_numpy_agree() -> None:
    boxes, anchors = random_boxes(50, 2), to_centres(random_boxes(50, 3))
    offsets = encode_boxes(boxes, anchors)
    np.testing.assert_allclose(np.asarray(tensors.decode(ops.convert_to_tensor(offsets), anchors)), boxes, atol=2e-3)
    pairs = np.asarray(tensors.iou(boxes[:, None], boxes[None]))
    np.testing.assert_allclose(pairs, iou_matrix(boxes, boxes), atol=1e-5)


def test_generalised_overlap_by_hand() -> None:
    square = np.float32([[0, 0, 10, 10]])
    others = np.float32([[0, 0, 10, 10], [5, 0, 15, 10], [20, 0, 30, 10], [0, 20, 10, 40]])
    # The same; 50/150 less nothing; nothing less 100/300; nothing less (400 - 300)/400.
    np.testing.assert_allclose(np.asarray(tensors.giou(square, others)), [1, 1 / 3, -1 / 3, -0.25], atol=1e-5)


def test_boxes_without_an_area_are_no_trouble_in_the_graph() -> None:
    nothing = ops.zeros((1, 4))
    assert float(tensors.iou(nothing, nothing)[0]) == 0
    assert float(tensors.giou(nothing, nothing)[0]) == 0
    assert float(tensors.areas(ops.convert_to_tensor([[5.0, 5.0, 1.0, 9.0]]))[0]) == 0


def test_refused() -> None:
    with pytest.raises(InputError, match=r"boxes must have 4 numbers each, as in \(N, 4\); received shape \(4, 5\)"):
        iou_matrix(np.zeros((4, 5)), np.zeros((1, 4)))
    with pytest.raises(InputError, match="boxes must have a width and a height above 0"):
        encode_boxes([[5, 5, 5, 9]], [[1, 1, 2, 2]])
    with pytest.raises(InputError, match="anchors must have a width and a height above 0"):
        encode_boxes([[5, 5, 6, 9]], [[1, 1, 0, 2]])
    with pytest.raises(InputError, match="variances must be four numbers above 0"):
        decode_boxes([[0, 0, 0, 0]], [[1, 1, 2, 2]], (0.1, 0.2))
