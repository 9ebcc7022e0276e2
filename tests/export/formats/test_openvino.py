"""OpenVINO files, run by hand on OpenVINO."""

from __future__ import annotations

from collections.abc import Callable
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
