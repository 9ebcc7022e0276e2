"""Changes to a TFLite file that take a reason for falling back away and leave its answers as they are.

Each is proven on the spot: the file before and the file after are run on the same inputs, and must agree to the bit.
What would change the answers (another activation, another stride) is advice, and the business of whoever trains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime._require import require
from edgecv_runtime.errors import CheckFailedError, InputError

_RUNS = 3


@dataclass(frozen=True)
class Fixed:
    """A file after the fixes.

    Attributes
    ----------
    content : bytes
    done : tuple of str
        What was changed, in words; empty where there was nothing to change.
    """

    content: bytes
    done: tuple[str, ...]


def apply_fixes(content: bytes) -> Fixed:
    """Make every safe change: static shapes with batch 1, and integers where the file takes and gives floats.

    Parameters
    ----------
    content : bytes
        A TFLite file of one graph.

    Raises
    ------
    CheckFailedError
        The file after the changes does not answer as the one before: nothing is given back.
    InputError
        It has more than one graph.
    """
    schema = require("ai_edge_litert.schema_py_generated", install="edgecv-runtime[litert]", purpose="writing TFLite")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    if len(model.subgraphs) != 1:
        raise InputError(f"fixes are for models of one graph; received one of {len(model.subgraphs)}")
    graph = model.subgraphs[0]
    done = _make_static(graph) + _take_integers(schema, model, graph)
    if not done:
        return Fixed(content, ())
    model.signatureDefs = None  # it speaks of the tensors as they were
    from flatbuffers import Builder

    builder = Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    fixed = Fixed(bytes(builder.Output()), done)
    _prove(content, fixed.content)
    return fixed


def _make_static(graph: Any) -> tuple[str, ...]:
    free = [tensor for tensor in graph.tensors if _free(tensor)]
    for tensor in free:
        tensor.shapeSignature = None  # the stored shape has 1 where the size was open
    return (f"static shapes: {len(free)} tensors were open in a dimension that is now 1",) if free else ()


def _free(tensor: Any) -> bool:
    return tensor.shapeSignature is not None and any(size < 0 for size in tensor.shapeSignature)


def _take_integers(schema: Any, model: Any, graph: Any) -> tuple[str, ...]:
    """Let the graph begin behind a QUANTIZE and end before a DEQUANTIZE."""
    kinds = {name: getattr(schema.BuiltinOperator, name) for name in ("QUANTIZE", "DEQUANTIZE")}
    done: list[str] = []
    for operator in list(graph.operators):
        code = model.operatorCodes[operator.opcodeIndex]
        kind = max(code.builtinCode, code.deprecatedBuiltinCode)
        before, after = operator.inputs[0], operator.outputs[0]
        if (
            kind == kinds["QUANTIZE"]
            and _is_float(schema, graph, before)
            and _ends(graph, before, graph.inputs, "inputs")
        ):
            graph.inputs = [after if index == before else index for index in graph.inputs]
            done.append("integer input: the conversion from float is left to the caller")
        elif kind == kinds["DEQUANTIZE"] and _ends(graph, after, graph.outputs, "outputs"):
            graph.outputs = [before if index == after else index for index in graph.outputs]
            done.append("integer output: the conversion to float is left to the caller")
        else:
            continue
        graph.operators.remove(operator)
    return tuple(done)


def _is_float(schema: Any, graph: Any, index: int) -> bool:
    return bool(graph.tensors[index].type == schema.TensorType.FLOAT32)


def _ends(graph: Any, index: int, border: Any, side: str) -> bool:
    """Whether a tensor lies on the graph's border and touches one operator only."""
    touching = sum(index in operator.inputs or index in operator.outputs for operator in graph.operators)
    return index in list(border) and touching == 1


# -- proof -------------------------------------------------------------------------------------------------------------


def _prove(before: bytes, after: bytes) -> None:
    generator = np.random.default_rng(0)
    old, new = _interpreter(before), _interpreter(after)
    for _ in range(_RUNS):
        given = [_noise(generator, detail) for detail in new.get_input_details()]
        results = _run(new, given)
        # The old file is fed the reals that the new one's integers stand for.
        reals = [
            _as(values, wanted, detail)
            for values, detail, wanted in zip(given, new.get_input_details(), old.get_input_details(), strict=True)
        ]
        expected = _run(old, reals)
        for got, detail, wanted in zip(results, new.get_output_details(), expected, strict=True):
            shown = _real(got, detail) if wanted.dtype == np.float32 and got.dtype != np.float32 else got
            if not np.array_equal(shown, wanted):
                raise CheckFailedError("the fixed model does not answer as the one before; nothing was changed")


def _interpreter(content: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    found = Interpreter(model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    found.allocate_tensors()
    return found


def _run(interpreter: Any, given: list[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    for detail, values in zip(interpreter.get_input_details(), given, strict=True):
        interpreter.set_tensor(detail["index"], values)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def _noise(generator: np.random.Generator, detail: dict[str, Any]) -> npt.NDArray[Any]:
    kind = np.dtype(detail["dtype"])
    if kind.kind == "f":
        return generator.normal(size=detail["shape"]).astype(kind)
    limits = np.iinfo(kind)
    return generator.integers(limits.min, limits.max, detail["shape"], dtype=kind, endpoint=True)


def _as(values: npt.NDArray[Any], wanted: dict[str, Any], detail: dict[str, Any]) -> npt.NDArray[Any]:
    return _real(values, detail) if np.dtype(wanted["dtype"]) != values.dtype else values


def _real(values: npt.NDArray[Any], detail: dict[str, Any]) -> npt.NDArray[np.float32]:
    scale, zero = detail["quantization"]
    return (np.float32(scale) * (values.astype(np.int32) - zero).astype(np.float32)).astype(np.float32)
