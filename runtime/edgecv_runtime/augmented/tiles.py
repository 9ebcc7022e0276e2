"""Small objects in large frames: the frame cut into overlapping tiles, their answers joined without seams.

After Akyon et al. 2022, "Slicing Aided Hyper Inference" (sections 3 and 4). What differs: a box that ends where its
tile ends is known to be cut, and gives way to one that is whole, whatever they score.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edgecv_runtime.augmented.looks import SeveralLooks
from edgecv_runtime.augmented.merge import concatenate, to_source
from edgecv_runtime.augmented.views import View
from edgecv_runtime.errors import InputError, UnsupportedError
from edgecv_runtime.images import Image
from edgecv_runtime.model import Model
from edgecv_runtime.results import Detections
from edgecv_runtime.suppression import nms
from edgecv_runtime.suppression.overlap import Boxes, areas

_EDGE = 0.01  # a box that comes this near to its tile's edge, as a part of the tile's side, is cut by it
_INSIDE = 0.6  # share of a cut box within a whole one from which on it is a part of that
_TOUCHING = 0.25  # share of the smaller of two cut boxes within the other from which on they are one object


class TiledModel(SeveralLooks):
    """A detector that looks at a frame tile by tile.

    Parameters
    ----------
    model : Model
        A detector; it stays the caller's to close. Where its batch is free, all tiles go in one call.
    tile : (height, width), int or None
        Pixels of the frame. None: the model's own input size, so that nothing is made smaller.
    overlap : float in [0, 0.9]
        Share of a tile that the next one covers again. An object smaller than it is whole in one of the tiles.
    whole : bool
        Also look at the whole frame once, for what is larger than a tile.
    iou_threshold : float
        Above it two boxes of one class are the same object.

    Raises
    ------
    UnsupportedError
        Not a detector.
    InputError
        A size or share out of range.

    Examples
    --------
    >>> import edgecv_runtime as ert
    >>> with ert.load("yolox_nano.edgecv") as model:                                       # doctest: +SKIP
    ...     ert.TiledModel(model, tile=640)("4k.jpg")
    """

    def __init__(
        self,
        model: Model,
        tile: tuple[int, int] | int | None = None,
        *,
        overlap: float = 0.2,
        whole: bool = True,
        iou_threshold: float = 0.5,
    ) -> None:
        if model.task != "detection":
            raise UnsupportedError(f"tiles are for detectors; this is a {model.task} model")
        size = model.manifest.inputs[0].size if tile is None else (tile, tile) if isinstance(tile, int) else tile
        if min(size) < 16:
            raise InputError(f"a tile must have at least 16×16 pixels; received {size[0]}×{size[1]}")
        if not 0 <= overlap <= 0.9:
            raise InputError(f"overlap must be a share from 0 to 0.9; received {overlap}")
        super().__init__(model)
        self.tile, self.overlap = (int(size[0]), int(size[1])), overlap
        self.whole, self.iou_threshold = whole, iou_threshold

    def _look(self, pixels: Image) -> Detections:
        size = pixels.shape[0], pixels.shape[1]
        views = list(tiles(pixels, self.tile, self.overlap))
        if self.whole and len(views) > 1:
            views.append(View("whole", pixels, np.eye(3)))
        answers = self.model([view.image for view in views])
        cut = np.concatenate([cut_by_tile(found, view, size) for found, view in zip(answers, views, strict=True)])
        of_tile = np.repeat(np.arange(len(views)), [len(found) for found in answers])
        together = concatenate([to_source(found, view, size) for found, view in zip(answers, views, strict=True)])
        return join(together, cut, of_tile, self.iou_threshold)


def tiles(image: Image, tile: tuple[int, int], overlap: float) -> Iterator[View]:
    """Overlapping tiles that cover a picture, row by row; the last ones end with the picture."""
    height, width = image.shape[:2]
    for top in _starts(height, tile[0], overlap):
        for left in _starts(width, tile[1], overlap):
            cut = np.ascontiguousarray(image[top : top + tile[0], left : left + tile[1]])
            yield View(f"tile {top},{left}", cut, np.array([[1.0, 0, -left], [0, 1, -top], [0, 0, 1]]))


def _starts(length: int, tile: int, overlap: float) -> list[int]:
    """Evenly spaced, as few as the overlap allows."""
    if tile >= length:
        return [0]
    count = 1 + int(np.ceil((length - tile) / max(1.0, tile * (1 - overlap))))
    return [round(start) for start in np.linspace(0, length - tile, count).tolist()]


def cut_by_tile(found: Detections, view: View, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """(N,): which boxes of a tile end at an edge of it that is not an edge of the (height, width) picture."""
    height, width = view.image.shape[:2]
    left, top = -view.matrix[0, 2], -view.matrix[1, 2]
    near = _EDGE * width, _EDGE * height
    x1, y1, x2, y2 = found.boxes.astype(np.float64).T
    cut: npt.NDArray[np.bool_] = (
        ((x1 <= near[0]) & (left > 0))
        | ((y1 <= near[1]) & (top > 0))
        | ((x2 >= width - near[0]) & (left + width < size[1]))
        | ((y2 >= height - near[1]) & (top + height < size[0]))
    )
    return cut


def join(
    found: Detections, cut: npt.NDArray[np.bool_], of_tile: npt.NDArray[np.intp], iou_threshold: float
) -> Detections:
    """Detections of all tiles, in the picture's pixels, as those of the picture.

    Whole boxes suppress each other as always. A cut box within a whole one of its class is a part of it and goes; cut
    boxes of neighbouring tiles that overlap become the box around them, with the better score.

    Parameters
    ----------
    found : Detections
    cut : (N,) bool
        From `cut_by_tile`.
    of_tile : (N,) int
    iou_threshold : float
    """
    sound, parts = np.flatnonzero(~cut), np.flatnonzero(cut)
    kept = sound[nms(found.boxes[sound], found.scores[sound], iou_threshold, classes=found.classes[sound])]
    boxes = found.boxes.astype(np.float64)
    within = _share_within(boxes[parts], boxes[kept]) * (found.classes[parts, None] == found.classes[kept])
    left = parts[~(within > _INSIDE).any(axis=1)] if len(kept) else parts
    founders = _grow(boxes, found, left, of_tile)
    chosen = np.concatenate([kept, founders]).astype(np.intp)
    chosen = chosen[(-found.scores[chosen]).argsort(kind="stable")]
    return replace(found._take(chosen), boxes=boxes[chosen].astype(np.float32))


def _grow(
    boxes: Boxes, found: Detections, left: npt.NDArray[np.intp], of_tile: npt.NDArray[np.intp]
) -> npt.NDArray[np.intp]:
    """Which cut boxes stand for the others; `boxes` of these are widened around what belongs to them."""
    waiting = left[(-found.scores[left]).argsort(kind="stable")].tolist()
    founders = []
    while waiting:
        best = waiting.pop(0)
        founders.append(best)
        joined = True
        while joined:  # a box that has grown may reach the next one
            joined = False
            for other in list(waiting):
                related = found.classes[other] == found.classes[best] and of_tile[other] != of_tile[best]
                if related and _overlap_of_smaller(boxes[best], boxes[other]) > _TOUCHING:
                    low, high = np.minimum(boxes[best], boxes[other]), np.maximum(boxes[best], boxes[other])
                    boxes[best] = [low[0], low[1], high[2], high[3]]
                    waiting.remove(other)
                    joined = True
    return np.array(founders, np.intp)


def _share_within(parts: Boxes, wholes: Boxes) -> npt.NDArray[np.float64]:
    """(P, W): the share of each part's area that lies within each whole."""
    low = np.maximum(parts[:, None, :2], wholes[None, :, :2])
    high = np.minimum(parts[:, None, 2:], wholes[None, :, 2:])
    shared: npt.NDArray[np.float64] = (high - low).clip(0).prod(axis=2) / np.maximum(areas(parts), 1e-9)[:, None]
    return shared


def _overlap_of_smaller(first: Boxes, second: Boxes) -> float:
    sides = (np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])).clip(0)
    return float(sides.prod() / max(1e-9, min(areas(first[None])[0], areas(second[None])[0])))
