"""Features of regions: RoI max pooling (Fast R-CNN) and RoIAlign (Mask R-CNN).

Both take a feature map (N, H, W, C) and boxes (N, R, 4), xyxy in pixels of the network's input, and give
(N · R, size, size, C): the regions of all pictures one after the other, so that the layers behind them see one
batch. This module imports Keras when it is imported.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from edgecv_runtime.errors import InputError

_PACKAGE = "edgecv"
METHODS = ("gather", "matrices")


class _Regions(keras.layers.Layer):
    """What both share: the size of the answer, and the scale from pixels of the input to places of the map."""

    exact = True  # as `edgecv.layers.proposals.Proposals`

    def __init__(self, size: int, scale: float, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(size, int) or size < 1:
            raise InputError(f"size must be a whole number of at least 1; received {size!r}")
        if not scale > 0:
            raise InputError(f"scale (map over input) must be above 0; received {scale!r}")
        self.size, self.scale = size, float(scale)

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        features, boxes = input_shape
        regions = None if features[0] is None else features[0] * boxes[1]
        return regions, self.size, self.size, features[3]

    def compute_output_spec(self, inputs: Any) -> Any:
        features, boxes = inputs
        return keras.KerasTensor(self.compute_output_shape((features.shape, boxes.shape)), features.dtype)

    def rows_of_a_picture(self, shapes: Sequence[tuple[int, ...]]) -> int:
        """How many rows of the answer are of one picture: its regions (see `edgecv.complexity`)."""
        return shapes[1][1]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size, "scale": self.scale}


def _pixels_of(features: Any) -> tuple[Any, Any]:
    """All places of all pictures as rows (N · H · W, C), and the first row of each picture (N, 1, 1, 1)."""
    height, width, channels = features.shape[1:]
    first = ops.arange(ops.shape(features)[0], dtype="int32") * (height * width)
    return ops.reshape(features, (-1, channels)), ops.reshape(first, (-1, 1, 1, 1))


@keras.saving.register_keras_serializable(package=_PACKAGE)
class RoIPooling(_Regions):
    """The maximum in each of size × size cells of a region (Girshick 2015, section 2.1).

    The region's corners are rounded to whole places of the map, both of them inside it; cell p reaches from
    ⌊p h / size⌋ to ⌈(p + 1) h / size⌉, so that neighbours may share a row. A cell outside the map gives 0.

    Parameters
    ----------
    size : int
        Cells a side; 7 with VGG-16, whose first dense layer takes 7 × 7.
    scale : float
        One over the stride of the map.

    Notes
    -----
    Each cell is walked through place by place, all cells of all regions at once: memory is that of the answer,
    whatever the size of the regions. Boxes must lie within the picture, as clipped proposals do.
    """

    def call(self, inputs: Any) -> Any:
        features, boxes = inputs
        height, width, channels = features.shape[1:]
        rows, first = _pixels_of(features)
        x1, y1, x2, y2 = ops.split(ops.floor(boxes * self.scale + 0.5), 4, axis=-1)  # (N, R, 1) each
        top, bottom = self._cells(y1, y2, height)
        left, right = self._cells(x1, x2, width)
        pooled: Any = None
        for down in range(self._most(height)):
            y = top + down
            for across in range(self._most(width)):
                x = left + across
                # Beyond the end of a cell its last place is looked at again: that does not change the maximum.
                place = self._place(y, bottom, height)[..., None] * width + self._place(x, right, width)[..., None, :]
                values = ops.take(rows, ops.cast(place, "int32") + first, axis=0)
                pooled = values if pooled is None else ops.maximum(pooled, values)
        there = ops.cast(bottom > top, pooled.dtype)[..., None] * ops.cast(right > left, pooled.dtype)[..., None, :]
        return ops.reshape(pooled * there[..., None], (-1, self.size, self.size, channels))

    def _cells(self, start: Any, end: Any, length: int) -> tuple[Any, Any]:
        """(N, R, size): first place of each cell, and the one behind its last, within the map."""
        extent = ops.maximum(end - start + 1.0, 1.0)
        cells = ops.reshape(ops.arange(self.size, dtype=extent.dtype), (1, 1, -1))
        # All are whole numbers. With half of one added no quotient lies near a whole number, and a converter that
        # multiplies by 1 / size instead, as TFLite's does, rounds it to the same side; the second is a ⌈ ⌉.
        begin = ops.floor((cells * extent + 0.5) / self.size) + start
        finish = ops.floor(((cells + 1.0) * extent + self.size - 0.5) / self.size) + start
        return ops.clip(begin, 0.0, float(length)), ops.clip(finish, 0.0, float(length))

    def _most(self, length: int) -> int:
        """Most places of a cell along one axis: a region has at most length + 1, its last corner being rounded up."""
        return min(length, math.ceil((length + 1) / self.size) + 1)

    @staticmethod
    def _place(position: Any, end: Any, length: int) -> Any:
        return ops.clip(ops.minimum(position, end - 1.0), 0.0, length - 1.0)


@keras.saving.register_keras_serializable(package=_PACKAGE)
class RoIAlign(_Regions):
    """Bilinear samples of a region, averaged over size × size cells; nothing is rounded (He et al. 2017, section 3).

    Each cell is sampled at `samples` × `samples` evenly spaced points. A point up to one place outside the map takes
    the value at the border, one further out is 0.

    Parameters
    ----------
    size : int
        Cells a side.
    scale : float
        One over the stride of the map.
    samples : int
        Points a side of a cell: 2 in the paper.
    aligned : bool
        The middle of place 0 lies half a place inside the map, as that of a pixel lies in it (the paper's own code
        left this half out; later ones correct it).
    method : {"gather", "matrices"}
        ``"gather"`` reads the four neighbours of every point: its cost does not depend on the size of the map.
        ``"matrices"`` writes the same sums as two matrix products, R · size · H · W · C multiply-accumulates and
        more, without a gather: the quicker one on maps of up to some 20 places a side, above all in training.
    """

    def __init__(
        self,
        size: int,
        scale: float,
        samples: int = 2,
        aligned: bool = True,
        method: str = "gather",
        **options: Any,
    ) -> None:
        super().__init__(size, scale, **options)
        if not isinstance(samples, int) or samples < 1:
            raise InputError(f"samples must be a whole number of at least 1; received {samples!r}")
        if method not in METHODS:
            raise InputError(f"method must be one of {', '.join(METHODS)}; received {method!r}")
        self.samples, self.aligned, self.method = samples, aligned, method

    def call(self, inputs: Any) -> Any:
        features, boxes = inputs
        height, width, channels = features.shape[1:]
        x1, y1, x2, y2 = ops.split(boxes * self.scale - (0.5 if self.aligned else 0.0), 4, axis=-1)
        y, y_seen = self._points(y1, y2, height)
        x, x_seen = self._points(x1, x2, width)
        average = self._gather if self.method == "gather" else self._multiply
        return ops.reshape(average(features, (y, y_seen), (x, x_seen)), (-1, self.size, self.size, channels))

    def _points(self, start: Any, end: Any, length: int) -> tuple[Any, Any]:
        """(N, R, size · samples): where the points lie, moved into the map, and 1 for those that count, else 0."""
        count = self.size * self.samples
        extent = end - start if self.aligned else ops.maximum(end - start, 1.0)
        shares = ops.reshape((ops.arange(count, dtype=extent.dtype) + 0.5) / count, (1, 1, -1))
        points = start + shares * extent
        seen = ops.cast(ops.logical_and(points >= -1.0, points <= float(length)), points.dtype)
        return ops.clip(points, 0.0, length - 1.0), seen

    def _gather(self, features: Any, down: tuple[Any, Any], across: tuple[Any, Any]) -> Any:
        height, width, channels = features.shape[1:]
        rows, first = _pixels_of(features)
        total = 0.0
        for y, y_weight in self._neighbours(*down, height):
            for x, x_weight in self._neighbours(*across, width):
                place = ops.cast(y[..., None] * width + x[..., None, :], "int32") + first
                weight = y_weight[..., None] * x_weight[..., None, :]
                total = total + ops.take(rows, place, axis=0) * weight[..., None]
        cells = ops.reshape(total, (-1, self.size, self.samples, self.size, self.samples * channels))
        cells = ops.reshape(ops.mean(cells, axis=2), (-1, self.size * self.size, self.samples, channels))
        return ops.mean(cells, axis=2)

    @staticmethod
    def _neighbours(points: Any, seen: Any, length: int) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        """The places before and behind each point, with their weights."""
        before = ops.floor(points)
        after = ops.minimum(before + 1.0, length - 1.0)
        share = points - before
        return (before, (1.0 - share) * seen), (after, share * seen)

    def _multiply(self, features: Any, down: tuple[Any, Any], across: tuple[Any, Any]) -> Any:
        height, width, channels = features.shape[1:]
        regions = down[0].shape[1]
        y_weights = ops.reshape(self._weights(*down, height), (-1, regions * self.size, height))
        x_weights = ops.reshape(self._weights(*across, width), (-1, 1, self.size, width))
        rows = ops.matmul(y_weights, ops.reshape(features, (-1, height, width * channels)))
        return ops.matmul(x_weights, ops.reshape(rows, (-1, self.size, width, channels)))

    def _weights(self, points: Any, seen: Any, length: int) -> Any:
        """(N, R, size, length): how much of each place enters a cell. Bilinear weights are a tent one place wide."""
        places = ops.reshape(ops.arange(length, dtype=points.dtype), (1, 1, 1, -1))
        tents = ops.relu(1.0 - ops.abs(points[..., None] - places)) * seen[..., None]
        regions = points.shape[1]
        return ops.mean(ops.reshape(tents, (-1, regions, self.size, self.samples, length)), axis=3)

    def get_config(self) -> dict[str, Any]:
        own = {"samples": self.samples, "aligned": self.aligned, "method": self.method}
        return {**super().get_config(), **own}
