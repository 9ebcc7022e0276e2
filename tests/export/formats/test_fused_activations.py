"""Pairs before an activation that the back end fuses."""

from __future__ import annotations

from typing import Any

from edgecv_export.formats.fused_activations import without_pairs_before


def model(*, shared: bool = False, maker: str = "Conv") -> Any:
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node(maker, ["x", "w"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("PRelu", ["d", "a"], ["p"]),
        helper.make_node("Relu", ["d" if shared else "p"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y")]
    return helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:]))


def kinds(found: Any) -> list[str]:
    return [node.op_type for node in found.graph.node]


def test_the_pair_goes() -> None:
    found = without_pairs_before(model(), ("PRelu",))
    assert kinds(found) == ["Conv", "PRelu", "Relu"]
    assert list(found.graph.node[1].input) == ["c", "a"]


def test_other_pairs_stay() -> None:
    every = ["Conv", "QuantizeLinear", "DequantizeLinear", "PRelu", "Relu"]
    assert kinds(without_pairs_before(model(), ())) == every
    assert kinds(without_pairs_before(model(), ("LeakyRelu",))) == every
    assert kinds(without_pairs_before(model(shared=True), ("PRelu",))) == every
    assert kinds(without_pairs_before(model(maker="MatMul"), ("PRelu",))) == ["MatMul", *every[1:]]
