"""NVIDIA Jetson: TensorRT builds its engine on the board, from a float model and our table of ranges.

TensorRT knows symmetric int8 only, while our int8 artefacts are asymmetric where that is more exact. The bundle
therefore gets the float graph besides (``tensorrt/model.onnx``, which the runtime takes for ``--device TensorRT``),
and the ranges of our calibration in the format of TensorRT's own calibration cache.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

from edgecv_export.compilers.float_onnx import Range, float_onnx
from edgecv_export.compilers.kit import Kit, in_folder, words_of
from edgecv_runtime.bundle import Bundle
from edgecv_runtime.compiled import TENSORRT_CALIBRATION, TENSORRT_FOLDER, TENSORRT_MODEL
from edgecv_runtime.manifest import INTEGER_PRECISIONS
from edgecv_targets import Target

_HEADER = "TRT-8501-EntropyCalibration2"
_LEVELS = 127.0  # TensorRT's int8 is symmetric: -127 to 127


def calibration_cache(ranges: Mapping[str, Range]) -> bytes:
    """Ranges as TensorRT's calibration cache holds them.

    A line for each tensor: its name and its scale, a float32 as hexadecimal digits of its big-endian bytes. The scale
    is of symmetric int8, so the larger end of a range decides.

    Parameters
    ----------
    ranges : mapping of str to (low, high)
    """
    lines = [_HEADER]
    for name, (low, high) in ranges.items():
        scale = max(abs(low), abs(high)) / _LEVELS
        lines.append(f"{name}: {struct.pack('>f', scale).hex()}")
    return ("\n".join(lines) + "\n").encode()


def prepare(bundle: Bundle, target: Target, calibration: Any = None) -> Kit:
    """The members for a Jetson: model, table of ranges, settings and the script that builds the engine there.

    Parameters
    ----------
    bundle : Bundle
    target : Target
    calibration : None
        Not used: the ranges are those that the bundle was quantized with.
    """
    model = float_onnx(bundle.artefact().model)
    int8 = "int8" in target.precisions and bundle.manifest.precision in INTEGER_PRECISIONS and bool(model.ranges)
    half = bundle.manifest.precision != "fp32"
    members = {TENSORRT_MODEL.partition("/")[2]: model.content}
    if int8:
        members[TENSORRT_CALIBRATION.partition("/")[2]] = calibration_cache(model.ranges)
    members["build.sh"] = _script(half, int8).encode()
    members["provider_options.json"] = (json.dumps(_options(half, int8), indent=2) + "\n").encode()
    said = words_of(target) | {
        "compiled": False,
        "int8": int8,
        "fp16": half,
        "note": "prepared, not compiled here: TensorRT builds its engine on the board "
        "(tensorrt/build.sh, or the first start with --device TensorRT)",
    }
    return Kit(in_folder(TENSORRT_FOLDER, members), said)


def _options(half: bool, int8: bool) -> dict[str, dict[str, Any]]:
    """Settings of ONNX Runtime's providers, for programs that do not use edgecv-runtime, which sets them itself."""
    tensorrt: dict[str, Any] = {
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": "engines",
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": "engines",
        "trt_fp16_enable": half,
    }
    if int8:
        # The table is looked for in the engine cache's folder.
        tensorrt |= {
            "trt_int8_enable": True,
            "trt_int8_calibration_table_name": TENSORRT_CALIBRATION.partition("/")[2],
            "trt_int8_use_native_calibration_table": True,
        }
    return {"TensorrtExecutionProvider": tensorrt, "CUDAExecutionProvider": {"cudnn_conv_algo_search": "HEURISTIC"}}


def _script(half: bool, int8: bool) -> str:
    """A shell script that builds an engine beside itself."""
    cache = TENSORRT_CALIBRATION.partition("/")[2]
    flags = [*(["--fp16"] if half else []), *(["--int8", f'--calib="$work/{cache}"'] if int8 else [])]
    version = f"""
# The table's first line names a version of TensorRT, which refuses another's: this board's is put there.
version=$("$trtexec" 2>&1 | sed -n 's/.*TensorRT v\\([0-9][0-9]*\\).*/\\1/p' | head -n 1)
sed "1s/TRT-[0-9]*/TRT-${{version:-8501}}/" "$here/{cache}" > "$work/{cache}"
"""
    return f"""#!/bin/sh
# Builds model.engine from model.onnx with the TensorRT of the board that this runs on. An engine fits that GPU and that
# version of TensorRT only.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
trtexec=${{TRTEXEC:-$(command -v trtexec || echo /usr/src/tensorrt/bin/trtexec)}}
if [ ! -x "$trtexec" ]; then
    echo "trtexec is not here: it comes with JetPack (sudo apt install tensorrt); or set TRTEXEC" >&2
    exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{version.lstrip() if int8 else ""}"$trtexec" --onnx="$here/model.onnx" --saveEngine="$work/model.engine" \\
    --timingCacheFile="$here/timing.cache" {" ".join(flags)} "$@"
mv "$work/model.engine" "$here/model.engine"
echo "$here/model.engine"
"""
