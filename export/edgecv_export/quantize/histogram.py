"""How the values of one activation are distributed, in constant memory."""

from __future__ import annotations

from math import gcd

import numpy as np
import numpy.typing as npt

from edgecv_export.quantize.affine import FloatArray, Range

BINS = 2048

_SAMPLE = 65_536  # values taken of one array: enough for the tails, and the time stays small
_HARD_END = 0.001  # share of all values: twice what one bin holds of a uniform distribution


class Histogram:
    """Counts of values in equal bins over a range.

    Exact zeros are counted apart: a zero stays zero on every grid, so no choice of range costs it anything.

    Parameters
    ----------
    full : Range
        From the smallest to the largest value, zero included.

    Attributes
    ----------
    counts : (2048,) int64
        Values other than zero.
    zeros : int
    """

    def __init__(self, full: Range) -> None:
        self.full = full
        self.counts: npt.NDArray[np.int64] = np.zeros(BINS, np.int64)
        self.zeros = 0

    def add(self, values: FloatArray) -> None:
        """Count an array; of a large one, an evenly spread part."""
        taken = values.reshape(-1)[:: _stride(values.size)]
        nonzero = taken[taken != 0]
        self.zeros += taken.size - nonzero.size
        index = ((nonzero - np.float32(self.full.low)) * np.float32(1 / self.width)).astype(np.int64)
        self.counts += np.bincount(np.clip(index, 0, BINS - 1), minlength=BINS)

    @property
    def width(self) -> float:
        """Of one bin."""
        return (self.full.high - self.full.low) / BINS

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        """(2049,) from the low to the high end."""
        return np.linspace(self.full.low, self.full.high, BINS + 1)

    @property
    def zero_bin(self) -> int:
        """The bin that zero belongs to."""
        return min(int(-self.full.low / self.width), BINS - 1)

    @property
    def total(self) -> int:
        """How many values were counted."""
        return int(self.counts.sum()) + self.zeros

    @property
    def hard_low(self) -> bool:
        """Whether the low end is no rare outlier but where many values lie, as at a clipping activation's limit."""
        return self.full.low == 0 or bool(self.counts[0] >= _HARD_END * self.total)

    @property
    def hard_high(self) -> bool:
        """The same for the high end."""
        return self.full.high == 0 or bool(self.counts[-1] >= _HARD_END * self.total)


def _stride(size: int) -> int:
    """A step through an array of that size that meets all its channels alike: it shares no factor with the size."""
    stride = max(1, -(-size // _SAMPLE))
    while gcd(stride, size) > 1:
        stride += 1
    return stride
