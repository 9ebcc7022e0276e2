"""Which layers stay in float at every precision, and which nodes of a graph are theirs."""

from __future__ import annotations

from typing import Any

import pytest

import edgecv
from edgecv_export.quantize.exact_layers import decides, exact_layers, with_nodes_between

SMALL: dict[str, Any] = {"backbone": "plain", "alpha": 0.25, "dense_width": 16, "roi_size": 3}


def test_places() -> None:
    proposed = {**SMALL, "proposals": 6, "candidates": 20}
    model = edgecv.create_model("faster_rcnn", (64, 64, 3), 3, **proposed)
    assert sorted(exact_layers(model)) == ["proposals", "region_boxes", "region_features", "region_scores"]
    assert [layer.name for layer in model.layers if decides(layer)] == ["proposals"]
    assert exact_layers(edgecv.create_model("lenet5")) == ()


def test_nodes_between_belong_to_the_layer() -> None:
    onnx = pytest.importorskip("onnx")
    nodes = [
        onnx.helper.make_node("Relu", ["image"], ["features"], name="conv/Relu"),
        onnx.helper.make_node("Transpose", ["features"], ["t"], name="Transpose"),  # between two layers
        onnx.helper.make_node("Floor", ["t"], ["a"], name="boxes/Floor"),
        onnx.helper.make_node("Reshape", ["a", "shape"], ["b"], name="Reshape"),  # inside, in two steps
        onnx.helper.make_node("Squeeze", ["b"], ["c"], name="Squeeze"),
        onnx.helper.make_node("Exp", ["c"], ["d"], name="boxes/Exp"),
        onnx.helper.make_node("Transpose", ["d"], ["answer"], name="Transpose_2"),  # behind it
    ]
    graph = onnx.helper.make_graph(nodes, "g", [], [])
    found = with_nodes_between(graph, ["boxes/Exp", "boxes/Floor"])
    assert found == ["boxes/Floor", "Reshape", "Squeeze", "boxes/Exp"]
