from __future__ import annotations

import numpy as np
import pytest

from edgecv_export.quantize.aware.augment import Augmentation
from edgecv_runtime.errors import InputError


def picture() -> np.ndarray:
    return np.arange(8 * 8 * 3, dtype=np.uint8).reshape(1, 8, 8, 3)


def test_nothing_is_the_default() -> None:
    assert not Augmentation().changes
    assert Augmentation().apply(picture(), np.random.default_rng(0)) is not None
    np.testing.assert_array_equal(Augmentation().apply(picture(), np.random.default_rng(0)), picture())


def test_every_second_picture_is_mirrored() -> None:
    pictures = np.repeat(picture(), 400, axis=0)
    changed = Augmentation(mirror=True).apply(pictures, np.random.default_rng(0))
    mirrored = (changed == picture()[:, :, ::-1]).all(axis=(1, 2, 3))
    assert ((changed == picture()).all(axis=(1, 2, 3)) ^ mirrored).all()
    assert 160 < mirrored.sum() < 240


def test_shifts_reach_as_far_as_said_and_reflect_the_edge() -> None:
    pictures = np.repeat(picture(), 300, axis=0)
    changed = Augmentation(shift=0.25).apply(pictures, np.random.default_rng(0))
    # A quarter of eight is two pixels; the reflection of row 1 and 2 lies before row 0.
    rows = {int(value) for value in changed[:, 4, 4, 0]}
    wanted = {int(picture()[0, 4 + y, 4 + x, 0]) for y in range(-2, 3) for x in range(-2, 3)}
    assert rows == wanted
    corner = np.pad(picture()[0, :, :, 0], 2, mode="reflect")[:5, :5]
    assert {int(value) for value in changed[:, 0, 0, 0]} == {int(value) for value in corner.ravel()}


def test_the_argument_is_left_alone_and_the_seed_decides() -> None:
    pictures = np.repeat(picture(), 20, axis=0)
    both = [Augmentation(True, 0.2).apply(pictures, np.random.default_rng(5)) for _ in range(2)]
    np.testing.assert_array_equal(*both)
    np.testing.assert_array_equal(pictures, np.repeat(picture(), 20, axis=0))


def test_a_shift_beyond_half_the_side_is_refused() -> None:
    with pytest.raises(InputError, match="0 to 0.5; received 0.6"):
        Augmentation(shift=0.6)
