"""What is learned of a picture, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgecv.two_stage.sampling import anchor_targets, keypoint_targets, mask_targets, region_targets


def draws() -> np.random.Generator:
    return np.random.default_rng(0)


def test_anchors_by_hand() -> None:
    """Four anchors in a row and one box; the last anchor leaves the picture."""
    anchors = np.float32([[8, 8, 16, 16], [24, 8, 16, 16], [40, 8, 16, 16], [56, 8, 20, 16]])
    labels, offsets = anchor_targets(anchors, [[18, 0, 34, 16]], (16, 64), draws())
    # The box overlaps the second by 14/18 > 0.7, the third by 0.
    assert labels.tolist() == [0, 1, 0, -1]
    np.testing.assert_allclose(offsets[1], [(26 - 24) / 16 / 0.1, 0, 0, 0], atol=1e-6)
    assert not offsets[[0, 2, 3]].any()


def test_the_best_anchor_of_a_box_learns_it_however_little_they_overlap() -> None:
    anchors = np.float32([[8, 8, 16, 16], [24, 8, 16, 16]])
    labels, _ = anchor_targets(anchors, [[0, 0, 8, 8]], (16, 32), draws())  # an overlap of 1/4
    assert labels.tolist() == [1, 0]
    nothing, offsets = anchor_targets(anchors, np.zeros((0, 4)), (16, 32), draws())
    assert nothing.tolist() == [0, 0] and not offsets.any()


def test_anchors_are_drawn_half_and_half() -> None:
    grid = np.float32([[x + 0.5, y + 0.5, 8, 8] for y in range(4, 60) for x in range(4, 60)])
    boxes = np.float32([[10, 10, 18, 18], [30, 30, 38, 38]])
    labels, _ = anchor_targets(grid, boxes, (64, 64), draws(), count=20, positive=0.5)
    assert (labels == 1).sum() == 10 and (labels == 0).sum() == 10
    again, _ = anchor_targets(grid, boxes, (64, 64), draws(), count=20, positive=0.5)
    np.testing.assert_array_equal(labels, again)


def test_regions_by_hand() -> None:
    boxes, classes = np.float32([[0, 0, 10, 10], [20, 20, 40, 40]]), np.array([2, 0])
    proposals = np.float32([[0, 0, 10, 12], [20, 20, 30, 40], [50, 50, 60, 60], [0, 0, 0, 0]])
    found = region_targets(proposals, boxes, classes, draws(), count=6, share=0.5, add_truth=False)
    # Overlaps 10/12 and exactly 1/2; the third is background, the fourth nothing.
    assert found.labels.tolist() == [3, 1, 0, -1, -1, -1] and found.objects.tolist() == [0, 1, -1, -1, -1, -1]
    np.testing.assert_array_equal(found.regions[:3], proposals[:3])
    np.testing.assert_allclose(found.offsets[0], [0, (5 - 6) / 12 / 0.1, 0, np.log(10 / 12) / 0.2], atol=1e-5)
    np.testing.assert_allclose(found.offsets[1], [(30 - 25) / 10 / 0.1, 0, np.log(2) / 0.2, 0], atol=1e-5)
    own = region_targets(proposals, boxes, classes, draws(), count=8, share=0.5)
    assert (own.labels > 0).sum() == 4 and not own.offsets[np.abs(own.offsets).sum(axis=1) == 0].any()


def test_one_object_to_three_of_background() -> None:
    generator = np.random.default_rng(1)
    boxes = np.float32([[40, 40, 60, 60]])
    near = boxes + generator.normal(0, 1.5, (80, 4)).astype(np.float32)
    far = np.concatenate([(c := generator.uniform(0, 30, (80, 2))), c + 8], axis=1).astype(np.float32)
    found = region_targets(np.concatenate([near, far]), boxes, [1], draws(), count=64)
    assert (found.labels == 2).sum() == 16 and (found.labels == 0).sum() == 48
    assert (found.labels[:16] == 2).all()  # objects come first


def test_masks_are_looked_up_at_the_middles_of_cells() -> None:
    mask = np.zeros((1, 8, 8), bool)
    mask[:, 2:6, 2:4] = True
    found = mask_targets(mask, np.float32([[2, 2, 6, 6]]), 4)
    np.testing.assert_array_equal(found[0], np.float32([[1, 1, 0, 0]] * 4))
    outside = mask_targets(mask, np.float32([[-4, -4, 12, 12]]), 4)  # cells of 4×4 pixels, middles at -2, 2, 6, 10
    assert outside[0, 1, 1] == 1 and outside.sum() == 1


def test_keypoints_fall_into_cells() -> None:
    points = np.float32([[[2, 2, 1], [5.9, 3, 1], [6, 6, 1], [7, 3, 1], [3, 3, 0]]])
    found = keypoint_targets(points, np.float32([[2, 2, 6, 6]]), 4)
    assert found.tolist() == [[0, 1 * 4 + 3, 15, -1, -1]]  # the far edge belongs to the last cell
    assert pytest.approx(found[0, 2]) == 15
