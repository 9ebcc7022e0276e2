"""Weights and biases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgecv_export.compatibility.rules.base import BIASES, first, rule, weights
from edgecv_export.tflite_graph import Operator


@rule("weights_8bit")
def _weights_8bit(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    own = weights(operator)
    if own is None or own.dtype in ("int8", "uint8"):
        return None
    return f"weights must be of 8 bits, and are {own.dtype}"


@rule("weights_constant")
def _weights_constant(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    own = weights(operator)
    return None if own is None or own.constant else "weights must be constants, and are computed"


@rule("weight_sum")
def _weight_sum(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    own = weights(operator)
    if own is None or not own.constant or own.dtype not in ("int8", "uint8"):
        return None
    limit = wanted["int16"] if first(operator).dtype == "int16" else wanted["int8"]
    # The output channel comes last in a depthwise kernel and first elsewhere.
    axis = len(own.shape) - 1 if operator.kind == "DEPTHWISE_CONV_2D" else 0
    values = np.moveaxis(own.values().astype(np.int64), axis, 0)
    zeros = np.array(own.zero_points or (0,)).reshape(-1, *(1,) * (values.ndim - 1))
    largest = int(np.abs(values - zeros).reshape(len(values), -1).sum(1).max(initial=0))
    return None if largest <= limit else f"the weights of a channel must sum to at most {limit}; one sums to {largest}"


@rule("bias")
def _bias(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    bias = operator.input(BIASES[operator.kind])
    if bias is None:
        return None
    if not bias.constant:
        return "the bias must be a constant, and is computed"
    if bias.dtype not in ("int32", "int64"):
        return f"the bias must be int32 or int64, and is {bias.dtype}"
    if bias.dtype == "int64" and int(np.abs(bias.values()).max(initial=0)) >= 2 ** wanted["bits"]:
        return f"bias values must fit {wanted['bits']} bits; one does not"
    return None
