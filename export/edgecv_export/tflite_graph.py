"""A TFLite file as a list of operators and tensors: what the checks, estimates and planners read.

It is read with the schema that LiteRT ships, without TensorFlow: a check of a file takes a fraction of a second.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime._require import require
from edgecv_runtime.errors import BundleError, UnsupportedError

_IDENTIFIER = b"TFL3"
_CAPITAL = re.compile(r"(?<=[a-z0-9])([A-Z])")
_ACTIVATIONS = {1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6", 4: "TANH", 5: "SIGN_BIT"}  # ActivationFunctionType
_PADDINGS = {0: "SAME", 1: "VALID"}


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of a TFLite graph.

    Attributes
    ----------
    index : int
        In the graph's list.
    name : str
    dtype : str
        As numpy names it, or ``"string"``, ``"resource"``, ``"int4"`` and so on as TFLite does.
    shape : tuple of int
        As stored; a dimension that is not known before the run is stored as 1.
    signature : tuple of int
        As `shape`, with -1 for a dimension that is not known before the run.
    content : bytes or None
        The values of a constant.
    scales, zero_points : tuple
        Quantization: one value for the tensor, or one for each slice along `axis`; empty where there is none.
    axis : int
        The dimension that has one scale each.
    variable : bool
        Whether it keeps its values from one inference to the next.
    """

    index: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    content: bytes | None = field(default=None, repr=False)
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    axis: int = 0
    variable: bool = False

    @property
    def constant(self) -> bool:
        return self.content is not None

    @property
    def dynamic(self) -> bool:
        """Whether a dimension is known only when the model runs."""
        return any(size < 0 for size in self.signature)

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes of one element; 0 for what has no fixed size."""
        try:
            return np.dtype(self.dtype).itemsize
        except TypeError:
            return 0

    @property
    def nbytes(self) -> int:
        return (self.elements + 1) // 2 if self.dtype == "int4" else self.elements * self.itemsize

    def values(self) -> npt.NDArray[Any]:
        """The values of a constant.

        Raises
        ------
        UnsupportedError
            It is computed, or its type is not one of numpy's.
        """
        if self.content is None or not self.itemsize:
            raise UnsupportedError(f"tensor {self.name!r} ({self.dtype}) has no values that can be read from the file")
        return np.frombuffer(self.content, np.dtype(self.dtype)).reshape(self.shape)


@dataclass(frozen=True, eq=False)
class Operator:
    """An operator of a TFLite graph.

    Attributes
    ----------
    index : int
        Its place in the order of execution.
    kind : str
        As the schema names it, for example ``"CONV_2D"``; ``"CUSTOM"`` for any other.
    inputs : tuple of Tensor or None
        None for one that is left out.
    outputs : tuple of Tensor
    options : Mapping
        The schema's fields in snake case (``"stride_w"``); ``"padding"`` and ``"fused_activation"`` as words.
    custom : str or None
        The name of a custom operator.
    """

    index: int
    kind: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    custom: str | None = None

    @property
    def name(self) -> str:
        """The name of what it computes."""
        return self.outputs[0].name if self.outputs else f"operator {self.index}"

    def input(self, position: int) -> Tensor | None:
        """The input at a position, or None where there is none."""
        return self.inputs[position] if position < len(self.inputs) else None

    @property
    def fused_activation(self) -> str | None:
        return self.options.get("fused_activation")

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates, for a batch as stored; 0 for what does not multiply by weights or another tensor."""
        count = _MACS.get(self.kind)
        return 0 if count is None else count(self)

    @property
    def bytes_moved(self) -> int:
        """Bytes that are read and written once each: inputs with weights, and outputs."""
        return sum(tensor.nbytes for tensor in (*self.inputs, *self.outputs) if tensor is not None)


@dataclass(frozen=True, eq=False)
class Graph:
    """The main graph of a TFLite file.

    Attributes
    ----------
    tensors, operators : tuple
    inputs, outputs : tuple of Tensor
    size : int
        Bytes of the file.
    """

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    size: int

    @property
    def macs(self) -> int:
        return sum(operator.macs for operator in self.operators)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all constants."""
        return sum(len(tensor.content or b"") for tensor in self.tensors)


def read_graph(content: bytes) -> Graph:
    """Read a TFLite file.

    Parameters
    ----------
    content : bytes

    Raises
    ------
    BundleError
        It is no TFLite file, or a damaged one.
    UnsupportedError
        It has more than one graph, as models with control flow have.
    MissingPackageError
        LiteRT, which brings the schema, is not installed.
    """
    schema = require("ai_edge_litert.schema_py_generated", install="edgecv-runtime[litert]", purpose="reading TFLite")
    if content[4:8] != _IDENTIFIER:
        raise BundleError("a TFLite file must carry the TFL3 identifier; received something else")
    try:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
        if len(model.subgraphs) != 1:
            raise UnsupportedError(
                f"a model of one graph is required; received one of {len(model.subgraphs)} (control flow): unroll it"
            )
        return _graph(schema, model, len(content))
    except (IndexError, ValueError, AttributeError, TypeError, KeyError) as error:
        if isinstance(error, UnsupportedError):
            raise
        raise BundleError(f"the TFLite file is damaged and cannot be read: {error}") from None
    except Exception as error:  # struct.error, which is no ValueError
        if type(error).__name__ != "error":
            raise
        raise BundleError(f"the TFLite file is damaged and cannot be read: {error}") from None


def _graph(schema: Any, model: Any, size: int) -> Graph:
    kinds = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    dtypes = {value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
    (graph,) = model.subgraphs
    computed = {index for operator in graph.operators for index in operator.outputs} | set(graph.inputs)
    tensors = tuple(
        _tensor(index, tensor, dtypes, None if index in computed else model.buffers[tensor.buffer].data)
        for index, tensor in enumerate(graph.tensors)
    )

    def operator(index: int, stored: Any) -> Operator:
        code = model.operatorCodes[stored.opcodeIndex]
        # Files of before 2020 have the code in a byte; the schema says to take the larger one.
        kind = kinds[max(code.builtinCode, code.deprecatedBuiltinCode)]
        return Operator(
            index,
            kind,
            tuple(None if place < 0 else tensors[place] for place in stored.inputs),
            tuple(tensors[place] for place in stored.outputs),
            _options(stored.builtinOptions),
            code.customCode.decode() if code.customCode else None,
        )

    return Graph(
        tensors,
        tuple(operator(index, stored) for index, stored in enumerate(graph.operators)),
        tuple(tensors[index] for index in graph.inputs),
        tuple(tensors[index] for index in graph.outputs),
        size,
    )


def _tensor(index: int, stored: Any, dtypes: Mapping[int, str], data: Any) -> Tensor:
    shape = () if stored.shape is None else tuple(int(size) for size in stored.shape)
    signature = shape if stored.shapeSignature is None else tuple(int(size) for size in stored.shapeSignature)
    quantization = stored.quantization
    scales = () if quantization is None or quantization.scale is None else tuple(map(float, quantization.scale))
    zeros = () if quantization is None or quantization.zeroPoint is None else tuple(map(int, quantization.zeroPoint))
    return Tensor(
        index,
        (stored.name or b"").decode() or f"tensor {index}",
        dtypes[stored.type],
        shape,
        signature or shape,
        None if data is None else bytes(data),
        scales,
        zeros,
        0 if quantization is None else int(quantization.quantizedDimension),
        bool(stored.isVariable),
    )


def _options(stored: Any) -> dict[str, Any]:
    if stored is None:
        return {}
    found = {_CAPITAL.sub(r"_\1", key).lower(): value for key, value in vars(stored).items()}
    if "padding" in found:
        found["padding"] = _PADDINGS.get(found["padding"], found["padding"])
    if "fused_activation_function" in found:
        found["fused_activation"] = _ACTIVATIONS.get(found.pop("fused_activation_function"))
    return found


# -- multiply-accumulates ----------------------------------------------------------------------------------------------


def _shape(tensor: Tensor | None) -> tuple[int, ...]:
    return () if tensor is None else tensor.shape


def _convolution(operator: Operator) -> int:
    # Weights (out, h, w, in): each output value takes h·w·in products.
    return operator.outputs[0].elements * math.prod(_shape(operator.input(1))[1:])


def _depthwise(operator: Operator) -> int:
    _, height, width, _ = _shape(operator.input(1))
    return operator.outputs[0].elements * height * width


def _transposed(operator: Operator) -> int:
    # Inputs: output shape, weights (out, h, w, in), image: each input value goes to h·w·out products.
    weights = _shape(operator.input(1))
    return math.prod(_shape(operator.input(2))) * math.prod(weights[:3])


def _dense(operator: Operator) -> int:
    return operator.outputs[0].elements * _shape(operator.input(1))[-1]


def _matmul(operator: Operator) -> int:
    left = _shape(operator.input(0))
    depth = left[-2] if operator.options.get("adj_x") else left[-1]
    return operator.outputs[0].elements * depth


_MACS = {
    "CONV_2D": _convolution,
    "CONV_3D": lambda operator: operator.outputs[0].elements * math.prod(_shape(operator.input(1))[:4]),
    "DEPTHWISE_CONV_2D": _depthwise,
    "TRANSPOSE_CONV": _transposed,
    "FULLY_CONNECTED": _dense,
    "BATCH_MATMUL": _matmul,
}
