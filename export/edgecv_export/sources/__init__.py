"""What an export starts from: one kind of float model a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgecv.models.registry import Preprocessing
from edgecv_export.sources.base import Source
from edgecv_export.tasks.reading import Decoder

__all__ = ["Source", "source_of"]


def source_of(
    model: Any, preprocessing: Preprocessing | None = None, task: str | None = None, decoder: Decoder | None = None
) -> Source:
    """The source for a Keras model (known from `create_model`, or by the arguments), or for the path of an ONNX file.

    Parameters
    ----------
    model : keras.Model, path of an ``.onnx`` file, or a source made of one
    preprocessing : Preprocessing, optional
        Default: the record's of a model from `create_model`.
    task : str, optional
        Default: the decoder's, else the record's, else classification.
    decoder : DecoderSpec or (name, parameters), optional
        Default: the record's, else the task's usual one.

    Raises
    ------
    InputError, UnsupportedError, MissingFileError
        See `KerasSource.of_model` and `OnnxSource.of_file`.
    """
    if isinstance(model, Source):
        return model
    if isinstance(model, str | Path):
        from edgecv_export.sources.onnx import OnnxSource

        return OnnxSource.of_file(model, preprocessing, task, decoder)
    from edgecv_export.sources.keras import KerasSource

    return KerasSource.of_model(model, preprocessing, task, decoder)
