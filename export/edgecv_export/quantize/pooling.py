"""Averages over the whole map as what they are: a mean.

TFLite gives the output of an average pooling the range of its input; a mean gets its own. An average is much narrower
than what it is taken of: with the range of its input it loses several of its eight bits.
"""

from __future__ import annotations

from typing import Any

from edgecv_export.quantize.graph import Graph, Step
from edgecv_export.quantize.rebuild import copy_layer, rebuild_model


def with_global_pooling(model: Any) -> Any:
    """A copy of a model whose average poolings over the whole map are global ones: the same function.

    Parameters
    ----------
    model : keras.Model
        Functional, channels last.

    Returns
    -------
    keras.Model
        The argument itself where there is nothing to replace; layers keep their names.
    """
    import keras

    graph = Graph(model)
    if not any(_is_global(step.layer) for step in graph.steps):
        return model
    copies: dict[int, Any] = {}

    def rebuild(step: Step) -> Any:
        if id(step.layer) not in copies:
            layer = step.layer
            copies[id(layer)] = (
                keras.layers.GlobalAveragePooling2D(keepdims=True, name=layer.name)
                if _is_global(layer) and graph.calls(layer) == 1
                else copy_layer(layer)
            )
        return copies[id(step.layer)]

    return rebuild_model(graph, rebuild)


def _is_global(layer: Any) -> bool:
    """Whether a layer is an average over exactly its whole input map."""
    return (
        type(layer).__name__ == "AveragePooling2D"
        and layer.data_format == "channels_last"
        and tuple(layer.input.shape[1:3]) == tuple(layer.pool_size)
        and tuple(layer.output.shape[1:3]) == (1, 1)
    )
