"""Inception-v4 (Szegedy, Ioffe, Vanhoucke, Alemi 2017, arXiv:1602.07261)."""

from __future__ import annotations

from functools import partial
from typing import Any

from edgecv.layers.heads import classifier
from edgecv.models.imagenet import SYMMETRIC, builder_of
from edgecv.models.registry import ModelRecord, Paper, register

PAPER = Paper(
    "Szegedy, Ioffe, Vanhoucke, Alemi",
    2017,
    "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning",
    "1602.07261",
)

_RECORD = ModelRecord(
    name="inception_v4",
    task="classification",
    summary="three kinds of inception blocks, 4, 7 and 3 of them",
    paper=PAPER,
    input_shape=(299, 299, 3),
    classes=1000,
    parameters=42_742_984,
    macs=12_253_974_624,
    preprocessing=SYMMETRIC,
    weights_note="Keras publishes none for it",
    minimum_size=75,
)


def body(image: Any) -> Any:
    """Figure 9: 8 x 8 x 1536 at 299 pixels."""
    from edgecv.layers.inception_stem import inception_v4_stem

    x = inception_v4_stem(image)
    for number in range(1, 5):
        x = _block_a(x, f"a{number}")
    x = _reduction_a(x, "reduction_a")
    for number in range(1, 8):
        x = _block_b(x, f"b{number}")
    x = _reduction_b(x, "reduction_b")
    for number in range(1, 4):
        x = _block_c(x, f"c{number}")
    return x


def _block_a(x: Any, name: str) -> Any:
    """Figure 4: 35 x 35."""
    from edgecv.layers.convolution import average_pool, chain, concatenate, convolve

    branches = [
        convolve(x, 96, 1, name=f"{name}_1x1"),
        chain(x, ((64, 1), (96, 3)), f"{name}_3x3"),
        chain(x, ((64, 1), (96, 3), (96, 3)), f"{name}_double"),
        convolve(average_pool(x, 3, f"{name}_pool"), 96, 1, name=f"{name}_pool_proj"),
    ]
    return concatenate(branches, name)


def _reduction_a(x: Any, name: str) -> Any:
    """Figure 7 with k, l, m, n of table 1: 192, 224, 256, 384."""
    from edgecv.layers.convolution import chain, concatenate, convolve, max_pool

    long = chain(x, ((192, 1), (224, 3)), f"{name}_double")
    branches = [
        convolve(x, 384, 3, strides=2, padding="valid", name=f"{name}_3x3"),
        convolve(long, 256, 3, strides=2, padding="valid", name=f"{name}_double_3"),
        max_pool(x, 3, 2, "valid", f"{name}_pool"),
    ]
    return concatenate(branches, name)


def _block_b(x: Any, name: str) -> Any:
    """Figure 5: 17 x 17."""
    from edgecv.layers.convolution import average_pool, chain, concatenate, convolve

    double = ((192, 1), (192, (7, 1)), (224, (1, 7)), (224, (7, 1)), (256, (1, 7)))
    branches = [
        convolve(x, 384, 1, name=f"{name}_1x1"),
        chain(x, ((192, 1), (224, (1, 7)), (256, (7, 1))), f"{name}_7x7"),
        chain(x, double, f"{name}_double"),
        convolve(average_pool(x, 3, f"{name}_pool"), 128, 1, name=f"{name}_pool_proj"),
    ]
    return concatenate(branches, name)


def _reduction_b(x: Any, name: str) -> Any:
    """Figure 8."""
    from edgecv.layers.convolution import chain, concatenate, convolve, max_pool

    short = convolve(x, 192, 1, name=f"{name}_3x3_1")
    long = chain(x, ((256, 1), (256, (1, 7)), (320, (7, 1))), f"{name}_7x7")
    branches = [
        convolve(short, 192, 3, strides=2, padding="valid", name=f"{name}_3x3_2"),
        convolve(long, 320, 3, strides=2, padding="valid", name=f"{name}_7x7_4"),
        max_pool(x, 3, 2, "valid", f"{name}_pool"),
    ]
    return concatenate(branches, name)


def _block_c(x: Any, name: str) -> Any:
    """Figure 6: 8 x 8; two branches end in a pair of convolutions across and down."""
    from edgecv.layers.convolution import average_pool, chain, concatenate, convolve

    short = convolve(x, 384, 1, name=f"{name}_short")
    long = chain(x, ((384, 1), (448, (3, 1)), (512, (1, 3))), f"{name}_long")
    branches = [convolve(x, 256, 1, name=f"{name}_1x1")]
    for part, stem in (("short", short), ("long", long)):
        branches += [
            convolve(stem, 256, (1, 3), name=f"{name}_{part}_across"),
            convolve(stem, 256, (3, 1), name=f"{name}_{part}_down"),
        ]
    branches.append(convolve(average_pool(x, 3, f"{name}_pool"), 256, 1, name=f"{name}_pool_proj"))
    return concatenate(branches, name)


inception_v4 = register(_RECORD)(builder_of(_RECORD, body, partial(classifier, dropout=0.2)))
