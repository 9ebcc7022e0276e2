"""Convolution, batch normalisation and activation as one block, and pooling beside it: what most networks repeat."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# He initialisation (He et al. 2015, "Delving Deep into Rectifiers", eq. 10), as the residual networks train.
INITIALIZER = "he_normal"

Kernel = int | tuple[int, int]


def convolve(
    x: Any,
    filters: int,
    kernel: Kernel = 1,
    *,
    name: str,
    strides: Kernel = 1,
    padding: str = "same",
    groups: int = 1,
    bias: bool = False,
    activation: str | None = "relu",
    epsilon: float = 1e-3,
) -> Any:
    """A convolution ``<name>_conv``, its batch normalisation ``<name>_bn`` and activation ``<name>_<activation>``.

    Parameters
    ----------
    x : (N, H, W, C) tensor
    filters : int
    kernel : int or (height, width)
    name : str
        What the names of the layers begin with.
    strides : int or (height, width)
    padding : {"same", "valid"}
    groups : int
        Of channels, each convolved alone.
    bias : bool
        The normalisation behind it makes one superfluous; official weights may have it.
    activation : str or None
    epsilon : float
        Of the normalisation.

    Returns
    -------
    (N, H', W', filters) tensor
    """
    import keras

    layers = keras.layers
    x = layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        padding=padding,
        groups=groups,
        use_bias=bias,
        kernel_initializer=INITIALIZER,
        name=f"{name}_conv",
    )(x)
    x = layers.BatchNormalization(epsilon=epsilon, name=f"{name}_bn")(x)
    return x if activation is None else layers.Activation(activation, name=f"{name}_{activation}")(x)


def chain(x: Any, steps: Iterable[tuple[int, Kernel]], name: str, **kwargs: Any) -> Any:
    """Several blocks of `convolve`, one behind the other: ``<name>_1``, ``<name>_2``, ...

    Parameters
    ----------
    x : (N, H, W, C) tensor
    steps : iterable of (filters, kernel)
    name : str
    **kwargs
        Further arguments of `convolve`, for all of them.
    """
    for number, (filters, kernel) in enumerate(steps, start=1):
        x = convolve(x, filters, kernel, name=f"{name}_{number}", **kwargs)
    return x


def max_pool(x: Any, size: int, strides: int, padding: str, name: str) -> Any:
    """Max pooling."""
    import keras

    return keras.layers.MaxPooling2D(size, strides=strides, padding=padding, name=name)(x)


def average_pool(x: Any, size: int, name: str, strides: int = 1) -> Any:
    """Average pooling that keeps the size (at stride 1); what lies outside the map does not count."""
    import keras

    return keras.layers.AveragePooling2D(size, strides=strides, padding="same", name=name)(x)


def concatenate(branches: list[Any], name: str) -> Any:
    """Join maps of one size along the channels."""
    import keras

    return keras.layers.Concatenate(name=name)(branches)
