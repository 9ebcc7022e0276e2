"""Residual blocks: basic and bottleneck, with groups (ResNeXt) and squeeze-and-excitation (SENet) as settings.

He et al. 2016 (figures 2 and 5); Xie et al. 2017 (figure 3c); Hu et al. 2018 (figure 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from edgecv.layers.convolution import convolve


@dataclass(frozen=True)
class ResidualStyle:
    """What a family decides once for all of its blocks.

    Attributes
    ----------
    halve_at : {"1x1", "3x3"}
        Which convolution of a bottleneck has the stride: the first (He et al. 2016, and the official weights), or the
        second, which looks at every pixel and is what later papers compare with.
    groups : int
        Of channels in the 3x3 convolution.
    expansion : float
        Channels of a bottleneck's output over those of its 3x3 convolution.
    squeeze : int
        Channels over those of the squeezed vector; 0 leaves squeeze-and-excitation out.
    bias : bool
        Biases in the convolutions, as in the official weights.
    epsilon : float
        Of the batch normalisations.
    projection : int
        Kernel of a projection shortcut that halves the map.
    narrow_first : float
        Channels of a bottleneck's first convolution over those of its second.
    """

    halve_at: str = "3x3"
    groups: int = 1
    expansion: float = 4
    squeeze: int = 0
    bias: bool = False
    epsilon: float = 1e-5
    projection: int = 1
    narrow_first: float = 1.0


def basic_block(x: Any, filters: int, stride: int, shortcut: Any, prefix: str, style: ResidualStyle) -> Any:
    """Two 3x3 convolutions, and the shortcut if there is one.

    Parameters
    ----------
    x : (N, H, W, C) tensor
    filters : int
    stride : int
        Of the first convolution.
    shortcut : (N, H / stride, W / stride, filters) tensor, or None
        None makes a block of a plain network.
    prefix : str
        Of the layer names, ``"conv2_block1"``.
    style : ResidualStyle
        Its `bias`, `epsilon` and `squeeze` count here.
    """
    convolution = partial(convolve, bias=style.bias, epsilon=style.epsilon)
    x = convolution(x, filters, 3, strides=stride, name=f"{prefix}_1")
    if shortcut is None:
        return convolution(x, filters, 3, name=f"{prefix}_2")
    x = convolution(x, filters, 3, activation=None, name=f"{prefix}_2")
    return _join(x, shortcut, prefix, style)


def bottleneck_block(x: Any, width: int, stride: int, shortcut: Any, prefix: str, style: ResidualStyle) -> Any:
    """1x1, 3x3 and 1x1 convolution and the shortcut.

    Parameters
    ----------
    x : (N, H, W, C) tensor
    width : int
        Channels of the 3x3 convolution, of all groups.
    stride : int
    shortcut : (N, H / stride, W / stride, width * style.expansion) tensor
    prefix : str
        Of the layer names, ``"conv2_block1"``.
    style : ResidualStyle
    """
    convolution = partial(convolve, bias=style.bias, epsilon=style.epsilon)
    first, second = (stride, 1) if style.halve_at == "1x1" else (1, stride)
    x = convolution(x, int(width * style.narrow_first), 1, strides=first, name=f"{prefix}_1")
    x = convolution(x, width, 3, strides=second, groups=style.groups, name=f"{prefix}_2")
    x = convolution(x, int(width * style.expansion), 1, activation=None, name=f"{prefix}_3")
    return _join(x, shortcut, prefix, style)


def projection(x: Any, filters: int, stride: int, prefix: str, style: ResidualStyle) -> Any:
    """The shortcut that changes size or channels (He et al. 2016, eq. 2): a convolution of stride `stride`."""
    kernel = style.projection if stride > 1 else 1
    return convolve(
        x,
        filters,
        kernel,
        strides=stride,
        activation=None,
        bias=style.bias,
        epsilon=style.epsilon,
        name=f"{prefix}_0",
    )


def squeeze_excite(x: Any, ratio: int, prefix: str) -> Any:
    """Weigh the channels by a two-layer network on their means (Hu et al. 2018, eq. 2 to 4).

    Parameters
    ----------
    x : (N, H, W, C) tensor
    ratio : int
        C over the length of the squeezed vector.
    prefix : str
    """
    import keras

    layers = keras.layers
    channels = x.shape[-1]
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{prefix}_se_squeeze")(x)
    gate = layers.Conv2D(max(1, channels // ratio), 1, activation="relu", name=f"{prefix}_se_reduce")(gate)
    gate = layers.Conv2D(channels, 1, activation="sigmoid", name=f"{prefix}_se_expand")(gate)
    return layers.Multiply(name=f"{prefix}_se_excite")([x, gate])


def bottleneck_stages(x: Any, repeats: tuple[int, ...], width: int, style: ResidualStyle) -> Any:
    """All stages of bottleneck blocks; each after the first halves the map and doubles the channels.

    Parameters
    ----------
    x : (N, H, W, C) tensor
    repeats : tuple of int
        Blocks of each stage.
    width : int
        Of the first stage's 3x3 convolutions.
    style : ResidualStyle

    Returns
    -------
    (N, H / 8, W / 8, 8 * width * style.expansion) tensor, for four stages
    """
    for stage, count in enumerate(repeats):
        channels = width * 2**stage
        for number in range(1, count + 1):
            prefix, first = f"conv{stage + 2}_block{number}", number == 1
            stride = 2 if first and stage > 0 else 1
            shortcut = projection(x, int(channels * style.expansion), stride, prefix, style) if first else x
            x = bottleneck_block(x, channels, stride, shortcut, prefix, style)
    return x


def residual_stem(x: Any, style: ResidualStyle) -> Any:
    """A 7x7 convolution and a pooling, each of which halves the picture.

    Both are padded on all sides alike, as the official weights were trained; padding ``same`` would shift them.
    """
    import keras

    from edgecv.layers.convolution import max_pool

    x = keras.layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = convolve(x, 64, 7, strides=2, padding="valid", bias=style.bias, epsilon=style.epsilon, name="conv1")
    x = keras.layers.ZeroPadding2D(1, name="pool1_pad")(x)
    return max_pool(x, 3, 2, "valid", "pool1_pool")


def _join(x: Any, shortcut: Any, prefix: str, style: ResidualStyle) -> Any:
    import keras

    if style.squeeze:
        x = squeeze_excite(x, style.squeeze, prefix)
    x = keras.layers.Add(name=f"{prefix}_add")([shortcut, x])
    return keras.layers.Activation("relu", name=f"{prefix}_out")(x)
