"""Grouped convolutions: Keras compiles them by themselves, and every format has to get the operation itself."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from edgecv_export.formats.tracing import freeze, run_in_scopes


@pytest.fixture(scope="module")
def network() -> Any:
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 8))
    x = keras.layers.Conv2D(12, 3, groups=4, padding="same", name="grouped")(image)
    return keras.Model(image, keras.layers.ReLU(name="relu")(x))


def test_the_traced_graph_holds_the_convolution_and_no_call(network: Any) -> None:
    @tf.function(input_signature=[tf.TensorSpec((1, 6, 6, 8), tf.float32)])
    def serve(values: Any) -> Any:
        return run_in_scopes(network, values)

    frozen = freeze(serve)
    kinds = {operation.type for operation in frozen.graph.get_operations()}
    assert "Conv2D" in kinds
    assert not {kind for kind in kinds if "PartitionedCall" in kind}
    assert not tf.config.functions_run_eagerly()  # as it was before


def test_onnx_gets_the_groups(network: Any) -> None:
    import onnxruntime
    import tf2onnx

    @tf.function(input_signature=[tf.TensorSpec((1, 6, 6, 8), tf.float32)])
    def serve(values: Any) -> Any:
        return run_in_scopes(network, values)

    frozen = freeze(serve)
    model, _ = tf2onnx.convert.from_graph_def(
        frozen.graph.as_graph_def(), input_names=[frozen.inputs[0].name], output_names=[frozen.outputs[0].name]
    )
    (convolution,) = (node for node in model.graph.node if node.op_type == "Conv")
    assert next(attribute.i for attribute in convolution.attribute if attribute.name == "group") == 4
    values = np.random.default_rng(0).normal(0, 1, (1, 6, 6, 8)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: values})[0]
    # By hand: four convolutions of two channels each, whose results lie side by side.
    kernel, bias = (np.asarray(weight) for weight in network.get_layer("grouped").get_weights())
    padded = np.pad(values[0], ((1, 1), (1, 1), (0, 0)))
    expected = np.zeros((6, 6, 12), np.float32)
    for row in range(6):
        for column in range(6):
            patch = padded[row : row + 3, column : column + 3]
            for filter in range(12):
                group = filter // 3
                expected[row, column, filter] = (
                    patch[:, :, 2 * group : 2 * group + 2] * kernel[..., filter]
                ).sum() + bias[filter]
    assert found[0] == pytest.approx(np.maximum(expected, 0), abs=1e-5)
