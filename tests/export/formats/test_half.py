"""float16 but for some nodes, whose numbers no cast rounds."""

from __future__ import annotations

import numpy as np
import pytest

from edgecv_export.formats.half import to_half


def small_graph() -> object:
    """(x · 0.1), then 2049 added and taken away again, twice: in float16 nothing of x would be left."""
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    constants = {"tenth": 0.1, "far": 2049.0}
    nodes = [
        helper.make_node("Mul", ["image", "tenth"], ["small"], name="scale/Mul"),
        helper.make_node("Add", ["small", "far"], ["there"], name="place/Add"),
        helper.make_node("Sub", ["there", "far"], ["here"], name="place/Sub"),
        helper.make_node("Neg", ["there"], ["negative"], name="place/Neg"),
        helper.make_node("Add", ["negative", "far"], ["back"], name="place/Add_2"),
        helper.make_node("Sub", ["here", "back"], ["twice"], name="place/Sub_2"),
        helper.make_node("Mul", ["twice", "tenth"], ["answer"], name="scale/Mul_2"),
    ]
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", kind, [4])],
        [helper.make_tensor_value_info("answer", kind, [4])],
        [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(model: object, values: np.ndarray) -> np.ndarray:
    """By ONNX's own evaluator, which rounds every float16; ONNX Runtime's CPU kernels compute in float32."""
    reference = pytest.importorskip("onnx.reference")
    return reference.ReferenceEvaluator(model).run(None, {"image": values})[0]


def test_what_passes_between_exact_nodes_is_not_rounded() -> None:
    values = np.array([1, 2, 3, 30], np.float32)
    exact = ["place/Add", "place/Sub", "place/Neg", "place/Add_2", "place/Sub_2"]
    half = to_half(small_graph(), exact)
    np.testing.assert_allclose(run(half, values), 0.02 * values, rtol=5e-3)
    rounded = run(to_half(small_graph()), values)
    assert np.abs(rounded / (0.02 * values) - 1).max() > 0.1  # 2049.1 is 2050 in float16


def test_a_tensor_that_two_exact_nodes_read_is_cast_once() -> None:
    import onnx

    half = to_half(small_graph(), ["place/Add", "place/Sub", "place/Neg", "place/Add_2", "place/Sub_2"])
    onnx.checker.check_model(half)  # sorted, and no name twice
    names = [node.name for node in half.graph.node]
    assert len(set(names)) == len(names)
    casts = [node.input[0] for node in half.graph.node if node.op_type == "Cast"]
    assert len(casts) == len(set(casts))
