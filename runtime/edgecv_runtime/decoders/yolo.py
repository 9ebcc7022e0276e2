"""YOLO heads that give one row a candidate: YOLOX (grid still to be added), and those of v5 and v8 (pixels already)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from edgecv_runtime.decoders.base import Outputs, logistic, only_output, output_roles
from edgecv_runtime.decoders.detection import DetectionDecoder, Floats, corners
from edgecv_runtime.decoders.parameters import DETECTION, Parameter, Parameters
from edgecv_runtime.errors import BundleError
from edgecv_runtime.manifest import Manifest
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results import Detections

ACTIVATION = Parameter("none", "what the device still applies to scores", choices=("none", "sigmoid"))
STRIDES = Parameter([8, 16, 32], "input pixels per cell of each grid", 1, 1024, shape=(None,), whole=True)
_YOLOX_ROLES = ("boxes", "objectness", "scores")


class YOLOXDecoder(DetectionDecoder):
    """YOLOX (Ge et al. 2021): rows of x, y, w, h, objectness and class scores, over the cells of all grids.

    In a cell (i, j) of stride s the centre is ((x + j) s, (y + i) s) and the size (exp(w) s, exp(h) s); a candidate
    scores objectness times its best class. The columns come in one output, or in three by their roles, each of which
    an integer model then scales for itself: ``outputs = {boxes: NAME, objectness: NAME, scores: NAME}``, (batch, N, 4),
    (batch, N, 1) and (batch, N, classes).
    """

    parameters_known: ClassVar[Parameters] = {**DETECTION, "strides": STRIDES, "activation": ACTIVATION}

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        given = self.parameters.get("outputs")
        if given is None:
            self.order = [only_output(manifest)]
        else:
            roles = output_roles(manifest, given, _YOLOX_ROLES)
            self.order = [roles[role] for role in _YOLOX_ROLES]
        shapes = [manifest.outputs[index].shape for index in self.order]
        self.cells = np.concatenate([_cells(self.height, self.width, stride) for stride in self.values["strides"]])
        widths = [None] if given is None else [4, 1, None]
        if any(
            len(shape) != 3 or shape[1] not in (None, len(self.cells)) or shape[2] not in (None, width or shape[2])
            for shape, width in zip(shapes, widths, strict=True)
        ):
            columns = "5 + classes" if given is None else "4, 1 and classes"
            raise BundleError(
                f"decoder 'yolox' with strides {list(self.values['strides'])} reads (batch, {len(self.cells)}, "
                f"{columns}) for a {self.width}x{self.height} input; the manifest says "
                f"{', '.join(str(list(shape)) for shape in shapes)}"
            )
        columns_left = shapes[-1][2]
        self.check_classes(None if columns_left is None else columns_left - (5 if given is None else 0))

    def decode(self, outputs: Outputs, geometry: Geometry) -> Detections:
        if len(self.order) == 1:
            boxes, objectness, scores = outputs[0][:, :4], outputs[0][:, 4:5], outputs[0][:, 5:]
        else:
            boxes, objectness, scores = (outputs[index] for index in self.order)
        if self.values["activation"] == "sigmoid":
            objectness, scores = logistic(objectness), logistic(scores)
        chosen, best, classes = self.best_class(objectness * scores)
        cells, raw = self.cells[chosen], boxes[chosen]
        with np.errstate(over="ignore"):  # a size that is no number is left out later
            middle, size = raw[:, :2] + cells[:, :2], np.exp(raw[:, 2:4])
        centres = np.concatenate([middle, size], axis=1) * cells[:, 2:]
        return self.finish(corners(centres), best, classes, geometry)


class YOLOv5Decoder(DetectionDecoder):
    """Rows of centre x, centre y, width, height, objectness and class scores, as v5 and v7 export them.

    Boxes are in input pixels, or in fractions of the input with ``units = "fraction"``.
    """

    parameters_known: ClassVar[Parameters] = {
        **DETECTION,
        "activation": ACTIVATION,
        "units": Parameter("pixel", "what boxes are measured in", choices=("pixel", "fraction")),
    }
    _extra: ClassVar[int] = 5

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        shape = manifest.outputs[only_output(manifest)].shape
        if len(shape) != 3:
            raise BundleError(
                f"decoder {manifest.decoder.name!r} reads three dimensions; the manifest says {list(shape)}"
            )
        columns = shape[self._columns_axis]
        self.check_classes(None if columns is None else columns - self._extra)

    _columns_axis: ClassVar[int] = 2

    def decode(self, outputs: Outputs, geometry: Geometry) -> Detections:
        rows = outputs[0]
        scores = self._scores(rows)
        chosen, best, classes = self.best_class(scores)
        boxes = corners(rows[chosen, :4])
        if self.values["units"] == "fraction":
            boxes = boxes * np.array([self.width, self.height] * 2, np.float32)
        return self.finish(boxes, best, classes, geometry)

    def _scores(self, rows: Floats) -> Floats:
        scores = rows[:, 4:] if self.values["activation"] == "none" else logistic(rows[:, 4:])
        product: Floats = scores[:, :1] * scores[:, 1:]
        return product


class YOLOv8Decoder(YOLOv5Decoder):
    """As `YOLOv5Decoder` without the objectness, and one column a candidate: (batch, 4 + classes, N), as v8 exports."""

    _extra = 4
    _columns_axis = 1

    def decode(self, outputs: Outputs, geometry: Geometry) -> Detections:
        return super().decode([outputs[0].T], geometry)

    def _scores(self, rows: Floats) -> Floats:
        return rows[:, 4:] if self.values["activation"] == "none" else logistic(rows[:, 4:])


def _cells(height: int, width: int, stride: int) -> Floats:
    """(cells, 3): column, row and stride of every cell, row by row."""
    rows, columns = np.mgrid[0 : height // stride, 0 : width // stride]
    cells: Floats = np.stack([columns, rows, np.full_like(rows, stride)], axis=-1).reshape(-1, 3).astype(np.float32)
    return cells
