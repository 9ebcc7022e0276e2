"""What each decoder's usual models expect of a picture, and how their outputs are told apart: for ``wrap``.

A preset is what the authors of a model published about it. Whatever is given explicitly goes before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgecv_runtime.errors import InputError, UnsupportedError
from edgecv_runtime.manifest import Normalization, Resize, TensorSpec

Parameters = dict[str, Any]


@dataclass(frozen=True)
class Preset:
    """The usual feed of a decoder's models.

    Attributes
    ----------
    task : str
    color : str
    resize : Resize
    moments : (mean, std) of pixels 0..255, or None
        For models that take floats; None: it differs from model to model and must be given.
    labels : tuple of str, or None
    parameters : callable
        From the outputs and the input's (height, width) to the decoder's parameters that can be read off them.
    """

    task: str
    color: str = "RGB"
    resize: Resize = field(default_factory=Resize)
    moments: tuple[float, float] | None = None
    labels: tuple[str, ...] | None = None
    parameters: Callable[[Sequence[TensorSpec], tuple[int, int]], Parameters] = lambda outputs, size: {}

    def normalization(self, channels: int) -> Normalization | None:
        """The moments for every channel."""
        if self.moments is None:
            return None
        mean, std = self.moments
        return Normalization((mean,) * channels, (std,) * channels)


def _by_last_dimension(boxes: Callable[[int], bool], scores: Callable[[int], bool]) -> Any:
    """Roles read off shapes, where that leaves no doubt."""

    def read(outputs: Sequence[TensorSpec], size: tuple[int, int]) -> Parameters:
        found: dict[str, list[str]] = {"boxes": [], "scores": []}
        for spec in outputs:
            last = spec.shape[-1] if spec.shape else None
            if last is not None and boxes(last):
                found["boxes"].append(spec.name)
            if last is not None and scores(last):
                found["scores"].append(spec.name)
        if any(len(names) != 1 for names in found.values()) or found["boxes"] == found["scores"]:
            return {}
        return {"outputs": {role: names[0] for role, names in found.items()}}

    return read


def _blazeface(outputs: Sequence[TensorSpec], size: tuple[int, int]) -> Parameters:
    """Both published models have 896 anchors: two a cell of the fine grid, six of the coarse one.

    128×128 input: strides 8 and three times 16; 256×256: 16 and three times 32.
    """
    fine = 16 if size[0] >= 256 else 8
    roles: Parameters = _by_last_dimension(lambda last: last > 4, lambda last: last == 1)(outputs, size)
    return {**roles, "strides": [fine, *[2 * fine] * 3]}


def _postprocessed(outputs: Sequence[TensorSpec], size: tuple[int, int]) -> Parameters:
    """TensorFlow names the operator's four outputs after it, and numbers the last three."""
    base = min((spec.name for spec in outputs), key=len, default="")
    wanted = {"boxes": base, "classes": f"{base}:1", "scores": f"{base}:2", "count": f"{base}:3"}
    return {"outputs": wanted} if {spec.name for spec in outputs} == set(wanted.values()) else {}


def _segmentation(outputs: Sequence[TensorSpec], size: tuple[int, int]) -> Parameters:
    """Class indices are integers; scores are floats whose channels are fewer than their rows and columns."""
    if len(outputs) != 1:
        return {}
    shape, dtype = outputs[0].shape, outputs[0].dtype
    if dtype in ("int32", "int64", "uint8") and (len(shape) == 3 or shape[-1:] == (1,)):
        return {"layout": "indices"}
    if len(shape) == 4 and None not in shape[1:]:
        first, last = shape[1], shape[3]
        return {"layout": "NCHW" if first is not None and last is not None and first < last else "NHWC"}
    return {}


_FACE = ("face",)

PRESETS: Mapping[str, Preset] = {
    "classification": Preset("classification"),
    "yolox": Preset("detection", "BGR", Resize("letterbox", align="top-left", pad_value=114), (0.0, 1.0)),
    "yolov5": Preset("detection", resize=Resize("letterbox", pad_value=114), moments=(0.0, 255.0)),
    "yolov8": Preset("detection", resize=Resize("letterbox", pad_value=114), moments=(0.0, 255.0)),
    "yolo-anchor": Preset("detection", resize=Resize("letterbox", pad_value=128), moments=(0.0, 255.0)),
    "yolo-v1": Preset("detection", moments=(0.0, 255.0)),
    "ssd": Preset("detection", parameters=_by_last_dimension(lambda last: last == 4, lambda last: last != 4)),
    "ssd-postprocessed": Preset("detection", moments=(127.5, 127.5), parameters=_postprocessed),
    "ultraface": Preset(
        "detection",
        moments=(127.0, 128.0),
        labels=_FACE,
        parameters=_by_last_dimension(lambda last: last == 4, lambda last: last == 2),
    ),
    "blazeface": Preset(
        "detection",
        resize=Resize("letterbox", pad_value=0),
        moments=(127.5, 127.5),
        labels=_FACE,
        parameters=_blazeface,
    ),
    "centernet-like": Preset("detection"),
    "segmentation": Preset("segmentation", parameters=_segmentation),
    "heatmap-pose": Preset("pose"),
    "regression-pose": Preset("pose"),
    "embedding": Preset("embedding"),
}

# The decoder that a task means when none is named; a detector's must be named.
_USUAL = {
    "classification": "classification",
    "segmentation": "segmentation",
    "embedding": "embedding",
    "pose": "heatmap-pose",
}
TASKS = ("classification", "detection", "segmentation", "pose", "embedding")


def choose_decoder(task: str | None, decoder: str | None) -> str:
    """The decoder's name, from what was given of the two.

    Raises
    ------
    UnsupportedError
        There is no such task.
    InputError
        There is no such decoder, it is another task's, or it is missing.
    """
    if task is not None and task not in TASKS:
        raise UnsupportedError(f"this version wraps {', '.join(TASKS)} models; received task {task!r}")
    if decoder is None:
        if task in _USUAL:
            return _USUAL[task]
        names = ", ".join(name for name, preset in PRESETS.items() if task is None or preset.task == task)
        raise InputError(f"how the outputs are read must be said: --decoder, one of {names}")
    if decoder not in PRESETS:
        raise InputError(f"decoder must be one of {', '.join(PRESETS)}; received {decoder!r}")
    if task is not None and PRESETS[decoder].task != task:
        fitting = ", ".join(name for name, preset in PRESETS.items() if preset.task == task)
        raise InputError(f"task {task!r} is read by decoder {fitting}; received {decoder!r}")
    return decoder
