"""Scores of an auto-encoder: where a picture is not what the network has learned to rebuild."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.decoders.anomaly import error_map
from edgecv_runtime.errors import InputError

if TYPE_CHECKING:
    import keras

Array = npt.NDArray[np.float32]


def score_maps(model: keras.Model, inputs: npt.ArrayLike, smooth: int = 1, batch: int = 64) -> Array:
    """Squared error of the reconstruction at every pixel, averaged over the channels.

    Parameters
    ----------
    model : keras.Model
        (N, H, W, C) to the same shape.
    inputs : (N, H, W, C) float32
        As the network expects them.
    smooth : int
        Side of the square over which the error is averaged, an odd number; 1 leaves it.
    batch : int
        Pictures that run at once.

    Returns
    -------
    (N, H, W) float32

    Raises
    ------
    InputError
        The model gives another shape, or an even `smooth`.
    """
    pictures = np.asarray(inputs, np.float32)
    if model.output_shape != model.input_shape or pictures.shape[1:] != tuple(model.input_shape[1:]):
        raise InputError(
            f"an auto-encoder of {model.input_shape[1:]} and such pictures are required; it gives "
            f"{model.output_shape[1:]} and the pictures are {pictures.shape[1:]}"
        )
    if smooth < 1 or smooth % 2 == 0:
        raise InputError(f"smooth must be an odd number of pixels; received {smooth}")
    maps = []
    for first in range(0, len(pictures), batch):
        part = pictures[first : first + batch]
        rebuilt = np.asarray(model(part, training=False), np.float32)
        maps += [error_map(picture, again, smooth) for picture, again in zip(part, rebuilt, strict=True)]
    return np.stack(maps)


def scores(maps: npt.ArrayLike, quantile: float = 1.0) -> Array:
    """(N,): one score per picture, the `quantile` of its map; 1 is its largest value.

    Raises
    ------
    InputError
        A quantile outside 0..1.
    """
    if not 0 <= quantile <= 1:
        raise InputError(f"quantile must be in 0..1; received {quantile}")
    errors = np.asarray(maps, np.float32)
    return np.quantile(errors.reshape(len(errors), -1), quantile, axis=1).astype(np.float32)


def auc(normal: npt.ArrayLike, abnormal: npt.ArrayLike) -> float:
    """Area under the ROC curve: how often an abnormal picture scores above a normal one, ties counting half.

    Examples
    --------
    >>> auc([0.1, 0.4], [0.3, 0.9])
    0.75
    """
    low, high = np.asarray(normal, np.float64).ravel(), np.asarray(abnormal, np.float64).ravel()
    if not len(low) or not len(high):
        raise InputError(f"scores of both kinds are required; received {len(low)} normal and {len(high)} abnormal")
    ordered = np.sort(low)
    below = np.searchsorted(ordered, high, "left")
    not_above = np.searchsorted(ordered, high, "right")
    return float((below + not_above).sum() / 2 / (len(low) * len(high)))


def plot_scores(image: Any, score_map: npt.ArrayLike, largest: float | None = None) -> Any:
    """(H, W, 3) uint8 RGB: a picture under its score map, red at `largest` (default: the map's own maximum)."""
    from edgecv.explain.pictures import overlay

    errors = np.asarray(score_map, np.float32)
    top = float(errors.max()) if largest is None else largest
    return overlay(image, errors / max(top, 1e-12))
