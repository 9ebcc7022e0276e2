"""Layers with one kernel and a bias: where the kernel keeps its output channels."""

from __future__ import annotations

from typing import Any

# Class name -> axes of the kernel that together number the output channels.
_CHANNEL_AXES = {
    "Conv1D": (2,),
    "Conv2D": (3,),
    "Conv3D": (4,),
    "Conv1DTranspose": (1,),
    "Conv2DTranspose": (2,),
    "Conv3DTranspose": (3,),
    "DepthwiseConv1D": (1, 2),
    "DepthwiseConv2D": (2, 3),
    "Dense": (1,),
}


def has_kernel(layer: Any) -> bool:
    """Whether a layer is a convolution or a dense layer that the transforms understand."""
    return type(layer).__name__ in _CHANNEL_AXES and _is_keras(layer)


def channel_axes(layer: Any) -> tuple[int, ...]:
    """The axes of ``layer.kernel`` that together number the output channels."""
    return _CHANNEL_AXES[type(layer).__name__]


def kernel_of(layer: Any) -> Any:
    """The kernel as a numpy array."""
    from keras import ops

    return ops.convert_to_numpy(layer.kernel)


def bias_of(layer: Any) -> Any:
    """The (channels,) bias as a numpy array, zeros where the layer has none."""
    import numpy as np
    from keras import ops

    if layer.use_bias:
        return ops.convert_to_numpy(layer.bias)
    kernel = kernel_of(layer)
    return np.zeros(int(np.prod([kernel.shape[axis] for axis in channel_axes(layer)])), np.float32)


def activation_name(layer: Any) -> str:
    """Name of a layer's own activation, ``"linear"`` where it has none."""
    activation = layer.activation
    # Keras takes a layer for an activation too; that has no function's name.
    return str(getattr(activation, "__name__", type(activation).__name__))


def _is_keras(layer: Any) -> bool:
    return type(layer).__module__.partition(".")[0] == "keras"
