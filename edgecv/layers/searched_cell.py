"""What the cells found by architecture search are made of (Zoph et al. 2018, appendix A): activation comes first."""

from __future__ import annotations

from typing import Any

from edgecv.layers.convolution import INITIALIZER, Kernel

_EPSILON = 1e-3


def normalise(x: Any, name: str) -> Any:
    """Batch normalisation."""
    import keras

    return keras.layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}_bn")(x)


def relu(x: Any, name: str) -> Any:
    """The activation before a convolution."""
    import keras

    return keras.layers.Activation("relu", name=f"{name}_relu")(x)


def convolution(x: Any, filters: int, kernel: Kernel, name: str, strides: Kernel = 1) -> Any:
    """A convolution without bias, and nothing else."""
    import keras

    return keras.layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer=INITIALIZER,
        name=f"{name}_conv",
    )(x)


def relu_convolution(x: Any, filters: int, name: str, strides: int = 1) -> Any:
    """ReLU, 1x1 convolution, batch normalisation."""
    return normalise(convolution(relu(x, name), filters, 1, name, strides), name)


def separable(x: Any, filters: int, kernel: int, name: str, strides: int = 1) -> Any:
    """Twice ReLU, separable convolution and batch normalisation; the first has the stride.

    Parameters
    ----------
    x : (N, H, W, C) tensor
    filters, kernel : int
    name : str
    strides : int
    """
    import keras

    for number, step in enumerate((strides, 1), start=1):
        part = f"{name}_{number}"
        x = keras.layers.SeparableConv2D(
            filters, kernel, strides=step, padding="same", use_bias=False, name=f"{part}_sepconv"
        )(relu(x, part))
        x = normalise(x, part)
    return x


def pool(x: Any, kind: str, name: str, strides: int = 1) -> Any:
    """3x3 pooling, ``"max"`` or ``"avg"``."""
    import keras

    layer = keras.layers.MaxPooling2D if kind == "max" else keras.layers.AveragePooling2D
    return layer(3, strides=strides, padding="same", name=f"{name}_{kind}_pool")(x)


def factorized_reduction(x: Any, filters: int, name: str) -> Any:
    """Halve the map without losing a pixel: two 1x1 convolutions, on the even and on the odd pixels."""
    import keras

    layers = keras.layers
    even = layers.AveragePooling2D(1, strides=2, padding="same", name=f"{name}_even")(x)
    # One pixel up and left, with zeros coming in at the other side.
    odd = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_pad")(x)
    odd = layers.Cropping2D(((1, 0), (1, 0)), name=f"{name}_crop")(odd)
    odd = layers.AveragePooling2D(1, strides=2, padding="same", name=f"{name}_odd")(odd)
    halves = [
        convolution(even, filters // 2, 1, f"{name}_even"),
        convolution(odd, filters - filters // 2, 1, f"{name}_odd"),
    ]
    return normalise(layers.Concatenate(name=f"{name}_concat")(halves), name)


def match(x: Any, like: Any, filters: int, name: str) -> Any:
    """Bring a cell's older input to the size of its newer one `like`, and to `filters` channels."""
    if x.shape[1:3] != like.shape[1:3]:
        return factorized_reduction(relu(x, name), filters, name)
    return x if x.shape[-1] == filters else relu_convolution(x, filters, name)
