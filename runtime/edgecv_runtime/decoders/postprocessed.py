"""Detectors that suppress in the graph: the outputs of TensorFlow Lite's TFLite_Detection_PostProcess."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgecv_runtime.decoders.base import Outputs, output_roles
from edgecv_runtime.decoders.detection import DetectionDecoder
from edgecv_runtime.decoders.parameters import Parameter, Parameters
from edgecv_runtime.decoders.steady import score_map
from edgecv_runtime.manifest import Manifest
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results import Detections

_ROLES = ("boxes", "classes", "scores", "count")


class PostprocessedDecoder(DetectionDecoder):
    """Boxes as fractions (y1, x1, y2, x2), class indices, scores and their number.

    ``outputs = {boxes: NAME, classes: NAME, scores: NAME, count: NAME}``.
    """

    parameters_known: ClassVar[Parameters] = {
        "score_threshold": Parameter(0.25, "detections that score lower are left out", 0, 1),
        "max_detections": Parameter(100, "most detections of a picture", 1, 10_000, whole=True),
        "class_offset": Parameter(0, "added to a class index to reach the label's", -1000, 1000, whole=True),
    }

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        self._roles = output_roles(manifest, self.parameters.get("outputs"), _ROLES)

    def decode(self, outputs: Outputs, geometry: Geometry) -> Detections:
        boxes, classes, scores, count = (outputs[self._roles[role]] for role in _ROLES)
        there = min(int(count.reshape(-1)[0]), len(scores))
        unit = np.array([self.width, self.height] * 2, np.float32)
        pixels = boxes[:there, [1, 0, 3, 2]] * unit
        indices = np.rint(classes[:there]).astype(np.int64) + self.values["class_offset"]
        return self.finish(pixels, scores[:there], indices, geometry, suppressed=True)

    @property
    def decides(self) -> bool:
        return True

    def comparable(self, outputs: Outputs) -> list[npt.NDArray[np.float32]]:
        """A map of scores, and the score of every class, in place of lists whose order a last digit can change.

        In a list two detections with nearly the same score change places, and the last one comes and goes. In the map
        (a grid over the picture, each cell the best score of a box over its middle) and in the sums over each class a
        small difference stays small.
        """
        boxes, classes, scores, count = (outputs[self._roles[role]] for role in _ROLES)
        images = [(boxes[row], classes[row], scores[row], int(count.reshape(-1)[row])) for row in range(len(scores))]
        kinds = 1 + max((len(self.labels or ()), int(np.abs(classes).max(initial=0))))
        steady: dict[str, npt.NDArray[Any]] = {
            "boxes": np.stack([score_map(b[:n, [1, 0, 3, 2]], s[:n]) for b, _, s, n in images]),
            "classes": np.stack(
                [np.bincount(np.rint(c[:n]).astype(int), s[:n] ** 2, max(kinds, 128)) for _, c, s, n in images]
            ),
            "scores": scores,
            "count": count,
        }
        ordered = sorted(self._roles, key=lambda role: self._roles[role])
        return [steady[role].astype(np.float32) for role in ordered]
