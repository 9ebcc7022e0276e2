"""Every format × precision: what is taken, what is refused, and why."""

from __future__ import annotations

import pytest

from edgecv_export.plan import Plan, check_target
from edgecv_runtime.errors import InputError, UnsupportedError

FORMATS = ("tflite", "onnx", "openvino")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("precision", "calibrated", "integer"),
    [("fp32", False, False), ("fp16", False, False), ("dynamic", False, False), ("int8", True, True)],
)
def test_every_format_takes_these(format: str, precision: str, calibrated: bool, integer: bool) -> None:
    plan = Plan(format, precision)
    assert (plan.format, plan.precision) == (format, precision)
    assert (plan.calibrated, plan.integer) == (calibrated, integer)


def test_int16x8_is_for_tflite_alone() -> None:
    plan = Plan("tflite", "int16x8")
    assert plan.calibrated
    assert plan.integer
    for format, name in (("onnx", "ONNX"), ("openvino", "OpenVINO")):
        with pytest.raises(UnsupportedError) as caught:
            Plan(format, "int16x8")
        assert str(caught.value) == (
            "int16x8 (int16 activations, int8 weights) is a TFLite scheme that "
            f"{name} has no kernels for: use --format tflite, or fp16"
        )


@pytest.mark.parametrize("format", FORMATS)
def test_mixed_is_refused_with_the_reason(format: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        Plan(format, "mixed")
    assert str(caught.value) == (
        "mixed keeps chosen layers in float while others are int8, and is not available yet: use int8 or fp16"
    )


@pytest.mark.parametrize("precision", ["int4", "INT8", "", "float32"])
def test_an_unknown_precision(precision: str) -> None:
    with pytest.raises(InputError) as caught:
        Plan("tflite", precision)
    assert str(caught.value) == (
        f"precision must be one of fp32, fp16, dynamic, int8, int16x8, mixed; received {precision!r}"
    )


@pytest.mark.parametrize("format", ["coreml", "TFLite", ""])
def test_an_unknown_format(format: str) -> None:
    with pytest.raises(InputError) as caught:
        Plan(format, "fp32")
    assert str(caught.value) == f"format must be one of tflite, onnx, openvino; received {format!r}"


def test_a_target_is_refused() -> None:
    check_target(None)
    with pytest.raises(UnsupportedError) as caught:
        check_target("rpi5")
    assert str(caught.value) == "no target is described in this version; received 'rpi5': use --format instead"
