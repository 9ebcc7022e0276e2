"""Hailo: the Dataflow Compiler parses, quantizes and compiles a float graph; it is found on PATH or not at all."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from edgecv_export.compilers.float_onnx import Headless, float_onnx, without_head
from edgecv_export.compilers.kit import CALIBRATION_FILE, Kit, calibration_set, in_folder, npy, unpack, words_of
from edgecv_runtime.bundle import Bundle
from edgecv_runtime.errors import BackendError
from edgecv_targets import Target

FOLDER = "hailo"
COMPILED = f"{FOLDER}/model.hef"

_PICTURES = 1024  # fewer, and the compiler leaves out steps that accuracy depends on
_TIMEOUT = 7200.0  # seconds


def prepare(bundle: Bundle, target: Target, calibration: Any = None) -> Kit:
    """The members for a Hailo; with the compiled model where its compiler is on PATH.

    Parameters
    ----------
    bundle : Bundle
    target : Target
    calibration : folder or sequence of pictures, optional
        Default: those of the parity contract.

    Raises
    ------
    UnsupportedError
        The graph does not begin with pixels.
    BackendError
        The compiler refuses the model.
    """
    model = without_head(float_onnx(bundle.artefact().model).content)
    commands = steps(re.sub(r"\W", "_", bundle.manifest.name), _architecture(target))
    members = {
        "model.onnx": model.content,
        "model_script.alls": _model_script(model).encode(),
        CALIBRATION_FILE: npy(calibration_set(bundle, calibration, _PICTURES)),
        "build.sh": "\n".join(
            ["#!/bin/sh", "set -eu", 'cd "$(dirname "$0")"', *map(shlex.join, commands), ""]
        ).encode(),
    }
    said = words_of(target) | {"command": "sh hailo/build.sh"}
    if shutil.which("hailo") is None:
        note = "prepared, not compiled here: no hailo on PATH"
        return Kit(in_folder(FOLDER, members), said | {"compiled": False, "note": note})
    with tempfile.TemporaryDirectory() as name:
        unpack(members, Path(name))
        compiled = _run(Path(name))
    return Kit(in_folder(FOLDER, members) | {COMPILED: compiled}, said | {"compiled": True, "size": len(compiled)})


def steps(network: str, architecture: str) -> list[list[str]]:
    """The command lines: from ``model.onnx`` to ``model.hef``.

    Parameters
    ----------
    network : str
        Letters, digits and underscores.
    architecture : str
        As the compiler calls it, for example ``"hailo8l"``.
    """
    hardware = ["--hw-arch", architecture]
    parsed, quantized = "model.har", "model_quantized.har"
    calibration = ["--calib-set-path", CALIBRATION_FILE, "--model-script", "model_script.alls"]
    return [
        ["hailo", "parser", "onnx", "model.onnx", "--net-name", network, "--har-path", parsed, *hardware, "-y"],
        ["hailo", "optimize", parsed, *calibration, "--output-har-path", quantized, *hardware],
        ["hailo", "compiler", quantized, "--output-dir", ".", *hardware],
        ["mv", f"{network}.hef", "model.hef"],
    ]


def _script(commands: list[list[str]]) -> str:
    return "\n".join(["#!/bin/sh", "set -eu", 'cd "$(dirname "$0")"', *map(shlex.join, commands), ""])


def _architecture(target: Target) -> str:
    words = [] if target.tool is None else target.tool.command.split()
    return words[words.index("--hw-arch") + 1] if "--hw-arch" in words else "hailo8l"


def _model_script(model: Headless) -> str:
    """Normalization in front of the graph, so that the chip takes pixels."""
    mean, std = ([round(value, 6) for value in values] for values in (model.mean, model.std))
    return f"normalization1 = normalization({mean}, {std})\n"


def _run(folder: Path) -> bytes:
    try:
        ran = subprocess.run(
            ["/bin/sh", "build.sh"],
            cwd=folder, capture_output=True, text=True, errors="replace", check=False, timeout=_TIMEOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BackendError(f"hailo has not come to an end within {_TIMEOUT:g} s") from None
    made = folder / "model.hef"
    if ran.returncode != 0 or not made.is_file():
        lines = [line.strip() for line in (ran.stdout + ran.stderr).splitlines() if line.strip()]
        raise BackendError(f"hailo refuses the model: {lines[-1] if lines else f'status {ran.returncode}'}")
    return made.read_bytes()
