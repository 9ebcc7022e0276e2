from __future__ import annotations

import numpy as np
import pytest

from edgecv_runtime.tracking.kalman import BoxFilter


def test_a_new_box_stays_where_it_is() -> None:
    box = np.array([10.0, 20.0, 30.0, 60.0])
    one = BoxFilter(box)
    one.predict()
    assert one.box == pytest.approx(box)


def test_velocity_is_learned_and_kept_without_sight() -> None:
    one = BoxFilter(np.array([0.0, 0, 20, 40]))
    for step in range(1, 31):
        one.predict()
        one.update(np.array([3.0 * step, 0, 20 + 3 * step, 40]))
    one.predict(5)  # five frames unseen, 3 pixels each
    assert one.box == pytest.approx([105, 0, 125, 40], abs=1.0)


def test_one_step_by_hand() -> None:
    """Height 40: position spread 2 × 2 = 4, velocity 10 × 0.25 = 2.5; noise of a step 2 and 0.25, of a sight 2."""
    one = BoxFilter(np.array([0.0, 0, 20, 40]))
    one.predict()
    variance = 4.0**2 + 2.5**2 + 2.0**2
    assert one.covariance[0, 0] == pytest.approx(variance)
    one.update(np.array([10.0, 0, 30, 40]))
    gain = variance / (variance + 2.0**2)
    assert one.mean[0] == pytest.approx(10 + gain * 10)
    assert one.covariance[0, 0] == pytest.approx((1 - gain) * variance)


def test_a_flat_box_does_not_break_it() -> None:
    one = BoxFilter(np.array([5.0, 5, 5, 5]))
    one.predict(100)
    one.update(np.array([5.0, 5, 6, 6]))
    assert np.isfinite(one.box).all()
