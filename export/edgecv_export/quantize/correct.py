"""Round the weights, and correct each bias for the shift that quantization causes.

Rounding a kernel and its input moves the mean of a layer's output. Layer by layer, in the order of computation, the
quantized network is run beside the float one on the calibration images, and the difference of the channel means
goes into the bias: a later layer sees the earlier ones already corrected. In the same pass, weights can be rounded so
that their layer makes up for the noise before it, not only for the mean.

References
----------
Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2 and
appendix D (empirical bias correction).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from edgecv_export.quantize.adaround import can_learn, learned_kernel
from edgecv_export.quantize.affine import FloatArray, Range, quantize_weights
from edgecv_export.quantize.exact_layers import decides
from edgecv_export.quantize.graph import Graph, Step
from edgecv_export.quantize.kernels import activation_name, bias_of, channel_axes, has_kernel, kernel_of
from edgecv_export.quantize.rebuild import copy_layer, rebuild_model
from edgecv_export.quantize.rounding import FLOAT16, INT8, INT8_WEIGHTS, Rounding
from edgecv_export.quantize.simulate import (
    StoredTensors,
    as_array,
    as_tensor,
    check_names,
    flat,
    rounded,
    stored_ranges,
)
from edgecv_runtime.errors import UnsupportedError
from edgecv_runtime.progress import Progress

__all__ = ["FLOAT16", "INT8", "INT8_WEIGHTS", "Rounding", "learnable_layers", "round_and_correct"]


def round_and_correct(
    model: Any,
    images: FloatArray,
    rounded_images: FloatArray,
    rounding: Rounding,
    *,
    estimator: str = "minmax",
    adaround: Collection[str] = (),
    float_layers: Collection[str] = (),
    widen: float = 1.0,
    ranges: Mapping[str, Range] | None = None,
    correct: bool = True,
    seed: int = 0,
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
    estimator : str
        How the ranges of the simulated activations are found, one of `ESTIMATORS`.
    adaround : collection of str
        Layers whose weights are rounded up or down as their output calls for (`learnable_layers` lists the possible
        ones; others round to nearest).
    float_layers : collection of str
        Layers that keep their kernel, and an output that is not rounded.
    widen : float
        Factor to the width of every simulated activation range, a stress that stands for fewer bits.
    ranges : mapping of str to Range, optional
        Ranges to take instead of estimated ones, by layer name.
    correct : bool
        Whether biases are corrected.
    seed : int
        For the positions at which a convolution is looked at.

    Returns
    -------
    keras.Model
        A float model; rounding its kernels again gives them back unchanged.

    Raises
    ------
    InputError
        A name that no layer has, an unknown estimator, or a widening that is not above zero.
    UnsupportedError
        Learned rounding is asked for where weights are not int8.
    """
    graph = Graph(model)
    for argument, names in (("adaround", adaround), ("float_layers", float_layers)):
        check_names(graph, names, argument)
    if adaround and rounding.kernel is not quantize_weights:
        raise UnsupportedError("rounding is learned for int8 weights only: leave adaround empty for float16")
    stored: dict[int, Range] = {}
    if rounding.activations:
        found = stored_ranges(model, images, estimator=estimator, widen=widen, ranges=ranges, float_layers=float_layers)
        stored = {tensor: found[name] for tensor, name in StoredTensors(graph, float_layers).names.items()}
    copies = {
        id(step.layer): _with_bias(step.layer)
        for step in _kernel_steps(graph)
        if step.layer.name not in float_layers or correct
    }
    rounder = _Rounder(rounding, frozenset(adaround), frozenset(float_layers), correct, np.random.default_rng(seed))
    _run_both(graph, copies, images, rounded_images, stored, rounder)

    def rebuild(step: Step) -> Any:
        if id(step.layer) not in copies:
            copies[id(step.layer)] = copy_layer(step.layer)
        return copies[id(step.layer)]

    return rebuild_model(graph, rebuild)


def learnable_layers(model: Any) -> tuple[str, ...]:
    """Names of the layers of a functional model whose rounding can be learned, in order of computation."""
    return tuple(step.layer.name for step in _kernel_steps(Graph(model)) if can_learn(step.layer))


class _Rounder:
    """Rounds one layer after the other."""

    def __init__(
        self,
        rounding: Rounding,
        learned: frozenset[str],
        float_layers: frozenset[str],
        correct: bool,
        generator: np.random.Generator,
    ) -> None:
        self.rounding = rounding
        self.learned = learned
        self.float_layers = float_layers
        self.correct = correct
        self.generator = generator

    def round_kernel(self, layer: Any, inputs: Any, other_inputs: Any) -> None:
        """Put a layer's kernel on its grid, knowing what it is given in the float and in the rounded network."""
        if layer.name in self.float_layers:
            return
        if layer.name in self.learned and can_learn(layer):
            centred = self.correct and activation_name(layer) == "linear"
            kernel = learned_kernel(layer, as_array(inputs), as_array(other_inputs), self.generator, centred=centred)
        else:
            kernel = self.rounding.kernel(kernel_of(layer), channel_axes(layer))
        layer.set_weights([kernel, self.rounding.bias(bias_of(layer))])

    def correct_bias(self, layer: Any, wanted: Any, got: Any) -> bool:
        """Add what a layer's output lacks in the mean to its bias; whether there was anything to do."""
        if not self.correct or activation_name(layer) != "linear":
            return False
        difference = as_array(wanted - got)
        shift = difference.mean(axis=tuple(range(difference.ndim - 1)), dtype=np.float64).astype(np.float32)
        layer.set_weights([kernel_of(layer), self.rounding.bias(bias_of(layer) + shift)])
        return True


def _run_both(
    graph: Graph,
    copies: Mapping[int, Any],
    images: FloatArray,
    rounded_images: FloatArray,
    stored: Mapping[int, Range],
    rounder: _Rounder,
) -> None:
    """Run both networks side by side, one layer at a time, and round the copies on the way."""
    pending = Counter(tensor for step in graph.steps for tensor in step.inputs)
    values = {graph.inputs[0]: as_tensor(images)}
    others = {graph.inputs[0]: as_tensor(rounded_images)}
    with Progress(len(graph.steps), "rounding weights", "layers") as bar:
        for step in graph.steps:
            outputs = flat(step.call(values))
            layer = copies.get(id(step.layer), step.layer)
            if layer is not step.layer:
                rounder.round_kernel(layer, values[step.inputs[0]], others[step.inputs[0]])
            # Where rows are chosen both networks go on with the float one's: in another order they do not compare.
            other_outputs = outputs if decides(step.layer) else flat(step.call_with(layer, others))
            if layer is not step.layer and rounder.correct_bias(layer, outputs[0], other_outputs[0]):
                other_outputs = flat(step.call_with(layer, others))
            for tensor, value, other in zip(step.outputs, outputs, other_outputs, strict=True):
                values[tensor] = value
                others[tensor] = rounded(other, stored[tensor]) if tensor in stored else other
            for tensor in step.inputs:
                pending[tensor] -= 1
                if not pending[tensor] and tensor not in graph.outputs:
                    values.pop(tensor, None)
                    others.pop(tensor, None)
            bar.advance()


def _kernel_steps(graph: Graph) -> list[Step]:
    """The steps whose layer has a kernel of its own: not shared between calls."""
    return [step for step in graph.steps if has_kernel(step.layer) and graph.calls(step.layer) == 1]


def _with_bias(layer: Any) -> Any:
    """A copy of a layer that has a bias to correct."""
    copy = type(layer).from_config({**layer.get_config(), "use_bias": True})
    copy.build(layer.input.shape)
    copy.set_weights([kernel_of(layer), bias_of(layer)])
    return copy
