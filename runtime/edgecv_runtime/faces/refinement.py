"""A second look at faces that are too small or too large for the detector, at the size that it sees best.

A detector for faces works on a small input: in a frame 1,920 pixels wide, a face of 90 pixels covers twelve of
BlazeFace's 256, and its landmarks are off by several pixels. Cut out and enlarged, the same face is found precisely;
what is no face mostly disappears. A portrait that fills the picture is as hard for models made for groups: with a
margin around it, it is found as well as others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edgecv_runtime.images import Image
from edgecv_runtime.model import Model
from edgecv_runtime.results import Detections
from edgecv_runtime.suppression.overlap import areas, iou

# A face is looked at again where its side covers fewer pixels of the detector's input: 48 where landmarks are to be
# found, 24 for a box alone. On faces of 90 and 150 pixels in frames of 1920×1080, aligned by BlazeFace's landmarks, TAR
# at FAR 0.001 rises from 0.22 to 1.00 and from 0.92 to 1.00; by UltraFace's boxes, from 0.84 to 0.91 at 90 pixels.
_SMALL, _SMALL_BOX = 48, 24
# … or where it covers more of the input's shorter side. On 40 portraits, of which the face is 0.8 to 0.9, TAR rises
# from 0.76 to 1.00 for BlazeFace's back model and from 0.29 to 0.88 for UltraFace.
_LARGE = 0.5
# What is looked at is a square of this many of the face's sides.
_SURROUNDINGS = 3.0
# The face that is found there is the same if it overlaps this much.
_OVERLAP = 0.2
# Of two boxes, the one that has more than this of the smaller one's area in common with a better one is the same face:
# a detector sees half a face beside a large one. Faces that hide each other this far cannot be recognised.
_DUPLICATE = 0.6


def refined(detector: Model, picture: Image, found: Detections) -> Detections:
    """Detections with every small or large one replaced by what a second look finds there.

    A small one that is no face after all goes, and so does the worse of two that turn out to be the same face.
    """
    height, width = picture.shape[:2]
    rows, columns = detector.manifest.inputs[0].size
    if detector.manifest.inputs[0].resize.mode == "stretch":
        scale = math.sqrt((rows / height) * (columns / width))
    else:
        scale = min(rows / height, columns / width)
    small = _SMALL_BOX if found.keypoints is None else _SMALL
    looked: list[Detections] = []
    for row, area in enumerate(areas(found.boxes.astype(np.float64)).tolist()):
        side = math.sqrt(area) * scale  # in the detector's input
        one: Detections | None = _rows(found, [row])
        if side < small:
            one = look_again(detector, picture, found.boxes[row])
        elif side > _LARGE * min(rows, columns):
            one = look_again(detector, picture, found.boxes[row]) or one
        if one is not None:
            looked.append(one)
    kept: list[Detections] = []
    for one in sorted(looked, key=lambda face: -float(face.scores[0])):
        if not any(_same(one, other) for other in kept):
            kept.append(one)
    return _joined(kept, found)


def look_again(
    detector: Callable[[Image], Detections], picture: Image, box: npt.NDArray[np.float32]
) -> Detections | None:
    """The one face of a box, found again in the part of the picture around it.

    Parameters
    ----------
    detector : callable
        From a picture to Detections.
    picture : (H, W, 3) uint8 RGB
    box : (4,) xyxy, pixels of the picture

    Returns
    -------
    Detections of one, in pixels of the whole picture; None where there is no face after all.
    """
    left, top, right, bottom = box.astype(np.float64).tolist()
    half = _SURROUNDINGS * math.sqrt((right - left) * (bottom - top)) / 2
    middle = np.array([(left + right) / 2, (top + bottom) / 2])
    corner = np.floor(middle - half).astype(int)
    side = math.ceil(2 * half)
    part = _square(picture, int(corner[0]), int(corner[1]), side)
    found = detector(part)
    if not len(found):
        return None
    boxes = found.boxes + np.tile(corner, 2).astype(np.float32)
    overlaps = iou(boxes.astype(np.float64), box.astype(np.float64)[None])
    best = int(overlaps.argmax())
    if overlaps[best] < _OVERLAP:
        return None
    again = _rows(found, [best])
    keypoints = again.keypoints
    if keypoints is not None:
        keypoints = keypoints + np.array([*corner, 0], np.float32)
    return replace(again, boxes=boxes[[best]], keypoints=keypoints)


def _rows(found: Detections, rows: list[int]) -> Detections:
    """Some of them; faces have no masks."""
    keypoints = None if found.keypoints is None else found.keypoints[rows]
    return Detections(
        found.boxes[rows], found.scores[rows], found.classes[rows], found.names, None, keypoints, found.skeleton
    )


def _same(one: Detections, other: Detections) -> bool:
    """Whether two boxes are of one face: most of the smaller one lies in the other."""
    a, b = one.boxes.astype(np.float64)[0], other.boxes.astype(np.float64)[0]
    width, height = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    least = float(areas(np.stack([a, b])).min())
    return bool(width > 0 and height > 0 and width * height > _DUPLICATE * least)


def _joined(parts: list[Detections], like: Detections) -> Detections:
    """Detections of one each, together."""
    if not parts:
        return _rows(like, [])
    points = [part.keypoints for part in parts if part.keypoints is not None]
    return Detections(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.classes for part in parts]),
        like.names,
        keypoints=np.concatenate(points) if points else None,
        skeleton=like.skeleton,
    )


def _square(picture: Image, left: int, top: int, side: int) -> Image:
    """A square part of a picture, black where that ends."""
    height, width = picture.shape[:2]
    part = np.zeros((side, side, 3), np.uint8)
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    if x2 > x1 and y2 > y1:
        part[y1 - top : y2 - top, x1 - left : x2 - left] = picture[y1:y2, x1:x2]
    return part
