"""YOLO with anchors, on one map or several (Redmon and Farhadi 2017, arXiv:1612.08242; 2018, arXiv:1804.02767)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.detection.anchors import size_iou
from edgecv.detection.boxes import iou_matrix, to_centres, to_corners
from edgecv.detection.coding import Arrays, Candidates, Coding, logistic, logit, one_hot
from edgecv_runtime.errors import InputError

_SURE = 20.0  # a logit that is as good as certain


@dataclass(frozen=True, eq=False)
class AnchorMap:
    """One output: its grid, and the anchors of each of its cells.

    Attributes
    ----------
    grid : (rows, columns)
    anchors : (A, 2)
        Widths and heights in pixels of the input.
    """

    grid: tuple[int, int]
    anchors: npt.NDArray[np.float32]


class YOLOAnchorCoding(Coding):
    """Cells of A anchors, each x, y, w, h, objectness and class scores, all raw.

    The centre is (σ(x) + column, σ(y) + row) cells, the size anchor · exp(w, h) (2017, section 2, "direct location
    prediction"). An object belongs to the cell of its centre, and there to the anchor of most similar size on any map
    that no other object holds. Targets, by output: (H, W, A, 6) float32: σ(x), σ(y), w, h, 1 for an object, 0 for
    none or -1 for what the loss leaves out, and the class index. Left out are free anchors that overlap an object by
    more than `ignore`.

    Parameters
    ----------
    maps : mapping of output name to AnchorMap
    size, classes
        See `Coding`.
    exclusive : bool
        One class an object, by a softmax; else every class by itself.
    ignore : float
    """

    def __init__(
        self,
        maps: Mapping[str, AnchorMap],
        size: tuple[int, int],
        classes: int,
        *,
        exclusive: bool = False,
        ignore: float = 0.5,
    ) -> None:
        super().__init__(size, classes)
        if not maps:
            raise InputError("a YOLO network needs one map or more")
        self.maps, self.exclusive, self.ignore = dict(maps), exclusive, ignore

    def encode(self, boxes: npt.ArrayLike, classes: npt.ArrayLike) -> dict[str, npt.NDArray]:
        corners, labels = self.checked(boxes, classes)
        targets = {name: self._unmatched(part, corners) for name, part in self.maps.items()}
        names = [name for name, part in self.maps.items() for _ in range(len(part.anchors))]
        numbers = [number for part in self.maps.values() for number in range(len(part.anchors))]
        centres = to_centres(corners)
        likeness = size_iou(centres[:, 2:], np.concatenate([part.anchors for part in self.maps.values()]))
        for index, (x, y, width, height) in enumerate(centres.tolist()):
            for choice in np.argsort(-likeness[index], kind="stable"):
                name, number = names[choice], numbers[choice]
                part = self.maps[name]
                across, down = x / self.size[1] * part.grid[1], y / self.size[0] * part.grid[0]
                column, row = min(int(across), part.grid[1] - 1), min(int(down), part.grid[0] - 1)
                if targets[name][row, column, number, 4] == 1:
                    continue
                stretch = np.log([width, height] / part.anchors[number])
                targets[name][row, column, number] = [across - column, down - row, *stretch, 1, labels[index]]
                break
        return targets

    def _unmatched(self, part: AnchorMap, corners: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Targets of a map without objects; -1 where an anchor overlaps one well."""
        cells = np.zeros((*part.grid, len(part.anchors), 6), np.float32)
        if len(corners):
            boxes = np.concatenate([np.full_like(cells[..., :2], 0.5), np.zeros_like(cells[..., :2])], axis=-1)
            overlap = iou_matrix(self._corners(part, boxes), corners).max(axis=1).reshape(cells.shape[:3])
            cells[..., 4] = np.where(overlap > self.ignore, -1, 0)
        return cells

    def _corners(self, part: AnchorMap, places: npt.NDArray) -> npt.NDArray[np.float32]:
        """(H · W · A, 4) corners in pixels from (H, W, A, 4): where in the cell, and logarithms of the sizes."""
        rows, columns = np.mgrid[0 : part.grid[0], 0 : part.grid[1]]
        stride = self.unit[:2] / part.grid[::-1]
        middle = (places[..., :2] + np.stack([columns, rows], axis=-1)[:, :, None]) * stride
        return to_corners(np.concatenate([middle, part.anchors * np.exp(places[..., 2:4])], axis=-1).reshape(-1, 4))

    def answer(self, targets: Arrays) -> dict[str, npt.NDArray]:
        return {name: self._answer(part, targets[name]) for name, part in self.maps.items()}

    def _answer(self, part: AnchorMap, cells: npt.NDArray) -> npt.NDArray:
        holds = cells[..., 4:5] == 1
        classes = one_hot(cells[..., 5].astype(np.int64), self.classes)
        raw = [logit(cells[..., :2]), cells[..., 2:4], np.where(holds, _SURE, -_SURE), _SURE * (2 * classes - 1)]
        return np.concatenate(raw, axis=-1).reshape(*part.grid, -1).astype(np.float32)

    def decode(self, outputs: Arrays) -> Candidates:
        boxes, scores = [], []
        for name, part in self.maps.items():
            raw = np.asarray(outputs[name], np.float32).reshape(*part.grid, len(part.anchors), -1)
            boxes.append(self._corners(part, np.concatenate([logistic(raw[..., :2]), raw[..., 2:4]], axis=-1)))
            classes = _softmax(raw[..., 5:]) if self.exclusive else logistic(raw[..., 5:])
            scores.append((logistic(raw[..., 4:5]) * classes).reshape(-1, self.classes))
        return Candidates(np.concatenate(boxes).astype(np.float32), np.concatenate(scores).astype(np.float32))


def _softmax(values: npt.NDArray) -> npt.NDArray:
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@dataclass(frozen=True)
class YOLOAnchorLoss:
    """Place, size, objectness and class of all maps, over the number of objects in a batch.

    Cross-entropy for all that passes a logistic function (2018, section 2.1 and 2.2) or a softmax, squares for the
    logarithms of sizes. ``loss(targets, outputs)``: targets of `YOLOAnchorCoding`, batched; outputs the raw maps
    (N, H, W, A (5 + C)).

    Attributes
    ----------
    exclusive : bool
        See `YOLOAnchorCoding`.
    place, no_object : float
        Weights of place and size, and of the objectness of empty anchors.
    """

    exclusive: bool = False
    place: float = 1.0
    no_object: float = 1.0

    def __call__(self, targets: Any, outputs: Any) -> Any:
        from keras import ops

        parts = [self._map(truth, ops.cast(outputs[name], "float32")) for name, truth in targets.items()]
        objects = sum(part[1] for part in parts)
        return sum(part[0] for part in parts) / ops.maximum(objects, 1.0)

    def _map(self, truth: Any, raw: Any) -> tuple[Any, Any]:
        """The sum of one map's losses, and its objects."""
        from keras import ops

        from edgecv.detection.losses import binary_cross_entropy, cross_entropy

        raw = ops.reshape(raw, (-1, *truth.shape[1:4], raw.shape[-1] // truth.shape[3]))
        holds, empty = (ops.cast(truth[..., 4] == value, "float32") for value in (1, 0))
        classes = ops.cast(truth[..., 5], "int32")
        where = ops.sum(binary_cross_entropy(truth[..., :2], raw[..., :2]), axis=-1)
        stretch = ops.sum(ops.square(raw[..., 2:4] - truth[..., 2:4]), axis=-1)
        objectness = binary_cross_entropy(holds, raw[..., 4])
        if self.exclusive:
            wrong = cross_entropy(classes, raw[..., 5:])
        else:
            ones = ops.one_hot(classes, raw.shape[-1] - 5, dtype="float32")
            wrong = ops.sum(binary_cross_entropy(ones, raw[..., 5:]), axis=-1)
        total = ops.sum(holds * (self.place * (where + stretch) + wrong))
        return total + ops.sum((holds + self.no_object * empty) * objectness), ops.sum(holds)
