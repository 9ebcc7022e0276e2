"""Models and their records. Names resolve on first use, so that importing this folder loads no Keras."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgecv.models.factory import architecture_of, create_model
    from edgecv.models.registry import ModelRecord, get_record, list_models, records
else:
    _HOMES = {
        "ModelRecord": "registry",
        "get_record": "registry",
        "list_models": "registry",
        "records": "registry",
        "architecture_of": "factory",
        "create_model": "factory",
    }

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)

    def __dir__() -> list[str]:
        return sorted([*globals(), *_HOMES])


__all__ = ["ModelRecord", "architecture_of", "create_model", "get_record", "list_models", "records"]
