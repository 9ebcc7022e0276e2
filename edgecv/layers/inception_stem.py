"""The stem of Inception-v4, which PolyNet took over (Szegedy et al. 2017, figure 3)."""

from __future__ import annotations

from typing import Any

from edgecv.layers.convolution import chain, concatenate, convolve, max_pool


def inception_v4_stem(image: Any) -> Any:
    """From (N, H, W, 3) to 384 channels at an eighth of the size: 35 x 35 at 299 pixels.

    Three 3x3 convolutions, then three times two branches that are joined: pooling and a strided convolution, a
    short and a long chain, a strided convolution and pooling.
    """
    x = convolve(image, 32, 3, strides=2, padding="valid", name="stem_1")
    x = convolve(x, 32, 3, padding="valid", name="stem_2")
    x = convolve(x, 64, 3, name="stem_3")
    pooled = max_pool(x, 3, 2, "valid", "stem_pool1")
    strided = convolve(x, 96, 3, strides=2, padding="valid", name="stem_4")
    x = concatenate([pooled, strided], "stem_concat1")
    short = convolve(x, 64, 1, name="stem_short")
    short = convolve(short, 96, 3, padding="valid", name="stem_short_3x3")
    long = chain(x, ((64, 1), (64, (7, 1)), (64, (1, 7))), "stem_long")
    long = convolve(long, 96, 3, padding="valid", name="stem_long_3x3")
    x = concatenate([short, long], "stem_concat2")
    strided = convolve(x, 192, 3, strides=2, padding="valid", name="stem_5")
    pooled = max_pool(x, 3, 2, "valid", "stem_pool2")
    return concatenate([strided, pooled], "stem_concat3")
