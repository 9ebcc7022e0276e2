"""Which format takes which precision: answered before anything heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass

from edgecv_runtime.errors import InputError, UnsupportedError
from edgecv_runtime.manifest import FORMATS, PRECISIONS

# Precisions that are calibrated on real images.
CALIBRATED = frozenset({"int8", "int16x8"})

# Precisions whose artefact ends at the logits: integers are too coarse for probabilities.
INTEGER = frozenset({"int8", "int16x8"})

_NO_INT16 = (
    "int16x8 (int16 activations, int8 weights) is a TFLite scheme that {format} has no kernels for: "
    "use --format tflite, or fp16"
)
_MIXED = "mixed keeps chosen layers in float while others are int8, and is not available yet: use int8 or fp16"
_REFUSED = {
    ("onnx", "int16x8"): _NO_INT16.format(format="ONNX"),
    ("openvino", "int16x8"): _NO_INT16.format(format="OpenVINO"),
    **{(format, "mixed"): _MIXED for format in FORMATS},
}


@dataclass(frozen=True)
class Plan:
    """A combination of format and precision that has been checked.

    Attributes
    ----------
    format : {"tflite", "onnx", "openvino"}
    precision : {"fp32", "fp16", "dynamic", "int8", "int16x8"}

    Raises
    ------
    InputError
        Unknown format or precision.
    UnsupportedError
        The format cannot do the precision; the message says why and what can be done.
    """

    format: str
    precision: str

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise InputError(f"format must be one of {', '.join(FORMATS)}; received {self.format!r}")
        if self.precision not in PRECISIONS:
            raise InputError(f"precision must be one of {', '.join(PRECISIONS)}; received {self.precision!r}")
        if (self.format, self.precision) in _REFUSED:
            raise UnsupportedError(_REFUSED[self.format, self.precision])

    @property
    def calibrated(self) -> bool:
        """Whether calibration images are needed."""
        return self.precision in CALIBRATED

    @property
    def integer(self) -> bool:
        """Whether the artefact is integer throughout and ends at the logits."""
        return self.precision in INTEGER


def check_pictures(plan: Plan, calibration: object, evaluation: object, max_drop: float | None) -> None:
    """Refuse a plan that lacks the pictures it needs.

    Raises
    ------
    InputError
        Nothing to calibrate on, nothing to measure `max_drop` on, or a `max_drop` that is no percentage.
    """
    if plan.calibrated and calibration is None:
        raise InputError(
            f"{plan.precision} needs calibration images: pass a folder of typical pictures (--calibrate DIR)"
        )
    if max_drop is None:
        return
    if evaluation is None:
        raise InputError("max_drop needs labelled pictures to measure the drop on: pass --eval DIR too")
    if not 0 <= max_drop <= 100:
        raise InputError(f"max_drop must be percentage points, 0 to 100; received {max_drop:g}")


def check_target(target: str | None) -> None:
    """Refuse a target: no device is described yet.

    Raises
    ------
    UnsupportedError
    """
    if target is not None:
        raise UnsupportedError(f"no target is described in this version; received {target!r}: use --format instead")
