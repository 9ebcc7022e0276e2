"""ResNet-18 to 152 with projection shortcuts, and the plain networks without any (He et al. 2016, arXiv:1512.03385)."""

from __future__ import annotations

from functools import partial
from typing import Any

from edgecv.models.imagenet import MEAN_SUBTRACTED, NO_WEIGHTS, STANDARDISED, builder_of, swap_first_channels
from edgecv.models.registry import Builder, ModelRecord, OfficialWeights, Option, Paper, register
from edgecv_runtime.errors import InputError

PAPER = Paper("He, Zhang, Ren, Sun", 2016, "Deep Residual Learning for Image Recognition", "1512.03385")

# Table 1: blocks of the stages conv2_x to conv5_x.
REPEATS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}

HALVING = Option(
    "halve_at", str, "1x1", help="convolution of a bottleneck that halves the map: 1x1 (as published) or 3x3 (v1.5)"
)

# Parameters and multiply-accumulates.
_COSTS = {
    "resnet18": (11_699_112, 1_814_073_344),
    "resnet34": (21_814_696, 3_663_761_408),
    "plain18": (11_523_496, 1_794_805_760),
    "plain34": (21_639_080, 3_644_493_824),
    "resnet50": (25_636_712, 3_857_973_248),
    "resnet101": (44_707_176, 7_570_194_432),
    "resnet152": (60_419_944, 11_282_415_616),
}
_ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications/resnet/"
_MD5 = {
    50: ("2cb95161c43110f7111970584f804107", "4d473c1dd8becc155b73f8504c6f6626"),
    101: ("f1aeb4b969a6efcfb50fad2f0c20cfc5", "88cf7a10940856eca736dc7b7e228a21"),
    152: ("100835be76be38e30d865e96f2aaae62", "ee4c566cf9a93f14d82f913c2dc6dd0c"),
}


def basic_body(image: Any, repeats: tuple[int, ...], shortcuts: bool) -> Any:
    """Stages of two-layer blocks: (N, H/32, W/32, 512).

    Parameters
    ----------
    image : (N, H, W, C) tensor
    repeats : tuple of int
        Blocks of each stage.
    shortcuts : bool
        False leaves them and their projections out: the plain network of figure 3, middle.
    """
    from edgecv.layers.residual import ResidualStyle, basic_block, projection, residual_stem

    style = ResidualStyle()
    x = residual_stem(image, style)
    for stage, count in enumerate(repeats):
        filters = 64 * 2**stage
        for number in range(1, count + 1):
            prefix = f"conv{stage + 2}_block{number}"
            stride = 2 if number == 1 and stage > 0 else 1
            shortcut = x if shortcuts else None
            if shortcuts and stride == 2:
                shortcut = projection(x, filters, stride, prefix, style)
            x = basic_block(x, filters, stride, shortcut, prefix, style)
    return x


def bottleneck_body(image: Any, repeats: tuple[int, ...], halve_at: str = "1x1") -> Any:
    """Stages of three-layer blocks: (N, H/32, W/32, 2048).

    Layer names, order and weights are those of ``keras.applications``: its files load, with either `halve_at`.
    """
    from edgecv.layers.residual import ResidualStyle, bottleneck_stages, residual_stem

    # Biases and this epsilon come with the official weights.
    style = ResidualStyle(halve_at=check_halving(halve_at), bias=True, epsilon=1.001e-5)
    return bottleneck_stages(residual_stem(image, style), repeats, 64, style)


def check_halving(halve_at: str) -> str:
    """Refuse another place of the stride.

    Raises
    ------
    InputError
    """
    if halve_at not in ("1x1", "3x3"):
        raise InputError(f"halve_at must be '1x1' or '3x3'; received {halve_at!r}")
    return halve_at


def _basic(depth: int, shortcuts: bool) -> Builder:
    name = f"{'resnet' if shortcuts else 'plain'}{depth}"
    blocks = "residual blocks of two layers" if shortcuts else "the same layers without shortcuts, for comparison"
    parameters, macs = _COSTS[name]
    record = ModelRecord(
        name=name,
        task="classification",
        summary=f"{depth} layers, {blocks}",
        paper=PAPER,
        input_shape=(224, 224, 3),
        classes=1000,
        parameters=parameters,
        macs=macs,
        preprocessing=STANDARDISED,
        weights_note=NO_WEIGHTS,
    )
    return register(record)(builder_of(record, partial(basic_body, repeats=REPEATS[depth], shortcuts=shortcuts)))


def _bottleneck(depth: int) -> Builder:
    name = f"resnet{depth}"
    files = (f"{name}_weights_tf_dim_ordering_tf_kernels.h5", f"{name}_weights_tf_dim_ordering_tf_kernels_notop.h5")
    parameters, macs = _COSTS[name]
    record = ModelRecord(
        name=name,
        task="classification",
        summary=f"{depth} layers, residual blocks of three layers",
        paper=PAPER,
        input_shape=(224, 224, 3),
        classes=1000,
        parameters=parameters,
        macs=macs,
        preprocessing=MEAN_SUBTRACTED,
        licence="MIT",
        options=(HALVING,),
        weights=tuple(
            OfficialWeights(
                address=f"{_ADDRESS}{file}",
                file=file,
                licence="MIT",
                input_size=224,
                options={"halve_at": "1x1"},
                include_top=top,
                md5=md5,
            )
            for file, top, md5 in zip(files, (True, False), _MD5[depth], strict=True)
        ),
        after_official=swap_first_channels,
    )
    return register(record)(builder_of(record, partial(bottleneck_body, repeats=REPEATS[depth])))


resnet18 = _basic(18, shortcuts=True)
resnet34 = _basic(34, shortcuts=True)
plain18 = _basic(18, shortcuts=False)
plain34 = _basic(34, shortcuts=False)
resnet50 = _bottleneck(50)
resnet101 = _bottleneck(101)
resnet152 = _bottleneck(152)
