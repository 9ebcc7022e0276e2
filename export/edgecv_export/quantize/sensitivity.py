"""Which layers lose most in int8? Each is quantized alone, and the network's output tells."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgecv_export.quantize.affine import FloatArray, Range
from edgecv_export.quantize.graph import Graph, Step
from edgecv_export.quantize.kernels import activation_name, bias_of, channel_axes, has_kernel, kernel_of
from edgecv_export.quantize.rebuild import copy_layer
from edgecv_export.quantize.rounding import Rounding
from edgecv_export.quantize.simulate import StoredTensors, as_array, as_tensor, flat, rounded, stored_ranges
from edgecv_runtime.progress import Progress

_BATCH = 8  # images whose activations are held at once


def layer_sensitivities(
    model: Any,
    images: FloatArray,
    rounding: Rounding,
    *,
    estimator: str = "minmax",
    widen: float = 1.0,
    ranges: dict[str, Range] | None = None,
) -> dict[str, float]:
    """What quantizing one layer alone, its weights and its stored output, does to the network's outputs.

    Layers without weights whose output is stored (a swish, a sum, a gate) count too.

    The layer's bias makes up for the mean shift of its own rounded weights, as `round_and_correct` would let it.
    Only what comes behind the layer is computed again.

    Parameters
    ----------
    model : keras.Model
        Functional, batch norms folded.
    images : (N, ...) float32
        As the float model takes them; 16 tell the layers apart.
    rounding : Rounding
    estimator, widen, ranges
        As in `round_and_correct`.

    Returns
    -------
    dict of float
        By layer name, in order of computation: mean squared error of an output over the output's variance; of several
        outputs, their sum.
    """
    graph = Graph(model)
    stored: dict[int, Range] = {}
    if rounding.activations:
        found = stored_ranges(model, images, estimator=estimator, widen=widen, ranges=ranges)
        stored = {tensor: found[name] for tensor, name in StoredTensors(graph).names.items()}
    places = _places(graph, stored)
    layers = {index: graph.steps[index].layer for index in places}
    copies = {index: _rounded_copy(layer, rounding) if has_kernel(layer) else layer for index, layer in layers.items()}
    errors = {layer.name: np.zeros(len(graph.outputs)) for layer in layers.values()}
    answers: list[list[FloatArray]] = []
    batches = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
    with Progress(len(batches) * len(places), "measuring sensitivities", "layers") as bar:
        for batch in batches:
            values: dict[int, Any] = {graph.inputs[0]: as_tensor(batch)}
            for step in graph.steps:
                values |= zip(step.outputs, flat(step.call(values)), strict=True)
            answer = [as_array(values[output]) for output in graph.outputs]
            answers.append(answer)
            for index in places:
                changed = _changed_outputs(graph, index, copies[index], values, stored)
                errors[layers[index].name] += [
                    np.sum((mine - other).astype(np.float64) ** 2) for mine, other in zip(changed, answer, strict=True)
                ]
                bar.advance()
    power = np.array([_power(np.concatenate(column)) for column in zip(*answers, strict=True)])
    return {name: float(np.sum(error / power)) for name, error in errors.items()}


def _power(values: FloatArray) -> float:
    """Σ (x - mean)²."""
    return max(float(values.astype(np.float64).var()) * values.size, 1e-30)


def _places(graph: Graph, stored: dict[int, Range]) -> list[int]:
    """Which steps are looked at: those with a kernel, and those that give a stored tensor behind none."""
    with_kernel = [index for index, step in enumerate(graph.steps) if has_kernel(step.layer)]
    covered = {_stored_end(graph, graph.steps[index].outputs[0], stored) for index in with_kernel}
    others = [
        index
        for index, step in enumerate(graph.steps)
        if len(step.outputs) == 1 and step.outputs[0] in stored and step.outputs[0] not in covered
    ]
    return sorted({*with_kernel, *others})


def _changed_outputs(
    graph: Graph, index: int, layer: Any, values: dict[int, Any], stored: dict[int, Range]
) -> list[FloatArray]:
    """The network's outputs with one step's layer replaced, from the float values of everything before it."""
    step = graph.steps[index]
    (output,) = flat(step.call_with(layer, values))
    (tensor,) = step.outputs
    if has_kernel(layer) and activation_name(layer) == "linear":
        axes = tuple(range(len(output.shape) - 1))
        output = output + as_array(values[tensor] - output).mean(axis=axes, dtype=np.float64).astype(np.float32)
    end = _stored_end(graph, tensor, stored)
    others = {tensor: rounded(output, stored[tensor]) if tensor == end else output}
    for later in graph.steps[index + 1 :]:
        if others.keys().isdisjoint(later.inputs):
            continue
        for name, value in zip(later.outputs, flat(later.call({**values, **others})), strict=True):
            others[name] = rounded(value, stored[name]) if name == end else value
    return [as_array(others.get(output, values[output])) for output in graph.outputs]


def _stored_end(graph: Graph, tensor: int, stored: dict[int, Range]) -> int | None:
    """The tensor in which a layer's output is stored: its own, or that of the activation computed with it."""
    while tensor not in stored:
        follower: Step | None = graph.only_consumer(tensor)
        if follower is None or len(follower.outputs) != 1 or len(follower.inputs) != 1:
            return None
        tensor = follower.outputs[0]
    return tensor


def _rounded_copy(layer: Any, rounding: Rounding) -> Any:
    copy = copy_layer(layer)
    weights = [rounding.kernel(kernel_of(layer), channel_axes(layer))]
    copy.set_weights(weights + [rounding.bias(bias_of(layer))] * bool(layer.use_bias))
    return copy
