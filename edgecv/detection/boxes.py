"""Boxes: corners and centres, overlap, and offsets from anchors.

Everything here is numpy; what a loss needs of it inside a graph stands in `edgecv.detection.tensors`. Lengths may be
pixels or fractions of the picture: boxes and anchors of one call share their unit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.suppression.overlap import iou

Floats = npt.NDArray[np.float32]

VARIANCES = (0.1, 0.1, 0.2, 0.2)
"""Scales of the offsets, as SSD and the region proposal networks train: targets then spread alike."""


def to_centres(boxes: npt.ArrayLike) -> Floats:
    """From (..., 4) corners x1, y1, x2, y2 to centre x, centre y, width, height."""
    corners = _boxes(boxes)
    centres: Floats = np.concatenate(
        [(corners[..., :2] + corners[..., 2:]) / 2, corners[..., 2:] - corners[..., :2]], axis=-1
    )
    return centres


def to_corners(boxes: npt.ArrayLike) -> Floats:
    """From (..., 4) centre x, centre y, width, height to corners x1, y1, x2, y2."""
    centres = _boxes(boxes)
    half = centres[..., 2:] / 2
    corners: Floats = np.concatenate([centres[..., :2] - half, centres[..., :2] + half], axis=-1)
    return corners


def iou_matrix(a: npt.ArrayLike, b: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Intersection over union of every box of `a` with every box of `b`.

    Parameters
    ----------
    a : (N, 4) xyxy
    b : (M, 4) xyxy
        In the same unit.

    Returns
    -------
    (N, M) float64 in [0, 1]
        0 where neither box has an area.

    Raises
    ------
    InputError
        Another shape.

    Examples
    --------
    >>> iou_matrix([[0, 0, 2, 2]], [[1, 0, 3, 2], [0, 0, 2, 2]]).round(3).tolist()
    [[0.333, 1.0]]
    """
    first, second = (_boxes(boxes).reshape(-1, 4).astype(np.float64) for boxes in (a, b))
    return iou(first[:, None], second[None])


def encode_boxes(boxes: npt.ArrayLike, anchors: npt.ArrayLike, variances: Sequence[float] = VARIANCES) -> Floats:
    """Offsets that lead from anchors to boxes (Girshick et al. 2014, eq. 6 to 9; Liu et al. 2016, eq. 2).

    t = ((x - x_a) / (w_a v_0), (y - y_a) / (h_a v_1), ln(w / w_a) / v_2, ln(h / h_a) / v_3) with x and y the centre.

    Parameters
    ----------
    boxes : (..., 4) xyxy
        Each belongs to the anchor at its place.
    anchors : (..., 4) centre x, centre y, width, height
    variances : four numbers

    Returns
    -------
    (..., 4) float32

    Raises
    ------
    InputError
        A box or an anchor without an area, or another shape.

    Examples
    --------
    >>> encode_boxes([[0, 0, 4, 8]], [[1, 4, 2, 8]], (1, 1, 1, 1)).round(3)
    array([[0.5  , 0.   , 0.693, 0.   ]], dtype=float32)
    """
    wanted, from_anchors = to_centres(boxes).astype(np.float64), _boxes(anchors).astype(np.float64)
    for name, sizes in (("boxes", wanted[..., 2:]), ("anchors", from_anchors[..., 2:])):
        if not (sizes > 0).all():
            raise InputError(f"{name} must have a width and a height above 0; received {float(sizes.min())}")
    shifts = (wanted[..., :2] - from_anchors[..., :2]) / from_anchors[..., 2:]
    stretches = np.log(wanted[..., 2:] / from_anchors[..., 2:])
    offsets: Floats = (np.concatenate([shifts, stretches], axis=-1) / _variances(variances)).astype(np.float32)
    return offsets


def decode_boxes(offsets: npt.ArrayLike, anchors: npt.ArrayLike, variances: Sequence[float] = VARIANCES) -> Floats:
    """The boxes that offsets lead to from anchors: the inverse of `encode_boxes`.

    Parameters
    ----------
    offsets : (..., 4)
    anchors : (..., 4) centre x, centre y, width, height
    variances : four numbers

    Returns
    -------
    (..., 4) float32 xyxy

    Raises
    ------
    InputError
        Another shape.
    """
    scaled, from_anchors = _boxes(offsets) * _variances(variances), _boxes(anchors)
    centres = from_anchors[..., :2] + scaled[..., :2] * from_anchors[..., 2:]
    sizes = from_anchors[..., 2:] * np.exp(scaled[..., 2:])
    return to_corners(np.concatenate([centres, sizes], axis=-1))


def _boxes(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    boxes = np.asarray(values, np.float32)
    if boxes.size == 0:
        return boxes.reshape(0, 4)
    if boxes.shape[-1:] != (4,):
        raise InputError(f"boxes must have 4 numbers each, as in (N, 4); received shape {boxes.shape}")
    return boxes


def _variances(values: Sequence[float]) -> npt.NDArray[np.float32]:
    variances = np.asarray(values, np.float32)
    if variances.shape != (4,) or not (variances > 0).all():
        raise InputError(f"variances must be four numbers above 0; received {list(values)}")
    return variances
