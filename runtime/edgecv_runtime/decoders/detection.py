"""What all detectors' decoders share: from candidate boxes in input pixels to detections in the source image."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgecv_runtime.decoders.base import Decoder
from edgecv_runtime.decoders.parameters import DETECTION, Parameters, read_parameters
from edgecv_runtime.errors import BundleError
from edgecv_runtime.manifest import Manifest
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results import Detections
from edgecv_runtime.suppression import suppress

Floats = npt.NDArray[np.float32]


class DetectionDecoder(Decoder):
    """Base of the decoders of detectors.

    A subclass names its own `parameters_known`, and its `decode` ends in `finish`.
    """

    task = "detection"
    parameters_known: ClassVar[Parameters] = DETECTION

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        given = {name: value for name, value in manifest.decoder.parameters.items() if name != "outputs"}
        self.values = read_parameters(manifest.decoder.name, self.parameters_known, given)
        self.height, self.width = manifest.inputs[0].size

    def check_classes(self, classes: int | None) -> None:
        """Labels must fit the classes that the model scores.

        Raises
        ------
        BundleError
        """
        if classes is not None and (classes < 1 or (self.labels is not None and len(self.labels) != classes)):
            raise BundleError(
                f"there must be one label per class: {max(classes, 0)} classes, {len(self.labels or ())} labels"
            )

    def best_class(self, scores: Floats) -> tuple[npt.NDArray[np.intp], Floats, npt.NDArray[np.intp]]:
        """Candidates of an (N, C) table of scores: row, score and class, those above the threshold only."""
        classes = scores.argmax(axis=1)
        best = np.take_along_axis(scores, classes[:, None], axis=1)[:, 0]
        rows = np.flatnonzero(best >= self.values["score_threshold"])
        return rows, best[rows], classes[rows]

    def finish(
        self,
        boxes: Floats,
        scores: Floats,
        classes: npt.NDArray[Any],
        geometry: Geometry,
        keypoints: Floats | None = None,
        skeleton: tuple[tuple[int, int], ...] = (),
        *,
        suppressed: bool = False,
    ) -> Detections:
        """Suppress, and go back to the source image.

        Parameters
        ----------
        boxes : (N, 4) xyxy, pixels of the input
        scores : (N,)
        classes : (N,) int
        geometry : Geometry
        keypoints : (N, K, 3) x, y in pixels of the input, and a score; optional
        skeleton : pairs of keypoints
        suppressed : bool
            The artefact did that itself: only threshold and number count.
        """
        values = self.values
        # What is no number is no detection: one broken candidate must not lose the picture.
        sound = np.flatnonzero(np.isfinite(boxes).all(axis=1) & np.isfinite(scores))
        if len(sound) < len(scores):
            boxes, scores, classes = boxes[sound], scores[sound], classes[sound]
            keypoints = None if keypoints is None else keypoints[sound]
        if suppressed:
            order = (-scores).argsort(kind="stable")
            kept = order[scores[order] >= values["score_threshold"]][: values["max_detections"]]
        else:
            found = suppress(
                boxes,
                scores,
                values["iou_threshold"],
                classes=None if values["class_agnostic"] else classes,
                score_threshold=values["score_threshold"],
                top_k=values["top_k"],
                max_detections=values["max_detections"],
                method=values["method"],
            )
            kept = found.indices
            boxes, scores = boxes.copy(), scores.copy()
            boxes[kept], scores[kept] = found.boxes, found.scores
        points = None
        if keypoints is not None:
            points = keypoints[kept].astype(np.float32)
            points[..., :2] = geometry.to_source(points[..., :2])
        return Detections(
            boxes=clip(geometry.to_source(boxes[kept].reshape(-1, 2, 2)).reshape(-1, 4), geometry.source_size),
            scores=scores[kept].astype(np.float32),
            classes=classes[kept].astype(np.int64),
            names=self.labels,
            keypoints=points,
            skeleton=skeleton,
        )


def clip(boxes: Floats, size: tuple[int, int]) -> Floats:
    """(N, 4) xyxy boxes within a picture of (height, width)."""
    height, width = size
    limits = np.array([width, height, width, height], np.float32)
    clipped: Floats = np.clip(boxes, 0, limits, dtype=np.float32)
    return clipped


def corners(centres: Floats) -> Floats:
    """From (..., 4) centre x, centre y, width, height to x1, y1, x2, y2."""
    half = centres[..., 2:] / 2
    boxes: Floats = np.concatenate([centres[..., :2] - half, centres[..., :2] + half], axis=-1)
    return boxes
