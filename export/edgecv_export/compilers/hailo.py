"""Hailo: the Dataflow Compiler parses, quantizes and compiles a float graph; it is found on PATH or not at all."""

from __future__ import annotations

import re
import shlex
import shutil
from typing import Any

from edgecv_export.compilers.float_onnx import Headless, float_onnx, without_head
from edgecv_export.compilers.kit import CALIBRATION_FILE, Kit, Tool, calibration_set, finished, npy, words_of
from edgecv_runtime.bundle import Bundle
from edgecv_targets import Target

FOLDER = "hailo"
COMPILED = f"{FOLDER}/model.hef"

_TOOL = Tool("hailo", ("/bin/sh", "build.sh"), "model.hef", 7200.0, "hailo's script needs a shell")
_PICTURES = 1024  # fewer, and the compiler leaves out steps that accuracy depends on


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
        "build.sh": _script(commands).encode(),
    }
    said = words_of(target) | {"command": "sh hailo/build.sh"}
    tool = None if shutil.which("hailo") is None else _TOOL
    return finished(FOLDER, members, said, tool, "no hailo on PATH")


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
