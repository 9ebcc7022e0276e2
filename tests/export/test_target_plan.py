"""Which format and precision a device gets."""

from __future__ import annotations

import pytest

from edgecv_export.target_plan import plan_for
from edgecv_runtime.errors import UnsupportedError
from edgecv_targets import list_targets, load_target


@pytest.mark.parametrize(
    ("target", "calibrated", "expected"),
    [
        ("pi-4", True, ("tflite", "int8", None, "litert", "CPU")),
        ("pi-4", False, ("tflite", "fp32", None, "litert", "CPU")),
        ("pi-5", False, ("tflite", "fp16", None, "litert", "CPU")),
        ("pi-5-hailo-8l", True, ("onnx", "int8", "hailo", "onnxruntime", "CPU")),
        ("jetson-nano", True, ("onnx", "fp16", "trtexec", "onnxruntime", "TensorRT")),
        ("intel-npu", True, ("openvino", "int8", None, "openvino", "NPU")),
        ("imx93", True, ("tflite", "int8", "vela", "litert", "NPU")),
        ("stm32h7", True, ("tflite", "int8", None, "tflite-micro", "CPU")),
    ],
)
def test_choices(target: str, calibrated: bool, expected: tuple[str | None, ...]) -> None:
    found = plan_for(load_target(target), calibrated=calibrated)
    assert (found.plan.format, found.plan.precision, found.compile_with, found.backend, found.device) == expected


def test_compiled_here_or_elsewhere() -> None:
    here, there = (plan_for(load_target(name), calibrated=True) for name in ("ethos-u85-256", "coral-usb"))
    assert (here.compiled_here, there.compiled_here) == (True, False)
    assert (here.c_array, there.c_array) == (True, False)
    assert "would need calibration pictures" in plan_for(load_target("pi-4"), calibrated=False).reason


def test_wishes_are_kept_or_refused() -> None:
    target = load_target("pi-4")
    found = plan_for(target, calibrated=True, format="onnx", precision="fp32").plan
    assert (found.format, found.precision) == ("onnx", "fp32")
    assert plan_for(target, calibrated=True, precision="mixed").plan.precision == "mixed"
    with pytest.raises(UnsupportedError, match="formats worth using on Raspberry Pi 4 Model B are tflite, onnx"):
        plan_for(target, calibrated=True, format="openvino")
    with pytest.raises(UnsupportedError, match="precisions worth using"):
        plan_for(target, calibrated=True, precision="int16x8")


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="needs calibration pictures"):
        plan_for(load_target("imx93"), calibrated=False)
    with pytest.raises(UnsupportedError, match="this source can be made into onnx"):
        plan_for(load_target("imx93"), calibrated=True, convertible=("onnx",))


@pytest.mark.parametrize("target", list_targets())
def test_every_device_has_a_plan(target: str) -> None:
    found = plan_for(load_target(target), calibrated=True)
    assert found.plan.precision != "mixed"
