"""The ends of detectors: several maps become one table a role. An output is named by the layer that makes it.

Boxes and scores stay apart, so that an integer model scales each for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgecv_runtime.errors import InputError


def rows(maps: Sequence[Any], columns: int, name: str) -> Any:
    """Join maps of (N, H, W, k · columns) into a table (N, rows, columns): cell by cell, all k of a cell together.

    Parameters
    ----------
    maps : sequence of (N, H, W, channels) tensor
    columns : int
    name : str
        Of the last layer.
    """
    import keras

    layers = keras.layers
    if len(maps) == 1:
        return layers.Reshape((-1, columns), name=name)(maps[0])
    parts = [layers.Reshape((-1, columns), name=f"{name}_{index}")(part) for index, part in enumerate(maps, start=1)]
    return layers.Concatenate(axis=1, name=name)(parts)


def activated(maps: Sequence[Any], columns: int, activation: str | None, known: str, name: str) -> Any:
    """As `rows`, with the activation that makes probabilities of logits.

    Parameters
    ----------
    maps, columns
        See `rows`.
    activation : str or None
        `known`, or None for the logits, on which the losses of `edgecv.detection` work.
    known : {"softmax", "sigmoid"}
    name : str
        Of the last layer, with the activation or without.

    Raises
    ------
    InputError
        Another activation.
    """
    import keras

    if activation not in (known, None):
        raise InputError(f"classifier_activation must be {known!r} or None; received {activation!r}")
    # A layer of its own in both cases: the layers' order, and so that of the weights, is the same.
    return keras.layers.Activation(activation or "linear", name=name)(rows(maps, columns, f"{name}_logits"))


def halved(size: tuple[int, int], times: int) -> tuple[int, int]:
    """Height and width of a map after `times` strided layers with padding ``same``."""
    height, width = size
    for _ in range(times):
        height, width = -(-height // 2), -(-width // 2)
    return height, width
