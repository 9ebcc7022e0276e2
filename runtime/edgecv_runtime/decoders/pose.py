"""The pose of one figure from a heat map for each keypoint."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edgecv_runtime.decoders.base import Decoder, Outputs, logistic, only_output
from edgecv_runtime.decoders.parameters import Parameter, Parameters, read_parameters
from edgecv_runtime.decoders.skeleton import SKELETON, check_names, read_skeleton
from edgecv_runtime.errors import BundleError
from edgecv_runtime.manifest import Manifest
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results import Pose


class HeatmapPoseDecoder(Decoder):
    """(batch, H, W, K) or (batch, K, H, W): each keypoint at the peak of its map.

    The peak is moved a quarter of a cell towards its higher neighbour (Newell et al. 2016, section 3.3). Labels are
    the names of the keypoints.
    """

    task = "pose"
    parameters_known: ClassVar[Parameters] = {
        "layout": Parameter("NHWC", "where the keypoints are", choices=("NHWC", "NCHW")),
        "activation": Parameter("none", "what the device still applies to the maps", choices=("none", "sigmoid")),
        "skeleton": SKELETON,
    }

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        self.values = read_parameters(manifest.decoder.name, self.parameters_known, manifest.decoder.parameters)
        shape = manifest.outputs[only_output(manifest)].shape
        if len(shape) != 4:
            raise BundleError(f"decoder 'heatmap-pose' reads (batch, H, W, K); the manifest says {list(shape)}")
        points = shape[3 if self.values["layout"] == "NHWC" else 1]
        check_names(self.labels, points)
        self._skeleton = read_skeleton(self.values["skeleton"], points)
        self.height, self.width = manifest.inputs[0].size

    def decode(self, outputs: Outputs, geometry: Geometry) -> Pose:
        maps = outputs[0] if self.values["layout"] == "NCHW" else outputs[0].transpose(2, 0, 1)
        if self.values["activation"] == "sigmoid":
            maps = logistic(maps)
        count, height, width = maps.shape
        rows, columns = np.divmod(maps.reshape(count, -1).argmax(axis=1), width)
        points = np.stack([columns, rows], axis=1) + 0.5 + 0.25 * _slope(maps, rows, columns)
        unit = np.array([self.width / width, self.height / height])
        scores = maps[np.arange(count), rows, columns].astype(np.float32)
        return Pose(geometry.to_source(points * unit), scores, self.labels, self._skeleton)


def _slope(
    maps: npt.NDArray[np.float32], rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]
) -> npt.NDArray[np.float32]:
    """(K, 2): on which side of the peak the map is higher, -1, 0 or 1, along x and y."""
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)), mode="edge")
    k = np.arange(len(maps))
    across = padded[k, rows + 1, columns + 2] - padded[k, rows + 1, columns]
    down = padded[k, rows + 2, columns + 1] - padded[k, rows, columns + 1]
    signs: npt.NDArray[np.float32] = np.sign(np.stack([across, down], axis=1))
    return signs
