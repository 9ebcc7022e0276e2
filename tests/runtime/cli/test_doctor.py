"""What the doctor sees of boards that are made of files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgecv_runtime import health
from edgecv_runtime.doctor import diagnose


def put(root: Path, path: str, text: str = "") -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_a_pi_with_a_coral(tmp_path: Path) -> None:
    put(tmp_path, "proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    put(tmp_path, "proc/meminfo", "MemTotal:        8256000 kB\nMemFree: 1 kB\n")
    put(tmp_path, "sys/bus/usb/devices/2-1/idVendor", "18d1\n")
    put(tmp_path, "sys/bus/usb/devices/2-1/idProduct", "9302\n")
    put(tmp_path, "usr/lib/aarch64-linux-gnu/libedgetpu.so.1")
    put(tmp_path, "dev/video0")
    put(tmp_path, "dev/hailo0")
    found = diagnose(tmp_path)
    assert found.system["board"] == "Raspberry Pi 5 Model B Rev 1.0" and found.system["memory_mb"] == 8062
    assert [one.what for one in found.accelerators] == ["Hailo", "Coral Edge TPU (USB)"]
    assert [one.detail for one in found.delegates] == [str(tmp_path / "usr/lib/aarch64-linux-gnu/libedgetpu.so.1")]
    assert [one.detail for one in found.cameras] == ["/dev/video0"]


def test_an_empty_machine(tmp_path: Path) -> None:
    found = diagnose(tmp_path)
    assert found.system["board"] == "unknown" and not (found.accelerators or found.delegates or found.cameras)


def test_what_is_missing_is_named(block_import: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgecv_runtime.backends.base import Backend
    from edgecv_runtime.backends.registry import backend_class, backend_names

    for name in backend_names():
        monkeypatch.setattr(backend_class(name), "is_installed", classmethod(lambda cls: False))
    assert issubclass(backend_class("litert"), Backend)
    found = diagnose(tmp_path)
    assert not found.able and found.advice[0].startswith("no inference library is installed")
    assert found.backends[0].detail == "pip install 'edgecv-runtime[litert]'"


@pytest.mark.parametrize(
    ("word", "expected", "now"),
    [
        ("0", (), False),
        ("50005", ("under-voltage", "throttled", "under-voltage since the start", "throttled since the start"), True),
        ("80000", ("soft temperature limit since the start",), False),
    ],
)
def test_flags_of_a_raspberry_pi(word: str, expected: tuple[str, ...], now: bool, tmp_path: Path) -> None:
    put(tmp_path, "flags", word + "\n")
    assert health.throttling(tmp_path / "flags") == expected
    assert health.throttled_now(tmp_path / "flags") is now


def test_a_board_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_VCGENCMD", "no-such-command")
    assert health.throttling(tmp_path / "none", tmp_path) is None and not health.throttled_now(tmp_path / "none")


def test_vcgencmd_answers_where_the_kernel_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "vcgencmd", "#!/bin/sh\necho throttled=0x50000\n")
    (tmp_path / "vcgencmd").chmod(0o755)
    monkeypatch.setattr(health, "_VCGENCMD", str(tmp_path / "vcgencmd"))
    assert health.throttling(tmp_path / "none") == ("under-voltage since the start", "throttled since the start")


def test_boards_without_flags_tell_by_clocks_and_cooling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_VCGENCMD", "no-such-command")
    put(tmp_path, "class/thermal/cooling_device0/type", "cpufreq-cpu0\n")
    put(tmp_path, "class/thermal/cooling_device0/cur_state", "0\n")
    put(tmp_path, "class/thermal/cooling_device1/type", "pwm-fan\n")
    put(tmp_path, "class/thermal/cooling_device1/cur_state", "3\n")  # a fan that turns holds nothing back
    put(tmp_path, "devices/system/cpu/cpufreq/policy0/scaling_max_freq", "1800000\n")
    put(tmp_path, "devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq", "1800000\n")
    assert health.throttling(tmp_path / "none", tmp_path) == ()
    put(tmp_path, "class/thermal/cooling_device0/cur_state", "4\n")
    put(tmp_path, "class/thermal/cooling_device0/max_state", "9\n")
    put(tmp_path, "devices/system/cpu/cpufreq/policy0/scaling_max_freq", "1200000\n")
    assert health.throttling(tmp_path / "none", tmp_path) == (
        "throttled by cpufreq-cpu0, step 4 of 9",
        "clock capped at 1.2 of 1.8 GHz (policy0)",
    )


def test_decoders_and_metadata_are_no_cameras(tmp_path: Path) -> None:
    """As on a Raspberry Pi 4 with a USB camera: two nodes of the camera, and the video decoder."""
    for number, name, index in ((0, "HD Webcam", 0), (1, "HD Webcam", 1), (10, "bcm2835-codec-decode", 0), (2, "", 0)):
        put(tmp_path, f"dev/video{number}")
        put(tmp_path, f"sys/class/video4linux/video{number}/name", name)
        put(tmp_path, f"sys/class/video4linux/video{number}/index", str(index))
    found = [(one.what, one.detail) for one in diagnose(tmp_path).cameras]
    assert found == [("HD Webcam", "/dev/video0"), ("camera", "/dev/video2")]


def test_an_accelerator_without_its_library_is_spoken_of(tmp_path: Path) -> None:
    put(tmp_path, "dev/apex_0")
    put(tmp_path, "dev/nvidia0")
    put(tmp_path, "dev/dri/renderD128")
    found = diagnose(tmp_path)
    assert [one.what for one in found.accelerators] == ["Coral Edge TPU (PCIe, M.2)", "NVIDIA GPU"]
    wanted = "Coral Edge TPU (PCIe, M.2) is here, but not libedgetpu.so.1: sudo apt install libedgetpu1-std"
    assert wanted in found.advice
    put(tmp_path, "usr/lib/aarch64-linux-gnu/libedgetpu.so.1.0")
    assert wanted not in diagnose(tmp_path).advice


def test_libraries_say_on_what_they_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    details = {one.what.split()[0]: one for one in diagnose(tmp_path).backends}
    assert details["onnxruntime"].detail.startswith(f"{onnxruntime.__version__}, runs on ")
    assert "CPU" in details["onnxruntime"].detail and details["openvino"].detail.endswith("runs on CPU")

    def broken() -> None:
        raise OSError("libgomp.so.1: cannot open shared object file")

    monkeypatch.setattr(onnxruntime, "get_available_providers", broken)
    (found,) = (one for one in diagnose(tmp_path).backends if one.what.startswith("onnxruntime"))
    assert not found.there and found.detail.startswith("installed, but cannot be started: libgomp.so.1")


def test_the_command(edgecv: Any) -> None:
    outcome = edgecv("doctor")
    assert outcome.status == 0 and "back ends\n  ✓ litert (tflite): " in outcome.out
    document = json.loads(edgecv("doctor", "--json").out)
    assert document["able"] and {one["what"].split()[0] for one in document["backends"]} >= {"litert", "onnxruntime"}
