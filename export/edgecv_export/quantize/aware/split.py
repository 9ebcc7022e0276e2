"""Activations that no integer kernel fuses become layers of their own."""

from __future__ import annotations

from typing import Any

from edgecv_export.quantize.graph import Graph, Step
from edgecv_export.quantize.kernels import activation_name, has_kernel
from edgecv_export.quantize.rebuild import copy_layer, rebuild_model

_FUSED = frozenset({"linear", "relu", "relu6"})


def split_unfused_activations(model: Any) -> Any:
    """A copy in which the input of every unfused activation is the output of a layer, and so has a name.

    ``Conv2D("a", activation="swish")`` becomes ``Conv2D("a")`` and ``Activation("a_swish")``: an artefact stores both
    outputs in 8 bits.

    Parameters
    ----------
    model : keras.Model
        Functional.

    Returns
    -------
    keras.Model
        The same function; the argument itself where there is nothing to split.
    """
    import keras

    graph = Graph(model)
    if not split_names(model):
        return model
    copies: dict[int, Any] = {}
    activations: dict[int, Any] = {}

    def rebuild(step: Step) -> Any:
        layer = step.layer
        key = id(layer)
        if key not in copies:
            copies[key] = copy_layer(layer, **({"activation": "linear"} if _splits(layer) else {}))
            if _splits(layer):
                activations[key] = keras.layers.Activation(layer.activation, name=_name(layer))
        if key not in activations:
            return copies[key]
        return lambda value, **options: activations[key](copies[key](value, **options))

    return rebuild_model(graph, rebuild)


def split_names(model: Any) -> dict[str, str]:
    """Names of the layers that are split, and of the activations split off: what goes for an output goes for those."""
    return {step.layer.name: _name(step.layer) for step in Graph(model).steps if _splits(step.layer)}


def _name(layer: Any) -> str:
    return f"{layer.name}_{activation_name(layer)}"


def _splits(layer: Any) -> bool:
    return has_kernel(layer) and activation_name(layer) not in _FUSED
