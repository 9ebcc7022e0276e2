"""Going down a loss of a picture's pixels: L-BFGS where SciPy is installed, else Adam."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.explain.gradients import gradient
from edgecv_runtime.errors import InputError, MissingPackageError

Array = npt.NDArray[np.float32]
Notify = Callable[[int, Array], None]

METHODS = ("l-bfgs", "adam")

_CORRECTIONS = 20  # pairs of steps and gradients that L-BFGS remembers
_RATE, _FIRST, _SECOND = 0.03, 0.9, 0.999  # of Adam; the rate in units of the pixels' range


def choose_method(method: str | None) -> str:
    """The method asked for; by itself L-BFGS, as published, where SciPy is there.

    Raises
    ------
    InputError
        No such method.
    MissingPackageError
        L-BFGS without SciPy.
    """
    there = importlib.util.find_spec("scipy") is not None
    if method is None:
        return "l-bfgs" if there else "adam"
    if method not in METHODS:
        raise InputError(f"method must be {' or '.join(METHODS)}; received {method!r}")
    if method == "l-bfgs" and not there:
        raise MissingPackageError("l-bfgs needs SciPy: pip install 'edgecv[style]', or take method adam")
    return method


def descend(function: Callable[[Any], Any], start: Array, steps: int, method: str, notify: Notify) -> Array:
    """Lower the sum of a function's values, keeping every pixel in 0..1.

    Parameters
    ----------
    function : callable
        From a float tensor of the shape of `start` to the parts of the loss, by Keras layers and ``keras.ops``.
    start : array
    steps : int
    method : {"l-bfgs", "adam"}
    notify : callable
        Is given the number of each step, from 0 for the start on, and the parts of the loss after it.

    Returns
    -------
    array
    """
    compiled = _compiled(function)

    def evaluate(at: npt.NDArray[Any]) -> tuple[Array, Array]:
        return gradient(compiled, at.reshape(start.shape))

    return (_lbfgs if method == "l-bfgs" else _adam)(evaluate, start, steps, notify)


def _compiled(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The function as one graph, on the back ends that have such: hundreds of layers are called hundreds of times."""
    import keras

    compile_with = {"tensorflow": ("tensorflow", "function"), "jax": ("jax", "jit")}
    found = compile_with.get(keras.backend.backend())
    made: Callable[[Any], Any] = function if found is None else getattr(sys.modules[found[0]], found[1])(function)
    return made


def _lbfgs(evaluate: Callable[[Any], tuple[Array, Array]], start: Array, steps: int, notify: Notify) -> Array:
    from scipy.optimize import Bounds, minimize

    seen: list[Array] = []

    def value_and_slope(at: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        parts, slope = evaluate(at)
        seen.append(parts)
        return float(parts.sum(dtype=np.float64)), slope.astype(np.float64).ravel()

    taken = 0

    def step_taken(_: npt.NDArray[np.float64]) -> None:
        nonlocal taken
        taken += 1
        notify(taken, seen[-1])  # the last point that the line search tried is the one it took

    notify(0, evaluate(start)[0])
    found = minimize(
        value_and_slope,
        start.astype(np.float64).ravel(),
        jac=True,
        method="L-BFGS-B",
        bounds=Bounds(0.0, 1.0),
        callback=step_taken,
        options={"maxiter": steps, "maxfun": 2 * steps + 20, "maxcor": _CORRECTIONS, "ftol": 1e-12, "gtol": 1e-12},
    )
    return np.asarray(found.x, np.float32).reshape(start.shape)


def _adam(evaluate: Callable[[Any], tuple[Array, Array]], start: Array, steps: int, notify: Notify) -> Array:
    """Kingma & Ba 2015, algorithm 1; what leaves the range is put back."""
    image = start.copy()
    mean, square = np.zeros_like(image), np.zeros_like(image)
    parts, slope = evaluate(image)
    notify(0, parts)
    for step in range(1, steps + 1):
        mean += (1 - _FIRST) * (slope - mean)
        square += (1 - _SECOND) * (np.square(slope) - square)
        direction = (mean / (1 - _FIRST**step)) / (np.sqrt(square / (1 - _SECOND**step)) + 1e-12)
        image = np.clip(image - _RATE * direction, 0, 1)
        parts, slope = evaluate(image)
        notify(step, parts)
    return image
