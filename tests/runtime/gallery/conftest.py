"""Stores for the conformance suite, and samples that are made of plain numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest

from edgecv_runtime.gallery.store import NewSample, Store

DIMENSION = 4

# Each name has a fixture NAME_place: a fresh, empty place to keep a gallery in, which can be opened again and again.
# A new store joins the suite by its name here and its fixture below.
PLACES = ["sqlite", "sqlite_encrypted"]


class Place(Protocol):
    """Where one gallery is kept: the arguments that `Gallery` takes for it, and its store."""

    location: str
    key: bytes | None

    def open(self, read_only: bool = False) -> Store: ...


class SQLitePlace:
    def __init__(self, path: Path, key: bytes | None) -> None:
        self.location, self.key = str(path), key

    def open(self, read_only: bool = False) -> Store:
        from edgecv_runtime.gallery.sqlite_store import SQLiteStore

        return SQLiteStore(self.location, key=self.key, read_only=read_only)


@pytest.fixture
def sqlite_place(tmp_path: Path) -> Place:
    return SQLitePlace(tmp_path / "faces.db", None)


@pytest.fixture
def sqlite_encrypted_place(tmp_path: Path) -> Place:
    return SQLitePlace(tmp_path / "faces.db", bytes(range(32)))


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found


@pytest.fixture
def open_store(place: Place) -> Any:
    """``open_store()``: the same gallery, opened once more; with dimension 4. All are closed after the test."""
    opened: list[Store] = []

    def open_it(read_only: bool = False) -> Store:
        store = place.open(read_only)
        opened.append(store)
        if not read_only:
            store.initialise({"dimension": str(DIMENSION)})
        return store

    yield open_it
    for store in opened:
        store.close()


@pytest.fixture
def open_gallery(place: Place) -> Any:
    """``open_gallery(...)``: as `Gallery`, on the place; it asks the store before every question. Closed at the end."""
    from edgecv_runtime.gallery.gallery import Gallery

    opened: list[Gallery] = []

    def open_it(**options: Any) -> Gallery:
        gallery = Gallery(place.location, key=place.key, **({"refresh": 0, "threshold": 0.5} | options))
        opened.append(gallery)
        return gallery

    yield open_it
    for gallery in opened:
        gallery.close()


@pytest.fixture
def sample() -> Callable[..., NewSample]:
    """``sample("Ada", 3)``: the vector is (3, 3.25, 3.5, 3.75), quality 0.5, added at 1,000 + 3 seconds."""

    def make(person: str, value: float, quality: float = 0.5) -> NewSample:
        vector = np.float32(value) + np.arange(DIMENSION, dtype=np.float32) / 4
        return NewSample(person, vector, quality, 1000.0 + value)

    return make
