"""Depth to space and back: convolutions whose weights only move values."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_export.compatibility.fixes.changes import change, label, title
from edgecv_export.compatibility.fixes.draft import Draft

_SAME, _VALID = 0, 1  # Padding


@change
def depth_to_space(draft: Draft, operator: Any) -> str | None:
    """A transposed convolution, in whose windows each channel has its place."""
    if draft.kind(operator) != "DEPTH_TO_SPACE":
        return None
    size, said = operator.builtinOptions.blockSize, title(draft, operator)
    given, (result,) = operator.inputs[0], operator.outputs
    channels = draft.shape(result)[3]
    # Channel (i · size + j) · channels + c goes to row i and column j of channel c.
    moves = np.eye(size * size * channels, dtype=np.float32).reshape(size, size, channels, size * size * channels)
    weights = _constant(draft, given, result, moves.transpose(2, 0, 1, 3), f"{label(draft, operator)}/places")
    if weights is None:
        return None
    shape = draft.add_constant(np.array(draft.shape(result), np.int32), f"{label(draft, operator)}/shape")
    made = draft.make(
        "TRANSPOSE_CONV", [shape, weights, given], result, "TransposeConvOptions",
        padding=_SAME, strideH=size, strideW=size,
    )  # fmt: skip
    draft.replace(operator, [made])
    return f"replaced {said} by a transposed convolution that only moves values"


@change
def space_to_depth(draft: Draft, operator: Any) -> str | None:
    """A convolution, whose filters have one weight each."""
    if draft.kind(operator) != "SPACE_TO_DEPTH":
        return None
    size, said = operator.builtinOptions.blockSize, title(draft, operator)
    given, (result,) = operator.inputs[0], operator.outputs
    channels = draft.shape(given)[3]
    moves = np.eye(size * size * channels, dtype=np.float32).reshape(-1, size, size, channels)
    weights = _constant(draft, given, result, moves, f"{label(draft, operator)}/places")
    if weights is None:
        return None
    nothing = np.zeros(len(moves), np.float32 if draft.dtype(given) == "float32" else np.int32)
    quantization = draft.quantization(given)
    scales = [] if quantization is None else [quantization[0]]
    bias = draft.add_constant(nothing, f"{label(draft, operator)}/no bias", scales)
    made = draft.make(
        "CONV_2D", [given, weights, bias], result, "Conv2DOptions",
        padding=_VALID, strideH=size, strideW=size, dilationHFactor=1, dilationWFactor=1,
    )  # fmt: skip
    draft.replace(operator, [made])
    return f"replaced {said} by a convolution that only moves values"


def _constant(draft: Draft, given: int, result: int, moves: npt.NDArray[np.float32], name: str) -> int | None:
    """Weights of one: in int8 the integer one with scale one, where both sides have one quantization."""
    if draft.dtype(given) == "float32":
        return draft.add_constant(moves, name)
    same = draft.quantization(given) == draft.quantization(result) and draft.quantization(given) is not None
    if draft.dtype(given) != "int8" or not same:
        return None
    return draft.add_constant(moves.astype(np.int8), name, [1.0] * len(moves))
