"""What is told of a graph beforehand, against what Vela then does with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecv_export.compatibility import check, place
from edgecv_export.compatibility.check import reasons
from edgecv_export.compatibility.rules import rule_names
from edgecv_export.tflite_graph import read_graph
from edgecv_targets import list_accelerators, load_accelerator, load_target

# What Arm documents for the Ethos-U55 and U65 (5.2.0), read by hand: these fall back there.
FALLS_BACK = {
    "stride_5_padded", "depthwise_stride_4", "huge_pool", "pool_9_padded", "transposed_3", "resize_3", "resize_4_half",
    "mean_over_channels", "maximum_of_two_scales", "float", "unquantized", "sine", "depth_to_space", "dynamic_height",
}  # fmt: skip
# And these on the Ethos-U85.
FALLS_BACK_U85 = {
    "huge_pool", "pool_9_padded", "resize_3", "mean_over_channels", "maximum_of_two_scales", "float", "unquantized",
    "sine", "depth_to_space", "dynamic_height",
}  # fmt: skip


# A part of Vela's own reason for each.
VELA_SAYS = {
    "stride_5_padded": "stride",
    "depthwise_stride_4": "Unsupported kernel stride: 4, 4",
    "huge_pool": "kernel height: 300 out of range",
    "pool_9_padded": "kernel width: 9 out of range",
    "transposed_3": "stride out of range: (3,3)",
    "resize_3": "scale-factor",
    "mean_over_channels": "Unsupported depth-reduction",
    "float": "Float32",
    "sine": "Unsupported opType",
    "depth_to_space": "Unsupported opType",
}


@pytest.mark.parametrize(("table", "expected"), [("ethos-u55", FALLS_BACK), ("ethos-u85", FALLS_BACK_U85)])
def test_documented_conditions(zoo: Any, table: str, expected: set[str]) -> None:
    placed = place(read_graph(zoo.content), load_accelerator(table))
    found = {zoo.names[operator.index] for operator in placed if operator.where != "accelerator"}
    assert found == expected
    assert all(operator.reason for operator in placed if operator.where != "accelerator")


@pytest.mark.parametrize(
    ("name", "reason", "help_"),
    [
        (
            "stride_5_padded",
            "strides must be at most 3 unless nothing is padded and the dilation is 1; they are 5×5",
            "3",
        ),
        ("depthwise_stride_4", "strides must be at most 3; they are 4×4", "stride of at most 3"),
        ("huge_pool", "at most 256 high with VALID padding; this one is 300×2", "smaller kernels"),
        ("transposed_3", "must have stride 1×1 or 2×2; this one has 3×3", "stride 2"),
        ("resize_3", "resizing must be by 2, 4 or 8, alike in height and width; this one is by 3×3", "resize by 2"),
        ("float", "features must be int8, uint8, int16, int32 or int64; 'real' is float32", "int8"),
        ("unquantized", "every tensor must be quantized; 'raw' (int8) is not", "calibration"),
        ("sine", "SIN is not among the operators of Arm Ethos-U55 and Ethos-U65", "int8"),
        ("depth_to_space", "DEPTH_TO_SPACE is not among the operators", "transposed convolution"),
        ("dynamic_height", "shapes must be known beforehand; 'free' is (1, ?, 8, 8)", "--input-size"),
        ("maximum_of_two_scales", "inputs and output must have one quantization; 'z' has another", "requantize"),
    ],
)
def test_reason_and_remedy(zoo: Any, name: str, reason: str, help_: str) -> None:
    placed = place(read_graph(zoo.content), load_accelerator("ethos-u55"))[zoo.names.index(name)]
    assert placed.where == "cpu"
    assert reason in placed.reason
    assert help_ in placed.remedy


def test_everything_behind_the_first_fallback_leaves_the_edge_tpu(tflite_file: Callable[..., bytes]) -> None:
    shape = {"shape": (1, 4, 4, 4), "scale": 0.1}
    tensors = {name: dict(shape) for name in ("picture", "image", "a", "b", "c")}
    tensors["picture"]["dtype"] = "float32"
    operators = [
        ("QUANTIZE", ["picture"], ["image"], None, {}),
        ("RELU", ["image"], ["a"], None, {}),
        ("DIV", ["a", "a"], ["b"], "DivOptions", {}),
        ("RELU", ["b"], ["c"], None, {}),
    ]
    graph = read_graph(tflite_file(tensors, operators, ["picture"], ["c"]))
    placed = place(graph, load_accelerator("edge-tpu"))
    assert [operator.where for operator in placed] == ["cpu", "accelerator", "cpu", "cpu"]
    assert placed[2].reason == "DIV is not among the operators of Coral Edge TPU"
    assert placed[3].reason == "it comes behind DIV 'b', where the graph leaves Coral Edge TPU"


def test_shares(zoo: Any) -> None:
    """By hand: the products of the operators that fall back, over all."""
    graph = read_graph(zoo.content)
    found = check(graph, load_target("ethos-u55-128"))
    assert found.accelerated == pytest.approx(1 - len(FALLS_BACK) / len(zoo.names))
    assert found.fallback_operators == pytest.approx(len(FALLS_BACK) / len(zoo.names))
    macs = {
        "plain": 16 * 16 * 8 * 3 * 3 * 8,
        "stride_5_padded": 4 * 4 * 8 * 7 * 7 * 8,
        "stride_4_valid": 4 * 4 * 8 * 3 * 3 * 8,
        "depthwise": 8 * 8 * 8 * 3 * 3,
        "depthwise_stride_4": 4 * 4 * 8 * 3 * 3,
        "transposed_2": 16 * 16 * 8 * 3 * 3 * 8,
        "transposed_3": 16 * 16 * 8 * 3 * 3 * 8,
    }
    assert graph.macs == sum(macs.values())
    left = sum(macs[name] for name in FALLS_BACK & macs.keys())
    assert found.fallback_macs == pytest.approx(left / sum(macs.values()))
    # SIN and others have kernels in TensorFlow Lite Micro: nothing runs nowhere.
    assert found.unsupported == ()
    assert not found.meets(40)
    assert found.meets(100 * len(FALLS_BACK) / len(zoo.names))


def test_share_of_the_time(tflite_file: Callable[..., bytes]) -> None:
    """By hand: 576 × 64 products at 4 Tera operations, and 64 values at the Raspberry Pi 4's 4.8 · 4 · 1.5 GHz."""
    tensors: dict[str, Any] = {name: {"shape": (1, 8, 8, 1), "scale": 0.1} for name in ("image", "a", "b")}
    tensors["w"] = {"shape": (1, 24, 24, 1), "values": np.ones((1, 24, 24, 1), np.int8), "scale": 0.1}
    tensors["bias"] = {"shape": (1,), "dtype": "int32", "values": np.zeros(1, np.int32)}
    options = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    operators = [
        ("CONV_2D", ["image", "w", "bias"], ["a"], "Conv2DOptions", options),
        ("DIV", ["a", "a"], ["b"], "DivOptions", {}),
    ]
    graph = read_graph(tflite_file(tensors, operators, ["image"], ["b"]))
    assert check(graph, load_target("coral-usb")).fallback_time is None
    found = check(graph, load_target("coral-usb"), load_target("pi-4"))
    on_tpu, on_cpu = 2 * 64 * 576 / 4e12, 64 / (4.8 * 4 * 1.5e9)
    assert found.fallback_time == pytest.approx(on_cpu / (on_tpu + on_cpu))


def test_custom_operators_run_nowhere(tflite_file: Callable[..., bytes]) -> None:
    tensors = {"image": {"shape": (1, 4)}, "a": {"shape": (1, 4)}}
    content = tflite_file(tensors, [("Mine", ["image"], ["a"], None, {})], ["image"], ["a"])
    found = check(read_graph(content), load_target("pi-4"))
    assert [operator.kind for operator in found.unsupported] == ["Mine"]
    assert not found.meets(100)


def test_without_a_table_nothing_is_claimed(zoo: Any) -> None:
    found = check(read_graph(zoo.content), load_target("pi-5-hailo-8l"))
    assert found.table is None
    assert "not published as a table" in found.note
    assert {operator.where for operator in found.operators} == {"cpu"}
    assert found.fallback_operators == 0


def test_alike_reasons_are_counted(zoo: Any) -> None:
    placed = place(read_graph(zoo.content), load_accelerator("ethos-u55"))
    found = reasons(placed)
    assert sum(count for *_, count in found) == len(FALLS_BACK)
    assert len({entry[:3] for entry in found}) == len(found)


@pytest.mark.parametrize("identifier", list_accelerators())
def test_tables_name_known_rules(identifier: str) -> None:
    named = {rule.name for rules in load_accelerator(identifier).operators.values() for rule in rules}
    assert named <= rule_names()


@pytest.mark.parametrize("configuration", ["ethos-u55-128", "ethos-u85-256"])
def test_vela_places_the_same(zoo: Any, configuration: str) -> None:
    pytest.importorskip("ethosu")
    from edgecv_export.compilers.vela import Options, compile_model

    compiled = compile_model(zoo.content, Options(configuration))
    table = "ethos-u85" if "u85" in configuration else "ethos-u55"
    placed = place(read_graph(zoo.content), load_accelerator(table))
    told = {zoo.names[operator.index] for operator in placed if operator.where != "accelerator"}
    assert {zoo.names[index] for index in compiled.on_cpu} == told
    for name in told & VELA_SAYS.keys():
        assert VELA_SAYS[name] in compiled.reasons[f"{name}_out"], name
    assert len(compiled.on_npu) + len(compiled.on_cpu) == len(zoo.names)
