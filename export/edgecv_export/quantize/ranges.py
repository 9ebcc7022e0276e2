"""Which interval should 256 levels cover? Range estimators for activations.

References
----------
Nagel et al. 2021, "A White Paper on Neural Network Quantization", section 3.1: min-max and mean-squared error.
"""

from __future__ import annotations

import numpy as np

from edgecv_export.quantize.affine import FloatArray, Range

# How far a range is shrunk in search of the least error, as fractions of the min-max range.
_CANDIDATES = np.linspace(0.3, 1.0, 71)

# Share of the calibrated width that is added to the range of the logits: a clipped logit ties the top classes.
OUTPUT_MARGIN = 0.1


def minmax_range(values: FloatArray) -> Range:
    """From the smallest to the largest value seen."""
    return Range(float(values.min()), float(values.max()))


def mse_range(values: FloatArray) -> Range:
    """The range with the least mean squared error of rounding and clipping together.

    Both ends shrink by one factor, so a range that starts at zero (after a ReLU) keeps its zero.

    Parameters
    ----------
    values : (N,) float32
        A sample of the activation.
    """
    full = minmax_range(values)
    values = values.astype(np.float32, copy=False)
    errors = []
    for fraction in _CANDIDATES:
        candidate = Range(full.low * fraction, full.high * fraction)
        errors.append(float(np.mean((candidate.fake_quantize(values) - values) ** 2)))
    best = float(_CANDIDATES[int(np.argmin(errors))])
    return Range(full.low * best, full.high * best)


def widened(range_: Range, share: float) -> Range:
    """The range with `share` of its width added, half at each end that is not zero."""
    margin = share * (range_.high - range_.low) / 2
    return Range(range_.low - margin if range_.low < 0 else 0.0, range_.high + margin if range_.high > 0 else 0.0)
