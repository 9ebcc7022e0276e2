"""Which format takes which precision: answered before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgecv_export.quantize.recipe import Recipe
from edgecv_runtime.errors import InputError, UnsupportedError
from edgecv_runtime.manifest import FORMATS, INTEGER_PRECISIONS, PRECISIONS

_NO_INT16 = (
    "int16x8 (int16 activations, int8 weights) is a TFLite scheme that {format} has no kernels for: "
    "use --format tflite, or fp16"
)
_REFUSED = {
    ("onnx", "int16x8"): _NO_INT16.format(format="ONNX"),
    ("openvino", "int16x8"): _NO_INT16.format(format="OpenVINO"),
}


@dataclass(frozen=True)
class Plan:
    """A combination of format and precision that has been checked.

    Attributes
    ----------
    format : {"tflite", "onnx", "openvino"}
    precision : {"fp32", "fp16", "dynamic", "int8", "int16x8", "mixed"}
        ``mixed`` is int8 with chosen layers in float.

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
        return self.integer

    @property
    def searched(self) -> bool:
        """Whether a budget (`max_drop`) is searched for, rather than checked."""
        return self.precision in ("int8", "mixed")

    @property
    def integer(self) -> bool:
        """Whether activations are integers; the artefact then ends at the logits, too coarse for probabilities."""
        return self.precision in INTEGER_PRECISIONS


def check_pictures(
    plan: Plan, calibration: object, evaluation: object, max_drop: float | None, training: object = None
) -> None:
    """Refuse a plan that lacks the pictures it needs.

    Raises
    ------
    InputError
        Nothing to calibrate on, nothing to measure `max_drop` on, a `max_drop` that is no percentage, or training
        pictures that no search would use.
    """
    if plan.calibrated and calibration is None:
        raise InputError(
            f"{plan.precision} needs calibration images: pass a folder of typical pictures (--calibrate DIR)"
        )
    if training is not None and (max_drop is None or not plan.searched):
        raise InputError(
            "training pictures serve the search for int8 or mixed within a budget: pass --precision int8, --eval DIR "
            "and --max-drop too"
        )
    if max_drop is None:
        return
    if evaluation is None:
        raise InputError("max_drop needs labelled pictures to measure the drop on: pass --eval DIR too")
    if not 0 <= max_drop <= 100:
        raise InputError(f"max_drop must be percentage points, 0 to 100; received {max_drop:g}")


def check_recipe(plan: Plan, recipe: Recipe | None, float_layers: Sequence[str], max_drop: float | None) -> Recipe:
    """The recipe of a single export, with the layers that stay in float.

    Raises
    ------
    InputError
        A recipe or layers where they do not apply, or ``mixed`` without a word on which layers stay in float.
    """
    if float_layers and recipe is not None:
        raise InputError("pass either float_layers or a recipe with float_layers, not both")
    if recipe is not None and not plan.integer:
        raise InputError(f"a recipe is for int8, int16x8 and mixed; received precision {plan.precision}")
    found = recipe or Recipe(float_layers=tuple(float_layers))
    if plan.searched and max_drop is not None:
        if found.float_layers or recipe is not None:
            raise InputError("with max_drop the search chooses: leave out float_layers and recipe (--float-layers)")
        return found
    if found.float_layers and plan.precision != "mixed":
        raise InputError(f"layers stay in float in precision mixed only; received precision {plan.precision}")
    if plan.precision == "mixed" and not found.float_layers:
        raise InputError(
            "mixed needs to know what stays in float: name layers (--float-layers A,B), or give a budget to search "
            "within (--eval DIR --max-drop PT)"
        )
    return found
