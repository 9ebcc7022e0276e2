"""Boxes inside a graph against the runtime's suppression and numpy's box coding."""

from __future__ import annotations

import numpy as np
import pytest

from edgecv.detection.boxes import decode_boxes, to_centres
from edgecv.layers.proposals import (
    ROUNDS,
    DecodeRegions,
    Proposals,
    SelectDetections,
    greedy_keep,
    pixel_anchors,
    take_rows,
)
from edgecv.layers.roi_heads import MaskOfClass, RegionRows, RegionScores
from edgecv_runtime.errors import InputError
from edgecv_runtime.suppression import suppress


def boxes_of(generator: np.random.Generator, count: int, spread: float = 100.0) -> np.ndarray:
    corner = generator.uniform(0, spread, (count, 2))
    return np.concatenate([corner, corner + generator.uniform(1, 40, (count, 2))], axis=1).astype(np.float32)


@pytest.mark.parametrize(("count", "threshold"), [(1, 0.5), (7, 0.1), (60, 0.5), (300, 0.1), (300, 0.7), (1000, 0.5)])
def test_suppression_equals_the_runtime_s(count: int, threshold: float) -> None:
    generator = np.random.default_rng(count)
    boxes = np.stack([boxes_of(generator, count, spread) for spread in (20.0, 100.0)])
    kinds = generator.integers(0, 3, (2, count))
    scores = np.linspace(1, 0.5, count, dtype=np.float32)
    for classes in (None, kinds):
        kept = np.asarray(greedy_keep(boxes, threshold, None if classes is None else classes.astype(np.float32)))
        for row in range(2):
            own = None if classes is None else classes[row]
            expected = suppress(boxes[row], scores, threshold, classes=own).indices
            np.testing.assert_array_equal(np.flatnonzero(kept[row] > 0.5), np.sort(expected))


def test_a_chain_settles_link_by_link() -> None:
    """Each box overlaps only its neighbours: every second one stays, and each round settles two links."""
    count = ROUNDS
    left = 4.0 * np.arange(count)
    chain = np.stack([left, np.zeros(count), left + 10, np.full(count, 10.0)], axis=1).astype(np.float32)[None]
    kept = np.asarray(greedy_keep(chain, 0.4))[0]
    np.testing.assert_array_equal(kept, np.arange(count) % 2 == 0)
    longer = np.concatenate([chain, chain + np.float32([4.0 * count, 0, 4.0 * count, 0])], axis=1)
    np.testing.assert_array_equal(
        np.asarray(greedy_keep(longer, 0.4, rounds=2 * count))[0], np.arange(2 * count) % 2 == 0
    )


def test_proposals_are_the_best_anchors_decoded_clipped_and_suppressed() -> None:
    generator = np.random.default_rng(0)
    shapes, size = [(16, 16), (24, 12), (40, 40)], (48, 64)
    layer = Proposals((6, 8), shapes, size, count=20, candidates=100, iou_threshold=0.6)
    anchors = pixel_anchors((6, 8), shapes, size)
    assert layer.anchors.shape == (144, 4)
    np.testing.assert_array_equal(anchors[4], [12, 4, 24, 12])  # cell (0, 1), the second shape
    objects = generator.uniform(0.01, 0.99, (2, 144)).astype(np.float32)
    offsets = generator.normal(0, 1, (2, 144, 4)).astype(np.float32)
    logits = np.log(np.stack([1 - objects, objects], axis=-1)) + generator.normal(0, 3, (2, 144, 1))  # a common part
    found, scores = (np.asarray(t) for t in layer([logits.astype(np.float32), offsets]))
    assert found.shape == (2, 20, 4) and scores.shape == (2, 20)
    for row in range(2):
        order = np.argsort(-objects[row], kind="stable")[:100]
        decoded = decode_boxes(offsets[row, order], anchors[order])
        decoded = np.clip(decoded, 0, [64, 48, 64, 48]).astype(np.float32)
        kept = suppress(decoded, objects[row, order], 0.6).indices
        kept = kept[((decoded[kept, 2:] - decoded[kept, :2]) >= 1).all(axis=1)][:20]
        np.testing.assert_allclose(found[row, : len(kept)], decoded[kept], atol=1e-3)
        np.testing.assert_allclose(scores[row, : len(kept)], objects[row, order[kept]], atol=1e-5)
        assert not found[row, len(kept) :].any() and not scores[row, len(kept) :].any()


def test_sure_anchors_are_told_apart() -> None:
    """Both probabilities are 1 in float32; the surer one comes first."""
    layer = Proposals((1, 2), [(8, 8)], (8, 16), count=2, candidates=2)
    logits = np.float32([[[-20, 20], [-30, 30]]])
    found, scores = (np.asarray(t) for t in layer([logits, np.zeros((1, 2, 4), np.float32)]))
    assert scores.tolist() == [[1, 1]]
    assert found[0].tolist() == [[8, 0, 16, 8], [0, 0, 8, 8]]


def test_regions_decode_class_by_class() -> None:
    generator = np.random.default_rng(1)
    regions = np.stack([boxes_of(generator, 5, 50) for _ in range(2)])
    offsets = generator.normal(0, 1, (2, 5, 12)).astype(np.float32)
    found = np.asarray(DecodeRegions((100, 100))([regions, offsets])).reshape(2, 5, 3, 4)
    centres = np.repeat(to_centres(regions)[:, :, None], 3, axis=2)
    expected = np.clip(decode_boxes(offsets.reshape(2, 5, 3, 4), centres), 0, 100)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_detections_are_suppressed_class_by_class() -> None:
    """One region for both classes: a class does not suppress the other; a worse region of the class goes."""
    boxes = np.float32([[[0, 0, 10, 10, 0, 0, 10, 10], [1, 0, 11, 10, 50, 50, 60, 60], [0, 0, 0, 0, 0, 0, 0, 0]]])
    scores = np.float32([[[0.1, 0.5, 0.4], [0, 0.7, 0.3], [0, 0, 0]]])
    found, best, kinds = (np.asarray(t) for t in SelectDetections(4, 6)([boxes, scores]))
    np.testing.assert_array_equal(found[0], [[1, 0, 11, 10], [0, 0, 10, 10], [50, 50, 60, 60], [0, 0, 0, 0]])
    np.testing.assert_allclose(best[0], [0.7, 0.4, 0.3, 0])
    np.testing.assert_array_equal(kinds[0], [0, 1, 1, 0])


def test_small_layers_by_hand() -> None:
    table = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    np.testing.assert_array_equal(
        np.asarray(take_rows(table, np.array([[2, 0], [1, 1]]))), [[[4, 5], [0, 1]], [[8, 9], [8, 9]]]
    )
    assert RegionRows(3)(np.zeros((6, 2, 2, 5))).shape == (2, 3, 2, 2, 5)
    assert RegionRows(3, flat=True)(np.zeros((6, 2, 2, 5))).shape == (2, 3, 20)
    regions = np.float32([[[0, 0, 4, 4], [0, 0, 0, 0]]])
    shares = np.asarray(RegionScores()([np.log(np.float32([[[1, 3], [1, 3]]])), regions]))
    np.testing.assert_allclose(shares, [[[0.25, 0.75], [0, 0]]], rtol=1e-6)
    logits = np.zeros((1, 2, 1, 1, 3), np.float32)
    logits[0, :, 0, 0] = [0, np.log(3), -np.log(3)]
    chosen = np.asarray(MaskOfClass()([logits, np.float32([[1, 2]])]))
    np.testing.assert_allclose(chosen[0, :, 0, 0], [0.75, 0.25], rtol=1e-6)


def test_settings_survive_and_are_checked() -> None:
    layer = Proposals((2, 2), [(4, 4)], (8, 8), 3, 4, name="p")
    assert Proposals.from_config(layer.get_config()).get_config() == layer.get_config()
    with pytest.raises(InputError, match="count and candidates must be at least 1; received 0 and 5"):
        Proposals((2, 2), [(4, 4)], (8, 8), 0, 5)
    with pytest.raises(InputError, match="count and candidates must be at least 1"):
        SelectDetections(0)
