"""The pose of one figure from the coordinates of its keypoints."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from edgecv_runtime.decoders.base import Decoder, Outputs, logistic, only_output
from edgecv_runtime.decoders.parameters import Parameter, Parameters, read_parameters
from edgecv_runtime.decoders.skeleton import SKELETON, check_names, read_skeleton
from edgecv_runtime.errors import BundleError
from edgecv_runtime.manifest import Manifest
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results import Pose


class RegressionPoseDecoder(Decoder):
    """(batch, 2 K): x₁, y₁, x₂, y₂, ... as shares of the input's width and height (Toshev & Szegedy 2014).

    Such a network does not say how sure it is: every keypoint scores 1. Labels are the names of the keypoints.
    """

    task = "pose"
    parameters_known: ClassVar[Parameters] = {
        "activation": Parameter("none", "what the device still applies to the values", choices=("none", "sigmoid")),
        "skeleton": SKELETON,
    }

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        self.values = read_parameters(manifest.decoder.name, self.parameters_known, manifest.decoder.parameters)
        shape = manifest.outputs[only_output(manifest)].shape
        if len(shape) != 2 or (shape[1] is not None and (shape[1] < 2 or shape[1] % 2)):
            raise BundleError(f"decoder 'regression-pose' reads (batch, 2 K); the manifest says {list(shape)}")
        points = None if shape[1] is None else shape[1] // 2
        check_names(self.labels, points)
        self._skeleton = read_skeleton(self.values["skeleton"], points)
        self.height, self.width = manifest.inputs[0].size

    def decode(self, outputs: Outputs, geometry: Geometry) -> Pose:
        values = outputs[0] if self.values["activation"] == "none" else logistic(outputs[0])
        points = values.reshape(-1, 2) * np.array([self.width, self.height], np.float32)
        return Pose(geometry.to_source(points), np.ones(len(points), np.float32), self.labels, self._skeleton)
