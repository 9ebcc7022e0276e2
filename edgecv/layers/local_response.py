"""Local response normalisation (Krizhevsky, Sutskever, Hinton 2012, section 3.3), of operations every exporter has."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from edgecv_runtime.errors import InputError

if TYPE_CHECKING:
    import keras


def local_response_normalization(
    x: Any, name: str, *, size: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75
) -> Any:
    """Divide every channel by the strength of its neighbours: ``x_i / (k + α Σ_j x_j²)^β``.

    The sum goes over the `size` channels around i that exist. The defaults are the paper's.

    Parameters
    ----------
    x : (N, H, W, C) tensor
    name : str
    size : int
        Odd.
    k, alpha, beta : float

    Returns
    -------
    (N, H, W, C) tensor
    """
    return layer_class()(size=size, k=k, alpha=alpha, beta=beta, name=name)(x)


@cache
def layer_class() -> type[keras.layers.Layer]:
    """The Keras layer, ``LocalResponseNormalization``; made at the first call, since it needs Keras."""
    import keras
    from keras import ops

    @keras.saving.register_keras_serializable(package="edgecv")
    class LocalResponseNormalization(keras.layers.Layer):
        """See `local_response_normalization`."""

        def __init__(self, size: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75, **kwargs: Any):
            super().__init__(**kwargs)
            if size % 2 == 0 or size < 1:
                raise InputError(f"the window of a local response normalisation must be odd; received {size}")
            self.size, self.k, self.alpha, self.beta = size, k, alpha, beta

        def call(self, x: Any) -> Any:
            channels, half = x.shape[-1], self.size // 2
            squares = ops.pad(ops.square(x), ((0, 0),) * (len(x.shape) - 1) + ((half, half),))
            total = squares[..., :channels]
            for start in range(1, self.size):
                total = total + squares[..., start : start + channels]
            strength = self.k + self.alpha * total
            if self.beta == 0.75:
                # strength^-0.75 of square roots alone: integer kernels have those and no general power.
                root = ops.rsqrt(strength)
                return x * (root * ops.rsqrt(strength * root))
            return x * ops.power(strength, -self.beta)

        def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
            return input_shape

        def get_config(self) -> dict[str, Any]:
            own = {"size": self.size, "k": self.k, "alpha": self.alpha, "beta": self.beta}
            return {**super().get_config(), **own}

    return LocalResponseNormalization
