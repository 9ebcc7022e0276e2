"""Keras to OpenVINO IR, by way of our ONNX: one lineage, so both formats answer alike.

OpenVINO reads quantize-dequantize pairs as its own quantization, with int8 kernels on the CPU.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgecv_export.formats import onnx as onnx_format
from edgecv_export.formats.compact import compact_ir
from edgecv_export.formats.job import Job
from edgecv_export.plan import Plan
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.errors import UnsupportedError


def export(job: Job) -> Artefact:
    """Convert one job.

    Raises
    ------
    UnsupportedError
        An operation has no OpenVINO counterpart.
    """
    half = job.plan.precision == "fp16"
    # OpenVINO stores float16 weights itself, and computes in what the device does best.
    precision = "fp32" if half else job.plan.precision
    content = onnx_format.export(replace(job, plan=Plan("onnx", precision))).model
    try:
        return from_onnx(content, half=half)
    except RuntimeError as error:
        reason = [line.strip() for line in str(error).splitlines() if line.strip()][-1]
        raise UnsupportedError(f"OpenVINO cannot take this model at {job.plan.precision}: {reason}") from error


def from_onnx(content: bytes, *, half: bool = False) -> Artefact:
    """Convert ONNX bytes to IR.

    Parameters
    ----------
    content : bytes
    half : bool
        Store weights in float16.
    """
    import onnx
    import openvino

    # The simplifications of openvino.convert_model, which itself reports each use to its maker's servers.
    from openvino._offline_transformations import apply_moc_transformations

    source = _with_plain_constants(onnx.load_from_string(content))
    model = openvino.Core().read_model(model=source.SerializeToString(), weights=b"")
    apply_moc_transformations(model, cf=False, smart_reshape=False)
    _renumber(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.xml")
        openvino.save_model(model, path, compress_to_fp16=half)
        return Artefact("openvino", compact_ir(path.read_bytes()), path.with_suffix(".bin").read_bytes())


def _renumber(model: Any) -> None:
    """Give operations without a name of their own a number that is not the process's running one."""
    for index, operation in enumerate(model.get_ordered_ops()):
        if re.fullmatch(r"[A-Za-z]+_\d+", operation.get_friendly_name()):
            operation.set_friendly_name(f"{operation.get_type_name()}_{index}")


def _with_plain_constants(model: Any) -> Any:
    """Drop what OpenVINO would store for nothing: zero points that are zero, and int32 biases it converts to float.

    Each costs several operations in the graph, a third of the file of a small network.
    """
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes, biases = [], []
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            levels = numpy_helper.to_array(constants[node.input[0]])
            scale = numpy_helper.to_array(constants[node.input[1]])
            has_zero_point = len(node.input) > 2 and numpy_helper.to_array(constants[node.input[2]]).any()
            if levels.dtype == np.int32 and not has_zero_point:
                real = (levels.astype(np.float64) * scale).astype(np.float32)
                biases.append(numpy_helper.from_array(real, node.output[0]))
                continue
            if not has_zero_point:
                del node.input[2:]
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend([*kept, *biases])
    return model
