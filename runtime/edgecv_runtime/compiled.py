"""Which of a bundle's artefacts suits a request: the portable one, or one that was made for an accelerator.

`edgecv compile` puts them beside the portable one. A file with a vendor's custom operator is taken where the one
delegate is asked for that knows it, and nowhere else. A float graph for TensorRT is taken with that provider; with it
comes the table of ranges from which TensorRT computes in int8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecv_runtime.artefact import Artefact
from edgecv_runtime.backends.accelerators import DELEGATES, known_delegate
from edgecv_runtime.backends.providers import cache_folder
from edgecv_runtime.bundle import Bundle, write_atomically
from edgecv_runtime.errors import AcceleratorError, OutputError

COMPILED_MEMBER = "compiled.tflite"
TENSORRT_FOLDER = "tensorrt"
TENSORRT_MODEL = f"{TENSORRT_FOLDER}/model.onnx"
TENSORRT_CALIBRATION = f"{TENSORRT_FOLDER}/calibration.cache"


@dataclass(frozen=True)
class Special:
    """An artefact for an accelerator, and what it is to be opened with.

    Attributes
    ----------
    artefact : Artefact
    delegate : str or None
    options : mapping
        Settings of the device; what the user gave goes before them.
    """

    artefact: Artefact
    delegate: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def special_artefact(bundle: Bundle, backend: str | None, device: str | None, delegate: str | None) -> Special | None:
    """The artefact that was made for what is asked for; None where the portable one is meant.

    Parameters
    ----------
    bundle : Bundle
    backend, device, delegate : str or None
        As in `load`.

    Raises
    ------
    AcceleratorError
        TensorRT's table has to be put beside its engines, and cannot be written there.
    """
    name = "" if device is None else device.upper()
    if name == "TENSORRT" and backend in (None, "onnxruntime"):
        return _for_tensorrt(bundle)
    return _for_delegate(bundle, name, delegate)


def _for_delegate(bundle: Bundle, device: str, delegate: str | None) -> Special | None:
    content = bundle.member(COMPILED_MEMBER)
    if content is None:
        return None
    library = next((entry for entry in DELEGATES if entry.operator and entry.operator.encode() in content), None)
    if library is None:
        return None
    if delegate is not None:
        return Special(Artefact("tflite", content), delegate) if known_delegate(delegate) == library else None
    return Special(Artefact("tflite", content), library.file) if device == library.device else None


def _for_tensorrt(bundle: Bundle) -> Special | None:
    content = bundle.member(TENSORRT_MODEL)
    if content is None:
        return None
    table = bundle.member(TENSORRT_CALIBRATION)
    artefact = Artefact("onnx", content)
    home = cache_folder(TENSORRT_FOLDER)
    if table is None or home is None:
        return Special(artefact)
    # One folder for each model: TensorRT looks for the table by its name, where the engines are.
    folder = Path(home, artefact.sha256()[:16])
    file = folder / Path(TENSORRT_CALIBRATION).name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not file.is_file() or file.read_bytes() != table:
            write_atomically(file, table)
    except (OSError, OutputError) as error:
        reason = " ".join(str(error).split())
        raise AcceleratorError(f"TensorRT's table of ranges must be written to {folder}: {reason}") from None
    options = {
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_path": str(folder),
        "trt_int8_enable": True,
        "trt_int8_calibration_table_name": file.name,
        "trt_int8_use_native_calibration_table": True,
    }
    return Special(artefact, options=options)
