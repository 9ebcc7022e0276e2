"""Float islands in an integer graph: the conversions move outwards past what integers can do, and meet."""

from __future__ import annotations

from typing import Any

from edgecv_export.compatibility.fixes.changes import change, label, title
from edgecv_export.compatibility.fixes.draft import Draft

# Operators that give values of the range that they were given: the integers of both sides have one scale.
_KEEPING = frozenset({
    "RELU", "RELU6", "RELU_N1_TO_1", "MAX_POOL_2D", "AVERAGE_POOL_2D", "RESHAPE", "SQUEEZE", "EXPAND_DIMS",
    "TRANSPOSE", "PAD", "RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR", "SLICE", "STRIDED_SLICE",
})  # fmt: skip
# Those whose int8 kernels prescribe the output's quantization.
_PRESCRIBED = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}


@change
def push_dequantize(draft: Draft, operator: Any) -> str | None:
    """The conversion to float behind an operator that int8 has, too, instead of before it."""
    kind = draft.kind(operator)
    conversion = draft.writer(operator.inputs[0]) if kind in _KEEPING or kind in _PRESCRIBED else None
    if conversion is None or draft.kind(conversion) != "DEQUANTIZE":
        return None
    source, (result,) = conversion.inputs[0], operator.outputs
    quantization = _PRESCRIBED.get(kind, draft.quantization(source))
    if draft.dtype(source) != "int8" or quantization is None:
        return None
    said, before = title(draft, operator), operator.inputs[0]
    integers = draft.add_tensor(source, f"{label(draft, operator)}/int8", draft.shape(result), quantization)
    operator.inputs, operator.outputs = [source, *operator.inputs[1:]], [integers]
    draft.replace(operator, [operator, draft.make("DEQUANTIZE", [integers], result)])
    if not draft.readers(before) and before not in list(draft.graph.outputs):
        draft.replace(conversion, ())
    return f"computed {said} in int8"


@change
def join_conversions(draft: Draft, operator: Any) -> str | None:
    """From int8 to float and back is one change of scale, or nothing."""
    conversion = draft.writer(operator.inputs[0]) if draft.kind(operator) == "QUANTIZE" else None
    if conversion is None or draft.kind(conversion) != "DEQUANTIZE":
        return None
    said, source, (result,) = title(draft, operator), conversion.inputs[0], operator.outputs
    if draft.dtype(source) not in ("int8", "uint8"):
        return None
    between = operator.inputs[0]
    if draft.quantization(source) == draft.quantization(result) and result not in list(draft.graph.outputs):
        for reader in draft.readers(result):
            reader.inputs = [source if index == result else index for index in reader.inputs]
        draft.replace(operator, ())
    else:
        operator.inputs = [source]
    if not draft.readers(between) and between not in list(draft.graph.outputs):
        draft.replace(conversion, ())
    return f"fused two conversions into {said}"
