"""Who prepares a bundle for which vendor's tool."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgecv_export.compilers import hailo, rockchip, tensorrt
from edgecv_export.compilers.kit import Kit
from edgecv_runtime.bundle import Bundle
from edgecv_targets import Target

Maker = Callable[[Bundle, Target, Any], Kit]

_MAKERS: dict[str, Maker] = {
    "trtexec": tensorrt.prepare,
    "rknn-toolkit2": rockchip.prepare,
    "hailo": hailo.prepare,
}


def maker_of(target: Target) -> Maker | None:
    """Who prepares ONNX bundles for a device's tool; None where nobody does."""
    if target.tool is None or target.tool.input_format != "onnx":
        return None
    return _MAKERS.get(target.tool.name)
