"""Changes inside a graph: what falls back before runs on the accelerator after, and computes the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgecv_export.compatibility import fixes, place
from edgecv_export.compatibility.fixes import apply_fixes, offer_fixes
from edgecv_export.compatibility.fixes.draft import Draft
from edgecv_export.compatibility.fixes.float_twin import float_twin
from edgecv_export.tflite_graph import read_graph
from edgecv_runtime.errors import BackendError
from edgecv_targets import load_accelerator

STEP = 0.05  # of every tensor of the fixture


def run(content: bytes, *given: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    for detail, values in zip(interpreter.get_input_details(), given, strict=True):
        interpreter.set_tensor(detail["index"], values)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def strided_sums(x: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Of 7×7 windows around every fifth pixel, of 16×16 with a border of three: SAME adds six."""
    rows = [
        [x[0, max(0, i - 3) : i + 4, max(0, j - 3) : j + 4].sum() for j in range(0, 16, 5)] for i in range(0, 16, 5)
    ]
    return np.broadcast_to(np.array(rows, float)[:, :, None], (4, 4, 8))


def kinds(content: bytes) -> list[str]:
    return [operator.kind for operator in read_graph(content).operators]


def left(content: bytes, table: str) -> list[str]:
    """The operators that an accelerator leaves to the CPU."""
    placed = place(read_graph(content), load_accelerator(table))
    return [operator.kind for operator in placed if operator.where != "accelerator"]


@pytest.mark.parametrize(("table", "configuration"), [("ethos-u55", "ethos-u55-128"), ("ethos-u85", "ethos-u85-256")])
def test_vela_takes_everything_after(fixable: Any, table: str, configuration: str) -> None:
    pytest.importorskip("ethosu")
    from edgecv_export.compilers.vela import Options, compile_model

    before = left(fixable.content, table)
    fixed = apply_fixes(fixable.content, load_accelerator(table))
    assert len(fixed.done) == len(before) == (11 if table == "ethos-u55" else 4)
    assert (left(fixed.content, table), fixed.refused) == ([], ())
    assert compile_model(fixed.content, Options(configuration)).on_cpu == ()


@pytest.fixture(scope="module")
def fixed(fixable: Any) -> Any:
    """For an Ethos-U55."""
    return apply_fixes(fixable.content, load_accelerator("ethos-u55"))


def test_the_answers_are_those_of_numpy(fixable: Any, fixed: Any) -> None:
    generator = np.random.default_rng(7)
    x, tall, small = (
        generator.integers(-128, 128, shape, np.int8) for shape in ((1, 16, 16, 8), (1, 300, 2, 8), (1, 3, 4, 8))
    )
    found = dict(zip(fixable.names, run(fixed.content, x, tall, small), strict=True))
    for name, factor in (("nearest_16", 16), ("nearest_32", 32), ("nearest_3", 3)):
        np.testing.assert_array_equal(found[name], small.repeat(factor, 1).repeat(factor, 2))
    np.testing.assert_array_equal(found["tall_maximum"], tall.max((1, 2), keepdims=True))
    np.testing.assert_allclose(found["tall_mean"], tall.astype(float).mean((1, 2), keepdims=True), atol=1)
    blocks = x.reshape(16, 16, 2, 2, 2).transpose(0, 2, 1, 3, 4).reshape(1, 32, 32, 2)
    np.testing.assert_array_equal(found["to_space"], blocks)
    blocks = x.reshape(8, 2, 8, 2, 8).transpose(0, 2, 1, 3, 4).reshape(1, 8, 8, 32)
    np.testing.assert_array_equal(found["to_depth"], blocks)
    # Ones as weights, of 0.01: sums of windows at every fifth, fourth and sixth pixel; SAME adds (6, 0) and (5, 0).
    sums = [
        x[0, max(0, 5 * i - 3) : 5 * i + 4, max(0, 5 * j - 3) : 5 * j + 4].sum() for i in range(4) for j in range(4)
    ]
    wide = np.clip(np.round(0.01 * np.array(sums)), -128, 127).reshape(4, 4, 1)
    np.testing.assert_allclose(found["long_stride"][0], np.broadcast_to(wide, (4, 4, 8)), atol=1)
    deep = np.array([[x[0, 4 * i : 4 * i + 3, 4 * j : 4 * j + 3].sum((0, 1)) for j in range(4)] for i in range(4)])
    np.testing.assert_allclose(found["depthwise_valid"][0], np.round(0.01 * deep), atol=1)
    assert found["depthwise_padded"].shape == (1, 3, 3, 8)


def test_most_changes_move_no_bit(fixed: Any) -> None:
    rounded = [text for text in fixed.done if "the same to the bit" not in text]
    assert [text.split("'")[1] for text in rounded] == ["bilinear_16_out", "tall_mean_out"]
    assert all("one function in real numbers" in text for text in rounded)


def test_what_is_offered_is_what_is_done(fixable: Any, fixed: Any) -> None:
    table = load_accelerator("ethos-u55")
    assert list(offer_fixes(fixable.content, table)) == [text.rsplit(": ", 1)[0] for text in fixed.done]
    assert offer_fixes(fixed.content, table) == ()


@pytest.fixture
def padded(tflite_file: Callable[..., bytes]) -> Callable[[int, int], bytes]:
    """A border of so many pixels, and a convolution of 3×3 with such a stride."""

    def make(border: int, stride: int) -> bytes:
        size = 16 + 2 * border
        result = (size - 3) // stride + 1
        borders = np.array([[0, 0], [border] * 2, [border] * 2, [0, 0]], np.int32)
        tensors: dict[str, Any] = {
            "x": {"shape": (1, 16, 16, 8), "scale": STEP},
            "borders": {"shape": (4, 2), "dtype": "int32", "values": borders},
            "wide": {"shape": (1, size, size, 8), "scale": STEP},
            "w": {"shape": (8, 3, 3, 8), "values": np.ones((8, 3, 3, 8), np.int8), "scale": np.full(8, 0.01)},
            "b": {"shape": (8,), "dtype": "int32", "values": np.zeros(8, np.int32), "scale": np.full(8, 0.0005)},
            "y": {"shape": (1, result, result, 8), "scale": STEP},
        }
        options = {"padding": 1, "strideH": stride, "strideW": stride, "dilationHFactor": 1, "dilationWFactor": 1}
        operators = [
            ("PAD", ["x", "borders"], ["wide"], "PadOptions", {}),
            ("CONV_2D", ["wide", "w", "b"], ["y"], "Conv2DOptions", options),
        ]
        return tflite_file(tensors, operators, ["x"], ["y"])

    return make


@pytest.mark.parametrize(("border", "stride", "runs"), [(1, 4, False), (1, 2, True), (4, 4, True)])
def test_a_padding_that_vela_joins(padded: Callable[[int, int], bytes], border: int, stride: int, runs: bool) -> None:
    """Told as Vela finds it; it gives up on the whole model, and takes it after the change."""
    pytest.importorskip("ethosu")
    from edgecv_export.compilers.vela import Options, compile_model

    content, options = padded(border, stride), Options("ethos-u55-128")
    placed = place(read_graph(content), load_accelerator("ethos-u55"))
    assert [operator.where for operator in placed] == ["accelerator", "accelerator" if runs else "unsupported"]
    if runs:
        assert compile_model(content, options).on_cpu == ()
        return
    assert "joins the padding before it with it, and then takes strides of at most 3 only" in placed[1].reason
    with pytest.raises(BackendError, match="could not run on NPU"):
        compile_model(content, options)
    fixed = apply_fixes(content, load_accelerator("ethos-u55"))
    assert fixed.done == ("kept CONV_2D 'y' apart from the padding before it: the answers are the same to the bit",)
    assert compile_model(fixed.content, options).on_cpu == ()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
def test_hard_swish(tflite_file: Callable[..., bytes], dtype: str) -> None:
    """x · min(max(x + 3, 0), 6) / 6 over every integer."""
    scale = {} if dtype == "float32" else {"scale": STEP, "zero": 0 if dtype == "int8" else 128}
    tensors = {name: {"shape": (1, 256), "dtype": dtype, **scale} for name in ("x", "y")}
    content = tflite_file(tensors, [("HARD_SWISH", ["x"], ["y"], "HardSwishOptions", {})], ["x"], ["y"])
    draft = Draft(content)
    said = fixes.activations.replace_hard_swish(draft, draft.operators[0])
    assert said == "replaced HARD_SWISH 'y' by an addition with ReLU6 and two products"
    assert kinds(draft.pack()) == ["ADD", "MUL", "MUL"]
    integers = np.arange(256) - 128
    x = STEP * integers
    given = x.astype(np.float32) if dtype == "float32" else (integers + scale["zero"]).astype(dtype)
    (found,) = run(draft.pack(), given[None])
    expected = x * np.clip(x + 3, 0, 6) / 6
    real = found[0] if dtype == "float32" else STEP * (found[0].astype(float) - scale["zero"])
    np.testing.assert_allclose(real, expected, atol=1e-6 if dtype == "float32" else 1.5 * STEP)


def test_hard_swish_reaches_the_edge_tpu(tflite_file: Callable[..., bytes]) -> None:
    tensors = {name: {"shape": (1, 4, 4, 8), "scale": STEP} for name in ("x", "y", "z")}
    operators = [("HARD_SWISH", ["x"], ["y"], "HardSwishOptions", {}), ("RELU", ["y"], ["z"], None, {})]
    content = tflite_file(tensors, operators, ["x"], ["z"])
    assert left(content, "edge-tpu") == ["HARD_SWISH"]
    fixed = apply_fixes(content, load_accelerator("edge-tpu"))
    assert left(fixed.content, "edge-tpu") == []
    assert "one function in real numbers" in fixed.done[0]
    # An Ethos-U has the operator: there is nothing to change.
    assert apply_fixes(content, load_accelerator("ethos-u55")).done == ()


def test_a_fused_activation_is_split_off(tflite_file: Callable[..., bytes]) -> None:
    tensors = {"x": {"shape": (1, 8, 8, 4), "scale": STEP}, "y": {"shape": (1, 4, 4, 4), "scale": STEP}}
    options = {"padding": 1, "strideH": 2, "strideW": 2, "filterHeight": 2, "filterWidth": 2}
    pool = ("MAX_POOL_2D", ["x"], ["y"], "Pool2DOptions", {**options, "fusedActivationFunction": 3})
    content = tflite_file(tensors, [pool], ["x"], ["y"])
    assert left(content, "edge-tpu") == ["MAX_POOL_2D"]
    fixed = apply_fixes(content, load_accelerator("edge-tpu"))
    assert (kinds(fixed.content), left(fixed.content, "edge-tpu")) == (["MAX_POOL_2D", "RELU6"], [])
    assert fixed.done == ("split RELU6 off MAX_POOL_2D 'y': the answers are the same to the bit",)


@pytest.mark.parametrize("kind", ["BILINEAR", "NEAREST_NEIGHBOR"])
def test_a_resizing_moves_behind_a_convolution_of_single_pixels(tflite_file: Callable[..., bytes], kind: str) -> None:
    """It stays on the CPU, and the convolution has a ninth of the work; bilinear values commute with sums."""
    weights = np.random.default_rng(3).integers(-127, 128, (2, 1, 1, 4), np.int8)
    tensors: dict[str, Any] = {
        "x": {"shape": (1, 5, 5, 4), "scale": STEP},
        "size": {"shape": (2,), "dtype": "int32", "values": np.int32([15, 15])},
        "large": {"shape": (1, 15, 15, 4), "scale": STEP},
        "w": {"shape": weights.shape, "values": weights, "scale": [0.01, 0.02]},
        "b": {"shape": (2,), "dtype": "int32", "values": np.int32([100, -50]), "scale": [0.0005, 0.001]},
        "y": {"shape": (1, 15, 15, 2), "scale": 0.2},
    }
    plain = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    options = "ResizeBilinearOptions" if kind == "BILINEAR" else "ResizeNearestNeighborOptions"
    operators = [
        (f"RESIZE_{kind}", ["x", "size"], ["large"], options, {"halfPixelCenters": True}),
        ("CONV_2D", ["large", "w", "b"], ["y"], "Conv2DOptions", plain),
    ]
    content = tflite_file(tensors, operators, ["x"], ["y"])
    fixed = apply_fixes(content, load_accelerator("ethos-u55"))
    assert kinds(fixed.content)[0] == "CONV_2D"
    assert read_graph(fixed.content).macs * 9 == read_graph(content).macs
    # Nearest neighbours by three are columns and rows repeated, which an Ethos-U has.
    assert left(fixed.content, "ethos-u55") == (["RESIZE_BILINEAR"] if kind == "BILINEAR" else [])
    x = np.random.default_rng(4).integers(-128, 128, (1, 5, 5, 4), np.int8)
    (before,), (after,) = run(content, x), run(fixed.content, x)
    assert np.abs(before.astype(int) - after.astype(int)).max() <= (2 if kind == "BILINEAR" else 0)
    exact = STEP * np.einsum("hwi,oi->hwo", x[0].astype(float), weights[:, 0, 0] * [[0.01], [0.02]]) + [0.05, -0.05]
    pixels = np.clip(np.round(exact / 0.2), -128, 127)
    if kind == "NEAREST_NEIGHBOR":
        np.testing.assert_allclose(after[0], pixels.repeat(3, 0).repeat(3, 1), atol=1)


def test_float_islands_are_computed_in_integers(tflite_file: Callable[..., bytes]) -> None:
    real = {"shape": (1, 4, 4, 2), "dtype": "float32"}
    tensors: dict[str, Any] = {
        "x": {"shape": (1, 4, 4, 2), "scale": STEP, "zero": 5},
        "a": real, "b": real, "c": {"shape": (1, 32), "dtype": "float32"},
        "shape": {"shape": (2,), "dtype": "int32", "values": np.int32([1, 32])},
        "d": {"shape": (1, 32), "dtype": "float32"}, "y": {"shape": (1, 32), "scale": 1 / 256, "zero": -128},
    }  # fmt: skip
    operators = [
        ("DEQUANTIZE", ["x"], ["a"], None, {}),
        ("RELU", ["a"], ["b"], None, {}),
        ("RESHAPE", ["b", "shape"], ["c"], "ReshapeOptions", {}),
        ("LOGISTIC", ["c"], ["d"], None, {}),
        ("QUANTIZE", ["d"], ["y"], None, {}),
    ]
    content = tflite_file(tensors, operators, ["x"], ["y"])
    assert len(left(content, "ethos-u55")) == 5
    fixed = apply_fixes(content, load_accelerator("ethos-u55"))
    assert (kinds(fixed.content), left(fixed.content, "ethos-u55")) == (["RELU", "RESHAPE", "LOGISTIC", "QUANTIZE"], [])
    x = np.arange(-16, 16, dtype=np.int8).reshape(1, 4, 4, 2)
    expected = 1 / (1 + np.exp(-np.maximum(STEP * (x.astype(float).ravel() - 5), 0)))
    np.testing.assert_allclose((run(fixed.content, x)[0][0].astype(float) + 128) / 256, expected, atol=1.01 / 256)


def test_what_does_not_pass_its_proof_is_left_out(
    tflite_file: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cosine_to_relu(draft: Draft, operator: Any) -> str | None:
        if draft.kind(operator) != "COS":
            return None
        draft.replace(operator, [draft.make("RELU", operator.inputs, operator.outputs[0])])
        return "replaced COS by RELU"

    monkeypatch.setattr(fixes, "CHANGES", [cosine_to_relu])
    tensors = {name: {"shape": (1, 9), "dtype": "float32"} for name in ("x", "y")}
    content = tflite_file(tensors, [("COS", ["x"], ["y"], None, {})], ["x"], ["y"])
    table = load_accelerator("ethos-u55")
    assert offer_fixes(content, table) == ()  # float stays on the CPU either way
    tensors = {name: {"shape": (1, 9), "scale": STEP} for name in ("x", "a", "y")} | {
        "r": {"shape": (1, 9), "dtype": "float32"}, "c": {"shape": (1, 9), "dtype": "float32"},
    }  # fmt: skip
    operators = [
        ("DEQUANTIZE", ["x"], ["r"], None, {}),
        ("COS", ["r"], ["c"], None, {}),
        ("QUANTIZE", ["c"], ["y"], None, {}),
    ]
    content = tflite_file(tensors, operators, ["x"], ["y"])

    def whole(draft: Draft, operator: Any) -> str | None:
        if draft.kind(operator) != "COS":
            return None
        draft.graph.operators = [draft.make("RELU", list(draft.graph.inputs), draft.graph.outputs[0])]
        return "replaced COS by RELU"

    monkeypatch.setattr(fixes, "CHANGES", [whole])
    found = apply_fixes(content, table)
    assert (found.content, found.done) == (content, ())
    assert found.refused[0].startswith("replaced COS by RELU: in real numbers the answers differ by ")


def test_a_float_twin_computes_in_real_numbers(fixable: Any) -> None:
    """Sums of 7×7·8 reals, far outside of what the integers can say."""
    twin = float_twin(fixable.content)
    assert {tensor.dtype for tensor in read_graph(twin).tensors} == {"float32", "int32"}
    x = np.random.default_rng(1).normal(40, 9, (1, 16, 16, 8)).astype(np.float32)
    others = np.zeros((1, 300, 2, 8), np.float32), np.zeros((1, 3, 4, 8), np.float32)
    found = dict(zip(fixable.names, run(twin, x, *others), strict=True))
    np.testing.assert_allclose(found["long_stride"][0], 0.01 * strided_sums(x), rtol=1e-5)
    assert found["long_stride"].min() > 40 > STEP * 127
