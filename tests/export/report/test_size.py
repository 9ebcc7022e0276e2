"""What a file's bytes are spent on: counted in files made by hand, and told where 8-bit weights do not pay."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest

from edgecv_export.plan import Plan
from edgecv_export.report.page import render_page
from edgecv_export.report.size import SizeParts, size_parts, size_report
from edgecv_runtime.artefact import Artefact

# Two constants, a sum and a result: four layers, three edges.
IR = (
    b'<net name="n" version="11"><layers><layer id="0" name="a" type="Const" version="opset1"></layer>'
    b'<layer id="1" name="b" type="Const" version="opset1"></layer>'
    b'<layer id="2" name="c" type="Add" version="opset1"></layer>'
    b'<layer id="3" name="d" type="Result" version="opset1"></layer></layers><edges>'
    b'<edge from-layer="0" from-port="0" to-layer="2" to-port="0"/>'
    b'<edge from-layer="1" from-port="0" to-layer="2" to-port="1"/>'
    b'<edge from-layer="2" from-port="2" to-layer="3" to-port="0"/></edges></net>'
)


def packed(text: bytes) -> int:
    return len(zlib.compress(text, 9, wbits=-15))


def openvino(weights: int, graph: int | None = None) -> Artefact:
    """Of `weights` bytes, and of `graph` bytes when its text is deflated; noise at its end does not shrink."""
    text, noise = IR, np.random.default_rng(0).bytes(graph or 0)
    if graph is not None:
        text = next(text for n in range(graph) if packed(text := IR + noise[:n]) == graph)
    return Artefact("openvino", text, bytes(weights))


def test_openvino_is_counted() -> None:
    assert size_parts(openvino(500)) == SizeParts(500, packed(IR), 4, 3)


def test_onnx_is_counted() -> None:
    """Values of 2 × 3 float32, stored as bytes, and of 5 int32, stored as numbers: 24 + 20 bytes."""
    from onnx import TensorProto, helper, numpy_helper

    bias = helper.make_tensor("b", TensorProto.INT32, [5], [1, 2, 3, 4, 5])
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Cast", ["b"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Clip", ["y", "", "real"], ["z"]),
    ]
    weights = numpy_helper.from_array(np.ones((2, 3), np.float32), "w")
    content = helper.make_model(helper.make_graph(nodes, "g", [], [], [weights, bias])).SerializeToString()
    assert size_parts(Artefact("onnx", content)) == SizeParts(44, len(content) - 44, 3, 5)


def test_tflite_is_counted() -> None:
    """Two operators share a constant of 12 bytes; the second lacks its bias. What no tensor holds is graph."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def buffer(size: int) -> Any:
        made = schema.BufferT()
        made.data = np.ones(size, np.uint8) if size else None
        return made

    def tensor(index: int) -> Any:
        made = schema.TensorT()
        made.buffer, made.shape = index, [3]
        return made

    def operator(inputs: list[int], output: int) -> Any:
        made = schema.OperatorT()
        made.inputs, made.outputs = inputs, [output]
        return made

    graph, model = schema.SubGraphT(), schema.ModelT()
    graph.tensors = [tensor(0), tensor(1), tensor(1), tensor(0), tensor(2)]
    graph.operators = [operator([0, 1, 4], 3), operator([3, 2, -1], 3)]
    model.buffers, model.subgraphs = [buffer(0), buffer(12), buffer(5), buffer(100)], [graph]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    content = bytes(builder.Output())
    assert size_parts(Artefact("tflite", content)) == SizeParts(17, len(content) - 17, 2, 5)


@pytest.mark.parametrize(
    ("plan", "parameters", "explained"),
    [
        (Plan("openvino", "int8"), 1000, True),  # 1,200 bytes of 4,000: 0.3 is not above, the graph is
        (Plan("openvino", "mixed"), 1000, True),
        (Plan("openvino", "dynamic"), 1000, True),
        (Plan("openvino", "int8"), 100_000, False),
        (Plan("openvino", "fp16"), 1000, False),
        (Plan("openvino", "int8"), None, False),
    ],
)
def test_who_is_explained(plan: Plan, parameters: int | None, explained: bool) -> None:
    report = size_report(openvino(1200), plan, parameters)
    assert (report["why"] is not None) is explained
    assert report["of_float32"] == (
        None if parameters is None else pytest.approx((1200 + packed(IR)) / (4 * parameters))
    )


@pytest.mark.parametrize(("size", "explained"), [(1200, False), (1201, True)])
def test_the_limit_itself_is_kept(size: int, explained: bool) -> None:
    artefact = openvino(size - packed(IR))
    assert (size_report(artefact, Plan("openvino", "int8"), 1000)["why"] is not None) is explained


def test_the_figures_are_told() -> None:
    """10,000 parameters: 40 kB in float32. 10,400 bytes of constants and 4,000 of graph: 0.26× and 0.36×."""
    artefact = openvino(10_400, 4000)
    why = size_report(artefact, Plan("openvino", "int8"), 10_000)["why"]
    for told in ("0.36× of the parameters", "constants (weights, biases) are 0.26×", "4 kB of 14 kB", "4 operations",
                 "3 connections", "1,000 bytes for each", "is text", "No layer was kept in float."):  # fmt: skip
        assert told in why, told


def test_layers_in_float_are_named_with_the_reason() -> None:
    def told(names: list[str], searched: bool) -> str:
        return str(size_report(openvino(1200), Plan("openvino", "mixed"), 1000, names, searched)["why"])

    ruined = "or 8 bits would ruin what they compute."
    assert told(["stem", "head"], False).endswith(f"Kept in float: stem, head; they were named, {ruined}")
    assert f"Kept in float: stem; quantizing them costs most, and the budget needed it, {ruined}" in told(
        ["stem"], True
    )
    assert "l7 and 2 more;" in told([f"l{number}" for number in range(10)], False)


def test_binary_formats_are_not_called_text(onnx_artefact: Artefact) -> None:
    why = size_report(onnx_artefact, Plan("onnx", "int8"), 10)["why"]
    assert "describe 1 operations and 1 connections" in why
    assert "text" not in why


@pytest.fixture
def onnx_artefact() -> Artefact:
    from onnx import helper

    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [], [])
    return Artefact("onnx", helper.make_model(graph).SerializeToString())


def test_the_page_tells_it_where_there_is_something_to_tell() -> None:
    report: dict[str, Any] = {"size_parts": size_report(openvino(10_400, 3600), Plan("openvino", "int8"), 10_000)}
    page = render_page(report)
    assert "<h2>Size of the file</h2>" in page
    assert "No layer was kept in float." in page
    assert ">10.4<" in page  # kB of constants
    assert f">{100 * 10_400 / 14_000:.1f}<" in page
    report["size_parts"]["why"] = None
    assert "Size of the file" not in render_page(report)
    assert "Size of the file" not in render_page({"size": 1000})
