"""What happens to a pixel before the first layer with weights, brought into one place.

Some networks begin with layers that only scale and shift each channel (Rescaling, Normalization). Quantized one by one,
each rounds the image again; taken off the network and joined with the preprocessing, they become the grid of the
uint8 input, which costs nothing, or one 1×1 depthwise convolution.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgecv_export.quantize.graph import Graph, Step
from edgecv_export.quantize.rebuild import copy_layer, inline, rebuild_model

Channels = tuple[float, ...]


def peel_input_scaling(network: Any, mean: Channels, std: Channels) -> tuple[Any, Channels, Channels]:
    """Take leading per-channel scalings off a network and into ``(pixel - mean) / std``.

    Parameters
    ----------
    network : keras.Model
        One image input, channels last.
    mean, std : tuple of float, one per channel
        What its input is normalised with, in pixel units.

    Returns
    -------
    network : keras.Model
        Without those layers; the argument itself where there are none.
    mean, std : tuple of float
        The same function of the pixel, with the layers' work included. Values of `std` may be negative where a layer
        has a negative scale.
    """
    graph = Graph(network)
    scale, offset = 1 / np.array(std, np.float64), -np.array(mean, np.float64) / np.array(std, np.float64)
    tensor, peeled = graph.inputs[0], set()
    while (step := graph.only_consumer(tensor)) is not None and (affine := _affine(step.layer)) is not None:
        scale, offset = scale * affine[0], offset * affine[0] + affine[1]
        peeled.add(id(step))
        tensor = step.outputs[0]
    if not peeled:
        return network, mean, std
    copies: dict[int, Any] = {}

    def rebuild(step: Step) -> Any:
        if id(step) in peeled:
            return lambda value, **_: value
        if id(step.layer) not in copies:
            copies[id(step.layer)] = copy_layer(step.layer)
        return copies[id(step.layer)]

    new_mean, new_std = -offset / scale, 1 / scale
    return rebuild_model(graph, rebuild), tuple(new_mean.tolist()), tuple(new_std.tolist())


def with_scaling_layer(network: Any, mean: Channels, std: Channels, name: str) -> Any:
    """The network behind a 1×1 depthwise convolution that normalises pixels 0..255, each channel in its own way.

    Per-channel weights make it exact in int8: the one weight of a channel is 127 times its own scale.
    """
    import keras

    image = keras.Input(network.inputs[0].shape[1:], name=name)
    layer = keras.layers.DepthwiseConv2D(1, name="normalize")
    normalized = layer(image)
    scale = 1 / np.array(std, np.float64)
    layer.set_weights([scale.reshape(1, 1, -1, 1), -np.array(mean, np.float64) * scale])
    return inline(keras.Model(image, network(normalized), name=network.name))


def _affine(layer: Any) -> tuple[Any, Any] | None:
    """Scale and offset of a layer that treats every pixel alike, each a number or one per channel; else None."""
    from keras import ops

    if type(layer).__name__ == "Rescaling":
        scale, offset = np.asarray(layer.scale, np.float64), np.asarray(layer.offset, np.float64)
    elif type(layer).__name__ == "Normalization" and not layer.invert and layer.axis in ((-1,), (3,), -1, 3):
        mean = np.asarray(ops.convert_to_numpy(layer.mean), np.float64).reshape(-1)
        deviation = np.sqrt(np.asarray(ops.convert_to_numpy(layer.variance), np.float64)).reshape(-1)
        deviation = np.maximum(deviation, 1e-7)  # as the layer itself does
        scale, offset = 1 / deviation, -mean / deviation
    else:
        return None
    if scale.ndim > 1 or offset.ndim > 1 or not np.all(scale != 0):
        return None
    return scale, offset
