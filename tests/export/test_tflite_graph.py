"""Reading TFLite files without a converter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecv_export.tflite_graph import read_graph
from edgecv_runtime.errors import BundleError


@pytest.fixture(scope="module")
def small(tflite_file: Callable[..., bytes]) -> bytes:
    """Two weighted operators and one that multiplies nothing."""
    tensors: dict[str, dict[str, Any]] = {
        "image": {"shape": (1, 6, 6, 2), "scale": 0.1, "zero": 3, "signature": (-1, 6, 6, 2)},
        "w": {"shape": (4, 3, 3, 2), "values": np.full((4, 3, 3, 2), 2, np.int8), "scale": [0.1, 0.2, 0.3, 0.4]},
        "b": {"shape": (4,), "dtype": "int32", "values": np.arange(4, dtype=np.int32)},
        "maps": {"shape": (1, 3, 3, 4), "scale": 0.2},
        "dw": {"shape": (1, 3, 3, 4), "values": np.ones((1, 3, 3, 4), np.int8), "scale": 0.1},
        "more": {"shape": (1, 3, 3, 4), "scale": 0.2},
        "out": {"shape": (1, 36), "scale": 0.2},
    }
    first = {"strideH": 2, "strideW": 2, "fusedActivationFunction": 3}
    second = {"padding": 1, "strideH": 1, "strideW": 1}
    operators: list[Any] = [
        ("CONV_2D", ["image", "w", "b"], ["maps"], "Conv2DOptions", first),
        ("DEPTHWISE_CONV_2D", ["maps", "dw", ""], ["more"], "DepthwiseConv2DOptions", second),
        ("RESHAPE", ["more"], ["out"], None, {}),
    ]
    return tflite_file(tensors, operators, ["image"], ["out"])


def test_operators(small: bytes) -> None:
    graph = read_graph(small)
    assert [operator.kind for operator in graph.operators] == ["CONV_2D", "DEPTHWISE_CONV_2D", "RESHAPE"]
    convolution, depthwise, reshape = graph.operators
    assert (convolution.options["stride_h"], convolution.options["padding"]) == (2, "SAME")
    assert (convolution.fused_activation, depthwise.fused_activation) == ("RELU6", None)
    assert depthwise.options["padding"] == "VALID"
    assert depthwise.inputs[2] is None
    # Each of 36 outputs takes 3·3·2 products; each of 36 takes 3·3.
    assert [operator.macs for operator in graph.operators] == [36 * 18, 36 * 9, 0]
    assert graph.macs == 36 * 27
    assert convolution.bytes_moved == 72 + 72 + 16 + 36
    assert reshape.name == "out"


def test_tensors(small: bytes) -> None:
    graph = read_graph(small)
    image, weights = graph.tensors[:2]
    assert (graph.inputs, graph.size) == ((image,), len(small))
    assert (image.signature, image.dynamic, image.constant) == ((-1, 6, 6, 2), True, False)
    assert (image.scales, image.zero_points) == ((pytest.approx(0.1),), (3,))
    assert len(weights.scales) == 4
    assert weights.values().tolist() == np.full((4, 3, 3, 2), 2).tolist()
    assert graph.weight_bytes == 72 + 16 + 36


@pytest.mark.parametrize("content", [b"", b"not a model at all", b"\x00\x00\x00\x00TFL3"])
def test_what_is_no_model(content: bytes) -> None:
    with pytest.raises(BundleError):
        read_graph(content)


def test_a_model_cut_short(small: bytes) -> None:
    for length in range(8, len(small), 97):
        with pytest.raises(BundleError, match="TFLite file"):
            read_graph(small[:length])


def test_published_products_of_lenet(made: Callable[..., Any]) -> None:
    """LeCun et al. 1998: 5·5 windows of 28² and 10², dense layers of 400·120, 120·84 and 84·10, all maps connected."""
    graph = read_graph(made("lenet", "tflite", "int8").bundle.artefact().model)
    assert graph.macs == 28 * 28 * 6 * 25 + 10 * 10 * 16 * 25 * 6 + 400 * 120 + 120 * 84 + 84 * 10
