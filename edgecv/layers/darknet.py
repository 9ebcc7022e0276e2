"""The convolution that Darknet's networks repeat: batch normalisation where wanted, and a leaky ReLU."""

from __future__ import annotations

from typing import Any

SLOPE = 0.1  # Redmon et al. 2016, eq. 2


def darknet_conv(x: Any, filters: int, kernel: int, name: str, *, strides: int = 1, normalise: bool = True) -> Any:
    """A convolution ``<name>``, batch normalisation ``<name>_bn`` and ``<name>_leaky``, φ(x) = max(x, 0.1 x).

    Parameters
    ----------
    x : (N, H, W, C) tensor
    filters, kernel : int
    name : str
    strides : int
    normalise : bool
        Without it the convolution has a bias.

    Returns
    -------
    (N, H / strides, W / strides, filters) tensor
    """
    import keras

    from edgecv.layers.convolution import INITIALIZER

    layers = keras.layers
    x = layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        padding="same",
        use_bias=not normalise,
        kernel_initializer=INITIALIZER,
        name=name,
    )(x)
    if normalise:
        x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return layers.LeakyReLU(SLOPE, name=f"{name}_leaky")(x)
