"""Zeros behind the channels: the shortcut without parameters (He et al. 2016, section 3.3, option A)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def pad_channels(x: Any, channels: int, name: str) -> Any:
    """Append channels of zeros, half before and half behind.

    Parameters
    ----------
    x : (N, H, W, C) tensor
    channels : int
        At least C.
    name : str

    Returns
    -------
    (N, H, W, channels) tensor
    """
    return layer_class()(channels, name=name)(x)


@cache
def layer_class() -> type[keras.layers.Layer]:
    """The Keras layer, ``PadChannels``; made at the first call, since it needs Keras."""
    import keras
    from keras import ops

    @keras.saving.register_keras_serializable(package="edgecv")
    class PadChannels(keras.layers.Layer):
        """See `pad_channels`."""

        def __init__(self, channels: int, **kwargs: Any):
            super().__init__(**kwargs)
            self.channels = channels

        def call(self, x: Any) -> Any:
            missing = self.channels - x.shape[-1]
            return ops.pad(x, ((0, 0),) * (len(x.shape) - 1) + ((missing // 2, missing - missing // 2),))

        def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
            return (*input_shape[:-1], self.channels)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "channels": self.channels}

    return PadChannels
