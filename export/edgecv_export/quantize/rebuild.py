"""Copying functional models: layer by layer, with changes, and with nested models laid open."""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import count
from typing import Any

from edgecv_export.quantize.graph import Graph, Step, bare, functional


def copy_layer(layer: Any, **changes: Any) -> Any:
    """A layer of the same configuration (but for `changes`) and the same weights, under the same name."""
    config = {**layer.get_config(), **changes}
    copy = type(layer).from_config(config)
    if getattr(layer, "weights", None) and layer.built:  # an operation (x + y) has no weights
        build_config = layer.get_build_config()
        if build_config and not copy.built:
            copy.build_from_config(build_config)
        copy.set_weights(layer.get_weights())
        if hasattr(copy, "finalize_state"):  # Normalization computes with what it derives from its weights
            copy.finalize_state()
    return copy


def rebuild_model(graph: Graph, layer_for: Callable[[Step], Any]) -> Any:
    """Build a new functional model by calling ``layer_for(step)`` in place of each step's layer."""
    import keras

    model = graph.model
    new_inputs = [
        keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name) for tensor in model.inputs
    ]
    values: dict[int, Any] = dict(zip(graph.inputs, new_inputs, strict=True))
    for step in graph.steps:
        result = step.call_with(layer_for(step), values)
        for tensor, value in zip(step.outputs, keras.tree.flatten(result), strict=True):
            values[tensor] = value
    return keras.Model(bare(new_inputs), bare([values[tensor] for tensor in graph.outputs]), name=model.name)


def inline(model: Any) -> Any:
    """The model with every nested functional model replaced by a copy of its layers.

    A backbone used as one layer of a larger model hides its layers from the transforms; laid open, they are found.
    Layers of two nested models that share a name are numbered. Without a nested model, the argument itself.

    Raises
    ------
    UnsupportedError
        A nested model is subclassed.
    """
    import keras

    model = functional(model)
    if not any(isinstance(step.layer, keras.Model) for step in Graph(model).steps):
        return model
    copies: dict[int, Any] = {}
    return rebuild_model(Graph(model), lambda step: _opened(step.layer, copies))


def _opened(layer: Any, copies: dict[int, Any]) -> Callable[..., Any]:
    """A copy of a layer; for a model, a function that calls copies of its layers."""
    import keras

    if not isinstance(layer, keras.Model):
        if id(layer) not in copies:
            copies[id(layer)] = _copy_under_free_name(layer, {copy.name for copy in copies.values()})
        copied: Callable[..., Any] = copies[id(layer)]
        return copied
    graph = Graph(layer)

    def call(inputs: Any, **_: Any) -> Any:
        values = dict(zip(graph.inputs, keras.tree.flatten(inputs), strict=True))
        for step in graph.steps:
            result = step.call_with(_opened(step.layer, copies), values)
            values |= zip(step.outputs, keras.tree.flatten(result), strict=True)
        return bare([values[tensor] for tensor in graph.outputs])

    return call


def _copy_under_free_name(layer: Any, taken: Collection[str]) -> Any:
    if layer.name not in taken:
        return copy_layer(layer)
    numbered = (f"{layer.name}_{index}" for index in count(1))
    return copy_layer(layer, name=next(name for name in numbered if name not in taken))
