"""One exporter a file. Each takes a checked `Job` and returns an artefact."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from edgecv_export.formats.job import Job
from edgecv_runtime.artefact import Artefact

_EXPORTERS = {
    "tflite": "edgecv_export.formats.tflite",
    "onnx": "edgecv_export.formats.onnx",
    "openvino": "edgecv_export.formats.openvino",
}


def exporter_of(format: str) -> Callable[[Job], Artefact]:
    """The ``export(job)`` of a format."""
    export: Callable[[Job], Artefact] = importlib.import_module(_EXPORTERS[format]).export
    return export
