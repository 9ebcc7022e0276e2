"""What a file's bytes are spent on, and why 8-bit weights did not make it as small as they promise.

Weights of 8 bits are a quarter of float32 ones. What describes the graph does not shrink with them, and quantization
adds operations to it: in a small network that can weigh as much as the weights. The report then says so in numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgecv_export.plan import Plan
from edgecv_runtime._require import require
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.cli.output import kilobytes

# Of the parameters in float32: what a file with 8-bit weights needs no explanation up to.
EXPECTED_RATIO = 0.30

_LAYERS_NAMED = 8


@dataclass(frozen=True)
class SizeParts:
    """Bytes and pieces of an artefact.

    Attributes
    ----------
    weights : int
        Bytes of constants: weights, biases and, except in TFLite, whose graph holds them, scales.
    graph : int
        All other bytes: operations, connections, names, the manifest inside; OpenVINO's deflated, as in a bundle.
    operations : int
        Constants are not among them, except in OpenVINO's IR, where each is written out like any operation.
    connections : int
        Tensors that operations take in, each time they are taken.
    """

    weights: int
    graph: int
    operations: int
    connections: int


def size_parts(artefact: Artefact) -> SizeParts:
    """Count what an artefact is made of."""
    reader = {"tflite": _tflite_parts, "onnx": _onnx_parts, "openvino": _openvino_parts}[artefact.format]
    return reader(artefact)


def size_report(
    artefact: Artefact, plan: Plan, parameters: int | None, float_layers: Sequence[str] = (), searched: bool = False
) -> dict[str, Any]:
    """The part ``size_parts`` of ``report.json``.

    Parameters
    ----------
    artefact : Artefact
    plan : Plan
        How it was made.
    parameters : int or None
        Of the float network; None where it is not known.
    float_layers : sequence of str
        Layers that were kept in float: chosen, or such that are at any precision (`exact_layers`).
    searched : bool
        Whether a search chose those that were.

    Returns
    -------
    dict
        The counts of `SizeParts`; ``of_float32``, bytes over the parameters' in float32 (None: not known); ``why``,
        a sentence for a file with 8-bit weights above `EXPECTED_RATIO` of that, else None.
    """
    parts = size_parts(artefact)
    ratio = artefact.size / (4 * parameters) if parameters else None
    eight_bit = plan.integer or plan.precision == "dynamic"
    why = None
    if eight_bit and parameters and ratio is not None and ratio > EXPECTED_RATIO:
        why = " ".join([*_cause(artefact, parts, parameters), _in_float(float_layers, searched)])
    return {**asdict(parts), "of_float32": ratio, "why": why}


def _cause(artefact: Artefact, parts: SizeParts, parameters: int) -> list[str]:
    whole = 4 * parameters
    each = parts.graph / max(1, parts.operations)
    sentences = [
        f"The file is {artefact.size / whole:.2f}× of the parameters in float32, above the {EXPECTED_RATIO:.2f}× that "
        "8-bit weights should bring it to.",
        f"Its constants (weights, biases) are {parts.weights / whole:.2f}×; the other {kilobytes(parts.graph)} of "
        f"{kilobytes(artefact.size)} describe {parts.operations:,} operations and {parts.connections:,} connections "
        f"between them, {each:,.0f} bytes for each operation, and hold the manifest.",
    ]
    if artefact.format == "openvino":
        sentences.append(
            "OpenVINO's graph is text, which narrower weights do not shorten and quantization lengthens; "
            "TFLite and ONNX write the same graph in binary, in a fraction of that."
        )
    return sentences


def _in_float(names: Sequence[str], searched: bool) -> str:
    if not names:
        return "No layer was kept in float."
    more = f" and {len(names) - _LAYERS_NAMED} more" if len(names) > _LAYERS_NAMED else ""
    reason = "quantizing them costs most, and the budget needed it" if searched else "they were named"
    return f"Kept in float: {', '.join(names[:_LAYERS_NAMED])}{more}; {reason}, or 8 bits would ruin what they compute."


# -- each format -------------------------------------------------------------------------------------------------------


def _openvino_parts(artefact: Artefact) -> SizeParts:
    operations, connections = (len(re.findall(tag, artefact.model)) for tag in (rb"<layer\s", rb"<edge\s"))
    weights = len(artefact.weights or b"")
    return SizeParts(weights, artefact.size - weights, operations, connections)


def _onnx_parts(artefact: Artefact) -> SizeParts:
    import onnx

    graph = onnx.load_from_string(artefact.model).graph
    weights = sum(_bytes(tensor) for tensor in graph.initializer)
    connections = sum(1 for node in graph.node for name in node.input if name)
    return SizeParts(weights, artefact.size - weights, len(graph.node), connections)


def _bytes(tensor: Any) -> int:
    """Of an ONNX tensor's values, as stored."""
    import onnx

    if tensor.raw_data:
        return len(tensor.raw_data)
    return int(math.prod(tensor.dims) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def _tflite_parts(artefact: Artefact) -> SizeParts:
    schema = require("ai_edge_litert.schema_py_generated", install="edgecv-runtime[litert]", purpose="reading TFLite")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(artefact.model, 0))
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    contents = [model.buffers[index].data for index in used]
    weights = sum(len(content) for content in contents if content is not None)
    operators = [operator for graph in model.subgraphs for operator in graph.operators]
    connections = sum(1 for operator in operators for index in operator.inputs if index >= 0)
    return SizeParts(weights, artefact.size - weights, len(operators), connections)
