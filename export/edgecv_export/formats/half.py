"""ONNX models with weights and arithmetic in float16."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from edgecv_export.formats.stable_names import in_order, replace_nodes

_WIDE = "_cast_to_fp16"  # ends the name of a float32 tensor that the converter rounds for the next node


def to_half(model: Any, exact: Collection[str] = ()) -> Any:
    """Weights and arithmetic in float16; the uint8 input and float32 output stay.

    Parameters
    ----------
    model : onnx.ModelProto
    exact : collection of str
        Names of nodes that stay in float32. What passes from one to another is not rounded either.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    half = convert_float_to_float16(model, keep_io_types=True, node_block_list=list(exact))
    _join_casts(half.graph)
    return half


def _join_casts(graph: Any) -> None:
    """Make every cast once, and none from float32 to float16 and back.

    The converter casts for each node by itself: a tensor that two float32 nodes read is cast twice, by nodes and into
    tensors of one name, which no back end loads.
    """
    from onnx import TensorProto

    nodes = list({(node.op_type, *node.input, *node.output): node for node in graph.node}.values())
    rounded = {
        node.output[0]: node.input[0]
        for node in nodes
        if _casts_to(node, TensorProto.FLOAT16) and node.input[0].endswith(_WIDE)
    }
    outputs = {value.name for value in graph.output}
    wide: dict[str, str] = {}
    for node in nodes:
        if _casts_to(node, TensorProto.FLOAT) and node.input[0] in rounded:
            node.input[0] = rounded[node.input[0]]  # from float32 to float32: nothing
            if node.output[0] not in outputs:
                wide[node.output[0]] = node.input[0]
    for node in nodes:
        node.input[:] = [wide.get(name, name) for name in node.input]
    replace_nodes(graph, nodes)
    replace_nodes(graph, in_order(graph))


def _casts_to(node: Any, kind: int) -> bool:
    return node.op_type == "Cast" and any(entry.name == "to" and entry.i == kind for entry in node.attribute)
