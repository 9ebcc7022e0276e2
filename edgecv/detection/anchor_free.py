"""Detection without anchors: every cell near the middle of an object learns its box.

Which cells learn is centre sampling by size (Tian et al. 2019, FCOS, section 3.2, arXiv:1904.01355); how a box is
written is YOLOX's (Ge et al. 2021, section 2.1, arXiv:2107.08430).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.detection.boxes import to_centres, to_corners
from edgecv.detection.coding import Arrays, Candidates, Coding, one_hot
from edgecv_runtime.errors import InputError


class AnchorFreeCoding(Coding):
    """A box, an objectness and class scores for each cell of every grid.

    In cell (column, row) of stride s the centre is ((x + column) s, (y + row) s), the size (exp(w) s, exp(h) s).
    Targets: ``boxes`` (N, 4) float32 corners in pixels, zeros without an object; ``classes`` (N,) int32, -1 without.
    Outputs: ``boxes`` (N, 4), ``objectness`` (N, 1) and ``scores`` (N, C), the last two in 0..1.

    Parameters
    ----------
    strides : sequence of int
        Of the grids, growing; they must divide the size.
    size, classes
        See `Coding`.
    radius : float
        Cells whose middle lies within so many strides of the object's, across and down, and in its box, learn it.
        The cell in which the middle lies always does.
    reach : float
        An object whose longer side is at most `reach` strides belongs to that grid; the last takes the rest. Of several
        objects a cell learns the smallest.
    """

    def __init__(
        self,
        strides: Sequence[int],
        size: tuple[int, int],
        classes: int,
        radius: float = 1.5,
        reach: float = 4.0,
    ) -> None:
        super().__init__(size, classes)
        if (
            not strides
            or list(strides) != sorted(set(strides))
            or any(side % step for side in size for step in strides)
        ):
            raise InputError(f"strides must grow and divide the input's {size[0]}x{size[1]}; received {list(strides)}")
        self.strides, self.radius, self.reach = tuple(strides), radius, reach
        self.cells = np.concatenate([_cells(size, stride) for stride in self.strides])

    def encode(self, boxes: npt.ArrayLike, classes: npt.ArrayLike) -> dict[str, npt.NDArray]:
        corners, labels = self.checked(boxes, classes)
        targets = np.zeros((len(self.cells), 4), np.float32)
        owners = np.full(len(self.cells), -1, np.int32)
        stride = self.cells[:, 2]
        middles = (self.cells[:, :2] + 0.5) * stride[:, None]
        centres = to_centres(corners)
        for index in np.argsort(-centres[:, 2:].prod(axis=1), kind="stable"):  # the smallest last: it stays
            box, centre = corners[index], centres[index, :2]
            mine = stride == self._stride(centres[index, 2:].max())
            near = (np.abs(middles - centre) < self.radius * stride[:, None]).all(axis=1)
            inside = (middles > box[:2]).all(axis=1) & (middles < box[2:]).all(axis=1)
            home = (np.minimum(centre // stride[:, None], self._last) == self.cells[:, :2]).all(axis=1)
            chosen = mine & (near & inside | home)
            targets[chosen], owners[chosen] = box, labels[index]
        return {"boxes": targets, "classes": owners}

    @property
    def _last(self) -> npt.NDArray:
        """(N, 2) the last column and row of each cell's grid."""
        return np.array(self.size[::-1]) // self.cells[:, 2:] - 1

    def _stride(self, longest: float) -> int:
        fitting = [stride for stride in self.strides if longest <= self.reach * stride]
        return fitting[0] if fitting else self.strides[-1]

    def answer(self, targets: Arrays) -> dict[str, npt.NDArray]:
        holds = targets["classes"] >= 0
        boxes = np.zeros((len(holds), 4), np.float32)
        cells, centres = self.cells[holds], to_centres(targets["boxes"][holds]) / self.cells[holds, 2:]
        boxes[holds] = np.concatenate([centres[:, :2] - cells[:, :2], np.log(centres[:, 2:])], axis=1)
        return {
            "boxes": boxes,
            "objectness": holds[:, None].astype(np.float32),
            "scores": one_hot(targets["classes"], self.classes),
        }

    def decode(self, outputs: Arrays) -> Candidates:
        raw, stride = np.asarray(outputs["boxes"], np.float32), self.cells[:, 2:]
        centres = np.concatenate([(raw[:, :2] + self.cells[:, :2]) * stride, np.exp(raw[:, 2:]) * stride], axis=1)
        return Candidates(to_corners(centres), np.asarray(outputs["objectness"] * outputs["scores"], np.float32))


def _cells(size: tuple[int, int], stride: int) -> npt.NDArray[np.float32]:
    """(rows · columns, 3): column, row and stride, row by row."""
    rows, columns = np.mgrid[0 : size[0] // stride, 0 : size[1] // stride]
    return np.stack([columns, rows, np.full_like(rows, stride)], axis=-1).reshape(-1, 3).astype(np.float32)


@dataclass(frozen=True, eq=False)
class AnchorFreeLoss:
    """Generalised IoU of the boxes, cross-entropy of objectness and classes, over the number of cells that learn a box.

    ``loss(targets, outputs)``: targets of `AnchorFreeCoding`, batched; outputs ``boxes`` (N, A, 4), ``objectness``
    (N, A, 1) and ``scores`` (N, A, C), the last two as logits.

    Attributes
    ----------
    cells : (A, 3)
        Of the coding.
    place : float
        Weight of the boxes, 1 - GIoU each.
    """

    cells: npt.NDArray[np.float32]
    place: float = 2.0

    def __call__(self, targets: Any, outputs: Any) -> Any:
        from keras import ops

        from edgecv.detection.losses import binary_cross_entropy
        from edgecv.detection.tensors import corners, giou

        raw, objectness, scores = (ops.cast(outputs[name], "float32") for name in ("boxes", "objectness", "scores"))
        cells = ops.convert_to_tensor(self.cells)
        centres = ops.concatenate([raw[..., :2] + cells[:, :2], ops.exp(ops.minimum(raw[..., 2:], 10.0))], axis=-1)
        boxes = corners(centres * cells[:, 2:])
        classes = ops.cast(targets["classes"], "int32")
        holds = ops.cast(classes >= 0, "float32")
        apart = 1 - giou(boxes, targets["boxes"])
        ones = ops.one_hot(ops.maximum(classes, 0), scores.shape[-1], dtype="float32")
        wrong = ops.sum(binary_cross_entropy(ones, scores), axis=-1)
        total = ops.sum(holds * (self.place * apart + wrong))
        total = total + ops.sum(binary_cross_entropy(holds, objectness[..., 0]))
        return total / ops.maximum(ops.sum(holds), 1.0)
