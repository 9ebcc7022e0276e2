"""Inception-ResNet-v2: Inception blocks with shortcuts (Szegedy et al. 2017, arXiv:1602.07261). Built by Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgecv.models.imagenet import SYMMETRIC
from edgecv.models.inception_v4 import PAPER
from edgecv.models.registry import ModelRecord, register
from edgecv.models.wrapped import official_files, usual_files, wrapper_of

_RECORD = ModelRecord(
    name="inception_resnet_v2",
    task="classification",
    summary="Inception blocks with scaled residual connections",
    paper=PAPER,
    input_shape=(299, 299, 3),
    classes=1000,
    parameters=55_873_736,
    macs=13_155_794_016,
    preprocessing=SYMMETRIC,
    weights=official_files(
        "inception_resnet_v2",
        usual_files("inception_resnet_v2"),
        ("e693bd0210a403b3192acc6073ad2e96", "d19885ff4a710c122648d3b5c3b684e4"),
        299,
    ),
    minimum_size=75,
)


def _constructor() -> Callable[..., Any]:
    import keras

    constructor: Callable[..., Any] = keras.applications.InceptionResNetV2
    return constructor


inception_resnet_v2 = register(_RECORD)(wrapper_of(_RECORD, _constructor))
