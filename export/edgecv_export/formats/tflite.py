"""Keras to TFLite.

int8 goes in three steps that the converter offers apart: calibrate, set the ranges, quantize. The ranges that the
converter sees are ours, as in the other formats; layers that are to stay in float are named to it.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_export.formats.activation_ranges import activation_ranges
from edgecv_export.formats.compact import serialize_tflite
from edgecv_export.formats.half_tflite import to_half
from edgecv_export.formats.job import Job
from edgecv_export.formats.layer_names import layers_in, scope_of, shortened
from edgecv_export.formats.tracing import freeze, run_in_scopes, trace_float, trace_integer
from edgecv_export.quantize.affine import Range
from edgecv_export.quantize.exact_layers import exact_layers
from edgecv_export.quantize.ranges import Batches
from edgecv_export.quiet import native_stderr_silenced
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.errors import UnsupportedError

_FLOAT32 = 0  # of the schema's TensorType


def export(job: Job) -> Artefact:
    """Convert one job.

    Raises
    ------
    UnsupportedError
        An operation has no TFLite counterpart.
    """
    convert = {
        "fp32": _convert_float,
        "fp16": _convert_float,
        "dynamic": _convert_float,
        "int8": _convert_int8,
        "mixed": _convert_int8,
        "int16x8": _convert_int16x8,
    }[job.plan.precision]
    with quiet():
        try:
            content = convert(job)
        except Exception as error:
            if type(error).__name__ not in ("ConverterError", "OpError", "RuntimeError", "ValueError"):
                raise
            reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise UnsupportedError(f"TFLite cannot take this model at {job.plan.precision}: {reason}") from error
    return Artefact("tflite", _with_names(content, job))


def _convert_float(job: Job) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_concrete_functions([freeze(trace_float(job))])
    exact = exact_layers(job.network)
    if job.plan.precision == "fp16" and exact:
        return _half_but_for(bytes(converter.convert()), exact)
    if job.plan.precision != "fp32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if job.plan.precision == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    return bytes(converter.convert())


def _half_but_for(content: bytes, layers: Collection[str]) -> bytes:
    """A float32 model with weights in float16, but for the constants of some layers."""
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    to_half(model, LayerNames(model.subgraphs[0]).nodes_of(layers, layers))
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _calibrate(job: Job, operators: list[Any]) -> bytearray:
    """A float TFLite model that carries the range of every activation."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_concrete_functions([freeze(trace_integer(job))])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = operators
    converter.representative_dataset = lambda: ([values] for values in job.calibration_values())
    converter._experimental_calibrate_only = True  # the public road of TFLite's quantization debugger
    return bytearray(converter.convert())


def _convert_int8(job: Job) -> bytes:
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize
    from tensorflow.lite.tools import flatbuffer_utils

    content = _calibrate(job, [tf.lite.OpsSet.TFLITE_BUILTINS_INT8])
    model = flatbuffer_utils.convert_bytearray_to_object(content)
    graph = model.subgraphs[0]
    names = LayerNames(graph)
    outputs = [names.of(index) for index in graph.outputs]
    found = activation_ranges(
        _observer(bytes(content), names, job),
        job.recipe,
        job.grid,
        pixels=[names.of(graph.inputs[0])],
        outputs=outputs,
        layer_of=names.stored,
    )
    for index, tensor in enumerate(graph.tensors):
        if names.of(index) in found and tensor.quantization is not None and tensor.quantization.min is not None:
            _set_range(tensor, found[names.of(index)])
    kept = names.nodes_of(job.recipe.float_layers, exact_layers(job.network))
    _forget_ranges_between(graph, names, set(kept))
    return bytes(
        mlir_quantize(
            bytes(flatbuffer_utils.convert_object_to_bytearray(model)),
            input_data_type=tf.uint8 if job.input_dtype == "uint8" else tf.int8,
            output_data_type=tf.float32 if any(name in kept for name in outputs) else tf.int8,
            denylisted_nodes=kept,
        )
    )


def _forget_ranges_between(graph: Any, names: LayerNames, kept: Collection[str]) -> None:
    """Take the ranges from tensors that operations in float hand to such: the quantizer leaves those without one alone.

    It heeds the names of operations that compute, not of those that split and slice: coordinates would be rounded
    between two computations in float.
    """
    in_float: dict[int, bool] = {}
    for operator in graph.operators:
        for index in operator.inputs:
            in_float[index] = in_float.get(index, True) and names.of(operator.outputs[0]) in kept
    for operator in graph.operators:
        if names.of(operator.outputs[0]) in kept:
            for index in operator.outputs:
                if in_float.get(index, False):
                    graph.tensors[index].quantization = None


class LayerNames:
    """Which Keras layer the tensors of a float TFLite graph come from.

    An operation goes by its output's name; the last one, whose output the converter names anew, by its constants'.
    """

    def __init__(self, graph: Any) -> None:
        self._tensors = [tensor.name.decode() for tensor in graph.tensors]
        self._outputs = [operator.outputs[0] for operator in graph.operators]
        computed = self.computed
        self._constants = {
            operator.outputs[0]: [index for index in operator.inputs if index >= 0 and index not in computed]
            for operator in graph.operators
        }
        self._computed_from = {
            operator.outputs[0]: [index for index in operator.inputs if index in computed]
            for operator in graph.operators
            if operator.outputs[0] in graph.outputs
            and not any(graph.tensors[i].type == _FLOAT32 for i in operator.inputs if i >= 0 and i not in computed)
        }
        readers: dict[int, set[str]] = {}
        for operator in graph.operators:
            for index in operator.inputs:
                readers.setdefault(index, set()).add(self._first(operator.outputs[0]))
        self._stored = {
            self._tensors[index]: self._first(index)
            for index in self._outputs
            if readers.get(index, set()) != {self._first(index)}
        }

    def of(self, index: int) -> str:
        """The name of a tensor."""
        return self._tensors[index]

    @property
    def computed(self) -> frozenset[int]:
        """The tensors that the graph computes."""
        return frozenset(self._outputs)

    def stored(self, tensor: str) -> str | None:
        """The scope of the layer whose output this tensor is; None for one inside a layer."""
        return self._stored.get(tensor) or None

    def nodes_of(self, layers: Collection[str], exact: Collection[str] = ()) -> list[str]:
        """Names of the operations that compute these layers.

        Parameters
        ----------
        layers : collection of str
        exact : collection of str
            Those of them that may be without a name: the last operation, which the converter names after the output, or
            one that it computed itself.

        Raises
        ------
        UnsupportedError
            A layer has no operation: the converter has made it part of another.
        """
        wanted = {scope_of(layer): layer for layer in layers}
        nodes = {
            self._tensors[index]: found
            for index in self._outputs
            if (found := set(self._layers(index)) & wanted.keys())
        }
        missing = wanted.keys() - set().union(*nodes.values())
        nodes |= {self._tensors[index]: set() for index in self._unnamed_after(nodes, bool(missing))}
        missing -= {scope_of(layer) for layer in exact}
        if missing:
            layer = wanted[min(missing)]
            raise UnsupportedError(f"TFLite has no operation of its own for {layer!r}, so it cannot stay in float")
        return list(nodes)

    def _unnamed_after(self, nodes: Collection[str], every: bool) -> list[int]:
        """Outputs of the graph, which the converter names itself, computed without weights: of these nodes alone, or
        every one."""
        return [
            index
            for index, computed in self._computed_from.items()
            if not layers_in(self._tensors[index])
            and computed
            and (every or all(self._tensors[i] in nodes for i in computed))
        ]

    def _first(self, index: int) -> str:
        return next(iter(self._layers(index)), "")

    def _layers(self, index: int) -> tuple[str, ...]:
        """Scopes of the layers that an operation computes, by the tensor that it gives."""
        named = layers_in(self._tensors[index])
        return named or layers_in(";".join(self._tensors[constant] for constant in self._constants.get(index, ())))


def _observer(content: bytes, names: LayerNames, job: Job) -> Batches:
    """Runs the float model over the calibration images, and yields every float activation."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=content,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    (image,) = interpreter.get_input_details()
    activations = [
        detail["index"]
        for detail in interpreter.get_tensor_details()
        if detail["index"] in names.computed and detail["dtype"] is np.float32
    ]

    def run() -> Iterator[dict[str, npt.NDArray[np.float32]]]:
        for values in job.calibration_values():
            interpreter.set_tensor(image["index"], values)
            interpreter.invoke()
            yield {names.of(index): interpreter.get_tensor(index) for index in activations}

    return run


def _convert_int16x8(job: Job) -> bytes:
    """int16 has no uint8 input of its own: pixels are cast and scaled in float, then quantized to int16."""
    import tensorflow as tf

    scheme = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    grid = job.grid
    of_pixels = job.input_dtype == "uint8"

    @tf.function(input_signature=[tf.TensorSpec(job.input_shape, tf.uint8, name=job.input_name)])
    def serve(image: Any) -> Any:
        return run_in_scopes(job.network, (tf.cast(image, tf.float32) - grid.zero_point) * grid.scale)

    inputs = [image[None] for image in job.pixels] if of_pixels else job.calibration_values()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([freeze(serve if of_pixels else trace_integer(job))])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [scheme, tf.lite.OpsSet.TFLITE_BUILTINS]
    converter.representative_dataset = lambda: ([image] for image in inputs)
    return bytes(converter.convert())


def _set_range(tensor: Any, range_: Range) -> None:
    tensor.quantization.min, tensor.quantization.max = [range_.low], [range_.high]


def _check_integers(model: Any) -> None:
    """Refuse what the converter leaves in float without a word, since no integer kernel exists.

    Raises
    ------
    UnsupportedError
    """
    from tensorflow.lite.python.schema_py_generated import BuiltinOperator

    floats = {BuiltinOperator.CONV_3D: "grouped 3-D", BuiltinOperator.CONV_3D_TRANSPOSE: "transposed 3-D"}
    found = sorted(floats[code.builtinCode] for code in model.operatorCodes if code.builtinCode in floats)
    if found:
        raise UnsupportedError(
            f"TFLite computes {found[0]} convolutions in float alone: use fp16 or dynamic, or --format onnx or openvino"
        )


def _with_names(content: bytes, job: Job) -> bytes:
    """The model with its input and outputs named as in the other formats, and shorter names between them."""
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    if job.plan.precision in ("int8", "int16x8"):
        _check_integers(model)
    graph = model.subgraphs[0]
    for tensor in graph.tensors:
        is_constant = model.buffers[tensor.buffer].data is not None
        tensor.name = None if is_constant else shortened(tensor.name.decode()).encode()
    graph.tensors[graph.inputs[0]].name = job.input_name.encode()
    names = {index: name.encode() for index, name in zip(graph.outputs, job.output_names, strict=True)}
    for index, name in names.items():
        graph.tensors[index].name = name
    for signature in model.signatureDefs or []:
        signature.inputs[0].name = job.input_name.encode()
        for output in signature.outputs:
            output.name = names[output.tensorIndex]
    return serialize_tflite(model)


@contextmanager
def quiet() -> Iterator[None]:
    """TensorFlow's remarks on its own conversion are not the user's concern."""
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), native_stderr_silenced():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
