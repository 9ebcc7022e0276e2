"""Operators that break one condition each, side by side in one graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest


@dataclass(frozen=True)
class Zoo:
    """A graph of operators that do not depend on each other.

    Attributes
    ----------
    content : bytes
    names : tuple of str
        Of the operators, in order: what each shows.
    """

    content: bytes
    names: tuple[str, ...]


class _Cage:
    """Collects operators, each with tensors of its own."""

    def __init__(self) -> None:
        self.tensors: dict[str, dict[str, Any]] = {}
        self.operators: list[tuple[str, list[str], list[str], str | None, dict[str, Any]]] = []
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self.names: list[str] = []

    def given(self, name: str, shape: tuple[int, ...], dtype: str = "int8", **more: Any) -> str:
        if name not in self.tensors:
            quantized = {"scale": 0.05, "zero": 0} if dtype in ("int8", "int16", "uint8") else {}
            self.tensors[name] = {"shape": shape, "dtype": dtype, **quantized, **more}
            self.inputs.append(name)
        return name

    def constant(self, name: str, values: Any, **more: Any) -> str:
        array = np.asarray(values)
        self.tensors[name] = {"shape": array.shape, "dtype": array.dtype.name, "values": array, **more}
        return name

    def add(
        self,
        name: str,
        kind: str,
        inputs: list[str],
        shape: tuple[int, ...],
        options: str | None = None,
        dtype: str = "int8",
        out: dict[str, Any] | None = None,
        **values: Any,
    ) -> None:
        result = f"{name}_out"
        quantized = {"scale": 0.05, "zero": 0} if dtype in ("int8", "int16", "uint8") else {}
        self.tensors[result] = {"shape": shape, "dtype": dtype, **quantized, **(out or {})}
        self.operators.append((kind, inputs, [result], options, values))
        self.outputs.append(result)
        self.names.append(name)

    def convolution(
        self,
        name: str,
        kernel: tuple[int, int],
        stride: int,
        shape: tuple[int, ...],
        padding: int = 0,
        given: str = "x",
        kind: str = "CONV_2D",
        **values: Any,
    ) -> None:
        channels = self.tensors[given]["shape"][3]
        depthwise = kind == "DEPTHWISE_CONV_2D"
        weights = np.ones((1, *kernel, channels) if depthwise else (8, *kernel, channels), np.int8)
        more = {"scale": np.full(channels if depthwise else 8, 0.01), "axis": 3 if depthwise else 0}
        own = [given, self.constant(f"{name}_w", weights, **more)]
        own.append(self.constant(f"{name}_b", np.zeros(channels if depthwise else 8, np.int32), scale=0.0005))
        options = "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions"
        extra = {"depthMultiplier": 1} if depthwise else {}
        dilation = values.pop("dilation", 1)
        self.add(
            name, kind, own, shape, options, padding=padding, strideH=stride, strideW=stride,
            dilationHFactor=dilation, dilationWFactor=dilation, **extra, **values,
        )  # fmt: skip


@pytest.fixture(scope="session")
def zoo(tflite_file: Callable[..., bytes]) -> Zoo:
    """Twenty-odd operators, those that fit and those that break a condition of one or the other Ethos-U."""
    cage = _Cage()
    x = cage.given("x", (1, 16, 16, 8))
    cage.convolution("plain", (3, 3), 1, (1, 16, 16, 8))
    cage.convolution("stride_5_padded", (7, 7), 5, (1, 4, 4, 8))
    cage.convolution("stride_4_valid", (3, 3), 4, (1, 4, 4, 8), padding=1)
    cage.convolution("depthwise", (3, 3), 2, (1, 8, 8, 8), kind="DEPTHWISE_CONV_2D")
    cage.convolution("depthwise_stride_4", (3, 3), 4, (1, 4, 4, 8), padding=1, kind="DEPTHWISE_CONV_2D")
    tall = cage.given("tall", (1, 300, 2, 8))
    cage.add(
        "huge_pool", "AVERAGE_POOL_2D", [tall], (1, 1, 1, 8), "Pool2DOptions",
        padding=1, strideH=1, strideW=1, filterHeight=300, filterWidth=2,
    )  # fmt: skip
    for name, size, padding, left in (
        ("pool_9_padded", 9, 0, 16),
        ("pool_9_valid", 9, 1, 8),
        ("pool_8_padded", 8, 0, 16),
    ):
        cage.add(
            name, "AVERAGE_POOL_2D", [x], (1, left, left, 8), "Pool2DOptions",
            padding=padding, strideH=1, strideW=1, filterHeight=size, filterWidth=size,
        )  # fmt: skip
    for name, stride in (("transposed_2", 2), ("transposed_3", 3)):
        shape = (1, 16 * stride, 16 * stride, 8)
        weights = cage.constant(f"{name}_w", np.ones((8, 3, 3, 8), np.int8), scale=np.full(8, 0.01))
        target = cage.constant(f"{name}_shape", np.int32(shape))
        cage.add(
            name, "TRANSPOSE_CONV", [target, weights, x], shape, "TransposeConvOptions",
            padding=0, strideH=stride, strideW=stride,
        )  # fmt: skip
    for name, factor, half in (("resize_2", 2, True), ("resize_3", 3, False), ("resize_4_half", 4, True)):
        size = cage.constant(f"{name}_size", np.int32([16 * factor] * 2))
        cage.add(
            name, "RESIZE_BILINEAR", [x, size], (1, 16 * factor, 16 * factor, 8), "ResizeBilinearOptions",
            halfPixelCenters=half, alignCorners=False,
        )  # fmt: skip
    axes = cage.constant("image_axes", np.int32([1, 2]))
    cage.add("mean", "MEAN", [x, axes], (1, 8), "ReducerOptions", keepDims=False)
    depth = cage.constant("depth_axis", np.int32([3]))
    cage.add("mean_over_channels", "MEAN", [x, depth], (1, 16, 16), "ReducerOptions", keepDims=False)
    cage.add("maximum", "MAXIMUM", [x, cage.given("y", (1, 16, 16, 8))], (1, 16, 16, 8), "MaximumMinimumOptions")
    other = cage.given("z", (1, 16, 16, 8), scale=0.07)
    cage.add("maximum_of_two_scales", "MAXIMUM", [x, other], (1, 16, 16, 8), "MaximumMinimumOptions")
    real = cage.given("real", (1, 16, 16, 8), "float32")
    cage.add("float", "RELU", [real], (1, 16, 16, 8), dtype="float32")
    cage.add("unquantized", "ADD", [cage.given("raw", (1, 4, 4, 4), scale=()), "raw"], (1, 4, 4, 4), "AddOptions")
    cage.add("sine", "SIN", [cage.given("angle", (1, 4, 4, 4), "float32")], (1, 4, 4, 4), dtype="float32")
    cage.add("depth_to_space", "DEPTH_TO_SPACE", [x], (1, 32, 32, 2), "DepthToSpaceOptions", blockSize=2)
    five = cage.given("five", (1, 2, 4, 4, 8))
    cage.add("five_dimensions", "ADD", [five, "five"], (1, 2, 4, 4, 8), "AddOptions")
    free = cage.given("free", (1, 1, 8, 8), signature=(1, -1, 8, 8))
    cage.add("dynamic_height", "RELU", [free], (1, 1, 8, 8), out={"signature": (1, -1, 8, 8)})
    batch = cage.given("batch", (1, 8, 8, 8), signature=(-1, 8, 8, 8))
    cage.add("dynamic_batch", "RELU", [batch], (1, 8, 8, 8), out={"signature": (-1, 8, 8, 8)})
    cage.add("gelu", "GELU", [x], (1, 16, 16, 8), "GeluOptions")
    cage.add("tanh", "TANH", [x], (1, 16, 16, 8), out={"scale": 1 / 128})
    cage.add(
        "softmax", "SOFTMAX", [x], (1, 16, 16, 8), "SoftmaxOptions", beta=1.0, out={"scale": 1 / 256, "zero": -128}
    )
    order = cage.constant("order", np.int32([0, 2, 1, 3]))
    cage.add("transpose", "TRANSPOSE", [x, order], (1, 16, 16, 8), "TransposeOptions")
    content = tflite_file(cage.tensors, cage.operators, cage.inputs, cage.outputs)
    return Zoo(content, tuple(cage.names))


@pytest.fixture(scope="session")
def fixable(tflite_file: Callable[..., bytes]) -> Zoo:
    """Operators that an Ethos-U leaves to the CPU as they are, and has in another form."""
    cage = _Cage()
    x = cage.given("x", (1, 16, 16, 8))
    cage.convolution("long_stride", (7, 7), 5, (1, 4, 4, 8))
    cage.convolution("depthwise_valid", (3, 3), 4, (1, 4, 4, 8), padding=1, kind="DEPTHWISE_CONV_2D")
    cage.convolution("depthwise_padded", (5, 5), 6, (1, 3, 3, 8), kind="DEPTHWISE_CONV_2D")
    tall = cage.given("tall", (1, 300, 2, 8))
    for name, kind in (("tall_mean", "AVERAGE_POOL_2D"), ("tall_maximum", "MAX_POOL_2D")):
        cage.add(
            name, kind, [tall], (1, 1, 1, 8), "Pool2DOptions",
            padding=1, strideH=1, strideW=1, filterHeight=300, filterWidth=2,
        )  # fmt: skip
    small = cage.given("small", (1, 3, 4, 8))
    for name, factor, kind, half in (
        ("nearest_16", 16, "NEAREST_NEIGHBOR", True),
        ("nearest_32", 32, "NEAREST_NEIGHBOR", False),
        ("nearest_3", 3, "NEAREST_NEIGHBOR", True),
        ("bilinear_16", 16, "BILINEAR", False),
    ):
        size = cage.constant(f"{name}_size", np.int32([3 * factor, 4 * factor]))
        options = "ResizeBilinearOptions" if kind == "BILINEAR" else "ResizeNearestNeighborOptions"
        cage.add(
            name, f"RESIZE_{kind}", [small, size], (1, 3 * factor, 4 * factor, 8), options,
            halfPixelCenters=half, alignCorners=False,
        )  # fmt: skip
    cage.add("to_space", "DEPTH_TO_SPACE", [x], (1, 32, 32, 2), "DepthToSpaceOptions", blockSize=2)
    cage.add("to_depth", "SPACE_TO_DEPTH", [x], (1, 8, 8, 32), "SpaceToDepthOptions", blockSize=2)
    content = tflite_file(cage.tensors, cage.operators, cage.inputs, cage.outputs)
    return Zoo(content, tuple(cage.names))
