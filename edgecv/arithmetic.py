"""The sums that one does before a network is built: what a convolution costs, and how large its output is."""

from __future__ import annotations

import math

from edgecv_runtime.errors import InputError


def convolution_output_size(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """⌊(n + 2p − d(f − 1) − 1) / s⌋ + 1, along one axis.

    Raises
    ------
    InputError
        A value out of range, or a window larger than the padded input.

    Examples
    --------
    >>> convolution_output_size(227, 11, stride=4)
    55
    """
    _check(size=size, kernel=kernel, stride=stride, dilation=dilation)
    _check(0, padding=padding)
    window = dilation * (kernel - 1) + 1
    if size + 2 * padding < window:
        raise InputError(f"the window must fit into the padded input of {size + 2 * padding}; received {window}")
    return (size + 2 * padding - window) // stride + 1


def transposed_output_size(size: int, kernel: int, stride: int = 1, padding: int = 0) -> int:
    """s(n − 1) + f − 2p, along one axis: the input size of the convolution that it is the transpose of.

    Raises
    ------
    InputError
        A value out of range, or nothing is left after the padding is cut away.

    Examples
    --------
    >>> transposed_output_size(2, 3, stride=2, padding=1)
    3
    """
    _check(size=size, kernel=kernel, stride=stride)
    _check(0, padding=padding)
    result = stride * (size - 1) + kernel - 2 * padding
    if result < 1:
        raise InputError(
            f"padding must leave something of {stride * (size - 1) + kernel} positions; received {padding}"
        )
    return result


def convolution_multiplications(output: tuple[int, int], channels: int, kernel: int, filters: int) -> int:
    """Of a convolution: filter values times positions times filters.

    Parameters
    ----------
    output : (height, width)
    channels : int
        Of the input.
    kernel : int
        f, the side of the window.
    filters : int
        n_c, channels of the output.

    Examples
    --------
    >>> convolution_multiplications((4, 4), 3, 3, 5)  # 3·3·3 · 4·4 · 5
    2160
    """
    _check(height=output[0], width=output[1], channels=channels, kernel=kernel, filters=filters)
    return kernel**2 * channels * math.prod(output) * filters


def separable_multiplications(output: tuple[int, int], channels: int, kernel: int, filters: int) -> int:
    """Of a depthwise convolution and the 1×1 convolution after it (Howard et al. 2017, eq. 5).

    Examples
    --------
    >>> separable_multiplications((4, 4), 3, 3, 5)  # 3·3 · 4·4 · 3 + 3 · 4·4 · 5 = 432 + 240
    672
    """
    depthwise = convolution_multiplications(output, 1, kernel, channels)
    return depthwise + convolution_multiplications(output, channels, 1, filters)


def separable_ratio(kernel: int, filters: int) -> float:
    """1/n_c + 1/f²: what is left of a convolution's cost when it is made depthwise separable (Howard et al. 2017).

    Examples
    --------
    >>> round(separable_ratio(3, 5), 2)
    0.31
    """
    _check(kernel=kernel, filters=filters)
    return 1 / filters + 1 / kernel**2


def bottleneck_multiplications(
    output: tuple[int, int], channels: int, kernel: int, filters: int, squeezed: int
) -> tuple[int, int]:
    """Of a convolution without and with a 1×1 convolution to `squeezed` channels before it (Szegedy et al. 2015).

    Returns
    -------
    (without, with) : int

    Examples
    --------
    >>> bottleneck_multiplications((28, 28), 192, 5, 32, squeezed=16)  # 120 M and 12.4 M
    (120422400, 12443648)
    """
    reduced = convolution_multiplications(output, channels, 1, squeezed)
    expanded = convolution_multiplications(output, squeezed, kernel, filters)
    return convolution_multiplications(output, channels, kernel, filters), reduced + expanded


def _check(minimum: int = 1, **values: int) -> None:
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise InputError(f"{name} must be a whole number of at least {minimum}; received {value!r}")
