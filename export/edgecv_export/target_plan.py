"""From a device to what is exported for it: format, precision, and what is done with the artefact afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgecv_export.plan import Plan
from edgecv_runtime.errors import InputError, UnsupportedError
from edgecv_targets import Target, TargetError, load_target

_FLOAT_ORDER = ("fp16", "fp32")


@dataclass(frozen=True)
class TargetPlan:
    """What to export for a device.

    Attributes
    ----------
    target : Target
    plan : Plan
    compile_with : str or None
        The tool that turns the artefact into the accelerator's own; None where there is none.
    compiled_here : bool
        Whether edgecv runs the tool; otherwise the bundle is prepared for it.
    c_array : bool
        Whether the device takes the model as a C array.
    backend : str
    device : str
    options : Mapping
        For the back end.
    delegate : str or None
        The library that takes the model to the accelerator.
    reason : str
        Why these, in words.
    """

    target: Target
    plan: Plan
    compile_with: str | None
    compiled_here: bool
    c_array: bool
    backend: str
    device: str
    options: Mapping[str, Any] = field(default_factory=dict)
    delegate: str | None = None
    reason: str = ""

    @property
    def compiles(self) -> bool:
        """Whether something is made of the artefact for the device, or prepared for its tool."""
        return self.c_array or self.compile_with is not None

    def to_dict(self) -> dict[str, Any]:
        """For the report."""
        return {
            "id": self.target.id,
            "backend": self.backend,
            "device": self.device,
            "options": dict(self.options),
            "delegate": self.delegate,
            "compile_with": self.compile_with,
            "reason": self.reason,
        }


def choose_plan(
    target: str | None, format: str | None, precision: str | None, *, calibrated: bool, onnx: bool = False
) -> tuple[Plan, TargetPlan | None]:
    """What to export: for a device what suits it, else what is asked for, float TFLite by default.

    Parameters
    ----------
    target : str, optional
        A device's identity.
    format, precision : str, optional
    calibrated : bool
    onnx : bool
        Whether the source is an ONNX file, which no TFLite is made from.

    Returns
    -------
    plan : Plan
    target_plan : TargetPlan or None

    Raises
    ------
    InputError
        There is no such device, format or precision.
    UnsupportedError
        As `plan_for`, and as `Plan` refuses combinations.
    """
    if target is None:
        return Plan(format or "tflite", precision or "fp32"), None
    try:
        device = load_target(target)
    except TargetError as error:
        raise InputError(str(error)) from None
    convertible = ("onnx", "openvino") if onnx else ("tflite", "onnx", "openvino")
    chosen = plan_for(device, calibrated=calibrated, convertible=convertible, format=format, precision=precision)
    return chosen.plan, chosen


def plan_for(
    target: Target,
    *,
    calibrated: bool,
    convertible: tuple[str, ...] = ("tflite", "onnx", "openvino"),
    format: str | None = None,
    precision: str | None = None,
) -> TargetPlan:
    """Choose format and precision for a device.

    Parameters
    ----------
    target : Target
    calibrated : bool
        Whether calibration pictures are at hand: without them no integer precision is chosen.
    convertible : tuple of str
        Formats that the source can be converted to.
    format, precision : str, optional
        What the user asks for; refused where it is not worth it on the device.

    Raises
    ------
    UnsupportedError
        The device has no use for what is asked for, or for what can be made.
    """
    formats = _among(target, "formats", target.formats, format)
    precisions = _among(target, "precisions", target.precisions, precision)
    possible = [name for name in formats if name in convertible]
    if not possible:
        raise UnsupportedError(
            f"{target.name} takes {', '.join(formats)}; this source can be made into {', '.join(convertible)}"
        )
    usable = [name for name in precisions if calibrated or name in _FLOAT_ORDER]
    if precision is None:  # layers in float are chosen by the search or by hand, never by a device
        usable = [name for name in usable if name != "mixed"]
    if not usable:
        raise UnsupportedError(
            f"{target.name} runs {' or '.join(precisions)} only, which needs calibration pictures: pass --calibrate DIR"
        )
    chosen, tool = Plan(possible[0], usable[0]), target.tool
    skipped = [name for name in precisions[: precisions.index(usable[0])] if name != "mixed"]
    without = f"; {skipped[0]} would need calibration pictures" if skipped else ""
    backend = target.backends[0]
    compiles = tool is not None and tool.input_format == chosen.format
    return TargetPlan(
        target=target,
        plan=chosen,
        compile_with=tool.name if tool is not None and compiles else None,
        compiled_here=tool is not None and compiles and tool.available,
        c_array=any(entry.name == "tflite-micro" for entry in target.backends),
        backend=backend.name,
        device=backend.device,
        options=dict(backend.options),
        delegate=backend.delegate,
        reason=f"{chosen.format} in {chosen.precision} is what suits {target.name}{without}",
    )


def _among(target: Target, what: str, known: tuple[str, ...], asked: str | None) -> tuple[str, ...]:
    if asked is None:
        return known
    if asked not in known:
        raise UnsupportedError(f"the {what} worth using on {target.name} are {', '.join(known)}; received {asked!r}")
    return (asked,)
