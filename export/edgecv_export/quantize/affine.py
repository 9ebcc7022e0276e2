"""Affine quantization: grids for weights and ranges for activations.

References
----------
Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
eq. 1 and section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

WEIGHT_LEVELS = 127  # int8, symmetric and narrow: -127..127, as all three formats store weights


@dataclass(frozen=True)
class Range:
    """The interval of real values that an 8-bit activation covers; it always contains zero.

    Attributes
    ----------
    low, high : float
        ``low <= 0 <= high`` and ``low < high``.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", min(float(self.low), 0.0))
        object.__setattr__(self, "high", max(float(self.high), 0.0))
        if self.high - self.low < 1e-8:
            object.__setattr__(self, "high", self.low + 1e-8)

    @property
    def scale(self) -> float:
        return (self.high - self.low) / 255

    def fake_quantize(self, values: FloatArray) -> FloatArray:
        """Round to the 256 levels of this range, and back to real values."""
        scale = np.float32(self.scale)
        zero_point = np.float32(np.rint(-self.low / self.scale))
        levels = np.clip(np.rint(values / scale) + zero_point, 0, 255)
        return ((levels - zero_point) * scale).astype(np.float32)


def quantize_weights(kernel: FloatArray, channel_axes: tuple[int, ...]) -> FloatArray:
    """Round a kernel to int8 per channel, and back to real values.

    The scale of a channel is its largest magnitude over 127. The result is a fixed point: quantizing it again gives
    it back, so a converter that uses the same rule stores exactly these values.

    Parameters
    ----------
    kernel : array
    channel_axes : tuple of int
        The axes that together number the output channels.

    Returns
    -------
    array of the same shape, float32
    """
    scale = weight_scale(kernel, channel_axes)
    return (np.rint(kernel / scale) * scale).astype(np.float32)


def weight_scale(kernel: FloatArray, channel_axes: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """The distance of two int8 levels in each output channel: the largest magnitude over 127, 1 for a zero channel.

    Returns
    -------
    array of the kernel's rank, float64
        With size 1 along all other axes.
    """
    other_axes = tuple(axis for axis in range(kernel.ndim) if axis not in channel_axes)
    largest = np.abs(kernel).max(axis=other_axes, keepdims=True)
    return np.where(largest > 0, largest / WEIGHT_LEVELS, 1.0).astype(np.float64)


def half(values: FloatArray) -> FloatArray:
    """Round to float16, and back to float32."""
    return values.astype(np.float16).astype(np.float32)
