"""What an integer file computes, in real numbers: every quantized tensor as the floats that its integers stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_export.compatibility.fixes.draft import Draft
from edgecv_export.compatibility.rules.base import BIASES, WEIGHTS

_QUANTIZED = frozenset({"int8", "uint8", "int16"})
_CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE"})


def float_twin(content: bytes) -> bytes:
    """The same graph in float32, without rounding and without saturation.

    Parameters
    ----------
    content : bytes
        A TFLite file of one graph. What is float in it already stays as it is.
    """
    draft = Draft(content)
    _real_biases(draft)
    _without_conversions(draft)
    for index, tensor in enumerate(draft.graph.tensors):
        if draft.dtype(index) in _QUANTIZED and _scales(tensor).size:
            _make_real(draft, index, _scales(tensor))
    draft.forget_signatures()
    return draft.pack()


def _scales(tensor: Any) -> npt.NDArray[np.float64]:
    stored = None if tensor.quantization is None else tensor.quantization.scale
    return np.asarray([] if stored is None else stored, np.float64)


def _real_biases(draft: Draft) -> None:
    """A bias counts in steps of the features' scale times the weights'."""
    for operator in draft.operators:
        kind = draft.kind(operator)
        place = BIASES.get(kind)
        if place is None or place >= len(operator.inputs) or operator.inputs[place] < 0:
            continue
        bias, weights = operator.inputs[place], operator.inputs[WEIGHTS[kind]]
        features = draft.quantization(operator.inputs[2 if kind == "TRANSPOSE_CONV" else 0])
        if draft.dtype(bias) in ("int32", "int64") and features is not None:
            _make_real(draft, bias, features[0] * _scales(draft.graph.tensors[weights]), zeros=False)


def _make_real(draft: Draft, index: int, scales: npt.NDArray[np.float64], *, zeros: bool = True) -> None:
    tensor = draft.graph.tensors[index]
    if draft.is_constant(index):
        values = draft.values(index).astype(np.float64)
        shape = [1] * values.ndim
        if scales.size > 1:
            shape[tensor.quantization.quantizedDimension if zeros else 0] = -1
        if zeros:
            values -= np.asarray(tensor.quantization.zeroPoint, np.float64).reshape(shape)
        buffer = draft.schema.BufferT()
        buffer.data = np.frombuffer((values * scales.reshape(shape)).astype(np.float32).tobytes(), np.uint8)
        draft.model.buffers.append(buffer)
        tensor.buffer = len(draft.model.buffers) - 1
    tensor.type, tensor.quantization = draft.schema.TensorType.FLOAT32, None


def _without_conversions(draft: Draft) -> None:
    """Between real numbers there is nothing to convert."""
    same: dict[int, int] = {}
    kept = []
    for operator in draft.operators:
        operator.inputs = [same.get(index, index) for index in operator.inputs]
        if draft.kind(operator) in _CONVERSIONS and draft.dtype(operator.inputs[0]) != "float16":
            same[operator.outputs[0]] = operator.inputs[0]
        else:
            kept.append(operator)
    draft.graph.operators = kept
    draft.graph.outputs = [same.get(index, index) for index in draft.graph.outputs]
