"""YOLO, the first: one object a cell, and the sum of squares (Redmon et al. 2016, arXiv:1506.02640)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.detection.boxes import to_centres, to_corners
from edgecv.detection.coding import Arrays, Candidates, Coding, one_hot


class YOLOv1Coding(Coding):
    """S×S cells of B boxes (x, y, √w, √h, confidence) and C class probabilities.

    x and y are offsets within the cell, w and h fractions of the picture (sections 2 and 2.2). Targets: ``grid``
    (S, S, 5 + C) float32: 1 where the centre of an object lies in the cell, x, y, √w, √h, and the class, one-hot. Of
    several objects in a cell the largest stays. Outputs: ``grid`` (S, S, 5 B + C).

    Parameters
    ----------
    grid : int
        S.
    size, classes
        See `Coding`.
    boxes : int
        B.
    """

    def __init__(self, grid: int, size: tuple[int, int], classes: int, boxes: int = 2) -> None:
        super().__init__(size, classes)
        self.grid, self.boxes = grid, boxes

    def encode(self, boxes: npt.ArrayLike, classes: npt.ArrayLike) -> dict[str, npt.NDArray]:
        corners, labels = self.checked(boxes, classes)
        centres = to_centres(corners) / self.unit
        cells = np.zeros((self.grid, self.grid, 5 + self.classes), np.float32)
        for index in np.argsort(centres[:, 2:].prod(axis=1), kind="stable"):
            x, y, width, height = centres[index] * [self.grid, self.grid, 1, 1]
            column, row = (min(max(int(value), 0), self.grid - 1) for value in (x, y))
            place = [1, x - column, y - row, np.sqrt(width), np.sqrt(height)]
            cells[row, column] = [*place, *one_hot(labels[index], self.classes)]
        return {"grid": cells}

    def answer(self, targets: Arrays) -> dict[str, npt.NDArray]:
        cells = targets["grid"]
        box = np.concatenate([cells[..., 1:5], cells[..., :1]], axis=-1)
        return {"grid": np.concatenate([np.tile(box, (1, 1, self.boxes)), cells[..., 5:]], axis=-1)}

    def decode(self, outputs: Arrays) -> Candidates:
        cells = np.asarray(outputs["grid"], np.float32).reshape(self.grid, self.grid, -1)
        predicted = cells[..., : 5 * self.boxes].reshape(self.grid, self.grid, self.boxes, 5)
        rows, columns = np.mgrid[0 : self.grid, 0 : self.grid]
        middle = (predicted[..., :2] + np.stack([columns, rows], axis=-1)[:, :, None]) / self.grid
        boxes = np.concatenate([middle, predicted[..., 2:4] ** 2], axis=-1).reshape(-1, 4) * self.unit
        scores = predicted[..., 4:] * cells[:, :, None, 5 * self.boxes :]
        return Candidates(to_corners(boxes), scores.reshape(-1, self.classes))


@dataclass(frozen=True)
class YOLOv1Loss:
    """The sum of squares of eq. 3, averaged over the pictures of a batch.

    In a cell with an object the box that overlaps it most is responsible: it alone learns the place, and the overlap
    as its confidence. All other boxes learn a confidence of 0. ``loss(targets, outputs)``: targets of `YOLOv1Coding`,
    batched; outputs ``grid`` (N, S, S, 5 B + C).

    Attributes
    ----------
    boxes : int
        B.
    coordinate, no_object : float
        λ_coord and λ_noobj.
    """

    boxes: int = 2
    coordinate: float = 5.0
    no_object: float = 0.5

    def __call__(self, targets: Any, outputs: Any) -> Any:
        from keras import ops

        from edgecv.detection.tensors import corners, iou

        truth, answered = targets["grid"], ops.cast(outputs["grid"], "float32")
        side = truth.shape[1]
        predicted = ops.reshape(answered[..., : 5 * self.boxes], (-1, side, side, self.boxes, 5))
        holds, place = truth[..., :1], truth[..., None, 1:5]

        def box(values: Any) -> Any:
            # The corner of the cell does not matter: both boxes are measured from it.
            return corners(ops.concatenate([values[..., :2] / side, ops.square(values[..., 2:4])], axis=-1))

        overlap = ops.stop_gradient(iou(box(predicted), box(place)))
        responsible = holds * ops.one_hot(ops.argmax(overlap, axis=-1), self.boxes, dtype="float32")
        apart = ops.sum(ops.square(predicted[..., :4] - place), axis=-1)
        confidence = predicted[..., 4]
        cell = ops.sum(ops.square(answered[..., 5 * self.boxes :] - truth[..., 5:]), axis=-1, keepdims=True)
        total = (
            self.coordinate * ops.sum(responsible * apart)
            + ops.sum(responsible * ops.square(confidence - overlap))
            + self.no_object * ops.sum((1 - responsible) * ops.square(confidence))
            + ops.sum(holds * cell)
        )
        return total / ops.cast(ops.shape(answered)[0], "float32")
