"""Network in Network: 1x1 convolutions and global average pooling (Lin, Chen, Yan 2014, arXiv:1312.4400)."""

from __future__ import annotations

from typing import Any

from edgecv.layers.heads import softmax
from edgecv.models.imagenet import MEAN_SUBTRACTED, NO_WEIGHTS, builder_of
from edgecv.models.registry import ModelRecord, Paper, register

PAPER = Paper("Lin, Chen, Yan", 2014, "Network In Network", "1312.4400")

# The ImageNet network: (filters, kernel, stride, padding) of the convolution that two of 1x1 follow.
_STAGES = ((96, 11, 4, "valid"), (256, 5, 1, "same"), (384, 3, 1, "same"))

_RECORD = ModelRecord(
    name="nin",
    task="classification",
    summary="1x1 convolutions after each convolution; global average pooling is the classifier",
    paper=PAPER,
    input_shape=(224, 224, 3),
    classes=1000,
    parameters=7_595_176,
    macs=969_460_864,
    preprocessing=MEAN_SUBTRACTED,
    weights_note=NO_WEIGHTS,
    minimum_size=67,
)


def body(image: Any) -> Any:
    """Three stages of an m x m and two 1x1 convolutions, each followed by pooling, and a fourth 3x3 convolution."""
    from edgecv.layers.convolution import max_pool

    x = image
    for number, (filters, kernel, stride, padding) in enumerate(_STAGES, start=1):
        x = _convolution(x, filters, kernel, f"conv{number}", stride, padding)
        for part in (1, 2):
            x = _convolution(x, filters, 1, f"conv{number}_cccp{part}")
        x = max_pool(x, 3, 2, "valid", f"pool{number}")
    return _convolution(x, 1024, 3, "conv4")


def top(x: Any, classes: int, activation: str | None) -> Any:
    """Two more 1x1 convolutions, the second with a channel per class, whose means are the logits (section 3.2).

    The map that ``avg_pool`` takes in shows the evidence for each class as it is: no weights are needed.
    """
    import keras

    layers = keras.layers
    x = layers.Dropout(0.5, name="dropout")(x)
    x = _convolution(x, 1024, 1, "conv4_cccp1")
    x = _convolution(x, classes, 1, "conv4_cccp2")
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return softmax(x, activation, "probabilities")


def _convolution(x: Any, filters: int, kernel: int, name: str, stride: int = 1, padding: str = "same") -> Any:
    import keras

    return keras.layers.Conv2D(filters, kernel, strides=stride, padding=padding, activation="relu", name=name)(x)


nin = register(_RECORD)(builder_of(_RECORD, body, top))
