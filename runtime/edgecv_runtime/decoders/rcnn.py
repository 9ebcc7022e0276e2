"""Two-stage detectors (R-CNN, Fast and Faster R-CNN): boxes and scores of every class for a number of regions."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edgecv_runtime.decoders.base import Outputs, output_roles
from edgecv_runtime.decoders.detection import DetectionDecoder
from edgecv_runtime.decoders.parameters import DETECTION, Parameter, Parameters
from edgecv_runtime.decoders.steady import score_map
from edgecv_runtime.errors import BundleError
from edgecv_runtime.manifest import Manifest
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results import Detections

_ROLES = ("boxes", "scores")
_UNSURE = 0.05  # scores below it are left out of what the parity contract compares: their square is nothing


class RegionDecoder(DetectionDecoder):
    """Each region may hold an object of each class (Girshick 2015, section 3.1, "Detection").

    ``outputs = {boxes: NAME, scores: NAME}``: (batch, R, 4 · classes) xyxy in pixels of the input, decoded and clipped
    in the graph, or (batch, R, 4), one box for all classes; and (batch, R, 1 + classes) probabilities, the background
    first. A region's row of zeros stands for nothing.
    """

    parameters_known: ClassVar[Parameters] = {
        **DETECTION,
        "background": Parameter(True, "the first class is the background, and is not reported"),
    }

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        self._roles = output_roles(manifest, self.parameters.get("outputs"), _ROLES)
        boxes, scores = (manifest.outputs[self._roles[role]].shape for role in _ROLES)
        classes = None
        if len(boxes) == len(scores) == 3 and scores[2] is not None:
            classes = scores[2] - self.values["background"]
        fits = classes is not None and boxes[1] == scores[1] and boxes[2] in (None, 4, 4 * classes)
        if not fits:
            raise BundleError(
                "boxes and scores must be (batch, R, 4 · classes) and (batch, R, classes with the background); "
                f"the manifest says {list(boxes)} and {list(scores)}"
            )
        self.check_classes(classes)

    def decode(self, outputs: Outputs, geometry: Geometry) -> Detections:
        boxes, scores, classes = self._pairs(outputs, self.values["score_threshold"])
        return self.finish(boxes, scores, classes, geometry)

    def _pairs(
        self, outputs: Outputs, threshold: float
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.intp]]:
        """Every pair of region and class that scores at least `threshold`: (K, 4), (K,) and (K,)."""
        scores = outputs[self._roles["scores"]][:, int(self.values["background"]) :]
        boxes = outputs[self._roles["boxes"]]
        boxes = boxes.reshape(len(boxes), -1, 4)
        rows, classes = np.nonzero(scores >= threshold)
        return boxes[rows, classes if boxes.shape[1] > 1 else 0], scores[rows, classes], classes

    @property
    def decides(self) -> bool:
        return True

    def comparable(self, outputs: Outputs) -> list[npt.NDArray[np.float32]]:
        """A map of scores over the picture, and the best score of every class: regions are chosen in the graph, and
        which of two like regions is kept is a matter of last digits."""
        images = [self._steady([output[row] for output in outputs]) for row in range(len(outputs[0]))]
        steady = {role: np.stack([image[role] for image in images]) for role in _ROLES}
        return [steady[role] for role in sorted(_ROLES, key=lambda role: self._roles[role])]

    def _steady(self, outputs: Outputs) -> dict[str, npt.NDArray[np.float32]]:
        boxes, scores, _ = self._pairs(outputs, _UNSURE)
        best = outputs[self._roles["scores"]].max(axis=0)[int(self.values["background"]) :]
        unit = np.array([self.width, self.height] * 2, np.float32)
        return {"boxes": score_map(boxes / unit, scores), "scores": best.astype(np.float32)}
