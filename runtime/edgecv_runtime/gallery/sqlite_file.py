"""Opening a gallery's SQLite file, and its errors in the words of edgecv."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgecv_runtime.errors import EdgecvError, MissingFileError, NewerFormatError, OutputError
from edgecv_runtime.gallery.sqlite_schema import APPLICATION_ID, SCHEMA_VERSION, create_file
from edgecv_runtime.gallery.store import GalleryError, StoreUnavailableError

BUSY_SECONDS = 30.0  # how long to wait for another process that writes

_MAGIC = b"SQLite format 3\x00"
_LOG_BYTES = 4 << 20  # the write-ahead log is cut back to this


def damaged(path: Path, reason: object) -> GalleryError:
    return GalleryError(
        f"the gallery {path} is damaged ({reason}); do not write to it: "
        f"edgecv gallery repair {path.name} -o NEW.db saves what can be read"
    )


def connect(path: Path, read_only: bool) -> sqlite3.Connection:
    """Open a gallery's file; one that is to be written is made where there is none.

    Raises
    ------
    MissingFileError
        There is none, and `read_only` is set.
    GalleryError
        It is not a gallery, or is damaged.
    NewerFormatError
        It was written by a newer edgecv.
    OutputError
        It cannot be created, or not be opened for writing.
    """
    if path.is_dir():
        raise MissingFileError(f"a gallery is a file; {path} is a folder")
    if not path.exists():
        if read_only:
            raise MissingFileError(f"no gallery at {path}")
        create_file(path)
    _check_magic(path)
    with errors_translated(path):
        connection = _open_read_only(path) if read_only else _open(path, "mode=rw")
        try:
            _check_kind(connection, path)
            if not read_only:
                connection.execute("PRAGMA synchronous=FULL")  # a commit returns when it is on the disk
                connection.execute("PRAGMA secure_delete=ON")  # what is deleted is overwritten with zeros
                connection.execute(f"PRAGMA journal_size_limit={_LOG_BYTES}")
                connection.execute("PRAGMA wal_autocheckpoint=256")  # pages of 16 KiB: at 4 MiB
        except BaseException:
            connection.close()
            raise
    return connection


def _open(path: Path, how: str) -> sqlite3.Connection:
    # isolation_level None: transactions begin and end where this package says so, not where Python guesses.
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{how}",
        uri=True,
        isolation_level=None,
        timeout=BUSY_SECONDS,
        check_same_thread=False,
    )


def _open_read_only(path: Path) -> sqlite3.Connection:
    connection = _open(path, "mode=ro")
    try:
        connection.execute("SELECT one FROM state").fetchone()
        return connection
    except sqlite3.OperationalError as error:
        connection.close()
        log = Path(f"{path}-wal")
        closed = any(reason in str(error) for reason in ("unable to open", "readonly"))
        if not closed or (log.exists() and log.stat().st_size > 0):
            raise
    # On a medium that cannot be written SQLite cannot make the memory it shares with other processes. Without a log
    # nobody writes and the file is complete by itself.
    return _open(path, "mode=ro&immutable=1")


def _check_magic(path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(100)
    except OSError as error:
        raise OutputError(f"the gallery {path} cannot be opened: {error.strerror or error}") from None
    if len(start) < 100:
        raise damaged(path, f"it has {len(start)} bytes")
    if start[:16] != _MAGIC:
        raise GalleryError(f"{path} is not an edgecv gallery, or its beginning was overwritten: it is no SQLite file")


def _check_kind(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise GalleryError(f"{path} is not an edgecv gallery, but another program's SQLite file")
    if version > SCHEMA_VERSION:
        raise NewerFormatError(
            f"the gallery {path} has schema version {version}; this edgecv reads up to {SCHEMA_VERSION}: "
            "pip install --upgrade edgecv-runtime"
        )
    if version < 1:
        raise damaged(path, f"its schema version is {version}")


@contextmanager
def errors_translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors, and what damaged content does to Python, into one line of ours."""
    try:
        yield
    except EdgecvError:
        raise
    except sqlite3.Error as error:
        raise _translated(error, path) from None
    except (UnicodeDecodeError, OverflowError, TypeError, ValueError) as error:
        raise damaged(path, error) from None


# SQLite's messages (sqlite3ErrStr and its neighbours); error codes reach Python only from version 3.11 on.
def _translated(error: sqlite3.Error, path: Path) -> EdgecvError:
    text = str(error)
    if "locked" in text:
        return StoreUnavailableError(
            f"another process has kept {path} locked for {BUSY_SECONDS:g} s; nothing was changed, try again"
        )
    if "full" in text:
        return OutputError(f"cannot write {path}: the disk is full; nothing was changed")
    if "disk I/O error" in text:
        return OutputError(f"{path} cannot be written or read: the disk refuses or is full; nothing was changed")
    if "readonly" in text:
        return OutputError(f"{path} cannot be written: it, or its folder, is read-only; nothing was changed")
    if "unable to open" in text:
        reason = "its folder is read-only" if not os.access(path.parent, os.W_OK) else "it or its log cannot be opened"
        return OutputError(
            f"the gallery {path} cannot be opened: {reason}; to only read it, open it with read_only=True"
        )
    if isinstance(error, sqlite3.ProgrammingError):
        return GalleryError(f"the gallery {path} was closed")
    return damaged(path, text)


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path, kind: str = "IMMEDIATE") -> Iterator[None]:
    """All of the block or nothing; on return it is on the disk. "DEFERRED": a block that only reads one state."""
    with errors_translated(path):
        connection.execute(f"BEGIN {kind}")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:  # also an interrupt
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
