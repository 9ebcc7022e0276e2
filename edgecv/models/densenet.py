"""DenseNet-121 to 264: every layer sees all before it (Huang et al. 2017, arXiv:1608.06993). Built by Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgecv.models.imagenet import STANDARDISED
from edgecv.models.registry import Builder, ModelRecord, OfficialWeights, Paper, register
from edgecv.models.wrapped import official_files, usual_files, wrapper_of

PAPER = Paper("Huang, Liu, van der Maaten, Weinberger", 2017, "Densely Connected Convolutional Networks", "1608.06993")

# Table 1: layers of each dense block, growth rate 32.
BLOCKS = {
    121: (6, 12, 24, 16),
    169: (6, 12, 32, 32),
    201: (6, 12, 48, 32),
    264: (6, 12, 64, 48),
}

_COSTS = {
    121: (8_062_504, 2_834_161_664),
    169: (14_307_880, 3_359_843_328),
    201: (20_242_984, 4_291_365_888),
    264: (33_736_232, 5_751_653_376),
}
_MD5 = {
    121: ("9d60b8095a5708f2dcce2bca79d332c7", "30ee3e1110167f948a6b9946edeeb738"),
    169: ("d699b8f76981ab1b30698df4c175e90b", "b8c4d4c20dd625c148057b9ff1c1176b"),
    201: ("1ceb130c1ea1b78c3bf6114dbdfd8807", "c13680b51ded0fb44dff2d8f86ac8bb1"),
}


def _constructor(depth: int) -> Callable[..., Any]:
    # keras.applications names three depths; what builds them takes any.
    from keras.src.applications.densenet import DenseNet

    def construct(**arguments: Any) -> Any:
        return DenseNet(BLOCKS[depth], name=f"densenet{depth}", **arguments)

    return construct


def _files(depth: int) -> tuple[OfficialWeights, ...]:
    return official_files("densenet", usual_files(f"densenet{depth}"), _MD5[depth], 224, "BSD-3-Clause")


def _named(depth: int) -> Builder:
    name = f"densenet{depth}"
    parameters, macs = _COSTS[depth]
    record = ModelRecord(
        name=name,
        task="classification",
        summary=f"{depth} layers, each joined to all before it in its block",
        paper=PAPER,
        input_shape=(224, 224, 3),
        classes=1000,
        parameters=parameters,
        macs=macs,
        preprocessing=STANDARDISED,
        licence="BSD-3-Clause" if depth in _MD5 else "Apache-2.0",
        weights=_files(depth) if depth in _MD5 else (),
        weights_note="" if depth in _MD5 else "Keras publishes none of this depth",
    )
    return register(record)(wrapper_of(record, lambda: _constructor(depth)))


densenet121 = _named(121)
densenet169 = _named(169)
densenet201 = _named(201)
densenet264 = _named(264)
