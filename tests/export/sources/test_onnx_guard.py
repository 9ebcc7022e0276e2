"""What stays in float: by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edgecv_export.sources.onnx_guard import fragile_convolutions, head_tail, name_nodes

Weights = dict[str, np.ndarray]


def model_of(nodes: list[Any], weights: Weights, outputs: tuple[str, ...] = ("out",)) -> Any:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def node(kind: str, inputs: str, output: str, name: str = "", **attributes: Any) -> Any:
    return helper.make_node(kind, inputs.split(), [output], name=name or output, **attributes)


def test_the_tail_of_a_joined_head() -> None:
    nodes = [
        node("Conv", "image w", "a"),
        node("Relu", "a", "b"),
        node("Conv", "b w", "boxes"),
        node("Conv", "b w", "logits"),
        node("Sigmoid", "logits", "scores"),
        node("Concat", "boxes scores", "joined", axis=1),
        node("Transpose", "joined", "out", perm=[0, 2, 3, 1]),
    ]
    assert head_tail(model_of(nodes, {"w": np.ones((1, 1, 1, 1))})) == [
        "boxes",
        "logits",
        "scores",
        "joined",
        "out",
    ]


def test_no_tail_where_nothing_is_joined() -> None:
    nodes = [node("Conv", "image w", "a"), node("Sigmoid", "a", "out")]
    assert head_tail(model_of(nodes, {"w": np.ones((1, 1, 1, 1))})) == []
    inside = [
        node("Conv", "image w", "a"),
        node("Concat", "a a", "b", axis=1),
        node("Conv", "b v", "out"),
    ]
    assert head_tail(model_of(inside, {"w": np.ones((1, 1, 1, 1)), "v": np.ones((1, 2, 1, 1))})) == []


def slopes(offset: float) -> tuple[Any, list[np.ndarray]]:
    """Differences of neighbours, of an image lifted by `offset`: the larger that is, the coarser its levels."""
    nodes = [
        node("Conv", "image one bias", "lifted"),
        node("Relu", "lifted", "active"),
        node("Conv", "active difference", "out"),
    ]
    difference = np.zeros((1, 1, 1, 3))
    difference[0, 0, 0] = [-1, 0, 1]
    weights = {"one": np.ones((1, 1, 1, 1)), "bias": np.array([offset]), "difference": difference}
    images = np.random.default_rng(0).uniform(0, 1, (3, 1, 1, 8, 8)).astype(np.float32)
    return model_of(nodes, weights), list(images)


def test_small_differences_of_large_numbers() -> None:
    # Levels are 1/255 apart for values in 0..1: a difference has noise of (1/255)² / 6 beside a variance of 1/6, which
    # is 48 decibels. Between 0 and 101 the levels are a hundred times as far apart: 8 decibels.
    assert fragile_convolutions(*slopes(0.0)) == []
    assert fragile_convolutions(*slopes(0.0), least_signal=44) == []
    assert fragile_convolutions(*slopes(0.0), least_signal=52) == ["out", "lifted"]
    assert fragile_convolutions(*slopes(100.0)) == ["out", "lifted"]
    assert fragile_convolutions(*slopes(100.0), least_signal=4) == []


def test_every_node_gets_a_name_of_its_own() -> None:
    model = model_of([node("Relu", "image", "a", "x"), node("Relu", "a", "b", "x"), node("Relu", "b", "out")], {})
    model.graph.node[2].name = ""
    name_nodes(model)
    names = [one.name for one in model.graph.node]
    assert names[0] == "x" and len(set(names)) == 3 and all(names)
