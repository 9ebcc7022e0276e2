"""From a model of the list to its coding and its loss: what a bundle's decoder reads is what training writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edgecv.detection.anchor_free import AnchorFreeCoding, AnchorFreeLoss
from edgecv.detection.coding import Coding
from edgecv.detection.ssd import SSDCoding, SSDLoss
from edgecv.detection.yolo_anchor import AnchorMap, YOLOAnchorCoding, YOLOAnchorLoss
from edgecv.detection.yolo_v1 import YOLOv1Coding, YOLOv1Loss
from edgecv_runtime.errors import InputError

Loss = Callable[[Any, Any], Any]
Shapes = Mapping[str, Sequence[int]]


def coding_of(model: Any) -> Coding:
    """How a detector that `edgecv.create_model` built writes boxes into its outputs.

    Parameters
    ----------
    model : keras.Model

    Returns
    -------
    Coding

    Raises
    ------
    InputError
        It is no single-stage detector of the list.
    """
    from edgecv.models.factory import architecture_of

    built = architecture_of(model)
    if built is None or built.record.decoder is None:
        raise InputError("the model must be a detector built by edgecv.create_model; build its coding by hand")
    decoder, parameters = built.record.decoder(model.input_shape[1:], built.classes, built.options)
    shapes = {name: output.shape[1:] for name, output in zip(model.output_names, model.outputs, strict=True)}
    return coding_for(decoder, parameters, model.input_shape[1:3], built.classes, shapes)


def coding_for(
    decoder: str, parameters: Mapping[str, Any], size: tuple[int, int], classes: int, shapes: Shapes
) -> Coding:
    """The coding that a runtime decoder undoes.

    Parameters
    ----------
    decoder : str
        ``"ssd"``, ``"yolo-v1"``, ``"yolo-anchor"`` or ``"yolox"``.
    parameters : mapping
        As they stand in a manifest.
    size : (height, width)
        Of the input, pixels.
    classes : int
    shapes : mapping of output name to shape
        Without the batch dimension, in the model's order.

    Raises
    ------
    InputError
        Another decoder.
    """
    if decoder not in _CODINGS:
        raise InputError(f"there is a coding for {', '.join(_CODINGS)}; received decoder {decoder!r}")
    return _CODINGS[decoder](parameters, size, classes, shapes)


def loss_of(coding: Coding) -> Loss:
    """The published loss of a coding's family, ``loss(targets, outputs)``; outputs without their last activation.

    Raises
    ------
    InputError
        A coding of another kind.
    """
    if isinstance(coding, SSDCoding):
        return SSDLoss()
    if isinstance(coding, YOLOv1Coding):
        return YOLOv1Loss(boxes=coding.boxes)
    if isinstance(coding, YOLOAnchorCoding):
        return YOLOAnchorLoss(exclusive=coding.exclusive)
    if isinstance(coding, AnchorFreeCoding):
        return AnchorFreeLoss(coding.cells)
    raise InputError(f"there is no loss for a {type(coding).__name__}; give one")


def _ssd(parameters: Mapping[str, Any], size: tuple[int, int], classes: int, shapes: Shapes) -> Coding:
    return SSDCoding(parameters["anchors"], size, classes, parameters["variances"])


def _yolo_v1(parameters: Mapping[str, Any], size: tuple[int, int], classes: int, shapes: Shapes) -> Coding:
    return YOLOv1Coding(parameters["grid"], size, classes, parameters["boxes"])


def _yolo_anchor(parameters: Mapping[str, Any], size: tuple[int, int], classes: int, shapes: Shapes) -> Coding:
    maps = {
        name: AnchorMap((shape[0], shape[1]), np.array(anchors, np.float32))
        for (name, shape), anchors in zip(shapes.items(), parameters["anchors"], strict=True)
    }
    return YOLOAnchorCoding(maps, size, classes, exclusive=parameters["classes"] == "softmax")


def _yolox(parameters: Mapping[str, Any], size: tuple[int, int], classes: int, shapes: Shapes) -> Coding:
    return AnchorFreeCoding(parameters["strides"], size, classes)


_CODINGS: dict[str, Callable[[Mapping[str, Any], tuple[int, int], int, Shapes], Coding]] = {
    "ssd": _ssd,
    "yolo-v1": _yolo_v1,
    "yolo-anchor": _yolo_anchor,
    "yolox": _yolox,
}
