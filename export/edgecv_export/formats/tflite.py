"""Keras to TFLite.

int8 goes in three steps that the converter offers apart: calibrate, set the ranges, quantize. Between the first and
the last the input gets the exact grid of its pixels, and the logits room for values beyond those seen.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edgecv_export.formats.job import Job
from edgecv_export.formats.tracing import freeze, trace_float, trace_integer
from edgecv_export.quantize.affine import Range
from edgecv_export.quantize.ranges import OUTPUT_MARGIN, widened
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
        "int16x8": _convert_int16x8,
    }[job.plan.precision]
    with _quiet():
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

    model = flatbuffer_utils.convert_bytearray_to_object(_calibrate(job, [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]))
    graph = model.subgraphs[0]
    _set_range(graph.tensors[graph.inputs[0]], job.grid.range)
    logits = graph.tensors[graph.outputs[0]]
    seen = Range(float(logits.quantization.min[0]), float(logits.quantization.max[0]))
    _set_range(logits, widened(seen, OUTPUT_MARGIN))
    content = flatbuffer_utils.convert_object_to_bytearray(model)
    return bytes(mlir_quantize(bytes(content), input_data_type=tf.uint8, output_data_type=tf.int8))


def _convert_int16x8(job: Job) -> bytes:
    """int16 has no uint8 input of its own: pixels are cast and scaled in float, then quantized to int16."""
    import tensorflow as tf

    scheme = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    grid = job.grid

    @tf.function(input_signature=[tf.TensorSpec(job.input_shape, tf.uint8, name=job.input_name)])
    def serve(image: Any) -> Any:
        return job.network((tf.cast(image, tf.float32) - grid.zero_point) * grid.scale, training=False)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([freeze(serve)])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [scheme, tf.lite.OpsSet.TFLITE_BUILTINS]
    converter.representative_dataset = lambda: ([image[None]] for image in job.pixels)
    return bytes(converter.convert())


def _set_range(tensor: Any, range_: Range) -> None:
    tensor.quantization.min, tensor.quantization.max = [range_.low], [range_.high]


def _with_names(content: bytes, job: Job) -> bytes:
    """The model with its input and output named as in the other formats."""
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].name = job.input_name.encode()
    graph.tensors[graph.outputs[0]].name = job.output_name.encode()
    for signature in model.signatureDefs or []:
        signature.inputs[0].name, signature.outputs[0].name = job.input_name.encode(), job.output_name.encode()
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


@contextmanager
def _quiet() -> Iterator[None]:
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
