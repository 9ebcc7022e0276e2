"""Galleries: people enrolled by the vectors of their faces, kept durably, searched quickly.

>>> from edgecv_runtime.gallery import Gallery
>>> with Gallery("faces.db") as gallery:                    # doctest: +SKIP
...     gallery.enroll("Ada", vector)
...     gallery.identify(probe).name
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # as typing.TYPE_CHECKING, without the time that importing typing takes

if TYPE_CHECKING:
    from edgecv_runtime.gallery.answers import GalleryStats as GalleryStats
    from edgecv_runtime.gallery.answers import Identification as Identification
    from edgecv_runtime.gallery.answers import Match as Match
    from edgecv_runtime.gallery.answers import Verification as Verification
    from edgecv_runtime.gallery.encryption import read_key as read_key
    from edgecv_runtime.gallery.gallery import Gallery as Gallery
    from edgecv_runtime.gallery.repair import repair_file as repair_file
    from edgecv_runtime.gallery.store import GalleryError as GalleryError
    from edgecv_runtime.gallery.store import StoreUnavailableError as StoreUnavailableError

_HOME = {
    "Gallery": "gallery",
    "Match": "answers",
    "Identification": "answers",
    "Verification": "answers",
    "GalleryStats": "answers",
    "GalleryError": "store",
    "StoreUnavailableError": "store",
    "read_key": "encryption",
    "repair_file": "repair",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'edgecv_runtime.gallery' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"edgecv_runtime.gallery.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
