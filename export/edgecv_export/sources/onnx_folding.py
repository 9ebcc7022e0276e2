"""Batch normalisation of an ONNX file, folded into the layer before it (Jacob et al. 2018, eq. 14).

ONNX Runtime folds only some of it before it quantizes, and not that behind a Gemm: an embedder's vector would be
rounded twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def fold_batch_norms(model: Any) -> Any:
    """The same function with every foldable batch norm part of the layer before it.

    Foldable is one whose only input is a Conv or Gemm with constant weights that feeds nothing else.

    Parameters
    ----------
    model : onnx.ModelProto

    Returns
    -------
    onnx.ModelProto
        The argument itself where there is nothing to fold; else a copy.
    """
    import onnx
    from onnx import numpy_helper

    folded = onnx.ModelProto()
    folded.CopyFrom(model)
    graph = folded.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    for node in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        layer = _layer_before(node, graph, outputs)
        if layer is None or not all(name in constants for name in (*node.input[1:5], *layer.input[1:3])):
            continue
        statistics, weights = (
            [numpy_helper.to_array(constants[name]).astype(np.float64) for name in names]
            for names in (node.input[1:5], layer.input[1:3])
        )
        axis = 1 if layer.op_type == "Gemm" and not attribute(layer, "transB", 0) else 0
        if any(array.shape != (weights[0].shape[axis],) for array in (*statistics, *weights[1:])):
            continue
        for suffix, array in zip(("kernel", "bias"), _folded(statistics, weights, axis, node), strict=True):
            graph.initializer.append(
                numpy_helper.from_array(array.astype(np.float32), f"{node.output[0]}_folded_{suffix}")
            )
        layer.input[:] = [layer.input[0], f"{node.output[0]}_folded_kernel", f"{node.output[0]}_folded_bias"]
        layer.output[0] = node.output[0]
        graph.node.remove(node)
    if len(graph.node) == len(model.graph.node):
        return model
    drop_unused(graph)
    return folded


def drop_unused(graph: Any) -> None:
    """Remove the constants that no node reads."""
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def attribute(node: Any, name: str, default: Any) -> Any:
    """A node's attribute, or what the operator takes where it is not given."""
    from onnx import helper

    return next((helper.get_attribute_value(found) for found in node.attribute if found.name == name), default)


def _layer_before(node: Any, graph: Any, outputs: set[str]) -> Any:
    """The layer that alone feeds this node, and nothing else; None where there is none."""
    tensor = node.input[0]
    maker = next((other for other in graph.node if tensor in other.output), None)
    readers = sum(list(other.input).count(tensor) for other in graph.node)
    if maker is None or readers != 1 or tensor in outputs or len(node.output) != 1:
        return None
    if maker.op_type == "Conv":
        return maker
    plain = attribute(maker, "alpha", 1.0) == 1 and attribute(maker, "beta", 1.0) == 1
    return maker if maker.op_type == "Gemm" and plain and not attribute(maker, "transA", 0) else None


def _folded(statistics: list[Array], weights: list[Array], axis: int, node: Any) -> tuple[Array, Array]:
    """Kernel and bias with the batch norm's work included."""
    gamma, beta, mean, variance = statistics
    kernel, bias = weights[0], weights[1] if len(weights) > 1 else np.zeros_like(mean)
    gain = gamma / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    shape = [-1 if index == axis else 1 for index in range(kernel.ndim)]
    return kernel * gain.reshape(shape), (bias - mean) * gain + beta
