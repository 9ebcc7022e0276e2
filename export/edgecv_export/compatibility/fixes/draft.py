"""A TFLite file to be changed: operators and tensors as the schema's objects, with the few steps that changes take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime._require import require
from edgecv_runtime.errors import InputError

_LARGEST_BYTE = 127  # the old field for an operator's code


class Draft:
    """A TFLite file of one graph, open for changes.

    Parameters
    ----------
    content : bytes

    Raises
    ------
    InputError
        It has more than one graph.
    MissingPackageError
        LiteRT, which brings the schema, is not installed.
    """

    def __init__(self, content: bytes) -> None:
        self.schema = require(
            "ai_edge_litert.schema_py_generated", install="edgecv-runtime[litert]", purpose="writing TFLite"
        )
        self.model = self.schema.ModelT.InitFromObj(self.schema.Model.GetRootAsModel(content, 0))
        if len(self.model.subgraphs) != 1:
            raise InputError(f"fixes are for models of one graph; received one of {len(self.model.subgraphs)}")
        self.graph = self.model.subgraphs[0]
        self._names = {
            value: name for name, value in vars(self.schema.BuiltinOperator).items() if isinstance(value, int)
        }

    @property
    def operators(self) -> list[Any]:
        """In the order of execution."""
        found: list[Any] = self.graph.operators
        return found

    def kind(self, operator: Any) -> str:
        """As the schema names it."""
        code = self.model.operatorCodes[operator.opcodeIndex]
        return self._names[max(code.builtinCode, code.deprecatedBuiltinCode)]

    def readers(self, tensor: int) -> list[Any]:
        """The operators that read a tensor."""
        return [operator for operator in self.operators if tensor in list(operator.inputs)]

    def writer(self, tensor: int) -> Any | None:
        """The operator that writes a tensor; None for what is given."""
        return next((operator for operator in self.operators if tensor in list(operator.outputs)), None)

    def only_reader(self, tensor: int) -> Any | None:
        """The one operator that reads a tensor; None where there are several, or the graph gives it out."""
        found = self.readers(tensor)
        return found[0] if len(found) == 1 and tensor not in list(self.graph.outputs) else None

    def shape(self, tensor: int) -> tuple[int, ...]:
        """As stored."""
        stored = self.graph.tensors[tensor].shape
        return () if stored is None else tuple(int(size) for size in stored)

    def dtype(self, tensor: int) -> str:
        """As numpy names it."""
        return next(
            name.lower()
            for name, value in vars(self.schema.TensorType).items()
            if value == self.graph.tensors[tensor].type
        )

    def is_constant(self, tensor: int) -> bool:
        """Whether its values are in the file."""
        return self.model.buffers[self.graph.tensors[tensor].buffer].data is not None

    def values(self, tensor: int) -> npt.NDArray[Any]:
        """The values of a constant."""
        data = np.asarray(self.model.buffers[self.graph.tensors[tensor].buffer].data, np.uint8)
        return np.frombuffer(data.tobytes(), np.dtype(self.dtype(tensor))).reshape(self.shape(tensor))

    def quantization(self, tensor: int) -> tuple[float, int] | None:
        """Scale and zero point of a whole tensor; None where it has none, or one for each channel."""
        stored = self.graph.tensors[tensor].quantization
        if stored is None or stored.scale is None or len(stored.scale) != 1:
            return None
        return float(stored.scale[0]), int(stored.zeroPoint[0])

    # -- changes -------------------------------------------------------------------------------------------------------

    def add_tensor(
        self,
        like: int,
        name: str,
        shape: Sequence[int] | None = None,
        quantization: tuple[float, int] | None = None,
    ) -> int:
        """A tensor that is computed, of the type and, where nothing else is said, the quantization of another."""
        other, tensor = self.graph.tensors[like], self.schema.TensorT()
        tensor.name, tensor.type, tensor.buffer = name.encode(), other.type, 0
        tensor.shape = list(self.shape(like) if shape is None else shape)
        tensor.quantization = self.schema.QuantizationParametersT()
        chosen = quantization or self.quantization(like)
        if chosen is not None:
            tensor.quantization.scale, tensor.quantization.zeroPoint = [np.float32(chosen[0])], [chosen[1]]
        return self._add(tensor)

    def add_constant(
        self,
        values: npt.NDArray[Any],
        name: str,
        scales: Sequence[float] = (),
        zero: int = 0,
        axis: int = 0,
    ) -> int:
        """A constant, quantized as a whole or along an axis where scales are given."""
        tensor, buffer = self.schema.TensorT(), self.schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        tensor.name, tensor.shape = name.encode(), list(values.shape)
        tensor.buffer = len(self.model.buffers) - 1
        tensor.type = getattr(self.schema.TensorType, values.dtype.name.upper())
        tensor.quantization = self.schema.QuantizationParametersT()
        if scales:
            tensor.quantization.scale = [np.float32(scale) for scale in scales]
            tensor.quantization.zeroPoint = [zero] * len(scales)
            tensor.quantization.quantizedDimension = axis
        return self._add(tensor)

    def _add(self, tensor: Any) -> int:
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def make(self, kind: str, inputs: Sequence[int], output: int, options: str | None = None, **values: Any) -> Any:
        """An operator that is not yet in the graph; `options` as the schema names their class."""
        operator = self.schema.OperatorT()
        operator.opcodeIndex = self._code(kind)
        operator.inputs, operator.outputs = list(inputs), [output]
        if options is not None:
            operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(self.schema, f"{options}T")()
            for key, value in values.items():
                setattr(operator.builtinOptions, key, value)
        return operator

    def _code(self, kind: str) -> int:
        number = getattr(self.schema.BuiltinOperator, kind)
        for place, code in enumerate(self.model.operatorCodes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == number:
                return place
        code = self.schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = (
            number,
            min(number, _LARGEST_BYTE),
            _VERSIONS.get(kind, 1),
        )
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1

    def replace(self, operator: Any, others: Sequence[Any]) -> None:
        """Others in an operator's place."""
        place = next(index for index, own in enumerate(self.operators) if own is operator)
        self.graph.operators = [*self.operators[:place], *others, *self.operators[place + 1 :]]

    def swap(self, one: Any, other: Any) -> None:
        """Two operators in each other's place."""
        turned = {id(one): other, id(other): one}
        self.graph.operators = [turned.get(id(operator), operator) for operator in self.operators]

    def forget_signatures(self) -> None:
        """They name the tensors at the borders as they were."""
        self.model.signatureDefs = None

    def pack(self) -> bytes:
        """The file as it is now."""
        from flatbuffers import Builder

        builder = Builder(1024)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


# The first versions of operators that compute in int8; all others are written as version 1.
_VERSIONS = {
    "ADD": 2, "AVERAGE_POOL_2D": 2, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "MAX_POOL_2D": 2, "MUL": 2, "PAD": 2,
    "QUANTIZE": 2, "RELU": 2, "RELU6": 2, "RESIZE_NEAREST_NEIGHBOR": 2, "TRANSPOSE_CONV": 2, "TRANSPOSE": 2,
    "LEAKY_RELU": 2, "RELU_N1_TO_1": 2, "TILE": 2,
}  # fmt: skip
