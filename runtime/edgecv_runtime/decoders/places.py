"""From maps in the input's frame to the source image: which place of an output each source pixel lies in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.preprocess import Geometry


def to_source(
    output: npt.NDArray[Any], geometry: Geometry, size: tuple[int, int]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """An output for every pixel of the source: of the place that its middle lies in; and which the model saw.

    Parameters
    ----------
    output : (h, w, ...)
        Covers the whole input, at any resolution.
    geometry : Geometry
    size : (height, width) of the input, pixels

    Returns
    -------
    values : (H, W, ...)
        Of the source image's size; where the model did not look, those of the nearest place.
    seen : (H, W) bool
    """
    rows, rows_in = _places(geometry, 1, output.shape[0], size[0])
    columns, columns_in = _places(geometry, 0, output.shape[1], size[1])
    return output[rows[:, None], columns], rows_in[:, None] & columns_in


def _places(
    geometry: Geometry, axis: int, places: int, size: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Index into the output for every source row or column, and whether the model saw it."""
    middles = np.arange(geometry.source_size[1 - axis]) + 0.5
    position = (middles - geometry.offset[axis]) / geometry.scale[axis] * (places / size)
    index = np.floor(position).astype(np.intp)
    return index.clip(0, places - 1), (position >= 0) & (position < places)


def interpolated(values: npt.NDArray[np.float32], geometry: Geometry, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """A (h, w) map at every pixel of the source, linear between the middles of its places; 0 where it was not seen.

    Parameters
    ----------
    values : (h, w) float32
        Covers the whole input, at any resolution.
    geometry : Geometry
    size : (height, width) of the input, pixels
    """
    rows, row, rows_in = _between(geometry, 1, values.shape[0], size[0])
    columns, column, columns_in = _between(geometry, 0, values.shape[1], size[1])
    across = values[:, columns] * (1 - column) + values[:, np.minimum(columns + 1, values.shape[1] - 1)] * column
    below = np.minimum(rows + 1, values.shape[0] - 1)
    found = across[rows] * (1 - row[:, None]) + across[below] * row[:, None]
    result: npt.NDArray[np.float32] = np.where(rows_in[:, None] & columns_in, found, 0).astype(np.float32)
    return result


def _between(
    geometry: Geometry, axis: int, places: int, size: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """For every source row or column the place before it, how far it is on the way to the next, and whether it was
    seen."""
    middles = np.arange(geometry.source_size[1 - axis]) + 0.5
    position = (middles - geometry.offset[axis]) / geometry.scale[axis] * (places / size)
    clipped = np.clip(position - 0.5, 0, places - 1)
    index = np.floor(clipped).astype(np.intp)
    return index, clipped - index, (position >= 0) & (position < places)
