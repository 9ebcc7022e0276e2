"""YOLO, the first (Redmon et al. 2016): an S×S grid, B boxes and one set of class scores a cell."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from edgecv_runtime.decoders.base import Outputs, only_output
from edgecv_runtime.decoders.detection import DetectionDecoder, corners
from edgecv_runtime.decoders.parameters import DETECTION, REQUIRED, Parameter, Parameters
from edgecv_runtime.errors import BundleError
from edgecv_runtime.manifest import Manifest
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results import Detections


class YOLOv1Decoder(DetectionDecoder):
    """(S, S, B·5 + C), or flat: B times x, y, w, h and confidence, then C class probabilities.

    x and y are offsets within the cell, w and h fractions of the picture, as square roots with ``root_size``
    (section 2.2); a box scores its confidence times the cell's class probability (eq. 1).
    """

    parameters_known: ClassVar[Parameters] = {
        **DETECTION,
        "grid": Parameter(REQUIRED, "cells along a side", 1, 1024, whole=True),
        "boxes": Parameter(2, "boxes a cell", 1, 100, whole=True),
        "root_size": Parameter(True, "the model gives the square roots of width and height"),
    }

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        shape = manifest.outputs[only_output(manifest)].shape
        grid, boxes = self.values["grid"], self.values["boxes"]
        size = None if None in shape[1:] else int(np.prod([side or 1 for side in shape[1:]]))
        if size is not None:
            channels, rest = divmod(size, grid * grid)
            if rest or channels <= 5 * boxes:
                raise BundleError(
                    f"decoder 'yolo-v1' reads {grid} × {grid} × ({boxes} · 5 + classes) numbers; "
                    f"the manifest says {list(shape)}"
                )
            self.check_classes(channels - 5 * boxes)

    def decode(self, outputs: Outputs, geometry: Geometry) -> Detections:
        grid, count = self.values["grid"], self.values["boxes"]
        cells = outputs[0].reshape(grid * grid, -1)
        raw = cells[:, : 5 * count].reshape(-1, count, 5)
        scores = raw[:, :, 4:] * cells[:, None, 5 * count :]
        chosen, best, classes = self.best_class(scores.reshape(-1, scores.shape[2]))
        place = np.stack(np.divmod(chosen // count, grid)[::-1], axis=1)
        picked = raw.reshape(-1, 5)[chosen]
        size = picked[:, 2:4] ** 2 if self.values["root_size"] else picked[:, 2:4]
        unit = np.array([self.width, self.height], np.float32)
        centres = np.concatenate([(picked[:, :2] + place) / grid * unit, size * unit], axis=1).astype(np.float32)
        return self.finish(corners(centres), best, classes, geometry)
