"""Convolutions as matrix products: kernels as matrices, and the patches of the image they are multiplied with."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_export.quantize.affine import FloatArray

_Indices = npt.NDArray[np.int64]


def has_patches(layer: Any) -> bool:
    """Whether this module can lay a layer open: Conv2D and DepthwiseConv2D, channels last, and Dense."""
    kind = type(layer).__name__
    if kind == "Dense":
        return True
    return kind in ("Conv2D", "DepthwiseConv2D") and layer.data_format == "channels_last"


def to_matrices(layer: Any, kernel: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(groups, inputs, outputs): the kernel of every group of input channels; every depthwise channel is a group."""
    if type(layer).__name__ == "Dense":
        return kernel[None]
    height, width, inputs, outputs = kernel.shape
    if type(layer).__name__ == "DepthwiseConv2D":
        return kernel.reshape(height * width, inputs, outputs).transpose(1, 0, 2)
    groups = layer.groups
    return kernel.reshape(height * width * inputs, groups, outputs // groups).transpose(1, 0, 2)


def from_matrices(layer: Any, matrices: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The kernel back from its matrices."""
    if type(layer).__name__ == "Dense":
        return matrices[0]
    return matrices.transpose(1, 0, 2).reshape(layer.kernel.shape)


def positions(layer: Any, values: FloatArray, most: int, generator: np.random.Generator) -> _Indices:
    """Which outputs of a layer to look at: all of them, or a sample without repetition."""
    count = values.size // values.shape[-1] if type(layer).__name__ == "Dense" else _count(layer, values)
    if count <= most:
        return np.arange(count)
    return np.sort(generator.choice(count, most, replace=False, shuffle=False))


def patches(layer: Any, values: FloatArray, chosen: _Indices) -> FloatArray:
    """(groups, chosen, inputs): what the kernel's matrices are multiplied with at the chosen outputs.

    Parameters
    ----------
    layer : keras.Layer
    values : (N, height, width, channels) or, for Dense, (..., channels)
        The layer's input.
    chosen : (S,) int
        Flat indices into the layer's output positions (image, row, column).
    """
    channels = values.shape[-1]
    if type(layer).__name__ == "Dense":
        return values.reshape(-1, channels)[chosen][None]
    (kernel_height, kernel_width), (step_y, step_x) = layer.kernel_size, layer.strides
    (dilation_y, dilation_x), (height, width) = layer.dilation_rate, _output_size(layer, values)
    image, row, column = (index[:, None, None] for index in np.unravel_index(chosen, (len(values), height, width)))
    rows = row * step_y + dilation_y * np.arange(kernel_height)[:, None]
    columns = column * step_x + dilation_x * np.arange(kernel_width)
    taken = _padded(layer, values)[image, rows, columns].reshape(len(chosen), kernel_height * kernel_width, channels)
    if type(layer).__name__ == "DepthwiseConv2D":
        return np.ascontiguousarray(taken.transpose(2, 0, 1))  # matrix products are slow otherwise
    groups = layer.groups
    grouped = taken.reshape(len(chosen), -1, groups, channels // groups).transpose(2, 0, 1, 3)
    return grouped.reshape(groups, len(chosen), -1)


def _count(layer: Any, values: FloatArray) -> int:
    height, width = _output_size(layer, values)
    return len(values) * height * width


def _output_size(layer: Any, values: FloatArray) -> tuple[int, int]:
    """Rows and columns of the layer's output."""
    sizes = zip(values.shape[1:3], _extents(layer), layer.strides, strict=True)
    if layer.padding == "same":
        height, width = (-(-size // stride) for size, _, stride in sizes)
    else:
        height, width = ((size - extent) // stride + 1 for size, extent, stride in sizes)
    return height, width


def _padded(layer: Any, values: FloatArray) -> FloatArray:
    """The input with the zeros that "same" puts around it: the odd one goes below and to the right."""
    if layer.padding != "same":
        return values
    pads = []
    for size, extent, stride in zip(values.shape[1:3], _extents(layer), layer.strides, strict=True):
        missing = max((-(-size // stride) - 1) * stride + extent - size, 0)
        pads.append((missing // 2, missing - missing // 2))
    return np.pad(values, ((0, 0), *pads, (0, 0)))


def _extents(layer: Any) -> tuple[int, int]:
    """How many rows and columns the dilated kernel spans."""
    height, width = (
        dilation * (size - 1) + 1 for size, dilation in zip(layer.kernel_size, layer.dilation_rate, strict=True)
    )
    return height, width
