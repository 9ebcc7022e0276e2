"""The mobile inverted bottleneck (MBConv) of EfficientNet, with or without squeeze-and-excitation.

Sandler et al. 2018, section 3.3 (inverted residual); Hu et al. 2018 (squeeze-and-excitation); Tan & Le 2019,
table 1 (how EfficientNet-B0 combines them).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgecv.layers.heads import softmax
from edgecv.layers.shapes import strided_padding

# He initialisation over the outputs, as the reference trains (TPU repository, conv_kernel_initializer).
CONV_INITIALIZER = {
    "class_name": "VarianceScaling",
    "config": {"scale": 2.0, "mode": "fan_out", "distribution": "truncated_normal"},
}
DENSE_INITIALIZER = {
    "class_name": "VarianceScaling",
    "config": {"scale": 1.0 / 3.0, "mode": "fan_out", "distribution": "uniform"},
}


@dataclass(frozen=True)
class Stage:
    """One row of Tan & Le 2019, table 1: `repeats` blocks, the first of which has the stride."""

    kernel: int
    repeats: int
    filters: int
    expansion: int
    stride: int


# Stages 2 to 8 of EfficientNet-B0 (table 1). The stem before them has 32 channels, the head after them 1280.
B0_STAGES = (
    Stage(kernel=3, repeats=1, filters=16, expansion=1, stride=1),
    Stage(kernel=3, repeats=2, filters=24, expansion=6, stride=2),
    Stage(kernel=5, repeats=2, filters=40, expansion=6, stride=2),
    Stage(kernel=3, repeats=3, filters=80, expansion=6, stride=2),
    Stage(kernel=5, repeats=3, filters=112, expansion=6, stride=1),
    Stage(kernel=5, repeats=4, filters=192, expansion=6, stride=2),
    Stage(kernel=3, repeats=1, filters=320, expansion=6, stride=1),
)
STEM_FILTERS = 32
HEAD_FILTERS = 1280

# Probability of leaving out the last block while training (stochastic depth, Huang et al. 2016); it grows
# linearly from 0 at the first block.
DROP_CONNECT = 0.2


@dataclass(frozen=True)
class BlockStyle:
    """What a family decides once for all of its blocks.

    Attributes
    ----------
    activation : str
        ``"swish"`` or ``"relu6"``.
    squeeze : float
        Squeezed width as a fraction of the block's *input* channels; 0 leaves the squeeze out.
    explicit_padding : bool
        Pad in a layer of its own before a strided convolution, as the graphs of the official weights do.
        Off, the convolution pads: one operator less on the device.
    """

    activation: str
    squeeze: float
    explicit_padding: bool


def strided_convolution(
    x: Any, layer: type, stride: int, kernel: int, style: BlockStyle, pad_name: str, **kwargs: Any
) -> Any:
    """A convolution of any kind, padded as `style` says."""
    import keras

    padding = "same"
    if stride > 1 and style.explicit_padding:
        x = keras.layers.ZeroPadding2D(strided_padding(tuple(x.shape[1:3]), kernel), name=pad_name)(x)
        padding = "valid"
    return layer(kernel_size=kernel, strides=stride, padding=padding, use_bias=False, **kwargs)(x)


def pointwise(x: Any, filters: int, name: str) -> Any:
    """A 1x1 convolution without bias."""
    import keras

    return keras.layers.Conv2D(
        filters, 1, padding="same", use_bias=False, kernel_initializer=CONV_INITIALIZER, name=name
    )(x)


def normalise_activate(x: Any, activation: str | None, norm_name: str, activation_name: str = "") -> Any:
    """Batch normalisation, then the activation if there is one."""
    import keras

    x = keras.layers.BatchNormalization(name=norm_name)(x)
    if activation is None:
        return x
    if activation == "relu6":
        return keras.layers.ReLU(6.0, name=activation_name)(x)
    return keras.layers.Activation(activation, name=activation_name)(x)


def mbconv(x: Any, stage: Stage, filters: int, stride: int, drop_rate: float, style: BlockStyle, prefix: str) -> Any:
    """One block: expand, depthwise convolution, squeeze-and-excitation, project, add.

    Parameters
    ----------
    x : (N, H, W, C) tensor
    stage : Stage
        Gives kernel and expansion.
    filters : int
        Output channels, after width scaling.
    stride : int
        1 or 2.
    drop_rate : float in [0, 1)
        Probability of leaving this block out while training.
    style : BlockStyle
    prefix : str
        Of the layer names, ``"block2a_"``.

    Returns
    -------
    (N, H / stride, W / stride, filters) tensor
    """
    import keras

    layers = keras.layers
    inputs, channels = x, x.shape[-1]
    expanded = channels * stage.expansion
    if stage.expansion != 1:
        x = pointwise(x, expanded, f"{prefix}expand_conv")
        x = normalise_activate(x, style.activation, f"{prefix}expand_bn", f"{prefix}expand_activation")
    x = strided_convolution(
        x,
        layers.DepthwiseConv2D,
        stride,
        stage.kernel,
        style,
        f"{prefix}dwconv_pad",
        depthwise_initializer=CONV_INITIALIZER,
        name=f"{prefix}dwconv",
    )
    x = normalise_activate(x, style.activation, f"{prefix}bn", f"{prefix}activation")
    if style.squeeze > 0:
        x = _squeeze_excite(x, max(1, int(channels * style.squeeze)), style.activation, prefix)
    x = pointwise(x, filters, f"{prefix}project_conv")
    x = normalise_activate(x, None, f"{prefix}project_bn")
    if stride != 1 or channels != filters:
        return x
    if drop_rate > 0:
        x = layers.Dropout(drop_rate, noise_shape=(None, 1, 1, 1), name=f"{prefix}drop")(x)
    return layers.Add(name=f"{prefix}add")([x, inputs])


def _squeeze_excite(x: Any, squeezed: int, activation: str, prefix: str) -> Any:
    """Weigh the channels by a two-layer network on their means (Hu et al. 2018, eq. 2 to 4)."""
    import keras

    layers = keras.layers
    channels = x.shape[-1]
    gate = layers.GlobalAveragePooling2D(name=f"{prefix}se_squeeze")(x)
    gate = layers.Reshape((1, 1, channels), name=f"{prefix}se_reshape")(gate)
    for filters, activate, name in ((squeezed, activation, "se_reduce"), (channels, "sigmoid", "se_expand")):
        gate = layers.Conv2D(
            filters, 1, padding="same", activation=activate, kernel_initializer=CONV_INITIALIZER, name=f"{prefix}{name}"
        )(gate)
    return layers.Multiply(name=f"{prefix}se_excite")([x, gate])


def mbconv_stages(x: Any, filters: tuple[int, ...], repeats: tuple[int, ...], style: BlockStyle) -> Any:
    """All stages of `B0_STAGES` with scaled `filters` and `repeats`, one value per stage."""
    total, index = sum(repeats), 0
    for number, (stage, width, count) in enumerate(zip(B0_STAGES, filters, repeats, strict=True), start=1):
        for repeat in range(count):
            x = mbconv(
                x,
                stage,
                width,
                stride=stage.stride if repeat == 0 else 1,
                drop_rate=DROP_CONNECT * index / total,
                style=style,
                prefix=f"block{number}{_letter(repeat)}_",
            )
            index += 1
    return x


def stem(x: Any, filters: int, style: BlockStyle) -> Any:
    """Stage 1: a 3x3 convolution that halves the picture."""
    import keras

    x = strided_convolution(
        x,
        keras.layers.Conv2D,
        2,
        3,
        style,
        "stem_conv_pad",
        filters=filters,
        kernel_initializer=CONV_INITIALIZER,
        name="stem_conv",
    )
    return normalise_activate(x, style.activation, "stem_bn", "stem_activation")


def head(x: Any, filters: int, style: BlockStyle) -> Any:
    """Stage 9 up to the pooling: a 1x1 convolution."""
    x = pointwise(x, filters, "top_conv")
    return normalise_activate(x, style.activation, "top_bn", "top_activation")


def classifier(x: Any, classes: int, dropout: float, activation: str | None) -> Any:
    """Stage 9 from the pooling on: (N, H, W, C) features to (N, classes) probabilities or logits."""
    import keras

    layers = keras.layers
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = layers.Dropout(dropout, name="top_dropout")(x)
    x = layers.Dense(classes, kernel_initializer=DENSE_INITIALIZER, name="predictions")(x)
    return softmax(x, activation, "probabilities")


def _letter(index: int) -> str:
    """``a``, ``b``, ... as the official names count, and ``aa``, ``ab``, ... after ``z``."""
    first, last = divmod(index, 26)
    return (chr(ord("a") + first - 1) if first else "") + chr(ord("a") + last)
