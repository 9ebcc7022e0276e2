"""Layers that compute places in the picture: at no precision are their numbers rounded to 8 or 16 bits.

A coordinate in 8 bits is a place to the nearest few pixels, and a suppression compares overlaps of such places. The
layers say it of themselves (`edgecv.layers.proposals`, `roi` and `roi_heads`), by their attribute ``exact``.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


def exact_layers(model: Any) -> tuple[str, ...]:
    """Names of the layers of a Keras model that stay in float32, in its order."""
    return tuple(layer.name for layer in model.layers if getattr(layer, "exact", False))


def decides(layer: Any) -> bool:
    """Whether a layer chooses rows: two networks that differ in last digits then give them in another order."""
    return bool(getattr(layer, "decides", False))


def with_nodes_between(graph: Any, names: Collection[str]) -> list[str]:
    """Names of ONNX nodes, and of those without a name of a layer that lie between them alone.

    A converter puts changes of layout and type between the nodes of a layer, and does not name them after it.

    Parameters
    ----------
    graph : onnx.GraphProto
        Sorted.
    names : collection of str
    """
    kept = set(names)
    producers = {name: node.name for node in graph.node for name in node.output}
    readers: dict[str, list[str]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node.name)
    behind, before = set(kept), set(kept)
    for node in graph.node:
        makers = [producers[name] for name in node.input if name in producers]
        if "/" not in node.name and makers and behind.issuperset(makers):
            behind.add(node.name)
    for node in reversed(graph.node):
        users = [user for name in node.output for user in readers.get(name, ())]
        if "/" not in node.name and users and before.issuperset(users):
            before.add(node.name)
    return [node.name for node in graph.node if node.name in behind & before]
