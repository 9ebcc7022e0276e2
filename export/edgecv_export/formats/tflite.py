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
from edgecv_export.formats.job import Job
from edgecv_export.formats.layer_names import layers_in, scope_of, shortened
from edgecv_export.formats.tracing import freeze, run_in_scopes, trace_float, trace_integer
from edgecv_export.quantize.affine import Range
from edgecv_export.quantize.ranges import Batches
from edgecv_export.quiet import native_stderr_silenced
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.errors import UnsupportedError


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
    if job.plan.precision != "fp32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if job.plan.precision == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    return bytes(converter.convert())


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
    kept = names.nodes_of(job.recipe.float_layers)
    return bytes(
        mlir_quantize(
            bytes(flatbuffer_utils.convert_object_to_bytearray(model)),
            input_data_type=tf.uint8,
            output_data_type=tf.float32 if any(name in kept for name in outputs) else tf.int8,
            denylisted_nodes=kept,
        )
    )


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

    def nodes_of(self, layers: Collection[str]) -> list[str]:
        """Names of the operations that compute these layers.

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
        if missing:
            layer = wanted[min(missing)]
            raise UnsupportedError(f"TFLite has no operation of its own for {layer!r}, so it cannot stay in float")
        return list(nodes)

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

    @tf.function(input_signature=[tf.TensorSpec(job.input_shape, tf.uint8, name=job.input_name)])
    def serve(image: Any) -> Any:
        return run_in_scopes(job.network, (tf.cast(image, tf.float32) - grid.zero_point) * grid.scale)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([freeze(serve)])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [scheme, tf.lite.OpsSet.TFLITE_BUILTINS]
    converter.representative_dataset = lambda: ([image[None]] for image in job.pixels)
    return bytes(converter.convert())


def _set_range(tensor: Any, range_: Range) -> None:
    tensor.quantization.min, tensor.quantization.max = [range_.low], [range_.high]


def _with_names(content: bytes, job: Job) -> bytes:
    """The model with its input and outputs named as in the other formats, and shorter names between them."""
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
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
