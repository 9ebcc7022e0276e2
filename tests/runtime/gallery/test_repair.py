"""What a repair saves, and that it says what it could not."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.errors import MissingFileError, OutputError
from edgecv_runtime.gallery.repair import repair_file
from edgecv_runtime.gallery.sqlite_store import SQLiteStore
from edgecv_runtime.gallery.store import GalleryError, NewSample

KEY = bytes(range(32))
PAGE = 16384


def fill(path: Path, people: int = 100, each: int = 2, key: bytes | None = None, dimension: int = 64) -> np.ndarray:
    rows: np.ndarray = np.random.default_rng(5).standard_normal((people * each, dimension)).astype(np.float32)
    store = SQLiteStore(path, key=key)
    store.initialise({"dimension": str(dimension), "fingerprint": "abc", "created": "then", "distance": "cosine"})
    store.add([NewSample(f"person {row // each}", vector, 0.5, float(row)) for row, vector in enumerate(rows)])
    store.close()
    return rows


def everyone(path: Path, key: bytes | None = None) -> dict[str, list[bytes]]:
    store = SQLiteStore(path, key=key, read_only=True)
    samples = store.load()
    store.close()
    found: dict[str, list[bytes]] = {}
    for owner, vector in zip(samples.people, samples.vectors, strict=True):
        found.setdefault(samples.names[owner], []).append(vector.tobytes())
    return found


@pytest.mark.parametrize("key", [None, KEY])
def test_whole_gallery(tmp_path: Path, key: bytes | None) -> None:
    fill(tmp_path / "old.db", key=key)
    before = (tmp_path / "old.db").read_bytes()
    found = repair_file(tmp_path / "old.db", tmp_path / "new.db", key)
    assert found.complete and (found.samples, found.people, found.lost_samples) == (200, 100, 0)
    assert everyone(tmp_path / "new.db", key) == everyone(tmp_path / "old.db", key)
    store = SQLiteStore(tmp_path / "new.db", key=key)
    metadata = store.metadata()
    assert (metadata["fingerprint"], metadata["created"], metadata["dimension"]) == ("abc", "then", "64")
    assert store.load().added.tolist() == list(range(200)) and set(store.load().quality.tolist()) == {0.5}
    store.close()
    assert (tmp_path / "old.db").read_bytes() == before


def test_committed_log_of_a_killed_process_counts(tmp_path: Path) -> None:
    """A copy of file and log while the gallery is open: as after a power cut."""
    rows = fill(tmp_path / "live.db", 10, 1)
    store = SQLiteStore(tmp_path / "live.db")
    store.add([NewSample("late", rows[0] + 1, 1.0, 0.0)])
    store.remove("person 3")
    store.add([NewSample("later", rows[0] + 2, 1.0, 0.0)])
    for suffix in ("", "-wal"):
        (tmp_path / f"copy.db{suffix}").write_bytes((tmp_path / f"live.db{suffix}").read_bytes())
    store.close()
    log = tmp_path / "copy.db-wal"
    content = bytearray((tmp_path / "copy.db").read_bytes())
    assert log.stat().st_size > 0
    content[20] ^= 1  # the file itself no longer opens
    (tmp_path / "copy.db").write_bytes(content)
    found = repair_file(tmp_path / "copy.db", tmp_path / "new.db")
    assert found.lost_samples == 0
    names = {f"person {row}" for row in range(10) if row != 3} | {"late", "later"}
    assert set(everyone(tmp_path / "new.db")) == names


@pytest.mark.parametrize("size", [0.5, 0.7, 0.9])
def test_truncated_file(tmp_path: Path, size: float) -> None:
    fill(tmp_path / "old.db", 300)
    truth = everyone(tmp_path / "old.db")
    whole = (tmp_path / "old.db").read_bytes()
    (tmp_path / "old.db").write_bytes(whole[: int(len(whole) * size)])
    found = repair_file(tmp_path / "old.db", tmp_path / "new.db")
    saved = everyone(tmp_path / "new.db")
    assert not found.complete and found.lost_samples == 600 - found.samples > 0
    assert found.samples == sum(map(len, saved.values())) > 600 * (size - 0.4)
    nameless = set(found.nameless)
    for name, vectors in saved.items():
        if name not in nameless:
            assert set(vectors) <= set(truth[name])
    assert sum(found.nameless.values()) == sum(len(saved[name]) for name in nameless)


def test_every_page_overwritten_in_turn(tmp_path: Path) -> None:
    """Whatever page is lost, the rest is saved, nobody gets another's vector, and the loss is told."""
    fill(tmp_path / "old.db")
    truth = everyone(tmp_path / "old.db")
    whole = (tmp_path / "old.db").read_bytes()
    least = 200
    for page in range(len(whole) // PAGE):
        content = bytearray(whole)
        content[page * PAGE : (page + 1) * PAGE] = b"\xa5" * PAGE
        (tmp_path / "bad.db").write_bytes(content)
        target = tmp_path / f"new{page}.db"
        found = repair_file(tmp_path / "bad.db", target)
        saved = everyone(target)
        least = min(least, found.samples)
        assert found.samples == sum(map(len, saved.values()))
        for name, vectors in saved.items():
            if name not in found.nameless:
                assert set(vectors) <= set(truth[name])
        if found.samples < 200 or found.nameless:
            assert not found.complete
        if found.lost_samples:
            assert found.lost_samples == 200 - found.samples == sum(found.incomplete.values())
    assert 100 < least < 200


def test_flipped_bits_lose_only_what_they_hit(tmp_path: Path) -> None:
    rows = fill(tmp_path / "old.db")
    content = bytearray((tmp_path / "old.db").read_bytes())
    for row in (10, 11, 50):
        content[content.index(rows[row].tobytes()) + 20] ^= 4
    (tmp_path / "old.db").write_bytes(content)
    found = repair_file(tmp_path / "old.db", tmp_path / "new.db")
    assert (found.samples, found.lost_samples, found.people) == (197, 3, 99)
    assert found.incomplete == {"person 5": 2, "person 25": 1}
    assert found.to_dict()["complete"] is False


def test_long_vectors_that_span_pages(tmp_path: Path) -> None:
    rows = fill(tmp_path / "old.db", 3, 1, dimension=9000)
    found = repair_file(tmp_path / "old.db", tmp_path / "new.db")
    assert found.complete
    assert everyone(tmp_path / "new.db") == {f"person {row}": [rows[row].tobytes()] for row in range(3)}


def test_settings_that_are_lost_are_named(tmp_path: Path) -> None:
    fill(tmp_path / "old.db")
    connection = sqlite3.connect(tmp_path / "old.db")
    connection.execute("DELETE FROM metadata")
    connection.commit()
    connection.close()
    found = repair_file(tmp_path / "old.db", tmp_path / "new.db")
    assert found.settings_lost == ("dimension", "fingerprint", "created") and not found.complete
    assert found.samples == 200 and len(everyone(tmp_path / "new.db")) == 100


def test_refused(tmp_path: Path, one_line: Any) -> None:
    fill(tmp_path / "sealed.db", 5, key=KEY)
    fill(tmp_path / "plain.db", 5)
    (tmp_path / "text").write_text("nothing of a gallery " * 1000)
    for source, target, key, kind, message in (
        ("none.db", "new.db", None, MissingFileError, "no gallery at"),
        ("plain.db", "sealed.db", None, OutputError, "never overwrites"),
        ("text", "new.db", None, GalleryError, "nothing in .* can be saved"),
        ("sealed.db", "new.db", None, GalleryError, "is encrypted; give its key"),
        ("sealed.db", "new.db", bytes(32), GalleryError, "key does not fit"),
        ("plain.db", "new.db", KEY, GalleryError, "is not encrypted"),
        ("plain.db", "none/new.db", None, OutputError, "cannot create"),
    ):
        with pytest.raises(kind, match=message) as caught:
            repair_file(tmp_path / source, tmp_path / target, key)
        one_line(caught)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain.db", "sealed.db", "text"]
