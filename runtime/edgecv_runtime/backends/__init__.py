"""Inference libraries behind one small contract, found by entry point and imported only when chosen."""

from edgecv_runtime.backends.base import Backend
from edgecv_runtime.backends.registry import backend_names, open_backend

__all__ = ["Backend", "backend_names", "open_backend"]
