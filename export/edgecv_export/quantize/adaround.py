"""Learned rounding: up or down, whichever keeps the layer's output.

Rounding each weight to the nearest level is best for the weights, not for the output: the errors of weights whose
inputs go together add up or cancel. With the covariance ``H`` of the inputs known, the squared error that a choice
causes at one output channel is a quadratic form of the weights' errors, and the best choice a quadratic binary
problem. Here it is solved by coordinate descent: flip a weight where the error falls, until none does. That needs no
random numbers, never ends above nearest rounding, and costs a few matrix products.

The error is that of the rounded layer in the rounded network against the float layer in the float network, so that
each layer makes up for the ones before it. Means are left out where the bias correction settles them exactly.

References
----------
Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization", eq. 13, and eq. 25 without its
activation function. They relax the binary problem and follow its gradient.
Schäfer and Strimmer 2005, "A Shrinkage Approach to Large-Scale Covariance Matrix Estimation", table 2, target D.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_export.quantize.affine import FloatArray, quantize_weights, weight_scale
from edgecv_export.quantize.kernels import channel_axes, kernel_of
from edgecv_export.quantize.patches import from_matrices, has_patches, patches, positions, to_matrices

Matrices = npt.NDArray[np.float64]

_LARGEST = 4608  # inputs of one output channel (3×3×512): beyond, covariances outgrow the memory
_SAMPLES = 4096  # patches at least that a covariance is estimated from, where there are as many
_SAMPLES_PER_INPUT = 2

# Measured on MobileNets with float weights: less damping fits the calibration images rather than the function, and so
# does making up for all of the drift.
_DAMPING = 0.1  # of the mean variance, added to every variance
_DRIFT = 0.5  # the share of the earlier layers' error that a layer is asked to make up for
_BLOCK = 64  # inputs between two updates of the whole gradient
_MOST_SWEEPS = 20
_LEAST_GAIN = 1e-9  # of the mean variance: smaller gains are noise of the arithmetic
_ON_LEVEL = 1e-4  # levels: a weight this close to one, as a channel's largest, has no other choice


@dataclass(frozen=True)
class Moments:
    """What a layer's inputs say about its output error, for every group of input channels.

    Attributes
    ----------
    inputs : (groups, inputs, inputs) float64
        Covariance of the inputs in the rounded network, regularised to be positive definite.
    drift : (groups, inputs, inputs) float64
        Covariance of the inputs in the rounded network with their difference from the float network's: the part of
        it that is to be made up for.
    """

    inputs: Matrices
    drift: Matrices


def can_learn(layer: Any) -> bool:
    """Whether the rounding of a layer can be learned: Conv2D, DepthwiseConv2D or Dense, and not too large."""
    if not has_patches(layer):
        return False
    shape = tuple(layer.kernel.shape)
    inputs = shape[0] * shape[1] if type(layer).__name__ == "DepthwiseConv2D" else int(np.prod(shape[:-1]))
    return inputs <= _LARGEST


def learned_kernel(
    layer: Any, inputs: FloatArray, rounded_inputs: FloatArray, generator: np.random.Generator, *, centred: bool = True
) -> FloatArray:
    """The kernel of a layer on int8 levels, each weight rounded up or down as the layer's output error calls for.

    Parameters
    ----------
    layer : keras.Layer
        With its float kernel; `can_learn` holds.
    inputs, rounded_inputs : (N, ...) float32
        What the layer is given in the float and in the rounded network.
    generator : numpy.random.Generator
        Draws the positions that a convolution is looked at.
    centred : bool
        Whether the bias will be corrected, so that the mean error does not count.

    Returns
    -------
    array of the kernel's shape, float32
        A fixed point of `quantize_weights`.
    """
    kernel = kernel_of(layer)
    scale = np.broadcast_to(weight_scale(kernel, channel_axes(layer)), kernel.shape)
    levels = to_matrices(layer, kernel / scale)
    if np.all(_moves(levels) == 0):  # weights that come from an integer file
        return quantize_weights(kernel, channel_axes(layer))
    samples = max(_SAMPLES, _SAMPLES_PER_INPUT * levels.shape[1])
    chosen = positions(layer, inputs, samples, generator)
    moments = moments_of(patches(layer, inputs, chosen), patches(layer, rounded_inputs, chosen), centred=centred)
    rounded: FloatArray = (from_matrices(layer, learned_levels(levels, moments)) * scale).astype(np.float32)
    return rounded


def learned_levels(weights: Matrices, moments: Moments) -> Matrices:
    """Choose between rounding down and up.

    With the weights ``w`` of an output channel, their levels ``q`` and the errors ``d = q - w``, the squared error of
    the output is ``dᵀ H d + 2 dᵀ D w`` and a constant; ``H`` and ``D`` are the two moments. Coordinate descent starts
    from rounding one input after the other, or from rounding to nearest where that is better.

    Parameters
    ----------
    weights : (groups, inputs, outputs) float64
        In levels, -127..127.
    moments : Moments

    Returns
    -------
    (groups, inputs, outputs) float64
        Whole numbers, each the floor or the ceiling of its weight.
    """
    nearest, other = np.rint(weights), _one_after_the_other(weights, moments)
    better = output_error(weights, other, moments) < output_error(weights, nearest, moments)
    return _descended(np.where(better[:, None], other, nearest), weights, moments)


def _one_after_the_other(weights: Matrices, moments: Moments) -> Matrices:
    """Round input after input, and let the weights still to come make up for each error as well as they can.

    What the rest can still make up for follows from the Cholesky factor of the inverse covariance (Frantar et al.
    2023, "GPTQ", section 3.3). The weights to be met are those that best give the float network's output.
    """
    wanted = weights - np.linalg.solve(moments.inputs, moments.drift @ weights)
    upper = np.linalg.cholesky(np.linalg.inv(moments.inputs)).transpose(0, 2, 1)
    levels = np.rint(weights)
    moves = _moves(weights)
    low, high = levels + np.minimum(moves, 0), levels + np.maximum(moves, 0)
    for start in range(0, weights.shape[1], _BLOCK):
        block = range(start, min(start + _BLOCK, weights.shape[1]))
        errors = np.empty_like(wanted[:, start : block.stop])
        for index in block:
            levels[:, index] = np.clip(np.rint(wanted[:, index]), low[:, index], high[:, index])
            error = (wanted[:, index] - levels[:, index]) / upper[:, index, index, None]
            wanted[:, index : block.stop] -= upper[:, index, index : block.stop, None] * error[:, None]
            errors[:, index - start] = error
        rest = upper[:, start : block.stop, block.stop :].transpose(0, 2, 1)
        wanted[:, block.stop :] -= rest @ errors
    return levels


def _descended(levels: Matrices, weights: Matrices, moments: Moments) -> Matrices:
    """Flip one level after the other where the error falls, until no flip helps.

    Moving one level by ``t`` changes the error by ``t² H_ii + 2 t g_i`` with half the gradient, ``g = H d + D w``.
    """
    levels = levels.copy()
    nearest = np.rint(weights)
    moves = np.where(levels == nearest, 1.0, -1.0) * _moves(weights)
    gradient = moments.drift @ weights + moments.inputs @ (levels - weights)
    least = _LEAST_GAIN * np.trace(moments.inputs, axis1=1, axis2=2)[:, None] / weights.shape[1]
    for _ in range(_MOST_SWEEPS):
        settled = True
        for start in range(0, weights.shape[1], _BLOCK):
            block = slice(start, start + _BLOCK)
            flips = _flips(moves[:, block], gradient[:, block], moments.inputs[:, block, block], least)
            if flips.any():
                settled = False
                levels[:, block] += flips
                moves[:, block] -= 2 * flips  # a flipped weight may flip back
                rows = np.flatnonzero(flips.any(axis=(0, 2)))
                gradient += moments.inputs[:, :, start + rows] @ flips[:, rows]
        if settled:
            break
    return levels


def _moves(weights: Matrices) -> Matrices:
    """From the nearest level to the one on the weight's other side: 1, -1, or 0 where the weight is on its level."""
    error = weights - np.rint(weights)
    return np.where(np.abs(error) > _ON_LEVEL, np.sign(error), 0.0)


def _flips(moves: Matrices, gradient: Matrices, inputs: Matrices, least: Matrices) -> Matrices:
    """Try the moves of one block of inputs in turn; what was moved, zero elsewhere."""
    gradient = gradient.copy()
    flips = np.zeros_like(moves)
    for index in range(moves.shape[1]):
        move = moves[:, index]
        change = move * (move * inputs[:, index, index, None] + 2 * gradient[:, index])
        flip = np.where(change < -least, move, 0.0)
        flips[:, index] = flip
        gradient += inputs[:, :, index, None] * flip[:, None]
    return flips


def output_error(weights: Matrices, levels: Matrices, moments: Moments) -> Matrices:
    """(groups, outputs) the squared error that `learned_levels` minimises, but for its constant."""
    error = levels - weights
    return np.sum(error * (moments.inputs @ error + 2 * moments.drift @ weights), axis=1)


def moments_of(inputs: FloatArray, rounded_inputs: FloatArray, *, centred: bool = True) -> Moments:
    """The moments of patches (groups, samples, inputs) of the two networks.

    A covariance of few samples (pooled features before a classifier: one per image) sees relations that are none, and
    weights rounded to please them do harm. Both moments are shrunk by the share that is expected to be chance.
    """
    shift = rounded_inputs - inputs
    if centred:
        rounded_inputs = rounded_inputs - rounded_inputs.mean(axis=1, keepdims=True)
        shift = shift - shift.mean(axis=1, keepdims=True)
    samples = rounded_inputs.shape[1]
    transposed = rounded_inputs.transpose(0, 2, 1)
    second = (transposed @ rounded_inputs).astype(np.float64) / samples
    drift = (transposed @ shift).astype(np.float64) / samples
    squares = rounded_inputs**2
    fourth = (squares.transpose(0, 2, 1) @ squares).astype(np.float64) / samples
    chance = _chance(second, fourth - second**2, samples)[:, None, None]
    variances = np.diagonal(second, axis1=1, axis2=2)
    damping = _DAMPING * variances.mean(axis=1)[:, None] + 1e-12
    kept = second * (1 - chance)
    diagonal = np.arange(second.shape[1])
    kept[:, diagonal, diagonal] = variances + damping
    return Moments(kept, drift * (1 - chance) * _DRIFT)


def _chance(covariances: Matrices, spread: Matrices, samples: int) -> Matrices:
    """(groups,) the share of the covariances off the diagonal that is sampling error, 0..1.

    The sum of their sampling variances over the sum of their squares.
    """
    off = 1 - np.eye(covariances.shape[1])
    variance = np.sum(np.maximum(spread, 0) * off, axis=(1, 2)) / max(samples - 1, 1)
    return np.clip(variance / np.maximum(np.sum(covariances**2 * off, axis=(1, 2)), 1e-300), 0, 1)
