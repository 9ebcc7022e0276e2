"""OpenVINO files, run by hand on OpenVINO."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

PRECISIONS = ("fp32", "fp16", "dynamic", "int8")
MODELS = ("lenet", "mobilenet")


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", MODELS)
def test_the_manifest_is_all_one_needs(
    name: str,
    precision: str,
    made: Callable[..., Any],
    unpacked: Callable[..., Any],
    pictures_of: Callable[[str], list[np.ndarray]],
    assert_near: Callable[..., None],
) -> None:
    import openvino

    one = made(name, "openvino", precision)
    folder, road = unpacked(one.path)
    config = {"INFERENCE_PRECISION_HINT": "f32"}  # or a CPU with bfloat16 would compute in it
    compiled = openvino.Core().compile_model(folder / "model.xml", "CPU", config)
    pictures = pictures_of(name)
    answers = [road.scores(compiled({"image": road.pixels(image)})[0]) for image in pictures]
    assert_near(np.stack(answers), one, pictures)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", MODELS)
def test_tensors(name: str, precision: str, made: Callable[..., Any]) -> None:
    model = load(made(name, "openvino", precision))
    size = {"lenet": [1, 32, 32, 1], "mobilenet": [1, 96, 96, 3]}[name]
    output = "logits" if precision == "int8" else "scores"
    for ports, expected in (
        (model.inputs, ({"image"}, size, np.uint8)),
        (model.outputs, ({output}, [1, 10], np.float32)),
    ):
        (port,) = ports
        assert (port.get_names(), list(port.shape), port.get_element_type().to_dtype()) == expected


@pytest.mark.parametrize("name", MODELS)
def test_int8_has_integer_weights_and_quantized_activations(name: str, made: Callable[..., Any]) -> None:
    kinds = [operation.get_type_name() for operation in load(made(name, "openvino", "int8")).get_ops()]
    assert "FakeQuantize" in kinds
    assert "Softmax" not in kinds


def test_dynamic_has_float_activations(made: Callable[..., Any]) -> None:
    kinds = [operation.get_type_name() for operation in load(made("lenet", "openvino", "dynamic")).get_ops()]
    assert "FakeQuantize" not in kinds


def test_weights_are_stored_as_the_precision_says(made: Callable[..., Any]) -> None:
    bundles = {precision: made("mobilenet", "openvino", precision).bundle for precision in PRECISIONS}
    sizes = {precision: len(bundle.artefact().weights) for precision, bundle in bundles.items()}
    assert sizes["fp16"] < 0.55 * sizes["fp32"]
    for precision in ("dynamic", "int8"):
        assert sizes[precision] < 0.35 * sizes["fp32"], precision


def load(one: Any) -> Any:
    import openvino

    artefact = one.bundle.artefact()
    return openvino.Core().read_model(model=artefact.model, weights=artefact.weights)


def test_a_convolution_is_not_rounded_before_a_sum(settle: Callable[..., None]) -> None:
    """What quantization-aware training for OpenVINO takes for granted (`stored_layers`, `fused_sums`)."""
    import keras

    from edgecv.models.registry import Preprocessing
    from edgecv_export.exporter import describe
    from edgecv_export.plan import Plan
    from edgecv_export.quantize.affine import Range
    from edgecv_export.quantize.recipe import PLAIN
    from edgecv_export.quantize.simulate import simulate, stored_ranges
    from edgecv_export.sources import source_of
    from edgecv_runtime.cpu import saturates_int8
    from edgecv_runtime.model import Model

    if saturates_int8():
        pytest.skip("8-bit sums saturate on this CPU: the fast kernels compute something else")
    keras.utils.set_random_seed(0)
    image = keras.Input((12, 12, 3), name="image")
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="stem")(image)
    y = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="inner")(x)
    x = keras.layers.Add(name="sum")([keras.layers.Conv2D(8, 3, padding="same", name="branch")(y), x])
    x = keras.layers.Conv2D(8, 3, activation="relu", name="after")(keras.layers.ReLU(name="sum_relu")(x))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(image, keras.layers.Dense(4, name="logits")(x))
    source = source_of(model, Preprocessing(mean=(128.0,) * 3, std=(64.0,) * 3))
    pictures = np.random.default_rng(0).integers(0, 256, (16, 12, 12, 3), np.uint8)
    values = source.integer.grid.to_real(pictures)
    ranges = stored_ranges(source.integer.network, values)
    ranges["branch"] = Range(32 * ranges["branch"].low, 32 * ranges["branch"].high)
    plan, recipe = Plan("openvino", "int8"), replace(PLAIN, ranges=ranges)
    artefact = source.convert(plan, pictures, recipe)
    with Model(artefact, describe(source, plan, artefact, None, "sum"), kernels="fast") as runnable:
        answers = np.concatenate([runnable.raw_outputs(picture)[0].reshape(1, -1) for picture in pictures])
    fused = {name: range_ for name, range_ in ranges.items() if name != "branch"}
    apart = {
        name: float(np.abs(answers - simulate(source.integer.network, values, used)).max())
        for name, used in (("fused", fused), ("rounded", ranges))
    }
    assert apart["fused"] < 0.5 * apart["rounded"]  # what is left is the rounding of kernels and logits
