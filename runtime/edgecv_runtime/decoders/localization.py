"""Classification with localization: what the one object of a picture is, and where."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from edgecv_runtime.decoders.base import Decoder, Outputs, logistic, output_roles, softmax
from edgecv_runtime.decoders.detection import clip, corners
from edgecv_runtime.decoders.parameters import Parameter, Parameters, read_parameters
from edgecv_runtime.errors import BundleError
from edgecv_runtime.manifest import Manifest
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results import Detections


class LocalizationDecoder(Decoder):
    """``outputs = {classes: NAME, box: NAME}``: (batch, classes) scores, and (batch, 4) centre x, centre y, width and
    height in shares of the input.

    The result holds one object, or none where its score is below the threshold.
    """

    task = "detection"
    parameters_known: ClassVar[Parameters] = {
        "score_threshold": Parameter(0.0, "an object that scores lower is left out", 0, 1),
        "activation": Parameter(
            "none", "what the device still applies to the classes", choices=("none", "sigmoid", "softmax")
        ),
    }

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        given = {name: value for name, value in manifest.decoder.parameters.items() if name != "outputs"}
        self.values = read_parameters(manifest.decoder.name, self.parameters_known, given)
        self._roles = output_roles(manifest, self.parameters.get("outputs"), ("classes", "box"))
        classes, box = (manifest.outputs[self._roles[role]].shape for role in ("classes", "box"))
        if len(classes) != 2 or len(box) != 2 or box[1] not in (4, None):
            raise BundleError(
                f"decoder 'localization' reads classes (batch, C) and a box (batch, 4); the manifest says "
                f"{list(classes)} and {list(box)}"
            )
        if self.labels is not None and classes[1] not in (None, len(self.labels)):
            raise BundleError(f"there must be one label per class: {classes[1]} classes, {len(self.labels)} labels")
        self._unit = np.array([*manifest.inputs[0].size[::-1]] * 2, np.float32)

    def decode(self, outputs: Outputs, geometry: Geometry) -> Detections:
        scores = outputs[self._roles["classes"]]
        activation = self.values["activation"]
        if activation != "none":
            scores = softmax(scores) if activation == "softmax" else logistic(scores)
        best = int(scores.argmax())
        box = corners(outputs[self._roles["box"]][None] * self._unit)
        if not np.isfinite(box).all() or not scores[best] >= self.values["score_threshold"]:
            return Detections.none(self.labels)
        source = geometry.to_source(box.reshape(-1, 2, 2)).reshape(-1, 4)
        return Detections(
            clip(source, geometry.source_size), scores[best : best + 1], np.array([best], np.int64), self.labels
        )
