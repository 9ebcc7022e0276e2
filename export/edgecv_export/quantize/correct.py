"""Round the weights, and correct each bias for the shift that quantization causes.

Rounding a kernel and its input moves the mean of a layer's output. Layer by layer, in the order of computation, the
quantized network is run beside the float one on the calibration images, and the difference of the channel means
goes into the bias: a later layer sees the earlier ones already corrected.

References
----------
Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2 and
appendix D (empirical bias correction).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecv_export.quantize.affine import FloatArray, Range, half, quantize_weights
from edgecv_export.quantize.graph import Graph, Step
from edgecv_export.quantize.kernels import activation_name, bias_of, channel_axes, has_kernel, kernel_of
from edgecv_export.quantize.ranges import mse_range
from edgecv_export.quantize.rebuild import copy_layer, rebuild_model
from edgecv_runtime.progress import Progress

_SAMPLE = 200_000  # values of a tensor that its range is estimated from

# Layers that hand values on, or whose output the converters give the range of their input.
_TRANSPARENT = frozenset(
    {
        "Reshape", "Flatten", "Permute", "Dropout", "SpatialDropout2D", "Identity", "MaxPooling1D", "MaxPooling2D",
        "MaxPooling3D", "GlobalMaxPooling2D", "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D", "Cropping2D",
        "UpSampling2D", "InputLayer",
    }
)  # fmt: skip

# Activations that every format computes inside the layer before them.
_FUSED = frozenset({"ReLU", "Activation", "LeakyReLU", "BatchNormalization"})


@dataclass(frozen=True)
class Rounding:
    """What an artefact rounds.

    Attributes
    ----------
    kernel : callable
        ``kernel(values, channel_axes)`` gives the values as the artefact stores them.
    bias : callable
        The same for a bias.
    activations : bool
        Whether activations are rounded to 256 levels.
    """

    kernel: Callable[[FloatArray, tuple[int, ...]], FloatArray]
    bias: Callable[[FloatArray], FloatArray]
    activations: bool


INT8 = Rounding(quantize_weights, lambda bias: bias, activations=True)
INT8_WEIGHTS = Rounding(quantize_weights, lambda bias: bias, activations=False)
FLOAT16 = Rounding(lambda kernel, _: half(kernel), half, activations=False)


def round_and_correct(
    model: Any, images: FloatArray, rounded_images: FloatArray, rounding: Rounding, *, seed: int = 0
) -> Any:
    """A copy of a batch-norm-folded model with rounded kernels and corrected biases.

    Parameters
    ----------
    model : keras.Model
        Functional, channels last, batch norms folded.
    images : (N, ...) float32
        Calibration images as the float model takes them.
    rounded_images : (N, ...) float32
        The same images as the artefact's input holds them.
    rounding : Rounding
    seed : int
        For the sample that activation ranges are estimated from.

    Returns
    -------
    keras.Model
        A float model; rounding its kernels again gives them back unchanged.
    """
    graph = Graph(model)
    kernel_steps = [step for step in graph.steps if has_kernel(step.layer) and graph.calls(step.layer) == 1]
    copies = {id(step.layer): _with_bias(step.layer) for step in kernel_steps}
    for copy in copies.values():
        copy.set_weights([rounding.kernel(kernel_of(copy), channel_axes(copy)), bias_of(copy)])
    _correct_biases(graph, copies, images, rounded_images, rounding, np.random.default_rng(seed))

    def rebuild(step: Step) -> Any:
        if id(step.layer) not in copies:
            copies[id(step.layer)] = copy_layer(step.layer)
        return copies[id(step.layer)]

    return rebuild_model(graph, rebuild)


def _correct_biases(
    graph: Graph,
    rounded: dict[int, Any],
    images: FloatArray,
    rounded_images: FloatArray,
    rounding: Rounding,
    generator: np.random.Generator,
) -> None:
    """Run both networks side by side, one layer at a time, and correct the rounded layers' biases."""
    from keras import ops

    pending = Counter(tensor for step in graph.steps for tensor in step.inputs)
    values = {graph.inputs[0]: ops.convert_to_tensor(images)}
    others = {graph.inputs[0]: ops.convert_to_tensor(rounded_images)}
    with Progress(len(graph.steps), "correcting biases", "layers") as bar:
        for step in graph.steps:
            outputs = _flat(step.call(values))
            layer = rounded.get(id(step.layer), step.layer)
            other_outputs = _flat(step.call_with(layer, others))
            if layer is not step.layer:
                shift = _mean_shift(layer, outputs[0], other_outputs[0])
                layer.set_weights([kernel_of(layer), rounding.bias(bias_of(layer) + shift)])
                other_outputs = _flat(step.call_with(layer, others))
            for tensor, value, other in zip(step.outputs, outputs, other_outputs, strict=True):
                values[tensor] = value
                is_rounded = rounding.activations and _is_stored(graph, step, tensor)
                others[tensor] = _rounded(value, other, generator) if is_rounded else other
            for tensor in step.inputs:
                pending[tensor] -= 1
                if not pending[tensor] and tensor not in graph.outputs:
                    values.pop(tensor, None)
                    others.pop(tensor, None)
            bar.advance()


def _mean_shift(layer: Any, wanted: Any, got: Any) -> FloatArray:
    """(channels,) what the bias lacks; zero where a non-linear activation stands between it and the output."""
    from keras import ops

    if activation_name(layer) != "linear":
        return np.zeros_like(bias_of(layer))
    difference = ops.convert_to_numpy(wanted - got)
    shift: FloatArray = difference.mean(axis=tuple(range(difference.ndim - 1)), dtype=np.float64).astype(np.float32)
    return shift


def _is_stored(graph: Graph, step: Step, tensor: int) -> bool:
    """Whether the artefacts hold this tensor in 8 bits with a range of its own."""
    follower = graph.only_consumer(tensor)
    fused = follower is not None and type(follower.layer).__name__ in _FUSED
    return not (type(step.layer).__name__ in _TRANSPARENT or fused or tensor in graph.outputs)


def _rounded(value: Any, other: Any, generator: np.random.Generator) -> Any:
    """A tensor of the rounded network on the 256 levels that the float network's values call for."""
    from keras import ops

    range_ = _range_of(ops.convert_to_numpy(value), generator)
    return ops.convert_to_tensor(range_.fake_quantize(ops.convert_to_numpy(other)))


def _range_of(values: FloatArray, generator: np.random.Generator) -> Range:
    flat = values.reshape(-1)
    if flat.size > _SAMPLE:
        extremes = np.array([flat.min(), flat.max()], np.float32)
        flat = np.concatenate([generator.choice(flat, _SAMPLE, replace=False, shuffle=False), extremes])
    return mse_range(flat)


def _with_bias(layer: Any) -> Any:
    """A copy of a layer that has a bias to correct."""
    copy = type(layer).from_config({**layer.get_config(), "use_bias": True})
    copy.build(layer.input.shape)
    copy.set_weights([kernel_of(layer), bias_of(layer)])
    return copy


def _flat(outputs: Any) -> list[Any]:
    import keras

    return keras.tree.flatten(outputs)
