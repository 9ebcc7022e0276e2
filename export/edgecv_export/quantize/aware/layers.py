"""The layers of an aware network: one that rounds its kernel, and two that round what a layer hands on.

This module imports Keras when it is imported; `insert` does so when it is called.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from edgecv_export.quantize.affine import Range
from edgecv_export.quantize.aware.fake_quantize import (
    fake_quantize,
    fake_quantize_kernel,
    grid,
    learned_fake_quantize,
    levels,
)
from edgecv_export.quantize.kernels import bias_of, channel_axes, kernel_of

_PACKAGE = "edgecv"


@keras.saving.register_keras_serializable(package=_PACKAGE)
class AwareKernel(keras.layers.Layer):
    """A convolution or dense layer that computes with its kernel rounded per channel.

    What is trained is the kernel divided by `unit`, the largest magnitude that each channel began with. Batch norms
    are folded, so channels may differ by orders of magnitude; in these units an optimizer's step is the same share of
    every channel's grid. The product with a fixed gain per channel is that of Jacob et al. 2018, eq. 14, with the
    batch statistics frozen.

    Parameters
    ----------
    inner : keras.Layer
        Built, with a bias; the trained variables are its own.
    bits : int or None
        None: the kernel stays float.
    """

    def __init__(self, inner: Any, bits: int | None = 8, **options: Any) -> None:
        super().__init__(**options)
        self.inner, self.bits = inner, bits
        self.axes = channel_axes(inner)

    def build(self, input_shape: Any) -> None:
        if not self.inner.built:
            self.inner.build(input_shape)
        shape = [size if axis in self.axes else 1 for axis, size in enumerate(self.inner.kernel.shape)]
        self.unit = self.add_weight(shape=shape, initializer="ones", trainable=False, name="unit")
        self.bias_unit = self.add_weight(shape=(), initializer="ones", trainable=False, name="bias_unit")

    def adopt(self, layer: Any) -> None:
        """Begin with the kernel and bias of another layer of this shape."""
        kernel, bias = kernel_of(layer), bias_of(layer)
        others = tuple(axis for axis in range(kernel.ndim) if axis not in self.axes)
        unit = np.abs(kernel).max(axis=others, keepdims=True)
        unit[unit == 0] = 1.0
        bias_unit = float(np.sqrt(np.mean(np.square(bias)))) or 1.0
        self.unit.assign(unit)
        self.bias_unit.assign(bias_unit)
        self.inner.set_weights([kernel / unit, bias / bias_unit])

    def shift_bias(self, shift: Any) -> None:
        """Add to the bias as it is computed with."""
        self.inner.bias.assign(self.inner.bias + shift / self.bias_unit)

    def effective(self, *, rounded: bool = True) -> tuple[Any, Any]:
        """Kernel and bias as the layer computes with them; or the kernel as it is trained."""
        kernel = ops.multiply(self.inner.kernel, self.unit)
        if rounded and self.bits is not None:
            kernel = fake_quantize_kernel(kernel, self.axes, self.bits)
        return kernel, ops.multiply(self.inner.bias, self.bias_unit)

    def plain(self, *, rounded: bool = True) -> Any:
        """A layer of the inner one's kind with those."""
        kernel, bias = (ops.convert_to_numpy(value) for value in self.effective(rounded=rounded))
        copy = type(self.inner).from_config(self.inner.get_config())
        copy.build_from_config(self.inner.get_build_config())
        copy.set_weights([kernel, bias])
        return copy

    def call(self, inputs: Any) -> Any:
        kernel, bias = self.effective()
        with keras.StatelessScope(state_mapping=[(self.inner.kernel, kernel), (self.inner.bias, bias)]):
            return self.inner(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.inner.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        inner = keras.saving.serialize_keras_object(self.inner)
        return {**super().get_config(), "inner": inner, "bits": self.bits}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> AwareKernel:
        return cls(**{**config, "inner": keras.saving.deserialize_keras_object(config["inner"])})


class AwareActivation(keras.layers.Layer):
    """Rounds a tensor to the grid of a range that training moves; what both kinds of range share.

    Parameters
    ----------
    source : str
        Name of the layer whose output this is.
    low, high : float
        The range to begin with.
    bits : int
    widen : float
        Factor on the width of the range: the grid is that much coarser.
    """

    def __init__(self, source: str, low: float, high: float, bits: int = 8, widen: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.source, self.start, self.bits, self.widen = source, Range(low, high), bits, widen

    def limits(self) -> tuple[Any, Any]:
        """Low and high end of the range, widened."""
        raise NotImplementedError

    def range(self) -> Range:
        """The range whose 256 levels are exactly those this layer rounds to."""
        scale, zero_point = (float(ops.convert_to_numpy(value)) for value in grid(*self.limits(), self.bits))
        return Range(-zero_point * scale, (levels(self.bits) - zero_point) * scale)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "source": self.source,
            "low": self.start.low,
            "high": self.start.high,
            "bits": self.bits,
            "widen": self.widen,
        }


@keras.saving.register_keras_serializable(package=_PACKAGE)
class MovingAverageRange(AwareActivation):
    """A range that follows the batches by an exponential moving average (Jacob et al. 2018, section 3.1).

    Averaged are the extremes of each image, which are steadier than those of a batch and do not depend on its size,
    times `share`: a calibrated range may leave out rare extremes, and keeps leaving out the same share of them.

    Parameters
    ----------
    share : float
        Width of the calibrated range over the mean width of an image.
    momentum : float
        Of the average.

    Notes
    -----
    Activations grow as long as ranges follow: to the gradient the grid stands still, and larger values are finer on it.
    Ranges are therefore frozen after a while (`freeze`), as Krishnamoorthi 2018 freezes batch norms.
    """

    def __init__(self, *arguments: Any, share: float = 1.0, momentum: float = 0.99, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.share, self.momentum = share, momentum

    def build(self, input_shape: Any) -> None:
        self.low = _scalar(self, "low", self.start.low, trainable=False)
        self.high = _scalar(self, "high", self.start.high, trainable=False)
        self.following = _scalar(self, "following", 1.0, trainable=False)

    def freeze(self) -> None:
        """Keep the range as it is from now on."""
        self.following.assign(0.0)

    def limits(self) -> tuple[Any, Any]:
        return ops.multiply(self.low, self.widen), ops.multiply(self.high, self.widen)

    def call(self, inputs: Any, training: bool = False) -> Any:
        if training:
            axes = tuple(range(1, len(inputs.shape)))
            self._follow(self.low, ops.minimum(ops.min(inputs, axis=axes), 0.0))
            self._follow(self.high, ops.maximum(ops.max(inputs, axis=axes), 0.0))
        return fake_quantize(inputs, *self.limits(), self.bits)

    def _follow(self, end: Any, extremes: Any) -> None:
        seen = ops.mean(ops.stop_gradient(extremes)) * self.share
        end.assign(end + self.following * (1 - self.momentum) * (seen - end))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "share": self.share, "momentum": self.momentum}


@keras.saving.register_keras_serializable(package=_PACKAGE)
class LearnedRange(AwareActivation):
    """A range whose ends are trained with the weights (Choi et al. 2018; Esser et al. 2020).

    Trained is the logarithm of the factor by which each end has moved (Jain et al. 2020, "Trained Quantization
    Thresholds", section 3.2): steps are shares of the range, and an end keeps its sign; zero stays zero.
    """

    def build(self, input_shape: Any) -> None:
        self.log_low = _scalar(self, "log_low", 0.0, trainable=True)
        self.log_high = _scalar(self, "log_high", 0.0, trainable=True)

    def limits(self) -> tuple[Any, Any]:
        low = ops.exp(self.log_low) * (self.start.low * self.widen)
        return low, ops.exp(self.log_high) * (self.start.high * self.widen)

    def call(self, inputs: Any) -> Any:
        return learned_fake_quantize(inputs, *self.limits(), self.bits)


def _scalar(layer: Any, name: str, value: float, *, trainable: bool) -> Any:
    initializer = keras.initializers.Constant(value)
    return layer.add_weight(shape=(), initializer=initializer, trainable=trainable, name=name)
