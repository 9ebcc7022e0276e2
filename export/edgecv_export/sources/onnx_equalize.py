"""Even out the channels between two convolutions of an ONNX file, so that one range suits them all.

Between two convolutions with a rectifier of any slope, a channel may be divided by s > 0 before and multiplied by it
after: the function stays the same (Nagel et al. 2019, Data-Free Quantization, eq. 7). Activations have one range for
all channels; where one channel is many times larger than the others, these keep few levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_export.sources.onnx_folding import attribute

_HOMOGENEOUS = frozenset({"Relu", "LeakyRelu", "PRelu"})  # f(s·x) = s·f(x) for s > 0
_SMALLEST = 1e-3  # a channel that is hardly used is not blown up by more than its inverse


@dataclass(frozen=True, eq=False)
class Pair:
    """Two Conv nodes with a rectifier between them that nothing else reads.

    Attributes
    ----------
    first, activation, second : onnx.NodeProto
    depthwise : bool
        Whether the second filters each channel by itself.
    """

    first: Any
    activation: Any
    second: Any
    depthwise: bool


def equalizable_pairs(model: Any) -> list[Pair]:
    """Every pair of a model whose batch norms are folded."""
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for value in graph.output:
        readers.setdefault(value.name, []).append(None)

    def only_reader(node: Any) -> Any:
        found = readers.get(node.output[0], [])
        return found[0] if len(found) == 1 else None

    def owned(node: Any) -> bool:
        return all(name in constants and len(readers[name]) == 1 for name in node.input[1:])

    found = []
    for first in (node for node in graph.node if node.op_type == "Conv" and owned(node)):
        activation = only_reader(first)
        if activation is None or activation.op_type not in _HOMOGENEOUS or activation.input[0] != first.output[0]:
            continue
        second = only_reader(activation)
        if second is None or second.op_type != "Conv" or second.input[0] != activation.output[0] or not owned(second):
            continue
        groups = attribute(second, "group", 1)
        kernel = next(tensor for tensor in graph.initializer if tensor.name == second.input[1])
        if groups == 1 or (groups == kernel.dims[0] and kernel.dims[1] == 1):
            found.append(Pair(first, activation, second, groups != 1))
    return found


def equalize(model: Any, values: Sequence[npt.NDArray[np.float32]]) -> Any:
    """A copy of a model with every pair evened out by how strong its channels are.

    Parameters
    ----------
    model : onnx.ModelProto
        Batch norms folded; one input.
    values : sequence of arrays
        Calibration inputs.

    Returns
    -------
    onnx.ModelProto
        The same function, but for rounding.

    Notes
    -----
    Channels are measured by their root mean square, not by their largest value: a single edge would decide, and the
    others lose levels to it; rare large values are the range estimator's to cut. Before a depthwise convolution, whose
    weights have a scale for each channel, all channels are made equally strong. Before any other one the rounding of
    its weights would pay for that, and the strength is balanced against the weights: s = √(rms / largest weight).
    """
    import onnx
    from onnx import numpy_helper

    result = onnx.ModelProto()
    result.CopyFrom(model)
    pairs = equalizable_pairs(result)
    strengths = _root_mean_squares(result, [pair.activation.output[0] for pair in pairs], values)
    constants = {tensor.name: tensor for tensor in result.graph.initializer}

    def scale(name: str, factors: npt.NDArray[np.float64], axis: int) -> None:
        array = numpy_helper.to_array(constants[name]).astype(np.float64)
        shape = [-1 if index == axis else 1 for index in range(array.ndim)]
        constants[name].CopyFrom(numpy_helper.from_array((array * factors.reshape(shape)).astype(np.float32), name))

    for pair in pairs:
        factors = strengths[pair.activation.output[0]]
        if not pair.depthwise:
            kernel = np.abs(numpy_helper.to_array(constants[pair.second.input[1]])).max(axis=(0, 2, 3))
            factors = np.sqrt(factors / np.maximum(kernel, _SMALLEST * kernel.max()))
        if not factors.max() > 0:
            continue
        factors = np.maximum(factors / factors.max(), _SMALLEST)
        for name in pair.first.input[1:]:
            scale(name, 1 / factors, 0)
        scale(pair.second.input[1], factors, 0 if pair.depthwise else 1)
    return result


def _root_mean_squares(
    model: Any, names: Sequence[str], values: Sequence[npt.NDArray[np.float32]]
) -> dict[str, npt.NDArray[np.float64]]:
    """Of every channel of these (1, C, H, W) tensors, over all values."""
    import onnx
    import onnxruntime

    if not names:
        return {}
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    exposed.graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, None) for name in names)
    session = onnxruntime.InferenceSession(exposed.SerializeToString(), providers=["CPUExecutionProvider"])
    squares: dict[str, npt.NDArray[np.float64]] = {}
    for value in values:
        for name, tensor in zip(names, session.run(names, {model.graph.input[0].name: value}), strict=True):
            found = np.square(tensor, dtype=np.float64).mean(axis=(0, 2, 3))
            squares[name] = squares.get(name, 0) + found
    return {name: np.sqrt(total / len(values)) for name, total in squares.items()}
