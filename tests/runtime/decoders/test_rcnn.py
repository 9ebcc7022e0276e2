"""Decoders of two-stage detectors, against boxes, masks and keypoints worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from edgecv_runtime.decoders.mask import paste_masks
from edgecv_runtime.errors import BundleError
from edgecv_runtime.preprocess import Geometry

Make = Callable[..., Any]
ROLES = {"boxes": "b", "scores": "s"}
MASK_ROLES = {**ROLES, "classes": "c", "masks": "m"}


def test_every_class_of_a_region_has_its_box(decoder: Make, letterboxed: Geometry) -> None:
    head = decoder("rcnn", {"b": (1, 3, 8), "s": (1, 3, 3)}, outputs=ROLES, labels=("cat", "dog"), score_threshold=0.2)
    boxes = np.float32([[16, 32, 32, 40, 0, 16, 64, 48], [16, 32, 32, 40, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0, 0, 0]])
    scores = np.float32([[0.1, 0.6, 0.3], [0.15, 0.7, 0.15], [0, 0, 0]])
    found = head.decode([boxes, scores], letterboxed)
    # 3.125 source pixels an input pixel, 16 rows above; both cats are one box, the better one stays.
    np.testing.assert_allclose(found.boxes, [[50, 50, 100, 75], [0, 0, 200, 100]], atol=1e-4)
    assert found.labels == ("cat", "dog")
    np.testing.assert_allclose(found.scores, [0.7, 0.3], rtol=1e-6)
    shared = decoder("rcnn", {"b": (1, 3, 4), "s": (1, 3, 2)}, outputs=ROLES, background=False)
    one = shared.decode([boxes[:, :4], scores[:, 1:]], letterboxed)
    assert one.classes.tolist() == [0, 1]  # one box for all classes


def test_what_is_compared_hardly_moves_where_regions_change_places(decoder: Make) -> None:
    head = decoder("rcnn", {"b": (1, 2, 4), "s": (1, 2, 2)}, outputs=ROLES)
    assert head.decides
    boxes, scores = np.float32([[[0, 0, 32, 32], [32, 32, 64, 64]]]), np.float32([[[0.1, 0.9], [0.1, 0.899]]])
    first, second = head.comparable([boxes, scores]), head.comparable([boxes[:, ::-1], scores[:, ::-1]])
    assert [array.shape for array in first] == [(1, 16, 16), (1, 1)]
    assert max(np.abs(a - b).max() for a, b in zip(first, second, strict=True)) < 1e-6
    moved = head.comparable([boxes * np.float32(0.5), scores])
    assert np.abs(moved[0] - first[0]).max() == pytest.approx(0.81)
    # A cell is 4 pixels wide: an edge that moves by a tenth of one changes a tenth of a cell, wherever it lies.
    for edge in (30.0, 32.0, 33.9):
        near = np.float32([[[0, 0, edge, 32], [32, 32, 64, 64]]])
        apart = np.abs(
            head.comparable([near, scores])[0] - head.comparable([near + np.float32([0, 0, 0.4, 0]), scores])[0]
        )
        assert apart.max() <= 0.1 * 0.81 + 1e-6


def test_masks_lie_where_their_boxes_are(decoder: Make, plain: Geometry) -> None:
    shapes = {"b": (1, 3, 4), "s": (1, 3), "c": (1, 3), "m": (1, 3, 2, 2)}
    head = decoder("mask", shapes, outputs=MASK_ROLES, labels=("cat", "dog"))
    boxes = np.float32([[8, 8, 16, 24], [40, 40, 44, 44], [0, 0, 0, 0]])
    masks = np.float32([[[1, 0], [1, 0]], [[1, 1], [1, 1]], [[1, 1], [1, 1]]])
    found = head.decode([boxes, np.float32([0.6, 0.9, 0]), np.float32([0, 1, 0]), masks], plain)
    assert found.labels == ("dog", "cat") and found.masks.shape == (2, 64, 64)
    expected = np.zeros((2, 64, 64), bool)
    expected[0, 40:44, 40:44] = True
    expected[1, 8:24, 8:12] = True  # 1 at a quarter of the width, 0 at three quarters: 0.5 in the middle
    np.testing.assert_array_equal(found.masks, expected)
    assert not head.decode([boxes, np.zeros(3, np.float32), np.zeros(3, np.float32), masks], plain).masks.size


def test_pasting_is_a_linear_resize() -> None:
    """A box on whole pixels: OpenCV's resize of the mask says the same."""
    mask = np.random.default_rng(0).random((7, 7)).astype(np.float32)
    expected = np.zeros((60, 80), bool)
    expected[10:45, 20:62] = cv2.resize(mask, (42, 35), interpolation=cv2.INTER_LINEAR) >= 0.5
    pasted = paste_masks(mask[None], np.float32([[20, 10, 62, 45]]), (60, 80))[0]
    np.testing.assert_array_equal(pasted, expected)
    assert 400 < expected.sum() < 1200
    outside = paste_masks(mask[None], np.float32([[-21, -10, 21, 25]]), (60, 80))[0]
    np.testing.assert_array_equal(outside[:25, :21], pasted[20:45, 41:62])


def test_keypoints_are_the_peaks_of_their_maps(decoder: Make, plain: Geometry) -> None:
    shapes = {"b": (1, 1, 4), "s": (1, 1), "c": (1, 1), "m": (1, 1, 2, 2), "k": (1, 1, 4, 4, 2)}
    roles = {**MASK_ROLES, "keypoints": "k"}
    head = decoder("mask", shapes, outputs=roles, skeleton=[[0, 1]])
    maps = np.zeros((1, 4, 4, 2), np.float32)
    maps[0, 1, 2, 0] = 9  # the middle of cell (1, 2): both neighbours are equal
    maps[0, 3, 0, 1], maps[0, 3, 1, 1] = 9, 3  # a higher neighbour to the right
    outputs = [np.float32([[16, 16, 32, 48]]), np.ones(1, np.float32), np.zeros(1, np.float32),
               np.ones((1, 2, 2), np.float32), maps]  # fmt: skip
    found = head.decode(outputs, plain)
    assert found.skeleton == ((0, 1),)
    # Cells of 4 × 8 pixels. At the edge the neighbour outside equals the peak: half of what a parabola through
    # (-1, 9), (0, 9), (1, 3) turns at: -1/2, and through (-1, 0), (0, 9), (1, 9): 1/2.
    np.testing.assert_allclose(found.keypoints[0, :, :2], [[26, 28], [16 + 4 * 0, 48]], atol=1e-4)
    every = np.exp(9.0) + 15
    assert found.keypoints[0, 0, 2] == pytest.approx((np.exp(9.0) + 8) / every, rel=1e-5)
    steady = head.comparable([output[None] for output in outputs])
    assert [array.shape for array in steady] == [(1, 16, 16), (1, 1), (1, 128), (1, 2, 2), (1, 4, 4, 2)]
    nothing = head.decode([outputs[0], outputs[1] * 0, *outputs[2:]], plain)
    assert len(nothing) == 0 and nothing.keypoints.shape == (0, 2, 3)


@pytest.mark.parametrize(
    ("name", "outputs", "parameters", "message"),
    [
        ("rcnn", {"b": (1, 2, 4), "s": (1, 3, 2)}, {"outputs": ROLES}, r"must be \(batch, R, 4 · classes\)"),
        ("rcnn", {"b": (1, 2, 12), "s": (1, 2, 3)}, {"outputs": ROLES}, r"says \[1, 2, 12\] and \[1, 2, 3\]"),
        ("rcnn", {"b": (1, 2, 4), "s": (1, 2, 2)}, {}, r"needs outputs = \{boxes: NAME, scores: NAME\}"),
        ("mask", {"b": (1, 2, 4), "s": (1, 2), "c": (1, 2), "m": (1, 2, 4)}, {"outputs": MASK_ROLES}, "decoder 'mask'"),
        ("mask", {"b": (1, 2, 4), "s": (1, 2), "c": (1, 2), "m": (1, 2, 4, 4), "k": (1, 2, 8, 8, 3)},
         {"outputs": {**MASK_ROLES, "keypoints": "k"}, "skeleton": [[0, 3]]}, "must join keypoints 0..2"),
    ],
)  # fmt: skip
def test_refused(
    name: str, outputs: dict[str, Any], parameters: dict[str, Any], message: str, decoder: Make, one_line: Any
) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        decoder(name, outputs, **parameters)
    one_line(caught)
