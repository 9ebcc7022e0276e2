"""edgecv: from a Keras vision model to a proven bundle on the device.

Names resolve on first use, so that importing edgecv loads neither numpy nor Keras.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # as typing.TYPE_CHECKING, without the time that importing typing takes

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from edgecv.models.factory import create_model
    from edgecv.models.registry import list_models
    from edgecv_runtime._version import __version__

    # They live in edgecv-export, which depends on this package and not the other way round.
    export: Callable[..., Any]
    wrap: Callable[..., Any]
else:
    _HOMES = {
        "__version__": "edgecv_runtime._version",
        "create_model": "edgecv.models.factory",
        "list_models": "edgecv.models.registry",
    }
    _EXPORTERS = ("export", "wrap")

    def __getattr__(name: str) -> object:
        if name in _HOMES:
            return getattr(importlib.import_module(_HOMES[name]), name)
        if name in _EXPORTERS:
            from edgecv_runtime._require import require

            return getattr(require("edgecv_export", install="edgecv-export", purpose=f"edgecv.{name}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted([*globals(), *_HOMES, *_EXPORTERS])


__all__ = ["create_model", "export", "list_models", "wrap", "__version__"]
