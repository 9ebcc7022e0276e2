"""Normalisation that an ONNX file begins with, taken off it and joined with that of the pixels.

Some trainers write ``(x − mean) · scale`` into the graph. Quantized one by one the two would round the image twice;
joined with the preprocessing they become the grid of the uint8 input, which costs nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.models.registry import Preprocessing

Channels = npt.NDArray[np.float64]


def peel_input_scaling(model: Any, preprocessing: Preprocessing, channels_first: bool) -> tuple[Any, Preprocessing]:
    """Take leading additions and multiplications by constants off a model, and into ``(pixel - mean) / std``.

    Parameters
    ----------
    model : onnx.ModelProto
        One image input.
    preprocessing : Preprocessing
    channels_first : bool
        Whether the input is (N, C, H, W), else (N, H, W, C).

    Returns
    -------
    model : onnx.ModelProto
        The argument itself where there is nothing to take off; else a copy.
    preprocessing : Preprocessing
        With the same function of the pixel. Values of ``std`` may be negative where a scale is.
    """
    import onnx
    from onnx import numpy_helper

    peeled = onnx.ModelProto()
    peeled.CopyFrom(model)
    graph = peeled.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    scale = 1 / np.array(preprocessing.std, np.float64)
    offset = -np.array(preprocessing.mean, np.float64) * scale
    image, outputs = graph.input[0].name, {value.name for value in graph.output}
    while True:
        readers = [node for node in graph.node if image in node.input]
        if len(readers) != 1 or outputs & set(readers[0].output):
            break
        affine = _affine(readers[0], image, constants, len(scale), channels_first)
        if affine is None:
            break
        scale, offset = scale * affine[0], offset * affine[0] + affine[1]
        for node in graph.node:
            node.input[:] = [image if name == readers[0].output[0] else name for name in node.input]
        graph.node.remove(readers[0])
    if len(graph.node) == len(model.graph.node):
        return model, preprocessing
    used = {name for node in graph.node for name in node.input} | outputs
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.value_info[:]
    mean, std = (-offset / scale).tolist(), (1 / scale).tolist()
    return peeled, replace(preprocessing, mean=tuple(mean), std=tuple(std))


def _affine(
    node: Any, image: str, constants: dict[str, npt.NDArray[Any]], channels: int, channels_first: bool
) -> tuple[Channels, Channels] | None:
    """Scale and offset of a node that treats every pixel alike, one of each per channel; else None."""
    if node.op_type not in ("Add", "Sub", "Mul", "Div"):
        return None
    first = node.input[0] == image
    value = constants.get(node.input[1] if first else node.input[0])
    if value is None or (not first and node.op_type in ("Sub", "Div")):
        return None
    wanted = (channels, 1, 1) if channels_first else (channels,)
    shape = value.shape
    while len(shape) > len(wanted) and shape[0] == 1:
        shape = shape[1:]
    if value.size != 1 and shape != wanted:
        return None
    each = np.broadcast_to(value.astype(np.float64).reshape(-1), (channels,))
    if node.op_type in ("Mul", "Div"):
        if not np.all(each != 0):
            return None
        return (each if node.op_type == "Mul" else 1 / each), np.zeros(channels)
    return np.ones(channels), each if node.op_type == "Add" else -each
