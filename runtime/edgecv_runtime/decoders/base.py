"""What a decoder must do, and how the manifest's name leads to one."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import BundleError
from edgecv_runtime.manifest import Manifest
from edgecv_runtime.preprocess import Geometry

# Decoder name -> "module:class". Each family adds its line.
_DECODERS = {
    "classification": "edgecv_runtime.decoders.classification:ClassificationDecoder",
    "signal-classification": "edgecv_runtime.decoders.array_classes:SignalDecoder",
    "volume-classification": "edgecv_runtime.decoders.array_classes:VolumeDecoder",
    "ssd": "edgecv_runtime.decoders.ssd:SSDDecoder",
    "ssd-postprocessed": "edgecv_runtime.decoders.postprocessed:PostprocessedDecoder",
    "ultraface": "edgecv_runtime.decoders.ssd:UltraFaceDecoder",
    "blazeface": "edgecv_runtime.decoders.blazeface:BlazeFaceDecoder",
    "yolo-v1": "edgecv_runtime.decoders.yolo_v1:YOLOv1Decoder",
    "yolo-anchor": "edgecv_runtime.decoders.yolo_anchor:YOLOAnchorDecoder",
    "yolox": "edgecv_runtime.decoders.yolo:YOLOXDecoder",
    "yolov5": "edgecv_runtime.decoders.yolo:YOLOv5Decoder",
    "yolov8": "edgecv_runtime.decoders.yolo:YOLOv8Decoder",
    "rcnn": "edgecv_runtime.decoders.rcnn:RegionDecoder",
    "mask": "edgecv_runtime.decoders.mask:MaskDecoder",
    "centernet-like": "edgecv_runtime.decoders.centernet:CenterNetDecoder",
    "segmentation": "edgecv_runtime.decoders.segmentation:SegmentationDecoder",
    "anomaly": "edgecv_runtime.decoders.anomaly:AnomalyDecoder",
    "localization": "edgecv_runtime.decoders.localization:LocalizationDecoder",
    "heatmap-pose": "edgecv_runtime.decoders.pose:HeatmapPoseDecoder",
    "regression-pose": "edgecv_runtime.decoders.regression_pose:RegressionPoseDecoder",
    "image": "edgecv_runtime.decoders.image:ImageDecoder",
    "embedding": "edgecv_runtime.decoders.embedding:EmbeddingDecoder",
}

Outputs = Sequence[npt.NDArray[np.float32]]


class Decoder(ABC):
    """Turns the outputs of one image into a result.

    Parameters
    ----------
    manifest : Manifest
        Its `decoder.parameters` are checked here, once, when the model is loaded.
    """

    task: ClassVar[str]

    def __init__(self, manifest: Manifest) -> None:
        self.labels = manifest.labels
        self.parameters = dict(manifest.decoder.parameters)

    def activate(self, outputs: Outputs) -> list[npt.NDArray[np.float32]]:
        """Finish what the artefact left out (a softmax, say), so that outputs compare with the source model's.

        Unless a decoder says otherwise it leaves nothing out.
        """
        return list(outputs)

    def comparable(self, outputs: Outputs) -> list[npt.NDArray[np.float32]]:
        """The raw outputs in a form in which a small difference of the model is a small difference of numbers.

        The parity contract compares these. Unless a decoder says otherwise they are the outputs as they are; where the
        artefact ends in decisions (an argmax, a suppression), single numbers jump, and something steadier is compared.
        There is one array for each output.
        """
        return list(outputs)

    @property
    def decides(self) -> bool:
        """Whether the artefact ends in decisions, so that `comparable` gives something else than its outputs."""
        return False

    @abstractmethod
    def decode(self, outputs: Outputs, geometry: Geometry) -> Any:
        """The result for one image from its activated outputs, without the batch dimension."""

    def decode_seen(self, outputs: Outputs, geometry: Geometry, seen: npt.NDArray[Any]) -> Any:
        """As `decode`, knowing what the model was given: its input tensor, without the batch dimension.

        Unless a decoder says otherwise the outputs alone tell; a reconstruction must be compared.
        """
        return self.decode(outputs, geometry)


def decoder_names() -> tuple[str, ...]:
    """Every name that a manifest may give."""
    return tuple(_DECODERS)


def decoder_class(name: str) -> type[Decoder]:
    """The class behind a name.

    Raises
    ------
    BundleError
        There is none.
    """
    if name not in _DECODERS:
        raise BundleError(f"decoder must be one of {', '.join(sorted(_DECODERS))}; the manifest says {name!r:.80}")
    module, _, attribute = _DECODERS[name].partition(":")
    found: type[Decoder] = getattr(importlib.import_module(module), attribute)
    return found


def make_decoder(manifest: Manifest) -> Decoder:
    """The decoder that a manifest names.

    Raises
    ------
    BundleError
        Unknown name, or parameters it does not take.
    """
    return decoder_class(manifest.decoder.name)(manifest)


def only_output(manifest: Manifest) -> int:
    """Checks that there is one output.

    Raises
    ------
    BundleError
    """
    if len(manifest.outputs) != 1:
        raise BundleError(
            f"decoder {manifest.decoder.name!r} reads one output; the manifest names {len(manifest.outputs)}"
        )
    return 0


def output_roles(manifest: Manifest, given: Any, roles: Sequence[str]) -> dict[str, int]:
    """Which output plays which role: by the manifest's word, never by order.

    Parameters
    ----------
    manifest : Manifest
    given : mapping of role to tensor name
    roles : sequence of str

    Raises
    ------
    BundleError
        A role is missing, unknown, or names no output.
    """
    names = [spec.name for spec in manifest.outputs]
    if not isinstance(given, dict) or set(given) != set(roles):
        raise BundleError(
            f"decoder {manifest.decoder.name!r} needs outputs = {{{', '.join(f'{role}: NAME' for role in roles)}}} "
            f"of {', '.join(names)}; the manifest says {given!r:.80}"
        )
    missing = [name for name in given.values() if name not in names]
    if missing:
        raise BundleError(f"there is no output {missing[0]!r}; there are {', '.join(names)}")
    return {role: names.index(name) for role, name in given.items()}


def logistic(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """1 / (1 + exp(-x)), without overflow."""
    result: npt.NDArray[np.float32] = 0.5 * (1 + np.tanh(0.5 * values))
    return result


def softmax(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Over the last axis, without overflow."""
    exponentials = np.exp(values - values.max(axis=-1, keepdims=True))
    result: npt.NDArray[np.float32] = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return result
