"""L2 normalisation over the channels with a learned scale (Liu et al. 2015, ParseNet, section 3.3)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

_TINY = 1e-10  # of a sum of squares: a map of zeros stays one


def l2_scale(x: Any, name: str, scale: float = 20.0) -> Any:
    """Divide every position's features by their length, and multiply each channel with a learned factor.

    A map from early in a network has features of another size than those from late; so they train together.

    Parameters
    ----------
    x : (N, H, W, C) tensor
    name : str
    scale : float
        What the factors start from.

    Returns
    -------
    (N, H, W, C) tensor
    """
    return layer_class()(scale=scale, name=name)(x)


@cache
def layer_class() -> type[keras.layers.Layer]:
    """The Keras layer, ``L2Scale``; made at the first call, since it needs Keras."""
    import keras
    from keras import ops

    @keras.saving.register_keras_serializable(package="edgecv")
    class L2Scale(keras.layers.Layer):
        """See `l2_scale`."""

        def __init__(self, scale: float = 20.0, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.scale = scale

        def build(self, input_shape: tuple[int | None, ...]) -> None:
            start = keras.initializers.Constant(self.scale)
            self.factors = self.add_weight(shape=(input_shape[-1],), initializer=start, name="factors")

        def call(self, x: Any) -> Any:
            squares = ops.sum(ops.square(x), axis=-1, keepdims=True)
            return x * ops.rsqrt(squares + _TINY) * self.factors

        def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
            return input_shape

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "scale": self.scale}

    return L2Scale
