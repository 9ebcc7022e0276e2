"""A picture for a picture: style transfer, denoising, and whatever else gives pixels."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgecv_runtime.decoders.base import Decoder, Outputs, logistic, only_output
from edgecv_runtime.decoders.parameters import Parameter, Parameters, read_parameters
from edgecv_runtime.errors import BundleError
from edgecv_runtime.images import cv2
from edgecv_runtime.manifest import Manifest
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results_picture import Picture


class ImageDecoder(Decoder):
    """(batch, H, W, C) or (batch, C, H, W) values, C 1 or 3, to a picture of the source image's size.

    A pixel is ``value · scale + offset``, cut to 0..255.
    """

    task = "image"
    parameters_known: ClassVar[Parameters] = {
        "layout": Parameter("NHWC", "where the channels are", choices=("NHWC", "NCHW")),
        "activation": Parameter("none", "what the device still applies to the values", choices=("none", "sigmoid")),
        "scale": Parameter(1.0, "pixels that one unit of a value is", -1e6, 1e6),
        "offset": Parameter(0.0, "the pixel of value 0", -1e6, 1e6),
    }

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        self.values = read_parameters(manifest.decoder.name, self.parameters_known, manifest.decoder.parameters)
        shape = manifest.outputs[only_output(manifest)].shape
        axis = 3 if self.values["layout"] == "NHWC" else 1
        if len(shape) != 4 or shape[axis] not in (1, 3):
            wanted = "(batch, H, W, 1 or 3)" if axis == 3 else "(batch, 1 or 3, H, W)"
            raise BundleError(f"decoder 'image' reads {wanted}; the manifest says {list(shape)}")
        if self.labels is not None:
            raise BundleError(f"a picture has no classes; the manifest names {len(self.labels)} labels")
        self._size = manifest.inputs[0].size

    def activate(self, outputs: Outputs) -> list[npt.NDArray[np.float32]]:
        return [logistic(values) for values in outputs] if self.values["activation"] == "sigmoid" else list(outputs)

    def decode(self, outputs: Outputs, geometry: Geometry) -> Picture:
        values = outputs[0] if self.values["layout"] == "NHWC" else outputs[0].transpose(1, 2, 0)
        scaled = values * np.float32(self.values["scale"]) + np.float32(self.values["offset"])
        pixels = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
        return Picture(self._to_source(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels, geometry))

    def _to_source(self, pixels: npt.NDArray[np.uint8], geometry: Geometry) -> npt.NDArray[np.uint8]:
        """Stretched over the part of the source that the model saw, linearly between pixel middles."""
        height, width = geometry.source_size
        (scale_x, scale_y), (left, top) = geometry.scale, geometry.offset
        share_x, share_y = self._size[1] / pixels.shape[1], self._size[0] / pixels.shape[0]
        # A place of the output covers `scale · share` source pixels; its middle is half of that from its edge.
        x, y = scale_x * share_x, scale_y * share_y
        matrix = np.array([[x, 0, left + (x - 1) / 2], [0, y, top + (y - 1) / 2]], np.float64)
        opencv = cv2("stretching a picture")
        larger: Any = opencv.warpAffine(
            pixels, matrix, (width, height), flags=opencv.INTER_LINEAR, borderMode=opencv.BORDER_REPLICATE
        )
        rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
        unseen_rows = (rows < top) | (rows > top + scale_y * self._size[0])
        unseen_columns = (columns < left) | (columns > left + scale_x * self._size[1])
        larger[unseen_rows] = 0
        larger[:, unseen_columns] = 0
        found: npt.NDArray[np.uint8] = larger
        return found
