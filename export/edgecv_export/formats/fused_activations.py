"""Quantize-dequantize pairs that stand in the way of a fused activation.

A back end that computes a convolution and the activation behind it in one step keeps the sum in 32 bits between them. A
pair there rounds to eight for nothing, and keeps the two apart.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


def without_pairs_before(model: Any, operations: Collection[str]) -> Any:
    """Remove the pair between a Conv and an activation of these kinds, where nothing else reads it.

    Parameters
    ----------
    model : onnx.ModelProto
        With QuantizeLinear and DequantizeLinear; changed in place.
    operations : collection of str
        ONNX operators, for example ``("PRelu",)``.

    Returns
    -------
    onnx.ModelProto
        The argument.
    """
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    readers: dict[str, int] = {}
    for name in [*(name for node in graph.node for name in node.input), *(value.name for value in graph.output)]:
        readers[name] = readers.get(name, 0) + 1
    for node in [node for node in graph.node if node.op_type in operations]:
        chain = [node]
        for wanted in ("DequantizeLinear", "QuantizeLinear", "Conv"):
            maker = makers.get(chain[-1].input[0])
            if maker is None or maker.op_type != wanted or readers[chain[-1].input[0]] != 1:
                break
            chain.append(maker)
        else:
            _, dequantize, quantize, convolution = chain
            node.input[0] = convolution.output[0]
            graph.node.remove(dequantize)
            graph.node.remove(quantize)
    return model
