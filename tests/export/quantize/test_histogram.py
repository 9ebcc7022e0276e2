"""Histograms: counts by hand, against numpy, and evenly drawn from large arrays."""

from __future__ import annotations

import numpy as np
import pytest

from edgecv_export.quantize.affine import Range
from edgecv_export.quantize.histogram import BINS, Histogram


def test_counts_by_hand() -> None:
    # bins of one: -1024..1024
    histogram = Histogram(Range(-1024.0, 1024.0))
    histogram.add(np.array([-1024.0, -0.5, 0.0, 0.0, 0.5, 1.5, 1.75, 1024.0], np.float32))
    found = {int(index): int(histogram.counts[index]) for index in np.flatnonzero(histogram.counts)}
    assert found == {0: 1, 1023: 1, 1024: 1, 1025: 2, 2047: 1}
    assert (histogram.zeros, histogram.total, histogram.zero_bin) == (2, 8, 1024)


def test_as_numpy_counts() -> None:
    values = np.random.default_rng(0).normal(0, 1, 50_000).astype(np.float32)
    histogram = Histogram(Range(float(values.min()), float(values.max())))
    histogram.add(values.reshape(5, 10, 1000))
    expected, edges = np.histogram(values, BINS, (histogram.full.low, histogram.full.high))
    np.testing.assert_allclose(histogram.edges, edges)
    # Values on an edge may fall to either side.
    assert np.abs(np.cumsum(histogram.counts) - np.cumsum(expected)).max() <= 5


def test_a_large_array_is_drawn_from_evenly() -> None:
    # Sixteen channels of one value each: whatever part is taken must hold all of them alike.
    values = np.broadcast_to(np.arange(1, 17, dtype=np.float32), (200, 200, 16))
    histogram = Histogram(Range(0.0, 16.0))
    histogram.add(np.ascontiguousarray(values))
    counts = histogram.counts[histogram.counts > 0]
    assert len(counts) == 16
    assert histogram.total <= 65_536
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(("share", "hard"), [(0.0002, False), (0.01, True)])
def test_a_hard_end_is_where_many_values_lie(share: float, hard: bool) -> None:
    values = np.concatenate([np.linspace(0, 5, 50_000), np.full(int(share * 50_000), 6.0)]).astype(np.float32)
    histogram = Histogram(Range(0.0, 6.0))
    histogram.add(values)
    assert histogram.hard_high is hard
    assert histogram.hard_low is True  # zero
