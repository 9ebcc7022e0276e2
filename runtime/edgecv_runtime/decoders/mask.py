"""Mask R-CNN: detections suppressed in the graph, each with a mask of its box, and keypoints where it has them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgecv_runtime.decoders.base import Outputs, output_roles
from edgecv_runtime.decoders.detection import DetectionDecoder
from edgecv_runtime.decoders.parameters import Parameter, Parameters
from edgecv_runtime.decoders.skeleton import SKELETON, read_skeleton
from edgecv_runtime.decoders.steady import score_map
from edgecv_runtime.errors import BundleError
from edgecv_runtime.manifest import Manifest
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results import Detections

Floats = npt.NDArray[np.float32]

_ROLES = ("boxes", "scores", "classes", "masks")
_POINTS = "keypoints"


class MaskDecoder(DetectionDecoder):
    """Boxes, scores, classes and masks of up to D detections (He et al. 2017, section 3.1, "Inference").

    ``outputs = {boxes: NAME, scores: NAME, classes: NAME, masks: NAME}``: (batch, D, 4) xyxy in pixels of the input,
    (batch, D), (batch, D) and (batch, D, m, m) probabilities over the box. Optionally ``keypoints: NAME``,
    (batch, D, h, h, K): the logits of every place of the box for each keypoint.
    """

    parameters_known: ClassVar[Parameters] = {
        "score_threshold": Parameter(0.25, "detections that score lower are left out", 0, 1),
        "max_detections": Parameter(100, "most detections of a picture", 1, 10_000, whole=True),
        "mask_threshold": Parameter(0.5, "a pixel belongs to an object from this probability on", 0, 1),
        "skeleton": SKELETON,
    }

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        given = self.parameters.get("outputs")
        self._points = isinstance(given, dict) and _POINTS in given
        self._names = (*_ROLES, _POINTS) if self._points else _ROLES
        self._roles = output_roles(manifest, given, self._names)
        shapes = {role: manifest.outputs[index].shape for role, index in self._roles.items()}
        wanted = {"boxes": 3, "scores": 2, "classes": 2, "masks": 4, _POINTS: 5}
        if any(len(shape) != wanted[role] for role, shape in shapes.items()):
            raise BundleError(
                "decoder 'mask' reads boxes (batch, D, 4), scores and classes (batch, D), masks (batch, D, m, m) and "
                "keypoints (batch, D, h, h, K); "
                f"the manifest says {', '.join(f'{role} {list(shape)}' for role, shape in shapes.items())}"
            )
        self._skeleton = read_skeleton(self.values["skeleton"], shapes[_POINTS][4] if self._points else 0)

    def decode(self, outputs: Outputs, geometry: Geometry) -> Detections:
        boxes, scores, classes, masks = (outputs[self._roles[role]] for role in _ROLES)
        sound = np.isfinite(boxes).all(axis=1) & (scores >= self.values["score_threshold"])
        sound &= ((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1)
        rows = np.flatnonzero(sound)
        rows = rows[(-scores[rows]).argsort(kind="stable")][: self.values["max_detections"]]
        points = None
        if self._points:
            points = _peaks(outputs[self._roles[_POINTS]][rows], boxes[rows])
        indices = np.rint(classes[rows]).astype(np.int64)
        found = self.finish(boxes[rows], scores[rows], indices, geometry, points, self._skeleton, suppressed=True)
        places = geometry.to_source(boxes[rows].reshape(-1, 2, 2)).reshape(-1, 4)
        pasted = paste_masks(masks[rows], places, geometry.source_size, self.values["mask_threshold"])
        return replace(found, masks=pasted)

    @property
    def decides(self) -> bool:
        return True

    def comparable(self, outputs: Outputs) -> list[Floats]:
        """Maps and sums in place of lists, whose order a last digit can change."""
        images = [self._steady([output[row] for output in outputs]) for row in range(len(outputs[0]))]
        steady = {role: np.stack([image[role] for image in images]) for role in self._names}
        return [steady[role] for role in sorted(self._names, key=lambda role: self._roles[role])]

    def _steady(self, outputs: Outputs) -> dict[str, Floats]:
        boxes, scores, classes, masks = (outputs[self._roles[role]] for role in _ROLES)
        unit = np.array([self.width, self.height] * 2, np.float32)
        weights = scores.astype(np.float64) ** 2
        kinds = np.bincount(np.rint(classes).astype(int).clip(0), weights, max(len(self.labels or ()), 128))
        steady: dict[str, npt.NDArray[Any]] = {
            "boxes": score_map(boxes / unit, scores),
            "scores": scores,
            "classes": kinds,
            "masks": np.tensordot(weights, masks, 1),
        }
        if self._points:
            steady[_POINTS] = np.tensordot(weights, _probabilities(outputs[self._roles[_POINTS]]), 1)
        return {role: array.astype(np.float32) for role, array in steady.items()}


def paste_masks(masks: Floats, boxes: Floats, size: tuple[int, int], threshold: float = 0.5) -> npt.NDArray[np.bool_]:
    """Masks of boxes as masks of the picture (He et al. 2017, section 3.1: resized to the box, binarised at 0.5).

    The middle of each pixel in the box is looked up in the mask between its four nearest cells. Within half a cell of
    the box's edge the outer cell counts alone, so that a full mask fills its box.

    Parameters
    ----------
    masks : (N, m, m) float32
        Probabilities; cell i of a mask covers [i, i + 1) / m of its box.
    boxes : (N, 4) xyxy, pixels of the picture; they may reach beyond it
    size : (height, width) of the picture
    threshold : float

    Returns
    -------
    (N, height, width) bool
    """
    height, width = size
    pasted = np.zeros((len(masks), height, width), np.bool_)
    for mask, (x1, y1, x2, y2), whole in zip(masks, boxes.tolist(), pasted, strict=True):
        rows, down = _interpolation(y1, y2, mask.shape[0], height)
        columns, across = _interpolation(x1, x2, mask.shape[1], width)
        whole[rows, columns] = down @ mask @ across.T >= threshold
    return pasted


def _interpolation(start: float, end: float, cells: int, length: int) -> tuple[slice, Floats]:
    """The pixels whose middles lie between two places, and (pixels, cells) weights of linear interpolation for each."""
    first, last = (min(max(math.ceil(place - 0.5), 0), length) for place in (start, end))
    positions = ((np.arange(first, last) + 0.5 - start) / (end - start) * cells - 0.5).clip(0, cells - 1)
    weights: Floats = np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(cells))).astype(np.float32)
    return slice(first, last), weights


def _probabilities(logits: Floats) -> Floats:
    """Softmax over the places of (N, h, w, K)."""
    exponentials = np.exp(logits - logits.max(axis=(1, 2), keepdims=True))
    shares: Floats = exponentials / exponentials.sum(axis=(1, 2), keepdims=True)
    return shares


def _peaks(logits: Floats, boxes: Floats) -> Floats:
    """(N, K, 3): where each keypoint's map is highest, in pixels of the input, and the probability within a cell of it.

    Between cells the peak is that of a parabola through the logits of the highest and its neighbours.
    """
    count, height, width, points = logits.shape
    maps = logits.transpose(0, 3, 1, 2).reshape(-1, height, width)
    rows, columns = np.divmod(maps.reshape(len(maps), height * width).argmax(axis=1), width)
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)), mode="edge")
    each = np.arange(len(maps))
    around = np.stack([padded[each, rows + dy, columns + dx] for dy in range(3) for dx in range(3)], axis=1)
    x = (columns + 0.5 + _vertex(around[:, 3], around[:, 4], around[:, 5])) / width
    y = (rows + 0.5 + _vertex(around[:, 1], around[:, 4], around[:, 7])) / height
    shares = np.pad(_probabilities(logits).transpose(0, 3, 1, 2).reshape(maps.shape), ((0, 0), (1, 1), (1, 1)))
    sure = sum(shares[each, rows + dy, columns + dx] for dy in range(3) for dx in range(3))
    place = np.stack([x, y], axis=1).reshape(count, points, 2)
    place = boxes[:, None, :2] + place * (boxes[:, None, 2:] - boxes[:, None, :2])
    found: Floats = np.concatenate([place, np.reshape(sure, (count, points, 1))], axis=2).astype(np.float32)
    return found


def _vertex(before: Floats, top: Floats, after: Floats) -> Floats:
    """Where a parabola through values at -1, 0 and 1 is highest, within half a step; 0 on a plateau."""
    bend = 2 * top - before - after
    shift: Floats = np.divide(after - before, 2 * bend, out=np.zeros_like(top), where=bend > 1e-6)
    return np.clip(shift, -0.5, 0.5)
