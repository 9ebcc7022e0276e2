"""A model for TensorFlow Lite Micro: its bytes as a C array, the operators to register, and the arena that it needs.

The arena is computed, not run: no interpreter of TensorFlow Lite Micro is in the public package registry. Its largest
part, the activations, is planned as its own planner plans them (greedy by size, first fit, 16-byte alignment); what
the interpreter keeps for itself beside them is estimated, with the reserve stated.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgecv_export.memory import MICRO_ALIGNMENT, Buffer, Plan, activations, aligned_buffers, plan
from edgecv_export.micro_kernels import MICRO_CUSTOM, MICRO_KERNELS
from edgecv_export.tflite_graph import Graph, Operator, read_graph
from edgecv_runtime.errors import InputError, UnsupportedError

# What the interpreter keeps beside the activations, on a 32-bit processor: structures for each tensor and operator,
# the kernels' own data (a multiplier and a shift for each channel of a quantized convolution), and a reserve.
_TENSOR_BYTES = 16
_OPERATOR_BYTES = 24
_KERNEL_BYTES = 128
_CHANNEL_BYTES = 8
_INTERPRETER_BYTES = 1024
_RESERVE = 0.10

_PER_CHANNEL = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED"})
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BYTES_A_LINE = 16


@dataclass(frozen=True)
class Arena:
    """The memory that a model needs on a microcontroller.

    Attributes
    ----------
    planned_bytes : int
        The activations and what kernels need while they run, as placed by the planner.
    kept_bytes : int
        What the interpreter keeps for itself, estimated.
    size : int
        Both, with a tenth in reserve, rounded up to whole KiB: what to give to the interpreter.
    plan : Plan
    """

    planned_bytes: int
    kept_bytes: int
    size: int
    plan: Plan

    @property
    def basis(self) -> str:
        """How it was computed, in words."""
        return (
            f"{self.planned_bytes:,} bytes of activations placed greedily by size (first fit, {MICRO_ALIGNMENT}-byte "
            f"alignment), {self.kept_bytes:,} bytes estimated for the interpreter, and a tenth in reserve; computed, "
            "not run: no interpreter of TensorFlow Lite Micro is in the public package registry"
        )


@dataclass(frozen=True)
class MicroModel:
    """What a firmware project needs of a model.

    Attributes
    ----------
    header, source : str
        Content of ``NAME.h`` and ``NAME.c``, in C that C++ understands, too.
    operators : tuple of str
        Methods of ``MicroMutableOpResolver`` to call, sorted.
    arena : Arena
    flash_bytes : int
        Of the array.
    """

    header: str
    source: str
    operators: tuple[str, ...]
    arena: Arena
    flash_bytes: int

    def members(self, name: str) -> dict[str, bytes]:
        """The two files as members of a bundle."""
        return {f"micro/{name}.h": self.header.encode(), f"micro/{name}.c": self.source.encode()}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, for the report: all but the files."""
        return {
            "operators": list(self.operators),
            "flash_bytes": self.flash_bytes,
            "arena": {
                "size": self.arena.size,
                "planned_bytes": self.arena.planned_bytes,
                "kept_bytes": self.arena.kept_bytes,
                "basis": self.arena.basis,
            },
        }


def micro_model(content: bytes, name: str) -> MicroModel:
    """Prepare a TFLite file for TensorFlow Lite Micro.

    Parameters
    ----------
    content : bytes
    name : str
        Of the array and the files: a C identifier.

    Raises
    ------
    InputError
        `name` is no C identifier.
    UnsupportedError
        An operator has no kernel there.
    BundleError
        It is no TFLite file.
    """
    if not _IDENTIFIER.fullmatch(name):
        raise InputError(f"the name must be a C identifier, letters, digits and _; received {name!r}")
    graph = read_graph(content)
    operators, size = resolver(graph), arena(graph)
    return MicroModel(_header(name, content, operators, size), _source(name, content), operators, size, len(content))


def resolver(graph: Graph) -> tuple[str, ...]:
    """The resolver's methods for a graph's operators, sorted.

    Raises
    ------
    UnsupportedError
        An operator has no kernel in TensorFlow Lite Micro.
    """
    found = set()
    for operator in graph.operators:
        custom = operator.kind == "CUSTOM"
        known: Mapping[str, str] = MICRO_CUSTOM if custom else MICRO_KERNELS
        kind = operator.custom or "" if custom else operator.kind
        if kind not in known:
            raise UnsupportedError(
                f"TensorFlow Lite Micro has no kernel for {kind} ({operator.name!r}): choose a model without it, or "
                "leave it to the program behind the model"
            )
        found.add(known[kind])
    return tuple(sorted(found))


def arena(graph: Graph) -> Arena:
    """The arena of a graph on a 32-bit microcontroller."""
    buffers = aligned_buffers(activations(graph, scratch=_scratch), MICRO_ALIGNMENT)
    planned = plan(buffers, MICRO_ALIGNMENT, litert=False)
    kept = _INTERPRETER_BYTES + _TENSOR_BYTES * len(graph.tensors) + _OPERATOR_BYTES * len(graph.operators)
    for operator in graph.operators:
        kept += _KERNEL_BYTES
        if operator.kind in _PER_CHANNEL and operator.outputs[0].dtype in ("int8", "int16"):
            kept += _CHANNEL_BYTES * operator.outputs[0].shape[-1]
    size = -(-int((planned.size + kept) * (1 + _RESERVE)) // 1024) * 1024
    return Arena(planned.size, kept, size, planned)


def _scratch(operator: Operator) -> list[int]:
    """Memory that a reference kernel needs while it runs, besides its tensors."""
    if not operator.outputs:  # part of a model for the Ethos-U, which leaves its results in the memory of all parts
        return []
    result = operator.outputs[0]
    if operator.kind == "TRANSPOSE_CONV" and result.dtype in ("int8", "int16"):
        return [result.elements * (4 if result.dtype == "int8" else 8)]  # sums of 32 or 64 bits
    if operator.kind in ("MEAN", "SUM") and result.dtype in ("int8", "int16", "uint8"):
        return [4 * result.elements]
    return []


def overlaps(found: Plan) -> list[tuple[Buffer, Buffer]]:
    """Pairs of buffers that share memory while both are alive: none in a plan that is right."""
    placed = list(zip(found.offsets, found.buffers, strict=True))
    return [
        (one, other)
        for index, (start, one) in enumerate(placed)
        for begin, other in placed[index + 1 :]
        if one.meets(other) and start < begin + other.size and begin < start + one.size
    ]


# -- the files ---------------------------------------------------------------------------------------------------------


def _header(name: str, content: bytes, operators: tuple[str, ...], size: Arena) -> str:
    guard = f"{name.upper()}_H_"
    calls = "".join(f"//   resolver.{method}();\n" for method in operators)
    basis = "".join(f"// {line}\n" for line in _wrapped(f"Arena: {size.basis}."))
    # Constants of an enumeration are constants in C and in C++, as sizes of arrays and arguments of templates.
    return (
        f"// {len(content)} bytes of a TensorFlow Lite model, written by edgecv.\n"
        "//\n"
        f"//   tflite::MicroMutableOpResolver<{name}_operators> resolver;\n"
        f"{calls}"
        f"//   alignas(16) static uint8_t arena[{name}_arena_size];\n"
        "//\n"
        f"{basis}"
        f"#ifndef {guard}\n#define {guard}\n\n#include <stddef.h>\n#include <stdint.h>\n\n"
        '#ifdef __cplusplus\nextern "C" {\n#endif\n\n'
        f"extern const uint8_t {name}[];\n"
        f"extern const size_t {name}_size;\n"
        f"enum {{ {name}_arena_size = {size.size}, {name}_operators = {len(operators)} }};\n\n"
        "#ifdef __cplusplus\n}\n#endif\n\n"
        f"#endif  // {guard}\n"
    )


def _source(name: str, content: bytes) -> str:
    rows = [
        "  " + ", ".join(f"0x{byte:02x}" for byte in content[start : start + _BYTES_A_LINE]) + ",\n"
        for start in range(0, len(content), _BYTES_A_LINE)
    ]
    # The reader of the model takes 16-byte alignment for granted. C has a macro for it, C++ a word of its own.
    return (
        f'#include "{name}.h"\n\n#ifndef __cplusplus\n#include <stdalign.h>\n#endif\n\n'
        f"alignas(16) const uint8_t {name}[] = {{\n{''.join(rows)}}};\n"
        f"const size_t {name}_size = sizeof({name});\n"
    )


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 100)
