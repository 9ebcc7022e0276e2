"""Anomalies by reconstruction: what an auto-encoder cannot rebuild, it has not seen (Bergmann et al. 2019)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgecv_runtime.decoders.base import Decoder, Outputs, logistic, only_output
from edgecv_runtime.decoders.parameters import Parameter, Parameters, read_parameters
from edgecv_runtime.decoders.places import to_source
from edgecv_runtime.errors import BundleError, UnsupportedError
from edgecv_runtime.images import cv2
from edgecv_runtime.manifest import Manifest
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results import Anomaly

Floats = npt.NDArray[np.float32]


class AnomalyDecoder(Decoder):
    """(batch, H, W, C) or (batch, C, H, W), the input rebuilt, to a map of squared errors and its score.

    The errors are in the scale of the reconstruction: ``(pixel - mean) / std`` of the picture is what should be there.
    Where the manifest normalises the input on the device, the input is on that scale already.
    """

    task = "anomaly"
    parameters_known: ClassVar[Parameters] = {
        "layout": Parameter("NHWC", "where the channels are", choices=("NHWC", "NCHW")),
        "activation": Parameter(
            "none", "what the device still applies to the reconstruction", choices=("none", "sigmoid")
        ),
        "mean": Parameter([0.0], "of a pixel, on the reconstruction's scale 0", -1e6, 1e6, shape=(None,)),
        "std": Parameter([1.0], "pixels that one unit of the reconstruction is", 1e-6, 1e6, shape=(None,)),
        "smooth": Parameter(1, "side of the square that errors are averaged over, odd", 1, 1023, whole=True),
        "quantile": Parameter(1.0, "of the map, that is the picture's score; 1 is its largest value", 0, 1),
        "threshold": Parameter(None, "a picture that scores higher is anomalous", 0, 1e9, optional=True),
    }

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        self.values = read_parameters(manifest.decoder.name, self.parameters_known, manifest.decoder.parameters)
        self._input = manifest.inputs[0]
        height, width, channels = *self._input.size, self._input.channels
        self._layout = self.values["layout"]
        wanted = (height, width, channels) if self._layout == "NHWC" else (channels, height, width)
        shape = manifest.outputs[only_output(manifest)].shape
        if len(shape) != 4 or any(size not in (None, side) for size, side in zip(shape[1:], wanted, strict=True)):
            raise BundleError(
                f"decoder 'anomaly' reads the input rebuilt, (batch, {', '.join(map(str, wanted))}); "
                f"the manifest says {list(shape)}"
            )
        if self.labels is not None:
            raise BundleError(f"a reconstruction has no classes; the manifest names {len(self.labels)} labels")
        if self.values["smooth"] % 2 == 0:
            raise BundleError(f"smooth must be an odd number of pixels; the manifest says {self.values['smooth']}")
        moments = [np.array(self.values[name], np.float32) for name in ("mean", "std")]
        if any(len(values) not in (1, channels) for values in moments):
            raise BundleError(
                f"mean and std must be one number, or one for each of {channels} channel(s); the manifest says "
                f"{self.values['mean']} and {self.values['std']}"
            )
        self._mean, self._std = moments

    def activate(self, outputs: Outputs) -> list[Floats]:
        return [logistic(values) for values in outputs] if self.values["activation"] == "sigmoid" else list(outputs)

    def decode(self, outputs: Outputs, geometry: Geometry) -> Anomaly:
        raise UnsupportedError(
            "a reconstruction says nothing without the picture it rebuilds: use decode_seen(outputs, geometry, seen)"
        )

    def decode_seen(self, outputs: Outputs, geometry: Geometry, seen: npt.NDArray[Any]) -> Anomaly:
        rebuilt = outputs[0] if self._layout == "NHWC" else outputs[0].transpose(1, 2, 0)
        errors = error_map(self._wanted(seen), rebuilt, self.values["smooth"])
        score = float(np.quantile(errors, self.values["quantile"]))
        values, inside = to_source(errors, geometry, self._input.size)
        return Anomaly(np.where(inside, values, np.float32(0)), score, self.values["threshold"])

    def _wanted(self, seen: npt.NDArray[Any]) -> Floats:
        """(H, W, C): what a perfect reconstruction of an input tensor would be."""
        picture = seen if self._input.layout == "NHWC" else seen.transpose(1, 2, 0)
        if self._input.normalization is not None:
            return picture.astype(np.float32)
        pixels = picture.astype(np.float32) + (128 if self._input.dtype == "int8" else 0)
        scaled: Floats = (pixels - self._mean) / self._std
        return scaled


def error_map(picture: Floats, rebuilt: Floats, smooth: int = 1) -> Floats:
    """Squared error of a reconstruction at every pixel, the mean over its channels.

    Parameters
    ----------
    picture, rebuilt : (H, W, C) float32
    smooth : int
        Side of the square over which the error is averaged, an odd number; 1 leaves it.

    Returns
    -------
    (H, W) float32
    """
    errors: Floats = np.square(picture - rebuilt).mean(axis=-1, dtype=np.float32)
    if smooth > 1:
        errors = cv2("smoothing an anomaly map").blur(errors, (smooth, smooth))
    return errors
