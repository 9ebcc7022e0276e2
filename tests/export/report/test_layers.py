"""The layer report: rounding known by hand, and one ruined layer that must show in every format."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from edgecv.models.registry import Preprocessing
from edgecv_export.formats.layer_names import scope_of
from edgecv_export.plan import Plan
from edgecv_export.quantize.fold import fold_batch_norms
from edgecv_export.report.layers import LEAST_DB, MOST_DB, LayerError, layer_report, layouts
from edgecv_export.report.tensors import expose
from edgecv_export.sources import source_of
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.backends import open_backend
from edgecv_runtime.errors import InputError
from edgecv_runtime.manifest import Resize

FORMATS = ("tflite", "onnx", "openvino")
PIXELS_AS_THEY_ARE = Preprocessing((0.0,) * 3, (1.0,) * 3, resize=Resize("stretch"))


# -- by hand -----------------------------------------------------------------------------------------------------------


def chain() -> Any:
    """Two 1×1 convolutions that do nothing: every tensor is the image."""
    image = keras.Input((2, 2, 1), name="image")
    first = layers.Conv2D(1, 1, name="first")
    second = layers.Conv2D(1, 1, name="second")
    model = keras.Model(image, layers.Flatten(name="flat")(second(first(image))))
    for layer in (first, second):
        layer.set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
    return model


def rounded_chain(scale: float) -> Artefact:
    """The same in ONNX, channels first, the first convolution's output on a grid of `scale`."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Cast", ["image"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["cast"], ["first/Conv2D:0"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["first/Conv2D:0", "one"], ["first/BiasAdd:0"]),
        helper.make_node("QuantizeLinear", ["first/BiasAdd:0", "scale", "zero"], ["first/BiasAdd:0_quantized"]),
        helper.make_node(
            "DequantizeLinear", ["first/BiasAdd:0_quantized", "scale", "zero"], ["first/BiasAdd:0_dequantized"]
        ),
        helper.make_node("Conv", ["first/BiasAdd:0_dequantized", "one"], ["second/BiasAdd:0"]),
        helper.make_node("Reshape", ["second/BiasAdd:0", "shape"], ["logits"]),
    ]
    constants = {
        "one": np.ones((1, 1, 1, 1), np.float32),
        "scale": np.array(scale, np.float32),
        "zero": np.array(0, np.uint8),
        "shape": np.array([1, 4], np.int64),
    }
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 2, 2, 1])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return Artefact("onnx", model.SerializeToString())


def test_rounding_by_hand() -> None:
    pixels = np.array([[[[3], [8]], [[9], [20]]], [[[0], [5]], [[12], [7]]]], np.uint8)
    found = layer_report(chain(), rounded_chain(4.0), pixels, pixels.astype(np.float32))
    # On multiples of 4: 3 → 4, 8, 9 → 8, 20; 0, 5 → 4, 12, 7 → 8. Four errors of one level.
    signal = 9 + 64 + 81 + 400 + 0 + 25 + 144 + 49
    product = 3 * 4 + 64 + 9 * 8 + 400 + 5 * 4 + 144 + 7 * 8
    power = 16 + 64 + 64 + 400 + 16 + 144 + 64
    assert [row.name for row in found] == ["first", "second"]
    for row in found:
        assert row.kind == "Conv2D"
        assert row.layers == (row.name,)
        assert row.sqnr_db == pytest.approx(10 * math.log10(signal / 4), abs=1e-9)
        assert row.cosine == pytest.approx(product / math.sqrt(signal * power), abs=1e-12)
        assert row.parameters == 0.5  # a weight and a bias each
        assert (row.sensitivity, row.in_float) == (None, False)


def test_no_error() -> None:
    pixels = np.arange(4, dtype=np.uint8).reshape(1, 2, 2, 1)
    found = layer_report(chain(), rounded_chain(1.0), pixels, pixels.astype(np.float32))
    assert [(row.sqnr_db, row.cosine) for row in found] == [(MOST_DB, 1.0), (MOST_DB, 1.0)]


def test_no_signal() -> None:
    found = layer_report(chain(), rounded_chain(1.0), np.full((1, 2, 2, 1), 9, np.uint8), np.zeros((1, 2, 2, 1)))
    assert [(row.sqnr_db, row.cosine) for row in found] == [(LEAST_DB, 0.0), (LEAST_DB, 0.0)]


def test_what_is_given_is_passed_on() -> None:
    pixels = np.ones((1, 2, 2, 1), np.uint8)
    first, second = layer_report(
        chain(),
        rounded_chain(1.0),
        pixels,
        pixels.astype(np.float32),
        sensitivities={"first": 0.25},
        float_layers=["second"],
    )
    assert (first.sensitivity, first.in_float) == (0.25, False)
    assert (second.sensitivity, second.in_float) == (None, True)
    assert first.to_dict() == {
        "name": "first", "kind": "Conv2D", "layers": ["first"], "sqnr_db": 200.0, "cosine": 1.0, "parameters": 0.5,
        "sensitivity": 0.25, "in_float": False,
    }  # fmt: skip


@pytest.mark.parametrize(("pixels", "values"), [(0, 0), (2, 1)])
def test_inputs_that_do_not_fit(pixels: int, values: int) -> None:
    with pytest.raises(InputError, match=f"received {pixels} and {values}"):
        layer_report(chain(), rounded_chain(1.0), np.zeros((pixels, 2, 2, 1), np.uint8), np.zeros((values, 2, 2, 1)))


def test_layouts() -> None:
    first = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)  # two channels of 3×4
    assert list(layouts(first, (1, 3, 4, 2))) == ["first"]
    np.testing.assert_array_equal(layouts(first, (1, 3, 4, 2))["first"][0, 2, 1], [9, 21])
    assert list(layouts(first, (1, 2, 3, 4))) == ["last"]
    assert layouts(np.ones((1, 5, 1, 1), np.float32), (1, 5))["first"].shape == (1, 5)
    assert layouts(first, (1, 5, 5, 1)) == {}
    cube = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)
    assert list(layouts(cube, (1, 2, 2, 2))) == ["last", "first"]


# -- real exports ------------------------------------------------------------------------------------------------------


def side_branch() -> Any:
    """A trunk, and a branch that adds little to it: an error of the branch fades behind the sum."""
    image = keras.Input((8, 8, 3), name="image")
    trunk = layers.Conv2D(8, 3, padding="same", name="trunk")(image)
    trunk = layers.ReLU(6.0, name="trunk_relu")(trunk)
    branch = layers.Conv2D(8, 3, padding="same", name="branch")(trunk)
    x = layers.Add(name="sum")([trunk, branch])
    x = layers.DepthwiseConv2D(3, padding="same", name="spread")(x)
    x = layers.ReLU(6.0, name="spread_relu")(x)
    x = layers.Conv2D(8, 1, name="mix")(x)  # 8×8×8: both layouts fit
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(image, layers.Dense(4, name="out")(x), name="side_branch")
    generator = np.random.default_rng(3)
    for layer in model.layers:
        if layer.weights:
            kernel = generator.normal(0, 1, layer.kernel.shape) / np.sqrt(np.prod(layer.kernel.shape[:-1]))
            gain = {"trunk": 0.02, "branch": 0.2, "spread": 2.0}.get(layer.name, 1.0)
            layer.set_weights([gain * kernel, generator.normal(0, 0.1, layer.bias.shape)])
    return model


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(4).integers(0, 256, (12, 8, 8, 3)).astype(np.uint8)


def converted(model: Any, format: str, precision: str, pictures: np.ndarray) -> Artefact:
    return source_of(model, PIXELS_AS_THEY_ARE).convert(Plan(format, precision), pictures)


@pytest.fixture(scope="module")
def sound(pictures: np.ndarray) -> Callable[[str, str], Artefact]:
    """The network as it is, converted once for all tests."""
    return functools.cache(lambda format, precision: converted(side_branch(), format, precision, pictures))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_ruined_layer_is_the_worst(
    format: str, precision: str, pictures: np.ndarray, sound: Callable[[str, str], Artefact]
) -> None:
    model, ruined = side_branch(), side_branch()
    layer = ruined.get_layer("branch")
    kernel = np.asarray(layer.kernel)
    layer.set_weights([np.sign(kernel) * np.abs(kernel).mean(), np.asarray(layer.bias)])  # one bit a weight
    values = pictures.astype(np.float32)
    found = {
        row.name: row for row in layer_report(model, converted(ruined, format, precision, pictures), pictures, values)
    }
    assert set(found) == {"trunk", "branch", "sum", "spread", "mix", "pool", "out"}
    assert min(found.values(), key=lambda row: row.sqnr_db).name == "branch"
    assert min(found.values(), key=lambda row: row.cosine).name == "branch"
    assert found["trunk"].sqnr_db > found["branch"].sqnr_db + 20  # before it all is well
    # The same layer without the ruin.
    unharmed = {row.name: row for row in layer_report(model, sound(format, precision), pictures, values)}
    assert unharmed["branch"].sqnr_db > found["branch"].sqnr_db + 15
    assert unharmed["mix"].sqnr_db > 20  # the right one of two layouts


@pytest.mark.parametrize("format", FORMATS)
def test_fused_layers_are_one_row(format: str, pictures: np.ndarray, sound: Callable[[str, str], Artefact]) -> None:
    model = side_branch()
    found = layer_report(model, sound(format, "int8"), pictures[:2], pictures[:2].astype(np.float32))
    assert [(row.name, row.kind, row.layers) for row in found] == [
        ("trunk", "Conv2D", ("trunk", "trunk_relu")),
        ("branch", "Conv2D", ("branch",)),
        ("sum", "Add", ("sum",)),
        ("spread", "DepthwiseConv2D", ("spread", "spread_relu")),
        ("mix", "Conv2D", ("mix",)),
        ("pool", "GlobalAveragePooling2D", ("pool",)),
        ("out", "Dense", ("out",)),
    ]
    parameters = {"trunk": 224, "branch": 584, "sum": 0, "spread": 80, "mix": 72, "pool": 0, "out": 36}
    assert {row.name: row.parameters for row in found} == pytest.approx(
        {name: count / 996 for name, count in parameters.items()}
    )


def test_fp32_is_exact_everywhere(pictures: np.ndarray, sound: Callable[[str, str], Artefact]) -> None:
    model = side_branch()
    for format in FORMATS:
        artefact = sound(format, "fp32")
        found = layer_report(model, artefact, pictures[:3], pictures[:3].astype(np.float32))
        assert min(row.sqnr_db for row in found) > 90, format


@pytest.mark.parametrize("format", FORMATS)
def test_reading_does_not_disturb(format: str, pictures: np.ndarray, sound: Callable[[str, str], Artefact]) -> None:
    model = side_branch()
    artefact = sound(format, "int8")
    shown = expose(artefact, {scope_of(layer.name): type(layer).__name__ for layer in model.layers})
    assert set(shown.tensors) >= {"trunk_relu", "branch", "sum", "spread_relu", "mix"}
    with open_backend(artefact) as alone, open_backend(shown.artefact) as together:
        assert together.outputs[0] == alone.outputs[0]
        for picture in pictures[:4]:
            wanted, got = (backend.infer([picture[None]])[0] for backend in (alone, together))
            # OpenVINO may round a value on the border between two levels to the other one.
            np.testing.assert_allclose(got, wanted, rtol=0, atol=0.05 if format == "openvino" else 0)


def test_the_formats_agree_on_a_network(mobilenet: Any, scenes: tuple[np.ndarray, ...]) -> None:
    source = source_of(mobilenet)
    pixels = source.pixels(scenes)
    network = fold_batch_norms(source.logits[0])
    found: dict[str, tuple[LayerError, ...]] = {}
    for format in FORMATS:
        artefact = source.convert(Plan(format, "int8"), pixels)
        found[format] = layer_report(network, artefact, pixels[:4], source.normalize(pixels[:4]))
    names = [row.name for row in found["tflite"]]
    # 52 convolutions, 10 sums, the pooling and the classifier.
    assert len(names) == 52 + 10 + 1 + 1
    for format in FORMATS:
        assert [row.name for row in found[format]] == names
        assert found[format][0].sqnr_db == pytest.approx(found["tflite"][0].sqnr_db, abs=0.1)
        assert sum(row.parameters for row in found[format]) == pytest.approx(1.0)
