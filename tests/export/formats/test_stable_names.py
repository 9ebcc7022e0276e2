"""Names and order of an ONNX graph that follow from what it computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecv_export.formats.stable_names import stabilise


def model_of(nodes: list[Any], constants: dict[str, list[float]]) -> Any:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [2])],
        [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def node(kind: str, inputs: list[str], output: str, name: str) -> Any:
    return helper.make_node(kind, inputs, [output], name=name)


def one() -> Any:
    """(image + 1) * 2 + (image - 3), numbered as a first call would."""
    nodes = [
        node("Add", ["image", "const__4"], "Add__5:0", "Add__5"),
        node("Mul", ["Add__5:0", "two__7"], "net/mul:0", "net/mul"),
        node("Sub", ["image", "three"], "Sub__9:0", "Sub__9"),
        node("Add", ["net/mul:0", "Sub__9:0"], "scores", "Add__12"),
    ]
    return model_of(nodes, {"const__4": [1, 1], "two__7": [2, 2], "three": [3, 3], "unused": [9, 9]})


def other() -> Any:
    """The same, numbered and ordered as another call would."""
    nodes = [
        node("Sub", ["image", "k"], "Sub__99:0", "Sub__99"),
        node("Add", ["image", "const__70"], "Add__55:0", "Add__55"),
        node("Mul", ["Add__55:0", "two__71"], "net/mul:0", "net/mul"),
        node("Add", ["net/mul:0", "Sub__99:0"], "scores", "Add__120"),
    ]
    return model_of(nodes, {"k": [3, 3], "two__71": [2, 2], "const__70": [1, 1]})


def answer(model: Any) -> list[float]:
    import onnxruntime

    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"image": np.array([10, 20], np.float32)})[0].tolist()


def test_one_form_for_both() -> None:
    first, second = one(), other()
    stabilise(first)
    stabilise(second)
    assert first.SerializeToString() == second.SerializeToString()
    assert [node.name for node in first.graph.node] == ["Add", "net/mul", "Sub", "Add_2"]
    assert [tensor.name for tensor in first.graph.initializer] == ["Add/1", "Sub/1", "net/mul/1"]


@pytest.mark.parametrize("build", [one, other])
def test_the_function_stays(build: Callable[[], Any]) -> None:
    model = build()
    assert answer(model) == [29.0, 59.0]
    stabilise(model)
    assert answer(model) == [29.0, 59.0]
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["image", "scores"]


def test_doing_it_again_changes_nothing() -> None:
    model = one()
    stabilise(model)
    before = model.SerializeToString()
    stabilise(model)
    assert model.SerializeToString() == before


def test_names_that_meet_are_kept_apart() -> None:
    nodes = [
        node("Add", ["image", "c"], "a:0", "Add_2"),
        node("Add", ["a:0", "c"], "b:0", "Add__7"),
        node("Add", ["b:0", "c"], "scores", "Add__8"),
    ]
    model = model_of(nodes, {"c": [1, 1]})
    stabilise(model)
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == 3
    assert answer(model) == [13.0, 23.0]


def test_inner_graphs_are_left_alone() -> None:
    inner = helper.make_graph(
        [node("Identity", ["image"], "then", "inside__3")],
        "inner",
        [],
        [helper.make_tensor_value_info("then", TensorProto.FLOAT, [2])],
    )
    flag = numpy_helper.from_array(np.array(True), "flag")
    choice = helper.make_node("If", ["flag"], ["scores"], name="If__4", then_branch=inner, else_branch=inner)
    model = model_of([choice], {})
    model.graph.initializer.append(flag)
    before = model.SerializeToString()
    stabilise(model)
    assert model.SerializeToString() == before
