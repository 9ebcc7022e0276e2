"""The pair between a convolution and its swish: by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecv_export.sources.onnx_swish import swish_pairs, tighten_swish_pairs, without_pairs_in_swishes

SCALE, ZERO_POINT = np.float32(0.5), np.uint8(200)  # sums from -100 to 27.5


def model(*, also_read: bool = False) -> Any:
    """One value x through a convolution by 1, the pair, and a swish."""
    nodes = [
        helper.make_node("Conv", ["image", "one"], ["sum"]),
        helper.make_node("QuantizeLinear", ["sum", "scale", "zero"], ["levels"]),
        helper.make_node("DequantizeLinear", ["levels", "scale", "zero"], ["rounded"]),
        helper.make_node("Sigmoid", ["rounded"], ["gate"]),
        helper.make_node("Mul", ["rounded", "gate"], ["out"]),
    ]
    if also_read:
        nodes.append(helper.make_node("Relu", ["rounded"], ["more"]))
    constants = {"one": np.ones((1, 1, 1, 1), np.float32), "scale": SCALE, "zero": ZERO_POINT}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 1, 4])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("out", "more")[: 1 + also_read]],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def answer(made: Any, values: list[float]) -> np.ndarray:
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": np.float32(values).reshape(1, 1, 1, 4)})[0].ravel()


def swish(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


VALUES = [-60.0, -3.3, 0.2, 27.5]


def test_without_the_pair_nothing_is_rounded() -> None:
    exact = swish(np.array(VALUES))
    assert np.abs(answer(model(), VALUES) - exact).max() > 0.1  # steps of 0.5
    assert answer(without_pairs_in_swishes(model()), VALUES) == pytest.approx(exact, abs=1e-5)


def test_tight_levels_end_where_a_swish_does() -> None:
    made = tighten_swish_pairs(model())
    step = (27.5 + 8) / 255
    (pair,) = swish_pairs(made)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    scale, level = (constants[name] for name in pair.quantize.input[1:3])
    assert float(scale) == pytest.approx(step) and int(level) == round(8 / step) == 57
    assert np.abs(answer(made, VALUES) - swish(np.array(VALUES))).max() < 0.08  # half a step, where the slope is 1.1


def test_what_is_tight_already_stays() -> None:
    made = tighten_swish_pairs(tighten_swish_pairs(model()))
    assert len(made.graph.initializer) == 5


def test_another_reader_keeps_the_pair() -> None:
    assert swish_pairs(model(also_read=True)) == []
    assert len(without_pairs_in_swishes(model(also_read=True)).graph.node) == 6
