"""RoIAlign as one operator: ONNX and OpenVINO have it, TFLite computes it with gathers.

In the trace a TensorFlow operation of the same inputs and the same shape of answer stands in the layer's place; the
converter then puts the operator there. The stand-in computes something else, and is never run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgecv_export.formats.layer_names import scope_of

_STAND_IN = "CropAndResize"


def is_native(layer: Any) -> bool:
    """Whether a layer is a RoIAlign, which `stand_in` may replace."""
    return type(layer).__name__ == "RoIAlign" and type(layer).__module__ == "edgecv.layers.roi"


def stand_in(layer: Any, inputs: Any, **_: Any) -> Any:
    """What marks the place of a RoIAlign in the trace: from (N, H, W, C) and (N, R, 4) to (N · R, size, size, C)."""
    import numpy as np
    import tensorflow as tf

    features, boxes = inputs
    pictures, regions = boxes.shape[:2]
    return tf.raw_ops.CropAndResize(
        image=features,
        boxes=tf.reshape(boxes, (-1, 4)),
        box_ind=np.repeat(np.arange(pictures, dtype=np.int32), regions),
        crop_size=np.array([layer.size, layer.size], np.int32),
    )


def handlers(network: Any) -> dict[str, tuple[Callable[..., None], list[Any]]]:
    """For tf2onnx: what becomes of the stand-ins of a network's layers."""
    layers = {scope_of(layer.name): layer for layer in network.layers if is_native(layer)}
    if not layers:
        return {}

    def convert(context: Any, node: Any, name: str, _: Any) -> None:
        layer = layers[name.partition("/")[0]]
        features, boxes, which, _ = node.input
        shape, kind = context.get_shape(node.output[0]), context.get_dtype(node.output[0])
        planes = context.make_node("Transpose", [features], {"perm": [0, 3, 1, 2]}, name=f"{name}/planes").output[0]
        numbers = context.make_node("Cast", [which], {"to": 7}, name=f"{name}/pictures").output[0]  # 7: int64
        answer = list(node.output)
        context.remove_node(name)
        # Averages of sampling_ratio² points a cell. half_pixel: coordinates less one half (He et al. 2017's own code
        # took them as they are).
        attributes = {
            "output_height": layer.size,
            "output_width": layer.size,
            "sampling_ratio": layer.samples,
            "spatial_scale": layer.scale,
            "coordinate_transformation_mode": "half_pixel" if layer.aligned else "output_half_pixel",
        }
        aligned = context.make_node("RoiAlign", [planes, boxes, numbers], attributes, name=f"{name}/RoiAlign")
        context.make_node(
            "Transpose",
            aligned.output,
            {"perm": [0, 2, 3, 1]},
            name=name,
            outputs=answer,
            shapes=[shape],
            dtypes=[kind],
        )

    return {_STAND_IN: (convert, [])}
