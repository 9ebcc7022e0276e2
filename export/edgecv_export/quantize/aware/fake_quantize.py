"""Fake quantization: round to the levels of a grid in the forward pass, hand gradients through in the backward pass.

Rounding has a gradient of zero almost everywhere. The straight-through estimator takes that of the identity instead:
``x + stop_gradient(round(x) - x)``.

References
----------
Bengio et al. 2013, "Estimating or Propagating Gradients Through Stochastic Neurons" (straight-through estimator).
Jacob et al. 2018, section 3.1 and eq. 12 (the op and its nudged zero point).
Choi et al. 2018, "PACT", eq. 3; Esser et al. 2020, "Learned Step Size Quantization", eq. 3; Bhalgat et al. 2020, "LSQ+"
(gradients of a learned range).
"""

from __future__ import annotations

from typing import Any

_LEAST_WIDTH = 1e-8  # as `affine.Range`


def levels(bits: int) -> int:
    """Steps of a grid of `bits` bits: one less than its levels."""
    return int(2**bits - 1)


def grid(low: Any, high: Any, bits: int = 8) -> tuple[Any, Any]:
    """Scale and zero point of a range, with the zero point rounded (nudged) so that 0.0 is a level.

    Parameters
    ----------
    low, high : () float32 tensors
        ``low <= 0 <= high``.
    bits : int

    Returns
    -------
    scale, zero_point : () float32 tensors
        ``real = (level - zero_point) * scale`` for levels 0 to ``2**bits - 1``.
    """
    from keras import ops

    scale = ops.maximum(high - low, _LEAST_WIDTH) / levels(bits)
    return scale, ops.round(-low / scale)


def fake_quantize(x: Any, low: Any, high: Any, bits: int = 8) -> Any:
    """Round to the grid of a range, with the clipping gradient.

    Parameters
    ----------
    x : (...) float32 tensor
    low, high : () float32 tensors
        ``low <= 0 <= high``.
    bits : int

    Returns
    -------
    (...) float32 tensor
        Value and gradient are those of ``tf.quantization.fake_quant_with_min_max_vars``: inside the range the gradient
        goes to `x`, below it to `low`, above it to `high`.
    """
    from keras import ops

    scale, zero_point = grid(low, high, bits)
    scale, zero_point = ops.stop_gradient(scale), ops.stop_gradient(zero_point)
    lowest, highest = -zero_point * scale, (levels(bits) - zero_point) * scale
    # The ends take the values of the nudged range and the gradients of the range itself.
    low, high = low + ops.stop_gradient(lowest - low), high + ops.stop_gradient(highest - high)
    clipped = ops.where(x < lowest, low, ops.where(x > highest, high, x))
    rounded = (ops.clip(ops.round(x / scale) + zero_point, 0, levels(bits)) - zero_point) * scale
    return clipped + ops.stop_gradient(rounded - clipped)


def learned_fake_quantize(x: Any, low: Any, high: Any, bits: int = 8) -> Any:
    """The same value, with the gradient of a learned step size.

    The ends of the range also feel the rounding inside it: ``dy/dscale = round(x/scale) - x/scale`` there (Esser et al.
    2020, eq. 3), so a range may shrink for finer steps as well as grow for less clipping. LSQ's factor
    ``1 / sqrt(values · levels)`` on this gradient is left out: Adam, which trains here, divides it out again.
    """
    from keras import ops

    scale = ops.maximum(high - low, _LEAST_WIDTH) / levels(bits)
    zero_point = round_through(-low / scale)
    level = ops.clip(round_through(x / scale) + zero_point, 0, levels(bits))
    return (level - zero_point) * scale


def round_through(x: Any) -> Any:
    """Round to the nearest whole number, ties to even, with the gradient of the identity."""
    from keras import ops

    return x + ops.stop_gradient(ops.round(x) - x)


def fake_quantize_kernel(kernel: Any, channel_axes: tuple[int, ...], bits: int = 8) -> Any:
    """Round a kernel to ``2**bits - 1`` symmetric levels per channel; the gradient passes through.

    Parameters
    ----------
    kernel : tensor
    channel_axes : tuple of int
        The axes that together number the output channels.
    bits : int
        8: the values of `affine.quantize_weights`.

    Returns
    -------
    tensor of the same shape
        The scale of a channel follows its largest magnitude, so nothing is clipped and no gradient is lost.
    """
    from keras import ops

    other_axes = tuple(axis for axis in range(len(kernel.shape)) if axis not in channel_axes)
    largest = ops.max(ops.abs(kernel), axis=other_axes, keepdims=True)
    scale = ops.where(largest > 0, largest / (2 ** (bits - 1) - 1), ops.ones_like(largest))
    return kernel + ops.stop_gradient(ops.round(kernel / scale) * scale - kernel)
