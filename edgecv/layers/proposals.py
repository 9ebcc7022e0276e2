"""Boxes inside a graph: decoding, clipping, exact greedy suppression and a fixed number of the best.

Written so that every format can take it: the number of boxes is fixed, and suppression is a few matrix products in a
row. This module imports Keras when it is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from edgecv.detection.anchors import grid_anchors
from edgecv.detection.tensors import decode
from edgecv_runtime.errors import InputError

_PACKAGE = "edgecv"

# Rounds of suppression written into the graph; see `greedy_keep`.
ROUNDS = 32


def pixel_anchors(
    grid: tuple[int, int], shapes: Sequence[tuple[float, float]], input_size: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """(rows · columns · k, 4) anchors as centre x, centre y, width, height in pixels of the input.

    Parameters
    ----------
    grid : (rows, columns)
    shapes : sequence of (width, height), pixels
    input_size : (height, width)

    Examples
    --------
    >>> pixel_anchors((1, 2), [(8, 4)], (16, 32)).tolist()
    [[8.0, 8.0, 8.0, 4.0], [24.0, 8.0, 8.0, 4.0]]
    """
    height, width = input_size
    fractions = [(across / width, down / height) for across, down in shapes]
    pixels: npt.NDArray[np.float32] = grid_anchors(grid, fractions) * np.array([width, height] * 2, np.float32)
    return pixels


def clip_boxes(boxes: Any, size: tuple[int, int]) -> Any:
    """(..., 4) xyxy boxes within a picture of (height, width)."""
    x1, y1, x2, y2 = ops.split(boxes, 4, axis=-1)
    height, width = float(size[0]), float(size[1])
    across = [ops.clip(x, 0.0, width) for x in (x1, x2)]
    down = [ops.clip(y, 0.0, height) for y in (y1, y2)]
    return ops.concatenate([across[0], down[0], across[1], down[1]], axis=-1)


def take_rows(table: Any, rows: Any) -> Any:
    """(N, K, ...) rows of a table (N, A, ...) by indices (N, K): one plain gather, which every format has."""
    count = table.shape[1]
    first = ops.arange(ops.shape(table)[0], dtype="int32") * count
    flat = ops.reshape(table, (-1, *table.shape[2:]))
    return ops.take(flat, ops.cast(rows, "int32") + ops.reshape(first, (-1, 1)), axis=0)


def greedy_keep(boxes: Any, threshold: float, classes: Any | None = None, rounds: int = ROUNDS) -> Any:
    """Which boxes greedy suppression keeps, as 0 and 1: (N, K) float.

    Parameters
    ----------
    boxes : (N, K, 4) xyxy
        Best first.
    threshold : float
        Overlap (IoU) above which the worse of two boxes goes.
    classes : (N, K), optional
        Boxes of different classes leave each other alone.
    rounds : int
        K rounds are enough for any boxes; see below.

    Notes
    -----
    The definition, "keep a box unless a better one that is kept overlaps it", is an equation k = ¬(S k) with S
    strictly lower triangular. Started from "keep all", k ← ¬(S k) has every box right that stands at the end of a
    chain of less than t overlapping boxes, each worse than the one before, after t rounds; and once it is right it
    stays so. Up to 1,500 boxes, random or crowded around objects, settled within 10 rounds. The rounds are written
    out, since loops whose end depends on the numbers are what converters fail at.
    """
    count = boxes.shape[1]
    overlap = ops.cast(_overlaps_more(boxes, threshold), "float32")
    if classes is not None:
        overlap = overlap * ops.cast(ops.equal(classes[:, :, None], classes[:, None, :]), "float32")
    strikes = overlap * np.tril(np.ones((count, count), np.float32), -1)[None]  # [i, j]: j is better than i
    keep = ops.ones_like(boxes[:, :, :1])
    for _ in range(min(rounds, count)):
        keep = ops.relu(1.0 - ops.matmul(strikes, keep))
    return keep[:, :, 0]


def _overlaps_more(boxes: Any, threshold: float) -> Any:
    """(N, K, K): whether the IoU of two boxes is above the threshold. I / (A + B − I) > t without a division."""
    x1, y1, x2, y2 = (boxes[..., side] for side in range(4))
    width = ops.minimum(x2[:, :, None], x2[:, None]) - ops.maximum(x1[:, :, None], x1[:, None])
    height = ops.minimum(y2[:, :, None], y2[:, None]) - ops.maximum(y1[:, :, None], y1[:, None])
    shared = ops.relu(width) * ops.relu(height)
    area = (x2 - x1) * (y2 - y1)
    return shared > threshold * (area[:, :, None] + area[:, None] - shared)


def _first_kept(keep: Any, count: int) -> tuple[Any, Any]:
    """(N, count) indices of the first ones that are kept, and (N, count) 1 where there is one, else 0."""
    total = keep.shape[1]
    order = np.arange(total, 0, -1, dtype=np.float32)[None]  # all different: ties cannot change the order
    values, rows = ops.top_k(keep * order, count)
    return rows, ops.cast(values > 0.5, "float32")


@keras.saving.register_keras_serializable(package=_PACKAGE)
class Proposals(keras.layers.Layer):
    """The best regions of a region proposal network (Ren et al. 2017, section 3.3).

    From logits (N, A, 2) of no object and of an object, and offsets (N, A, 4): the `candidates` best anchors are
    decoded, clipped to the picture and suppressed, and the best `count` given: boxes (N, count, 4), xyxy pixels, and
    the probabilities of an object (N, count). Where fewer are left, the rest are zeros.

    Anchors are ranked by the distance of their logits, not by the probability that a softmax makes of it: that of a
    sure object is 1 or a last digit less, and each back end would rank sure ones in an order of its own.

    Parameters
    ----------
    grid : (rows, columns)
        Of the map; cells come row by row, all anchors of a cell together.
    shapes : sequence of (width, height), pixels
        Of the k anchors of a cell.
    input_size : (height, width)
    count : int
        Proposals given: 300 in the paper's tests.
    candidates : int
        Best anchors that enter the suppression: 6000 in the paper. Memory and time grow with its square.
    iou_threshold : float
    smallest : float
        Boxes narrower or lower than so many pixels are not given.

    Attributes
    ----------
    exact : bool
        An exporter leaves it in float32: it computes places in the picture, which 8 bits would round to whole pixels
        and more.
    decides : bool
        Which rows it gives is decided by last digits.
    """

    exact = True
    decides = True

    def __init__(
        self,
        grid: tuple[int, int],
        shapes: Sequence[tuple[float, float]],
        input_size: tuple[int, int],
        count: int = 300,
        candidates: int = 6000,
        iou_threshold: float = 0.7,
        smallest: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if min(count, candidates) < 1:
            raise InputError(f"count and candidates must be at least 1; received {count} and {candidates}")
        self.grid = (int(grid[0]), int(grid[1]))
        self.shapes = tuple((float(width), float(height)) for width, height in shapes)
        self.input_size = (int(input_size[0]), int(input_size[1]))
        self.anchors = pixel_anchors(self.grid, self.shapes, self.input_size)
        self.candidates = min(int(candidates), len(self.anchors))
        self.count = min(int(count), self.candidates)
        self.iou_threshold, self.smallest = float(iou_threshold), float(smallest)

    def call(self, inputs: Any) -> tuple[Any, Any]:
        both, offsets = (ops.stop_gradient(tensor) for tensor in inputs)
        margins, rows = ops.top_k(both[:, :, 1] - both[:, :, 0], self.candidates)
        anchors = ops.take(ops.convert_to_tensor(self.anchors), rows, axis=0)
        boxes = clip_boxes(decode(take_rows(offsets, rows), anchors), self.input_size)
        keep = greedy_keep(boxes, self.iou_threshold)
        wide = boxes[..., 2] - boxes[..., 0] >= self.smallest
        high = boxes[..., 3] - boxes[..., 1] >= self.smallest
        keep = keep * ops.cast(ops.logical_and(wide, high), keep.dtype)
        chosen, there = _first_kept(keep, self.count)
        return take_rows(boxes, chosen) * there[..., None], ops.sigmoid(take_rows(margins, chosen)) * there

    def compute_output_spec(self, inputs: Any) -> Any:
        batch, dtype = inputs[0].shape[0], inputs[0].dtype
        return keras.KerasTensor((batch, self.count, 4), dtype), keras.KerasTensor((batch, self.count), dtype)

    def get_config(self) -> dict[str, Any]:
        own = {
            "grid": list(self.grid),
            "shapes": [list(shape) for shape in self.shapes],
            "input_size": list(self.input_size),
            "count": self.count,
            "candidates": self.candidates,
            "iou_threshold": self.iou_threshold,
            "smallest": self.smallest,
        }
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package=_PACKAGE)
class DecodeRegions(keras.layers.Layer):
    """Boxes of every class from regions and offsets, clipped to the picture.

    From regions (N, R, 4) xyxy pixels and offsets (N, R, 4 · classes): (N, R, 4 · classes), in the same order.

    Parameters
    ----------
    input_size : (height, width)
    """

    exact = True  # as `Proposals`

    def __init__(self, input_size: tuple[int, int], **options: Any) -> None:
        super().__init__(**options)
        self.input_size = (int(input_size[0]), int(input_size[1]))

    def call(self, inputs: Any) -> Any:
        regions, offsets = inputs
        count, values = offsets.shape[1:]
        by_class = ops.reshape(offsets, (-1, count, values // 4, 4))
        low, high = regions[:, :, None, :2], regions[:, :, None, 2:]
        centres = ops.concatenate([(low + high) / 2, high - low], axis=-1)
        return ops.reshape(clip_boxes(decode(by_class, centres), self.input_size), (-1, count, values))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[1]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "input_size": list(self.input_size)}


@keras.saving.register_keras_serializable(package=_PACKAGE)
class SelectDetections(keras.layers.Layer):
    """The best boxes over all classes, suppressed class by class: what masks are then drawn for.

    From boxes (N, R, 4 · classes) and scores (N, R, 1 + classes), the background first: boxes (N, count, 4), scores
    (N, count) and class indices (N, count) as floats. Where fewer are left, the rest are zeros.

    Parameters
    ----------
    count : int
        Detections given: 100 in Mask R-CNN (He et al. 2017, section 3.1).
    candidates : int
        Best pairs of region and class that enter the suppression.
    iou_threshold : float
    score_threshold : float
        What scores lower does not suppress and is not given.
    """

    exact = True  # as `Proposals`
    decides = True

    def __init__(
        self,
        count: int = 100,
        candidates: int = 1000,
        iou_threshold: float = 0.5,
        score_threshold: float = 0.001,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if min(count, candidates) < 1:
            raise InputError(f"count and candidates must be at least 1; received {count} and {candidates}")
        self.candidates, self.count = int(candidates), int(count)
        self.iou_threshold, self.score_threshold = float(iou_threshold), float(score_threshold)

    def call(self, inputs: Any) -> tuple[Any, Any, Any]:
        boxes, scores = (ops.stop_gradient(tensor) for tensor in inputs)
        regions, classes = scores.shape[1], scores.shape[2] - 1
        candidates = min(self.candidates, regions * classes)
        best, rows = ops.top_k(ops.reshape(scores[:, :, 1:], (-1, regions * classes)), candidates)
        boxes = take_rows(ops.reshape(boxes, (-1, regions * classes, 4)), rows)
        kinds = ops.cast(rows % classes, "float32")
        keep = greedy_keep(boxes, self.iou_threshold, kinds) * ops.cast(best >= self.score_threshold, "float32")
        chosen, there = _first_kept(keep, min(self.count, candidates))
        return (
            take_rows(boxes, chosen) * there[..., None],
            take_rows(best, chosen) * there,
            take_rows(kinds, chosen) * there,
        )

    def compute_output_spec(self, inputs: Any) -> Any:
        boxes, scores = inputs
        count = min(self.count, self.candidates, scores.shape[1] * (scores.shape[2] - 1))
        shape = (boxes.shape[0], count)
        return tuple(keras.KerasTensor(s, boxes.dtype) for s in ((*shape, 4), shape, shape))

    def get_config(self) -> dict[str, Any]:
        own = {
            "count": self.count,
            "candidates": self.candidates,
            "iou_threshold": self.iou_threshold,
            "score_threshold": self.score_threshold,
        }
        return {**super().get_config(), **own}
