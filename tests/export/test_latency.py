"""Estimates against published times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgecv_export.latency import cpu_rate, estimate, precision_of
from edgecv_export.tflite_graph import read_graph
from edgecv_targets import Figure, load_target

# Products of MobileNet v1's dense and depthwise layers at 224×224 (Howard et al. 2017: 569 M, 3.06 % depthwise).
V1 = (568_740_352 - 17_385_984, 17_385_984)


def test_a_rate_is_what_was_measured() -> None:
    """MobileNet v1 took the Raspberry Pi 4 77 ms in float and 24 ms in int8, for 569 M products."""
    target = load_target("pi-4")
    dense, depthwise = V1
    for precision, milliseconds in (("fp32", 77.0), ("int8", 24.0)):
        rate = cpu_rate(target, precision)
        assert rate is not None
        assert (dense + 8 * depthwise) / rate * 1e3 == pytest.approx(milliseconds, rel=0.01)


def test_precisions_without_a_figure_take_that_of_their_kind() -> None:
    target = load_target("pi-4")
    assert cpu_rate(target, "int16x8") == cpu_rate(target, "int8")
    assert cpu_rate(target, "fp16") == cpu_rate(target, "fp32")


def test_no_figure_no_estimate() -> None:
    assert cpu_rate(load_target("pi-5"), "fp32") is None


def test_operators_take_the_longer_of_arithmetic_and_memory(tflite_file: Callable[..., bytes]) -> None:
    """By hand on the i.MX 8M Plus: 2.68 products a cycle, four cores, 1.8 GHz; 12.8 GB/s."""
    weights = np.ones((10, 4_000_000 // 10), np.int8)
    tensors: dict[str, Any] = {
        "image": {"shape": (1, 4_000_000 // 10), "scale": 0.1},
        "w": {"shape": weights.shape, "values": weights, "scale": 0.1},
        "out": {"shape": (1, 10), "scale": 0.1},
    }
    operators = [("FULLY_CONNECTED", ["image", "w", ""], ["out"], "FullyConnectedOptions", {})]
    graph = read_graph(tflite_file(tensors, operators, ["image"], ["out"]))
    target = load_target("imx8mp")
    found = estimate(graph, target, {0: "cpu"})
    assert found is not None
    arithmetic, memory = 4e6 / (2.68 * 4 * 1.8e9), (4e6 + 4e5 + 10) / 12.8e9
    assert (found.seconds, found.lower_bound) == (pytest.approx(memory), False)
    wide = estimate(graph, replace(target, memory_bandwidth=Figure(1e12, "test")), {0: "cpu"})
    assert wide is not None
    assert wide.seconds == pytest.approx(arithmetic)


def test_an_accelerator_is_bounded_from_below(tflite_file: Callable[..., bytes]) -> None:
    """By hand on the Ethos-U55-128: 128 products a cycle at 500 MHz, weights from flash at 0.5 GB/s."""
    kernel = np.ones((8, 3, 3, 8), np.int8)
    tensors: dict[str, Any] = {
        "image": {"shape": (1, 32, 32, 8), "scale": 0.1},
        "w": {"shape": kernel.shape, "values": kernel, "scale": np.full(8, 0.1)},
        "b": {"shape": (8,), "dtype": "int32", "values": np.zeros(8, np.int32)},
        "out": {"shape": (1, 32, 32, 8), "scale": 0.1},
    }
    operators = [("CONV_2D", ["image", "w", "b"], ["out"], "Conv2DOptions", {"strideH": 1, "strideW": 1})]
    graph = read_graph(tflite_file(tensors, operators, ["image"], ["out"]))
    found = estimate(graph, load_target("ethos-u55-128"), {0: "accelerator"})
    assert found is not None
    assert found.seconds == pytest.approx(max(32 * 32 * 8 * 72 / (128 * 500e6), (576 + 32) / 0.5e9))
    assert found.lower_bound
    assert estimate(graph, load_target("ethos-u55-128"), {0: "cpu"}) is None


def test_precision_is_that_of_most_products(made: Callable[..., Any]) -> None:
    for precision in ("int8", "fp32"):
        assert precision_of(read_graph(made("lenet", "tflite", precision).bundle.artefact().model)) == precision
