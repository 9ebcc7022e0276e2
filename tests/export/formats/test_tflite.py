"""TFLite files, run by hand on LiteRT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

PRECISIONS = ("fp32", "fp16", "dynamic", "int8", "int16x8")
MODELS = ("lenet", "mobilenet")


def interpreter_of(content: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=2)
    interpreter.allocate_tensors()
    return interpreter


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
    one = made(name, "tflite", precision)
    folder, road = unpacked(one.path)
    interpreter = interpreter_of((folder / "model.tflite").read_bytes())
    (there,), (back,) = interpreter.get_input_details(), interpreter.get_output_details()
    answers = []
    pictures = pictures_of(name)
    for image in pictures:
        interpreter.set_tensor(there["index"], road.pixels(image))
        interpreter.invoke()
        answers.append(road.scores(interpreter.get_tensor(back["index"])))
    assert_near(np.stack(answers), one, pictures)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", MODELS)
def test_tensors(name: str, precision: str, made: Callable[..., Any]) -> None:
    interpreter = interpreter_of(made(name, "tflite", precision).bundle.artefact().model)
    (there,), (back,) = interpreter.get_input_details(), interpreter.get_output_details()
    size = {"lenet": [1, 32, 32, 1], "mobilenet": [1, 96, 96, 3]}[name]
    assert (there["name"], there["shape"].tolist(), there["dtype"]) == ("image", size, np.uint8)
    integer = precision in ("int8", "int16x8")
    dtype = np.int8 if precision == "int8" else np.float32
    assert (back["name"], back["shape"].tolist(), back["dtype"]) == (
        "logits" if integer else "scores", [1, 10], dtype
    )  # fmt: skip
    if precision == "int8":
        # pixel / 255 for LeNet-5, pixel / 127.5 - 1 for MobileNet: exactly, whatever was calibrated on
        scale, zero_point = {"lenet": (1 / 255, 0), "mobilenet": (1 / 127.5, 128)}[name]
        assert there["quantization"] == (pytest.approx(scale, rel=1e-6), zero_point)


@pytest.mark.parametrize("name", MODELS)
def test_int8_is_integer_throughout(name: str, made: Callable[..., Any]) -> None:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(made(name, "tflite", "int8").bundle.artefact().model, 0)
    kinds = {tensor.type for tensor in model.subgraphs[0].tensors}
    kind = schema.TensorType
    assert kinds <= {kind.INT8, kind.UINT8, kind.INT32}
    operators = [code.builtinCode for code in model.operatorCodes]
    assert schema.BuiltinOperator.DEQUANTIZE not in operators
    assert schema.BuiltinOperator.SOFTMAX not in operators


def test_weights_are_stored_as_the_precision_says(made: Callable[..., Any]) -> None:
    sizes = {precision: made("mobilenet", "tflite", precision).bundle.artefact().size for precision in PRECISIONS}
    assert sizes["fp16"] < 0.6 * sizes["fp32"]
    for precision in ("dynamic", "int8", "int16x8"):
        assert sizes[precision] < 0.45 * sizes["fp32"], precision


def test_the_signature_has_the_same_names(made: Callable[..., Any]) -> None:
    interpreter = interpreter_of(made("lenet", "tflite", "int8").bundle.artefact().model)
    for signature in interpreter.get_signature_list().values():
        assert signature == {"inputs": ["image"], "outputs": ["logits"]}
