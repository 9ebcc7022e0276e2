"""What is done to a foreign ONNX graph before it is quantized: the same function, in a better form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv.models.registry import Preprocessing
from edgecv_export.sources.onnx_equalize import equalizable_pairs, equalize
from edgecv_export.sources.onnx_folding import fold_batch_norms
from edgecv_export.sources.onnx_scaling import peel_input_scaling

PLAIN = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3)


def graph(nodes: list[tuple[str, list[str], str, dict]], constants: dict[str, Any], shape: list[int]) -> Any:
    """A model of "x" whose last node is the output."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    made = [helper.make_node(kind, inputs, [output], name=output, **more) for kind, inputs, output, more in nodes]
    model = helper.make_model(
        helper.make_graph(
            made,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(nodes[-1][2], TensorProto.FLOAT, [None] * len(shape))],
            [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    return model


def answer(model: Any, x: np.ndarray) -> np.ndarray:
    import onnxruntime

    (found,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x.astype(np.float32)})
    return found


def kinds(model: Any) -> list[str]:
    return [node.op_type for node in model.graph.node]


# -- scaling -------------------------------------------------------------------------------------------------------

KERNEL = np.random.default_rng(0).normal(size=(4, 3, 3, 3))
CONV = ("Conv", ["s", "w"], "y", {})


@pytest.mark.parametrize(
    ("nodes", "constants", "mean", "std"),
    [
        # (x − 127.5) · 0.0078125, as some trainers write it.
        (
            [("Sub", ["x", "a"], "d", {}), ("Mul", ["d", "b"], "s", {})],
            {"a": 127.5, "b": [0.0078125]},
            [127.5] * 3,
            [128.0] * 3,
        ),
        # (x / 2 + c) with a value a channel.
        (
            [("Div", ["x", "a"], "d", {}), ("Add", ["b", "d"], "s", {})],
            {"a": 2.0, "b": np.reshape([1.0, -2, 3], (1, 3, 1, 1))},
            [-2.0, 4, -6],
            [2.0] * 3,
        ),
    ],
)
def test_leading_scaling_joins_the_preprocessing(nodes: Any, constants: Any, mean: list, std: list) -> None:
    model = graph([*nodes, CONV], {**constants, "w": KERNEL}, [1, 3, 8, 8])
    peeled, preprocessing = peel_input_scaling(model, PLAIN, channels_first=True)
    assert kinds(peeled) == ["Conv"] and [t.name for t in peeled.graph.initializer] == ["w"]
    assert preprocessing.mean == pytest.approx(mean) and preprocessing.std == pytest.approx(std)
    pixels = np.random.default_rng(1).uniform(0, 255, (1, 3, 8, 8))
    real = (pixels - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    assert answer(peeled, real) == pytest.approx(answer(model, pixels), abs=1e-3)
    # Joined with what was given: pixels were divided by 4 before.
    _, joined = peel_input_scaling(model, Preprocessing((0.0,) * 3, (4.0,) * 3), channels_first=True)
    assert joined.std == pytest.approx([4 * value for value in std])


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([("Sub", ["a", "x"], "s", {})], {"a": 1.0}),  # turned round
        ([("Mul", ["x", "a"], "s", {})], {"a": 0.0}),
        ([("Add", ["x", "a"], "s", {})], {"a": np.ones((1, 1, 8, 8))}),  # differs from place to place
        ([("Mul", ["x", "x"], "s", {})], {}),
    ],
)
def test_other_beginnings_stay(nodes: Any, constants: Any) -> None:
    model = graph([*nodes, CONV], {**constants, "w": KERNEL}, [1, 3, 8, 8])
    assert peel_input_scaling(model, PLAIN, channels_first=True) == (model, PLAIN)


# -- batch norms ---------------------------------------------------------------------------------------------------


def statistics(channels: int, seed: int = 3) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(3, channels))
    return {"g": values[0], "b": values[1], "m": values[2], "v": generator.uniform(0.1, 2, channels)}


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias", [True, False])
def test_behind_a_dense_layer(transposed: int, bias: bool) -> None:
    generator = np.random.default_rng(2)
    kernel = generator.normal(size=(5, 6) if transposed else (6, 5))
    constants = {"k": kernel, **statistics(5), **({"c": generator.normal(size=5)} if bias else {})}
    dense = ("Gemm", ["x", "k", *(["c"] if bias else [])], "d", {"transB": transposed})
    norm = ("BatchNormalization", ["d", "g", "b", "m", "v"], "y", {"epsilon": 1e-3})
    model = graph([dense, norm], constants, [2, 6])
    folded = fold_batch_norms(model)
    assert kinds(folded) == ["Gemm"] and len(folded.graph.initializer) == 2
    x = generator.normal(size=(2, 6))
    product = x @ (kernel.T if transposed else kernel) + constants.get("c", 0)
    expected = constants["g"] * (product - constants["m"]) / np.sqrt(constants["v"] + 1e-3) + constants["b"]
    assert answer(folded, x) == pytest.approx(expected, abs=1e-4)


def test_behind_convolutions() -> None:
    conv = ("Conv", ["x", "w"], "c", {"group": 1})
    norm = ("BatchNormalization", ["c", "g", "b", "m", "v"], "n", {})
    deep = ("Conv", ["n", "z"], "y", {"group": 4})
    model = graph([conv, norm, deep], {"w": KERNEL, "z": np.ones((4, 1, 1, 1)), **statistics(4)}, [1, 3, 8, 8])
    folded = fold_batch_norms(model)
    assert kinds(folded) == ["Conv", "Conv"]
    x = np.random.default_rng(1).normal(size=(1, 3, 8, 8))
    assert answer(folded, x) == pytest.approx(answer(model, x), abs=1e-4)


def test_batch_norms_that_stay() -> None:
    conv, norm = ("Conv", ["x", "w"], "c", {}), ("BatchNormalization", ["c", "g", "b", "m", "v"], "n", {})
    shared = graph([conv, norm, ("Add", ["n", "c"], "y", {})], {"w": KERNEL, **statistics(4)}, [1, 3, 8, 8])
    assert fold_batch_norms(shared) is shared
    alone = graph([("Relu", ["x"], "c", {}), norm], statistics(3), [1, 3, 8, 8])
    assert fold_batch_norms(alone) is alone


# -- equalization --------------------------------------------------------------------------------------------------


def uneven(second: str, activation: str = "PRelu") -> tuple[Any, np.ndarray]:
    """Two convolutions; the first makes its channel 2 a hundred times as strong as the others."""
    generator = np.random.default_rng(4)
    first = generator.normal(size=(4, 3, 3, 3))
    first[2] *= 100
    constants = {"w": first, "c": generator.normal(size=4), "a": generator.uniform(0.1, 0.4, (4, 1, 1))}
    constants["z"] = generator.normal(size=(4, 1, 3, 3) if second == "depthwise" else (5, 4, 1, 1))
    inputs = ["h", "a"] if activation == "PRelu" else ["h"]
    nodes = [
        ("Conv", ["x", "w", "c"], "h", {}),
        (activation, inputs, "r", {}),
        ("Conv", ["r", "z"], "y", {"group": 4 if second == "depthwise" else 1}),
    ]
    return graph(nodes, constants, [1, 3, 8, 8]), generator.normal(size=(6, 1, 3, 8, 8)).astype(np.float32)


@pytest.mark.parametrize("second", ["depthwise", "pointwise"])
def test_channels_are_evened_out(second: str) -> None:
    import onnx

    model, values = uneven(second)
    even = equalize(model, list(values))
    assert answer(even, values[0]) == pytest.approx(answer(model, values[0]), rel=1e-3, abs=1e-3)

    def strengths(of: Any) -> np.ndarray:
        exposed = onnx.ModelProto()
        exposed.CopyFrom(of)
        exposed.graph.output[0].name = "r"
        del exposed.graph.node[2]
        found = np.stack([answer(exposed, value)[0] for value in values])
        return np.sqrt((found**2).mean(axis=(0, 2, 3)))

    before, after = strengths(model), strengths(even)
    assert before.max() / before.min() > 50
    if second == "depthwise":
        assert after == pytest.approx(np.full(4, after.max()), rel=1e-3)
    else:
        # s = √(rms / weight) for each channel, relative to the largest.
        kernel = np.abs(onnx.numpy_helper.to_array(model.graph.initializer[3])).max(axis=(0, 2, 3))
        factors = np.sqrt(before / kernel)
        assert after == pytest.approx(before / (factors / factors.max()), rel=1e-3)


def test_what_is_no_pair() -> None:
    assert len(equalizable_pairs(uneven("depthwise")[0])) == len(equalizable_pairs(uneven("pointwise", "Relu")[0])) == 1
    assert equalizable_pairs(uneven("depthwise", "Sigmoid")[0]) == []  # σ(s·x) is not s·σ(x)
    model, values = uneven("depthwise")
    model.graph.node[2].input[0] = "h"  # the second reads past the activation
    assert equalizable_pairs(model) == []
    assert equalize(model, list(values)).graph.initializer == model.graph.initializer
