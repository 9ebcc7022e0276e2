"""Resizing: by a large factor in two steps, by an odd one with tiles, or later in the graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgecv_export.compatibility.fixes.changes import change, label, title
from edgecv_export.compatibility.fixes.draft import Draft

_NEAREST, _BILINEAR = "RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"
_LARGEST = 8  # the largest factor that the smaller accelerators take at once
_OPTIONS = {_NEAREST: "ResizeNearestNeighborOptions", _BILINEAR: "ResizeBilinearOptions"}

# What looks at one value, or one pixel, at a time.
_POINTWISE = frozenset({
    "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "LOGISTIC", "TANH", "HARD_SWISH", "ELU", "GELU", "ABS", "SOFTMAX",
})  # fmt: skip


def _factors(draft: Draft, operator: Any) -> tuple[int, int] | None:
    """By how much a resizing enlarges height and width, where it is by whole numbers and corner to corner of pixels."""
    if draft.kind(operator) not in _OPTIONS or operator.builtinOptions.alignCorners:
        return None
    before, after = draft.shape(operator.inputs[0]), draft.shape(operator.outputs[0])
    if len(before) != 4 or any(after[axis] % before[axis] for axis in (1, 2)):
        return None
    return after[1] // before[1], after[2] // before[2]


@change
def resize_in_two_steps(draft: Draft, operator: Any) -> str | None:
    """By 16, 32 or 64 at once is by 8 and then by the rest.

    Of nearest neighbours ``floor(i / (a·b)) = floor(floor(i / b) / a)``. Bilinear values are linear between the
    pixels, and so between those of the finer grid, whose points the pixels are; with half-pixel centres they are not.
    """
    factors, kind = _factors(draft, operator), draft.kind(operator)
    if factors is None or factors[0] != factors[1] or factors[0] <= _LARGEST or factors[0] % _LARGEST:
        return None
    rest = factors[0] // _LARGEST
    if rest not in (2, 4, _LARGEST) or (kind == _BILINEAR and operator.builtinOptions.halfPixelCenters):
        return None
    said, (result,), given = title(draft, operator), operator.outputs, operator.inputs[0]
    _, height, width, channels = draft.shape(given)
    name = label(draft, operator)
    between = draft.add_tensor(result, f"{name}/first", (1, height * _LARGEST, width * _LARGEST, channels))
    size = draft.add_constant(np.array([height * _LARGEST, width * _LARGEST], np.int32), f"{name}/first size")
    values = {"alignCorners": False, "halfPixelCenters": operator.builtinOptions.halfPixelCenters}
    first = draft.make(kind, [given, size], between, _OPTIONS[kind], **values)
    operator.inputs = [between, operator.inputs[1]]
    draft.replace(operator, [first, operator])
    return f"split {said} into steps by {_LARGEST} and {rest}"


@change
def move_resize(draft: Draft, operator: Any) -> str | None:
    """A resizing behind the operator that follows it, where that looks at one pixel at a time.

    Of nearest neighbours any such operator gives the same either way; of bilinear values a convolution of 1×1 does,
    since the weights of the interpolation sum to one.
    """
    kind = draft.kind(operator)
    follows = draft.only_reader(operator.outputs[0]) if kind in _OPTIONS else None
    if follows is None or not _commutes(draft, follows, kind == _NEAREST):
        return None
    said, other = title(draft, operator), title(draft, follows)
    given, result = operator.inputs[0], follows.outputs[0]
    small = (*draft.shape(given)[:3], draft.shape(result)[3])
    between = draft.add_tensor(result, f"{label(draft, follows)}/small", small)
    follows.inputs, follows.outputs = [given, *follows.inputs[1:]], [between]
    operator.inputs, operator.outputs = [between, *operator.inputs[1:]], [result]
    draft.swap(operator, follows)
    return f"moved {said} behind {other}"


def _commutes(draft: Draft, operator: Any, nearest: bool) -> bool:
    kind, options = draft.kind(operator), operator.builtinOptions
    if kind in _POINTWISE:
        return nearest
    if kind != "CONV_2D" or draft.shape(operator.inputs[1])[1:3] != (1, 1):
        return False
    plain = (options.strideH, options.strideW) == (1, 1)
    return plain and (nearest or not options.fusedActivationFunction)


@change
def resize_with_tiles(draft: Draft, operator: Any) -> str | None:
    """Nearest neighbours by any whole factor: every pixel is repeated along the width, then every row."""
    factors = _factors(draft, operator)
    if factors is None or draft.kind(operator) != _NEAREST or draft.shape(operator.inputs[0])[0] != 1:
        return None
    said, (result,), given = title(draft, operator), operator.outputs, operator.inputs[0]
    _, height, width, channels = draft.shape(given)
    name = label(draft, operator)
    steps, tensor = [], given
    wide = width * factors[1]
    for axis, factor, shape in (
        ("columns", factors[1], (1, height * width, 1, channels)),
        ("rows", factors[0], (1, height, 1, wide * channels)),
    ):
        flat = draft.add_tensor(result, f"{name}/{axis}", shape)
        tiled = draft.add_tensor(result, f"{name}/{axis} repeated", (*shape[:2], factor, shape[3]))
        times = draft.add_constant(np.array([1, 1, factor, 1], np.int32), f"{name}/{axis} times")
        steps += [_reshape(draft, tensor, flat, shape), draft.make("TILE", [flat, times], tiled)]
        tensor = tiled
    draft.replace(operator, [*steps, _reshape(draft, tensor, result, draft.shape(result))])
    return f"replaced {said} by repeated columns and rows"


def _reshape(draft: Draft, given: int, result: int, shape: tuple[int, ...]) -> Any:
    wanted = draft.add_constant(np.array(shape, np.int32), f"shape {'×'.join(map(str, shape))}")
    return draft.make("RESHAPE", [given, wanted], result, "ReshapeOptions", newShape=list(shape))
