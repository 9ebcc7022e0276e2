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
from edgecv_runtime.hardware import Accelerator, accelerators, cameras, has_library, libraries
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
    hardware = accelerators(root)
    return Diagnosis(
        _system(root),
        backends,
        helpers,
        tuple(Finding(one.name, True, one.where) for one in hardware),
        tuple(Finding(name, True, str(path)) for name, path in libraries(root).values()),
        tuple(Finding(name, True, node) for name, node in cameras(root)),
        machine.temperatures,
        slow,
        (*_advice(backends, helpers, slow), *_missing(root, hardware)),
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
            detail = f"{driver.version()}{_devices(name)}" if there else f"pip install '{driver.install}'"
        except EdgecvError as error:
            there, detail = False, str(error)
        except Exception as error:  # noqa: BLE001  a library that is damaged fails in its own way when it is imported
            there, detail = False, f"installed, but cannot be started: {' '.join(str(error).split())}"
        found.append(Finding(f"{name} ({', '.join(driver.formats)})", there, detail))
    return tuple(found)


def _devices(backend: str) -> str:
    """On what a library says that it can run here; it is imported for that."""
    if backend == "onnxruntime":
        import onnxruntime

        names = [name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()]
    elif backend == "openvino":
        import openvino

        names = list(openvino.Core().available_devices)
    else:
        return ""
    return f", runs on {', '.join(names)}"


def _helper(name: str) -> Finding:
    purpose, extra = _HELPERS[name]
    for package in (name, *_ALSO.get(name, ())):
        try:
            return Finding(f"{package}: {purpose}", True, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            continue
    return Finding(f"{name}: {purpose}", False, f"pip install 'edgecv-runtime[{extra}]'")


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


def _missing(root: Path, found: tuple[Accelerator, ...]) -> list[str]:
    """Accelerators that nothing can use, for want of a library."""
    return [
        f"{one.name} is here, but not {one.library}: {one.install}"
        for one in found
        if one.install and not has_library(root, one.library)
    ]
