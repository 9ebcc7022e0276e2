"""The tables of a gallery's SQLite file, and how such a file comes into being: all at once or not at all."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import zlib
from contextlib import closing, suppress
from pathlib import Path

from edgecv_runtime.errors import OutputError
from edgecv_runtime.gallery.store import GalleryError

SCHEMA_VERSION = 1
APPLICATION_ID = 0x65634756  # "ecGV", where SQLite keeps what a file is for

# A 512-d sample takes 2,076 bytes: seven fit a page of 16 KiB, where only one would fit SQLite's default of 4 KiB.
PAGE_SIZE = 16384

# `state` has one row. Its revision is also the id of the newest sample: one counter numbers samples and changes, so
# what was added after revision r is what has an id above r. `log` names the samples that were removed or given
# another name, by revision; rows up to state.log_floor were thrown away.
_TABLES = """
CREATE TABLE metadata(key TEXT PRIMARY KEY, value TEXT NOT NULL, checksum INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE state(
    one INTEGER PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL,
    next_person INTEGER NOT NULL,
    people INTEGER NOT NULL,
    samples INTEGER NOT NULL,
    log_floor INTEGER NOT NULL
);
INSERT INTO state VALUES(1, 0, 1, 0, 0, 0);
CREATE TABLE people(
    person INTEGER PRIMARY KEY,
    label BLOB NOT NULL UNIQUE,
    sealed BLOB NOT NULL,
    checksum INTEGER NOT NULL
);
CREATE TABLE samples(id INTEGER PRIMARY KEY, person INTEGER NOT NULL, record BLOB NOT NULL);
CREATE INDEX samples_of_person ON samples(person);
CREATE TABLE log(revision INTEGER NOT NULL, sample INTEGER NOT NULL);
"""


def person_checksum(person: int, label: bytes, sealed: bytes) -> int:
    """CRC-32 of label and sealed name, begun with the person's number so that rows cannot change places."""
    return zlib.crc32(sealed, zlib.crc32(label, person))


def metadata_checksum(key: str, value: str) -> int:
    return zlib.crc32(value.encode(), zlib.crc32(key.encode() + b"\0"))


def create_file(path: Path) -> None:
    """Make an empty gallery appear under `path`, complete; where another process was faster, its file stays.

    Raises
    ------
    OutputError
        The folder is not there or cannot be written, or the disk is full.
    GalleryError
        The remains of another gallery lie beside it.
    """
    log = Path(f"{path}-wal")
    if log.exists() and log.stat().st_size > 0:  # SQLite would replay it into the new file
        raise GalleryError(f"{path} is missing, but its write-ahead log is there: bring it back, or delete {log}")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            temporary = Path(folder, "new")
            _write_empty(temporary)
            _put_in_place(temporary, path)
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"cannot create the gallery {path}: {reason}; nothing was left behind") from None


def _write_empty(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size={PAGE_SIZE}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(_TABLES)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    _flush(path)


def _put_in_place(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)  # unlike a rename, it never replaces a gallery
    except FileExistsError:
        return
    except OSError:  # a file system without hard links, as on many memory cards
        if path.exists():
            return
        temporary.replace(path)
    _flush(path.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems refuse it for a folder
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
