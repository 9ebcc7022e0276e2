"""TFLite models whose weights are float16, but for the constants of layers that stay in float32.

The converter halves every constant. Among those of a suppression in the graph are the ranks of its candidates, and
float16 has no whole numbers above 2048 but the even ones.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

# Operators with weights, at inputs 1 and 2 (a transposed convolution: 1 and 3).
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_3D", "FULLY_CONNECTED", "TRANSPOSE_CONV")


def to_half(model: Any, exact: Collection[str]) -> None:
    """Store the weights of a float32 model in float16, each with an operator that widens it when the model is loaded.

    Parameters
    ----------
    model : ModelT
        Is changed.
    exact : collection of str
        Names of the tensors that operators compute whose constants stay as they are.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = model.subgraphs[0]
    code = _code_of(model, schema.BuiltinOperator.DEQUANTIZE, schema.OperatorCodeT)
    wide = []
    for index in _weights(model, exact, schema):
        tensor = graph.tensors[index]
        values = np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.float32).astype(np.float16)
        narrow, buffer = schema.TensorT(), schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        narrow.name, narrow.shape, narrow.type, narrow.buffer = (
            tensor.name + b"_half", tensor.shape, schema.TensorType.FLOAT16, len(model.buffers),
        )  # fmt: skip
        model.buffers.append(buffer)
        graph.tensors.append(narrow)
        if not any(other.buffer == tensor.buffer for other in graph.tensors if other is not tensor):
            model.buffers[tensor.buffer].data = None
        tensor.buffer = 0  # by convention the empty one
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = code, [len(graph.tensors) - 1], [index]
        operator.builtinOptionsType, operator.builtinOptions = (
            schema.BuiltinOptions.DequantizeOptions, schema.DequantizeOptionsT(),
        )  # fmt: skip
        wide.append(operator)
    graph.operators[:0] = wide


def _weights(model: Any, exact: Collection[str], schema: Any) -> list[int]:
    """The constants that are weights alone."""
    graph = model.subgraphs[0]
    kinds = {getattr(schema.BuiltinOperator, name) for name in _WEIGHTED}
    found: dict[int, bool] = {}
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        weighted = max(code.builtinCode, code.deprecatedBuiltinCode) in kinds
        halved = weighted and graph.tensors[operator.outputs[0]].name.decode() not in exact
        for place, index in enumerate(operator.inputs):
            if index >= 0:
                found[index] = found.get(index, True) and halved and place > 0
    return [
        index
        for index, alone in found.items()
        if alone
        and graph.tensors[index].type == schema.TensorType.FLOAT32
        and model.buffers[graph.tensors[index].buffer].data is not None
    ]


def _code_of(model: Any, kind: int, make: Any) -> int:
    """The place of an operator in the model's list of them."""
    for place, code in enumerate(model.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == kind:
            return place
    code = make()
    code.builtinCode = code.deprecatedBuiltinCode = kind
    code.version = 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1
