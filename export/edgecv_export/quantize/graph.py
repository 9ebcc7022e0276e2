"""Walking a functional Keras model, layer by layer, in the order of its computation.

Keras 3 keeps the graph of a functional model in the nodes of its operations; this file is the only place that
touches them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from edgecv_runtime.errors import UnsupportedError


@dataclass(frozen=True)
class Step:
    """One call of one layer.

    Attributes
    ----------
    layer : keras.Layer or keras.Operation
    inputs, outputs : tuple of int
        Identities of the symbolic tensors it takes and gives.
    call_with : callable
        ``call_with(function, values)`` calls `function` as the layer was called, with the values that a mapping
        from tensor identity to value gives, and returns its outputs.
    """

    layer: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    call_with: Callable[[Callable[..., Any], dict[int, Any]], Any]

    def call(self, values: dict[int, Any]) -> Any:
        """Run the layer itself."""
        return self.call_with(self.layer, values)


class Graph:
    """The computation of a functional model as a list of steps.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential, built.

    Raises
    ------
    UnsupportedError
        A subclassed model, whose graph is not known.
    """

    def __init__(self, model: Any) -> None:
        model = functional(model)
        self.model = model
        self.inputs = tuple(id(tensor) for tensor in model.inputs)
        self.outputs = tuple(id(tensor) for tensor in model.outputs)
        self.steps = tuple(_steps(model))
        self._consumers: dict[int, list[Step]] = {}
        for step in self.steps:
            for tensor in step.inputs:
                self._consumers.setdefault(tensor, []).append(step)
        self._producer = {tensor: step for step in self.steps for tensor in step.outputs}

    def consumers(self, tensor: int) -> list[Step]:
        """The steps that take a tensor."""
        return self._consumers.get(tensor, [])

    def producer(self, tensor: int) -> Step | None:
        """The step that gives a tensor; None for an input of the model."""
        return self._producer.get(tensor)

    def only_consumer(self, tensor: int) -> Step | None:
        """The one step that takes a tensor, or None where there are several, none, or it is an output."""
        consumers = self.consumers(tensor)
        return consumers[0] if len(consumers) == 1 and tensor not in self.outputs else None

    def calls(self, layer: Any) -> int:
        """How often a layer is called: more than once where its weights are shared."""
        return sum(step.layer is layer for step in self.steps)


def functional(model: Any) -> Any:
    """The functional model behind a built Sequential one; a functional model itself.

    Raises
    ------
    UnsupportedError
        The model is subclassed: its layers cannot be walked; or it is Sequential and has no input shape.
    """
    import keras

    if isinstance(model, keras.Sequential):
        if not hasattr(model, "inputs"):
            raise UnsupportedError(f"{model.name!r} has no input shape yet: begin it with keras.Input(shape)")
        return keras.Model(bare(model.inputs), bare(model.outputs), name=model.name)
    if not hasattr(model, "_nodes_by_depth"):
        raise UnsupportedError(
            f"a functional or Sequential Keras model is required; {model.name!r} is a subclass of keras.Model: "
            "build it with keras.Model(inputs, outputs)"
        )
    return model


def bare(tensors: list[Any]) -> Any:
    """The tensor itself where there is one: a model made of a list would warn each time it is given a tensor."""
    return tensors[0] if len(tensors) == 1 else tensors


def _steps(model: Any) -> Iterator[Step]:
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if node.is_input:
                continue
            yield Step(
                layer=node.operation,
                inputs=tuple(id(tensor) for tensor in node.input_tensors),
                outputs=tuple(id(tensor) for tensor in node.outputs),
                call_with=_caller(node),
            )


def _caller(node: Any) -> Callable[[Callable[..., Any], dict[int, Any]], Any]:
    def call_with(function: Callable[..., Any], values: dict[int, Any]) -> Any:
        arguments, options = node.arguments.fill_in(values)
        if "training" in options:
            options = {**options, "training": False}
        return function(*arguments, **options)

    return call_with
