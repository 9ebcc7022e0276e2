"""Keras to OpenVINO IR, by way of our ONNX: one lineage, so both formats answer alike.

OpenVINO reads quantize-dequantize pairs as its own quantization, with int8 kernels on the CPU.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from edgecv_export.formats import onnx as onnx_format
from edgecv_export.formats.job import Job
from edgecv_export.plan import Plan
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.errors import UnsupportedError


def export(job: Job) -> Artefact:
    """Convert one job.

    Raises
    ------
    UnsupportedError
        An operation has no OpenVINO counterpart.
    """
    half = job.plan.precision == "fp16"
    # OpenVINO stores float16 weights itself, and computes in what the device does best.
    precision = "fp32" if half else job.plan.precision
    onnx = onnx_format.export(replace(job, plan=Plan("onnx", precision)))
    try:
        return from_onnx(onnx.model, half=half)
    except RuntimeError as error:
        reason = [line.strip() for line in str(error).splitlines() if line.strip()][-1]
        raise UnsupportedError(f"OpenVINO cannot take this model at {job.plan.precision}: {reason}") from error


def from_onnx(content: bytes, *, half: bool = False) -> Artefact:
    """Convert ONNX bytes to IR.

    Parameters
    ----------
    content : bytes
    half : bool
        Store weights in float16.
    """
    import openvino

    model = openvino.Core().read_model(model=content, weights=b"")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.xml")
        openvino.save_model(model, path, compress_to_fp16=half)
        return Artefact("openvino", path.read_bytes(), path.with_suffix(".bin").read_bytes())
