"""Fold batch normalisation into the layer before it, and split the final activation off.

``BN(W·x + b) = g·W·x + g·(b - μ) + β`` with ``g = γ / sqrt(σ² + ε)``: the float function is the same, one layer
fewer is quantized, and weights are rounded as they will be stored.

References
----------
Jacob et al. 2018, section 3.2 and eq. 14.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from edgecv_export.quantize.affine import FloatArray
from edgecv_export.quantize.graph import Graph, Step
from edgecv_export.quantize.kernels import activation_name, bias_of, channel_axes, has_kernel, kernel_of
from edgecv_export.quantize.rebuild import copy_layer, inline, rebuild_model


def fold_batch_norms(model: Any) -> Any:
    """A copy of a functional model in which every foldable batch normalisation is part of the layer before it.

    Foldable is a batch norm over the channels whose only input is a convolution or dense layer that is called once,
    has no activation, and feeds nothing else. Others stay.

    Parameters
    ----------
    model : keras.Model
        Channels last.

    Returns
    -------
    keras.Model
        The same function of the input; layers keep their names. The argument is not changed.

    Raises
    ------
    UnsupportedError
        The model is not functional.
    """
    graph = Graph(inline(model))
    folded = {id(step): batch_norm for step in graph.steps if (batch_norm := _foldable(graph, step)) is not None}
    swallowed = {id(step) for step in folded.values()}
    copies: dict[int, Any] = {}

    def rebuild(step: Step) -> Any:
        if id(step) in swallowed:
            return lambda tensor, **_: tensor
        if id(step) in folded:
            return _with_batch_norm(step.layer, folded[id(step)].layer)
        if id(step.layer) not in copies:
            copies[id(step.layer)] = copy_layer(step.layer)
        return copies[id(step.layer)]

    return rebuild_model(graph, rebuild)


def split_activation(model: Any, output: int = 0, known: Collection[str] = ("softmax", "sigmoid")) -> tuple[Any, str]:
    """Cut the softmax or sigmoid that ends one output off a model.

    Integer artefacts end at the logits: 256 levels of probability would tie classes that the logits tell apart.

    Parameters
    ----------
    model : keras.Model
    output : int
        Which of its outputs.
    known : collection of str
        Activations that the device can apply; others stay.

    Returns
    -------
    model : keras.Model
        Ending before the activation; the argument itself where there is none.
    activation : {"softmax", "sigmoid", "none"}
    """
    graph = Graph(inline(model))
    last = graph.producer(graph.outputs[output])
    name = _final_activation(last.layer) if last is not None else None
    if last is None or name is None or name not in known or graph.consumers(graph.outputs[output]):
        return graph.model, "none"
    if has_kernel(last.layer) and graph.calls(last.layer) != 1:
        return graph.model, "none"
    copies: dict[int, Any] = {}

    def rebuild(step: Step) -> Any:
        if step is last and not has_kernel(step.layer):
            return lambda tensor, **_: tensor
        if id(step.layer) not in copies:
            changes = {"activation": "linear"} if step is last else {}
            copies[id(step.layer)] = copy_layer(step.layer, **changes)
        return copies[id(step.layer)]

    return rebuild_model(graph, rebuild), name


def _foldable(graph: Graph, step: Step) -> Step | None:
    """The batch norm that can be folded into this step, if any."""
    layer = step.layer
    if not has_kernel(layer) or graph.calls(layer) != 1 or activation_name(layer) != "linear":
        return None
    follower = graph.only_consumer(step.outputs[0])
    if follower is None or type(follower.layer).__name__ != "BatchNormalization" or graph.calls(follower.layer) != 1:
        return None
    axis = follower.layer.axis
    rank = len(follower.layer.input.shape)
    return follower if axis in (-1, rank - 1) else None


def _with_batch_norm(layer: Any, batch_norm: Any) -> Any:
    """A copy of `layer` that does the batch norm's work too."""
    from keras import ops

    variance = ops.convert_to_numpy(batch_norm.moving_variance).astype(np.float64)
    mean = ops.convert_to_numpy(batch_norm.moving_mean).astype(np.float64)
    gamma = ops.convert_to_numpy(batch_norm.gamma) if batch_norm.scale else 1.0
    beta = ops.convert_to_numpy(batch_norm.beta) if batch_norm.center else 0.0
    gain = gamma / np.sqrt(variance + batch_norm.epsilon)
    kernel = kernel_of(layer)
    axes = channel_axes(layer)
    shape = [size if axis in axes else 1 for axis, size in enumerate(kernel.shape)]
    new_kernel: FloatArray = (kernel * gain.reshape(shape)).astype(np.float32)
    new_bias: FloatArray = ((bias_of(layer) - mean) * gain + beta).astype(np.float32)
    copy = type(layer).from_config({**layer.get_config(), "use_bias": True})
    copy.build(layer.input.shape)
    copy.set_weights([new_kernel, new_bias])
    return copy


def _final_activation(layer: Any) -> str | None:
    """``"softmax"`` or ``"sigmoid"`` where that is the last thing a layer does over its last axis."""
    kind = type(layer).__name__
    if kind == "Softmax":
        return "softmax" if layer.axis in (-1, len(layer.input.shape) - 1) else None
    if kind in ("Activation", "Dense", "Conv2D") and activation_name(layer) in ("softmax", "sigmoid"):
        return activation_name(layer)
    return None
