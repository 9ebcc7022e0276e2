"""Keras to OpenVINO IR, by way of our ONNX: one lineage, so both formats answer alike.

OpenVINO reads quantize-dequantize pairs as its own quantization, with int8 kernels on the CPU.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_export.formats import onnx as onnx_format
from edgecv_export.formats.compact import compact_ir
from edgecv_export.formats.job import Job
from edgecv_export.formats.layer_names import scope_of
from edgecv_export.plan import Plan
from edgecv_export.quantize.exact_layers import exact_layers
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
        return from_onnx(content, half=half, exact=exact_layers(job.network))
    except RuntimeError as error:
        reason = [line.strip() for line in str(error).splitlines() if line.strip()][-1]
        raise UnsupportedError(f"OpenVINO cannot take this model at {job.plan.precision}: {reason}") from error


def from_onnx(content: bytes, *, half: bool = False, exact: Collection[str] = ()) -> Artefact:
    """Convert ONNX bytes to IR.

    Parameters
    ----------
    content : bytes
    half : bool
        Store weights in float16.
    exact : collection of str
        Layers whose constants stay in float32 all the same.
    """
    import onnx
    import openvino

    # The simplifications of openvino.convert_model, which itself reports each use to its maker's servers.
    from openvino._offline_transformations import apply_moc_transformations

    source = _with_plain_constants(_with_rounded_pixels(onnx.load_from_string(content)))
    model = openvino.Core().read_model(model=source.SerializeToString(), weights=b"")
    apply_moc_transformations(model, cf=False, smart_reshape=False)
    _reshape_grouped_weights(model)
    _renumber(model)
    if half and exact:
        _keep_wide(model, {scope_of(layer) for layer in exact})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.xml")
        openvino.save_model(model, path, compress_to_fp16=half)
        return Artefact("openvino", compact_ir(path.read_bytes()), path.with_suffix(".bin").read_bytes())


def _keep_wide(model: Any, scopes: Collection[str]) -> None:
    """Mark the constants that the operations of some layers read: what is marked is not stored in float16."""
    for operation in model.get_ordered_ops():
        if operation.get_friendly_name().partition("/")[0] not in scopes:
            continue
        for place in range(operation.get_input_size()):
            constant = operation.input_value(place).get_node()
            if constant.get_type_name() == "Constant":
                constant.get_rt_info()["precise_0"] = ""  # how OpenVINO itself marks what float16 would ruin


def _renumber(model: Any) -> None:
    """Give operations without a name of their own a number that is not the process's running one."""
    for index, operation in enumerate(model.get_ordered_ops()):
        if re.fullmatch(r"[A-Za-z]+_\d+", operation.get_friendly_name()):
            operation.set_friendly_name(f"{operation.get_type_name()}_{index}")


def _reshape_grouped_weights(model: Any) -> None:
    """Store int8 weights of grouped convolutions in their own shape: no reshaping for each in the graph.

    ONNX has one axis for all output channels, OpenVINO one for the groups and one for the channels of each.
    """
    import openvino

    operators = openvino.opset13
    for convolution in model.get_ordered_ops():
        if convolution.get_type_name() != "GroupConvolution":
            continue
        reshape = convolution.input_value(1).get_node()
        chain = _dequantized_constant(reshape.input_value(0)) if reshape.get_type_name() == "Reshape" else None
        if chain is None:
            continue
        levels, scale = chain
        shape = list(reshape.output(0).shape)
        weights = operators.convert(operators.constant(levels.reshape(shape)), "f32")
        factors = scale.reshape([*shape[:2], *[1] * (len(shape) - 2)]) if scale.size > 1 else scale.reshape(1)
        real = operators.multiply(weights, operators.constant(factors))
        convolution.input(1).replace_source_output(real.output(0))


def _dequantized_constant(port: Any) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]] | None:
    """The int8 levels and the scale of each output channel, or one for all; None where the tensor is something else."""
    multiply = port.get_node()
    if multiply.get_type_name() != "Multiply":
        return None
    convert, scale = (multiply.input_value(place).get_node() for place in (0, 1))
    if convert.get_type_name() != "Convert" or scale.get_type_name() != "Constant":
        return None
    constant = convert.input_value(0).get_node()
    if constant.get_type_name() != "Constant" or constant.get_element_type().get_type_name() != "i8":
        return None
    levels, factors = np.array(constant.data), np.array(scale.data)
    return (levels, factors) if factors.size in (1, levels.shape[0]) else None


def _with_rounded_pixels(model: Any) -> Any:
    """Round the pixels, which are whole already, before a quantized first layer.

    OpenVINO takes a scale that stands alone for a factor of the first convolution's weights, and then computes that
    layer in float (bfloat16, where the CPU has it), from an image that is laid out anew. A quantize-dequantize pair is
    a FakeQuantize, and that it takes for what it is. With a zero point the scale does not stand alone.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    first = next((n for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] not in constants), None)
    if first is None or not _is_image(first.input[0], graph, producers):
        return model
    if len(first.input) > 2 and numpy_helper.to_array(constants[first.input[2]]).any():
        return model
    readers = [node for node in graph.node if first.output[0] in node.input]
    weights = [producers.get(node.input[1]) for node in readers if len(node.input) > 1]
    if len(weights) < len(readers) or any(made is None or made.op_type != "DequantizeLinear" for made in weights):
        return model
    real = first.output[0]
    scale, zero_point, levels = first.input[1], f"{real}/zero", f"{real}/levels"
    graph.initializer.append(numpy_helper.from_array(np.zeros((), np.uint8), zero_point))
    first.output[0] = f"{real}/pixels"
    place = list(graph.node).index(first) + 1
    graph.node.insert(place, helper.make_node("DequantizeLinear", [levels, scale, zero_point], [real]))
    graph.node.insert(place, helper.make_node("QuantizeLinear", [first.output[0], scale, zero_point], [levels]))
    return model


def _is_image(tensor: str, graph: Any, producers: Mapping[str, Any]) -> bool:
    """Whether a tensor is the input, or what mere changes of layout made of it."""
    while tensor in producers:
        if producers[tensor].op_type not in onnx_format.LAYOUT_OPERATIONS:
            return False
        tensor = producers[tensor].input[0]
    return bool(tensor == graph.input[0].name)


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
