"""A server's gallery with a copy on this device: a door keeps working while the server is away.

While the server answers, everything is asked of it and the copy follows. While it does not, what was last known is
read from the copy, also after a restart; a change is refused, because nobody but the server can promise to keep it.
The copy is a SQLite file that can be deleted at any time: the server has everything.
"""

from __future__ import annotations

import json
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

import numpy as np

from edgecv_runtime.errors import OutputError
from edgecv_runtime.gallery.columns import samples_from_rows
from edgecv_runtime.gallery.encryption import Cipher
from edgecv_runtime.gallery.store import (
    CREATED,
    DIMENSION,
    Changes,
    GalleryError,
    NewSample,
    Samples,
    Store,
    StoreUnavailableError,
)

_RETRY = 5.0  # seconds for which an absent server is left alone: each attempt may take as long
_APPLICATION = 0x65634743  # "ecGC"

_TABLES = f"""
PRAGMA application_id = {_APPLICATION};
CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS samples (id INTEGER PRIMARY KEY, content BLOB NOT NULL);
"""

Answer = TypeVar("Answer")
_HEAD = np.dtype([("quality", "<f4"), ("added", "<f8"), ("name", "<i4")])


class CachedStore:
    """A store on a server, and what it held when it was last asked (see `Store` for the methods).

    Parameters
    ----------
    server : callable
        Opens the store on the server; may raise `StoreUnavailableError`, and is then called again later.
    path : str or Path
        The copy's file, made where there is none.
    location : str
        The server's URL without a password.
    key : bytes or None
        32 bytes: the copy is encrypted.
    read_only : bool
        Of the server's gallery; the copy is written in any case.
    retry : float
        Seconds after which an absent server is tried again.

    Raises
    ------
    StoreUnavailableError
        The server is away and there is no copy yet.
    GalleryError
        The file is something else, of another gallery, or encrypted with another key.
    """

    def __init__(
        self,
        server: Callable[[], Store],
        path: str | Path,
        *,
        location: str,
        key: bytes | None = None,
        read_only: bool = False,
        retry: float = _RETRY,
    ) -> None:
        self._open_server, self._location, self._read_only, self._retry = server, location, read_only, retry
        self._server: Store | None = None
        self._tried = -np.inf
        self._told = False
        self._closed = False
        self._copy = _Copy(Path(path), location, Cipher(key) if key is not None else None)
        try:
            if not self._follow() and self._copy.revision is None:
                raise StoreUnavailableError(
                    f"the gallery {location} cannot be reached, and {path} holds no copy of it yet; start once while "
                    "the server is there"
                )
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<CachedStore {self._location}, copy {self._copy.path}>"

    @property
    def location(self) -> str:
        return self._location

    @property
    def read_only(self) -> bool:
        return self._read_only

    @property
    def encrypted(self) -> bool:
        return self._copy.encrypted

    # -- reading: of the server while it answers, else of the copy ---------------------------------------

    def metadata(self) -> dict[str, str]:
        self._follow()
        return self._copy.metadata()

    def revision(self) -> int:
        self._follow()
        return self._copy.revision or 0

    def load(self) -> Samples:
        self._follow()
        return self._copy.load()

    def changes(self, since: int) -> Changes | None:
        if self._follow():
            found = self._ask(lambda server: server.changes(since))
            if found is not None:
                return found[0]
        if since != self._copy.revision:
            return None
        nothing = self._copy.load(ids=[])
        return Changes(nothing, np.zeros(0, np.int64))

    def people(self) -> dict[str, int]:
        samples = self.load()
        counts = np.bincount(samples.people, minlength=len(samples.names)).tolist()
        return dict(zip(samples.names, counts, strict=True))  # ids ascend: names are in the order of enrolment

    def samples_of(self, name: str) -> Samples:
        samples = self.load()
        if name not in samples.names:
            return self._copy.load(ids=[])
        rows = np.flatnonzero(samples.people == list(samples.names).index(name))
        return self._copy.load(ids=samples.ids[rows].tolist())

    # -- changing: only on the server --------------------------------------------------------------------

    def initialise(self, values: Mapping[str, str]) -> dict[str, str]:
        """Set those keys that have no value yet; while the server is away, what is known is the answer."""
        known = self.metadata()
        if values.keys() - known.keys():
            known = self._change(lambda server: server.initialise(values))
        return known

    def set_metadata(self, values: Mapping[str, str | None]) -> None:
        self._change(lambda server: server.set_metadata(values))

    def add(self, samples: Sequence[NewSample]) -> Samples:
        return self._change(lambda server: server.add(samples))

    def remove(self, name: str) -> int:
        return self._change(lambda server: server.remove(name))

    def remove_samples(self, ids: Sequence[int]) -> int:
        return self._change(lambda server: server.remove_samples(ids))

    def rename(self, name: str, new_name: str) -> None:
        self._change(lambda server: server.rename(name, new_name))

    def merge(self, name: str, into: str) -> int:
        return self._change(lambda server: server.merge(name, into))

    def close(self) -> None:
        """Let go of server and copy; calling it again does nothing."""
        self._closed = True
        if self._server is not None:
            self._server.close()
        self._copy.close()

    # -- the two together --------------------------------------------------------------------------------

    def _change(self, work: Callable[[Store], Answer]) -> Answer:
        if self._read_only:
            raise OutputError(f"{self._location} is open for reading only; open it without read_only to change it")
        self._refuse_if_closed()
        self._tried = -np.inf  # somebody waits for this one
        found = self._ask(work)
        if found is None:
            raise StoreUnavailableError(
                f"the gallery {self._location} cannot be reached: it can be searched from the copy, but not changed; "
                "nothing was changed, try again later"
            )
        self._follow()
        return found[0]

    def _ask(self, work: Callable[[Store], Answer]) -> tuple[Answer] | None:
        """The server's answer; None where it is away."""
        if self._server is None and time.monotonic() - self._tried < self._retry:
            return None
        try:
            if self._server is None:
                self._server = self._open_server()
            answer = work(self._server)
        except StoreUnavailableError as error:
            self._tried = time.monotonic()
            server, self._server = self._server, None
            if server is not None:
                server.close()
            if not self._told and self._copy.revision is not None:
                self._told = True
                warnings.warn(f"{error}; going on with the copy {self._copy.path}", stacklevel=5)
            return None
        self._told = False
        return (answer,)

    def _follow(self) -> bool:
        """Bring the copy to the server's state; False where the server is away."""
        self._refuse_if_closed()
        return self._ask(self._catch_up) is not None

    def _catch_up(self, server: Store) -> None:
        metadata, revision = server.metadata(), server.revision()
        known = self._copy.metadata()
        if revision == self._copy.revision and metadata == known:
            return
        changes = None
        # A gallery that was made anew on the same server counts its revisions from the beginning.
        if self._copy.revision is not None and metadata.get(CREATED) == known.get(CREATED):
            changes = server.changes(self._copy.revision)
        if changes is None:
            self._copy.replace(server.load(), metadata)
        else:
            self._copy.apply(changes, metadata)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise GalleryError(f"the gallery {self._location} is closed; open it again")


class _Copy:
    """The file: samples as the server numbers them, each row one piece that may be sealed."""

    def __init__(self, path: Path, location: str, cipher: Cipher | None) -> None:
        self.path, self._cipher = path, cipher
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise OutputError(f"the copy {path} of {location} cannot be opened: {error}") from None
        try:
            with self._errors():
                self._prepare(location)
        except BaseException:
            self.close()
            raise

    @property
    def encrypted(self) -> bool:
        return self._cipher is not None

    def _prepare(self, location: str) -> None:
        (kind,) = self._connection.execute("PRAGMA application_id").fetchone()
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and kind != _APPLICATION:
            raise GalleryError(f"{self.path} is not the copy of a server's gallery; choose another file for the copy")
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA secure_delete=ON")
        self._connection.executescript(_TABLES)
        check = "" if self._cipher is None else self._cipher.check
        facts = self._facts()
        if "location" not in facts:
            self._connection.executemany(
                "INSERT OR IGNORE INTO facts VALUES(?, ?)", [("location", location), ("check", check)]
            )
            facts = self._facts()
        if facts["location"] != location:
            raise GalleryError(
                f"{self.path} is a copy of {facts['location']}, not of {location}; choose another file or delete it"
            )
        if facts["check"] != check:
            raise GalleryError(
                f"{self.path} is {'encrypted with another key or none' if check else 'encrypted'}; give the key it was "
                "made with, or delete it: the server has everything"
            )

    @property
    def revision(self) -> int | None:
        """The server's revision of what is here; None before the first."""
        text = self._facts().get("revision")
        return None if text is None else int(text)

    def metadata(self) -> dict[str, str]:
        read: dict[str, str] = json.loads(self._facts().get("metadata", "{}"))
        return read

    def load(self, ids: Sequence[int] | None = None) -> Samples:
        dimension = int(self.metadata().get(DIMENSION, 0))
        with self._errors():
            if ids is None:
                found = self._connection.execute("SELECT id, content FROM samples ORDER BY id").fetchall()
            else:
                one = "SELECT id, content FROM samples WHERE id = ?"
                found = [row for number in sorted(ids) for row in self._connection.execute(one, (int(number),))]
            rows, vectors = [], np.empty((len(found), dimension), np.float32)
            for place, (number, content) in enumerate(found):
                name, quality, added, vectors[place] = self._unpacked(number, content)
                rows.append((number, name, quality, added))
        return samples_from_rows(rows, vectors, self.revision or 0)

    def replace(self, samples: Samples, metadata: Mapping[str, str]) -> None:
        with self._transaction():
            self._connection.execute("DELETE FROM samples")
            self._write(samples, metadata)

    def apply(self, changes: Changes, metadata: Mapping[str, str]) -> None:
        with self._transaction():
            gone = [(number,) for number in changes.removed.tolist()]
            self._connection.executemany("DELETE FROM samples WHERE id = ?", gone)
            self._write(changes.changed, metadata)
        if gone:  # what was removed must not stand in the log
            with self._errors():
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        self._connection.close()

    def _write(self, samples: Samples, metadata: Mapping[str, str]) -> None:
        rows = (
            (int(samples.ids[row]), self._packed(samples, row))
            for row in range(len(samples))
        )  # fmt: skip
        self._connection.executemany("INSERT OR REPLACE INTO samples VALUES(?, ?)", rows)
        facts = [("revision", str(samples.revision)), ("metadata", json.dumps(dict(metadata)))]
        self._connection.executemany("INSERT OR REPLACE INTO facts VALUES(?, ?)", facts)

    def _packed(self, samples: Samples, row: int) -> bytes:
        name = samples.names[int(samples.people[row])].encode()
        head = np.array((samples.quality[row], samples.added[row], len(name)), _HEAD)
        content = head.tobytes() + name + samples.vectors[row].astype("<f4").tobytes()
        return content if self._cipher is None else self._cipher.seal(content, _place(int(samples.ids[row])))

    def _unpacked(self, number: int, content: bytes) -> tuple[str, float, float, np.ndarray]:
        plain = content if self._cipher is None else self._cipher.open(content, _place(number))
        head = np.frombuffer(plain, _HEAD, 1)[0]
        start = _HEAD.itemsize + int(head["name"])
        name = plain[_HEAD.itemsize : start].decode()
        return name, float(head["quality"]), float(head["added"]), np.frombuffer(plain, "<f4", offset=start)

    def _facts(self) -> dict[str, str]:
        with self._errors():
            return dict(self._connection.execute("SELECT key, value FROM facts").fetchall())

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise OutputError(f"the copy {self.path} cannot be written or read: {error}") from None
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise GalleryError(f"the copy {self.path} is damaged ({error}); delete it: the server has all") from None


def _place(number: int) -> bytes:
    return b"copy %d" % number


def without_password(url: str) -> str:
    """A URL as it may be shown.

    Examples
    --------
    >>> without_password("postgresql://door:secret@host:5432/faces")
    'postgresql://door@host:5432/faces'
    """
    parts = urlsplit(url)
    account, _, host = parts.netloc.rpartition("@")
    user = account.partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{user}@{host}" if user else host))
