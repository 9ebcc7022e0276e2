"""A float ONNX graph for vendors' tools, from one of our own bundles, and the ranges that our calibration found.

Tools that quantize by themselves start from a float graph. That of an int8 bundle is found again: each weight becomes
the real number that it stands for, and each pair of QuantizeLinear and DequantizeLinear goes. Where such a pair cut off
what is negative, or what exceeds 6, it stood for an activation, which is put back. What the pairs said of ranges is
kept: it is our calibration, and a tool that takes a table of ranges need not make its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import UnsupportedError

Range = tuple[float, float]

_LIMITS = {np.dtype(np.uint8): (0, 255), np.dtype(np.int8): (-128, 127), np.dtype(np.int32): (-(2**31), 2**31 - 1)}
_RELU6 = 6.0
_CLOSE = 1e-3
# What a pixel may pass through before it is turned from (height, width, channel) to (channel, height, width).
_HEAD = frozenset({"Cast", "Sub", "Add", "Mul", "Div", "Identity"})
_MOVING = frozenset({"Transpose", "Reshape", "Identity"})


@dataclass(frozen=True)
class FloatModel:
    """A float graph, and what is known of its activations.

    Attributes
    ----------
    content : bytes
        ONNX, with the inputs and outputs of its source.
    ranges : mapping of str to (low, high)
        By tensor of the float graph; empty where the source was not quantized.
    """

    content: bytes
    ranges: Mapping[str, Range]


def float_onnx(content: bytes) -> FloatModel:
    """The float graph of an ONNX model.

    Parameters
    ----------
    content : bytes
        Float, or quantized by QuantizeLinear and DequantizeLinear.

    Raises
    ------
    UnsupportedError
        A scale is computed while the model runs.
    """
    import onnx

    model = onnx.load_from_string(content)
    if not any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        return FloatModel(content, {})
    work = _Dequantized(model.graph)
    work.run()
    return FloatModel(bytes(model.SerializeToString()), work.ranges)


class _Dequantized:
    """A graph on its way from integers to real numbers."""

    def __init__(self, graph: Any) -> None:
        from onnx import numpy_helper

        self.graph = graph
        self.constants = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
        self.outputs = {entry.name for entry in graph.output}
        self.ranges: dict[str, Range] = {}
        self.names: dict[str, str] = {}  # of a tensor that goes, and the one in its place
        self.nodes: list[Any] = []
        self.made: dict[str, Any] = {}  # tensor, and the node that makes it
        self.pixels = {entry.name for entry in graph.input}  # as they come, moved at most

    def run(self) -> None:
        for node in self.graph.node:
            for index, name in enumerate(node.input):
                node.input[index] = self.names.get(name, name)
            if node.op_type == "QuantizeLinear":
                self._quantize(node)
            elif node.op_type == "DequantizeLinear":
                self._dequantize(node)
            else:
                self._keep(node)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        _drop_unused(self.graph)

    def _keep(self, node: Any) -> None:
        self.nodes.append(node)
        self.made |= dict.fromkeys(node.output, node)
        if node.op_type in _MOVING and node.input[0] in self.pixels:
            self.pixels |= set(node.output)

    def _constant(self, name: str, what: str) -> npt.NDArray[Any]:
        if name not in self.constants:
            raise UnsupportedError(f"{what} is computed while the model runs; only constant scales can be taken out")
        return self.constants[name]

    def _scale(self, node: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        scale = self._constant(node.input[1], f"the scale of {node.input[0]}")
        zero = self._constant(node.input[2], "a zero point") if len(node.input) > 2 else np.zeros((), np.uint8)
        return scale, zero

    def _quantize(self, node: Any) -> None:
        from onnx import helper

        source = node.input[0]
        scale, zero = self._scale(node)
        low, high = ((limit - int(zero)) * float(scale) for limit in _LIMITS[zero.dtype])
        if source not in self.ranges and low == 0 and source in self.made and source not in self.outputs:
            maker = self.made[source]
            if maker.op_type not in ("Relu", "Clip"):
                inner = f"{source}:linear"
                maker.output[:] = [inner if name == source else name for name in maker.output]
                if math.isclose(high, _RELU6, rel_tol=_CLOSE):
                    bounds = [self._add(f"{source}:{word}", value) for word, value in (("low", 0.0), ("high", _RELU6))]
                    self._keep(helper.make_node("Clip", [inner, *bounds], [source], name=f"{source}:clip"))
                else:
                    self._keep(helper.make_node("Relu", [inner], [source], name=f"{source}:relu"))
        self.ranges.setdefault(source, (low, high))
        self.names[node.output[0]] = source

    def _dequantize(self, node: Any) -> None:
        source, result = node.input[0], node.output[0]
        if source in self.constants:
            self._weights(node)
        elif source in self.pixels:
            self._pixels(node)
        else:
            self._rename(source, result)

    def _rename(self, source: str, result: str) -> None:
        """A graph's output keeps its name."""
        from onnx import helper

        if result in self.outputs:
            self._keep(helper.make_node("Identity", [source], [result], name=f"{result}:same"))
        else:
            self.names[result] = source

    def _weights(self, node: Any) -> None:
        scale, zero = self._scale(node)
        stored = self.constants[node.input[0]]
        if scale.ndim:
            axis = next((entry.i for entry in node.attribute if entry.name == "axis"), 1)
            shape = [1] * stored.ndim
            shape[axis] = -1
            scale, zero = scale.reshape(shape), zero.reshape(shape) if zero.ndim else zero
        real = (stored.astype(np.float64) - zero.astype(np.float64)) * scale.astype(np.float64)
        self._add(node.output[0], real.astype(np.float32))

    def _pixels(self, node: Any) -> None:
        """The graph's input in integers: cast, and brought to scale."""
        from onnx import TensorProto, helper

        scale, zero = self._scale(node)
        source, result = node.input[0], node.output[0]
        self._keep(helper.make_node("Cast", [source], [f"{result}:cast"], to=TensorProto.FLOAT, name=f"{result}:cast"))
        offset, factor = self._add(f"{result}:zero", float(zero)), self._add(f"{result}:scale", scale)
        self._keep(helper.make_node("Sub", [f"{result}:cast", offset], [f"{result}:sub"], name=f"{result}:sub"))
        self._keep(helper.make_node("Mul", [f"{result}:sub", factor], [result], name=f"{result}:mul"))
        low, high = _LIMITS[zero.dtype]
        self.ranges[result] = ((low - int(zero)) * float(scale), (high - int(zero)) * float(scale))

    def _add(self, name: str, value: Any) -> str:
        from onnx import numpy_helper

        array = np.asarray(value, np.float32)
        self.graph.initializer.append(numpy_helper.from_array(array, name))
        self.constants[name] = array
        return name


def _drop_unused(graph: Any) -> None:
    """Constants that nobody reads any more, and what was known of tensors that are gone."""
    used = {name for node in graph.node for name in node.input} | {entry.name for entry in graph.output}
    kept = [entry for entry in graph.initializer if entry.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.value_info[:]


# -- pixels ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Headless:
    """A float graph that takes (1, C, H, W) pixels, and what has been taken off its head.

    Attributes
    ----------
    content : bytes
    input_name : str
    mean, std : tuple of float
        By channel: the graph is to be given ``(pixel - mean) / std``.
    """

    content: bytes
    input_name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


def without_head(content: bytes) -> Headless:
    """Take off what turns (1, H, W, C) uint8 pixels into (1, C, H, W) real numbers: vendors' tools do that themselves.

    Padding that stands before a convolution is made the convolution's own besides.

    Raises
    ------
    UnsupportedError
        The graph does not begin so.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_from_string(content)
    graph = model.graph
    constants = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    (given,) = graph.input
    channels = given.type.tensor_type.shape.dim[-1].dim_value
    tensor, chain = given.name, []
    black, white = np.zeros(channels), np.ones(channels)
    turned = False
    while True:
        readers = [node for node in graph.node if tensor in node.input]
        kind = readers[0].op_type if len(readers) == 1 else None
        if kind not in _HEAD and (kind != "Transpose" or turned):
            break
        (node,) = readers
        chain.append(node)
        if kind == "Transpose":
            turned = True
        else:
            black, white = (_computed(node, tensor, value, constants) for value in (black, white))
        tensor = node.output[0]
    if not turned:
        raise UnsupportedError(
            "the tool needs a graph that begins with pixels (1, H, W, C) and a Transpose; here "
            f"{' and '.join(node.op_type for node in readers)} comes first"
        )
    result = chain[-1].output[0]
    for node in chain:
        graph.node.remove(node)
    for node in graph.node:
        node.input[:] = [given.name if name == result else name for name in node.input]
    sizes = [entry.dim_value for entry in given.type.tensor_type.shape.dim]
    shape = [sizes[0] or 1, sizes[3], sizes[1], sizes[2]]
    graph.input.remove(given)
    graph.input.append(helper.make_tensor_value_info(given.name, TensorProto.FLOAT, shape))
    _fuse_pads(graph, constants)
    _drop_unused(graph)
    gain = white - black
    mean, std = (-black / gain).tolist(), (1 / gain).tolist()
    return Headless(bytes(model.SerializeToString()), given.name, tuple(mean), tuple(std))


def _computed(node: Any, tensor: str, value: npt.NDArray[Any], constants: Mapping[str, Any]) -> npt.NDArray[Any]:
    """What the operator makes of one value for each channel."""
    if node.op_type in ("Cast", "Identity"):
        return value
    left, right = (value if name == tensor else np.asarray(constants[name], np.float64) for name in node.input)
    operation = {"Sub": np.subtract, "Add": np.add, "Mul": np.multiply, "Div": np.divide}[node.op_type]
    return np.broadcast_to(operation(left, right).reshape(-1), value.shape)


def _fuse_pads(graph: Any, constants: Mapping[str, Any]) -> None:
    """Constant zero padding of height and width, by the convolution behind it."""
    from onnx import helper

    makers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        before = makers.get(node.input[0]) if node.op_type == "Conv" else None
        if before is None or before.op_type != "Pad" or before.input[1] not in constants:
            continue
        pads = [int(size) for size in constants[before.input[1]]]
        readers = sum(before.output[0] in other.input for other in graph.node)
        automatic = [entry.s for entry in node.attribute if entry.name == "auto_pad"]
        if readers != 1 or any(pads[index] for index in (0, 1, 4, 5)) or automatic not in ([], [b"NOTSET"]):
            continue
        own = next((list(entry.ints) for entry in node.attribute if entry.name == "pads"), [0] * 4)
        both = [own[index] + pads[at] for index, at in enumerate((2, 3, 6, 7))]
        kept = [entry for entry in node.attribute if entry.name not in ("pads", "auto_pad")]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute("pads", both)])
        node.input[0] = before.input[0]
        graph.node.remove(before)
