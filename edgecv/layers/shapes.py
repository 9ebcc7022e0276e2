"""Arithmetic on channel counts, repeats and paddings: plain numbers, no Keras."""

from __future__ import annotations

import math

from edgecv_runtime.errors import InputError


def make_divisible(channels: float, divisor: int = 8) -> int:
    """Round a channel count to a multiple of `divisor`, never losing more than a tenth.

    Multiples of 8 keep vector units full. The rule comes from the MobileNet reference code and is used by
    MobileNet v2 and EfficientNet alike.

    Parameters
    ----------
    channels : float
        The wanted count, for example 32 * 1.4.
    divisor : int

    Examples
    --------
    >>> make_divisible(32 * 1.4), make_divisible(32 * 0.35)  # 11.2 may not shrink to 8
    (48, 16)
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def round_repeats(repeats: int, depth: float) -> int:
    """Number of layers of a stage under a depth coefficient: rounded up (EfficientNet reference)."""
    return math.ceil(depth * repeats)


def strided_padding(size: tuple[int, int], kernel: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Zero padding before a stride-2 convolution: ((top, bottom), (left, right)).

    With it an unpadded convolution gives what padding ``same`` gives, for odd and for even sizes. The official
    weight files belong to graphs that pad in a layer of its own.

    Parameters
    ----------
    size : (height, width)
    kernel : int
        Odd.
    """
    half = kernel // 2
    top, left = (half - 1 + length % 2 for length in size)
    return (top, half), (left, half)


def check_image_shape(
    model: str, shape: tuple[int, ...] | None, default: tuple[int, ...], minimum: int
) -> tuple[int, int, int]:
    """The input shape to build, checked.

    Parameters
    ----------
    model : str
        For the message.
    shape : (height, width, channels) or None
        None takes `default`.
    default : (height, width, channels)
    minimum : int
        Smallest height and width, pixels.

    Raises
    ------
    InputError
        Not three positive whole numbers, or too small; or Keras is set to channels first.
    """
    import keras

    if keras.config.image_data_format() != "channels_last":
        raise InputError(
            f"{model} is built with channels last; Keras is set to {keras.config.image_data_format()}: "
            "keras.config.set_image_data_format('channels_last')"
        )
    shape = tuple(default if shape is None else shape)
    if len(shape) != 3 or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in shape):
        raise InputError(f"{model}: input_shape must be (height, width, channels); received {shape}")
    height, width, channels = shape
    if min(height, width) < minimum:
        raise InputError(f"{model}: the input must be at least {minimum}x{minimum} pixels; received {height}x{width}")
    return height, width, channels


def check_input_shape(
    model: str, shape: tuple[int, ...] | None, default: tuple[int, ...], minimum: int
) -> tuple[int, ...]:
    """The input shape of a network for images, signals or volumes, checked.

    Parameters
    ----------
    model : str
        For the message.
    shape : tuple of int, or None
        None takes `default`.
    default : (height, width, channels), (length, channels) or (depth, height, width, channels)
        Says which of them the network takes.
    minimum : int
        Smallest of the lengths, samples or pixels.

    Raises
    ------
    InputError
        Another number of axes, not positive whole numbers, or too small; or Keras is set to channels first.
    """
    if len(default) == 3:
        return check_image_shape(model, shape, default, minimum)
    names = {2: "(length, channels)", 4: "(depth, height, width, channels)"}[len(default)]
    shape = tuple(default if shape is None else shape)
    whole = all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in shape)
    if len(shape) != len(default) or not whole:
        raise InputError(f"{model}: input_shape must be {names}; received {shape}")
    if min(shape[:-1]) < minimum:
        raise InputError(f"{model}: every length of the input must be at least {minimum}; received {shape}")
    return shape


def check_classes(model: str, classes: int) -> int:
    """Refuse a number of classes that is not a positive whole number."""
    if not isinstance(classes, int) or isinstance(classes, bool) or classes < 1:
        raise InputError(f"{model}: classes must be a whole number of at least 1; received {classes!r}")
    return classes
