"""Inception-v3: factorised convolutions (Szegedy et al. 2016, arXiv:1512.00567). Built by Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgecv.models.imagenet import SYMMETRIC
from edgecv.models.registry import ModelRecord, Paper, register
from edgecv.models.wrapped import official_files, usual_files, wrapper_of

_RECORD = ModelRecord(
    name="inception_v3",
    task="classification",
    summary="branches of factorised convolutions",
    paper=Paper(
        "Szegedy, Vanhoucke, Ioffe, Shlens, Wojna",
        2016,
        "Rethinking the Inception Architecture for Computer Vision",
        "1512.00567",
    ),
    input_shape=(299, 299, 3),
    classes=1000,
    parameters=23_851_784,
    macs=5_713_216_096,
    preprocessing=SYMMETRIC,
    weights=official_files(
        "inception_v3",
        usual_files("inception_v3"),
        ("9a0d58056eeedaa3f26cb7ebd46da564", "bcbd6486424b2319ff4ef7d526e38f63"),
        299,
    ),
    minimum_size=75,
)


def _constructor() -> Callable[..., Any]:
    import keras

    constructor: Callable[..., Any] = keras.applications.InceptionV3
    return constructor


inception_v3 = register(_RECORD)(wrapper_of(_RECORD, _constructor))
