"""The default store: one SQLite file, durable at every commit, read in one sweep.

A gallery lives in ``faces.db``, with ``faces.db-wal`` and ``faces.db-shm`` beside it while it is open. Every change is
one transaction that is on the disk when the method returns (write-ahead log, ``synchronous=FULL``). Every row carries a
checksum and the file knows how many there are, so damage is found when the gallery is opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError, OutputError
from edgecv_runtime.gallery import records
from edgecv_runtime.gallery.erasure import compact, erase, needles
from edgecv_runtime.gallery.sqlite_file import transaction
from edgecv_runtime.gallery.sqlite_reader import KEY_CHECK, SQLiteReader, person_place, sample_place
from edgecv_runtime.gallery.sqlite_schema import metadata_checksum, person_checksum
from edgecv_runtime.gallery.store import DIMENSION, NewSample, Samples

_LOG_ROWS = 10_000  # removals and renamings remembered for other processes; beyond, they load again


class SQLiteStore(SQLiteReader):
    """A gallery's samples in one SQLite file (see `Store` for the methods).

    Parameters
    ----------
    path : str or Path
        Made where there is none, in one step.
    key : bytes or None
        32 bytes: vectors and names are encrypted. A gallery is encrypted from its first day or not at all.
    read_only : bool
        Never write; works on read-only media too.

    Raises
    ------
    MissingFileError, OutputError, NewerFormatError
    GalleryError
        Not a gallery, damaged, or the key is missing, wrong or not wanted.
    """

    def __init__(self, path: str | Path, key: bytes | None = None, read_only: bool = False) -> None:
        super().__init__(path, key, read_only)
        try:
            self._check_key()
            if self._cipher is not None and not read_only:
                self.initialise({KEY_CHECK: self._cipher.check})
                self._check_key()  # another process may have been faster, with its own key
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<SQLiteStore {self.path}{', encrypted' if self.encrypted else ''}>"

    def initialise(self, values: Mapping[str, str]) -> dict[str, str]:
        """Set those keys that have no value yet; return the metadata as it is afterwards."""
        if values.keys() - self.metadata().keys():
            with self._change():
                self._connection.executemany("INSERT OR IGNORE INTO metadata VALUES(?, ?, ?)", _rows(values.items()))
        return self.metadata()

    def set_metadata(self, values: Mapping[str, str | None]) -> None:
        """Set or, with None, delete these keys."""
        kept = [(key, value) for key, value in values.items() if value is not None]
        with self._change():
            self._connection.executemany("DELETE FROM metadata WHERE key = ?", [(key,) for key in values])
            self._connection.executemany("INSERT INTO metadata VALUES(?, ?, ?)", _rows(kept))

    def add(self, samples: Sequence[NewSample]) -> Samples:
        """Keep these in one durable transaction."""
        vectors = _stack(samples, self._dimension())
        quality = np.array([sample.quality for sample in samples], np.float32)
        added = np.array([sample.added for sample in samples], np.float64)
        names = [sample.person for sample in samples]
        with self._change():
            state = self._state()
            people, created = self._people_for(names, state["next_person"])
            revision = state["revision"] + len(samples)
            ids = np.arange(state["revision"] + 1, revision + 1, dtype=np.int64)
            packed = records.pack(ids, people, quality, added, vectors)
            rows = map(self._sealed, ids.tolist(), people.tolist(), packed)
            self._connection.executemany("INSERT INTO samples VALUES(?, ?, ?)", rows)
            self._set_state(
                revision=revision,
                next_person=state["next_person"] + created,
                people=state["people"] + created,
                samples=state["samples"] + len(samples),
            )
        distinct = list(dict.fromkeys(names))
        where = {name: index for index, name in enumerate(distinct)}
        index = np.array([where[name] for name in names], np.int32)
        return Samples(ids, index, distinct, vectors, quality, added, revision)

    def remove(self, name: str) -> int:
        """Erase a person and every sample of theirs; return how many samples."""
        traces: list[bytes] = []
        with self._change():
            person = self._person(name)
            if person is None:
                return 0
            ids = [row[0] for row in self._connection.execute("SELECT id FROM samples WHERE person = ?", (person,))]
            traces += self._delete_samples(ids)
            traces += self._delete_person(person)
        erase(self._connection, self.path, needles(traces))
        return len(ids)

    def remove_samples(self, ids: Sequence[int]) -> int:
        """Erase single samples, and the people who are left without any; return how many were there."""
        traces: list[bytes] = []
        with self._change():
            owners = {}
            for sample in map(int, ids):
                row = self._connection.execute("SELECT person FROM samples WHERE id = ?", (sample,)).fetchone()
                if row is not None:
                    owners[sample] = row[0]
            traces += self._delete_samples(list(owners))
            for person in dict.fromkeys(owners.values()):
                if not self._count("samples WHERE person = ?", (person,)):
                    traces += self._delete_person(person)
        if owners:
            erase(self._connection, self.path, needles(traces))
        return len(owners)

    def rename(self, name: str, new_name: str) -> None:
        """Give a person another name; the old one is erased."""
        with self._change():
            person = self._known(name)
            if self._person(new_name) is not None:
                raise InputError(f"{new_name!r} is in the gallery already; merge the two, or choose another name")
            traces = self._take_row(person)
            self._insert_person(person, new_name)
            ids = [row[0] for row in self._connection.execute("SELECT id FROM samples WHERE person = ?", (person,))]
            self._log(ids)
        erase(self._connection, self.path, needles(traces))

    def merge(self, name: str, into: str) -> int:
        """Give every sample of `name` to `into`; return how many."""
        with self._change():
            person, target = self._known(name), self._known(into)
            if person == target:
                raise InputError(f"two different people can be merged; received {name!r} twice")
            moved = self._samples_of(person, 0)
            people = np.full(len(moved), target)
            packed = records.pack(moved.ids, people, moved.quality, moved.added, moved.vectors)
            for sample, owner, record in map(self._sealed, moved.ids.tolist(), people.tolist(), packed):
                change = "UPDATE samples SET person = ?, record = ? WHERE id = ?"
                self._connection.execute(change, (owner, record, sample))
            traces = self._delete_person(person)
            self._log(moved.ids.tolist())
        erase(self._connection, self.path, needles(traces))
        return len(moved)

    def compact(self) -> None:
        """Rebuild the file: as small as it can be, and free of traces of what was removed."""
        self._refuse_if_read_only()
        compact(self._connection, self.path)

    # -- parts of one transaction ----------------------------------------------------------------------

    @contextmanager
    def _change(self) -> Iterator[None]:
        self._refuse_if_read_only()
        with transaction(self._connection, self.path):
            yield

    def _refuse_if_read_only(self) -> None:
        if self.read_only:
            raise OutputError(f"{self.path} is open for reading only; open it without read_only to change it")

    def _set_state(self, **values: int) -> None:
        assignments = ", ".join(f"{column} = ?" for column in values)
        self._connection.execute(f"UPDATE state SET {assignments}", tuple(values.values()))

    def _log(self, ids: Sequence[int]) -> None:
        """Note for other processes that these samples were changed or removed; it counts as one revision."""
        state = self._state()
        revision = state["revision"] + 1
        self._connection.executemany("INSERT INTO log VALUES(?, ?)", ((revision, sample) for sample in ids))
        floor = state["log_floor"]
        if self._count("log") > _LOG_ROWS:
            (newest,) = self._connection.execute("SELECT max(revision) FROM log").fetchone()
            floor = newest
            self._connection.execute("DELETE FROM log WHERE revision <= ?", (floor,))
        self._set_state(revision=revision, log_floor=floor)

    def _dimension(self) -> int:
        text = self.metadata().get(DIMENSION)
        if text is None:
            raise InputError("the length of the vectors must be set before the first sample is added")
        return int(text)

    def _known(self, name: str) -> int:
        person = self._person(name)
        if person is None:
            raise InputError(f"nobody in {self.path} is called {name!r}; edgecv gallery list shows who is there")
        return person

    def _people_for(self, names: Sequence[str], next_person: int) -> tuple[npt.NDArray[np.int64], int]:
        """The number of each one's person, and how many people are new."""
        numbers: dict[str, int] = {}
        created = 0
        for name in dict.fromkeys(names):
            known = self._person(name)
            if known is None:
                known = next_person + created
                self._insert_person(known, name)
                created += 1
            numbers[name] = known
        return np.array([numbers[name] for name in names], np.int64), created

    def _insert_person(self, person: int, name: str) -> None:
        label = self._label(name)
        sealed = b"" if self._cipher is None else self._cipher.seal(name.encode(), person_place(person))
        row = (person, label, sealed, person_checksum(person, label, sealed))
        self._connection.execute("INSERT INTO people VALUES(?, ?, ?, ?)", row)

    def _take_row(self, person: int) -> list[bytes]:
        """Delete a person's row; what stood there is returned, to be looked for."""
        row = self._connection.execute("SELECT label, sealed FROM people WHERE person = ?", (person,)).fetchone()
        self._connection.execute("DELETE FROM people WHERE person = ?", (person,))
        return list(row)

    def _delete_person(self, person: int) -> list[bytes]:
        traces = self._take_row(person)
        self._set_state(people=self._state()["people"] - 1)
        return traces

    def _delete_samples(self, ids: Sequence[int]) -> list[bytes]:
        """Delete samples and note it; the bytes of their vectors, or what was sealed, are returned."""
        traces = []
        for sample in ids:
            (record,) = self._connection.execute("SELECT record FROM samples WHERE id = ?", (sample,)).fetchone()
            traces.append(records.vector_bytes(record) if self._cipher is None else record)
            self._connection.execute("DELETE FROM samples WHERE id = ?", (sample,))
        if ids:
            self._set_state(samples=self._state()["samples"] - len(ids))
            self._log(ids)
        return traces

    def _sealed(self, sample: int, person: int, record: bytes) -> tuple[int, int, bytes]:
        """A row of the table of samples."""
        return sample, person, record if self._cipher is None else self._cipher.seal(record, sample_place(sample))


def _rows(items: Iterable[tuple[str, str]]) -> list[tuple[str, str, int]]:
    return [(key, value, metadata_checksum(key, value)) for key, value in items]


def _stack(samples: Sequence[NewSample], dimension: int) -> npt.NDArray[Any]:
    for sample in samples:
        if sample.vector.shape != (dimension,):
            raise InputError(f"vectors of this gallery have shape ({dimension},); received {sample.vector.shape}")
    stacked = np.empty((len(samples), dimension), np.float32)
    for row, sample in enumerate(samples):
        stacked[row] = sample.vector
    return stacked
