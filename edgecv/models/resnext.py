"""ResNeXt-50 and 101: residual blocks of grouped convolutions (Xie et al. 2017, arXiv:1611.05431)."""

from __future__ import annotations

from functools import partial
from typing import Any

from edgecv.models.imagenet import NO_WEIGHTS, STANDARDISED, builder_of
from edgecv.models.registry import Builder, ModelRecord, Option, Paper, register
from edgecv.models.resnet import REPEATS

PAPER = Paper(
    "Xie, Girshick, Dollár, Tu, He", 2017, "Aggregated Residual Transformations for Deep Neural Networks", "1611.05431"
)
OUTPUT = 256  # channels of the first stage's blocks, whatever happens inside them

_COSTS = {50: (25_097_128, 4_230_479_872), 101: (44_315_560, 7_969_996_800)}

_OPTIONS = (
    Option("cardinality", int, 32, 1, 64, "groups of the 3x3 convolutions"),
    Option("group_width", int, 4, 1, 64, "channels of a group in the first stage"),
)


def body(image: Any, repeats: tuple[int, ...], cardinality: int = 32, group_width: int = 4) -> Any:
    """Stages of grouped bottleneck blocks: (N, H/32, W/32, 2048).

    Parameters
    ----------
    image : (N, H, W, C) tensor
    repeats : tuple of int
        Blocks of each stage.
    cardinality : int
        Groups, C of table 1.
    group_width : int
        d of table 1.
    """
    from edgecv.layers.residual import ResidualStyle, bottleneck_stages, residual_stem

    width = cardinality * group_width
    style = ResidualStyle(groups=cardinality, expansion=OUTPUT / width)
    return bottleneck_stages(residual_stem(image, style), repeats, width, style)


def _named(depth: int) -> Builder:
    parameters, macs = _COSTS[depth]
    record = ModelRecord(
        name=f"resnext{depth}",
        task="classification",
        summary=f"{depth} layers, residual blocks of grouped convolutions",
        paper=PAPER,
        input_shape=(224, 224, 3),
        classes=1000,
        parameters=parameters,
        macs=macs,
        preprocessing=STANDARDISED,
        options=_OPTIONS,
        weights_note=NO_WEIGHTS,
    )
    return register(record)(builder_of(record, partial(body, repeats=REPEATS[depth])))


resnext50 = _named(50)
resnext101 = _named(101)
