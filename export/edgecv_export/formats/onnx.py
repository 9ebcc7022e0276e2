"""Keras to ONNX.

int8 is written as quantize-dequantize pairs (QDQ) by ONNX Runtime's quantizer, with our ranges; the pixels' own grid
takes the place of its first pair, so the artefact takes uint8 and no float ever touches the image.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_export.formats.job import InputGrid, Job
from edgecv_export.formats.stable_names import stabilise
from edgecv_export.formats.tracing import freeze, trace_float, trace_integer
from edgecv_export.quantize.affine import Range
from edgecv_export.quantize.ranges import OUTPUT_MARGIN, minmax_range, widened
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.errors import UnsupportedError
from edgecv_runtime.progress import track

_LAYOUT_OPERATIONS = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity"})

OPSET = 17  # read by ONNX Runtime 1.12 and later, TensorRT 8.6 and later


def export(job: Job) -> Artefact:
    """Convert one job.

    Raises
    ------
    UnsupportedError
        An operation has no ONNX counterpart.
    """
    with quiet():
        if job.plan.precision == "int8":
            model = quantize_int8(job)
        else:
            model = convert_float(job)
            if job.plan.precision == "fp16":
                model = to_half(model)
            elif job.plan.precision == "dynamic":
                model = quantize_weights_only(model)
    return Artefact("onnx", bytes(model.SerializeToString()))


def convert_float(job: Job) -> Any:
    """An ONNX model from uint8 pixels to the network's output, float32 inside."""
    return _convert(trace_float(job), job)


def quantize_int8(job: Job) -> Any:
    """A QDQ model from uint8 pixels to float logits: activations uint8, weights int8 per channel."""
    return quantize_graph(_convert(trace_integer(job), job), job.grid, job.calibration_values())


def quantize_graph(model: Any, grid: InputGrid, values: Sequence[npt.NDArray[np.float32]]) -> Any:
    """Quantize a float ONNX model of one input and one output, and let it take uint8 pixels.

    Parameters
    ----------
    model : onnx.ModelProto
        Float32; its input holds the real values of `grid`.
    grid : InputGrid
    values : sequence of arrays
        Calibration inputs.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    UnsupportedError
        The first layer cannot be quantized.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.registry import QDQRegistry

    model = _prepare(model)
    limits = {
        name: (np.float32(range_.low), np.float32(range_.high))
        for name, range_ in _activation_ranges(model, grid, values).items()
    }
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, limits),
        nodes_to_quantize=[],
        nodes_to_exclude=[],
        op_types_to_quantize=list(QDQRegistry),
        extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    return _with_pixel_input(quantizer.model.model, grid)


def quantize_weights_only(model: Any) -> Any:
    """Store every large float weight as int8 per channel with a DequantizeLinear behind it; activations stay float."""
    import onnx
    from onnx import helper, numpy_helper

    kernels = {
        node.input[1]: _weight_axis(node)
        for node in model.graph.node
        if node.op_type in ("Conv", "ConvTranspose", "MatMul", "Gemm") and len(node.input) > 1
    }
    kept, nodes = [], []
    for initializer in model.graph.initializer:
        array = numpy_helper.to_array(initializer)
        if initializer.name not in kernels or array.dtype != np.float32 or array.ndim < 2:
            kept.append(initializer)
            continue
        axis = kernels[initializer.name] % array.ndim
        largest = np.abs(array).max(axis=tuple(i for i in range(array.ndim) if i != axis))
        scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
        shape = [-1 if i == axis else 1 for i in range(array.ndim)]
        levels = np.rint(array / scale.reshape(shape)).astype(np.int8)
        name = initializer.name
        kept += [
            numpy_helper.from_array(levels, f"{name}_int8"),
            numpy_helper.from_array(scale, f"{name}_scale"),
            numpy_helper.from_array(np.zeros_like(scale, np.int8), f"{name}_zero_point"),
        ]
        inputs = [f"{name}_int8", f"{name}_scale", f"{name}_zero_point"]
        nodes.append(helper.make_node("DequantizeLinear", inputs, [name], name=f"{name}_dequantize", axis=axis))
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.initializer[:]
    result.graph.initializer.extend(kept)
    nodes.extend(model.graph.node)
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    onnx.checker.check_model(result)
    return result


def _weight_axis(node: Any) -> int:
    """The axis of a weight that numbers its output channels."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return 0 if transposed else -1


def _convert(function: Any, job: Job) -> Any:
    """Run tf2onnx, and name the input and the output as in the other formats."""
    import onnx
    import tf2onnx

    frozen = freeze(function)  # constants that a layer captured would otherwise become inputs
    (image,), (output,) = frozen.inputs, frozen.outputs
    try:
        model, _ = tf2onnx.convert.from_graph_def(
            frozen.graph.as_graph_def(), input_names=[image.name], output_names=[output.name], opset=OPSET
        )
    except (ValueError, KeyError, NotImplementedError) as error:
        raise UnsupportedError(f"ONNX cannot take this model: {' '.join(str(error).split())}") from error
    rename(model, model.graph.input[0].name, job.input_name)
    rename(model, model.graph.output[0].name, job.output_name)
    stabilise(model)
    model.producer_name = "edgecv"
    model.graph.ClearField("doc_string")  # the name of the traced function, which is numbered
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:  # an operation that tf2onnx left as TensorFlow has it
        raise UnsupportedError(f"ONNX cannot take this model: {' '.join(str(error).split())}") from error
    return model


def rename(model: Any, old: str, new: str) -> None:
    """Give a tensor another name, wherever it occurs."""
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        if value.name == old:
            value.name = new


def _prepare(model: Any) -> Any:
    """Infer shapes and fuse what ONNX Runtime would fuse, as its quantizer expects."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "model.onnx"), Path(folder, "prepared.onnx")
        onnx.save(model, source)
        quant_pre_process(str(source), str(target))
        return onnx.load(target)


def _activation_ranges(model: Any, grid: InputGrid, values: Sequence[npt.NDArray[np.float32]]) -> dict[str, Range]:
    """The range of every float activation over the calibration images."""
    import onnx
    import onnxruntime

    outputs = {name for node in model.graph.node for name in node.output}
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    present = {value.name for value in model.graph.output}
    exposed.graph.output.extend(
        value
        for value in model.graph.value_info
        if value.name in outputs - present and value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(exposed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    seen: dict[str, Range] = {}
    input_name, output_name = model.graph.input[0].name, model.graph.output[0].name
    for image in track(values, len(values), "calibrating", "images"):
        for name, array in zip(names, session.run(names, {input_name: image}), strict=True):
            found, before = minmax_range(array), seen.get(name)
            seen[name] = found if before is None else Range(min(before.low, found.low), max(before.high, found.high))
    for name in _pixel_tensors(model.graph, input_name):
        seen[name] = grid.range  # whatever the calibration images reach
    seen[output_name] = widened(seen[output_name], OUTPUT_MARGIN)
    return seen


def _pixel_tensors(graph: Any, input_name: str) -> list[str]:
    """The image, and what mere changes of layout make of it."""
    found = [input_name]
    for name in found:
        readers = [node for node in graph.node if name in node.input and node.op_type in _LAYOUT_OPERATIONS]
        found.extend(output for node in readers for output in node.output)
    return found


def _with_pixel_input(model: Any, grid: InputGrid) -> Any:
    """Let the uint8 image itself stand for the first QuantizeLinear's output: both are the same numbers."""
    import onnx

    graph = model.graph
    quantize = _first_quantize(graph)
    _check_grid(model, quantize, grid)
    graph.node.remove(quantize)
    rename(model, quantize.output[0], quantize.input[0])
    graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    del graph.value_info[:]  # the tensors before the first pair have become uint8
    onnx.checker.check_model(model, full_check=True)
    return model


def _first_quantize(graph: Any) -> Any:
    """The QuantizeLinear of the image, behind nothing but changes of layout.

    Raises
    ------
    UnsupportedError
        Another operation sees the image before it is quantized.
    """
    tensor = graph.input[0].name
    while True:
        readers = [node for node in graph.node if tensor in node.input]
        if len(readers) == 1 and readers[0].op_type == "QuantizeLinear":
            return readers[0]
        if len(readers) != 1 or readers[0].op_type not in _LAYOUT_OPERATIONS:
            kinds = ", ".join(sorted({node.op_type for node in readers})) or "nothing"
            raise UnsupportedError(
                f"int8 ONNX needs a quantizable first layer; here the image goes to {kinds}: use fp16 or dynamic"
            )
        tensor = readers[0].output[0]


def _check_grid(model: Any, quantize: Any, grid: InputGrid) -> None:
    from onnx import numpy_helper

    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    scale, zero_point = float(constants[quantize.input[1]]), int(constants[quantize.input[2]])
    if abs(scale / grid.scale - 1) > 1e-5 or zero_point != grid.zero_point:
        raise UnsupportedError(
            f"the int8 ONNX input must have scale {grid.scale:g} and zero point {grid.zero_point}; "
            f"the quantizer chose {scale:g} and {zero_point}"
        )


def to_half(model: Any) -> Any:
    """Weights and arithmetic in float16; the uint8 input and float32 output stay."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(model, keep_io_types=True)


@contextmanager
def quiet() -> Iterator[None]:
    """The converters' remarks on their own work are not the user's concern."""
    loggers = [logging.getLogger(name) for name in ("tf2onnx", "tensorflow", "onnxruntime", "root", None)]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
