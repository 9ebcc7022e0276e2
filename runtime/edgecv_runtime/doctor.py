"""What this device has for running models, and what is missing: the first question of every report of a fault."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecv_runtime import cpu
from edgecv_runtime._version import __version__
from edgecv_runtime.backends.registry import backend_class, backend_names
from edgecv_runtime.errors import EdgecvError
from edgecv_runtime.health import look, system_text, throttling

# Package -> what it is for, and the extra that brings it.
_HELPERS = {
    "opencv-python-headless": ("resizing, cameras, video, drawing", "cv"),
    "av": ("RTSP and HTTP streams", "camera"),
    "paho-mqtt": ("MQTT", "mqtt"),
    "cryptography": ("encrypted galleries", "gallery"),
    "usearch": ("galleries of a million faces", "gallery"),
}
_ALSO = {"opencv-python-headless": ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")}

# Device node or library -> the accelerator behind it.
_ACCELERATORS = {
    "/dev/apex_0": "Coral Edge TPU (PCIe, M.2)",
    "/dev/hailo0": "Hailo",
    "/dev/accel/accel0": "Intel NPU",
    "/dev/ethosu0": "Arm Ethos-U",
    "/dev/rknpu": "Rockchip NPU",
    "/dev/galcore": "VeriSilicon GPU and NPU (i.MX 8M Plus)",
    "/dev/nvhost-gpu": "NVIDIA Jetson GPU",
    "/dev/nvidia0": "NVIDIA GPU",
    "/dev/dri/renderD128": "GPU",
}
_USB = {("1a6e", "089a"): "Coral Edge TPU (USB, not yet initialised)", ("18d1", "9302"): "Coral Edge TPU (USB)"}
_DELEGATES = {
    "libedgetpu.so.1": "Coral Edge TPU", "libethosu_delegate.so": "Arm Ethos-U", "libvx_delegate.so": "VeriSilicon",
    "libtensorflowlite_gpu_delegate.so": "GPU", "libOpenCL.so.1": "OpenCL", "libnvinfer.so.10": "TensorRT",
    "libhailort.so": "Hailo",
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes
    ----------
    what : str
    there : bool
    detail : str
        Version or address where it is there, what to install where it is not.
    """

    what: str
    there: bool
    detail: str


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes
    ----------
    system : mapping
        Board, processor, cores, memory, system, Python, edgecv-runtime.
    backends, helpers, accelerators, delegates, cameras : tuple of Finding
    temperatures : mapping of zone to °C
    throttling : tuple of str, or None
        What holds the board back; None where it does not say.
    advice : tuple of str
        What to do, most important first.
    """

    system: dict[str, Any]
    backends: tuple[Finding, ...]
    helpers: tuple[Finding, ...]
    accelerators: tuple[Finding, ...]
    delegates: tuple[Finding, ...]
    cameras: tuple[Finding, ...]
    temperatures: dict[str, float]
    throttling: tuple[str, ...] | None
    advice: tuple[str, ...] = field(default=())

    @property
    def able(self) -> bool:
        """Whether any model can run here."""
        return any(one.there for one in self.backends)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        groups = ("backends", "helpers", "accelerators", "delegates", "cameras")
        return {
            "system": self.system,
            **{name: [vars(one) for one in getattr(self, name)] for name in groups},
            "temperatures": self.temperatures,
            "throttling": None if self.throttling is None else list(self.throttling),
            "advice": list(self.advice),
            "able": self.able,
        }


def diagnose(root: Path = Path("/")) -> Diagnosis:
    """Look at this device.

    Parameters
    ----------
    root : Path
        Below which device nodes and libraries are looked for.
    """
    backends, helpers = _backends(), tuple(_helper(name) for name in _HELPERS)
    slow = throttling()
    machine = look()
    return Diagnosis(
        _system(root),
        backends,
        helpers,
        _accelerators(root),
        _delegates(root),
        tuple(Finding("camera", True, f"/dev/{path.name}") for path in sorted((root / "dev").glob("video*"))),
        machine.temperatures,
        slow,
        tuple(_advice(backends, helpers, slow)),
    )


def _system(root: Path) -> dict[str, Any]:
    board = system_text(root / "proc/device-tree/model").rstrip("\0")
    board = board or system_text(root / "sys/class/dmi/id/product_name")
    lines = system_text(root / "proc/meminfo").splitlines()
    memory = next((line.split()[1] for line in lines if line.startswith("MemTotal:")), "0")
    return {
        "board": board or "unknown",
        "cpu": cpu.describe(),
        "cores": cpu.available_cores(),
        "memory_mb": int(memory) // 1024,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "bits": 64 if sys.maxsize > 2**32 else 32,
        "edgecv-runtime": __version__,
    }


def _backends() -> tuple[Finding, ...]:
    found = []
    for name in backend_names():
        if name == "mock":
            continue
        try:
            driver = backend_class(name)
            there = driver.is_installed()
            detail = _version(driver.package) if there else f"pip install '{driver.install}'"
        except EdgecvError as error:
            there, detail = False, str(error)
        found.append(Finding(f"{name} ({', '.join(driver.formats)})", there, detail))
    return tuple(found)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "installed"


def _helper(name: str) -> Finding:
    purpose, extra = _HELPERS[name]
    for package in (name, *_ALSO.get(name, ())):
        try:
            return Finding(f"{package}: {purpose}", True, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            continue
    return Finding(f"{name}: {purpose}", False, f"pip install 'edgecv-runtime[{extra}]'")


def _accelerators(root: Path) -> tuple[Finding, ...]:
    found = [Finding(name, True, node) for node, name in _ACCELERATORS.items() if (root / node.lstrip("/")).exists()]
    for device in sorted((root / "sys/bus/usb/devices").glob("*")):
        name = _USB.get((system_text(device / "idVendor"), system_text(device / "idProduct")))
        if name is not None:
            found.append(Finding(name, True, f"USB {device.name}"))
    return tuple(found)


def _delegates(root: Path) -> tuple[Finding, ...]:
    folders = [
        *root.glob("usr/lib"),
        *root.glob("usr/lib/*-linux-gnu*"),
        *root.glob("usr/local/lib"),
        *root.glob("lib"),
    ]
    found = []
    for library, name in _DELEGATES.items():
        path = next((folder / library for folder in folders if (folder / library).exists()), None)
        if path is not None:
            found.append(Finding(name, True, str(path)))
    return tuple(found)


def _advice(backends: tuple[Finding, ...], helpers: tuple[Finding, ...], slow: tuple[str, ...] | None) -> list[str]:
    advice = []
    if not any(one.there for one in backends):
        advice.append("no inference library is installed: pip install 'edgecv-runtime[litert]' (or onnx, or openvino)")
    if not helpers[0].there:
        advice.append("pictures cannot be resized without OpenCV: pip install 'edgecv-runtime[cv]'")
    if slow and any("voltage" in word for word in slow):
        advice.append("the supply is too weak: use the board's own, and a short cable")
    if slow and any("throttled" in word or "temperature" in word for word in slow):
        advice.append("the board is or was too hot and slows down: give it a heat sink or a fan")
    if cpu.saturates_int8():
        advice.append("8-bit sums saturate on this processor: int8 models run with their precise, slower kernels")
    return advice
