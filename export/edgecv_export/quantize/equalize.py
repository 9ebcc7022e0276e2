"""Cross-layer equalization: the same function with weights that are easier to round.

Where one layer's output goes through nothing but operations that commute with a positive factor (ReLU, pooling,
padding with zeros) to the next layer, any channel may be scaled down in the first and up by the same factor in the
second. The factors are chosen so that both layers use the channel's share of their range alike.

References
----------
Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.1, eq. 9-12.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_export.quantize.graph import Graph, Step
from edgecv_export.quantize.kernels import activation_name, bias_of, channel_axes, has_kernel, kernel_of
from edgecv_export.quantize.rebuild import copy_layer, rebuild_model

Vector = npt.NDArray[np.float64]

_MOST_SWEEPS = 200
_SETTLED = 1e-4  # relative change of a scale at which the iteration has converged
_LARGEST_SCALE = 1e3  # of a channel, in either direction

# Layers through which a positive factor of a channel passes, one input, channels last and in the same order.
_COMMUTING = frozenset(
    {
        "PReLU", "LeakyReLU", "Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "Identity",
        "MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "AveragePooling1D", "AveragePooling2D", "AveragePooling3D",
        "GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D", "GlobalAveragePooling1D",
        "GlobalAveragePooling2D", "GlobalAveragePooling3D", "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D",
        "Cropping1D", "Cropping2D", "Cropping3D", "UpSampling1D", "UpSampling2D", "UpSampling3D",
    }
)  # fmt: skip
_HOMOGENEOUS = frozenset({"linear", "relu", "leaky_relu"})

# Class name -> axis of the kernel that numbers the input channels (of one group).
_INPUT_AXIS = {
    "Conv1D": 1, "Conv2D": 2, "Conv3D": 3, "DepthwiseConv1D": 1, "DepthwiseConv2D": 2, "Dense": 0,
}  # fmt: skip


@dataclass(frozen=True)
class EqualizedPair:
    """What was done between two layers.

    Attributes
    ----------
    first, second : str
        Names of the layers.
    spread : float
        The largest over the smallest factor that a channel of the first layer's output was divided by: 1 where
        nothing changed.
    """

    first: str
    second: str
    spread: float


@dataclass(frozen=True, eq=False)
class Equalization:
    """An equalized model and what was done to it.

    Attributes
    ----------
    model : keras.Model
        The same function of the input; layers keep their names.
    pairs : tuple of EqualizedPair
        In order of computation; empty where no two layers can be equalized.
    """

    model: Any
    pairs: tuple[EqualizedPair, ...]


def equalize(model: Any) -> Any:
    """A copy of a batch-norm-folded model with the ranges of consecutive kernels balanced, as `equalization` says."""
    return equalization(model).model


def equalization(model: Any) -> Equalization:
    """Balance the ranges of consecutive kernels, channel by channel.

    Pairs are convolutions, depthwise convolutions and dense layers with one way between them, on which nothing but
    ReLU, LeakyReLU, PReLU, pooling, zero padding, cropping, dropout and flattening lies. ReLU6, swish and the like do
    not commute with a factor: such a pair is left alone. A chain of pairs is iterated until it settles, so that all
    kernels of it end up alike.

    Parameters
    ----------
    model : keras.Model
        Functional, channels last, batch norms folded. It is not changed.

    Returns
    -------
    Equalization
    """
    graph = Graph(model)
    pairs = [pair for step in graph.steps if (pair := _pair(graph, step)) is not None]
    kernels = {
        id(layer): np.asarray(kernel_of(layer), np.float64)
        for layer in {id(step.layer): step.layer for pair in pairs for step in pair}.values()
    }
    biases = {id(first.layer): np.asarray(bias_of(first.layer), np.float64) for first, _ in pairs}
    totals = [np.ones(len(biases[id(first.layer)])) for first, _ in pairs]
    lows = [_least_scales(biases[id(first.layer)]) for first, _ in pairs]
    for _ in range(_MOST_SWEEPS):
        change = 0.0
        for index, (first, second) in enumerate(pairs):
            one, two = kernels[id(first.layer)], kernels[id(second.layer)]
            wanted = _scales(_output_ranges(first.layer, one), _input_ranges(second.layer, two, len(totals[index])))
            limited = np.clip(totals[index] * wanted, lows[index], _LARGEST_SCALE)
            scales, totals[index] = limited / totals[index], limited
            kernels[id(first.layer)] = _with_scaled_outputs(first.layer, one, 1 / scales)
            kernels[id(second.layer)] = _with_scaled_inputs(second.layer, two, scales)
            biases[id(first.layer)] /= scales
            change = max(change, float(np.abs(scales - 1).max()))
        if change < _SETTLED:
            break
    done = tuple(
        EqualizedPair(first.layer.name, second.layer.name, float(total.max() / total.min()))
        for (first, second), total in zip(pairs, totals, strict=True)
    )
    return Equalization(_rebuilt(graph, kernels, biases), done)


def _pair(graph: Graph, first: Step) -> tuple[Step, Step] | None:
    """The step and the one that its scaled output could be undone in, if any."""
    if not _is_alone(graph, first) or not _is_homogeneous(first.layer):
        return None
    channels = len(bias_of(first.layer))
    step = graph.only_consumer(first.outputs[0])
    while step is not None and not has_kernel(step.layer):
        if not _commutes(step, channels):
            return None
        step = graph.only_consumer(step.outputs[0])
    if step is None or not _is_alone(graph, step) or type(step.layer).__name__ not in _INPUT_AXIS:
        return None
    return (first, step) if step.layer.input.shape[-1] % channels == 0 else None


def _is_alone(graph: Graph, step: Step) -> bool:
    """Whether a step's kernel is its own, and its channels are where they are looked for."""
    last = getattr(step.layer, "data_format", "channels_last") == "channels_last"
    return has_kernel(step.layer) and graph.calls(step.layer) == 1 and last


def _is_homogeneous(layer: Any) -> bool:
    """Whether a layer's own activation commutes with positive factors."""
    return activation_name(layer) in _HOMOGENEOUS or type(layer.activation).__name__ in ("LeakyReLU", "PReLU")


def _commutes(step: Step, channels: int) -> bool:
    """Whether a layer without weights hands a positive factor of each channel on."""
    layer = step.layer
    kind = type(layer).__name__
    if len(step.inputs) != 1 or getattr(layer, "data_format", "channels_last") != "channels_last":
        return False
    if kind == "ReLU":
        return layer.max_value is None and layer.threshold == 0
    if kind == "Activation":
        return activation_name(layer) in _HOMOGENEOUS
    if kind in ("Flatten", "Reshape"):  # value i of the flat tensor is of channel i modulo the number of channels
        return layer.output.shape[-1] is not None and layer.output.shape[-1] % channels == 0
    return kind in _COMMUTING


def _scales(first: Vector, second: Vector) -> Vector:
    """Eq. 11: ``s = sqrt(r1 r2) / r2``, what the channels of the first layer are divided by; 1 for a dead channel."""
    alive = (first > 0) & (second > 0)
    return np.where(alive, np.sqrt(np.where(alive, first, 1) / np.where(alive, second, 1)), 1.0)


def _least_scales(bias: Vector) -> Vector:
    """(channels,) how little a channel may be divided by: no bias may grow beyond the layer's largest.

    A channel that training has all but switched off has tiny weights and a bias still. Divided by what its weights call
    for, the bias would stretch the range of the whole activation.
    """
    largest: Vector = np.abs(bias) / max(float(np.abs(bias).max()), 1e-30)
    return np.clip(largest, 1 / _LARGEST_SCALE, 1)


def _output_ranges(layer: Any, kernel: Vector) -> Vector:
    """(channels,) the largest magnitude of every output channel's weights."""
    axes = channel_axes(layer)
    ranges: Vector = np.abs(kernel).max(axis=tuple(i for i in range(kernel.ndim) if i not in axes)).reshape(-1)
    return ranges


def _input_ranges(layer: Any, kernel: Vector, channels: int) -> Vector:
    """(channels,) the largest magnitude of the weights that each channel meets."""
    grouped = np.abs(_by_input(layer, kernel))
    inputs = grouped.max(axis=tuple(i for i in range(grouped.ndim) if i not in (0, 1))).reshape(-1)
    ranges: Vector = inputs.reshape(-1, channels).max(axis=0)  # flattened: every pixel's weights for the channel
    return ranges


def _with_scaled_outputs(layer: Any, kernel: Vector, factors: Vector) -> Vector:
    axes = channel_axes(layer)
    return kernel * factors.reshape([size if axis in axes else 1 for axis, size in enumerate(kernel.shape)])


def _with_scaled_inputs(layer: Any, kernel: Vector, factors: Vector) -> Vector:
    grouped = _by_input(layer, kernel)
    inputs = grouped.shape[0] * grouped.shape[1]
    repeated = np.tile(factors, inputs // len(factors)).reshape(*grouped.shape[:2], *[1] * (grouped.ndim - 2))
    axis = _INPUT_AXIS[type(layer).__name__]
    scaled = np.moveaxis(grouped * repeated, (0, 1), (-2, axis))
    return scaled.reshape(kernel.shape)


def _by_input(layer: Any, kernel: Vector) -> Vector:
    """(groups, input channels of a group, ..., outputs of a group): a view of a kernel by what it is given."""
    groups = getattr(layer, "groups", 1) if not type(layer).__name__.startswith("Depthwise") else 1
    grouped = kernel.reshape(*kernel.shape[:-1], groups, kernel.shape[-1] // groups)
    return np.moveaxis(grouped, (-2, _INPUT_AXIS[type(layer).__name__]), (0, 1))


def _rebuilt(graph: Graph, kernels: dict[int, Vector], biases: dict[int, Vector]) -> Any:
    """The model with new kernels, and biases where the layer has one."""
    copies: dict[int, Any] = {}

    def rebuild(step: Step) -> Any:
        key = id(step.layer)
        if key not in copies:
            copies[key] = copy_layer(step.layer)
        if key in kernels:
            copies[key].kernel.assign(kernels[key].astype(np.float32))
        if key in biases and step.layer.use_bias:
            copies[key].bias.assign(biases[key].astype(np.float32))
        return copies[key]

    return rebuild_model(graph, rebuild)
