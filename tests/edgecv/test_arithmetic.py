"""The course's own examples."""

from __future__ import annotations

import keras
import pytest

from edgecv.arithmetic import (
    bottleneck_multiplications,
    convolution_multiplications,
    convolution_output_size,
    separable_multiplications,
    separable_ratio,
    transposed_output_size,
)
from edgecv.complexity import complexity
from edgecv_runtime.errors import InputError


def test_separable_example() -> None:
    # 6×6×3, five filters of 3×3: 4×4×5. 27·16·5 = 2160 against 9·16·3 + 3·16·5 = 432 + 240 = 672.
    assert convolution_output_size(6, 3) == 4
    assert convolution_multiplications((4, 4), 3, 3, 5) == 2160
    assert separable_multiplications((4, 4), 3, 3, 5) == 672
    assert separable_ratio(3, 5) == pytest.approx(672 / 2160) == pytest.approx(1 / 5 + 1 / 9)
    image = keras.Input((6, 6, 3))
    assert complexity(keras.Model(image, keras.layers.Conv2D(5, 3)(image))).macs == 2160
    assert complexity(keras.Model(image, keras.layers.SeparableConv2D(5, 3)(image))).macs == 672


def test_inception_bottleneck() -> None:
    # 28×28×192, 32 filters of 5×5: 120 M; through 16 channels 2.4 M + 10.0 M = 12.4 M.
    alone, behind = bottleneck_multiplications((28, 28), 192, 5, 32, squeezed=16)
    assert (round(alone / 1e6), round(behind / 1e6, 1)) == (120, 12.4)
    assert behind == 28 * 28 * 16 * 192 + 28 * 28 * 32 * 25 * 16


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "result"),
    [(2, 3, 2, 1, 3), (2, 3, 1, 0, 4), (4, 2, 2, 0, 8), (28, 2, 2, 0, 56), (5, 4, 2, 1, 10)],
)
def test_transposed_output_is_what_the_convolution_came_from(
    size: int, kernel: int, stride: int, padding: int, result: int
) -> None:
    assert transposed_output_size(size, kernel, stride, padding) == result
    assert convolution_output_size(result, kernel, stride, padding) == size


@pytest.mark.parametrize(("stride", "kernel"), [(1, 3), (2, 3), (2, 5), (3, 3)])
def test_sizes_are_those_of_keras(stride: int, kernel: int) -> None:
    image = keras.Input((13, 13, 1))
    assert keras.layers.Conv2D(1, kernel, stride)(image).shape[1] == convolution_output_size(13, kernel, stride)
    assert keras.layers.Conv2DTranspose(1, kernel, stride)(image).shape[1] == transposed_output_size(13, kernel, stride)


def test_dilation_widens_the_window() -> None:
    assert convolution_output_size(32, 3, dilation=2) == 28
    assert convolution_output_size(32, 3, padding=2, dilation=2) == 32


def test_refused() -> None:
    with pytest.raises(InputError, match="kernel must be a whole number of at least 1; received 0"):
        convolution_output_size(6, 0)
    with pytest.raises(InputError, match="the window must fit into the padded input of 6; received 7"):
        convolution_output_size(6, 7)
    with pytest.raises(InputError, match="padding must leave something of 3 positions; received 2"):
        transposed_output_size(1, 3, padding=2)
