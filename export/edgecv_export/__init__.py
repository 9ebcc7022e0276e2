"""edgecv on the workstation: from a Keras model, or a foreign one, to a proven bundle.

>>> import edgecv
>>> model = edgecv.create_model("lenet5", weights="digits")                          # doctest: +SKIP
>>> edgecv.export(model, "lenet5.edgecv", format="onnx", precision="fp32")           # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from edgecv_runtime._version import __version__

if TYPE_CHECKING:
    from edgecv_export.exporter import Exported as Exported
    from edgecv_export.exporter import export as export
    from edgecv_export.wrapping import wrap as wrap

_HOME = {"export": "exporter", "Exported": "exporter", "wrap": "wrapping"}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'edgecv_export' has no attribute {name!r}")
    return getattr(importlib.import_module(f"edgecv_export.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
