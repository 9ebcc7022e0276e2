"""ONNX files, run by hand on ONNX Runtime."""

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
    import onnxruntime

    one = made(name, "onnx", precision)
    folder, road = unpacked(one.path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(folder / "model.onnx", options)
    pictures = pictures_of(name)
    answers = [road.scores(session.run(None, {"image": road.pixels(image)})[0]) for image in pictures]
    assert_near(np.stack(answers), one, pictures)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", MODELS)
def test_tensors(name: str, precision: str, made: Callable[..., Any]) -> None:
    model = load(made(name, "onnx", precision))
    size = {"lenet": [1, 32, 32, 1], "mobilenet": [1, 96, 96, 3]}[name]
    assert [describe(value) for value in model.graph.input] == [("image", "uint8", size)]
    output = "logits" if precision == "int8" else "scores"
    assert [describe(value) for value in model.graph.output] == [(output, "float32", [1, 10])]


def test_what_older_runtimes_read(made: Callable[..., Any]) -> None:
    for precision in PRECISIONS:
        model = load(made("lenet", "onnx", precision))
        assert {entry.domain: entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")} == {
            "": 17
        }
        assert model.ir_version <= 8, precision  # of opset 17: ONNX Runtime 1.12


@pytest.mark.parametrize("name", MODELS)
def test_int8_pixels_go_straight_into_the_integer_graph(name: str, made: Callable[..., Any]) -> None:
    model = load(made(name, "onnx", "int8"))
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    tensor = "image"
    while True:
        (reader,) = [node for node in model.graph.node if tensor in node.input]
        if reader.op_type == "DequantizeLinear":
            break
        assert reader.op_type in ("Transpose", "Reshape")
        tensor = reader.output[0]
    from onnx import numpy_helper

    scale, zero_point = (numpy_helper.to_array(constants[reader.input[i]]).item() for i in (1, 2))
    assert (scale, zero_point) == {
        "lenet": (pytest.approx(1 / 255, rel=1e-6), 0),
        "mobilenet": (pytest.approx(1 / 127.5, rel=1e-6), 128),
    }[name]
    assert "Softmax" not in {node.op_type for node in model.graph.node}


def test_int8_weights_are_per_channel_and_signed(made: Callable[..., Any]) -> None:
    from onnx import numpy_helper

    model = load(made("mobilenet", "onnx", "int8"))
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    kernels = 0
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            levels, scales = constants[node.input[0]], constants[node.input[1]]
            if levels.ndim > 1:
                kernels += 1
                assert levels.dtype == np.int8
                assert levels.min() >= -127
                assert scales.size > 1
                dense = "MatMul" in node.input[0]
                assert len(node.input) == 2 + dense  # a zero point of zero is left out, save of a dense layer
                assert not dense or not constants[node.input[2]].any()
    assert kernels == 53  # 52 convolutions and the classifier


@pytest.mark.parametrize("name", ["lenet", "mobilenet"])
def test_the_precise_kernels_take_it_and_answer_alike(
    name: str, made: Callable[..., Any], pictures_of: Callable[[str], list[np.ndarray]]
) -> None:
    """ONNX Runtime's own rewriting of int8 weights refuses a dense layer without zero points."""
    import edgecv_runtime as ert
    from edgecv_runtime.cpu import saturates_int8

    path, answers = made(name, "onnx", "int8").path, {}
    for kernels in ("fast", "precise"):
        with ert.load(path, kernels=kernels) as model:
            answers[kernels] = np.stack([model.raw_outputs(image)[0] for image in pictures_of(name)[:4]])
    if not saturates_int8():
        np.testing.assert_array_equal(answers["fast"], answers["precise"])


def test_fp16_keeps_its_ends(made: Callable[..., Any]) -> None:
    from onnx import TensorProto

    model = load(made("mobilenet", "onnx", "fp16"))
    big = [tensor for tensor in model.graph.initializer if np.prod(tensor.dims) > 64]
    assert big
    assert {tensor.data_type for tensor in big} == {TensorProto.FLOAT16}


def test_weights_are_stored_as_the_precision_says(made: Callable[..., Any]) -> None:
    sizes = {precision: made("mobilenet", "onnx", precision).bundle.artefact().size for precision in PRECISIONS}
    assert sizes["fp16"] < 0.6 * sizes["fp32"]
    for precision in ("dynamic", "int8"):
        assert sizes[precision] < 0.45 * sizes["fp32"], precision


def load(one: Any) -> Any:
    import onnx

    return onnx.load_from_string(one.bundle.artefact().model)


def describe(value: Any) -> tuple[str, str, list[int]]:
    import onnx

    kind = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    return value.name, dtype, [dimension.dim_value for dimension in kind.shape.dim]
