"""The same model, the same bytes: an ONNX graph in an order and under names that follow from its content alone.

tf2onnx orders nodes by their addresses in memory and numbers new names with a counter that goes on from call to call.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from edgecv_export.formats.layer_names import shortened


def stabilise(model: Any) -> None:
    """Sort the nodes by the computation of the outputs, and name what lies between inputs and outputs after them.

    Nodes keep their names but for tf2onnx's numbers. A model with inner graphs (If, Loop), whose tensors may be those
    of the outer one, stays as it is.
    """
    graph = model.graph
    if any(attribute.HasField("g") or attribute.graphs for node in graph.node for attribute in node.attribute):
        return
    nodes = in_order(graph)
    fixed = {value.name for value in (*graph.input, *graph.output)} | {""}
    names = {name: name for name in fixed}
    constants = {tensor.name for tensor in graph.initializer} - fixed
    taken: Counter[str] = Counter()
    for node in nodes:
        node.name = _unique(shortened(re.sub(r"__\d+", "", node.name)) or node.op_type, taken)
        for index, name in enumerate(node.input):
            if name in constants:
                names.setdefault(name, f"{node.name}/{index}")
        for index, name in enumerate(node.output):
            names.setdefault(name, f"{node.name}:{index}")
    for node in nodes:
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [names[name] for name in node.output]
    used = [tensor for tensor in graph.initializer if tensor.name in names]
    for entry in (*used, *graph.value_info):
        entry.name = names.get(entry.name, entry.name)
    replace_nodes(graph, nodes)
    _replace(graph.initializer, sorted(used, key=lambda tensor: tensor.name))
    _replace(graph.value_info, sorted(graph.value_info, key=lambda value: value.name))


def in_order(graph: Any) -> list[Any]:
    """The nodes that the outputs need, each behind those that it needs itself, in the order of its inputs."""
    producer = {name: node for node in graph.node for name in node.output}
    done: set[int] = set()
    nodes = []
    waiting = [(producer[value.name], False) for value in reversed(graph.output) if value.name in producer]
    while waiting:
        node, ready = waiting.pop()
        if id(node) in done:
            continue
        if ready:
            done.add(id(node))
            nodes.append(node)
            continue
        waiting.append((node, True))
        waiting.extend((producer[name], False) for name in reversed(node.input) if name in producer)
    return nodes


def _unique(name: str, taken: Counter[str]) -> str:
    taken[name] += 1
    return name if taken[name] == 1 else _unique(f"{name}_{taken[name]}", taken)


def replace_nodes(graph: Any, nodes: list[Any]) -> None:
    """Let a graph have these nodes."""
    _replace(graph.node, nodes)


def _replace(field: Any, entries: list[Any]) -> None:
    kept = [type(entry).FromString(entry.SerializeToString()) for entry in entries]
    del field[:]
    field.extend(kept)
