"""Layers of volumes computed plane by plane: the same values, by operations that every TFLite runtime has.

TFLite knows no pooling of volumes, and its 3-D convolution has kernels for floats alone. Both can be had of their 2-D
counterparts with the depth in place of the batch: a convolution sees its planes side by side, as more channels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any


def in_planes(layer: Any, kinds: Collection[str]) -> Callable[..., Any] | None:
    """What computes a layer of (1, D, H, W, C) volumes in planes; None where it is computed as it is.

    Parameters
    ----------
    layer : keras.Layer
    kinds : collection of str
        Classes of layers that are to be, ``"MaxPooling3D"`` and ``"Conv3D"``.
    """
    kind = type(layer).__name__
    if kind not in kinds or layer.data_format != "channels_last":
        return None
    if kind == "MaxPooling3D":
        return partial(_pooled, layer)
    return partial(_convolved, layer) if kind == "Conv3D" and layer.groups == 1 else None


def _pooled(layer: Any, volume: Any, **_: Any) -> Any:
    """The maxima of every plane, and then those along the depth."""
    import tensorflow as tf

    padding = layer.padding.upper()
    (size, *plane), (step, *steps) = layer.pool_size, layer.strides
    planes = tf.nn.max_pool2d(tf.squeeze(volume, 0), plane, steps, padding)
    depth, height, width, channels = planes.shape
    columns = tf.reshape(planes, (1, depth, height * width, channels))
    pooled = tf.nn.max_pool2d(columns, (size, 1), (step, 1), padding)
    return tf.reshape(pooled, (1, pooled.shape[1], height, width, channels))


def _convolved(layer: Any, volume: Any, **_: Any) -> Any:
    """One 2-D convolution: the planes under the kernel are so many channels of each output plane."""
    import tensorflow as tf

    (size, height, width), (step, *steps) = layer.kernel_size, layer.strides
    spread, *spreads = layer.dilation_rate
    planes = _padded(layer, tf.squeeze(volume, 0))
    last = planes.shape[0] - spread * (size - 1)
    under = [planes[spread * place : spread * place + last : step] for place in range(size)]
    kernel = tf.transpose(tf.convert_to_tensor(layer.kernel), (1, 2, 0, 3, 4))  # (H, W, D, in, out)
    kernel = tf.reshape(kernel, (height, width, -1, kernel.shape[-1]))
    stacked = tf.concat(under, axis=-1) if size > 1 else under[0]
    found = tf.nn.conv2d(stacked, kernel, steps, layer.padding.upper(), dilations=spreads)
    if layer.use_bias:
        found = tf.nn.bias_add(found, tf.convert_to_tensor(layer.bias))
    return layer.activation(tf.expand_dims(found, 0))


def _padded(layer: Any, planes: Any) -> Any:
    """With the planes of zeros that "same" puts before and behind; the odd one goes behind."""
    import tensorflow as tf

    if layer.padding != "same":
        return planes
    depth, step = planes.shape[0], layer.strides[0]
    extent = layer.dilation_rate[0] * (layer.kernel_size[0] - 1) + 1
    missing = max((-(-depth // step) - 1) * step + extent - depth, 0)
    return tf.pad(planes, ((missing // 2, missing - missing // 2), (0, 0), (0, 0), (0, 0))) if missing else planes
