"""Types, ranks, shapes and quantization of what an operator reads and writes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from edgecv_export.compatibility.rules.base import features, first, one_of, rule, weights
from edgecv_export.tflite_graph import Operator


@rule("dtype")
def _dtype(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    for tensor in features(operator):
        if tensor.dtype not in wanted["allowed"]:
            return f"features must be {one_of(wanted['allowed'])}; {tensor.name!r} is {tensor.dtype}"
    return None


@rule("dtype_not")
def _dtype_not(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    for tensor in features(operator):
        if tensor.dtype in wanted["refused"]:
            return f"features must not be {one_of(wanted['refused'])}; {tensor.name!r} is {tensor.dtype}"
    return None


@rule("input_dtype")
def _input_dtype(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    found = first(operator).dtype
    return None if found in wanted["allowed"] else f"its input must be {one_of(wanted['allowed'])}, and is {found}"


@rule("same_dtype")
def _same_dtype(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    before, after = first(operator).dtype, operator.outputs[0].dtype
    return None if before == after else f"input and output must be of one type; they are {before} and {after}"


@rule("same_shape")
def _same_shape(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    before, after = first(operator).shape, operator.outputs[0].shape
    return None if before == after else f"input and output must be of one shape; they are {before} and {after}"


@rule("static_shape")
def _static_shape(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    free = 1 if wanted.get("first_may_vary") else 0
    for tensor in features(operator):
        if any(size < 0 for size in tensor.signature[free:]):
            shape = ", ".join("?" if size < 0 else str(size) for size in tensor.signature)
            return f"shapes must be known beforehand; {tensor.name!r} is ({shape})"
    return None


@rule("rank")
def _rank(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    for tensor in features(operator):
        if len(tensor.shape) > wanted["maximum"]:
            return f"at most {wanted['maximum']} dimensions; {tensor.name!r} has {len(tensor.shape)}: {tensor.shape}"
    return None


@rule("innermost_dimensions")
def _innermost(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    for tensor in features(operator):
        if any(size > 1 for size in tensor.shape[: -wanted["count"]]):
            return f"only the {wanted['count']} innermost dimensions may exceed 1; {tensor.name!r} is {tensor.shape}"
    return None


@rule("one_row")
def _one_row(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    shape = operator.outputs[0].shape
    return None if math.prod(shape) == shape[-1] else f"its output must be one vector, and is {shape}"


@rule("batch")
def _batch(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    shape = first(operator).shape
    found = shape[0] if len(shape) >= wanted.get("from_rank", 4) else 1
    return None if found == 1 else f"the batch size must be 1, and is {found}"


@rule("quantized")
def _quantized(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    own = weights(operator)
    for tensor in (*features(operator), *(() if own is None else (own,))):
        if not tensor.scales and tensor.dtype not in ("bool", "int32", "int64"):
            return f"every tensor must be quantized; {tensor.name!r} ({tensor.dtype}) is not"
    return None


@rule("positive_scale")
def _positive_scale(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    own = weights(operator)
    for tensor in (*features(operator), *(() if own is None else (own,))):
        if any(not 0 < scale < math.inf for scale in tensor.scales):
            return f"quantization scales must be positive and finite; one of {tensor.name!r} is not"
    return None


@rule("per_tensor")
def _per_tensor(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    for tensor in features(operator):
        if len(tensor.scales) > 1:
            return f"features must have one scale; {tensor.name!r} has {len(tensor.scales)}"
    return None


@rule("zero_point")
def _zero_point(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    for tensor in features(operator):
        low, high = wanted.get(tensor.dtype, (-math.inf, math.inf))
        if any(not low <= zero <= high for zero in tensor.zero_points):
            return f"the zero point of {tensor.dtype} must be in {low}..{high}; that of {tensor.name!r} is not"
    return None


@rule("same_quantization")
def _same_quantization(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    *given, result = features(operator)
    for tensor in given:
        if (tensor.scales, tensor.zero_points) != (result.scales, result.zero_points):
            return f"inputs and output must have one quantization; {tensor.name!r} has another than {result.name!r}"
    return None


@rule("parameters_constant")
def _parameters_constant(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    carried = {tensor.index for tensor in features(operator)}
    for tensor in operator.inputs:
        if tensor is not None and tensor.index not in carried and not tensor.constant:
            return f"its parameters must be constants; {tensor.name!r} is computed"
    return None


@rule("fused_activation")
def _fused_activation(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    found = operator.fused_activation
    if found is None or found in wanted["allowed"]:
        return None
    allowed = one_of(wanted["allowed"]) or "none"
    return f"its fused activation must be {allowed}, and is {found}"
