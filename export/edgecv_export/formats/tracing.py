"""A Keras network as a frozen TensorFlow function: what the TFLite and ONNX converters read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edgecv_export.formats.job import Job
from edgecv_export.formats.layer_names import scope_of
from edgecv_export.quantize.graph import Graph


def trace_float(job: Job) -> Any:
    """A tf.function from uint8 pixels (1, H, W, C) to the network's output."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec(job.input_shape, tf.uint8, name=job.input_name)])
    def serve(image: Any) -> Any:
        return run_in_scopes(job.network, job.normalize(tf.cast(image, tf.float32)))

    return serve


def trace_integer(job: Job) -> Any:
    """A tf.function from float32 grid values (1, H, W, C) to the logits; its input is quantized afterwards."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec(job.input_shape, tf.float32, name=job.input_name)])
    def serve(image: Any) -> Any:
        return run_in_scopes(job.network, image)

    return serve


def run_in_scopes(network: Any, values: Any) -> Any:
    """The network's output, each layer computed under a scope of its name, which the artefact's names carry along."""
    import keras
    import tensorflow as tf

    graph = Graph(network)
    tensors = {graph.inputs[0]: values}
    with _functions_inlined():
        for step in graph.steps:
            with tf.name_scope(f"{scope_of(step.layer.name)}/"):  # with a slash: as it is, even if it was used before
                outputs = keras.tree.flatten(step.call(tensors))
            tensors |= zip(step.outputs, outputs, strict=True)
    return tensors[graph.outputs[0]]


@contextmanager
def _functions_inlined() -> Iterator[None]:
    """Trace functions that Keras compiles by themselves into the graph around them.

    Keras wraps a grouped convolution in a function for XLA; a call of it is an operation that the ONNX converter
    does not know.
    """
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def freeze(function: Any) -> Any:
    """A concrete function whose variables have become constants."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    return convert_variables_to_constants_v2(function.get_concrete_function())
