"""BlazeFace (Bazarevsky et al. 2019): faces with six keypoints, coded relative to the centres of fixed cells."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from edgecv_runtime.decoders.base import Outputs, logistic, output_roles
from edgecv_runtime.decoders.detection import DetectionDecoder, Floats, corners
from edgecv_runtime.decoders.parameters import DETECTION, Parameter, Parameters
from edgecv_runtime.errors import BundleError
from edgecv_runtime.manifest import Manifest
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results import Detections


class BlazeFaceDecoder(DetectionDecoder):
    """Raw regressors and scores of anchors of size one.

    A row holds centre x, centre y, width, height and K keypoints, in input pixels, all but the size relative to the
    centre of the row's cell. Keypoints: the eyes, the nose, the mouth and the ears, the picture's left ones first.
    ``outputs = {boxes: NAME, scores: NAME}``, (batch, N, 4 + 2 K) and (batch, N, 1).
    """

    parameters_known: ClassVar[Parameters] = {
        **DETECTION,
        "strides": Parameter(
            [8, 16, 16, 16], "input pixels per cell of each layer", 1, 1024, shape=(None,), whole=True
        ),
        "per_cell": Parameter(2, "anchors that a layer has in each cell", 1, 100, whole=True),
        "activation": Parameter("sigmoid", "what the device still applies to scores", choices=("none", "sigmoid")),
        "score_threshold": Parameter(0.5, "faces that score lower are left out", 0, 1),
        "iou_threshold": Parameter(0.3, "overlap above which the worse of two boxes goes", 0, 1),
    }

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        self._roles = output_roles(manifest, self.parameters.get("outputs"), ("boxes", "scores"))
        self._centres = cell_centres(self.height, self.width, self.values["strides"], self.values["per_cell"])
        boxes, scores = (manifest.outputs[self._roles[role]].shape for role in ("boxes", "scores"))
        count = len(self._centres)
        fits = len(boxes) == len(scores) == 3 and boxes[1] in (None, count) and scores[1] in (None, count)
        if not fits or scores[2] != 1 or boxes[2] is None or boxes[2] < 4 or boxes[2] % 2:
            raise BundleError(
                f"decoder 'blazeface' with strides {list(self.values['strides'])} reads (batch, {count}, 4 + 2 K) and "
                f"(batch, {count}, 1); the manifest says {list(boxes)} and {list(scores)}"
            )
        self.check_classes(1)

    def decode(self, outputs: Outputs, geometry: Geometry) -> Detections:
        scores = outputs[self._roles["scores"]]
        chosen, best, classes = self.best_class(scores if self.values["activation"] == "none" else logistic(scores))
        raw, centre = outputs[self._roles["boxes"]][chosen], self._centres[chosen]
        boxes = corners(np.concatenate([raw[:, :2] + centre, raw[:, 2:4]], axis=1))
        points = raw[:, 4:].reshape(len(raw), (raw.shape[1] - 4) // 2, 2) + centre[:, None]
        keypoints = np.concatenate([points, np.ones((*points.shape[:2], 1), np.float32)], axis=2)
        return self.finish(boxes, best, classes, geometry, keypoints)

    def comparable(self, outputs: Outputs) -> list[Floats]:
        """Scores as probabilities: far below zero the logits of what is no face differ by more than they mean."""
        steady = list(outputs)
        if self.values["activation"] == "sigmoid":
            steady[self._roles["scores"]] = logistic(steady[self._roles["scores"]])
        return steady


def cell_centres(height: int, width: int, strides: list[int], per_cell: int) -> Floats:
    """(N, 2) x, y in input pixels: layers of one stride share a grid, and all their anchors of a cell come together."""
    parts = []
    done = 0
    while done < len(strides):
        stride = strides[done]
        same = 0
        while done + same < len(strides) and strides[done + same] == stride:
            same += 1
        rows, columns = np.mgrid[0 : -(-height // stride), 0 : -(-width // stride)]
        centres = (np.stack([columns, rows], axis=-1).reshape(-1, 2) + 0.5) * stride
        parts.append(centres.repeat(same * per_cell, axis=0))
        done += same
    return np.concatenate(parts).astype(np.float32)
