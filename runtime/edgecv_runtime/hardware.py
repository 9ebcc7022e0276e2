"""Accelerators, their libraries and cameras, as the system's files tell of them; nothing is opened or started."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgecv_runtime.backends.accelerators import DELEGATES, DelegateLibrary
from edgecv_runtime.health import system_text


@dataclass(frozen=True)
class Accelerator:
    """An accelerator that was found.

    Attributes
    ----------
    name : str
    where : str
        Its device node, or its place on the bus.
    library : str
        The file that programs reach it through.
    install : str
        What brings that file; empty where the system comes with it.
    """

    name: str
    where: str
    library: str
    install: str = ""


# Device node, name, library, what brings the library.
_NODES = (
    ("dev/apex_0", "Coral Edge TPU (PCIe, M.2)", "libedgetpu.so.1", "sudo apt install libedgetpu1-std"),
    ("dev/hailo0", "Hailo", "libhailort.so", "sudo apt install hailo-all"),
    ("dev/accel/accel0", "Intel NPU", "libze_intel_npu.so.1", "Intel's NPU driver, and edgecv-runtime[openvino]"),
    ("dev/ethosu0", "Arm Ethos-U", "libethosu_delegate.so", "the delegate of the board's own Linux image"),
    ("dev/rknpu", "Rockchip NPU", "librknnrt.so", "pip install rknn-toolkit-lite2, and Rockchip's librknnrt.so"),
    ("sys/bus/platform/drivers/RKNPU", "Rockchip NPU", "librknnrt.so", "pip install rknn-toolkit-lite2, librknnrt.so"),
    ("dev/galcore", "VeriSilicon GPU and NPU (i.MX 8M Plus)", "libvx_delegate.so", "the board's own Linux image"),
    ("dev/nvhost-gpu", "NVIDIA Jetson GPU", "libnvinfer.so", "JetPack (sudo apt install tensorrt)"),
    ("dev/nvgpu/igpu0", "NVIDIA Jetson GPU", "libnvinfer.so", "JetPack (sudo apt install tensorrt)"),
    ("dev/nvidia0", "NVIDIA GPU", "libcuda.so.1", "NVIDIA's driver, and onnxruntime-gpu"),
    ("dev/mali0", "Mali GPU", "libOpenCL.so", "the board's own OpenCL driver"),
    ("dev/dri/renderD128", "GPU", "libOpenCL.so.1", "an OpenCL driver (Intel: intel-opencl-icd)"),
)
_USB = {("1a6e", "089a"): "Coral Edge TPU (USB, not yet initialised)", ("18d1", "9302"): "Coral Edge TPU (USB)"}

# Libraries beside LiteRT's delegates.
_RUNTIMES = {
    "libOpenCL.so.1": "OpenCL",
    "libnvinfer.so.10": "TensorRT",
    "libnvinfer.so.8": "TensorRT",
    "libcuda.so.1": "CUDA",
    "libhailort.so": "Hailo",
    "librknnrt.so": "Rockchip NPU",
    "libze_intel_npu.so.1": "Intel NPU",
}

# What a kernel calls the video nodes of decoders and picture processors: no cameras.
_NO_CAMERAS = ("codec", "isp", "hevc", "rpivid", "vpu", "rkvdec", "hantro", "pispbe", "jpeg", "cedrus", "wave5", "rga")


def accelerators(root: Path) -> tuple[Accelerator, ...]:
    """What is plugged in or built in.

    Parameters
    ----------
    root : Path
        ``/``, or a folder in its place.
    """
    found: dict[str, Accelerator] = {}
    for node, name, library, install in _NODES:
        if (root / node).exists():
            found.setdefault(name, Accelerator(name, f"/{node}", library, install))
    if any("NVIDIA" in name for name in found):
        found.pop("GPU", None)  # the same one, by its other node
    for device in sorted((root / "sys/bus/usb/devices").glob("*")):
        coral = _USB.get((system_text(device / "idVendor"), system_text(device / "idProduct")))
        if coral is not None:
            library, install = "libedgetpu.so.1", "sudo apt install libedgetpu1-std"
            found.setdefault(coral, Accelerator(coral, f"USB {device.name}", library, install))
    return tuple(found.values())


def libraries(root: Path) -> dict[str, tuple[str, Path]]:
    """Libraries of accelerators: file name, then what it drives and where it lies."""
    folders = list(_folders(root))
    known: list[DelegateLibrary] = list(DELEGATES)
    names = {entry.file: f"{entry.name} (delegate)" for entry in known} | _RUNTIMES
    found = {}
    for file, name in names.items():
        path = next((folder / file for folder in folders if (folder / file).exists()), None)
        if path is not None:
            found[file] = (name, path)
    return found


def has_library(root: Path, file: str) -> bool:
    """Whether a library is there, in any version."""
    stem = file.partition(".so")[0]
    return any(next(folder.glob(f"{stem}.so*"), None) is not None for folder in _folders(root))


def _folders(root: Path) -> Iterator[Path]:
    yield from root.glob("usr/lib")
    yield from root.glob("usr/lib/*-linux-gnu*")
    yield from root.glob("usr/lib/*-linux-gnu*/nvidia")
    yield from root.glob("usr/lib/*-linux-gnu*/tegra")
    yield from root.glob("usr/local/lib")
    yield from root.glob("lib")


def cameras(root: Path) -> tuple[tuple[str, str], ...]:
    """Cameras: what they call themselves and their device node.

    A node that only carries data about pictures is left out, and so are decoders, which are video nodes too.
    """
    found = []
    for node in sorted((root / "dev").glob("video*"), key=lambda path: (len(path.name), path.name)):
        about = root / "sys/class/video4linux" / node.name
        name = system_text(about / "name")
        if system_text(about / "index") not in ("", "0") or any(word in name.lower() for word in _NO_CAMERAS):
            continue
        found.append((name or "camera", f"/dev/{node.name}"))
    return tuple(found)
