"""What an export starts from: one kind of float model a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgecv.models.registry import Preprocessing
from edgecv_export.sources.base import Source

__all__ = ["Source", "source_of"]


def source_of(model: Any, preprocessing: Preprocessing | None = None, task: str | None = None) -> Source:
    """The source for a Keras model (known from `create_model`, or by the arguments), or for the path of an ONNX file.

    Raises
    ------
    InputError, UnsupportedError, MissingFileError
        See `KerasSource.of_model` and `OnnxSource.of_file`.
    """
    if isinstance(model, str | Path):
        from edgecv_export.sources.onnx import OnnxSource

        return OnnxSource.of_file(model, preprocessing, task)
    from edgecv_export.sources.keras import KerasSource

    return KerasSource.of_model(model, preprocessing, task)
