"""Max pooling that remembers where its maxima were, and the unpooling that puts values back there.

SegNet (Badrinarayanan, Kendall, Cipolla 2017, section 3.1; Zeiler & Fergus 2014) stores the place of each maximum and
fills the finer map with zeros elsewhere. Written with slices, comparisons and products only: no gather, no scatter, and
no operator that a format lacks (TensorFlow's max_pool_with_argmax is a custom operator in TFLite).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from edgecv_runtime.errors import InputError

_PACKAGE = "edgecv"


@keras.saving.register_keras_serializable(package=_PACKAGE)
class MaxPoolingWithIndices(keras.layers.Layer):
    """2×2 max pooling with stride 2, and the place of each maximum.

    From (N, 2h, 2w, C) to two (N, h, w, C): the maxima, and their places 0 (left above), 1 (right above), 2 (left
    below), 3 (right below) as floats. Of equal values the first counts.

    Raises
    ------
    InputError
        An odd height or width.
    """

    pool_size, strides, padding = 2, 2, "valid"

    def call(self, x: Any) -> tuple[Any, Any]:
        corners = [x[:, row::2, column::2, :] for row in (0, 1) for column in (0, 1)]
        above, below = ops.maximum(corners[0], corners[1]), ops.maximum(corners[2], corners[3])
        # Larger, never equal: quantized, the maximum and the value it was taken of need not be the same number.
        lower, right_above, right_below = (
            ops.cast(ops.greater(second, first), x.dtype)
            for second, first in ((below, above), (corners[1], corners[0]), (corners[3], corners[2]))
        )
        places = (1.0 - lower) * right_above + lower * (2.0 + right_below)
        return ops.maximum(above, below), places

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, Any]:
        batch, height, width, channels = input_shape
        if (height or 0) % 2 or (width or 0) % 2:
            raise InputError(f"pooling with indices needs an even height and width; received {height}x{width}")
        pooled = (batch, height and height // 2, width and width // 2, channels)
        return pooled, pooled

    def compute_output_spec(self, x: Any) -> tuple[Any, Any]:
        first, second = self.compute_output_shape(x.shape)
        return keras.KerasTensor(first, x.dtype), keras.KerasTensor(second, x.dtype)


@keras.saving.register_keras_serializable(package=_PACKAGE)
class MaxUnpooling(keras.layers.Layer):
    """From values and places, each (N, h, w, C), to (N, 2h, 2w, C): every value at its place, zero elsewhere."""

    pool_size = 2

    def call(self, inputs: Any) -> Any:
        values, places = inputs
        _, height, width, channels = values.shape  # fixed: reshapes of open sizes are refused by some formats
        # 1 where the place is this corner: exact for whole numbers, and close for numbers that were quantized.
        corners = [values * ops.relu(1.0 - ops.abs(places - float(corner))) for corner in range(4)]
        rows = [
            ops.reshape(ops.stack(corners[first : first + 2], axis=3), (-1, height, 2 * width, channels))
            for first in (0, 2)
        ]
        return ops.reshape(ops.stack(rows, axis=2), (-1, 2 * height, 2 * width, channels))

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        batch, height, width, channels = input_shape[0]
        return batch, height and 2 * height, width and 2 * width, channels
