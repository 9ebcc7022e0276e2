"""The SQLite file under ill treatment: damage, full disks, locks, other versions, wrong keys, erasure."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.errors import EdgecvError, InputError, MissingFileError, NewerFormatError, OutputError
from edgecv_runtime.gallery import sqlite_file
from edgecv_runtime.gallery.sqlite_store import SQLiteStore
from edgecv_runtime.gallery.store import GalleryError, NewSample

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
OneLine = Callable[[pytest.ExceptionInfo[Any]], str]


def vectors(count: int, dimension: int = 64, seed: int = 0) -> np.ndarray:
    made: np.ndarray = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    return made


def fill(path: Path, count: int = 200, key: bytes | None = None, dimension: int = 64) -> np.ndarray:
    """``person 0`` … each with one vector."""
    rows = vectors(count, dimension)
    store = SQLiteStore(path, key=key)
    store.initialise({"dimension": str(dimension), "fingerprint": "", "created": "now"})
    store.add([NewSample(f"person {row}", vector, 1.0, 5.0) for row, vector in enumerate(rows)])
    store.close()
    return rows


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    fill(tmp_path / "faces.db")
    return tmp_path / "faces.db"


@pytest.fixture
def opened() -> Iterator[Callable[..., SQLiteStore]]:
    """``opened(path, ...)``: a store that is closed after the test."""
    stores: list[SQLiteStore] = []

    def open_it(path: Path, **options: Any) -> SQLiteStore:
        stores.append(SQLiteStore(path, **options))
        return stores[-1]

    yield open_it
    for store in stores:
        store.close()


def everything(folder: Path) -> bytes:
    """All bytes of every file in a folder."""
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


# -- what it is ----------------------------------------------------------------------------------------------------


def test_missing_folder_and_missing_file(tmp_path: Path, one_line: OneLine) -> None:
    with pytest.raises(OutputError, match="cannot create the gallery") as caught:
        SQLiteStore(tmp_path / "none" / "faces.db")
    one_line(caught)
    with pytest.raises(MissingFileError, match="no gallery at"):
        SQLiteStore(tmp_path / "faces.db", read_only=True)
    with pytest.raises(MissingFileError, match="is a folder"):
        SQLiteStore(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b"hello, this is a text\n" * 100])
def test_another_file_is_refused_and_left_alone(tmp_path: Path, content: bytes, one_line: OneLine) -> None:
    path = tmp_path / "faces.db"
    path.write_bytes(content)
    with pytest.raises(GalleryError) as caught:
        SQLiteStore(path)
    assert str(path) in one_line(caught)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused(tmp_path: Path, one_line: OneLine) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE samples(id INTEGER)")
    connection.close()
    with pytest.raises(GalleryError, match="another program's") as caught:
        SQLiteStore(path)
    one_line(caught)


def test_newer_schema_is_refused(filled: Path, one_line: OneLine) -> None:
    connection = sqlite3.connect(filled)
    connection.execute("PRAGMA user_version=2")
    connection.close()
    with pytest.raises(NewerFormatError, match="schema version 2; this edgecv reads up to 1") as caught:
        SQLiteStore(filled)
    one_line(caught)


def test_log_of_a_file_that_is_gone_is_not_replayed(tmp_path: Path, filled: Path) -> None:
    log = Path(f"{filled}-wal")
    filled.unlink()
    log.write_bytes(b"x" * 100)
    with pytest.raises(GalleryError, match="write-ahead log is there"):
        SQLiteStore(filled)
    assert not filled.exists() and log.exists()


# -- durable and shared --------------------------------------------------------------------------------------------


def test_every_commit_is_flushed(filled: Path, opened: Any) -> None:
    store = opened(filled)
    assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._connection.execute("PRAGMA secure_delete").fetchone() == (1,)


def test_two_processes_create_and_write_at_once(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import sys, numpy as np
        from edgecv_runtime.gallery.sqlite_store import SQLiteStore
        from edgecv_runtime.gallery.store import NewSample
        store = SQLiteStore(sys.argv[1])
        store.initialise({"dimension": "4"})
        for number in range(20):
            store.add([NewSample(f"{sys.argv[2]} {number}", np.ones(4, np.float32), 1.0, 0.0)] * 2)
        store.close()
    """)
    path = tmp_path / "faces.db"
    running = [subprocess.Popen([sys.executable, "-c", program, str(path), name]) for name in ("a", "b")]
    assert [process.wait() for process in running] == [0, 0]
    store = SQLiteStore(path)
    assert store.people() == {f"{name} {number}": 2 for name in "ab" for number in range(20)}
    assert len(store.load()) == 80
    store.close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["faces.db"]


def test_a_lock_that_stays_is_one_line(
    filled: Path, opened: Any, monkeypatch: pytest.MonkeyPatch, one_line: OneLine
) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.05)
    blocker = sqlite3.connect(filled, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    store = opened(filled)
    with pytest.raises(ConnectionError, match="locked for 0.05 s; nothing was changed") as caught:
        store.remove("person 1")
    one_line(caught)
    blocker.execute("ROLLBACK")
    blocker.close()
    assert store.remove("person 1") == 1


def test_removals_that_are_forgotten_make_others_load_again(
    filled: Path, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgecv_runtime.gallery.sqlite_store._LOG_ROWS", 3)
    store = opened(filled)
    since = store.revision()
    for number in range(3):
        store.remove(f"person {number}")
    assert store.changes(since).removed.tolist() == [1, 2, 3]
    store.remove("person 9")
    assert store.changes(since) is None
    assert store.changes(store.revision()).removed.tolist() == []


# -- full disks, read-only files -----------------------------------------------------------------------------------


def test_full_disk_loses_nothing(filled: Path, opened: Any, one_line: OneLine) -> None:
    store = opened(filled)
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(OutputError, match="disk is full; nothing was changed") as caught:
        store.add([NewSample(f"new {row}", vector, 1.0, 0.0) for row, vector in enumerate(vectors(500))])
    one_line(caught)
    assert len(store.people()) == 200 and store.revision() == 200
    store._connection.execute(f"PRAGMA max_page_count={pages + 100}")
    assert len(store.add([NewSample("new", vectors(1)[0], 1.0, 0.0)])) == 1
    assert len(opened(filled).load()) == 201


def test_a_limit_of_the_system_loses_nothing(filled: Path) -> None:
    """As `ulimit -f`: a write fails in the middle, and the process goes on."""
    program = textwrap.dedent("""
        import resource, sys, numpy as np
        from edgecv_runtime.errors import OutputError
        from edgecv_runtime.gallery.sqlite_store import SQLiteStore
        from edgecv_runtime.gallery.store import NewSample
        store = SQLiteStore(sys.argv[1])
        store.add([NewSample("first", np.ones(64, np.float32), 1.0, 0.0)])
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
        vector = np.arange(64, dtype=np.float32)
        done = 0
        try:
            while done < 500:
                store.add([NewSample(f"then {done}", vector, 1.0, 0.0)])
                done += 1
        except OutputError as error:
            print(error)
        print(done, len(store.load()))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        store.add([NewSample("last", np.ones(64, np.float32), 1.0, 0.0)])
    """)
    run = subprocess.run([sys.executable, "-c", program, filled], capture_output=True, text=True, check=True)
    message, counts = run.stdout.splitlines()
    assert "nothing was changed" in message and str(filled) in message
    done, there = map(int, counts.split())
    assert done < 500 and there == 201 + done
    store = SQLiteStore(filled)
    people = store.people()
    store.close()
    assert len(people) == 202 + done and "last" in people and f"then {done - 1}" in people


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to take rights away from")
def test_read_only_file_and_folder(tmp_path: Path) -> None:
    """As a user who may not write there."""
    folder = tmp_path / "medium"
    folder.mkdir()
    fill(folder / "faces.db", 5)
    program = textwrap.dedent("""
        import os, sys
        sys.path.append(os.getcwd())
        from edgecv_runtime.errors import OutputError
        from edgecv_runtime.gallery.sqlite_store import SQLiteStore
        os.setuid(65534)
        reader = SQLiteStore(sys.argv[1], read_only=True)
        print(len(reader.load()), list(reader.people())[0])
        try:
            store = SQLiteStore(sys.argv[1])
            store.remove("person 1")
        except OutputError as error:
            print(error)
    """)
    for path in (folder / "faces.db", folder):
        path.chmod(0o444 if path.is_file() else 0o555)
    for path in tmp_path.resolve().parents:  # pytest keeps its folders to their owner
        if path.is_relative_to("/tmp") and path != Path("/tmp"):
            path.chmod(0o755)
    tmp_path.chmod(0o755)
    command = [sys.executable, "-c", program, str(folder / "faces.db")]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = run.stdout.splitlines()
    assert lines[0] == "5 person 0"
    assert len(lines) == 2 and "read-only" in lines[1] and str(folder / "faces.db") in lines[1]
    assert sorted(entry.name for entry in folder.iterdir()) == ["faces.db"]


# -- damage --------------------------------------------------------------------------------------------------------


def test_truncated_file(filled: Path, one_line: OneLine) -> None:
    whole = filled.read_bytes()
    for size in (50, 1000, 16384, len(whole) // 2, len(whole) - 16384, len(whole) - 1):
        filled.write_bytes(whole[:size])
        with pytest.raises(GalleryError, match="repair|not an edgecv gallery") as caught:
            store = SQLiteStore(filled, read_only=True)
            try:
                store.load()
            finally:
                store.close()
        one_line(caught)


def test_no_flipped_bit_gives_other_people(tmp_path: Path) -> None:
    """A single flipped bit, at 400 places: either it is found, or everything is as it was."""
    path = tmp_path / "faces.db"
    rows = fill(path, 100, dimension=32)
    whole = path.read_bytes()
    generator = np.random.default_rng(11)
    found = 0
    for place in generator.integers(0, len(whole) * 8, 400).tolist():
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        path.write_bytes(content)
        try:
            store = SQLiteStore(path, read_only=True)
        except EdgecvError:
            found += 1
            continue
        try:
            samples = store.load()
            store.metadata()
        except EdgecvError as error:
            assert str(error) == " ".join(str(error).split())
            found += 1
            continue
        finally:
            store.close()
        assert samples.vectors.tobytes() == rows.tobytes()
        assert [samples.names[owner] for owner in samples.people] == [f"person {row}" for row in range(100)]
    assert found > 40  # a fifth of the file are samples; the rest is room


@pytest.mark.parametrize("key", [None, KEY])
def test_a_flipped_bit_in_each_part_of_a_sample_is_found(tmp_path: Path, key: bytes | None, one_line: OneLine) -> None:
    path = tmp_path / "faces.db"
    fill(path, 20, key)
    connection = sqlite3.connect(path)
    record = connection.execute("SELECT record FROM samples WHERE id = 7").fetchone()[0]
    connection.close()
    whole = path.read_bytes()
    start = whole.index(record)
    for offset in (0, 9, 13, 17, 60, len(record) - 1):
        content = bytearray(whole)
        content[start + offset] ^= 0x10
        path.write_bytes(content)
        store = SQLiteStore(path, key=key, read_only=True)
        with pytest.raises(GalleryError) as caught:
            store.load()
        store.close()
        one_line(caught)


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM samples WHERE id = 5",
        "DELETE FROM people WHERE person = 5",
        "UPDATE people SET label = CAST('person 6' AS BLOB) || x'20' WHERE person = 5",
        "UPDATE samples SET record = (SELECT record FROM samples WHERE id = 4) WHERE id = 5",
        "UPDATE samples SET record = x'00' WHERE id = 5",
        "UPDATE samples SET record = 'text' WHERE id = 5",
        "UPDATE state SET samples = 'many'",
        "UPDATE state SET revision = 3",
        "DELETE FROM state",
        "UPDATE metadata SET value = '32' WHERE key = 'dimension'",
        "DROP TABLE people",
    ],
)
def test_rows_that_do_not_belong_together_are_found(filled: Path, opened: Any, change: str, one_line: OneLine) -> None:
    connection = sqlite3.connect(filled)
    connection.execute(change)
    connection.commit()
    connection.close()
    with pytest.raises(GalleryError, match="is damaged .* edgecv gallery repair") as caught:
        opened(filled, read_only=True).load()
    one_line(caught)


# -- erasure -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("how", ["remove", "remove_samples"])
def test_what_is_removed_is_not_in_the_files(tmp_path: Path, how: str, key: bytes | None) -> None:
    rows = fill(tmp_path / "faces.db", 300, key)
    store = SQLiteStore(tmp_path / "faces.db", key=key)
    wanted = [f"person {row}" for row in (3, 150, 299)]
    connection = store._connection
    if key is None:
        for row, name in zip((3, 150, 299), wanted, strict=True):
            assert rows[row].tobytes() in everything(tmp_path) and name.encode() in everything(tmp_path)
    sealed = [
        connection.execute("SELECT record FROM samples WHERE id = ?", (row + 1,)).fetchone()[0] for row in (3, 150)
    ]
    for name in wanted:
        if how == "remove":
            assert store.remove(name) == 1
        else:
            assert store.remove_samples(store.samples_of(name).ids.tolist()) == 1
    content = everything(tmp_path)  # while the store is open: with its -wal and -shm
    assert {path.name for path in tmp_path.iterdir()} == {"faces.db", "faces.db-wal", "faces.db-shm"}
    for row, name in zip((3, 150, 299), wanted, strict=True):
        for start in range(0, 256, 32):
            assert rows[row].tobytes()[start : start + 32] not in content
        if name != "person 3" and name != "person 150":  # "person 3" begins "person 30" too
            assert name.encode() not in content
    for record in sealed:
        assert record[:48] not in content and record[-48:] not in content
    assert len(store.load()) == 297
    store.close()


def test_names_are_erased_from_a_directory_of_many(tmp_path: Path) -> None:
    """Names in random order make SQLite move rows between pages, whose unused parts may keep copies."""
    path = tmp_path / "faces.db"
    generator = np.random.default_rng(3)
    names = ["".join(chr(97 + letter) for letter in generator.integers(0, 26, 40)) for _ in range(3000)]
    store = SQLiteStore(path)
    store.initialise({"dimension": "2"})
    vector = np.ones(2, np.float32)
    for start in range(0, 3000, 100):
        store.add([NewSample(name, vector, 1.0, 0.0) for name in names[start : start + 100]])
    for name in names[::300]:
        assert store.remove(name) == 1
        assert name.encode() not in everything(tmp_path)
    store.rename(names[1], "Ada")
    assert names[1].encode() not in everything(tmp_path)
    store.merge(names[2], "Ada")
    assert names[2].encode() not in everything(tmp_path)
    assert len(store.load()) == 2990
    store.close()


def test_a_disk_that_fills_up_while_erasing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name "person 1" begins "person 10" too, so the file is rebuilt; the removal itself is done by then."""
    fill(tmp_path / "faces.db", 20)
    store = SQLiteStore(tmp_path / "faces.db")

    def full(*_: object) -> None:
        raise OutputError("the disk is full; nothing was changed")

    monkeypatch.setattr("edgecv_runtime.gallery.erasure.compact", full)
    with pytest.warns(UserWarning, match="the removal is done, but traces .* the disk is full; later run"):
        assert store.remove("person 1") == 1
    assert "person 1" not in store.people()
    store.close()


def test_traces_that_another_reader_holds_are_told(filled: Path, opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.05)
    store = opened(filled)
    reader = sqlite3.connect(filled, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM samples").fetchone()
    with pytest.warns(UserWarning, match="the removal is done, but .* another process holds an older state"):
        assert store.remove("person 178") == 1
    reader.execute("COMMIT")
    reader.close()
    store.compact()
    assert b"person 178" not in everything(filled.parent)


# -- encryption ----------------------------------------------------------------------------------------------------


def test_encrypted_content_is_not_readable(tmp_path: Path, opened: Any) -> None:
    path = tmp_path / "faces.db"
    rows = fill(path, 50, KEY)
    content = everything(tmp_path)
    assert b"person" + b" 1" not in content
    assert not any(row.tobytes()[:16] in content for row in rows)
    samples = opened(path, key=KEY).load()
    assert samples.vectors.tobytes() == rows.tobytes() and samples.names[7] == "person 7"


def test_keys_that_do_not_fit(tmp_path: Path, filled: Path, opened: Any, one_line: OneLine) -> None:
    path = tmp_path / "sealed.db"
    fill(path, 5, KEY)
    for options, file, message in (
        ({"key": OTHER_KEY}, path, "the key does not fit"),
        ({}, path, "is encrypted; give its key"),
        ({"key": KEY}, filled, "is not encrypted, but a key was given"),
        ({"key": OTHER_KEY, "read_only": True}, path, "the key does not fit"),
    ):
        with pytest.raises(GalleryError, match=message) as caught:
            SQLiteStore(file, **options)
        one_line(caught)
    with pytest.raises(InputError, match="must be 32 bytes; received 5 bytes"):
        SQLiteStore(tmp_path / "new.db", key=b"short")
    assert not (tmp_path / "new.db").exists()


def test_a_sealed_sample_that_was_moved_is_refused(tmp_path: Path) -> None:
    """Whoever can write the file but has no key cannot give one person another's face."""
    path = tmp_path / "faces.db"
    fill(path, 5, KEY)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE samples SET record = (SELECT record FROM samples WHERE id = 2) WHERE id = 3")
    connection.commit()
    connection.close()
    store = SQLiteStore(path, key=KEY)
    with pytest.raises(GalleryError, match="belongs to another place"):
        store.load()
    store.close()


def test_size(tmp_path: Path) -> None:
    """A vector takes 4 bytes for each value; all that belongs to it, and the room in pages, at most 150 and a sixth."""
    for dimension, most in ((128, 512 + 150), (512, 2048 * 7 / 6 + 150)):
        path = tmp_path / f"{dimension}.db"
        fill(path, 5000, dimension=dimension)
        assert path.stat().st_size / 5000 < most
        path.unlink()
