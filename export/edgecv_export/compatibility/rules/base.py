"""The registry of rules, and what they share: which inputs of an operator are features, and which are weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgecv_export.tflite_graph import Operator, Tensor

Check = Callable[[Operator, Mapping[str, Any]], str | None]
CHECKS: dict[str, Check] = {}

# Which inputs carry pictures and features; what is not named has them all. The rest are weights and parameters.
_FEATURES = {
    **dict.fromkeys(
        (
            "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "CONV_3D", "RESHAPE", "MEAN", "SUM", "PAD", "PADV2",
            "MIRROR_PAD", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_ANY", "REDUCE_ALL", "RESIZE_BILINEAR",
            "RESIZE_NEAREST_NEIGHBOR", "SLICE", "STRIDED_SLICE", "TRANSPOSE", "ARG_MAX", "EXPAND_DIMS", "TILE",
            "REVERSE_V2", "SPLIT_V", "GATHER", "SQUEEZE", "TOPK_V2", "PRELU",
        ),
        (0,),
    ),
    "TRANSPOSE_CONV": (2,),
    "SPLIT": (1,),
}  # fmt: skip
WEIGHTS = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1, "CONV_3D": 1}
BIASES = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3, "CONV_3D": 2}


def features(operator: Operator) -> list[Tensor]:
    """The tensors of an operator that carry features: inputs first, then outputs."""
    places = _FEATURES.get(operator.kind, range(len(operator.inputs)))
    given = [operator.input(place) for place in places]
    return [tensor for tensor in given if tensor is not None] + list(operator.outputs)


def weights(operator: Operator) -> Tensor | None:
    """The weights of an operator, or None where it has none."""
    place = WEIGHTS.get(operator.kind)
    return None if place is None else operator.input(place)


def rule(name: str) -> Callable[[Check], Check]:
    """Register a function as the rule of that name."""

    def register(check: Check) -> Check:
        CHECKS[name] = check
        return check

    return register


def one_of(values: Sequence[Any]) -> str:
    """``a, b or c``."""
    *others, last = map(str, values) if values else [""]
    return f"{', '.join(others)} or {last}" if others else last


def first(operator: Operator) -> Tensor:
    """Its first input that carries features."""
    return features(operator)[0]
