"""The live page, ``/metrics`` and ``/healthz``: a small server that never makes the inference wait."""

from __future__ import annotations

from edgecv_runtime.serve.access import Access, Address
from edgecv_runtime.serve.http import Limits
from edgecv_runtime.serve.preview import Preview
from edgecv_runtime.serve.sliders import Slider, sliders_of

__all__ = ["Preview", "Slider", "sliders_of", "Limits", "Access", "Address"]
