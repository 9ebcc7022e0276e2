"""A Keras network as a frozen TensorFlow function: what the TFLite and ONNX converters read."""

from __future__ import annotations

from typing import Any

from edgecv_export.formats.job import Job


def trace_float(job: Job) -> Any:
    """A tf.function from uint8 pixels (1, H, W, C) to the network's output."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec(job.input_shape, tf.uint8, name=job.input_name)])
    def serve(image: Any) -> Any:
        return job.network(job.normalize(tf.cast(image, tf.float32)), training=False)

    return serve


def trace_integer(job: Job) -> Any:
    """A tf.function from float32 grid values (1, H, W, C) to the logits; its input is quantized afterwards."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec(job.input_shape, tf.float32, name=job.input_name)])
    def serve(image: Any) -> Any:
        return job.network(image, training=False)

    return serve


def freeze(function: Any) -> Any:
    """A concrete function whose variables have become constants."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    return convert_variables_to_constants_v2(function.get_concrete_function())
