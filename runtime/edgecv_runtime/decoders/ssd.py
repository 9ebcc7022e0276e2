"""SSD heads: scores and boxes of fixed default boxes; and UltraFace, whose boxes are decoded in the graph."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from edgecv_runtime.decoders.base import Outputs, logistic, output_roles, softmax
from edgecv_runtime.decoders.detection import DetectionDecoder, Floats, corners
from edgecv_runtime.decoders.parameters import DETECTION, REQUIRED, Parameter, Parameters
from edgecv_runtime.errors import BundleError
from edgecv_runtime.manifest import Manifest
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results import Detections

_SCORES: Parameters = {
    "activation": Parameter("none", "what the device still applies to scores", choices=("none", "sigmoid", "softmax")),
    "background": Parameter(True, "the first class is the background, and is not reported"),
}


class UltraFaceDecoder(DetectionDecoder):
    """Corner boxes as fractions of the input, and class scores; the first class is the background.

    The outputs' roles: ``outputs = {boxes: NAME, scores: NAME}``, (batch, N, 4) and (batch, N, classes).
    """

    parameters_known: ClassVar[Parameters] = {**DETECTION, **_SCORES}

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        self.roles = output_roles(manifest, self.parameters.get("outputs"), ("boxes", "scores"))
        boxes, scores = (manifest.outputs[self.roles[role]].shape for role in ("boxes", "scores"))
        if len(boxes) != 3 or boxes[2] not in (4, None) or len(scores) != 3 or boxes[1] != scores[1]:
            raise BundleError(
                "boxes and scores must be (batch, N, 4) and (batch, N, classes); "
                f"the manifest says {list(boxes)} and {list(scores)}"
            )
        self.check_classes(None if scores[2] is None else scores[2] - self.values["background"])

    def decode(self, outputs: Outputs, geometry: Geometry) -> Detections:
        chosen, best, classes = self.best_class(self._activated(outputs[self.roles["scores"]]))
        boxes = self._boxes(outputs[self.roles["boxes"]][chosen], chosen)
        unit = np.array([self.width, self.height] * 2, np.float32)
        return self.finish(boxes * unit, best, classes, geometry)

    def _activated(self, scores: Floats) -> Floats:
        activation = self.values["activation"]
        if activation != "none":
            scores = logistic(scores) if activation == "sigmoid" else softmax(scores)
        return scores[:, 1:] if self.values["background"] else scores

    def _boxes(self, raw: Floats, chosen: np.ndarray) -> Floats:
        """(K, 4) xyxy as fractions of the input."""
        return raw


class SSDDecoder(UltraFaceDecoder):
    """Default boxes and their offsets (Liu et al. 2016, eq. 2).

    With a default box (cx, cy, w, h), as fractions of the input, and variances v the box has its centre at
    (cx + v₀ x w, cy + v₁ y h) and the size (w exp(v₂ dw), h exp(v₃ dh)).
    """

    parameters_known: ClassVar[Parameters] = {
        **UltraFaceDecoder.parameters_known,
        "anchors": Parameter(
            REQUIRED, "default boxes: centre x, centre y, width, height as fractions", -10, 10, shape=(None, 4)
        ),
        "variances": Parameter([0.1, 0.1, 0.2, 0.2], "scales of the offsets", 1e-6, 1e6, shape=(4,)),
        "order": Parameter("xywh", "the order of the offsets", choices=("xywh", "yxhw")),
    }

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        self._anchors = np.array(self.values["anchors"], np.float32)
        self._variances = np.array(self.values["variances"], np.float32)
        count = manifest.outputs[self.roles["boxes"]].shape[1]
        if count not in (None, len(self._anchors)):
            raise BundleError(f"there must be one anchor a box: {count} boxes, {len(self._anchors)} anchors")

    def _boxes(self, raw: Floats, chosen: np.ndarray) -> Floats:
        anchors = self._anchors[chosen]
        if self.values["order"] == "yxhw":
            raw = raw[:, [1, 0, 3, 2]]
        with np.errstate(over="ignore"):  # a size that is no number is left out later
            offsets = raw * self._variances
            centres = anchors[:, :2] + offsets[:, :2] * anchors[:, 2:]
            sizes = anchors[:, 2:] * np.exp(offsets[:, 2:])
        return corners(np.concatenate([centres, sizes], axis=1))
