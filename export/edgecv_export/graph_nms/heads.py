"""Detectors' raw outputs as boxes and scores, in ONNX operators: what the runtime's decoders do, in the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgecv_export.graph_nms.graph import Writer
from edgecv_runtime.decoders.base import Decoder
from edgecv_runtime.decoders.ssd import SSDDecoder, UltraFaceDecoder
from edgecv_runtime.decoders.yolo import YOLOv5Decoder, YOLOv8Decoder, YOLOXDecoder
from edgecv_runtime.errors import UnsupportedError
from edgecv_runtime.manifest import Manifest

# (writer, decoder, output names) -> (1, N, 4) xyxy in pixels of the input, (1, N, classes) scores.
Head = Callable[[Writer, Any, list[str]], tuple[str, str]]


def yolox(write: Writer, decoder: YOLOXDecoder, outputs: list[str]) -> tuple[str, str]:
    """Cells added, sizes out of their logarithms (see `YOLOXDecoder`)."""
    rows = outputs[0] if len(outputs) == 1 else write.node("Concat", *(outputs[i] for i in decoder.order), axis=2)
    cells = decoder.cells[None]
    middle = write.node("Add", write.part(rows, 0, 2), write.constant(cells[..., :2]))
    size = write.node("Exp", write.part(rows, 2, 4))
    strides = write.constant(cells[..., 2:])
    boxes = _corners(write, write.node("Mul", middle, strides), write.node("Mul", size, strides))
    return boxes, _times_objectness(write, decoder, rows)


def yolov5(write: Writer, decoder: YOLOv5Decoder, outputs: list[str]) -> tuple[str, str]:
    """Boxes by their centres, scores times objectness."""
    return _centred(write, decoder, outputs[0]), _times_objectness(write, decoder, outputs[0])


def yolov8(write: Writer, decoder: YOLOv8Decoder, outputs: list[str]) -> tuple[str, str]:
    """One column a candidate, and no objectness."""
    rows = write.node("Transpose", outputs[0], perm=[0, 2, 1])
    return _centred(write, decoder, rows), _activated(write, decoder, write.part(rows, 4, np.iinfo(np.int64).max))


def ultraface(write: Writer, decoder: UltraFaceDecoder, outputs: list[str]) -> tuple[str, str]:
    """Corners as fractions; the background's scores are cut off."""
    unit = write.constant([decoder.width, decoder.height] * 2)
    return write.node("Mul", outputs[decoder.roles["boxes"]], unit), _foreground(write, decoder, outputs)


def ssd(write: Writer, decoder: SSDDecoder, outputs: list[str]) -> tuple[str, str]:
    """Offsets from default boxes (Liu et al. 2016, eq. 2)."""
    raw = outputs[decoder.roles["boxes"]]
    anchors = np.array(decoder.values["anchors"], np.float32)[None]
    variances = np.array(decoder.values["variances"], np.float32)
    first, second = write.part(raw, 0, 2), write.part(raw, 2, 4)
    if decoder.values["order"] == "yxhw":
        turn = write.constant([1, 0], np.int64)
        first, second = (write.node("Gather", part, turn, axis=2) for part in (first, second))
    unit = np.array([decoder.width, decoder.height], np.float32)
    shift = write.node("Mul", first, write.constant(variances[:2] * anchors[..., 2:] * unit))
    middle = write.node("Add", shift, write.constant(anchors[..., :2] * unit))
    grown = write.node("Exp", write.node("Mul", second, write.constant(variances[2:])))
    size = write.node("Mul", grown, write.constant(anchors[..., 2:] * unit))
    return _corners(write, middle, size), _foreground(write, decoder, outputs)


HEADS: Mapping[type[Decoder], Head] = {
    YOLOXDecoder: yolox,
    YOLOv5Decoder: yolov5,
    YOLOv8Decoder: yolov8,
    UltraFaceDecoder: ultraface,
    SSDDecoder: ssd,
}
"""By the decoder that reads the same outputs on the device."""


def class_count(manifest: Manifest, decoder: Any) -> int:
    """How many classes there are, without the background.

    Raises
    ------
    UnsupportedError
        The outputs' sizes are open.
    """
    if isinstance(decoder, UltraFaceDecoder):
        found, extra = manifest.outputs[decoder.roles["scores"]].shape[2], int(decoder.values["background"])
    elif isinstance(decoder, YOLOXDecoder) and len(decoder.order) == 3:
        found, extra = manifest.outputs[decoder.order[2]].shape[2], 0
    elif isinstance(decoder, YOLOv8Decoder):
        found, extra = manifest.outputs[0].shape[1], 4
    else:
        found, extra = manifest.outputs[0].shape[2], 5
    if found is None:
        raise UnsupportedError("suppression in the graph needs outputs of fixed size; the number of classes is open")
    return found - extra


def _corners(write: Writer, middle: str, size: str) -> str:
    half = write.node("Mul", size, write.constant(0.5))
    return write.node("Concat", write.node("Sub", middle, half), write.node("Add", middle, half), axis=2)


def _centred(write: Writer, decoder: YOLOv5Decoder, rows: str) -> str:
    boxes = _corners(write, write.part(rows, 0, 2), write.part(rows, 2, 4))
    if decoder.values["units"] == "fraction":
        boxes = write.node("Mul", boxes, write.constant([decoder.width, decoder.height] * 2))
    return boxes


def _activated(write: Writer, decoder: Any, scores: str) -> str:
    activation = decoder.values["activation"]
    if activation == "none":
        return scores
    return write.node("Sigmoid", scores) if activation == "sigmoid" else write.node("Softmax", scores, axis=2)


def _times_objectness(write: Writer, decoder: Any, rows: str) -> str:
    objectness = _activated(write, decoder, write.part(rows, 4, 5))
    return write.node("Mul", objectness, _activated(write, decoder, write.part(rows, 5, np.iinfo(np.int64).max)))


def _foreground(write: Writer, decoder: UltraFaceDecoder, outputs: list[str]) -> str:
    scores = _activated(write, decoder, outputs[decoder.roles["scores"]])
    return write.part(scores, 1, np.iinfo(np.int64).max) if decoder.values["background"] else scores
