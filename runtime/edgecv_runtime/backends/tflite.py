"""TFLite models on tflite-runtime, for boards LiteRT has no wheels for."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

from edgecv_runtime.artefact import Artefact
from edgecv_runtime.backends.litert import LiteRTBackend


class TFLiteBackend(LiteRTBackend):
    """The older interpreter: the same interface, many times slower on int8, and bound to numpy 1."""

    name: ClassVar[str] = "tflite"
    package: ClassVar[str] = "tflite_runtime"
    install: ClassVar[str] = "edgecv-runtime[tflite]"
    _module: ClassVar[str] = "tflite_runtime.interpreter"
    _compiles: ClassVar[bool] = False

    def __init__(self, artefact: Artefact, **options: Any) -> None:
        super().__init__(artefact, **options)
        warnings.warn(
            "running on tflite-runtime, which is no longer developed and ran int8 models more than ten times slower "
            "than LiteRT on the same CPU; where wheels exist: pip install 'edgecv-runtime[litert]'",
            RuntimeWarning,
            stacklevel=2,
        )
