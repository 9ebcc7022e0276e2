"""The one place that knows how each Keras back end differentiates.

Keras has no gradient call of its own. The back end that Keras runs on is loaded already when a model exists, so that
asking for it by name loads nothing new.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import UnsupportedError

Array = npt.NDArray[np.float32]


def gradient(function: Callable[[Any], Any], at: Any) -> tuple[Array, Array]:
    """Value of a function, and the gradient of the sum of its values.

    Parameters
    ----------
    function : callable
        From a float tensor to a tensor, by Keras layers and ``keras.ops``. Samples of a batch must not depend on one
        another: then the gradient of the sum is that of each sample.
    at : array

    Returns
    -------
    value : array of the function's shape
    gradient : array of the shape of `at`

    Raises
    ------
    UnsupportedError
        Keras runs on a back end without gradients.
    """
    import keras

    backend = keras.backend.backend()
    if backend not in _GRADIENTS:
        raise UnsupportedError(f"gradients need Keras on {', '.join(_GRADIENTS)}; it runs on {backend}")
    value, slope = _GRADIENTS[backend](function, np.asarray(at, np.float32))
    return np.asarray(keras.ops.convert_to_numpy(value)), np.asarray(keras.ops.convert_to_numpy(slope))


def _tensorflow(function: Callable[[Any], Any], at: Array) -> tuple[Any, Any]:
    tensorflow: Any = sys.modules["tensorflow"]
    point = tensorflow.convert_to_tensor(at)
    with tensorflow.GradientTape() as tape:
        tape.watch(point)
        value = function(point)
    slope = tape.gradient(value, point)
    return value, tensorflow.zeros_like(point) if slope is None else slope


def _jax(function: Callable[[Any], Any], at: Array) -> tuple[Any, Any]:
    jax: Any = sys.modules["jax"]

    def summed(point: Any) -> tuple[Any, Any]:
        value = function(point)
        return value.sum(), value

    (_, value), slope = jax.value_and_grad(summed, has_aux=True)(jax.numpy.asarray(at))
    return value, slope


def _torch(function: Callable[[Any], Any], at: Array) -> tuple[Any, Any]:
    import keras

    torch: Any = sys.modules["torch"]
    point = keras.ops.convert_to_tensor(at).detach().requires_grad_()
    value = function(point)
    (slope,) = torch.autograd.grad(value.sum(), point, allow_unused=True)
    return value, torch.zeros_like(point) if slope is None else slope


_GRADIENTS = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
