"""A model as plain data: what another process needs to build it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecv.models.registry import Preprocessing

_KERAS = (".keras", ".h5")


@dataclass(frozen=True)
class Network:
    """A model by name or file.

    Attributes
    ----------
    name : str
        In the table, and of its folder; no two of a matrix share one.
    model : str
        Registered, or a path of a ``.keras``, ``.h5`` or ``.onnx`` file.
    weights : str, optional
        Of a registered model.
    options : Mapping
        For `edgecv.create_model`.
    preprocessing : Preprocessing, optional
        Of a file.
    task : str, optional
        Of a file.
    """

    name: str
    model: str
    weights: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    preprocessing: Preprocessing | None = None
    task: str | None = None

    @property
    def is_onnx(self) -> bool:
        """Whether it is a file that no TFLite is made from."""
        return Path(self.model).suffix.lower() == ".onnx"

    def build(self) -> Any:
        """What `edgecv_export.exporter.export` takes."""
        suffix = Path(self.model).suffix.lower()
        if suffix == ".onnx":
            return Path(self.model)
        from edgecv_export.quiet import start_tensorflow

        start_tensorflow()
        if suffix in _KERAS:
            from edgecv_export.sources.keras_file import load_keras_file

            return load_keras_file(self.model)
        from edgecv.models.factory import create_model

        return create_model(self.model, weights=self.weights, **self.options)
