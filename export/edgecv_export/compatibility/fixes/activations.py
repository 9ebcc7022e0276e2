"""Activations: hard-swish from simpler operators, and fused ones given an operator of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgecv_export.compatibility.fixes.changes import change, label, title
from edgecv_export.compatibility.fixes.draft import Draft

_STEPS = 255  # of 8 bits
_ACTIVATIONS = {1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6"}  # ActivationFunctionType
_RELU6 = 3
_HOSTS = frozenset({"AVERAGE_POOL_2D", "MAX_POOL_2D", "CONCATENATION"})


@change
def replace_hard_swish(draft: Draft, operator: Any) -> str | None:
    """Hard-swish, x · ReLU6(x + 3) / 6 (Howard et al. 2019, section 5.2), by its definition.

    The gate has 255 steps from 0 to 6; the product is kept at six times the output's scale, so that the division by
    six moves no bit.
    """
    if draft.kind(operator) != "HARD_SWISH":
        return None
    (given,), (result,) = operator.inputs, operator.outputs
    said, parts = title(draft, operator), _parts(draft, given, result, label(draft, operator))
    if parts is None:
        return None
    three, sixth, gate, product = parts
    draft.replace(
        operator,
        [
            draft.make("ADD", [given, three], gate, "AddOptions", fusedActivationFunction=_RELU6),
            draft.make("MUL", [given, gate], product, "MulOptions"),
            draft.make("MUL", [product, sixth], result, "MulOptions"),
        ],
    )
    return f"replaced {said} by an addition with ReLU6 and two products"


def _parts(draft: Draft, given: int, result: int, name: str) -> tuple[int, int, int, int] | None:
    if draft.dtype(given) == "float32":
        three, sixth = (
            draft.add_constant(np.array([value], np.float32), f"{name}/{value:.2g}") for value in (3.0, 1 / 6)
        )
        return three, sixth, draft.add_tensor(result, f"{name}/gate"), draft.add_tensor(result, f"{name}/product")
    quantization = draft.quantization(result)
    if draft.dtype(given) not in ("int8", "uint8") or quantization is None:
        return None
    kind = np.dtype(draft.dtype(given))
    limits = np.iinfo(kind)
    largest = int(limits.max)
    three, sixth = (
        draft.add_constant(np.array([largest], kind), f"{name}/{value:.2g}", [value / largest])
        for value in (3.0, 1 / 6)
    )
    gate = draft.add_tensor(result, f"{name}/gate", quantization=(6 / _STEPS, int(limits.min)))
    product = draft.add_tensor(result, f"{name}/product", quantization=(6 * quantization[0], quantization[1]))
    return three, sixth, gate, product


@change
def split_activation(draft: Draft, operator: Any) -> str | None:
    """An activation that is fused to a pooling or joining operator becomes one of its own."""
    options = operator.builtinOptions
    fused = _ACTIVATIONS.get(getattr(options, "fusedActivationFunction", 0))
    if draft.kind(operator) not in _HOSTS or fused is None:
        return None
    (result,) = operator.outputs
    said = title(draft, operator)
    before = draft.add_tensor(result, f"{label(draft, operator)}/linear")
    operator.outputs, options.fusedActivationFunction = [before], 0
    draft.replace(operator, [operator, draft.make(fused, [before], result)])
    return f"split {fused} off {said}"
