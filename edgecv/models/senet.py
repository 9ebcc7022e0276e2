"""SE-ResNet-50, 101 and 152, and SENet-154: squeeze-and-excitation (Hu et al. 2018, arXiv:1709.01507)."""

from __future__ import annotations

from functools import partial
from typing import Any

from edgecv.layers.heads import classifier
from edgecv.models.imagenet import NO_WEIGHTS, STANDARDISED, builder_of
from edgecv.models.registry import Builder, ModelRecord, Option, Paper, register
from edgecv.models.resnet import HALVING, REPEATS, check_halving

PAPER = Paper("Hu, Shen, Albanie, Sun, Wu", 2018, "Squeeze-and-Excitation Networks", "1709.01507")

REDUCTION = Option("reduction", int, 16, 1, 64, "channels over those of the squeezed vector")

_COSTS = {
    "se_resnet50": (28_141_144, 3_860_488_192),
    "se_resnet101": (49_432_216, 7_574_937_600),
    "se_resnet152": (66_973_272, 11_288_993_792),
    "senet154": (115_336_536, 20_688_363_520),
}


def residual_body(image: Any, repeats: tuple[int, ...], halve_at: str = "1x1", reduction: int = 16) -> Any:
    """ResNet's stages with a gate at the end of each block (figure 3): (N, H/32, W/32, 2048)."""
    from edgecv.layers.residual import ResidualStyle, bottleneck_stages, residual_stem

    style = ResidualStyle(halve_at=check_halving(halve_at), squeeze=reduction)
    return bottleneck_stages(residual_stem(image, style), repeats, 64, style)


def senet154_body(image: Any, reduction: int = 16) -> Any:
    """The network of the ILSVRC 2017 entry (appendix): (N, H/32, W/32, 2048).

    A 64x4d ResNeXt-152 with gates and five changes: a stem of three 3x3 convolutions, first convolutions of half the
    width, 3x3 projections where the map is halved, the halving itself in the 3x3 convolutions, and dropout.
    """
    from edgecv.layers.convolution import convolve, max_pool
    from edgecv.layers.residual import ResidualStyle, bottleneck_stages

    style = ResidualStyle(groups=64, expansion=1, squeeze=reduction, projection=3, narrow_first=0.5)
    x = image
    for number, (filters, stride) in enumerate(((64, 2), (64, 1), (128, 1)), start=1):
        x = convolve(x, filters, 3, strides=stride, epsilon=style.epsilon, name=f"conv1_{number}")
    x = max_pool(x, 3, 2, "same", "pool1_pool")
    return bottleneck_stages(x, REPEATS[152], 256, style)


def _record(name: str, summary: str, options: tuple[Option, ...]) -> ModelRecord:
    parameters, macs = _COSTS[name]
    return ModelRecord(
        name=name,
        task="classification",
        summary=summary,
        paper=PAPER,
        input_shape=(224, 224, 3),
        classes=1000,
        parameters=parameters,
        macs=macs,
        preprocessing=STANDARDISED,
        options=options,
        weights_note=NO_WEIGHTS,
    )


def _se_resnet(depth: int) -> Builder:
    record = _record(f"se_resnet{depth}", f"ResNet-{depth} with squeeze-and-excitation", (HALVING, REDUCTION))
    return register(record)(builder_of(record, partial(residual_body, repeats=REPEATS[depth])))


se_resnet50 = _se_resnet(50)
se_resnet101 = _se_resnet(101)
se_resnet152 = _se_resnet(152)

_SENET154 = _record("senet154", "ResNeXt-152 of 64 groups with squeeze-and-excitation", (REDUCTION,))
senet154 = register(_SENET154)(builder_of(_SENET154, senet154_body, partial(classifier, dropout=0.2)))
