"""Objects as points (CenterNet, Zhou et al. 2019): peaks of a heat map, with sizes and offsets there."""

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

_ROLES = ("heat", "size", "offset")


class CenterNetDecoder(DetectionDecoder):
    """A class's object sits where its heat is not below that of the eight cells around (section 4.1).

    ``outputs = {heat: NAME, size: NAME, offset: NAME}``: (batch, H, W, classes), and twice (batch, H, W, 2): width and
    height, and where in the cell the centre is, in cells.
    """

    parameters_known: ClassVar[Parameters] = {
        **DETECTION,
        "layout": Parameter("NHWC", "where the channels are", choices=("NHWC", "NCHW")),
        "activation": Parameter("none", "what the device still applies to the heat", choices=("none", "sigmoid")),
    }

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        self._roles = output_roles(manifest, self.parameters.get("outputs"), _ROLES)
        shapes = {role: manifest.outputs[index].shape for role, index in self._roles.items()}
        channels = 3 if self.values["layout"] == "NHWC" else 1
        if any(len(shape) != 4 for shape in shapes.values()) or any(
            shapes[role][channels] not in (2, None) for role in ("size", "offset")
        ):
            raise BundleError(
                "decoder 'centernet-like' reads heat of all classes, and two channels of size and of offset; "
                f"the manifest says {', '.join(f'{role} {list(shape)}' for role, shape in shapes.items())}"
            )
        self.check_classes(shapes["heat"][channels])

    def decode(self, outputs: Outputs, geometry: Geometry) -> Detections:
        heat, size, offset = (self._channels_last(outputs[self._roles[role]]) for role in _ROLES)
        if self.values["activation"] == "sigmoid":
            heat = logistic(heat)
        height, width = heat.shape[:2]
        peaks = (heat >= _around(heat)) & (heat >= self.values["score_threshold"])
        rows, columns, classes = np.nonzero(peaks)
        unit = np.array([self.width / width, self.height / height], np.float32)
        centre = (np.stack([columns, rows], axis=1) + offset[rows, columns]) * unit
        boxes = corners(np.concatenate([centre, size[rows, columns] * unit], axis=1).astype(np.float32))
        return self.finish(boxes, heat[rows, columns, classes], classes, geometry)

    def _channels_last(self, output: Floats) -> Floats:
        return output if self.values["layout"] == "NHWC" else output.transpose(1, 2, 0)


def _around(heat: Floats) -> Floats:
    """(H, W, C): the largest value in the 3×3 cells around each."""
    padded = np.pad(heat, ((1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    height, width = heat.shape[:2]
    windows = [padded[dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)]
    largest: Floats = np.maximum.reduce(windows)
    return largest
