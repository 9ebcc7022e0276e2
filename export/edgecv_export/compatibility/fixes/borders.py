"""Where a graph begins and ends: static shapes with batch 1, and integers where the file takes and gives floats."""

from __future__ import annotations

from typing import Any

from edgecv_export.compatibility.fixes.draft import Draft


def make_static(draft: Draft) -> tuple[str, ...]:
    """Every open dimension becomes the 1 that is stored for it."""
    free = [tensor for tensor in draft.graph.tensors if _free(tensor)]
    for tensor in free:
        tensor.shapeSignature = None
    return (f"static shapes: {len(free)} tensors were open in a dimension that is now 1",) if free else ()


def _free(tensor: Any) -> bool:
    return tensor.shapeSignature is not None and any(size < 0 for size in tensor.shapeSignature)


def take_integers(draft: Draft) -> tuple[str, ...]:
    """Let the graph begin behind a QUANTIZE and end before a DEQUANTIZE."""
    graph, done = draft.graph, []
    for operator in list(draft.operators):
        kind, before, after = draft.kind(operator), operator.inputs[0], operator.outputs[0]
        if kind == "QUANTIZE" and draft.dtype(before) == "float32" and _ends(draft, before, graph.inputs):
            graph.inputs = [after if index == before else index for index in graph.inputs]
            done.append("integer input: the conversion from float is left to the caller")
        elif kind == "DEQUANTIZE" and _ends(draft, after, graph.outputs):
            graph.outputs = [before if index == after else index for index in graph.outputs]
            done.append("integer output: the conversion to float is left to the caller")
        else:
            continue
        draft.replace(operator, ())
    return tuple(done)


def _ends(draft: Draft, tensor: int, border: Any) -> bool:
    """Whether a tensor lies on the graph's border and touches one operator only."""
    touching = sum(tensor in operator.inputs or tensor in operator.outputs for operator in draft.operators)
    return tensor in list(border) and touching == 1
