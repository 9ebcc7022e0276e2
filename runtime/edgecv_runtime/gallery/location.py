"""Which store keeps a gallery: told by its path or URL."""

from __future__ import annotations

from pathlib import Path

from edgecv_runtime.errors import UnsupportedError
from edgecv_runtime.gallery.store import Store

POSTGRES = ("postgresql://", "postgres://")
MILVUS = ("milvus://", "milvus+https://", "milvus+file://")


def is_server(location: str | Path) -> bool:
    return isinstance(location, str) and location.startswith((*POSTGRES, *MILVUS))


def open_store(
    location: str | Path, *, key: bytes | None = None, read_only: bool = False, cache: str | Path | None = None
) -> Store:
    """Open the store of a gallery.

    Parameters
    ----------
    location : str or Path
        A file, a ``postgresql://`` URL or a ``milvus://`` one.
    key : bytes or None
        Encrypts a file. A server has its own means, and is refused one; the local copy of it is encrypted.
    read_only : bool
    cache : str, Path or None
        For a server: a file that keeps a copy, used while the server is away.

    Raises
    ------
    UnsupportedError
        A key for a server without a copy, or a copy of a file.
    """
    if not is_server(location):
        from edgecv_runtime.gallery.sqlite_store import SQLiteStore

        if cache is not None:
            raise UnsupportedError(f"a local copy is kept of a server's gallery; {location} is a file already")
        return SQLiteStore(location, key=key, read_only=read_only)
    if key is not None and cache is None:
        raise UnsupportedError("a key encrypts a gallery's file; a server encrypts by its own means: leave the key out")
    url = str(location)
    if cache is None:
        return _server(url, read_only)
    from edgecv_runtime.gallery.cached_store import CachedStore, without_password

    # The server is opened by the copy: a door must also start while it is away.
    return CachedStore(
        lambda: _server(url, read_only), cache, location=without_password(url), key=key, read_only=read_only
    )


def _server(url: str, read_only: bool) -> Store:
    if url.startswith(POSTGRES):
        from edgecv_runtime.gallery.postgres_store import PostgresStore

        return PostgresStore(url, read_only=read_only)
    from edgecv_runtime.gallery.milvus_store import MilvusStore

    return MilvusStore(url, read_only=read_only)
