"""Who is nearest: exact, pre-filtered and graph indexes of one interface, and the choice between them."""

from __future__ import annotations

from edgecv_runtime.gallery.search.base import SearchIndex
from edgecv_runtime.gallery.search.choice import MODES, make_index

__all__ = ["MODES", "SearchIndex", "make_index"]
