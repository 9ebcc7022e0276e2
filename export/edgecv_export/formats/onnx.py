"""Keras to ONNX.

int8 is written as quantize-dequantize pairs (QDQ) by ONNX Runtime's quantizer, with our ranges; the pixels' own grid
takes the place of its first pair, so the artefact takes uint8 and no float ever touches the image.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_export.formats import roi_align
from edgecv_export.formats.activation_ranges import activation_ranges
from edgecv_export.formats.compact import compact_onnx
from edgecv_export.formats.fused_activations import without_pairs_before
from edgecv_export.formats.half import to_half
from edgecv_export.formats.job import InputGrid, Job
from edgecv_export.formats.layer_names import fingerprint, layers_in, scope_of, scopes_by_kernel
from edgecv_export.formats.stable_names import stabilise
from edgecv_export.formats.tracing import freeze, trace_float, trace_integer
from edgecv_export.quantize.exact_layers import exact_layers, with_nodes_between
from edgecv_export.quantize.ranges import Batches
from edgecv_export.quantize.recipe import Recipe
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.errors import UnsupportedError
from edgecv_runtime.progress import track

LAYOUT_OPERATIONS = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity"})

OPSET = 17  # read by ONNX Runtime 1.12 and later, TensorRT 8.6 and later


def export(job: Job) -> Artefact:
    """Convert one job.

    Raises
    ------
    UnsupportedError
        An operation has no ONNX counterpart.
    """
    with quiet():
        if job.plan.integer:
            model = quantize_int8(job)
        else:
            model = convert_float(job)
            if job.plan.precision == "fp16":
                model = to_half(model, _exact_nodes(model, job.network))
            elif job.plan.precision == "dynamic":
                model = quantize_weights_only(model)
    return Artefact("onnx", bytes(model.SerializeToString()))


def convert_float(job: Job) -> Any:
    """An ONNX model from uint8 pixels to the network's outputs, float32 inside."""
    return _convert(trace_float(job), job)


def _exact_nodes(model: Any, network: Any) -> list[str]:
    """The nodes of the layers that stay in float32 at every precision."""
    layers = exact_layers(network)
    return with_nodes_between(model.graph, LayerNames(model).nodes_of(layers)) if layers else []


def quantize_int8(job: Job) -> Any:
    """A QDQ model from uint8 pixels to float logits: activations uint8, weights int8 per channel."""
    model = _convert(trace_integer(job), job)
    names = LayerNames(model, scopes_by_kernel(job.network))
    of_pixels = job.input_dtype == "uint8"
    return quantize_graph(model, job.grid, job.calibration_values(), job.recipe, names, of_pixels=of_pixels)


def quantize_graph(
    model: Any,
    grid: InputGrid,
    values: Sequence[npt.NDArray[np.float32]],
    recipe: Recipe | None = None,
    names: LayerNames | None = None,
    fused: Collection[str] = (),
    *,
    of_pixels: bool = True,
) -> Any:
    """Quantize a float ONNX model of one input, and let it take uint8 pixels.

    Parameters
    ----------
    model : onnx.ModelProto
        Float32; its input holds the real values of `grid`.
    grid : InputGrid
    values : sequence of arrays
        Calibration inputs.
    recipe : Recipe, optional
        How ranges are found, and which layers stay in float.
    names : LayerNames, optional
        Which layer a node belongs to. Default: each node is a layer, under its own name.
    fused : collection of str
        Activations (ONNX operators) that the back end computes together with the convolution before them; what lies
        between is then not quantized. What ONNX Runtime itself fuses needs no mention.
    of_pixels : bool
        Whether the input becomes uint8 pixels. One that holds no picture stays float32, and is quantized in the graph.

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

    recipe = recipe or Recipe()
    names = names or LayerNames(model)
    model = _prepare(model)
    found = activation_ranges(
        _observer(model, values),
        recipe,
        grid,
        pixels=_pixel_tensors(model.graph, model.graph.input[0].name),
        outputs=[value.name for value in model.graph.output],
        layer_of=names.stored,
    )
    limits = {name: (np.float32(range_.low), np.float32(range_.high)) for name, range_ in found.items()}
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, limits),
        nodes_to_quantize=[],
        nodes_to_exclude=with_nodes_between(model.graph, names.nodes_of(recipe.float_layers)),
        op_types_to_quantize=list(QDQRegistry),
        extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    without_pairs_before(quantizer.model.model, fused)
    quantized = quantizer.model.model
    if of_pixels:
        quantized = _with_pixel_input(quantized, grid, keep_float=bool(recipe.float_layers))
    return compact_onnx(quantized)


class LayerNames:
    """Which Keras layer the nodes and tensors of a float ONNX model come from.

    Parameters
    ----------
    model : onnx.ModelProto
    by_kernel : mapping, optional
        As from `scopes_by_kernel`: tf2onnx leaves some convolutions without a name.
    """

    def __init__(self, model: Any, by_kernel: Mapping[bytes, str] | None = None) -> None:
        from onnx import numpy_helper

        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._scopes: dict[str, str | None] = {}
        for node in model.graph.node:
            scope = next(iter((*layers_in(node.name), *layers_in(node.output[0]))), None)
            if scope is None and by_kernel and len(node.input) > 1 and node.input[1] in self._constants:
                scope = by_kernel.get(fingerprint(numpy_helper.to_array(self._constants[node.input[1]])))
            self._scopes[node.name] = scope
        readers: dict[str, set[str | None]] = {}
        for node in model.graph.node:
            for name in node.input:
                readers.setdefault(name, set()).add(self._scopes[node.name])
        self._stored = {
            name: self._scopes[node.name]
            for node in model.graph.node
            for name in node.output
            if readers.get(name, {None}) != {self._scopes[node.name]}
        }

    def stored(self, tensor: str) -> str | None:
        """The scope of the layer whose output this tensor is; None for one inside a layer."""
        return self._stored.get(tensor)

    def nodes_of(self, layers: Collection[str]) -> list[str]:
        """Names of the nodes that compute these layers.

        Raises
        ------
        UnsupportedError
            A layer has no node of its own: it has become part of another.
        """
        scopes = {scope_of(layer): layer for layer in layers}
        found = {name: scope for name, scope in self._scopes.items() if scope in scopes or name in layers}
        missing = [layer for scope, layer in scopes.items() if scope not in found.values() and layer not in found]
        if missing:
            raise UnsupportedError(f"ONNX has no operation of its own for {missing[0]!r}, so it cannot stay in float")
        return list(found)


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
    """Run tf2onnx, and name the input and the outputs as in the other formats."""
    import onnx
    import tf2onnx

    frozen = freeze(function)  # constants that a layer captured would otherwise become inputs
    (image,), outputs = frozen.inputs, [output.name for output in frozen.outputs]
    try:
        model, _ = tf2onnx.convert.from_graph_def(
            frozen.graph.as_graph_def(),
            input_names=[image.name],
            output_names=outputs,
            opset=OPSET,
            custom_op_handlers=roi_align.handlers(job.network),
        )
    except (ValueError, KeyError, NotImplementedError) as error:
        raise UnsupportedError(f"ONNX cannot take this model: {' '.join(str(error).split())}") from error
    rename(model, model.graph.input[0].name, job.input_name)
    rename_outputs(model, dict(zip(outputs, job.output_names, strict=True)))
    stabilise(model)
    model.producer_name = "edgecv"
    model.graph.ClearField("doc_string")  # the name of the traced function, which is numbered
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:  # an operation that tf2onnx left as TensorFlow has it
        raise UnsupportedError(f"ONNX cannot take this model: {' '.join(str(error).split())}") from error
    return model


def rename_outputs(model: Any, names: Mapping[str, str]) -> None:
    """Give the outputs other names, and bring them into the order of the mapping.

    By way of names that nothing bears: a new name may be another output's old one.
    """
    for old in names:
        rename(model, old, f"{old}/renamed")
    for old, new in names.items():
        rename(model, f"{old}/renamed", new)
    found = {value.name: value for value in model.graph.output}
    ordered = [type(value).FromString(value.SerializeToString()) for value in (found[new] for new in names.values())]
    del model.graph.output[:]
    model.graph.output.extend(ordered)


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


def _observer(model: Any, values: Sequence[npt.NDArray[np.float32]]) -> Batches:
    """Runs the float model over the calibration images, and yields every float activation."""
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
    input_name = model.graph.input[0].name

    def run() -> Iterator[dict[str, npt.NDArray[np.float32]]]:
        for image in track(values, len(values), "calibrating", "images"):
            yield dict(zip(names, session.run(names, {input_name: image}), strict=True))

    return run


def _pixel_tensors(graph: Any, input_name: str) -> list[str]:
    """The image, and what mere changes of layout make of it."""
    found = [input_name]
    for name in found:
        readers = [node for node in graph.node if name in node.input and node.op_type in LAYOUT_OPERATIONS]
        found.extend(output for node in readers for output in node.output)
    return found


def _with_pixel_input(model: Any, grid: InputGrid, *, keep_float: bool) -> Any:
    """Let the uint8 image itself stand for the first QuantizeLinear's output: both are the same numbers.

    Where the first layer stays in float, the pixels are dequantized for it.
    """
    import onnx

    graph = model.graph
    try:
        quantize = _first_quantize(graph)
    except UnsupportedError:
        if not keep_float:
            raise
        _dequantize_pixels(graph, grid)
    else:
        _check_grid(model, quantize, grid)
        graph.node.remove(quantize)
        rename(model, quantize.output[0], quantize.input[0])
    graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    del graph.value_info[:]  # the tensors before the first pair have become uint8
    onnx.checker.check_model(model, full_check=True)
    return model


def _dequantize_pixels(graph: Any, grid: InputGrid) -> None:
    """Put the real values of the pixels before everything that reads the image."""
    from onnx import helper, numpy_helper

    image, real = graph.input[0].name, f"{graph.input[0].name}_real"
    for node in graph.node:
        node.input[:] = [real if name == image else name for name in node.input]
    constants = {
        f"{image}_scale": np.array(grid.scale, np.float32),
        f"{image}_zero_point": np.array(grid.zero_point, np.uint8),
    }
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    graph.node.insert(0, helper.make_node("DequantizeLinear", [image, *constants], [real], name=real))


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
        if len(readers) != 1 or readers[0].op_type not in LAYOUT_OPERATIONS:
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
