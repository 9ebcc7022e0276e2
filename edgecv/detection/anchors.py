"""Anchors: default boxes of SSD, and sizes that k-means finds for YOLO.

An anchor is centre x, centre y, width and height as fractions of the picture, unless a function says otherwise. Those
of a map come row by row, all of a cell together: the order in which a convolution's channels become rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError

Floats = npt.NDArray[np.float32]
Grid = tuple[int, int]
Shapes = Sequence[tuple[float, float]]


def ssd_scales(maps: int, smallest: float = 0.2, largest: float = 0.9) -> tuple[float, ...]:
    """Scales of the default boxes of `maps` feature maps (Liu et al. 2016, eq. 4).

    s_k = s_min + (s_max - s_min) (k - 1) / (m - 1), k = 1 … m.

    Raises
    ------
    InputError
        Fewer than two maps, or scales that do not grow.

    Examples
    --------
    >>> [round(scale, 3) for scale in ssd_scales(5)]
    [0.2, 0.375, 0.55, 0.725, 0.9]
    """
    if maps < 2 or not 0 < smallest < largest:
        raise InputError(
            f"scales need two maps or more and 0 < smallest < largest; received {maps}, {smallest} and {largest}"
        )
    return tuple(smallest + (largest - smallest) * k / (maps - 1) for k in range(maps))


def ssd_shapes(scale: float, following: float, ratios: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """Widths and heights of one map's default boxes (Liu et al. 2016, section 2.2).

    First s·(1, 1), then s'·(1, 1) with s' = √(s_k s_{k+1}), then s·(√a, 1/√a) for every ratio a and for 1/a.

    Parameters
    ----------
    scale, following : float
        s_k and s_{k+1}, fractions of the picture.
    ratios : sequence of float
        Above 1; each counts twice, lying and standing.

    Examples
    --------
    >>> [(round(w, 3), round(h, 3)) for w, h in ssd_shapes(0.2, 0.45, [4])]
    [(0.2, 0.2), (0.3, 0.3), (0.4, 0.1), (0.1, 0.4)]
    """
    between = math.sqrt(scale * following)
    shapes = [(scale, scale), (between, between)]
    for ratio in ratios:
        root = math.sqrt(ratio)
        shapes += [(scale * root, scale / root), (scale / root, scale * root)]
    return tuple(shapes)


def grid_anchors(grid: Grid, shapes: Shapes) -> Floats:
    """Anchors of the given widths and heights around the middle of every cell.

    Parameters
    ----------
    grid : (rows, columns)
    shapes : sequence of (width, height)
        Fractions of the picture.

    Returns
    -------
    (rows · columns · len(shapes), 4) float32

    Examples
    --------
    >>> grid_anchors((1, 2), [(0.5, 1.0)]).tolist()
    [[0.25, 0.5, 0.5, 1.0], [0.75, 0.5, 0.5, 1.0]]
    """
    rows, columns = grid
    y, x = np.mgrid[0:rows, 0:columns]
    centres = np.stack([(x + 0.5) / columns, (y + 0.5) / rows], axis=-1).reshape(-1, 1, 2)
    sizes = np.asarray(shapes, np.float64).reshape(1, -1, 2)
    count = (len(centres), sizes.shape[1], 2)
    anchors: Floats = np.concatenate(
        [np.broadcast_to(centres, count), np.broadcast_to(sizes, count)], axis=-1, dtype=np.float32, casting="same_kind"
    ).reshape(-1, 4)
    return anchors


def ssd_anchors(grids: Sequence[Grid], scales: Sequence[float], ratios: Sequence[Sequence[float]]) -> Floats:
    """Default boxes of all maps.

    Parameters
    ----------
    grids : (rows, columns) of each map
    scales : sequence of float
        One more than maps: the last is what follows the last map's.
    ratios : for each map, a sequence of float above 1

    Returns
    -------
    (A, 4) float32

    Raises
    ------
    InputError
        Lengths that do not belong together.
    """
    if not len(grids) == len(ratios) == len(scales) - 1:
        raise InputError(
            "there must be ratios for each map and one scale more than maps; "
            f"received {len(grids)} maps, {len(ratios)} ratios and {len(scales)} scales"
        )
    return np.concatenate([
        grid_anchors(grid, ssd_shapes(scale, following, some))
        for grid, (scale, following), some in zip(grids, pairwise(scales), ratios, strict=True)
    ])  # fmt: skip


# -- sizes alone -------------------------------------------------------------------------------------------------------


def size_iou(sizes: npt.ArrayLike, others: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Intersection over union of boxes that share their centre: (N, 2) and (M, 2) widths and heights to (N, M)."""
    first, second = (np.asarray(values, np.float64).reshape(-1, 2) for values in (sizes, others))
    shared = np.minimum(first[:, None], second[None]).prod(axis=-1)
    overlap: npt.NDArray[np.float64] = shared / (first.prod(axis=-1)[:, None] + second.prod(axis=-1)[None] - shared)
    return overlap


def kmeans_anchors(sizes: npt.ArrayLike, count: int, seed: int = 0, rounds: int = 100) -> Floats:
    """Widths and heights that stand for those of a training set (Redmon and Farhadi 2017, section 2).

    k-means with the distance 1 - IoU, begun from boxes drawn with a probability that grows with their distance from
    those drawn before.

    Parameters
    ----------
    sizes : (N, 2)
        Widths and heights, above 0.
    count : int
        k.
    seed : int
    rounds : int
        At most; it ends when no box changes its cluster.

    Returns
    -------
    (count, 2) float32, by area

    Raises
    ------
    InputError
        Sizes that are not positive, or fewer different ones than anchors.
    """
    boxes = np.asarray(sizes, np.float64).reshape(-1, 2)
    if not (boxes > 0).all():
        raise InputError(f"sizes must be above 0; received {boxes.min()}")
    different = len(np.unique(boxes, axis=0))
    if not 1 <= count <= different:
        raise InputError(f"count must be in [1, {different}], the number of different sizes; received {count}")
    rng = np.random.default_rng(seed)
    anchors = boxes[[int(rng.integers(len(boxes)))]]
    while len(anchors) < count:
        distance = (1 - size_iou(boxes, anchors).max(axis=1)).clip(0)
        anchors = np.concatenate([anchors, boxes[[rng.choice(len(boxes), p=distance / distance.sum())]]])
    nearest = np.full(len(boxes), -1)
    for _ in range(rounds):
        before, nearest = nearest, size_iou(boxes, anchors).argmax(axis=1)
        if (nearest == before).all():
            break
        for index in np.unique(nearest):
            anchors[index] = boxes[nearest == index].mean(axis=0)
    return anchors[np.argsort(anchors.prod(axis=1), kind="stable")].astype(np.float32)


def plain_numbers(anchors: npt.ArrayLike) -> list[list[float]]:
    """Anchors as a manifest holds them: seven digits after the point, a hundredth of a thousandth of a pixel."""
    return [[round(float(value), 7) for value in anchor] for anchor in np.asarray(anchors, np.float64)]
