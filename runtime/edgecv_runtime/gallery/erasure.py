"""Removed means gone from the file: emptying the log, looking for what was removed, rebuilding the file if it is there.

SQLite overwrites deleted rows with zeros (``secure_delete``), but a page that it has rearranged may still hold an older
copy of a row in its unused part. So the file is searched for the removed bytes, and only where they are found is it
rebuilt. What a file system, a flash drive or a backup keeps of overwritten blocks is out of reach from here.
"""

from __future__ import annotations

import mmap
import sqlite3
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgecv_runtime.errors import EdgecvError
from edgecv_runtime.gallery.sqlite_file import errors_translated

_SLICE = 32  # bytes looked for at three places of a vector
_SEARCH_BUDGET = 4 << 30  # bytes to search through; beyond that, rebuilding the file is cheaper


def needles(contents: Iterable[bytes]) -> list[bytes]:
    """Slices of removed contents, by which even a part of them would be found."""
    found = []
    for content in contents:
        for start in {0, max(0, (len(content) - _SLICE) // 2), max(0, len(content) - _SLICE)}:
            piece = content[start : start + _SLICE]
            if len(set(piece)) > 1:  # zeros are everywhere, and say nothing
                found.append(piece)
    return found


def erase(connection: sqlite3.Connection, path: Path, wanted: Sequence[bytes]) -> None:
    """See to it that none of `wanted` is in the file, its ``-wal`` or its ``-shm``; the rows are deleted already.

    What hinders it is told with a warning: the removal itself is done and durable.
    """
    try:
        with errors_translated(path):
            emptied = _empty_log(connection)
            if emptied and (len(wanted) * path.stat().st_size > _SEARCH_BUDGET or _contains(path, wanted)):
                compact(connection, path)
        hindrance = "" if emptied else f"another process holds an older state of {path}"
    except (EdgecvError, OSError) as error:
        hindrance = str(error).removesuffix("; nothing was changed")
    if hindrance:
        warnings.warn(
            f"the removal is done, but traces of what was removed may stay in the file or its log: {hindrance}; "
            "later run: edgecv gallery compact",
            stacklevel=4,
        )


def compact(connection: sqlite3.Connection, path: Path) -> None:
    """Rebuild the file from its living rows: nothing else remains, and it gets as small as it can."""
    with errors_translated(path):
        connection.execute("VACUUM")
        _empty_log(connection)


def _empty_log(connection: sqlite3.Connection) -> bool:
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def _contains(path: Path, wanted: Sequence[bytes]) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(piece) >= 0 for piece in wanted)
