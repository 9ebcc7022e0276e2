"""Keras and TensorFlow models that break a condition, converted to int8: told and compiled alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecv_export.compatibility import place
from edgecv_export.tflite_graph import read_graph
from edgecv_targets import load_accelerator

pytest.importorskip("ethosu")


def _models() -> dict[str, tuple[tuple[int, ...], Callable[[Any], Any], set[str]]]:
    """Input shape, function, and the operators that fall back on the Ethos-U55 as Arm documents it."""
    import tensorflow as tf

    generator = np.random.default_rng(1)

    def weights(*shape: int) -> Any:
        return tf.constant(generator.normal(size=shape).astype(np.float32))

    kernel = weights(3, 3, 8, 8)

    def features(x: Any) -> Any:
        return tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME"))

    image, island = (1, 16, 16, 8), {"DEQUANTIZE", "QUANTIZE"}
    return {
        "float operator": (image, lambda x: tf.math.sin(features(x)), {"SIN", *island}),
        "five dimensions": (image, lambda x: tf.reshape(features(x), (1, 4, 4, 16, 8)) * 2.0, set()),
        "convolution in three dimensions": (
            image,
            lambda x: tf.nn.conv3d(tf.reshape(features(x), (1, 4, 4, 16, 8)), weights(2, 2, 2, 8, 8), [1] * 5, "SAME"),
            {"CONV_3D", *island},
        ),
        "activation without a table": (image, lambda x: tf.sqrt(features(x)), {"SQRT"}),
        "activation with a table": (image, lambda x: tf.nn.gelu(features(x), approximate=True), set()),
        "huge kernel": (
            (1, 300, 4, 8),
            lambda x: tf.nn.avg_pool2d(features(x), (300, 2), 1, "VALID"),
            {"AVERAGE_POOL_2D"},
        ),
        "transposed, even stride": (
            image,
            lambda x: tf.nn.conv2d_transpose(x, kernel, (1, 32, 32, 8), 2, "SAME"),
            set(),
        ),
        "transposed, odd stride": (
            image,
            lambda x: tf.nn.conv2d_transpose(x, kernel, (1, 48, 48, 8), 3, "SAME"),
            {"TRANSPOSE_CONV"},
        ),
    }


def _convert(shape: tuple[int, ...], function: Callable[[Any], Any], signature: tuple[int | None, ...]) -> bytes:
    import tensorflow as tf

    from edgecv_export.formats.tflite import quiet

    traced = tf.function(function, input_signature=[tf.TensorSpec(signature, tf.float32)]).get_concrete_function()
    generator = np.random.default_rng(0)
    with quiet():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([traced])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([generator.normal(size=shape).astype(np.float32)] for _ in range(2))
        converter.inference_input_type = converter.inference_output_type = tf.int8
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
        return bytes(converter.convert())


_NAMES = (
    "float operator", "five dimensions", "convolution in three dimensions", "activation without a table",
    "activation with a table", "huge kernel", "transposed, even stride", "transposed, odd stride",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", _NAMES)
def test_told_and_compiled_alike(name: str) -> None:
    from edgecv_export.compilers.vela import Options, compile_model

    shape, function, expected = _models()[name]
    content = _convert(shape, function, shape)
    graph = read_graph(content)
    left = {operator.index for operator in place(graph, load_accelerator("ethos-u55")) if operator.where == "cpu"}
    assert {graph.operators[index].kind for index in left} == expected
    assert set(compile_model(content, Options("ethos-u55-128")).on_cpu) == left


@pytest.mark.slow
@pytest.mark.parametrize(("signature", "fallback"), [((None, 16, 16, 8), False), ((1, None, 16, 8), True)])
def test_dynamic_shapes(signature: tuple[int | None, ...], fallback: bool) -> None:
    """A batch that varies is compiled as one; a height that varies is not compiled."""
    import tensorflow as tf

    from edgecv_export.compilers.vela import Options, compile_model

    kernel = tf.constant(np.ones((3, 3, 8, 8), np.float32))
    content = _convert((1, 16, 16, 8), lambda x: tf.nn.conv2d(x, kernel, 1, "SAME"), signature)
    placed = place(read_graph(content), load_accelerator("ethos-u55"))
    left = [operator.index for operator in placed if operator.where == "cpu"]
    assert bool(left) is fallback
    assert list(compile_model(content, Options("ethos-u55-128")).on_cpu) == left
