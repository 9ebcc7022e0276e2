"""Rockchip's NPUs: RKNN-Toolkit2 makes ``model.rknn`` from a float graph, calibrating on pictures by itself.

The toolkit wants versions of numpy, onnx and torch that do not go with the exporters, and takes gigabytes: it lives in
an environment of its own, whose Python ``EDGECV_RKNN_PYTHON`` names. Where there is none, the bundle carries model,
pictures and script.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Any

from edgecv_export.compilers.float_onnx import Headless, float_onnx, without_head
from edgecv_export.compilers.kit import CALIBRATION_FILE, Kit, Tool, calibration_set, finished, npy, words_of
from edgecv_runtime.bundle import Bundle
from edgecv_runtime.manifest import INTEGER_PRECISIONS
from edgecv_targets import Target

FOLDER = "rockchip"
PYTHON_VARIABLE = "EDGECV_RKNN_PYTHON"
COMPILED = f"{FOLDER}/model.rknn"

_REQUIREMENT = f"{PYTHON_VARIABLE} must name a Python with rknn-toolkit2"
_TIMEOUT = 1800.0  # seconds


def prepare(bundle: Bundle, target: Target, calibration: Any = None) -> Kit:
    """The members for a Rockchip board; with the compiled model where the toolkit is at hand.

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
        The toolkit refuses the model.
    """
    model = without_head(float_onnx(bundle.artefact().model).content)
    integer = bundle.manifest.precision in INTEGER_PRECISIONS
    members = {
        "model.onnx": model.content,
        "build.py": _script(target.id, model, integer).encode(),
        CALIBRATION_FILE: npy(calibration_set(bundle, calibration)),
    }
    said = words_of(target) | {"command": "python rockchip/build.py"}
    python = _python()
    tool = None
    if python is not None:
        tool = Tool("rknn-toolkit2", (python, "build.py"), "model.rknn", _TIMEOUT, _REQUIREMENT)
    return finished(FOLDER, members, said, tool, f"no Python with rknn-toolkit2 (set {PYTHON_VARIABLE})")


def _python() -> str | None:
    """The Python that has the toolkit."""
    named = os.environ.get(PYTHON_VARIABLE)
    if named:
        return named
    return sys.executable if importlib.util.find_spec("rknn") is not None else None


def _script(platform: str, model: Headless, integer: bool) -> str:
    """The toolkit's own steps, with this model's numbers."""
    mean, std = ([[round(value, 6) for value in values]] for values in (model.mean, model.std))
    return f'''"""Makes model.rknn from model.onnx for the {platform}, calibrated on the pictures of {CALIBRATION_FILE}.

    python build.py

Needs rknn-toolkit2 (pip install rknn-toolkit2), in an environment of its own.
"""

from pathlib import Path

import cv2
import numpy as np
from rknn.api import RKNN

here = Path(__file__).resolve().parent
listed = here / "pictures"
listed.mkdir(exist_ok=True)
for number, picture in enumerate(np.load(here / "{CALIBRATION_FILE}")):
    cv2.imwrite(str(listed / f"{{number:03d}}.png"), np.ascontiguousarray(picture[..., ::-1]))
dataset = here / "dataset.txt"
dataset.write_text("".join(f"{{path}}\\n" for path in sorted(listed.glob("*.png"))))

rknn = RKNN(verbose=False)


def must(status, step):
    if status != 0:
        raise SystemExit(f"{{step}} failed with status {{status}}")


# RGB pixels of 0 to 255: the toolkit puts (pixel - mean) / std in front of the graph.
must(rknn.config(target_platform="{platform}", mean_values={mean}, std_values={std}), "config")
must(rknn.load_onnx(model=str(here / "model.onnx")), "load_onnx")
must(rknn.build(do_quantization={integer}, dataset=str(dataset)), "build")
must(rknn.export_rknn(str(here / "model.rknn")), "export_rknn")
rknn.release()
'''
