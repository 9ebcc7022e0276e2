"""Outlines of objects as COCO writes them, polygons and run lengths, as masks of the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError

Mask = npt.NDArray[np.bool_]

_FINER = 5  # polygons are walked on a grid so many times as fine, as in the reference implementation


def draw_outline(outline: Any, height: int, width: int) -> Mask:
    """An object's ``segmentation`` as a mask.

    Parameters
    ----------
    outline : list of polygons, or mapping
        Polygons are lists x, y, x, y, … in pixels, and their union counts; a mapping has ``size`` (height, width) and
        ``counts``, runs column by column that begin with what is not in the mask, as a list or packed in a string.
    height, width : int
        Of the picture.

    Returns
    -------
    (height, width) bool

    Raises
    ------
    InputError
        It is neither, or not of the picture's size.
    """
    if isinstance(outline, Mapping):
        return _from_runs(outline, height, width)
    mask = np.zeros((height, width), np.bool_)
    if not isinstance(outline, Sequence) or isinstance(outline, str):
        raise InputError(f"an outline must be polygons or run lengths; received {outline!r:.60}")
    for polygon in outline:
        corners = _numbers(polygon)
        if corners.ndim != 1 or corners.size < 6 or corners.size % 2:
            raise InputError(f"a polygon must be three or more pairs x, y; received {polygon!r:.60}")
        mask |= _filled(corners.reshape(-1, 2), height, width)
    return mask


def _numbers(values: Any) -> npt.NDArray[np.float64]:
    try:
        numbers = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"a polygon must be numbers; received {values!r:.60}") from None
    if not np.isfinite(numbers).all():
        raise InputError("a polygon must be finite numbers; received NaN or infinity")
    return numbers


def _from_runs(outline: Mapping[str, Any], height: int, width: int) -> Mask:
    counts, size = outline.get("counts"), outline.get("size")
    if size is None or list(size) != [height, width]:
        raise InputError(f"run lengths must be of the picture's size {[height, width]}; received {size!r:.40}")
    runs = _unpacked(counts) if isinstance(counts, str) else np.asarray(counts)
    if runs.ndim != 1 or runs.dtype.kind not in "iu" or runs.sum() != height * width or runs.min(initial=0) < 0:
        raise InputError(f"run lengths must be whole numbers that add up to {height * width}; received {counts!r:.40}")
    inside = np.arange(len(runs)) % 2 == 1
    mask: Mask = np.repeat(inside, runs).reshape(width, height).T
    return mask


def _unpacked(text: str) -> npt.NDArray[np.int64]:
    """Run lengths from COCO's string: five bits a character, least significant first, the sixth for "more follow"; from
    the third on as differences to the run before the last."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        value |= (code & 0x1F) << shift
        shift += 5
        if code & 0x20:
            continue
        if code & 0x10:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    return np.array(runs, np.int64)


def _filled(corners: npt.NDArray[np.float64], height: int, width: int) -> Mask:
    """A polygon filled as the reference implementation fills it, to the pixel.

    Its outline is walked on a finer grid; wherever it passes the middle of a column, the pixels of that column from
    there on change sides. The sum of all changes, column by column, is odd inside.
    """
    grid = (_FINER * corners + 0.5).astype(np.int64)  # cut towards zero, as in C
    steps = [_walk(*pair) for pair in zip(grid, np.roll(grid, -1, axis=0), strict=True)]
    x, y = np.concatenate(steps).T
    before, after = slice(None, -1), slice(1, None)
    crossing = np.flatnonzero(x[after] != x[before])
    left = np.where(x[after] < x[before], x[after], x[after] - 1)[crossing]
    upper = np.minimum(y[after], y[before])[crossing]
    column = (left + 0.5) / _FINER - 0.5
    row = np.ceil(np.clip((upper + 0.5) / _FINER - 0.5, 0, height))
    there = (column == np.floor(column)) & (column >= 0) & (column <= width - 1)
    places = (column[there] * height + row[there]).astype(np.int64)
    changes = np.bincount(places, minlength=height * width + 1)[: height * width]
    mask: Mask = (np.cumsum(changes) % 2 == 1).reshape(width, height).T
    return mask


def _walk(start: npt.NDArray[np.int64], end: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(steps, 2): every place of the grid from one corner to the next, one step along the longer axis at a time."""
    across, down = np.abs(end - start).tolist()
    axis = 0 if across >= down else 1
    length = max(across, down)
    flipped = bool(start[axis] > end[axis])
    low, high = (end, start) if flipped else (start, end)
    slope = (high[1 - axis] - low[1 - axis]) / length if length else 0.0
    along = np.arange(length + 1)
    points = np.empty((length + 1, 2), np.int64)
    points[:, axis] = low[axis] + along
    points[:, 1 - axis] = (low[1 - axis] + slope * along + 0.5).astype(np.int64)
    return points[::-1] if flipped else points
