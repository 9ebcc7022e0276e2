"""What is done to a quantized ONNX graph and to OpenVINO's XML: int8 from the first layer on, in few bytes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from edgecv_export.formats.compact import compact_ir
from edgecv_export.formats.openvino import from_onnx

SIZE = 8


def quantized(*, zero_point: int = 0, groups: int = 1, float_first: bool = False) -> bytes:
    """Pixels of scale 1/64, a 3 × 3 convolution of 4 channels to 4, and a grid for its answer; ONNX."""
    from onnx import TensorProto, checker, helper, numpy_helper

    generator = np.random.default_rng(0)
    kernel = generator.integers(-127, 128, (4, 4 // groups, 3, 3), np.int8)
    scales = generator.uniform(0.001, 0.003, 4).astype(np.float32)
    constants = {
        "ps": np.float32(1 / 64), "pz": np.uint8(zero_point), "k": kernel, "ks": scales,
        "os": np.float32(0.05), "oz": np.uint8(120),
        "kf": kernel * scales[:, None, None, None],
    }  # fmt: skip
    nodes = [
        helper.make_node("Transpose", ["image"], ["turned"], perm=[0, 3, 1, 2]),
        helper.make_node("DequantizeLinear", ["turned", "ps", "pz"], ["real"]),
        helper.make_node("DequantizeLinear", ["k", "ks"], ["kr"], axis=0),
        helper.make_node("Conv", ["real", "kf" if float_first else "kr"], ["sum"], pads=[1, 1, 1, 1], group=groups),
        helper.make_node("QuantizeLinear", ["sum", "os", "oz"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "os", "oz"], ["answer"]),
    ]
    if float_first:
        del nodes[2]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes, "small",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, SIZE, SIZE, 4])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, 4, SIZE, SIZE])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items() if name in used],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def loaded(artefact: Any) -> Any:
    import openvino

    return openvino.Core().read_model(model=artefact.model, weights=artefact.weights)


def answers(model: Any, image: np.ndarray) -> np.ndarray:
    import openvino

    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled([image])[0])


def way_to_the_convolution(model: Any) -> list[str]:
    operation = next(op for op in model.get_ordered_ops() if op.get_type_name().endswith("Convolution"))
    kinds = []
    while operation.get_type_name() != "Parameter":
        operation = operation.input_value(0).get_node()
        kinds.append(operation.get_type_name())
    return kinds


def float_first(options: dict[str, Any]) -> bool:
    return bool(options.get("float_first"))


@pytest.mark.parametrize(
    ("options", "rounded"),
    [({}, True), ({"groups": 4}, True), ({"zero_point": 9}, False), ({"float_first": True}, False)],
)
def test_the_first_layer_is_quantized(options: dict[str, Any], rounded: bool) -> None:
    """A lone scale would become part of the kernel, which then is float."""
    content = quantized(**options)
    artefact = from_onnx(content)
    model = loaded(artefact)
    assert ("FakeQuantize" in way_to_the_convolution(model)) is rounded
    kernels = [op for op in model.get_ops() if op.get_type_name() == "Constant" and np.prod(op.shape) >= 36]
    assert {op.get_element_type().get_type_name() for op in kernels} == {"f32" if float_first(options) else "i8"}
    if float_first(options):
        return  # ONNX Runtime rounds such a kernel by itself
    import onnxruntime

    image = np.random.default_rng(1).integers(0, 256, (1, SIZE, SIZE, 4), np.uint8)
    (expected,) = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {"image": image})
    off = np.abs(answers(model, image) - expected)
    assert off.max() <= 0.0501 and (off > 0.01).mean() < 0.02  # one level of the answer, where rounding falls elsewhere


def test_grouped_weights_have_their_own_shape() -> None:
    model = loaded(from_onnx(quantized(groups=4)))
    kinds = [op.get_type_name() for op in model.get_ordered_ops()]
    assert "GroupConvolution" in kinds and "Reshape" not in kinds
    shapes = {tuple(op.shape) for op in model.get_ops() if op.get_type_name() == "Constant"}
    assert {(4, 1, 1, 3, 3), (4, 1, 1, 1, 1)} <= shapes


@pytest.mark.parametrize("groups", [1, 4])
def test_shorter_text_is_the_same_network(groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgecv_export.formats import openvino as openvino_format

    content = quantized(groups=groups)
    short = from_onnx(content)
    monkeypatch.setattr(openvino_format, "compact_ir", lambda text: text)
    long = from_onnx(content)
    assert len(short.model) < 0.6 * len(long.model)
    assert short.weights == long.weights
    for seed in range(3):
        image = np.random.default_rng(seed).integers(0, 256, (1, SIZE, SIZE, 4), np.uint8)
        np.testing.assert_array_equal(answers(loaded(short), image), answers(loaded(long), image))


def test_usual_attributes_are_left_out() -> None:
    text = from_onnx(quantized()).model.decode()
    (convolution,) = re.findall(r'<layer [^>]*type="Convolution".*?</layer>', text)
    assert re.findall(r'(\w+)="([^"]*)"', re.findall(r"<data .*?/>", convolution)[0]) == [
        ("pads_begin", "1,1"),
        ("pads_end", "1,1"),
    ]
    (operation,) = [op for op in loaded(from_onnx(quantized())).get_ops() if op.get_type_name() == "Convolution"]
    assert [list(operation.get_attributes()[name]) for name in ("strides", "dilations", "pads_begin")] == [
        [1, 1],
        [1, 1],
        [1, 1],
    ]


def test_what_is_not_usual_stays() -> None:
    layer = (
        '<net name="n" version="11"><layers><layer id="0" name="c" type="Convolution" version="opset1">'
        '<data strides="2, 1" dilations="1, 1" pads_begin="0, 0" pads_end="1, -1" auto_pad="same_upper"/></layer>'
        '<layer id="1" name="p" type="AvgPool" version="opset1"><data strides="1, 1" kernel="2, 2" pads_begin="0, 0"/>'
        "</layer></layers><edges/></net>"
    )
    kept = re.findall(r"<data (.*?)/>", compact_ir(layer.encode()).decode())
    assert kept == [
        'strides="2,1" pads_end="1,-1" auto_pad="same_upper"',
        'strides="1,1" kernel="2,2" pads_begin="0,0"',
    ]
