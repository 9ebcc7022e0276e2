"""Learned upsampling that starts as bilinear interpolation (Long et al. 2015, section 3.3)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

_PACKAGE = "edgecv"


def bilinear_kernel(factor: int) -> npt.NDArray[np.float32]:
    """(2f − f mod 2) squared weights of a transposed convolution that interpolates linearly between pixel middles.

    Examples
    --------
    >>> bilinear_kernel(2)[0].tolist()
    [0.0625, 0.1875, 0.1875, 0.0625]
    """
    size = 2 * factor - factor % 2
    middle = (size - 1) / 2
    along = 1 - np.abs(np.arange(size) - middle) / factor
    return np.outer(along, along).astype(np.float32)


@keras.saving.register_keras_serializable(package=_PACKAGE)
class Bilinear(keras.initializers.Initializer):
    """`bilinear_kernel` from each channel to itself, zero between channels."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        values = np.zeros(tuple(shape), np.float32)
        for channel in range(min(shape[2:])):
            values[:, :, channel, channel] = bilinear_kernel(self.factor)
        return keras.ops.convert_to_tensor(values, dtype=dtype or "float32")

    def get_config(self) -> dict[str, Any]:
        return {"factor": self.factor}


def upsample(x: Any, factor: int, name: str) -> Any:
    """A transposed convolution that enlarges a map `factor` times; bilinear until it is trained."""
    return keras.layers.Conv2DTranspose(
        x.shape[-1],
        2 * factor - factor % 2,
        strides=factor,
        padding="same",
        use_bias=False,
        kernel_initializer=Bilinear(factor),
        name=name,
    )(x)
