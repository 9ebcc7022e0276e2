"""Conditions of single operators."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgecv_export.compatibility.rules.base import first, rule, weights
from edgecv_export.tflite_graph import Operator


def _axes(operator: Operator) -> list[int] | None:
    axes = operator.input(1)
    if axes is None or not axes.constant:
        return None
    rank = len(first(operator).shape)
    return [int(axis) % rank for axis in np.atleast_1d(axes.values())]


@rule("mean")
def _mean(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    axes, tensor = _axes(operator), first(operator)
    if axes is None:
        return "its parameters must be constants; the axes are computed"
    if tensor.dtype not in ("int8", "uint8", "int16"):
        return f"its input must be int8, uint8 or int16, and is {tensor.dtype}"
    if len(tensor.shape) > 3 and tensor.shape[0] != 1:
        return f"the batch size must be 1, and is {tensor.shape[0]}"
    if any(tensor.shape[axis] > wanted["axis"] for axis in axes):
        return f"a reduced axis must be at most {wanted['axis']} long; {tensor.name!r} is {tensor.shape}"
    if math.prod(tensor.shape[axis] for axis in axes) > wanted[tensor.dtype]:
        return f"at most {wanted[tensor.dtype]} values may be averaged; {tensor.name!r} is {tensor.shape}"
    if len(tensor.shape) - 1 in axes and 1 not in tensor.shape[-3:]:
        return f"averaging over channels needs a height, width or depth of 1; {tensor.name!r} is {tensor.shape}"
    return None


@rule("reduces_only")
def _reduces_only(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    axes = _axes(operator)
    refused = wanted["not_axis"]
    if axes is None or refused in axes:
        return f"it must not reduce axis {refused}"
    return None


@rule("argmax")
def _argmax(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    axes, shape = _axes(operator), first(operator).shape
    if axes != [len(shape) - 1]:
        return f"it must work along the channels, axis {len(shape) - 1}, and works along {axes}"
    if shape[-1] > wanted["depth"]:
        return f"at most {wanted['depth']} channels; there are {shape[-1]}"
    return None


@rule("softmax_area")
def _softmax_area(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    area = math.prod(first(operator).shape[-3:-1])
    return None if area < wanted["below"] else f"height times width must be below {wanted['below']}, and is {area}"


@rule("softmax_length")
def _softmax_length(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    shape = first(operator).shape
    if math.prod(shape) != shape[-1] or shape[-1] > wanted["maximum"]:
        return f"it takes one dimension of at most {wanted['maximum']} values; {first(operator).name!r} is {shape}"
    return None


@rule("stride_slice")
def _stride_slice(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    strides = operator.input(3)
    if strides is None or not strides.constant:
        return "its parameters must be constants; the strides are computed"
    values = strides.values()
    if (values < 0).any():
        return f"strides must not be negative; they are {tuple(values.tolist())}"
    if wanted.get("only_ones") and (values != 1).any():
        return f"strides must be 1; they are {tuple(values.tolist())}"
    return None


@rule("never")
def _never(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    return wanted["reason"]


@rule("matmul_dtype")
def _matmul_dtype(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    own = weights(operator)
    if own is not None and own.constant:
        return None
    found = first(operator).dtype
    return None if found == "int8" else f"with computed weights the input must be int8, and is {found}"


@rule("transpose")
def _transpose(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    """Vela's limits on U55 and U65: the axes that are moved must be at most 65536 long."""
    order = operator.input(1)
    if order is None or not order.constant:
        return "its parameters must be constants; the order is computed"
    shape = first(operator).shape
    if len(shape) > 8:
        return f"at most 8 dimensions; there are {len(shape)}"
    moved = [axis for axis, source in enumerate(order.values().tolist()) if source != axis]
    if any(shape[axis] > wanted["longest"] for axis in moved):
        return f"axes that are moved must be at most {wanted['longest']} long; the shape is {shape}"
    return None


@rule("pads_only")
def _pads_only(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    pads = operator.input(1)
    if pads is None or not pads.constant:
        return "its parameters must be constants; the padding is computed"
    values = pads.values()
    if wanted.get("not_batch") and len(values) > 3 and values[0].any():
        return f"the batch must not be padded; the padding is {values.tolist()}"
    return None


@rule("gather")
def _gather(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    axis, batch = operator.options.get("axis", 0), operator.options.get("batch_dims", 0)
    return None if axis == batch else f"its axis must be its number of batch dimensions, {batch}, and is {axis}"


@rule("depth_multiple")
def _depth_multiple(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    axes, shape = _axes(operator), first(operator).shape
    if axes is not None and len(shape) - 1 in axes and shape[-1] % wanted["of"]:
        return f"averaging over channels needs a multiple of {wanted['of']} channels; there are {shape[-1]}"
    return None
