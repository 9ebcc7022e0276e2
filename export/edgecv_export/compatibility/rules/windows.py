"""Kernels, strides, padding and scale factors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from edgecv_export.compatibility.rules.base import first, one_of, rule, weights
from edgecv_export.tflite_graph import Operator


def _strides(operator: Operator) -> tuple[int, int]:
    return operator.options.get("stride_h", 1), operator.options.get("stride_w", 1)


def _kernel(operator: Operator) -> tuple[int, int]:
    own = weights(operator)
    if own is not None and len(own.shape) == 4:
        return own.shape[1], own.shape[2]
    return operator.options.get("filter_height", 1), operator.options.get("filter_width", 1)


def _dilations(operator: Operator) -> tuple[int, int]:
    return operator.options.get("dilation_hfactor", 1), operator.options.get("dilation_wfactor", 1)


def _pads(operator: Operator) -> bool:
    """Whether a border is added: SAME may add none."""
    if operator.options.get("padding") == "VALID":
        return False
    given, result = first(operator).shape[1:3], operator.outputs[0].shape[1:3]
    windows = zip(given, result, _strides(operator), _kernel(operator), _dilations(operator), strict=True)
    return any(
        (after - 1) * stride + (kernel - 1) * dilation + 1 > before
        for before, after, stride, kernel, dilation in windows
    )


@rule("stride")
def _stride(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    height, width = _strides(operator)
    if max(height, width) <= wanted["maximum"]:
        return None
    if wanted.get("unless_valid") and not _pads(operator) and _dilations(operator) == (1, 1):
        return None
    more = " unless nothing is padded and the dilation is 1" if wanted.get("unless_valid") else ""
    return f"strides must be at most {wanted['maximum']}{more}; they are {height}×{width}"


@rule("kernel")
def _kernel_size(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    padding = operator.options.get("padding")
    if padding != wanted.get("padding", padding):
        return None
    height, width = _kernel(operator)
    where = f" with {padding} padding" if "padding" in wanted else ""
    if "maximum" in wanted and max(height, width) > wanted["maximum"]:
        return f"kernels must be at most {wanted['maximum']}×{wanted['maximum']}{where}; this one is {height}×{width}"
    if "maximum_height" in wanted and height > wanted["maximum_height"]:
        return f"kernels must be at most {wanted['maximum_height']} high{where}; this one is {height}×{width}"
    if "maximum_area" in wanted and height * width > wanted["maximum_area"]:
        return f"kernels must cover at most {wanted['maximum_area']} values{where}; this one is {height}×{width}"
    return None


@rule("equal_dilation")
def _equal_dilation(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    height, width = _dilations(operator)
    return None if height == width else f"dilation must be the same in both directions; it is {height}×{width}"


@rule("transposed_stride")
def _transposed_stride(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    height, width = _strides(operator)
    if (height, width) in ((1, 1), (2, 2)):
        return None
    rows, columns = first(operator).shape[1:3]
    tall, wide = _kernel(operator)
    if (height, width) == (1, 2) and rows == tall == 1:
        return None
    if (height, width) == (2, 1) and columns == wide == 1:
        return None
    return f"a transposed convolution must have stride 1×1 or 2×2; this one has {height}×{width}"


@rule("transposed_shape")
def _transposed_shape(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    padding = operator.options.get("padding")
    given, result = first(operator).shape, operator.outputs[0].shape
    for axis, (stride, kernel) in enumerate(zip(_strides(operator), _kernel(operator), strict=True), start=1):
        length = given[axis] * stride + (0 if padding == "SAME" else max(kernel - stride, 0))
        if result[axis] != length:
            return f"with {padding} padding the output must be {length} along axis {axis}, and is {result[axis]}"
    return None


@rule("upscale")
def _upscale(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    """Resizing by the factors of the table, alike in both directions (one may stay at 1 where that side is 1)."""
    given, result = first(operator).shape[1:3], operator.outputs[0].shape[1:3]
    if given == (1, 1) or given == result:
        return None
    aligned = bool(operator.options.get("align_corners"))
    less = 1 if aligned else 0
    factors = [
        (after - less) / (before - less) if before > less else 1.0 for before, after in zip(given, result, strict=True)
    ]
    factors = [
        1.0 if after == before == 1 else factor for before, after, factor in zip(given, result, factors, strict=True)
    ]
    allowed = wanted["half_pixel"] if operator.options.get("half_pixel_centers") else wanted["allowed"]
    kept = [factor for factor, after in zip(factors, result, strict=True) if not (after == 1 and factor == 1)]
    if len(set(kept)) == 1 and kept[0] in allowed:
        return None
    shown = "×".join(f"{factor:g}" for factor in factors)
    return f"resizing must be by {one_of(allowed)}, alike in height and width; this one is by {shown}"


@rule("power_of_two_upscale")
def _power_of_two(operator: Operator, wanted: Mapping[str, Any]) -> str | None:
    given, result = first(operator).shape[1:3], operator.outputs[0].shape[1:3]
    if operator.options.get("align_corners") and operator.options.get("half_pixel_centers"):
        return "align_corners and half_pixel_centers exclude each other"
    less = 1 if operator.options.get("align_corners") else 0
    for before, after in zip(given, result, strict=True):
        if before <= less or before == after:
            continue
        factor = (after - less) / (before - less)
        whole = factor >= 1 and math.log2(factor).is_integer()
        if (wanted["powers_only"] and not whole) or factor > wanted["maximum"]:
            return f"resizing must be by a power of two up to {wanted['maximum']}; this one is by {factor:g}"
    return None
