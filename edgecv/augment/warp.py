"""One warp for image, boxes, masks and keypoints: an affine map, and a field of displacements on top of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgecv.augment.sample import UNLABELLED, Sample
from edgecv_runtime.errors import InputError
from edgecv_runtime.images import cv2

Matrix = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]
Border = Literal["auto", "reflect", "edge", "grey"]

GREY = 114  # as the runtime's letterbox and views
MINIMUM_VISIBLE = 0.25  # share of a box that must stay inside
_OUTLINE = 16  # points on each side of a box that is bent
_ITERATIONS = 30


def translation(x: float, y: float) -> Matrix:
    """(3, 3): everything moves right by x and down by y pixels."""
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


def rotation(degrees: float) -> Matrix:
    """(3, 3) about the origin, counter-clockwise to the eye: rows count downwards."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])


def about_the_middle(size: tuple[int, int], linear: Matrix) -> Matrix:
    """(3, 3): `linear` about the middle of a (height, width) picture."""
    x, y = size[1] / 2, size[0] / 2
    return translation(x, y) @ linear @ translation(-x, -y)


@dataclass(frozen=True, eq=False)
class Warp:
    """Where everything goes.

    The warped picture shows at p what the affine map alone would show at p + d(p).

    Attributes
    ----------
    matrix : (3, 3) float64
        From (x, y, 1) of the source to (x, y, 1) of the result.
    size : (height, width)
        Of the result.
    field : (height, width, 2) float32, optional
        d, in pixels x and y, at the middle of each pixel of the result.
    """

    matrix: Matrix
    size: tuple[int, int]
    field: Field | None = None

    def to_source(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map (..., 2) x, y of the result to the source."""
        points = np.asarray(points, np.float64)
        if self.field is not None:
            points = points + self._displacement(points)
        return _affine(points, np.linalg.inv(self.matrix))

    def to_result(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map (..., 2) x, y of the source to the result."""
        target = _affine(np.asarray(points, np.float64), self.matrix)
        if self.field is None:
            return target
        # p + d(p) = target, by fixed-point iteration: it converges where the field does not fold the picture over.
        moved = target
        for _ in range(_ITERATIONS):
            moved = target - self._displacement(moved)
        return moved

    def _displacement(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """d at (..., 2) positions, bilinear between the middles of pixels, constant beyond the outermost."""
        field = np.zeros((1, 1, 2)) if self.field is None else self.field
        height, width = field.shape[:2]
        at = points - 0.5
        x, y = at[..., 0].clip(0, width - 1), at[..., 1].clip(0, height - 1)
        left, top = np.floor(x).astype(np.intp).clip(0, max(0, width - 2)), np.floor(y).astype(np.intp)
        top = top.clip(0, max(0, height - 2))
        right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
        u, v = (x - left)[..., None], (y - top)[..., None]
        upper = field[top, left] * (1 - u) + field[top, right] * u
        lower = field[below, left] * (1 - u) + field[below, right] * u
        mixed: npt.NDArray[np.float64] = upper * (1 - v) + lower * v
        return mixed


def warp(sample: Sample, how: Warp, *, border: Border = "auto", minimum_visible: float = MINIMUM_VISIBLE) -> Sample:
    """Move a picture and all that is known of it.

    The image is resampled once, bilinearly; masks take the nearest pixel. A box becomes the upright box around where
    it went: around its mask, where there is one for each object and the box is turned or bent. Objects of which too
    little stays inside are left out; keypoints that leave the picture are no longer visible.

    Parameters
    ----------
    sample : Sample
    how : Warp
    border : {"auto", "reflect", "edge", "grey"}
        What lies beyond the source: mirrored, the outermost pixels, or grey (a map of classes: unlabelled). ``auto``
        is grey where there are objects, which a mirror would show twice, and mirrored otherwise.
    minimum_visible : float in [0, 1]
        Share of the moved box's area that must lie inside.

    Raises
    ------
    InputError
        No such border.
    """
    if border not in ("auto", "reflect", "edge", "grey"):
        raise InputError(f"border must be auto, reflect, edge or grey; received {border!r}")
    if border == "auto":
        objects = sample.boxes is not None or sample.keypoints is not None or sample.by_object
        border = "grey" if objects else "reflect"
    height, width = how.size
    middles = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1)
    # OpenCV counts from the middle of the first pixel. The field is given at those very places.
    points = middles if how.field is None else middles + how.field
    places = (_affine(points, np.linalg.inv(how.matrix)) - 0.5).astype(np.float32)
    image = _sampled(sample.image, places, border, nearest=False, beyond=GREY)
    masks = sample.masks
    if masks is not None and sample.by_object:
        parts = [_sampled(mask.astype(np.uint8), places, border, nearest=True, beyond=0) for mask in masks]
        masks = np.array(parts, np.bool_).reshape(len(masks), height, width)
    elif masks is not None:
        masks = _sampled(masks, places, border, nearest=True, beyond=UNLABELLED)
    upright = how.field is None and bool(
        np.allclose(how.matrix[[0, 1], [1, 0]], 0) or np.allclose(how.matrix[[0, 1], [0, 1]], 0)
    )
    return moved(sample, image, masks, how.to_result, upright=upright, minimum_visible=minimum_visible)


def moved(
    sample: Sample,
    image: npt.NDArray[np.uint8],
    masks: npt.NDArray[Any] | None,
    to_result: Callable[[npt.NDArray[Any]], npt.NDArray[np.float64]],
    *,
    upright: bool,
    minimum_visible: float = MINIMUM_VISIBLE,
) -> Sample:
    """A sample with image and masks that were moved already, boxes and keypoints brought after them.

    Parameters
    ----------
    to_result : callable
        From (..., 2) points of the source to the result.
    upright : bool
        Whether an upright box stays one: its corners are then enough.
    """
    height, width = image.shape[:2]
    keypoints, boxes = sample.keypoints, sample.boxes
    if keypoints is not None:
        keypoints = keypoints.copy()
        keypoints[..., :2] = to_result(keypoints[..., :2])
        x, y = keypoints[..., 0], keypoints[..., 1]
        keypoints[..., 2] *= (x >= 0) & (y >= 0) & (x < width) & (y < height)
    stays: npt.NDArray[np.bool_] | None = None
    if boxes is not None:
        whole = _around(to_result(_outlines(boxes, 2 if upright else _OUTLINE)))
        boxes = np.clip(whole, 0, [width, height, width, height]).astype(np.float32)
        inside = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        area = np.maximum((whole[:, 2:] - whole[:, :2]).prod(axis=1), 1e-9)
        stays = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(axis=1) & (inside >= minimum_visible * area - 1e-6)
    if masks is not None and sample.by_object:
        shown = np.asarray(masks.any(axis=(1, 2)), np.bool_)
        stays = shown if stays is None else stays & shown
        if boxes is not None and not upright:
            for index in np.flatnonzero(shown).tolist():
                boxes[index] = box_of(masks[index])
    result = replace(sample, image=image, boxes=boxes, masks=masks, keypoints=keypoints)
    return result if stays is None or stays.all() else result.keep(stays)


def box_of(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """(4,) xyxy around the true pixels of an (H, W) mask that holds one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def _affine(points: npt.NDArray[Any], matrix: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    mapped: npt.NDArray[np.float64] = points @ matrix[:2, :2].T + matrix[:2, 2]
    return mapped


def _outlines(boxes: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.float64]:
    """(n, 4 count, 2) points along the sides."""
    share = np.linspace(0.0, 1.0, count)
    zero, one = np.zeros(count), np.ones(count)
    along = np.concatenate([np.stack(pair, -1) for pair in ((share, zero), (share, one), (zero, share), (one, share))])
    corner, sides = boxes[:, None, :2].astype(np.float64), (boxes[:, 2:] - boxes[:, :2])[:, None].astype(np.float64)
    outlines: npt.NDArray[np.float64] = corner + along * sides
    return outlines


def _around(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(n, 4) xyxy around (n, P, 2) points."""
    return np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)


def _sampled(
    image: npt.NDArray[Any], places: npt.NDArray[np.float32], border: Border, *, nearest: bool, beyond: int
) -> npt.NDArray[Any]:
    """The pixels at (h, w, 2) places, counted from the middle of the first pixel."""
    opencv = cv2("warping a picture")
    mode = {
        "reflect": opencv.BORDER_REFLECT_101,
        "edge": opencv.BORDER_REPLICATE,
        "grey": opencv.BORDER_CONSTANT,
    }[border]
    wanted = image.dtype
    if nearest and wanted not in (np.uint8, np.int16):  # what OpenCV can move
        image = image.astype(np.int16)
    # Places are rounded here: OpenCV's own rounding of x.5 differs from one pixel to the next.
    at = np.floor(places + 0.5) if nearest else places
    flags = opencv.INTER_NEAREST if nearest else opencv.INTER_LINEAR
    sampled = opencv.remap(image, at, None, flags, borderMode=mode, borderValue=(float(beyond),) * 4)
    return sampled.reshape(*places.shape[:2], *image.shape[2:]).astype(wanted, copy=False)
