"""Layers that stay in float: with what every format computes together with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edgecv_export.quantize.graph import Graph
from edgecv_export.quantize.simulate import StoredTensors, check_names


def with_activations(model: Any, names: Iterable[str]) -> tuple[str, ...]:
    """The named layers and, behind a convolution, the activation that is part of it, in order of computation.

    Raises
    ------
    InputError
        A name that no layer has.
    """
    graph = Graph(model)
    wanted = set(names)
    check_names(graph, wanted, "float_layers")
    stored = StoredTensors(graph).names
    for step in graph.steps:
        if step.layer.name not in wanted:
            continue
        tensor = step.outputs[0]
        while tensor not in stored and (follower := graph.only_consumer(tensor)) is not None:
            wanted.add(follower.layer.name)
            tensor = follower.outputs[0]
    return tuple(dict.fromkeys(step.layer.name for step in graph.steps if step.layer.name in wanted))
