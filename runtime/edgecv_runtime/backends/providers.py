"""ONNX Runtime's execution providers: which one a device means, how it is set up, and what it took of a model."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgecv_runtime.backends.accelerators import Placement
from edgecv_runtime.errors import AcceleratorError

SUFFIX = "ExecutionProvider"
CPU_PROVIDER = f"CPU{SUFFIX}"

# What "GPU" and "NPU" mean where several are built in: a maker's own before what runs on any maker's. TensorRT must be
# asked for by name: it spends minutes on its first start.
_KINDS = {
    "GPU": ("CUDA", "MIGraphX", "ROCM", "Dml", "CoreML", "WebGpu", "OpenVINO:GPU"),
    "NPU": ("QNN", "VitisAI", "VSINPU", "Rknpu", "OpenVINO:NPU"),
}
_TENSORRT = f"Tensorrt{SUFFIX}"
_CUDA = f"CUDA{SUFFIX}"

_RECORD = "session.record_ep_graph_assignment_info"  # since ONNX Runtime 1.24


def choose_provider(device: str, available: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The execution provider that a device name means, with the options that the name implies.

    Parameters
    ----------
    device : str
        ``"CPU"``, ``"GPU"``, ``"NPU"``, or a provider without its suffix (``"CUDA"``, ``"TensorRT"``), in any case;
        ``"OpenVINO:GPU"`` names the device behind OpenVINO.
    available : sequence of str
        As this ONNX Runtime lists them.

    Raises
    ------
    AcceleratorError
        It has no such provider.
    """
    built_in = {name.removesuffix(SUFFIX).upper(): name for name in available}
    for candidate in _KINDS.get(device.upper(), (device,)):
        name, _, behind = candidate.partition(":")
        provider = built_in.get(name.upper())
        if provider is not None and (not behind or name.upper() == "OPENVINO"):
            return provider, {"device_type": behind.upper()} if behind else {}
    names = ", ".join(name.removesuffix(SUFFIX) for name in available)
    raise AcceleratorError(f"this onnxruntime runs on {names}; received device {device!r}")


def provider_list(
    provider: str, options: Mapping[str, Any], precision: str | None, available: Sequence[str]
) -> list[Any]:
    """What to open a session with: the provider with its options, and what takes the operators that it leaves.

    TensorRT keeps its engines, so that the next start takes no minutes. It computes in float16 only where the artefact
    is no float32 one: its contract was made with float32.
    """
    if provider == CPU_PROVIDER:
        return [provider]
    chosen: dict[str, Any] = {}
    if provider == _TENSORRT:
        chosen = {"trt_engine_cache_enable": True, "trt_timing_cache_enable": True}
        chosen["trt_fp16_enable"] = precision not in (None, "fp32")
        folder = cache_folder("tensorrt")
        if folder is not None:
            chosen |= {"trt_engine_cache_path": folder, "trt_timing_cache_path": folder}
    words = {name: _word(value) for name, value in (chosen | dict(options)).items()}
    rest = [_CUDA] if provider == _TENSORRT and _CUDA in available else []
    return [(provider, words), *rest]


def _word(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def cache_folder(name: str) -> str | None:
    """Where compiled models are kept, below edgecv's own cache; None where there is no home."""
    from edgecv_runtime.kernels import memory_file  # it imports the registry, and that this module

    file = memory_file()
    return None if file is None else str(file.parent / name)


# -- what a provider took ----------------------------------------------------------------------------------------------


def prepare_count(session_class: Any, options: Any) -> Path | None:
    """Have a session record who takes which operator: by itself where it can, else in a profile in this folder."""
    if hasattr(session_class, "get_provider_graph_assignment_info"):
        options.add_session_config_entry(_RECORD, "1")
        return None
    folder = Path(tempfile.mkdtemp(prefix="edgecv-"))
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    return folder


def count_taken(session: Any, provider: str, device: str, folder: Path | None) -> Placement:
    """How many operators of a model the provider took.

    Parameters
    ----------
    session : InferenceSession
    provider : str
    device : str
        As it is to be called.
    folder : Path or None
        As from `prepare_count`; it is removed.
    """
    providers = _recorded(session) if folder is None else _profiled(session, folder)
    taken = sum(count for name, count in providers.items() if name != CPU_PROVIDER)
    if provider not in providers:
        taken = 0
    return Placement(device, taken, sum(providers.values()))


def _recorded(session: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in session.get_provider_graph_assignment_info():
        found[part.ep_name] = found.get(part.ep_name, 0) + len(part.get_nodes())
    return found


def _profiled(session: Any, folder: Path) -> dict[str, int]:
    """By one run on zeros: what was fused into one operator counts as one."""
    try:
        session.run(None, {node.name: _zeros(node) for node in session.get_inputs()})
    finally:
        file = Path(session.end_profiling())
        events = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
        file.unlink(missing_ok=True)
        folder.rmdir()
    found: dict[str, int] = {}
    for event in events:
        name = event.get("args", {}).get("provider") if event.get("cat") == "Node" else None
        if name:
            found[name] = found.get(name, 0) + 1
    return found


def _zeros(node: Any) -> Any:
    kind = node.type.removeprefix("tensor(").removesuffix(")")
    shape = [size if isinstance(size, int) else 1 for size in node.shape]
    return np.zeros(shape, {"float": np.float32, "double": np.float64}.get(kind, kind))
