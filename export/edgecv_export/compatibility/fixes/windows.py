"""Windows: pooling in two stages, borders added beforehand, and long strides as two short ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgecv_export.compatibility.fixes.changes import change, label, title
from edgecv_export.compatibility.fixes.draft import Draft

_SAME, _VALID = 0, 1  # Padding
_POOLS = frozenset({"AVERAGE_POOL_2D", "MAX_POOL_2D"})
_TALLEST = 256  # the tallest window that an accelerator of the tables pools over
_LONGEST = 3  # the longest stride that all of them take


@change
def pool_in_two_stages(draft: Draft, operator: Any) -> str | None:
    """Over the whole picture: first over strips, then over their results. Means of equal strips have their mean."""
    kind, options = draft.kind(operator), operator.builtinOptions
    given, (result,) = operator.inputs[0], operator.outputs
    if kind not in _POOLS or options.padding != _VALID:
        return None
    _, height, width, channels = draft.shape(given)
    whole = (options.filterHeight, options.filterWidth) == (height, width)
    strips = next((size for size in range(min(_TALLEST, height - 1), 1, -1) if height % size == 0), None)
    if not whole or strips is None or height // strips > _TALLEST:
        return None
    said, count = title(draft, operator), height // strips
    between = draft.add_tensor(result, f"{label(draft, operator)}/strips", (draft.shape(given)[0], count, 1, channels))
    window = {"padding": _VALID, "strideH": strips, "strideW": 1, "filterHeight": strips, "filterWidth": width}
    first = draft.make(kind, [given], between, "Pool2DOptions", **window)
    operator.inputs = [between]
    options.filterHeight, options.filterWidth, options.strideH, options.strideW = count, 1, 1, 1
    draft.replace(operator, [first, operator])
    return f"split {said} into strips of {strips} rows and their {'mean' if kind == 'AVERAGE_POOL_2D' else 'maximum'}"


@change
def pad_beforehand(draft: Draft, operator: Any) -> str | None:
    """The border that SAME adds, as an operator of its own: long strides may be taken where nothing is padded.

    Vela 5.2 would join it with the convolution again and then not know how to run both, so that a pooling over single
    pixels, which changes nothing, keeps them apart.
    """
    if draft.kind(operator) != "CONV_2D" or max(_strides(operator)) <= _LONGEST:
        return None
    said, padded = title(draft, operator), _padded(draft, operator)
    if padded is None:
        return None
    (large,) = padded.outputs
    apart = draft.add_tensor(large, f"{label(draft, operator)}/apart")
    operator.inputs = [apart, *operator.inputs[1:]]
    draft.replace(operator, [padded, _pixels(draft, large, apart, 1), operator])
    return f"gave the border of {said} an operator of its own"


@change
def keep_padding_apart(draft: Draft, operator: Any) -> str | None:
    """The same for a border that is an operator of its own already."""
    before = draft.writer(operator.inputs[0]) if draft.kind(operator) == "CONV_2D" else None
    if before is None or draft.kind(before) != "PAD" or max(_strides(operator)) <= _LONGEST:
        return None
    said, given = title(draft, operator), operator.inputs[0]
    apart = draft.add_tensor(given, f"{label(draft, operator)}/apart")
    operator.inputs = [apart, *operator.inputs[1:]]
    draft.replace(operator, [_pixels(draft, given, apart, 1), operator])
    return f"kept {said} apart from the padding before it"


@change
def stride_in_two(draft: Draft, operator: Any) -> str | None:
    """A depthwise convolution with a long stride: with a shorter one, of whose results only some are taken."""
    steps = _strides(operator) if draft.kind(operator) == "DEPTHWISE_CONV_2D" else (1, 1)
    rest = next((size for size in (2, _LONGEST) if steps[0] % size == 0 and steps[0] // size <= _LONGEST), None)
    if steps[0] != steps[1] or steps[0] <= _LONGEST or rest is None:
        return None
    said, result, stride = title(draft, operator), operator.outputs[0], steps[0] // rest
    batch, rows, columns, channels = draft.shape(result)
    sizes = zip(
        draft.shape(operator.inputs[0])[1:3],
        _missing(draft, operator),
        draft.shape(operator.inputs[1])[1:3],
        _dilations(operator),
        strict=True,
    )
    tall, wide = ((size + more - _reach(side, dilation)) // stride + 1 for size, more, side, dilation in sizes)
    if (-(-tall // rest), -(-wide // rest)) != (rows, columns):
        return None
    padded = _padded(draft, operator)
    between = draft.add_tensor(result, f"{label(draft, operator)}/all", (batch, tall, wide, channels))
    taken = _pixels(draft, between, result, rest)
    operator.outputs = [between]
    operator.builtinOptions.strideH = operator.builtinOptions.strideW = stride
    operator.builtinOptions.padding = _VALID
    draft.replace(operator, [*([] if padded is None else [padded]), operator, taken])
    return f"split the stride of {said} into {stride} and {rest}"


def _pixels(draft: Draft, given: int, result: int, stride: int) -> Any:
    """A pooling over single pixels: every one, or every so manieth of a row and column."""
    window = {"padding": _VALID, "strideH": stride, "strideW": stride, "filterHeight": 1, "filterWidth": 1}
    return draft.make("MAX_POOL_2D", [given], result, "Pool2DOptions", **window)


def _padded(draft: Draft, operator: Any) -> Any | None:
    """The operator that adds a convolution's border, from which it reads then; None where it adds none."""
    options, given, missing = operator.builtinOptions, operator.inputs[0], _missing(draft, operator)
    if not any(missing):
        return None
    shape = draft.shape(given)
    (top, left), (height, width) = (size // 2 for size in missing), missing
    borders = np.array([[0, 0], [top, height - top], [left, width - left], [0, 0]], np.int32)
    name = label(draft, operator)
    large = draft.add_tensor(given, f"{name}/padded", (shape[0], shape[1] + height, shape[2] + width, shape[3]))
    operator.inputs, options.padding = [large, *operator.inputs[1:]], _VALID
    return draft.make("PAD", [given, draft.add_constant(borders, f"{name}/border")], large, "PadOptions")


def _missing(draft: Draft, operator: Any) -> tuple[int, int]:
    """Rows and columns that the border adds."""
    if operator.builtinOptions.padding != _SAME:
        return 0, 0
    before, after = draft.shape(operator.inputs[0])[1:3], draft.shape(operator.outputs[0])[1:3]
    kernel = draft.shape(operator.inputs[1])[1:3]
    sizes = zip(before, after, _strides(operator), kernel, _dilations(operator), strict=True)
    height, width = (
        max(0, (many - 1) * stride + _reach(side, dilation) - size) for size, many, stride, side, dilation in sizes
    )
    return height, width


def _strides(operator: Any) -> tuple[int, int]:
    return operator.builtinOptions.strideH, operator.builtinOptions.strideW


def _dilations(operator: Any) -> tuple[int, int]:
    return operator.builtinOptions.dilationHFactor, operator.builtinOptions.dilationWFactor


def _reach(kernel: int, dilation: int) -> int:
    return (kernel - 1) * dilation + 1
