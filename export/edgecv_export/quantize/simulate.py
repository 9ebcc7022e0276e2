"""What 8-bit activations do to a network, computed in float before any converter runs.

References
----------
Jacob et al. 2018, section 3: simulated quantization.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from edgecv_export.quantize.affine import FloatArray, Range
from edgecv_export.quantize.graph import Graph, Step
from edgecv_export.quantize.kernels import activation_name
from edgecv_export.quantize.ranges import estimate_ranges
from edgecv_runtime.errors import InputError

_BATCH = 8  # images that are run at once

# Layers that hand values on, or whose output the converters give the range of their input.
_TRANSPARENT = frozenset(
    {
        "Reshape", "Flatten", "Permute", "Dropout", "SpatialDropout2D", "Identity", "MaxPooling1D", "MaxPooling2D",
        "MaxPooling3D", "GlobalMaxPooling2D", "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D", "Cropping2D",
        "UpSampling2D", "InputLayer",
    }
)  # fmt: skip


class StoredTensors:
    """Which tensors of a network the artefacts hold in 8 bits with a range of their own, and their names.

    A tensor goes by the name of the layer that gives it: behind ``Conv2D → ReLU`` that is the ReLU. Where a layer is
    called again, or gives several, the later ones are numbered (``"name:1"``).

    Parameters
    ----------
    graph : Graph
    float_layers : collection of str
        Layers whose outputs are not rounded; the name of a convolution stands for its activation's output, too.
    """

    def __init__(self, graph: Graph, float_layers: Collection[str] = ()) -> None:
        check_names(graph, float_layers, "float_layers")
        counts: Counter[str] = Counter()
        self.layers: dict[int, str] = {}
        self.names: dict[int, str] = {}
        for step in graph.steps:
            for tensor in step.outputs:
                if not _is_stored(graph, step, tensor):
                    continue
                name = step.layer.name
                if float_layers and not {name, *_fused_into(graph, step)}.isdisjoint(float_layers):
                    continue
                self.names[tensor] = f"{name}:{counts[name]}" if counts[name] else name
                self.layers[tensor] = name
                counts[name] += 1


def stored_ranges(
    model: Any,
    images: FloatArray,
    *,
    estimator: str = "minmax",
    widen: float = 1.0,
    ranges: Mapping[str, Range] | None = None,
    float_layers: Collection[str] = (),
) -> dict[str, Range]:
    """The ranges that the artefacts would give a network's activations.

    Parameters
    ----------
    model : keras.Model
        Functional, float, batch norms folded.
    images : (N, ...) float32
        Calibration images as the model takes them.
    estimator : str
        One of `ESTIMATORS`.
    widen : float
        Factor to the width of every range: 16 stands for four bits fewer.
    ranges : mapping of str to Range, optional
        Given ranges, by the name of the layer that gives the tensor; they are not widened.
    float_layers : collection of str
        As in `StoredTensors`.

    Returns
    -------
    dict of Range
        By the names of `StoredTensors`.

    Raises
    ------
    InputError
        A name that is no layer's, or a widening below zero.
    """
    if not widen > 0:
        raise InputError(f"widen must be above 0; received {widen:g}")
    graph = Graph(model)
    given = ranges or {}
    check_names(graph, given, "ranges")
    stored = StoredTensors(graph, float_layers)
    wanted = {tensor: name for tensor, name in stored.names.items() if stored.layers[tensor] not in given}

    def batches() -> Iterator[dict[str, FloatArray]]:
        for start in range(0, len(images), _BATCH):
            yield _activations(graph, wanted, images[start : start + _BATCH])

    found = estimate_ranges(batches, estimator) if wanted else {}
    result = {name: Range(range_.low * widen, range_.high * widen) for name, range_ in found.items()}
    result |= {name: given[stored.layers[tensor]] for tensor, name in stored.names.items() if tensor not in wanted}
    return result


def simulate(model: Any, images: FloatArray, ranges: Mapping[str, Range]) -> FloatArray:
    """The first output of a network whose activations are rounded to the 256 levels of their ranges.

    Parameters
    ----------
    model : keras.Model
        Functional; its weights as the artefact stores them (`round_and_correct`).
    images : (N, ...) float32
        As the artefact's input holds them.
    ranges : mapping of str to Range
        From `stored_ranges`; a tensor without a range stays float.

    Returns
    -------
    (N, ...) float32
    """
    graph = Graph(model)
    stored = {tensor: ranges[name] for tensor, name in StoredTensors(graph).names.items() if name in ranges}
    answers = []
    for start in range(0, len(images), _BATCH):
        values: dict[int, Any] = {graph.inputs[0]: as_tensor(images[start : start + _BATCH])}
        for step in graph.steps:
            for tensor, value in zip(step.outputs, flat(step.call(values)), strict=True):
                values[tensor] = rounded(value, stored[tensor]) if tensor in stored else value
        answers.append(as_array(values[graph.outputs[0]]))
    return np.concatenate(answers)


def rounded(value: Any, range_: Range) -> Any:
    """A tensor on the 256 levels of a range, image by image: the temporaries of a whole batch would be large."""
    values = as_array(value)
    result = np.empty(values.shape, np.float32)
    for index in range(len(values)):
        result[index] = range_.fake_quantize(values[index])
    return as_tensor(result)


def check_names(graph: Graph, names: Collection[str], argument: str) -> None:
    """Refuse names that no layer has.

    Raises
    ------
    InputError
    """
    unknown = sorted(set(names) - {step.layer.name for step in graph.steps})
    if unknown:
        raise InputError(
            f"{argument} must name layers of {graph.model.name!r}; {unknown[0]!r} is none: "
            "see [layer.name for layer in model.layers]"
        )


def flat(outputs: Any) -> list[Any]:
    """The outputs of a call as a list."""
    import keras

    tensors: list[Any] = keras.tree.flatten(outputs)
    return tensors


def as_tensor(values: Any) -> Any:
    """For Keras to compute with."""
    from keras import ops

    return ops.convert_to_tensor(values)


def as_array(value: Any) -> FloatArray:
    """For numpy to compute with."""
    from keras import ops

    array: FloatArray = ops.convert_to_numpy(value)
    return array


def _activations(graph: Graph, wanted: Mapping[int, str], images: FloatArray) -> dict[str, FloatArray]:
    """The wanted tensors of a float run."""
    pending = Counter(tensor for step in graph.steps for tensor in step.inputs)
    values: dict[int, Any] = {graph.inputs[0]: as_tensor(images)}
    found: dict[str, FloatArray] = {}
    for step in graph.steps:
        values |= zip(step.outputs, flat(step.call(values)), strict=True)
        found |= {wanted[tensor]: as_array(values[tensor]) for tensor in step.outputs if tensor in wanted}
        for tensor in step.inputs:
            pending[tensor] -= 1
            if not pending[tensor]:
                values.pop(tensor, None)
    return found


def _is_stored(graph: Graph, step: Step, tensor: int) -> bool:
    """Whether the artefacts hold this tensor in 8 bits with a range of its own."""
    follower = graph.only_consumer(tensor)
    fused = follower is not None and _is_fused(follower.layer)
    ends = tensor in graph.outputs and not graph.consumers(tensor)  # an output that others read is stored for them
    return not (type(step.layer).__name__ in _TRANSPARENT or fused or ends)


def _is_fused(layer: Any) -> bool:
    """Whether every format computes this inside the layer before it: ReLU, ReLU6, and what is folded."""
    kind = type(layer).__name__
    if kind == "ReLU":
        return layer.negative_slope == 0 and layer.threshold == 0 and layer.max_value in (None, 6)
    if kind == "Activation":
        return activation_name(layer) in ("relu", "relu6", "linear")
    return kind == "BatchNormalization"


def _fused_into(graph: Graph, step: Step) -> Iterator[str]:
    """Names of the layers that are computed together with this one: those before it."""
    while _is_fused(step.layer):
        before = graph.producer(step.inputs[0])
        if before is None or graph.only_consumer(step.inputs[0]) is not step:
            return
        step = before
        yield step.layer.name
