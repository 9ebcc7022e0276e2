"""A Keras network as a frozen TensorFlow function: what the TFLite and ONNX converters read."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, cast

from edgecv_export.formats import roi_align
from edgecv_export.formats.job import Job
from edgecv_export.formats.layer_names import scope_of
from edgecv_export.formats.planes import in_planes
from edgecv_export.quantize.graph import Graph, bare


def trace_float(job: Job) -> Any:
    """A tf.function from uint8 pixels (1, H, W, C), or float32 values, to the network's outputs."""
    import tensorflow as tf

    @tf.function(
        input_signature=[tf.TensorSpec(job.input_shape, job.input_dtype, name=job.input_name)], autograph=False
    )
    def serve(image: Any) -> Any:
        return run_in_scopes(job.network, job.normalize(tf.cast(image, tf.float32)), **_of_format(job))

    return serve


def trace_integer(job: Job) -> Any:
    """A tf.function from float32 grid values (1, H, W, C) to the network's outputs; the input is quantized later."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec(job.input_shape, tf.float32, name=job.input_name)], autograph=False)
    def serve(image: Any) -> Any:
        return run_in_scopes(job.network, image, **_of_format(job))

    return serve


def _of_format(job: Job) -> dict[str, Any]:
    """How `run_in_scopes` traces for the job's format."""
    if job.plan.format != "tflite":
        return {"native_regions": True}
    # TFLite has no pooling of volumes, and of integers no 3-D convolution.
    return {"planes": ("MaxPooling3D", "Conv3D") if job.plan.integer else ("MaxPooling3D",)}


def run_in_scopes(network: Any, values: Any, *, planes: Collection[str] = (), native_regions: bool = False) -> Any:
    """The network's outputs (one bare, several as a list), each layer computed under a scope of its name.

    The artefact's names carry the scopes along.

    Parameters
    ----------
    network : keras.Model
    values : tensor
    planes : collection of str
        Classes of layers of volumes that are computed plane by plane (see `edgecv_export.formats.planes`).
    native_regions : bool
        Whether a RoIAlign becomes the format's own operator (`roi_align`): TFLite has none.
    """
    import keras
    import tensorflow as tf

    graph = Graph(network)
    tensors = {graph.inputs[0]: values}
    with _functions_inlined():
        for step in graph.steps:
            with tf.name_scope(f"{scope_of(step.layer.name)}/"):  # with a slash: as it is, even if it was used before
                outputs = keras.tree.flatten(step.call_with(_traced(step.layer, planes, native_regions), tensors))
            tensors |= zip(step.outputs, outputs, strict=True)
    return bare([tensors[output] for output in graph.outputs])


def _traced(layer: Any, planes: Collection[str], native_regions: bool) -> Callable[..., Any]:
    """What computes a layer in the trace: the layer itself, but for sums, `planes` and `native_regions`.

    Keras takes the sum of two (1, 1, 1, C) maps, as the last ones of a network at a small input are, for the addition
    of a bias; a bias that is computed is one that no converter knows.
    """
    if (planar := in_planes(layer, planes)) is not None:
        return planar
    if native_regions and roi_align.is_native(layer):
        return functools.partial(roi_align.stand_in, layer)
    if type(layer).__name__ != "Add" or type(layer).__module__.partition(".")[0] != "keras":
        return cast(Callable[..., Any], layer)

    def add(*inputs: Any, **options: Any) -> Any:
        import keras
        import tensorflow as tf

        terms = keras.tree.flatten(inputs)
        alike = {(term.dtype, tuple(term.shape)) for term in terms if tf.is_tensor(term)}
        if len(alike) != 1 or not all(tf.is_tensor(term) for term in terms):
            return layer(*inputs, **options)
        return functools.reduce(tf.add, terms)

    return add


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
