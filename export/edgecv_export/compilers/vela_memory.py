"""The SRAM that Vela's schedule will take, told from the graph alone.

Feature maps are alive from the operator that writes them to the last that reads them. Those between convolutions lie
in bricks of 16 channels (the Ethos-U's NHCWB16 format), those that tables or other shapes touch lie as they are. The
weights of a convolution are fetched while the operator before it runs, where they fit beside the feature maps there
without going beyond the largest of these, and where that operator takes long enough. Read from the allocations that
Vela 5.2 reports, and compared with them by the tests.

Where SRAM is a cache, `vela_cache` tells which feature maps it holds.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from edgecv_export.compilers.vela import Options
from edgecv_export.compilers.vela_cache import Schedule, has_time
from edgecv_export.memory import Buffer, activations, peak_of
from edgecv_export.tflite_graph import Graph, Operator, Tensor

BRICK = 16
_SMALL_SHARE = 0.05  # weights so small beside the feature maps are fetched in any case
_SCALE_BYTES = 10  # a bias and its rescaling factor, packed for each output channel

_TABLES = frozenset({"TANH", "LOGISTIC", "HARD_SWISH", "LEAKY_RELU", "EXP", "LOG", "GELU", "ELU", "RSQRT"})
_VIEWS = frozenset({"RESHAPE", "EXPAND_DIMS", "SQUEEZE"})
_BUFFERED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"})
_ELEMENTWISE = frozenset({"ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM"})

# Memory modes in which feature maps lie in another memory, and SRAM is a cache of a given size.
_CACHES = {
    "Dedicated_Sram": math.inf,
    "Dedicated_Sram_256KB": 256 * 1024,
    "Dedicated_Sram_384KB": 384 * 1024,
    "Dedicated_Sram_512KB": 512 * 1024,
}


def predict_sram(graph: Graph, options: Options, on_cpu: Collection[int] = ()) -> int:
    """Bytes of SRAM that the compiled model will take.

    Parameters
    ----------
    graph : Graph
        In int8.
    options : Options
    on_cpu : collection of int
        Operators that fall back: their tensors lie as they are.
    """
    limit = options.arena_cache_size or _CACHES.get(options.memory, math.inf)
    if options.memory not in _CACHES or math.isinf(limit):
        return int(min(limit, predict_arena(graph, on_cpu)))
    return _in_cache(graph, options, on_cpu, int(limit))


def _in_cache(graph: Graph, options: Options, on_cpu: Collection[int], limit: int) -> int:
    """What is taken of a cache that not everything fits into."""
    plain, aliases = _plain(graph, on_cpu), _aliases(graph)
    maps = activations(graph, aliases=aliases, size_of=lambda tensor: _size(tensor, plain))
    outside = {aliases.get(tensor.index, tensor.index) for tensor in (*graph.inputs, *graph.outputs)}
    inside = [one for one in maps if one.tensor not in outside]
    schedule = Schedule(
        graph,
        inside,
        outside=[one for one in maps if one.tensor in outside],
        weights=_weight_sizes(graph, on_cpu),
        sizes={tensor.index: _size(tensor, plain) for tensor in graph.tensors},
        aliases=aliases,
        alone={*on_cpu, *(_reading_pixels(graph, aliases) if options.family == "u85" else ())},
        limit=limit,
        patient=options.family == "u65",
    )
    found = schedule.peak()
    return limit if found is None else found


def _reading_pixels(graph: Graph, aliases: Mapping[int, int]) -> list[int]:
    """Convolutions that read unsigned pixels: on the U85 their activation is an operator of its own behind them."""
    pixels = {tensor.index for tensor in graph.inputs if tensor.dtype == "uint8"}
    return [
        operator.index for operator in graph.operators
        if operator.fused_activation and any(
            aliases.get(given.index, given.index) in pixels for given in operator.inputs if given is not None
        )
    ]  # fmt: skip


def predict_arena(graph: Graph, on_cpu: Collection[int] = ()) -> int:
    """Bytes of all feature maps and weight buffers that are alive at once, wherever they lie."""
    plain = _plain(graph, on_cpu)
    maps = activations(graph, aliases=_aliases(graph), size_of=lambda tensor: _size(tensor, plain))
    return peak_of([*maps, *_weight_buffers(graph, maps, on_cpu)])[0]


def _plain(graph: Graph, on_cpu: Collection[int]) -> set[int]:
    """Tensors that are not in bricks."""
    found = {tensor.index for tensor in (*graph.inputs, *graph.outputs)}
    for operator in graph.operators:
        if operator.kind in _TABLES | _VIEWS | {"QUANTIZE"} or operator.index in on_cpu:
            found |= {tensor.index for tensor in (*operator.inputs, *operator.outputs) if tensor is not None}
    return found


def _size(tensor: Tensor, plain: Collection[int]) -> int:
    if len(tensor.shape) != 4 or tensor.index in plain:
        return tensor.nbytes
    return tensor.nbytes // tensor.shape[3] * (-(-tensor.shape[3] // BRICK) * BRICK)


def _aliases(graph: Graph) -> dict[int, int]:
    """Tensors that Vela puts in the place of another.

    Views, tables, sums, a change of sign of the pixels; and what is only read to be joined with others is written to
    its part of the whole.
    """
    readers: dict[int, int] = {}
    for operator in graph.operators:
        for given in operator.inputs:
            if given is not None:
                readers[given.index] = readers.get(given.index, 0) + 1
    computed = {tensor.index for operator in graph.operators for tensor in operator.outputs}
    computed |= {tensor.index for tensor in graph.inputs}
    found: dict[int, int] = {}
    for operator in graph.operators:
        if operator.kind == "CONCATENATION":
            # A chain of tensors in one place moves along with its first.
            whole = operator.outputs[0].index
            parts = {part.index for part in operator.inputs if part is not None and part.index in computed}
            inside = {found.get(part, part) for part in parts if readers[part] == 1}
            found |= {tensor: whole for tensor, host in found.items() if host in inside}
            found |= dict.fromkeys(inside, whole)
            continue
        for given in operator.inputs:
            if given is not None and given.index in computed and _in_place(operator, given, readers):
                found[operator.outputs[0].index] = found.get(given.index, given.index)
                break
    return found


def _in_place(operator: Operator, given: Tensor, readers: Mapping[int, int]) -> bool:
    if operator.kind in _VIEWS:
        return True
    if readers[given.index] > 1 or given.nbytes != operator.outputs[0].nbytes:
        return False
    if operator.kind == "QUANTIZE":
        # From uint8 to int8 with the same scale: the first convolution reads the pixels, as Vela arranges it where the
        # middle of the range is zero. Elsewhere it converts them beforehand.
        return given.scales == operator.outputs[0].scales and operator.outputs[0].zero_points == (0,)
    return operator.kind in _TABLES | _ELEMENTWISE


def _weight_buffers(graph: Graph, maps: tuple[Buffer, ...], on_cpu: Collection[int]) -> list[Buffer]:
    alive = {
        operator.index: sum(buffer.size for buffer in maps if buffer.first <= operator.index <= buffer.last)
        for operator in graph.operators
    }
    room, found = max(alive.values(), default=0), []
    for at, size in _weight_sizes(graph, on_cpu).items():
        fits = size <= alive[at] and (alive[at] + size <= room or size <= _SMALL_SHARE * alive[at])
        if fits and has_time(graph, at, size):
            found.append(Buffer(f"{graph.operators[at].name} weights", size, max(0, at - 1), at))
    return found


def _weight_sizes(graph: Graph, on_cpu: Collection[int]) -> dict[int, int]:
    """Bytes of the weights of each convolution, with its biases and rescaling factors."""
    return {
        operator.index: weights.nbytes + _SCALE_BYTES * operator.outputs[0].shape[3]
        for operator in graph.operators
        if operator.kind in _BUFFERED and operator.index not in on_cpu and (weights := operator.input(1)) is not None
    }
