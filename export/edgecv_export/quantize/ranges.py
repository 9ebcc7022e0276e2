"""Which interval should 256 levels cover? Range estimators for activations.

A wide range rounds coarsely, a narrow one clips. Min-max never clips what calibration has seen; the others give up
rare values for finer steps. None cuts off an end where many values lie (ReLU6 at its six), nor a zero.

References
----------
Nagel et al. 2021, "A White Paper on Neural Network Quantization", section 3.1: min-max and mean-squared error.
Migacz 2017, "8-bit Inference with TensorRT", GTC: relative entropy of a histogram and its rounded copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from edgecv_export.quantize.affine import FloatArray, Range
from edgecv_export.quantize.histogram import BINS, Histogram
from edgecv_runtime.errors import InputError

ESTIMATORS: tuple[str, ...] = ("minmax", "percentile", "entropy", "mse")

PERCENTILE = 99.99  # of all values lie within the range

# How far an end is drawn in by the search for the least mean squared error, as fractions of the min-max range.
_FRACTIONS = np.linspace(1.0, 0.3, 71)
_POINTS_PER_BIN = 4  # where a bin's values are taken to lie: 32 points for a level of the full range

_LEVELS = 256
_ENTROPY_STEP = 16  # bins between two candidates
_NO_CHANCE = 1e-4  # of a bin's mean share: the chance given to values where the rounded copy has none

# Share of the calibrated width that is added to the range of the logits: a clipped logit ties the top classes.
OUTPUT_MARGIN = 0.1

Batches = Callable[[], Iterable[Mapping[str, FloatArray]]]


def estimate_ranges(batches: Batches, method: str) -> dict[str, Range]:
    """The range of every named activation over the calibration images.

    Parameters
    ----------
    batches : callable
        ``batches()`` yields the float activations of one calibration image at a time, by name. Called once for
        ``"minmax"``; else twice, the second time to fill a histogram between the limits that the first found.
    method : {"minmax", "percentile", "entropy", "mse"}

    Returns
    -------
    dict of Range

    Raises
    ------
    InputError
        An unknown method, no activations, or values that are no numbers.
    """
    if method not in ESTIMATORS:
        raise InputError(f"the range estimator must be one of {', '.join(ESTIMATORS)}; received {method!r}")
    full: dict[str, Range] = {}
    for activations in batches():
        for name, values in activations.items():
            found, before = minmax_range(values), full.get(name)
            if not np.isfinite([found.low, found.high]).all():
                raise InputError(f"activations must be finite; {name!r} is not: check the model and its images")
            full[name] = found if before is None else Range(min(before.low, found.low), max(before.high, found.high))
    if not full:
        raise InputError("at least one calibration image is required; received none")
    if method == "minmax":
        return full
    histograms = {name: Histogram(range_) for name, range_ in full.items()}
    for activations in batches():
        for name, values in activations.items():
            histograms[name].add(values)
    estimate = {"percentile": percentile_range, "entropy": entropy_range, "mse": mse_range}[method]
    return {name: estimate(histogram) for name, histogram in histograms.items()}


def minmax_range(values: FloatArray) -> Range:
    """From the smallest to the largest value seen."""
    return Range(float(values.min()), float(values.max()))


def percentile_range(histogram: Histogram, percentile: float = PERCENTILE) -> Range:
    """The range outside of which lie ``100 - percentile`` per cent of all values, half of them at each end."""
    counts = histogram.counts.copy()
    counts[histogram.zero_bin] += histogram.zeros
    cut = (1 - percentile / 100) / 2 * histogram.total * (1 + 1e-12)
    low = 0 if histogram.hard_low else int(np.searchsorted(np.cumsum(counts), cut, side="right"))
    high = 0 if histogram.hard_high else int(np.searchsorted(np.cumsum(counts[::-1]), cut, side="right"))
    return _between(histogram, low, BINS - high)


def entropy_range(histogram: Histogram) -> Range:
    """The range whose 256 levels keep most of the distribution: least relative entropy.

    For every candidate the values outside move to its ends, and the distribution so clipped is compared with its copy
    on 256 levels. The high end is searched first, then the low one, then the high one again.
    """
    low, high = 0, BINS
    zero = histogram.zero_bin
    for _ in range(2):
        if not histogram.hard_high:
            ends = [end for end in range(BINS, zero, -_ENTROPY_STEP) if end - low >= _LEVELS]
            high = ends[int(np.argmin([_divergence(histogram, low, end) for end in ends]))]
        if not histogram.hard_low:
            ends = [end for end in range(0, zero + 1, _ENTROPY_STEP) if high - end >= _LEVELS]
            low = ends[int(np.argmin([_divergence(histogram, end, high) for end in ends]))]
    return _between(histogram, low, high)


def mse_range(histogram: Histogram) -> Range:
    """The range with the least mean squared error of rounding and clipping together.

    Both ends are drawn in by one factor first, then each by its own.
    """
    full = histogram.full
    points = full.low + (np.arange(BINS * _POINTS_PER_BIN) + 0.5) * (histogram.width / _POINTS_PER_BIN)
    used = np.repeat(histogram.counts, _POINTS_PER_BIN) > 0
    values = points[used].astype(np.float32)
    weights = np.repeat(histogram.counts, _POINTS_PER_BIN)[used].astype(np.float64)
    moves_low, moves_high = not histogram.hard_low, not histogram.hard_high

    def error(low: float, high: float) -> float:
        candidate = Range(full.low * low, full.high * high)
        return float(weights @ (candidate.fake_quantize(values) - values).astype(np.float64) ** 2)

    # Of equal errors the first counts: the widest range.
    together = [error(end if moves_low else 1.0, end if moves_high else 1.0) for end in _FRACTIONS]
    best = float(_FRACTIONS[int(np.argmin(together))])
    low, high = best if moves_low else 1.0, best if moves_high else 1.0
    if moves_low and moves_high:
        high = float(_FRACTIONS[int(np.argmin([error(low, end) for end in _FRACTIONS]))])
        low = float(_FRACTIONS[int(np.argmin([error(end, high) for end in _FRACTIONS]))])
    return Range(full.low * low, full.high * high)


def widened(range_: Range, share: float) -> Range:
    """The range with `share` of its width added, half at each end that is not zero."""
    margin = share * (range_.high - range_.low) / 2
    return Range(range_.low - margin if range_.low < 0 else 0.0, range_.high + margin if range_.high > 0 else 0.0)


def _between(histogram: Histogram, low: int, high: int) -> Range:
    """The range from one bin edge to another; the histogram's own ends stay exact."""
    edges = histogram.edges
    return Range(float(edges[low]), float(edges[max(high, low)]))


def _divergence(histogram: Histogram, low: int, high: int) -> float:
    """Relative entropy of the distribution clipped to the bins low..high-1, from its copy on 256 levels."""
    inside = histogram.counts[low:high].astype(np.float64)
    clipped = inside.copy()
    clipped[0] += histogram.counts[:low].sum()
    clipped[-1] += histogram.counts[high:].sum()
    level = np.arange(inside.size) * _LEVELS // inside.size
    filled = inside > 0
    # Each level's count, spread evenly over those of its bins that hold any.
    mean = np.bincount(level, inside, _LEVELS) / np.maximum(np.bincount(level, filled, _LEVELS), 1)
    copy = np.where(filled, mean[level], 0.0)
    if not copy.any():
        return float("inf")
    copy = np.maximum(copy, _NO_CHANCE * copy.mean())
    present = clipped > 0
    p, q = clipped[present] / clipped.sum(), copy[present] / copy.sum()
    return float(np.sum(p * np.log(p / q)))
