"""Grids: by hand, and as the converters store them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecv.models.registry import Preprocessing
from edgecv_export.formats import exporter_of
from edgecv_export.formats.job import Job
from edgecv_export.plan import Plan
from edgecv_export.quantize.affine import Range, half, quantize_weights
from edgecv_export.quantize.kernels import channel_axes, has_kernel, kernel_of
from edgecv_export.sources import source_of
from edgecv_export.sources.keras import make_job


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-1.0, 1.55, (-1.0, 1.55)),
        (0.5, 2.0, (0.0, 2.0)),  # zero is always inside
        (-3.0, -1.0, (-3.0, 0.0)),
        (0.0, 0.0, (0.0, 1e-8)),  # a constant zero still has a scale
    ],
)
def test_a_range_contains_zero_and_has_a_width(low: float, high: float, expected: tuple[float, float]) -> None:
    range_ = Range(low, high)
    assert (range_.low, range_.high) == expected
    assert range_.scale == pytest.approx((expected[1] - expected[0]) / 255)


def test_fake_quantize_by_hand() -> None:
    # scale 0.01, zero point 100
    values = np.array([0.0, 0.004, 0.006, -0.996, 1.55, 2.0, -2.0], np.float32)
    expected = [0.0, 0.0, 0.01, -1.0, 1.55, 1.55, -1.0]
    np.testing.assert_allclose(Range(-1.0, 1.55).fake_quantize(values), expected, atol=1e-6)


def test_ties_go_to_the_even_level() -> None:
    values = np.array([0.5, 1.5, 2.5, 254.5], np.float32)
    assert Range(0, 255).fake_quantize(values).tolist() == [0, 2, 2, 254]


def test_a_symmetric_range_moves_to_whole_levels() -> None:
    # zero point 127.5 becomes 128: 128 levels below zero, 127 above
    step = 2 / 255
    ends = Range(-1, 1).fake_quantize(np.array([-9, 9], np.float32))
    np.testing.assert_allclose(ends, [-128 * step, 127 * step], rtol=1e-6)


def test_fake_quantize_is_idempotent() -> None:
    values = np.random.default_rng(0).normal(0, 2, 10_000).astype(np.float32)
    range_ = Range(-3.3, 5.1)
    once = range_.fake_quantize(values)
    np.testing.assert_array_equal(range_.fake_quantize(once), once)
    assert len(np.unique(once)) <= 256


def test_weights_by_hand() -> None:
    kernel = np.array([[1.0, -0.5], [0.3, 0.25]], np.float32)
    # scales 1/127 and 0.5/127: 0.3 is level 38.1, 0.25 level 63.5 (a tie, to 64)
    expected = [[1.0, -0.5], [38 / 127, 64 * 0.5 / 127]]
    np.testing.assert_allclose(quantize_weights(kernel, (1,)), expected, rtol=1e-6)


def test_each_depthwise_channel_has_its_own_scale() -> None:
    kernel = np.zeros((1, 2, 2, 2), np.float32)
    kernel[0, 0] = [[1, 10], [100, 1000]]
    kernel[0, 1] = [[0.3, 3], [30, 300]]
    expected = kernel.copy()
    expected[0, 1] = np.array([[1, 10], [100, 1000]]) * 38 / 127
    np.testing.assert_allclose(quantize_weights(kernel, (2, 3)), expected, rtol=1e-6)


def test_a_channel_of_zeros_stays_zero() -> None:
    kernel = np.zeros((3, 3, 4, 2), np.float32)
    kernel[..., 1] = 1
    np.testing.assert_array_equal(quantize_weights(kernel, (3,)), kernel)


def test_few_and_narrow_levels() -> None:
    kernel = np.random.default_rng(1).normal(0, 1, (3, 3, 16, 8)).astype(np.float32)
    rounded = quantize_weights(kernel, (3,))
    scale = np.abs(kernel).max(axis=(0, 1, 2)) / 127
    levels = rounded / scale
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)
    assert np.abs(levels).max() <= 127 + 1e-4  # never -128
    assert np.abs(rounded - kernel).max() <= 0.5 * scale.max() + 1e-6


@pytest.mark.parametrize("seed", range(20))
def test_rounding_weights_again_changes_nothing(seed: int) -> None:
    generator = np.random.default_rng(seed)
    kernel = (generator.normal(0, 1, (3, 3, 8, 64)) * generator.uniform(1e-4, 10, 64)).astype(np.float32)
    once = quantize_weights(kernel, (3,))
    twice = quantize_weights(once, (3,))
    np.testing.assert_allclose(twice, once, rtol=3e-7)  # a float32 unit: the scale is rounded again
    np.testing.assert_array_equal(_levels(twice, (3,)), _levels(once, (3,)))


def test_half_by_hand() -> None:
    values = half(np.array([0.1, 1.0, 2049.0, 1e-9], np.float32))
    assert values.tolist() == [0.0999755859375, 1.0, 2048.0, 0.0]
    assert values.dtype == np.float32


# -- the converters store what was rounded here ------------------------------------------------------------------


@pytest.fixture(scope="module")
def job_of(settle: Callable[..., None]) -> Callable[[str, str], Job]:
    """A network whose kernels all have shapes of their own, prepared for one export."""
    import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(image)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.Conv2D(12, 1, use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Dense(5)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, layers.Softmax()(x))
    pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)
    preprocessing = Preprocessing(mean=(127.5,) * 3, std=(127.5,) * 3)
    source = source_of(model, preprocessing)
    settle(model, source.normalize(pixels))
    return lambda format, precision: make_job(source, Plan(format, precision), pixels)


def _levels(kernel: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """round(w / scale), by the textbook."""
    others = tuple(axis for axis in range(kernel.ndim) if axis not in axes)
    return np.rint(kernel / (np.abs(kernel).max(axis=others, keepdims=True) / 127)).astype(np.int8)


def _expected(job: Job, *transpositions: tuple[int, ...]) -> list[np.ndarray]:
    """The levels of every kernel of the job's network, with their axes as the format has them."""
    layers = [layer for layer in job.network.layers if has_kernel(layer)]
    found = [(layer, _levels(kernel_of(layer), channel_axes(layer))) for layer in layers]
    full, depthwise, dense = transpositions
    order = {"Conv2D": full, "DepthwiseConv2D": depthwise, "Dense": dense}
    return [levels.transpose(order[type(layer).__name__]) for layer, levels in found]


@pytest.mark.parametrize("precision", ["int8", "dynamic"])
def test_tflite_stores_our_levels(job_of: Callable[[str, str], Job], precision: str) -> None:
    job = job_of("tflite", precision)
    content = exporter_of("tflite")(job).model
    stored = _tflite_constants(content)
    for levels in _expected(job, (3, 0, 1, 2), (3, 0, 1, 2), (1, 0)):
        # Small kernels stay float in a dynamic model, and hold the rounded values as such.
        same = [array for array, _ in stored if array.shape == levels.shape and array.dtype == np.int8]
        if precision == "int8" or same:
            np.testing.assert_array_equal(same[0], levels)


@pytest.mark.parametrize("precision", ["int8", "dynamic"])
def test_onnx_stores_our_levels(job_of: Callable[[str, str], Job], precision: str) -> None:
    import onnx
    from onnx import numpy_helper

    job = job_of("onnx", precision)
    model = onnx.load_from_string(exporter_of("onnx")(job).model)
    stored = [numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    for levels in _expected(job, (3, 2, 0, 1), (2, 3, 0, 1), (0, 1)):
        same = [array for array in stored if array.dtype == np.int8 and array.shape in (levels.shape, levels.T.shape)]
        assert len(same) == 1, levels.shape
        got = same[0] if same[0].shape == levels.shape else same[0].T
        np.testing.assert_array_equal(got, levels)


def test_the_scales_in_the_file_give_the_rounded_kernel_back(job_of: Callable[[str, str], Job]) -> None:
    job = job_of("tflite", "int8")
    stored = _tflite_constants(exporter_of("tflite")(job).model)
    for layer in job.network.layers:
        if type(layer).__name__ != "Conv2D":
            continue
        kernel = kernel_of(layer).transpose(3, 0, 1, 2)
        ((levels, scales),) = [(array, scales) for array, scales in stored if array.shape == kernel.shape]
        np.testing.assert_allclose(levels * scales[:, None, None, None], kernel, rtol=1e-6, atol=1e-9)


def _tflite_constants(content: bytes) -> list[tuple[np.ndarray, Any]]:
    """(values, scales) of the int8 tensors with content in a TFLite file."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    found = []
    for tensor in model.subgraphs[0].tensors:
        data = model.buffers[tensor.buffer].data
        if tensor.type == schema.TensorType.INT8 and data is not None and len(data):
            array = np.frombuffer(bytes(data), np.int8).reshape(tensor.shape)
            found.append((array, np.asarray(tensor.quantization.scale)))
    return found
