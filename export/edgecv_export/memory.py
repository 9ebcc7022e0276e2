"""How much memory a model's activations take: who is alive when, and where each one goes in an arena.

The planner is greedy by size (Pisarchyk & Lee 2020, "Efficient Memory Management for Deep Neural Net Inference",
section 5.2): the largest tensor first, each into a gap between those that live at the same time. TensorFlow Lite takes
the smallest gap that is large enough, TensorFlow Lite Micro the first; both are here.

Sizes are those of TensorFlow Lite's own kernels. XNNPACK, which LiteRT uses on CPUs by default, plans the layers that
it takes over in memory of its own, which no interface tells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgecv_export.tflite_graph import Graph, Operator, Tensor
from edgecv_runtime._require import require

LITERT_ALIGNMENT = 64
MICRO_ALIGNMENT = 16


@dataclass(frozen=True)
class Buffer:
    """Memory that is needed for a while.

    Attributes
    ----------
    name : str
    size : int
        Bytes.
    first, last : int
        Operators, by number, from which and until which it holds what is needed.
    tensor : int or None
        The tensor; None for memory that an operator needs while it runs.
    """

    name: str
    size: int
    first: int
    last: int
    tensor: int | None = None

    def meets(self, other: Buffer) -> bool:
        """Whether both are alive at one time."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Plan:
    """Where each buffer goes.

    Attributes
    ----------
    buffers : tuple of Buffer
    offsets : tuple of int
        Bytes from the start of the arena, in the order of `buffers`.
    size : int
        Bytes of the arena.
    """

    buffers: tuple[Buffer, ...]
    offsets: tuple[int, ...]
    size: int


@dataclass(frozen=True)
class Memory:
    """What a model takes while it runs.

    Attributes
    ----------
    peak_bytes : int
        Most of the activations that are alive at once, with those that LiteRT writes over another counted once: no
        plan of its own can take less.
    peak_operator : int
        The operator at which that is.
    arena_bytes : int
        What LiteRT's planner takes for them, with the memory that its kernels ask for.
    weight_bytes : int
    """

    peak_bytes: int
    peak_operator: int
    arena_bytes: int
    weight_bytes: int


def measure(graph: Graph, threads: int = 1) -> Memory:
    """Memory of a graph on a CPU.

    Parameters
    ----------
    graph : Graph
    threads : int
        With several, float convolutions need no copy of their windows.
    """
    peak, at = peak_of(activations(graph, aliases=in_place(graph)))
    arena = plan(litert_buffers(graph, threads), LITERT_ALIGNMENT)
    return Memory(peak, at, arena.size, graph.weight_bytes)


def litert_buffers(graph: Graph, threads: int = 1) -> tuple[Buffer, ...]:
    """What LiteRT's own planner is asked to place."""
    return activations(graph, keep_inputs=True, aliases=in_place(graph), scratch=litert_scratch(threads))


def litert_arena(content: bytes) -> int:
    """Bytes that a TFLite file really takes: from the first to the last activation in LiteRT's arena.

    By the addresses of its tensors, since no interface tells the arena's size; without XNNPACK, as in `measure`.

    Parameters
    ----------
    content : bytes

    Raises
    ------
    MissingPackageError
        LiteRT is not installed.
    """
    library = require("ai_edge_litert.interpreter", install="edgecv-runtime[litert]", purpose="measuring its arena")
    interpreter = library.Interpreter(
        model_content=content,
        num_threads=1,
        experimental_op_resolver_type=library.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    placed = {int(detail["index"]) for detail in interpreter.get_input_details()}
    placed |= _computed_at_run_time(placed, interpreter._get_ops_details())
    views = [view for index in sorted(placed) if isinstance(view := interpreter.tensor(index)(), np.ndarray)]
    return int(max(view.ctypes.data + view.nbytes for view in views) - min(view.ctypes.data for view in views))


def _computed_at_run_time(inputs: set[int], operators: Iterable[Mapping[str, Any]]) -> set[int]:
    """Outputs of operators that depend on the inputs: what does not, LiteRT computes beforehand and keeps elsewhere."""
    found: set[int] = set()
    for operator in operators:
        if (inputs | found).intersection(map(int, operator["inputs"])):
            found.update(map(int, operator["outputs"]))
    return found


# -- lifetimes ---------------------------------------------------------------------------------------------------------


def activations(
    graph: Graph,
    *,
    keep_inputs: bool = False,
    aliases: Mapping[int, int] | None = None,
    scratch: Callable[[Operator], Iterable[int]] | None = None,
    size_of: Callable[[Tensor], int] | None = None,
) -> tuple[Buffer, ...]:
    """Everything that is computed, from the operator that writes it to the last that reads it.

    Parameters
    ----------
    graph : Graph
    keep_inputs : bool
        Whether the graph's inputs stay until the end, as LiteRT keeps them.
    aliases : mapping of int to int, optional
        Tensors that lie in the memory of another.
    scratch : callable, optional
        Sizes of the memory that an operator needs while it runs.
    size_of : callable, optional
        Bytes of a tensor; default: as stored.
    """
    end = len(graph.operators) - 1
    bytes_of = size_of or (lambda tensor: tensor.nbytes)
    first = {tensor.index: 0 for tensor in graph.inputs}
    last = {tensor.index: end if keep_inputs else 0 for tensor in graph.inputs}
    for operator in graph.operators:
        for tensor in operator.outputs:
            first.setdefault(tensor.index, operator.index)
            last[tensor.index] = max(last.get(tensor.index, 0), operator.index)
        for given in operator.inputs:
            if given is None or given.constant:
                continue
            # What nobody writes is memory that an operator works in, as that of a compiled graph does.
            first.setdefault(given.index, operator.index)
            last[given.index] = max(last.get(given.index, 0), operator.index)
    for tensor in graph.outputs:
        if tensor.index in first:
            last[tensor.index] = end
    for index, host in (aliases or {}).items():
        first[host] = min(first[host], first[index])
        last[host] = max(last[host], last[index])
        del first[index]
    found = [
        Buffer(graph.tensors[index].name, size, start, last[index], index)
        for index, start in first.items()
        if (size := bytes_of(graph.tensors[index]))
    ]
    if scratch is not None:
        for operator in graph.operators:
            found += [
                Buffer(f"{operator.name} scratch", size, operator.index, operator.index) for size in scratch(operator)
            ]
    return tuple(found)


# Operators whose output may take the place of an input; the first ones leave the values as they are.
_MOVING = frozenset({"RESHAPE", "EXPAND_DIMS", "SQUEEZE"})
_ELEMENTWISE = frozenset({"ADD", "SUB", "MUL", "DIV"})


def in_place(graph: Graph) -> dict[int, int]:
    """Tensors that LiteRT writes over another that nobody else needs, and that one: the first of a chain."""
    readers: dict[int, int] = {}
    for operator in graph.operators:
        for given in operator.inputs:
            if given is not None:
                readers[given.index] = readers.get(given.index, 0) + 1
    fixed = {tensor.index for tensor in (*graph.inputs, *graph.outputs)}
    found: dict[int, int] = {}
    for operator in graph.operators:
        if operator.kind not in _MOVING | _ELEMENTWISE or operator.outputs[0].index in fixed:
            continue
        result = operator.outputs[0]
        for given in operator.inputs[: 1 if operator.kind in _MOVING else 2]:
            if given is None or given.constant or given.index in fixed or given.nbytes != result.nbytes:
                continue
            if readers[given.index] == 1:
                found[result.index] = found.get(given.index, given.index)
                break
    return found


def peak_of(buffers: Sequence[Buffer]) -> tuple[int, int]:
    """The largest sum of sizes that is alive at once, and the operator at which it is."""
    change: dict[int, int] = {}
    for buffer in buffers:
        change[buffer.first] = change.get(buffer.first, 0) + buffer.size
        change[buffer.last + 1] = change.get(buffer.last + 1, 0) - buffer.size
    alive, peak, at = 0, 0, 0
    for index in sorted(change):
        alive += change[index]
        if alive > peak:
            peak, at = alive, index
    return peak, at


# -- greedy by size ----------------------------------------------------------------------------------------------------


def plan(buffers: Sequence[Buffer], alignment: int, *, litert: bool = True) -> Plan:
    """Place buffers in an arena, the largest first.

    Parameters
    ----------
    buffers : sequence of Buffer
    alignment : int
        Offsets are multiples of so many bytes.
    litert : bool
        As TensorFlow Lite does it: what lives from beginning to end comes before all others, and each goes into the
        smallest gap that is large enough. Else as its Micro does it: by size alone, into the first gap.
    """
    end = max((buffer.last for buffer in buffers), default=0)

    def rank(index: int) -> tuple[bool, int, int, int]:
        buffer = buffers[index]
        # Equal sizes go by time: a plan must not depend on chance.
        return not (litert and buffer.first == 0 and buffer.last == end), -buffer.size, buffer.first, index

    order = sorted(range(len(buffers)), key=rank)
    placed: list[tuple[int, Buffer]] = []
    offsets = [0] * len(buffers)
    for index in order:
        buffer = buffers[index]
        taken = sorted((offset, other.size) for offset, other in placed if other.meets(buffer))
        offsets[index] = _place(buffer.size, taken, alignment, best_fit=litert)
        placed.append((offsets[index], buffer))
    size = max((offset + buffer.size for offset, buffer in placed), default=0)
    return Plan(tuple(buffers), tuple(offsets), size)


def _place(size: int, taken: Sequence[tuple[int, int]], alignment: int, *, best_fit: bool) -> int:
    """An offset for `size` bytes between the (offset, size) that are taken, in order."""
    best, smallest, start = None, math.inf, 0
    for offset, length in taken:
        gap = offset - start
        if gap >= size and gap < smallest:
            best, smallest = start, gap
            if not best_fit:
                break
        start = max(start, _aligned(offset + length, alignment))
    return start if best is None else best


def _aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


# -- what LiteRT's kernels ask for -------------------------------------------------------------------------------------


# Where a convolution's weights say how large its window is, with its channels and without.
_WINDOWS = {"CONV_2D": slice(1, None), "CONV_3D": slice(None, 4)}
_SIDES = {"CONV_2D": slice(1, 3), "CONV_3D": slice(None, 3)}


def litert_scratch(threads: int = 1) -> Callable[[Operator], list[int]]:
    """The memory that LiteRT's own kernels need while they run, by operator.

    A convolution copies its windows into a matrix unless its kernel is 1×1 and its stride 1 (in two dimensions and
    float, with one thread only).
    """

    def sizes(operator: Operator) -> list[int]:
        image, weights = operator.input(0), operator.input(1)
        if operator.kind not in _WINDOWS or image is None or weights is None:
            return []
        window, sides = weights.shape[_WINDOWS[operator.kind]], weights.shape[_SIDES[operator.kind]]
        steps = [value for name, value in operator.options.items() if name.startswith(("stride_", "dilation_"))]
        if {*sides, *steps} <= {1}:
            return []
        if operator.kind == "CONV_2D" and image.dtype == "float32" and threads != 1:
            return []
        return [math.prod(operator.outputs[0].shape[:-1]) * math.prod(window) * image.itemsize]

    return sizes


def aligned_buffers(buffers: Iterable[Buffer], alignment: int) -> tuple[Buffer, ...]:
    """The same with sizes rounded up."""
    return tuple(replace(buffer, size=_aligned(buffer.size, alignment)) for buffer in buffers)
