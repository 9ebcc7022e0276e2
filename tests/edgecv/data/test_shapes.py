"""The drawn shapes: reproducible, and their boxes, masks and keypoints say what the pictures show."""

from __future__ import annotations

import numpy as np
import pytest

from edgecv.data.shapes import SHAPE_CLASSES, ShapesSample, generate_shapes
from edgecv_runtime.errors import InputError


@pytest.fixture(scope="module")
def samples() -> list[ShapesSample]:
    return generate_shapes(60, size=96, seed=3)


def test_shapes_and_types(samples: list[ShapesSample]) -> None:
    for sample in samples:
        count = len(sample)
        assert 1 <= count <= 3
        assert (sample.image.shape, sample.image.dtype) == ((96, 96, 3), np.uint8)
        assert (sample.boxes.shape, sample.boxes.dtype) == ((count, 4), np.float32)
        assert (sample.classes.shape, sample.classes.dtype) == ((count,), np.int64)
        assert (sample.masks.shape, sample.masks.dtype) == ((count, 96, 96), np.bool_)
        assert (sample.keypoints.shape, sample.keypoints.dtype) == ((count, 4, 3), np.float32)


def test_same_seed_same_pictures_and_a_longer_call_begins_with_a_shorter_one(samples: list[ShapesSample]) -> None:
    for sample, again in zip(samples, generate_shapes(3, size=96, seed=3), strict=False):
        for name in ("image", "boxes", "classes", "masks", "keypoints"):
            np.testing.assert_array_equal(getattr(sample, name), getattr(again, name))
    assert (generate_shapes(1, seed=4)[0].image != samples[0].image).any()


def test_boxes_are_tight_around_what_is_seen(samples: list[ShapesSample]) -> None:
    for sample in samples:
        for box, mask in zip(sample.boxes.astype(int).tolist(), sample.masks, strict=True):
            x1, y1, x2, y2 = box
            inside = mask[y1:y2, x1:x2]
            assert inside.sum() == mask.sum()
            assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


def test_no_pixel_belongs_to_two_shapes(samples: list[ShapesSample]) -> None:
    assert max(int(sample.masks.sum(axis=0).max()) for sample in samples) == 1


def test_areas_are_the_classes_own() -> None:
    """What a shape covers of its box, alone in its picture: π/4, all (when it is not turned), one half."""
    shares: dict[int, list[float]] = {0: [], 1: [], 2: []}
    for sample in generate_shapes(150, size=128, seed=5, max_shapes=1):
        x1, y1, x2, y2 = sample.boxes[0]
        if x2 - x1 > 30:  # small ones are a matter of single pixels
            shares[int(sample.classes[0])].append(float(sample.masks[0].sum() / ((x2 - x1) * (y2 - y1))))
    assert np.allclose(shares[0], np.pi / 4, atol=0.03)
    # Turned by t, a square of side 1 has a box of side cos t + sin t: at 15°, 1 / 1.5 of it is covered.
    assert min(shares[1]) > 1 / 1.5 - 0.03
    assert max(shares[1]) > 0.93
    assert 0.38 < min(shares[2]) < max(shares[2]) < 0.55


def test_sizes_and_classes_vary_as_promised(samples: list[ShapesSample]) -> None:
    boxes = np.concatenate([sample.boxes for sample in samples])
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    # A turned square reaches √1.5 times its side; a tip may lose a pixel, and a neighbour may cover a part.
    assert 9 <= sides.min() < 16
    assert 40 < sides.max() <= 48 * 1.25
    assert set(np.concatenate([sample.classes for sample in samples]).tolist()) == set(range(len(SHAPE_CLASSES)))


def test_keypoints_lie_where_their_names_say(samples: list[ShapesSample]) -> None:
    for sample in samples:
        for box, points in zip(sample.boxes, sample.keypoints, strict=True):
            if not points[:, 2].all():
                continue
            (top, right, bottom, left), middle = points[:, :2], (box[:2] + box[2:]) / 2
            assert top[1] < middle[1] < bottom[1]
            assert left[0] < middle[0] < right[0]
            assert (points[:, :2] >= box[:2] - 1.5).all()
            assert (points[:, :2] <= box[2:] + 1.5).all()


def test_a_covered_keypoint_is_marked() -> None:
    samples = generate_shapes(120, seed=6)
    hidden = [sample for sample in samples if not sample.keypoints[..., 2].all()]
    assert hidden
    for sample in hidden:
        # A shape in front covers the point: it lies in, or at the edge of, another mask.
        for index, point in np.argwhere(sample.keypoints[..., 2] == 0):
            x, y = sample.keypoints[index, point, :2]
            others = sample.masks[np.arange(len(sample)) != index].any(axis=0)
            assert others[max(0, int(y) - 2) : int(y) + 3, max(0, int(x) - 2) : int(x) + 3].any()


def test_shapes_stand_out_from_their_background(samples: list[ShapesSample]) -> None:
    for sample in samples:
        free = ~sample.masks.any(axis=0)
        for box, mask in zip(sample.boxes.astype(int), sample.masks, strict=True):
            around = np.zeros_like(free)
            around[max(0, box[1] - 4) : box[3] + 4, max(0, box[0] - 4) : box[2] + 4] = True
            apart = sample.image[mask].mean(axis=0) - sample.image[around & free].mean(axis=0)
            assert np.linalg.norm(apart) > 40


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "count must be at least 1; received 0"),
        ({"count": 1, "size": 16}, "size must be at least 32; received 16"),
        ({"count": 1, "seed": -1}, "seed must be at least 0; received -1"),
        ({"count": 1, "max_shapes": 0}, "max_shapes must be at least 1; received 0"),
    ],
)
def test_refused(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        generate_shapes(**arguments)
