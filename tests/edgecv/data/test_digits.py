"""The drawn digits: reproducible, balanced, and drawn as MNIST draws them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from edgecv.data import DIGIT_SIZE, digits, draw_digits
from edgecv_runtime.errors import InputError


def test_shape_type_and_range() -> None:
    images, labels = draw_digits(30, seed=0)
    assert images.shape == (30, DIGIT_SIZE, DIGIT_SIZE) == (30, 32, 32)
    assert images.dtype == np.uint8
    assert labels.shape == (30,)
    assert labels.dtype == np.int64
    assert images.flags.c_contiguous


def test_same_seed_same_images_and_other_seed_other_images() -> None:
    images, labels = draw_digits(40, seed=7)
    again, labels_again = draw_digits(40, seed=7)
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(labels, labels_again)
    others, other_labels = draw_digits(40, seed=8)
    assert (labels != other_labels).any()
    assert all((image != other).any() for image, other in zip(images, others, strict=True))


def test_no_global_random_state_is_used() -> None:
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    first, _ = draw_digits(10, seed=3)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    np.random.seed(2)
    np.testing.assert_array_equal(draw_digits(10, seed=3)[0], first)


def test_a_longer_call_begins_with_the_shorter_one() -> None:
    images, labels = draw_digits(13, seed=4)
    more, more_labels = draw_digits(50, seed=4)
    np.testing.assert_array_equal(more[:13], images)
    np.testing.assert_array_equal(more_labels[:13], labels)


@pytest.mark.parametrize("count", [1, 9, 10, 11, 100, 104])
def test_digits_are_balanced(count: int) -> None:
    _, labels = draw_digits(count, seed=5)
    occurrences = np.bincount(labels, minlength=10)
    assert occurrences.sum() == count
    assert occurrences.max() - occurrences.min() <= 1
    for start in range(0, count - 9, 10):
        assert sorted(labels[start : start + 10].tolist()) == list(range(10))


def test_white_ink_on_black_in_the_middle() -> None:
    images, _ = draw_digits(500, seed=6)
    # MNIST's own mean, 33.3 on 28×28, is 25.5 on 32×32: the drawings carry about as much ink.
    assert 15 < images.mean() < 35
    assert (images.max(axis=(1, 2)) > 150).mean() > 0.97
    border = np.ones((32, 32), bool)
    border[2:-2, 2:-2] = False
    assert images[:, border].mean() < 5
    ink = np.where(images > 100, images, 0).astype(np.float64)
    weight = ink.sum(axis=(1, 2))
    where = np.arange(32) - 15.5
    offset = np.stack([(ink * where).sum(axis=(1, 2)), (ink * where[:, None]).sum(axis=(1, 2))]) / weight
    assert np.abs(offset).max() < 5
    assert np.abs(offset.mean(axis=1)).max() < 0.7


def test_every_digit_has_several_hands_and_every_path_is_well_formed() -> None:
    assert len(digits._HANDS) == 10
    for hands in digits._HANDS:
        assert len(set(hands)) == len(hands) >= 3
        for path in hands:
            assert re.fullmatch(r"(?:[MLC](?: -?\d+)+ ?)+", path)
            for stroke in digits._strokes(path):
                assert len(stroke) % 3 == 1
                assert len(stroke) >= 4
                assert stroke.min() >= -5
                assert stroke.max() <= 105


def test_a_straight_line_becomes_the_same_line() -> None:
    (stroke,) = digits._strokes("M 0 0 L 30 60")
    np.testing.assert_allclose(stroke, [(0, 0), (10, 20), (20, 40), (30, 60)], atol=1e-12)


def test_drawings_of_a_digit_differ_as_handwriting_does() -> None:
    images, labels = draw_digits(300, seed=9)
    for digit in range(10):
        same = images[labels == digit].reshape(30, -1).astype(np.float64)
        likeness = np.corrcoef(same)[np.triu_indices(30, 1)]
        assert likeness.max() < 0.995
        assert likeness.mean() < 0.85


@pytest.mark.parametrize(
    ("count", "seed", "message"),
    [(0, 0, "count must be at least 1; received 0"), (-3, 0, "count must be"), (5, -1, "seed must not be negative")],
)
def test_bad_arguments_are_refused(count: int, seed: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        draw_digits(count, seed)
