"""What a pose network is trained towards: coordinates as shares of the picture, or a map of heat for each joint.

In both a joint that is not to be seen is marked by values below zero, and the losses leave it out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError

UNSEEN = -1.0

Floats = npt.NDArray[np.float32]


def encode_points(joints: npt.ArrayLike, visible: npt.ArrayLike, size: tuple[int, int]) -> Floats:
    """Targets of direct regression (Toshev & Szegedy 2014, section 3.1, with the picture as the box).

    Parameters
    ----------
    joints : (N, K, 2)
        x, y in pixels.
    visible : (N, K) bool
    size : (height, width) of the pictures

    Returns
    -------
    (N, 2 K) float32
        x₁, y₁, x₂, y₂, ... as shares of width and height; −1 where a joint is not to be seen. For `PointLoss`.

    Raises
    ------
    InputError
        The shapes do not fit.

    Examples
    --------
    >>> encode_points([[[24, 12], [0, 0]]], [[True, False]], (48, 96)).tolist()
    [[0.25, 0.25, -1.0, -1.0]]
    """
    points, seen = _checked(joints, visible)
    shares = np.where(seen[..., None], points / (size[1], size[0]), UNSEEN)
    return shares.reshape(len(points), -1).astype(np.float32)


def encode_heatmaps(
    joints: npt.ArrayLike, visible: npt.ArrayLike, size: tuple[int, int], cells: tuple[int, int], sigma: float = 1.0
) -> Floats:
    """Targets of a heat-map network: a Gaussian of height 1 about each joint (Tompson et al. 2014, section 3).

    Its middle is the joint itself, not the middle of the joint's cell, so that nothing is rounded: the runtime's
    decoder finds it again to a quarter of a cell, but for joints in the cells of the border.

    Parameters
    ----------
    joints : (N, K, 2)
        x, y in pixels.
    visible : (N, K) bool
    size : (height, width) of the pictures
    cells : (height, width) of the maps
    sigma : float
        Width of the Gaussian, in cells.

    Returns
    -------
    (N, height, width, K) float32
        In [0, 1]; −1 all over the map of a joint that is not to be seen. For `HeatmapLoss`.

    Raises
    ------
    InputError
        The shapes do not fit, or `sigma` is not above 0.
    """
    if not sigma > 0:
        raise InputError(f"sigma must be above 0 cells; received {sigma}")
    points, seen = _checked(joints, visible)
    x, y = (points[..., axis] / size[1 - axis] * cells[1 - axis] for axis in (0, 1))
    # exp(−(dx² + dy²) / 2σ²) is a product of one factor a row and one a column.
    rows, columns = (
        np.exp(-np.square(np.arange(count)[:, None] + 0.5 - at[:, None]) / (2 * sigma**2))
        for count, at in ((cells[0], y), (cells[1], x))
    )
    maps = rows[:, :, None] * columns[:, None]
    return np.where(seen[:, None, None], maps, UNSEEN).astype(np.float32)


def _checked(joints: npt.ArrayLike, visible: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    points, seen = np.asarray(joints, np.float64), np.asarray(visible, np.bool_)
    if points.ndim != 3 or points.shape[2] != 2 or seen.shape != points.shape[:2]:
        raise InputError(
            f"joints and visible must be (N, K, 2) and (N, K); received shapes {points.shape} and {seen.shape}"
        )
    return points, seen
