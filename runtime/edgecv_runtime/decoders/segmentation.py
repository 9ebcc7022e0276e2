"""Semantic segmentation: scores of every class at every place, or the classes themselves."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edgecv_runtime.decoders.base import Decoder, Outputs, logistic, only_output, softmax
from edgecv_runtime.decoders.parameters import Parameter, Parameters, read_parameters
from edgecv_runtime.decoders.places import to_source
from edgecv_runtime.errors import BundleError
from edgecv_runtime.manifest import Manifest
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results import Segmentation

_CELLS = 16  # a side of the grid whose class shares the parity contract compares


class SegmentationDecoder(Decoder):
    """(batch, H, W, classes) or (batch, classes, H, W) scores, or (batch, H, W) class indices, to a mask.

    The mask has the source image's size; each of its pixels takes the class of the place it lies in.
    """

    task = "segmentation"
    parameters_known: ClassVar[Parameters] = {
        "layout": Parameter("NHWC", "what the output's dimensions are", choices=("NHWC", "NCHW", "indices")),
        "threshold": Parameter(0.0, "of a single channel: above it the pixel is of class 1", -1e9, 1e9),
        "activation": Parameter(
            "none", "what the device still applies to the scores", choices=("none", "sigmoid", "softmax")
        ),
    }

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        self.values = read_parameters(manifest.decoder.name, self.parameters_known, manifest.decoder.parameters)
        shape = manifest.outputs[only_output(manifest)].shape
        layout = self.values["layout"]
        plain = len(shape) == 3 or (len(shape) == 4 and shape[3] == 1)
        if not (plain if layout == "indices" else len(shape) == 4):
            wanted = "(batch, H, W)" if layout == "indices" else f"(batch, {', '.join(layout[1:])})"
            raise BundleError(
                f"decoder 'segmentation' with layout {layout} reads {wanted}; the manifest says {list(shape)}"
            )
        if layout == "indices" and self.values["activation"] != "none":
            raise BundleError(f"class indices take no activation; the manifest says {self.values['activation']!r}")
        classes = None if layout == "indices" else shape[3 if layout == "NHWC" else 1]
        wanted_labels = 2 if classes == 1 else classes
        if self.labels is not None and wanted_labels not in (None, len(self.labels)):
            raise BundleError(f"there must be one label per class: {wanted_labels} classes, {len(self.labels)} labels")
        self.height, self.width = manifest.inputs[0].size

    def decode(self, outputs: Outputs, geometry: Geometry) -> Segmentation:
        mask, seen = to_source(self._classes(outputs[0]), geometry, (self.height, self.width))
        mask[~seen] = Segmentation.UNKNOWN
        return Segmentation(mask, self.labels)

    def score_map(self, outputs: Outputs, geometry: Geometry) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """The scores of all classes at every pixel of the source, and which pixels the model saw.

        Class indices become scores of 0 and 1.

        Returns
        -------
        scores : (H, W, classes) float32
        seen : (H, W) bool
        """
        output, layout = outputs[0], self.values["layout"]
        if layout == "indices":
            classes = self._classes(output)
            output = np.eye(max(len(self.labels or ()), int(classes.max()) + 1), dtype=np.float32)[classes]
        elif layout == "NCHW":
            output = output.transpose(1, 2, 0)
        return to_source(self._activated(output), geometry, (self.height, self.width))

    def decide(self, scores: npt.NDArray[np.float32], seen: npt.NDArray[np.bool_]) -> Segmentation:
        """The mask of a score map."""
        if scores.shape[2] == 1:
            mask = (scores[:, :, 0] > self.values["threshold"]).astype(np.uint8)
        else:
            mask = scores.argmax(axis=2).astype(np.uint8)
        mask[~seen] = Segmentation.UNKNOWN
        return Segmentation(mask, self.labels)

    @property
    def decides(self) -> bool:
        return bool(self.values["layout"] == "indices")

    def comparable(self, outputs: Outputs) -> list[npt.NDArray[np.float32]]:
        """Of class indices: the share of every class in the cells of a grid, since an index off by one is as wrong as
        one off by ten, and a few pixels along an edge are not wrong at all."""
        if self.values["layout"] != "indices":
            return list(outputs)
        masks = outputs[0].reshape(outputs[0].shape[:3]).astype(np.int64)
        kinds = max(len(self.labels or ()), 64)
        return [np.stack([_shares(mask, kinds) for mask in masks])]

    def _classes(self, output: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        layout = self.values["layout"]
        if layout == "indices":
            return output.reshape(output.shape[:2]).astype(np.uint8)
        axis = 2 if layout == "NHWC" else 0
        if output.shape[axis] == 1:
            scores = self._activated(output).squeeze(axis)
            above: npt.NDArray[np.uint8] = (scores > self.values["threshold"]).astype(np.uint8)
            return above
        # The best class is the same before and after an activation, which need not be computed for it.
        classes: npt.NDArray[np.uint8] = output.argmax(axis=axis).astype(np.uint8)
        return classes

    def _activated(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The scores, channels last (or one channel), as the float model gives them."""
        activation = self.values["activation"]
        if activation == "none":
            return scores
        return logistic(scores) if activation == "sigmoid" else softmax(scores)


def _shares(mask: npt.NDArray[np.int64], kinds: int) -> npt.NDArray[np.float32]:
    """(CELLS, CELLS, kinds): the share of every class in each cell."""
    height, width = mask.shape
    rows, columns = np.arange(height) * _CELLS // height, np.arange(width) * _CELLS // width
    cell = rows[:, None] * _CELLS + columns
    counts = np.bincount((cell * kinds + mask.clip(0, kinds - 1)).reshape(-1), minlength=_CELLS**2 * kinds)
    table = counts.reshape(_CELLS, _CELLS, kinds).astype(np.float32)
    shares: npt.NDArray[np.float32] = table / np.maximum(table.sum(axis=2, keepdims=True), 1)
    return shares
