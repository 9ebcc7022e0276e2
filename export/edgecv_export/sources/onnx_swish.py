"""The rounding between a convolution and the swish, x · σ(x), behind it: left out, or kept to what matters.

A swish is two nodes, a sigmoid and a product, so no converter sees the pair between it and the convolution as one that
a fused activation would make superfluous (`formats.fused_activations`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

# Below it a swish is between −0.003 and 0: levels spent there are wasted. Unbounded below, sums often reach far down.
LEAST_INPUT = -8.0


@dataclass(frozen=True, eq=False)
class Pair:
    """A QuantizeLinear and DequantizeLinear between a Conv and a swish that nothing else reads.

    Attributes
    ----------
    convolution, quantize, dequantize : onnx.NodeProto
    readers : tuple of onnx.NodeProto
        The sigmoid and the product.
    """

    convolution: Any
    quantize: Any
    dequantize: Any
    readers: tuple[Any, ...]


def swish_pairs(model: Any) -> list[Pair]:
    """Every such pair of a quantized model."""
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    readers: dict[str, list[Any]] = {value.name: [None] for value in graph.output}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = []
    for dequantize in (node for node in graph.node if node.op_type == "DequantizeLinear"):
        quantize = makers.get(dequantize.input[0])
        convolution = None if quantize is None else makers.get(quantize.input[0])
        if quantize is None or quantize.op_type != "QuantizeLinear":
            continue
        if convolution is None or convolution.op_type != "Conv":
            continue
        alone = all(len(readers[node.output[0]]) == 1 for node in (convolution, quantize))
        after = readers.get(dequantize.output[0], [])
        if alone and _is_swish(dequantize.output[0], after):
            found.append(Pair(convolution, quantize, dequantize, tuple(after)))
    return found


def _is_swish(tensor: str, after: list[Any]) -> bool:
    factors = {node.op_type: node for node in after if node is not None}
    if len(after) != 2 or set(factors) != {"Sigmoid", "Mul"}:
        return False
    return sorted(factors["Mul"].input) == sorted([tensor, factors["Sigmoid"].output[0]])


def without_pairs_in_swishes(model: Any) -> Any:
    """Remove these pairs, for a back end that computes the convolution and the swish in one step, in place."""
    for pair in swish_pairs(model):
        for node in pair.readers:
            node.input[:] = [pair.convolution.output[0] if n == pair.dequantize.output[0] else n for n in node.input]
        model.graph.node.remove(pair.dequantize)
        model.graph.node.remove(pair.quantize)
    return model


def tighten_swish_pairs(model: Any, least: float = LEAST_INPUT) -> Any:
    """Spend the 256 levels of these pairs on what a swish tells apart, in place.

    Parameters
    ----------
    model : onnx.ModelProto
        Its pairs are of uint8.
    least : float
        Sums below it are rounded to it.
    """
    from onnx import numpy_helper

    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for pair in swish_pairs(model):
        scale, zero_point = (constants[name] for name in pair.quantize.input[1:3])
        low, high = (float(scale) * (level - int(zero_point)) for level in (0, 255))
        if low >= least or high <= 0:
            continue
        step = np.float32((high - least) / 255)
        level = np.uint8(np.clip(np.rint(-least / step), 0, 255))
        names = [f"{pair.quantize.output[0]}_tight_{what}" for what in ("scale", "zero_point")]
        for name, value in zip(names, (step, level), strict=True):
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        for node in (pair.quantize, pair.dequantize):
            node.input[1:] = names
    return model
