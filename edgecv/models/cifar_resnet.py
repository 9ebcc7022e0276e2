"""The small ResNets of CIFAR-10, 20 to 110 layers, and their plain counterparts (He et al. 2016, section 4.2)."""

from __future__ import annotations

from functools import partial
from typing import Any

from edgecv.models.imagenet import NO_WEIGHTS, builder_of
from edgecv.models.registry import Builder, ModelRecord, Option, Preprocessing, register
from edgecv.models.resnet import PAPER
from edgecv_runtime.errors import InputError

# 6n + 2 layers: a convolution, three stages of n blocks of two layers, a dense layer.
DEPTHS = (20, 32, 44, 56, 110)
FILTERS = (16, 32, 64)

_SHAPE = (32, 32, 3)

# Mean and standard deviation of CIFAR-10's training pixels.
_PREPROCESSING = Preprocessing(mean=(125.3, 123.0, 113.9), std=(63.0, 62.1, 66.7))

# Parameters (the same for both, since option A's shortcuts have none) and multiply-accumulates.
_COSTS = {
    20: (271_098, 40_551_040),
    32: (466_426, 68_862_592),
    44: (661_754, 97_174_144),
    56: (857_082, 125_485_696),
    110: (1_736_058, 252_887_680),
}

_SHORTCUTS = Option(
    "shortcut", str, "identity", help="where channels double: identity with zero channels (published) or projection"
)


def body(image: Any, depth: int, residual: bool, shortcut: str = "identity") -> Any:
    """Three stages of two-layer blocks: (N, H/4, W/4, 64).

    Parameters
    ----------
    image : (N, H, W, C) tensor
    depth : int
        Of `DEPTHS`.
    residual : bool
        False leaves the shortcuts out.
    shortcut : {"identity", "projection"}
        Section 3.3: option A, every other pixel with channels of zeros, without parameters; or option B, a
        1x1 convolution.
    """
    from edgecv.layers.convolution import convolve
    from edgecv.layers.residual import ResidualStyle, basic_block

    if shortcut not in ("identity", "projection"):
        raise InputError(f"shortcut must be 'identity' or 'projection'; received {shortcut!r}")
    style = ResidualStyle()
    x = convolve(image, FILTERS[0], 3, epsilon=style.epsilon, name="conv1")
    for stage, filters in enumerate(FILTERS):
        for number in range(1, (depth - 2) // 6 + 1):
            prefix = f"conv{stage + 2}_block{number}"
            stride = 2 if number == 1 and stage > 0 else 1
            way = _shortcut(x, filters, stride, prefix, style, shortcut) if residual else None
            x = basic_block(x, filters, stride, way, prefix, style)
    return x


def _shortcut(x: Any, filters: int, stride: int, prefix: str, style: Any, kind: str) -> Any:
    from edgecv.layers.convolution import max_pool
    from edgecv.layers.pad_channels import pad_channels
    from edgecv.layers.residual import projection

    if stride == 1:
        return x
    if kind == "projection":
        return projection(x, filters, stride, prefix, style)
    return pad_channels(max_pool(x, 1, stride, "valid", f"{prefix}_skip"), filters, f"{prefix}_pad")


def _named(depth: int, residual: bool) -> Builder:
    parameters, macs = _COSTS[depth]
    kind = "residual" if residual else "plain"
    record = ModelRecord(
        name=f"cifar_{'resnet' if residual else 'plain'}{depth}",
        task="classification",
        summary=f"{depth} layers for 32×32 pictures, {kind}",
        paper=PAPER,
        input_shape=_SHAPE,
        classes=10,
        parameters=parameters,
        macs=macs,
        preprocessing=_PREPROCESSING,
        options=(_SHORTCUTS,) if residual else (),
        weights_note=NO_WEIGHTS,
        minimum_size=8,
    )
    return register(record)(builder_of(record, partial(body, depth=depth, residual=residual)))


cifar_resnet20, cifar_resnet32, cifar_resnet44, cifar_resnet56, cifar_resnet110 = (
    _named(depth, residual=True) for depth in DEPTHS
)
cifar_plain20, cifar_plain32, cifar_plain44, cifar_plain56, cifar_plain110 = (
    _named(depth, residual=False) for depth in DEPTHS
)
