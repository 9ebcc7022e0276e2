"""YOLO with anchors: raw maps of B boxes a cell, one map a scale (v2 to v5, and the course's 3×3×2×8)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from edgecv_runtime.decoders.base import Outputs, logistic, softmax
from edgecv_runtime.decoders.detection import DetectionDecoder, Floats, corners
from edgecv_runtime.decoders.parameters import DETECTION, REQUIRED, Parameter, Parameters
from edgecv_runtime.errors import BundleError
from edgecv_runtime.manifest import Manifest
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results import Detections


class YOLOAnchorDecoder(DetectionDecoder):
    """Cells of A anchors, each x, y, w, h, objectness and class scores, all raw.

    ``coding = "exp"`` (YOLO9000, Redmon and Farhadi 2017, section 2): centre (σ(x) + column, σ(y) + row) · stride,
    size anchor · exp(w, h). ``coding = "square"`` (v5): centre (2 σ(x) - 1/2 + column, …) · stride, size
    anchor · (2 σ(w, h))². Strides are the input's size over the map's.
    """

    parameters_known: ClassVar[Parameters] = {
        **DETECTION,
        "anchors": Parameter(
            REQUIRED, "width and height in input pixels, by output and anchor", 0, 1e5, shape=(None, None, 2)
        ),
        "coding": Parameter("exp", "how boxes are coded", choices=("exp", "square")),
        "layout": Parameter("NHWC", "where a map's channels are", choices=("NHWC", "NCHW")),
        "classes": Parameter("sigmoid", "what class scores are passed through", choices=("sigmoid", "softmax")),
    }

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        self._anchors = [np.array(part, np.float32) for part in self.values["anchors"]]
        if len(self._anchors) != len(manifest.outputs):
            raise BundleError(
                f"anchors must be given for each output: {len(manifest.outputs)} outputs, {len(self._anchors)} lists"
            )
        for spec, anchors in zip(manifest.outputs, self._anchors, strict=True):
            channels = (
                (spec.shape[3] if self.values["layout"] == "NHWC" else spec.shape[1]) if len(spec.shape) == 4 else 0
            )
            if channels is not None and (channels < 6 * len(anchors) or channels % len(anchors)):
                raise BundleError(
                    f"output {spec.name!r} must have {len(anchors)} × (5 + classes) channels in layout "
                    f"{self.values['layout']}; the manifest says {list(spec.shape)}"
                )
            self.check_classes(None if channels is None else channels // len(anchors) - 5)

    def decode(self, outputs: Outputs, geometry: Geometry) -> Detections:
        parts = [self._scale(*pair) for pair in zip(outputs, self._anchors, strict=True)]
        boxes, best, classes = (np.concatenate(column) for column in zip(*parts, strict=True))
        return self.finish(boxes, best, classes, geometry)

    def _scale(self, output: Floats, anchors: Floats) -> tuple[Floats, Floats, np.ndarray]:
        """Boxes, scores and classes of one map's candidates."""
        grid = output if self.values["layout"] == "NHWC" else output.transpose(1, 2, 0)
        height, width, _ = grid.shape
        raw = grid.reshape(-1, grid.shape[2] // len(anchors))
        activation = logistic if self.values["classes"] == "sigmoid" else softmax
        chosen, best, classes = self.best_class(logistic(raw[:, 4:5]) * activation(raw[:, 5:]))
        cell, anchor = np.divmod(chosen, len(anchors))
        place = np.stack(np.divmod(cell, width)[::-1], axis=1).astype(np.float32)
        stride = np.array([self.width / width, self.height / height], np.float32)
        raw = raw[chosen]
        if self.values["coding"] == "exp":
            with np.errstate(over="ignore"):
                centre, size = logistic(raw[:, :2]), np.exp(raw[:, 2:4])
        else:
            centre, size = 2 * logistic(raw[:, :2]) - 0.5, (2 * logistic(raw[:, 2:4])) ** 2
        boxes = corners(np.concatenate([(centre + place) * stride, size * anchors[anchor]], axis=1))
        return boxes, best, classes
