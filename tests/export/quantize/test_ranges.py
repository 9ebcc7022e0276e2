"""Range estimators, by hand and on distributions whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from edgecv_export.quantize.affine import Range
from edgecv_export.quantize.ranges import minmax_range, mse_range, widened


def error(range_: Range, values: np.ndarray) -> float:
    return float(np.mean((range_.fake_quantize(values) - values) ** 2))


def test_minmax() -> None:
    assert minmax_range(np.array([-2.0, 0.5, 3.0], np.float32)) == Range(-2.0, 3.0)
    assert minmax_range(np.array([1.0, 3.0], np.float32)) == Range(0.0, 3.0)


def test_uniform_values_need_the_whole_range() -> None:
    values = np.random.default_rng(0).uniform(-1, 3, 50_000).astype(np.float32)
    assert mse_range(values) == minmax_range(values)


def test_rare_large_values_are_cut_off() -> None:
    values = np.random.default_rng(0).standard_t(3, 50_000).astype(np.float32)
    chosen, full = mse_range(values), minmax_range(values)
    assert full.low < chosen.low < 0 < chosen.high < full.high
    assert error(chosen, values) < error(full, values)
    assert chosen.low / full.low == pytest.approx(chosen.high / full.high)


@pytest.mark.parametrize(("count", "expected"), [(10_000, 1.975), (250_000, 1.515)])
def test_one_outlier_by_hand(count: int, expected: float) -> None:
    """`count` values evenly over 0..1 and one of 2.

    A range of 0..c costs (2 - c)² / count for the clipped value and c² / (12 · 255²) for rounding; the sum is least
    at c = 2 / (1 + count / 780,300).
    """
    values = np.append(np.linspace(0, 1, count), 2).astype(np.float32)
    assert mse_range(values).high == pytest.approx(expected, abs=0.02)  # the search goes in steps of 0.02


def test_a_range_after_relu_starts_at_zero() -> None:
    values = np.maximum(np.random.default_rng(0).standard_t(3, 20_000), 0).astype(np.float32)
    assert mse_range(values).low == 0.0


def test_zeros_alone_have_a_range() -> None:
    assert mse_range(np.zeros(100, np.float32)).scale > 0


def test_widened_by_hand() -> None:
    assert widened(Range(-1.0, 3.0), 0.1) == Range(-1.2, 3.2)
    grown = widened(Range(0.0, 4.0), 0.1)
    assert (grown.low, grown.high) == (0.0, pytest.approx(4.2))
    assert widened(Range(-2.0, 0.0), 0.5) == Range(-2.5, 0.0)
    assert widened(Range(-1.0, 1.0), 0.0) == Range(-1.0, 1.0)
