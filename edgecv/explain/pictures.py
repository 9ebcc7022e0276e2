"""Arrays as pictures: heat maps over photographs, tiles in a grid, points in a plane. OpenCV and numpy only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.drawing import palette
from edgecv_runtime.errors import InputError
from edgecv_runtime.images import Image, as_rgb, cv2

_OPACITY = 0.5  # of a heat map over its picture
_MARGIN = 2  # pixels between tiles
_DOT = 3  # radius of a point


def heat_colors(values: npt.ArrayLike) -> Image:
    """(h, w) in 0..1 to (h, w, 3) uint8 RGB: blue, cyan, green, yellow, red."""
    places = np.clip(np.asarray(values, np.float32), 0, 1)[..., None]
    stops = np.array([[0, 0, 160], [0, 200, 255], [40, 220, 40], [255, 230, 0], [220, 0, 0]], np.float32)
    step = np.minimum(places * 4, 3.9999)
    lower = step.astype(np.int64)[..., 0]
    share = step - lower[..., None]
    colors: Image = np.rint(stops[lower] * (1 - share) + stops[lower + 1] * share).astype(np.uint8)
    return colors


def overlay(image: Any, values: npt.ArrayLike) -> Image:
    """(H, W, 3) uint8 RGB: a heat map of any size (0..1) stretched over a picture."""
    picture = as_rgb(image)
    opencv = cv2("drawing a heat map")
    size = (picture.shape[1], picture.shape[0])
    larger = opencv.resize(np.asarray(values, np.float32), size, interpolation=opencv.INTER_LINEAR)
    mixed: Image = np.rint((1 - _OPACITY) * picture + _OPACITY * heat_colors(larger)).astype(np.uint8)
    return mixed


def draw_box(image: Any, box: Sequence[float], color: tuple[int, int, int] = (255, 255, 255)) -> Image:
    """A copy of a picture with a box (x1, y1, x2, y2 in pixels) drawn into it."""
    canvas = as_rgb(image).copy()
    left, top, right, bottom = (round(float(value)) for value in box)
    thickness = max(1, round(min(canvas.shape[:2]) / 150))
    cv2("drawing").rectangle(canvas, (left, top), (max(left, right - 1), max(top, bottom - 1)), color, thickness)
    return canvas


def stretch(values: npt.ArrayLike) -> Image:
    """Any (h, w) or (h, w, 3) array to uint8: its smallest value is 0, its largest 255; a constant one is 0."""
    array = np.asarray(values, np.float64)
    low, high = float(array.min()), float(array.max())
    scaled: Image = np.rint(255 * (array - low) / (high - low if high > low else 1)).astype(np.uint8)
    return scaled


def grid(tiles: Sequence[Any], columns: int | None = None, enlarge: int = 1) -> Image:
    """Pictures of one size side by side on white, row by row.

    Parameters
    ----------
    tiles : sequence of (h, w) or (h, w, 3) uint8
    columns : int, optional
        Default: as many as rows.
    enlarge : int
        Each pixel becomes this many squared.

    Returns
    -------
    (H, W, 3) uint8, RGB

    Raises
    ------
    InputError
        No tiles, or tiles of different sizes.
    """
    pictures = [as_rgb(np.asarray(tile)) for tile in tiles]
    if not pictures or any(picture.shape != pictures[0].shape for picture in pictures):
        raise InputError(f"tiles must be pictures of one size, at least one; received {len(pictures)}")
    pictures = [picture.repeat(enlarge, axis=0).repeat(enlarge, axis=1) for picture in pictures]
    columns = columns or math.ceil(math.sqrt(len(pictures)))
    height, width = (side + _MARGIN for side in pictures[0].shape[:2])
    rows = math.ceil(len(pictures) / columns)
    canvas = np.full((rows * height + _MARGIN, columns * width + _MARGIN, 3), 255, np.uint8)
    for index, picture in enumerate(pictures):
        top, left = index // columns * height + _MARGIN, index % columns * width + _MARGIN
        canvas[top : top + height - _MARGIN, left : left + width - _MARGIN] = picture
    return canvas


def scatter(
    points: npt.ArrayLike,
    labels: Sequence[int] | npt.NDArray[Any] | None = None,
    thumbnails: Sequence[Any] | None = None,
    side: int = 800,
) -> Image:
    """Points of a plane as dots in the colours of their labels, or as small pictures.

    Parameters
    ----------
    points : (N, 2)
    labels : (N,) int, optional
    thumbnails : sequence of N pictures, optional
        Drawn instead of dots.
    side : int
        Of the picture, pixels.

    Returns
    -------
    (side, side, 3) uint8, RGB

    Raises
    ------
    InputError
        Points that are not (N, 2) and finite, or another number of labels or thumbnails.
    """
    places = np.asarray(points, np.float64)
    if places.ndim != 2 or places.shape[1] != 2 or len(places) == 0 or not np.isfinite(places).all():
        raise InputError(f"points must be (N, 2) finite numbers, N at least 1; received shape {places.shape}")
    for name, given in (("labels", labels), ("thumbnails", thumbnails)):
        if given is not None and len(given) != len(places):
            raise InputError(f"there must be one of {name} per point: {len(places)}; received {len(given)}")
    span = np.maximum(places.max(axis=0) - places.min(axis=0), 1e-12)
    border = side // 20
    corners = border + (side - 2 * border) * (places - places.min(axis=0)) / span
    opencv, canvas = cv2("drawing points"), np.full((side, side, 3), 255, np.uint8)
    for index, (x, y) in enumerate(np.rint(corners).astype(int).tolist()):
        if thumbnails is None:
            color = palette(0 if labels is None else int(labels[index]))
            opencv.circle(canvas, (x, side - 1 - y), _DOT, color, -1, opencv.LINE_AA)
        else:
            tile = opencv.resize(as_rgb(np.asarray(thumbnails[index])), (border, border))
            top, left = (
                min(max(side - 1 - y - border // 2, 0), side - border),
                min(max(x - border // 2, 0), side - border),
            )
            canvas[top : top + border, left : left + border] = tile
    return canvas
