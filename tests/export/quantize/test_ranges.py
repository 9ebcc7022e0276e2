"""Range estimators, by hand and on distributions whose answer is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from edgecv_export.quantize.affine import FloatArray, Range
from edgecv_export.quantize.histogram import Histogram
from edgecv_export.quantize.ranges import (
    ESTIMATORS,
    entropy_range,
    estimate_ranges,
    minmax_range,
    mse_range,
    percentile_range,
    widened,
)
from edgecv_runtime.errors import InputError

CUTTING = tuple(name for name in ESTIMATORS if name != "minmax")


def histogram(values: np.ndarray) -> Histogram:
    """Of an array in one piece: small enough to be counted completely."""
    made = Histogram(minmax_range(values.astype(np.float32)))
    for start in range(0, len(values), 60_000):
        made.add(values[start : start + 60_000].astype(np.float32))
    return made


def batches(*images: dict[str, Any]) -> Callable[[], Iterator[dict[str, FloatArray]]]:
    return lambda: iter([{name: np.asarray(values, np.float32) for name, values in image.items()} for image in images])


def error(range_: Range, values: np.ndarray) -> float:
    return float(np.mean((range_.fake_quantize(values) - values) ** 2))


# -- min-max -------------------------------------------------------------------------------------------------------


def test_minmax() -> None:
    assert minmax_range(np.array([-2.0, 0.5, 3.0], np.float32)) == Range(-2.0, 3.0)
    assert minmax_range(np.array([1.0, 3.0], np.float32)) == Range(0.0, 3.0)


def test_minmax_goes_over_all_images_and_names() -> None:
    images = batches({"a": [[1.0, 2.0]], "b": [-1.0]}, {"a": [[-4.0, 0.5]], "b": [-3.0]})
    assert estimate_ranges(images, "minmax") == {"a": Range(-4.0, 2.0), "b": Range(-3.0, 0.0)}


def test_minmax_reads_the_images_once() -> None:
    calls = []

    def once() -> Iterator[dict[str, FloatArray]]:
        calls.append(1)
        yield {"a": np.ones(3, np.float32)}

    estimate_ranges(once, "minmax")
    assert len(calls) == 1
    estimate_ranges(once, "mse")
    assert len(calls) == 3


# -- percentile ----------------------------------------------------------------------------------------------------


def test_percentile_by_hand() -> None:
    # 0.5 % of 10,000 values, fifty at each end, lie outside; values are evenly spaced over -1..1, bins 2/2048 wide
    values = np.linspace(-1, 1, 10_000)
    found = percentile_range(histogram(values), 99.0)
    assert found.low == pytest.approx(-0.99, abs=2 / 2048)
    assert found.high == pytest.approx(0.99, abs=2 / 2048)


def test_percentile_agrees_with_numpy() -> None:
    values = np.random.default_rng(0).standard_t(4, 300_000)
    found = percentile_range(histogram(values))
    low, high = np.percentile(values, [0.005, 99.995])
    bin_width = (values.max() - values.min()) / 2048
    assert found.low == pytest.approx(low, abs=2 * bin_width)
    assert found.high == pytest.approx(high, abs=2 * bin_width)


def test_zeros_count_as_values_for_a_percentile() -> None:
    # Fifteen ones and 5 sevens among 99,980 zeros: 99.99 % are within 1, as five lie above
    values = np.concatenate([np.zeros(99_980), np.ones(15), np.full(5, 7.0)])
    assert percentile_range(histogram(values)).high == pytest.approx(1.0, abs=7 / 2048)


# -- entropy -------------------------------------------------------------------------------------------------------


def reference_entropy_high(counts: np.ndarray) -> int:
    """The published procedure for one-sided values, in plain loops: the bins to keep, in steps of 16."""
    best, kept = np.inf, len(counts)
    for end in range(len(counts), 255, -16):
        reference = counts[:end].astype(float).tolist()
        reference[-1] += float(counts[end:].sum())
        quantized = [0.0] * end
        for level in range(256):
            members = [i for i in range(end) if i * 256 // end == level]
            occupied = [i for i in members if counts[i] > 0]
            for i in occupied:
                quantized[i] = sum(float(counts[j]) for j in occupied) / len(occupied)
        floor = 1e-4 * sum(quantized) / end
        quantized = [max(value, floor) for value in quantized]
        p_sum, q_sum = sum(reference), sum(quantized)
        divergence = sum(
            p / p_sum * np.log((p / p_sum) / (q / q_sum)) for p, q in zip(reference, quantized, strict=True) if p > 0
        )
        if divergence < best:
            best, kept = divergence, end
    return kept


def test_entropy_by_plain_loops() -> None:
    values = np.abs(np.random.default_rng(0).standard_t(3, 60_000))
    values = np.append(values, 0.0)
    one_sided = histogram(values)
    kept = reference_entropy_high(one_sided.counts)
    assert 256 <= kept < 2048
    found = entropy_range(one_sided)
    assert (found.low, found.high) == (0.0, pytest.approx(one_sided.edges[kept]))


def test_entropy_keeps_a_flat_distribution() -> None:
    values = np.linspace(-1, 3, 60_000)
    assert entropy_range(histogram(values)) == minmax_range(values.astype(np.float32))


def test_entropy_of_two_tails() -> None:
    generator = np.random.default_rng(0)
    values = np.concatenate([generator.normal(0, 1, 50_000), [-30.0, 60.0]])
    found = entropy_range(histogram(values))
    assert -12 < found.low < -3
    assert 3 < found.high < 12


# -- mean squared error --------------------------------------------------------------------------------------------


def test_uniform_values_need_the_whole_range() -> None:
    values = np.random.default_rng(0).uniform(-1, 3, 50_000).astype(np.float32)
    found = mse_range(histogram(values))
    # within two of 256 levels: the zero point, being a whole level, shifts the ends a little
    assert (found.low, found.high) == (pytest.approx(-1, abs=8 / 255), pytest.approx(3, abs=8 / 255))


def test_rare_large_values_are_cut_off() -> None:
    values = np.random.default_rng(0).standard_t(3, 50_000).astype(np.float32)
    chosen, full = mse_range(histogram(values)), minmax_range(values)
    assert full.low < chosen.low < 0 < chosen.high < full.high
    assert error(chosen, values) < error(full, values)


def test_near_the_best_of_all_ranges() -> None:
    values = np.random.default_rng(2).gumbel(0, 1, 50_000).astype(np.float32)
    full = minmax_range(values)
    grid = [(low, high) for low in np.linspace(0.4, 1, 25) for high in np.linspace(0.4, 1, 25)]
    least = min(error(Range(full.low * low, full.high * high), values) for low, high in grid)
    assert error(mse_range(histogram(values)), values) <= 1.02 * least


@pytest.mark.parametrize(("count", "expected"), [(10_000, 1.975), (250_000, 1.515)])
def test_one_outlier_by_hand(count: int, expected: float) -> None:
    """`count` values evenly over 0..1 and one of 2.

    A range of 0..c costs (2 - c)² / count for the clipped value and c² / (12 · 255²) for rounding; the sum is least
    at c = 2 / (1 + count / 780,300).
    """
    values = np.append(np.linspace(0, 1, count), 2).astype(np.float32)
    assert mse_range(histogram(values)).high == pytest.approx(expected, abs=0.02)  # the search goes in steps of 0.02


def test_each_end_is_searched_by_its_own() -> None:
    # as behind a swish: a short low side that is densely filled, and a long, thin high one
    generator = np.random.default_rng(0)
    values = np.concatenate([generator.uniform(-0.28, 0, 50_000), generator.exponential(0.5, 50_000), [40.0]])
    found = mse_range(histogram(values))
    assert found.low == pytest.approx(-0.28, rel=0.02)
    # the one value of 40 is clipped at c = 40 / (1 + 100,001 / 780,300), as above
    assert found.high == pytest.approx(35.5, abs=0.8)


# -- what holds for all of them ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ESTIMATORS)
def test_a_range_after_relu_starts_at_zero(method: str) -> None:
    values = np.maximum(np.random.default_rng(0).standard_t(3, 20_000), 0)
    found = estimate_ranges(batches({"relu": values}), method)["relu"]
    assert found.low == 0.0
    assert found.high > 3


@pytest.mark.parametrize("method", ESTIMATORS)
def test_the_hard_end_of_a_relu6_is_kept(method: str) -> None:
    values = np.clip(np.random.default_rng(0).normal(0, 2, 100_000), 0, 6)  # 0.13 % are cut to six
    assert 0.0005 < np.mean(values == 6) < 0.002
    assert estimate_ranges(batches({"relu6": values}), method)["relu6"] == Range(0.0, 6.0)


@pytest.mark.parametrize("method", CUTTING)
def test_a_rare_value_is_not_kept(method: str) -> None:
    images = np.random.default_rng(0).normal(0, 1, (10, 50_000))
    images[3, 7] = 80.0
    found = estimate_ranges(batches(*({"values": image} for image in images)), method)["values"]
    assert 2 < found.high < 60  # the mean squared error is least at 80 / (1 + 500,000 / 780,300) = 48.8
    assert -8 < found.low < -2


@pytest.mark.parametrize("method", ESTIMATORS)
def test_zeros_alone_have_a_range(method: str) -> None:
    assert estimate_ranges(batches({"zeros": np.zeros(100)}), method)["zeros"].scale > 0


@pytest.mark.parametrize("method", ESTIMATORS)
def test_values_below_zero_alone(method: str) -> None:
    values = -np.abs(np.random.default_rng(0).normal(0, 1, 20_000)) - 0.5
    found = estimate_ranges(batches({"low": values}), method)["low"]
    assert found.high == 0.0
    assert -6 < found.low < -2


@pytest.mark.parametrize("method", ESTIMATORS)
def test_images_one_at_a_time_are_as_good_as_all_at_once(method: str) -> None:
    values = np.random.default_rng(0).normal(0, 1, (4, 10_000))
    apart = estimate_ranges(batches(*({"x": image} for image in values)), method)["x"]
    together = estimate_ranges(batches({"x": values}), method)["x"]
    assert (apart.low, apart.high) == (together.low, together.high)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(InputError, match="must be one of minmax, percentile, entropy, mse; received 'median'"):
        estimate_ranges(batches({"a": [1.0]}), "median")


def test_no_image_is_refused() -> None:
    with pytest.raises(InputError, match="at least one calibration image is required"):
        estimate_ranges(batches(), "minmax")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(value: float) -> None:
    with pytest.raises(InputError, match="'broken' is not"):
        estimate_ranges(batches({"broken": [1.0, value]}), "minmax")


def test_widened_by_hand() -> None:
    assert widened(Range(-1.0, 3.0), 0.1) == Range(-1.2, 3.2)
    grown = widened(Range(0.0, 4.0), 0.1)
    assert (grown.low, grown.high) == (0.0, pytest.approx(4.2))
    assert widened(Range(-2.0, 0.0), 0.5) == Range(-2.5, 0.0)
    assert widened(Range(-1.0, 1.0), 0.0) == Range(-1.0, 1.0)
