"""AlexNet, the network that won ImageNet 2012 (Krizhevsky, Sutskever, Hinton 2012)."""

from __future__ import annotations

from functools import partial
from typing import Any

from edgecv.layers.heads import dense_classifier
from edgecv.models.imagenet import MEAN_SUBTRACTED, NO_WEIGHTS, builder_of
from edgecv.models.registry import ModelRecord, Option, Paper, register

PAPER = Paper(
    "Krizhevsky, Sutskever, Hinton", 2012, "ImageNet Classification with Deep Convolutional Neural Networks (NIPS 25)"
)

DENSE_WIDTH = Option("dense_width", int, 4096, 8, 8192, "units of the two dense layers before the last")
TOWERS = Option("towers", int, 1, 1, 2, "2 splits convolutions 2, 4 and 5 into two groups, as published")

_RECORD = ModelRecord(
    name="alexnet",
    task="classification",
    summary="five convolutions, local response normalisation, three dense layers; one tower or two",
    paper=PAPER,
    input_shape=(227, 227, 3),
    classes=1000,
    parameters=62_378_344,
    macs=1_135_256_096,
    preprocessing=MEAN_SUBTRACTED,
    options=(DENSE_WIDTH, TOWERS),
    weights_note=NO_WEIGHTS,
    minimum_size=67,  # leaves one pixel before the flattening
)


def body(image: Any, towers: int = 1) -> Any:
    """The convolutions: at 227 pixels 55 x 55 x 96, 27 x 27 x 256 and three times 13 x 13, then 6 x 6 x 256.

    Parameters
    ----------
    image : (N, H, W, C) tensor
    towers : int
        1: every convolution sees all channels, 62.4 million parameters. 2: the network as it ran on two graphics
        cards (figure 2), whose second, fourth and fifth convolution see one card's half each: 61.0 million.
    """
    import keras

    from edgecv.layers.convolution import max_pool
    from edgecv.layers.local_response import local_response_normalization

    convolution = partial(keras.layers.Conv2D, activation="relu", padding="same")
    x = convolution(96, 11, strides=4, padding="valid", name="conv1")(image)
    x = local_response_normalization(x, "norm1")
    x = max_pool(x, 3, 2, "valid", "pool1")
    x = convolution(256, 5, groups=towers, name="conv2")(x)
    x = local_response_normalization(x, "norm2")
    x = max_pool(x, 3, 2, "valid", "pool2")
    x = convolution(384, 3, name="conv3")(x)
    x = convolution(384, 3, groups=towers, name="conv4")(x)
    x = convolution(256, 3, groups=towers, name="conv5")(x)
    return max_pool(x, 3, 2, "valid", "pool5")


alexnet = register(_RECORD)(builder_of(_RECORD, body, dense_classifier, ("dense_width",)))
