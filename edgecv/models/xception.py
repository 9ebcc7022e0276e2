"""Xception: depthwise separable convolutions with shortcuts (Chollet 2017, arXiv:1610.02357). Built by Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgecv.models.imagenet import SYMMETRIC
from edgecv.models.registry import ModelRecord, Paper, register
from edgecv.models.wrapped import official_files, usual_files, wrapper_of

_RECORD = ModelRecord(
    name="xception",
    task="classification",
    summary="depthwise separable convolutions with residual connections",
    paper=Paper("Chollet", 2017, "Xception: Deep Learning with Depthwise Separable Convolutions", "1610.02357"),
    input_shape=(299, 299, 3),
    classes=1000,
    parameters=22_910_480,
    macs=8_357_403_496,
    preprocessing=SYMMETRIC,
    licence="MIT",
    weights=official_files(
        "xception",
        usual_files("xception"),
        ("0a58e3b7378bc2990ea3b43d5981f1f6", "b0042744bf5b25fce3cb969f33bebb97"),
        299,
        "MIT",
    ),
    minimum_size=71,
)


def _constructor() -> Callable[..., Any]:
    import keras

    constructor: Callable[..., Any] = keras.applications.Xception
    return constructor


xception = register(_RECORD)(wrapper_of(_RECORD, _constructor))
