"""The ranges that artefacts store, on activations that are known beforehand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from edgecv.models.registry import Preprocessing
from edgecv_export.formats.activation_ranges import activation_ranges
from edgecv_export.formats.job import InputGrid
from edgecv_export.plan import Plan
from edgecv_export.quantize.affine import Range
from edgecv_export.quantize.ranges import estimate_ranges
from edgecv_export.quantize.recipe import Recipe
from edgecv_export.sources import source_of
from edgecv_runtime.artefact import Artefact

FORMATS = ("tflite", "onnx", "openvino")
UNIT = Preprocessing(mean=(0.0,) * 3, std=(255.0,) * 3)
BIN = 10 / 2048  # of the histograms, over the full range


@pytest.fixture(scope="module")
def source() -> Any:
    """``act`` holds ten times red, and the negative of ten times green as zeros: a convolution with a rectifier."""
    image = keras.Input((32, 32, 3))
    conv = layers.Conv2D(2, 1, name="conv")
    x = layers.ReLU(name="act")(conv(image))
    dense = layers.Dense(2, name="dense")
    model = keras.Model(image, dense(layers.GlobalAveragePooling2D(name="pool")(x)))
    kernel = np.zeros((1, 1, 3, 2), np.float32)
    kernel[0, 0, 0, 0], kernel[0, 0, 1, 1] = 10, -10
    conv.set_weights([kernel, np.zeros(2, np.float32)])
    dense.set_weights([np.array([[1, -0.5], [0, 1]], np.float32), np.zeros(2, np.float32)])
    return source_of(model, UNIT)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """16 pictures with red of 1 to 25, but for one pixel of 255."""
    found = np.random.default_rng(0).integers(1, 26, (16, 32, 32, 3)).astype(np.uint8)
    found[5, 7, 9, 0] = 255
    return found


@pytest.fixture(scope="module")
def activations(pixels: np.ndarray) -> np.ndarray:
    """All values of ``act``, by hand."""
    red, green = (pixels[..., index].astype(np.float64).reshape(-1) / 255 for index in (0, 1))
    return np.concatenate([np.maximum(10 * red, 0), np.maximum(-10 * green, 0)])


def stored_high(artefact: Artefact) -> float:
    """The real value of the highest level of ``act``, whose lowest is zero, as the format stores it."""
    if artefact.format == "tflite":
        from ai_edge_litert import schema_py_generated as schema

        graph = schema.ModelT.InitFromPackedBuf(artefact.model, 0).subgraphs[0]
        (tensor,) = [
            tensor for tensor in graph.tensors if (tensor.name or b"").startswith(b"act/") and tensor.type == 9
        ]
        assert tensor.quantization.zeroPoint[0] == -128
        return float(255 * tensor.quantization.scale[0])
    if artefact.format == "onnx":
        import onnx
        from onnx import numpy_helper

        graph = onnx.load_from_string(artefact.model).graph
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        (node,) = [n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0].startswith("act/")]
        assert constants[node.input[2]].item() == 0
        return float(255 * constants[node.input[1]].item())
    import openvino

    weights = openvino.Tensor(np.frombuffer(artefact.weights or b"", np.uint8))
    model = openvino.Core().read_model(model=artefact.model, weights=weights)
    (node,) = [
        n for n in model.get_ops() if n.get_type_name() == "FakeQuantize" and n.get_friendly_name().startswith("act/")
    ]
    low, high = (node.input_value(index).get_node().data.item() for index in (1, 2))
    assert low == 0
    return float(high)


Stored = Callable[..., float]


@pytest.fixture(scope="module")
def stored(source: Any, pixels: np.ndarray) -> Stored:
    def convert(format: str, **recipe: Any) -> float:
        return stored_high(source.convert(Plan(format, "int8"), pixels, Recipe(**recipe)))

    return convert


@pytest.mark.parametrize("format", FORMATS)
def test_minmax_is_the_largest_value(format: str, stored: Stored, activations: np.ndarray) -> None:
    assert activations.max() == 10
    assert stored(format) == pytest.approx(10, rel=1e-5)


@pytest.mark.parametrize("format", FORMATS)
def test_percentile_is_that_of_numpy(format: str, stored: Stored, activations: np.ndarray) -> None:
    """0.005 % of 32,768 values are 1.6: one value lies above."""
    assert activations.size == 32_768
    expected = float(np.quantile(activations, 0.99995, method="lower"))
    assert expected == pytest.approx(10 * 25 / 255)
    assert expected <= stored(format, estimator="percentile") <= expected + BIN


@pytest.mark.parametrize("format", FORMATS)
def test_mse_has_the_least_squared_error(format: str, stored: Stored, activations: np.ndarray) -> None:
    """The values are multiples of 10/255: the full range has no error at all, any narrower one clips a value."""
    assert np.allclose(activations * 25.5, np.rint(activations * 25.5))
    assert stored(format, estimator="mse") == pytest.approx(10, rel=1e-5)


@pytest.mark.parametrize("format", FORMATS)
def test_entropy_is_that_of_the_activations(format: str, stored: Stored, pixels: np.ndarray) -> None:
    """Image by image from numpy, with no artefact between."""
    values = pixels.astype(np.float32) / 255
    images = [np.stack([10 * image[..., 0], np.zeros_like(image[..., 1])], -1) for image in values]
    expected = estimate_ranges(lambda: [{"act": image} for image in images], "entropy")["act"]
    assert stored(format, estimator="entropy") == pytest.approx(expected.high, abs=16 * BIN)


@pytest.mark.parametrize("format", FORMATS)
def test_fewer_images_are_spread_evenly(format: str, stored: Stored, pixels: np.ndarray) -> None:
    """Of 16 pictures the first and the last: neither has the bright pixel."""
    expected = pixels[[0, 15], ..., 0].max() / 25.5
    assert expected == pytest.approx(25 / 25.5)
    assert stored(format, images=2) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("format", FORMATS)
def test_given_ranges_go_first_and_wide_ones_are_wider(format: str, stored: Stored) -> None:
    assert stored(format, ranges={"act": Range(0, 3)}) == pytest.approx(3, rel=1e-5)
    assert stored(format, widen=4.0) == pytest.approx(40, rel=1e-5)
    assert stored(format, widen=4.0, ranges={"act": Range(0, 3)}) == pytest.approx(3, rel=1e-5)


# -- the rule itself ---------------------------------------------------------------------------------------------------


def test_every_tensor_gets_its_own() -> None:
    values = {
        "image": np.array([0.1, 0.2], np.float32),
        "image/transposed": np.array([0.1, 0.2], np.float32),
        "_a/Relu": np.array([0.0, 4.0], np.float32),
        "b/Relu": np.array([-1.0, 2.0], np.float32),
        "inside": np.array([0.0, 5.0], np.float32),
        "logits": np.array([-8.0, 12.0], np.float32),
    }
    grid = InputGrid(1 / 255, 0)
    found = activation_ranges(
        lambda: [values],
        Recipe(widen=2.0, ranges={"_a": Range(0, 7), "unknown": Range(0, 9)}),
        grid,
        pixels=["image", "image/transposed"],
        outputs=["logits"],
        layer_of={"_a/Relu": scope("_a"), "b/Relu": "b", "logits": "last"}.get,
    )
    assert found == {
        "image": Range(0, 1),
        "image/transposed": Range(0, 1),
        "_a/Relu": Range(0, 7),
        "b/Relu": Range(-2, 4),
        "inside": Range(0, 10),
        "logits": Range(-9, 13),  # min-max, a tenth of the width more, and never widened
    }


def scope(name: str) -> str:
    from edgecv_export.formats.layer_names import scope_of

    return scope_of(name)


@pytest.mark.parametrize("estimator", ["minmax", "percentile", "mse", "entropy"])
def test_logits_have_room_under_every_estimator(estimator: str) -> None:
    """30,000 logits near zero and one far out: a clipped logit would tie the classes."""
    values = np.random.default_rng(0).normal(0, 0.1, 30_000).astype(np.float32)
    values[17], values[18] = 10, -10
    found = activation_ranges(
        lambda: [{"logits": values, "act": values}],
        Recipe(estimator=estimator),
        InputGrid(1.0, 0),
        pixels=(),
        outputs=["logits"],
        layer_of=lambda _: None,
    )
    assert (found["logits"].low, found["logits"].high) == (pytest.approx(-11), pytest.approx(11))
    assert found["act"].high == pytest.approx(10) if estimator == "minmax" else found["act"].high < 10
