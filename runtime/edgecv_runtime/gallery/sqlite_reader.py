"""Reading a gallery's SQLite file: every row checked, a hundred thousand in one sweep."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.gallery import records
from edgecv_runtime.gallery.encryption import Cipher
from edgecv_runtime.gallery.names import NameTable
from edgecv_runtime.gallery.sqlite_file import connect, damaged, errors_translated, transaction
from edgecv_runtime.gallery.sqlite_schema import metadata_checksum
from edgecv_runtime.gallery.store import DIMENSION, Changes, GalleryError, Samples

KEY_CHECK = "key_check"  # metadata of an encrypted gallery: tells the right key from a wrong one

_ROWS = 512  # at a time: few enough to stay in the processor's cache
_STATE = ("revision", "next_person", "people", "samples", "log_floor")


def sample_place(sample: int) -> bytes:
    """What binds a sealed record to its row."""
    return b"sample %d" % sample


def person_place(person: int) -> bytes:
    """What binds a sealed name to its row."""
    return b"person %d" % person


class SQLiteReader:
    """The part of `SQLiteStore` that reads.

    Parameters
    ----------
    path : str or Path
    key : bytes or None
    read_only : bool
    """

    def __init__(self, path: str | Path, key: bytes | None = None, read_only: bool = False) -> None:
        self.path = Path(path)
        self.read_only = read_only
        self._cipher = None if key is None else Cipher(key)
        self._connection = connect(self.path, read_only)

    @property
    def location(self) -> str:
        return str(self.path)

    @property
    def encrypted(self) -> bool:
        return self._cipher is not None

    def metadata(self) -> dict[str, str]:
        """Every key and its value."""
        with errors_translated(self.path):
            rows = self._connection.execute("SELECT key, value, checksum FROM metadata").fetchall()
            for key, value, checksum in rows:
                if metadata_checksum(key, value) != checksum:
                    raise damaged(self.path, f"the checksum of its setting {key!r} does not fit")
        return {key: value for key, value, _ in rows}

    def revision(self) -> int:
        """Revision of the last committed change."""
        with errors_translated(self.path):
            return self._state()["revision"]

    def load(self) -> Samples:
        """Every sample; damage anywhere among them is found here."""
        with transaction(self._connection, self.path, "DEFERRED"):
            state = self._state()
            samples = self._read("", (), state["samples"], state["revision"])
        # Without any row that is missing, people who are left without a sample would be half there.
        used = np.bincount(samples.people, minlength=len(samples.names)).astype(bool)
        if len(samples.names) != state["people"] or not used.all():
            due = f"{state['people']} people with samples are due, {np.count_nonzero(used)} are there"
            raise damaged(self.path, due)
        if len(samples) and samples.ids[-1] > state["revision"]:
            raise damaged(self.path, "its counters are older than its samples")
        return samples

    def changes(self, since: int) -> Changes | None:
        """What happened after revision `since`; None where that is no longer known."""
        with transaction(self._connection, self.path, "DEFERRED"):
            state = self._state()
            if not state["log_floor"] <= since <= state["revision"]:
                return None
            select = "SELECT sample FROM log WHERE revision > ?"
            logged = np.array([row[0] for row in self._connection.execute(select, (since,))], np.int64)
            # As a list of ids: with OR, SQLite would walk through every sample.
            where, bounds = f"WHERE id IN (SELECT id FROM samples WHERE id > ? UNION {select})", (since, since)
            changed = self._read(where, bounds, self._count(f"samples {where}", bounds), state["revision"])
        return Changes(changed, np.setdiff1d(logged, changed.ids))

    def people(self) -> dict[str, int]:
        """Name → number of samples, lowest sample id first."""
        with transaction(self._connection, self.path, "DEFERRED"):
            counted = self._connection.execute(
                "SELECT person, count(*) FROM samples GROUP BY person ORDER BY min(id)"
            ).fetchall()
            numbers, names = self._names("", ())
            where = {int(number): index for index, number in enumerate(numbers)}
            if where.keys() != dict(counted).keys():
                raise damaged(self.path, "its samples and its people do not belong together")
        return {names[where[person]]: count for person, count in counted}

    def samples_of(self, name: str) -> Samples:
        """The samples of one person; none where nobody has this name."""
        with transaction(self._connection, self.path, "DEFERRED"):
            return self._samples_of(self._person(name), self._state()["revision"])

    def close(self) -> None:
        """Let go of the file; calling it again does nothing."""
        self._connection.close()

    # -- within a transaction --------------------------------------------------------------------------

    def _state(self) -> dict[str, int]:
        row = self._connection.execute(f"SELECT {', '.join(_STATE)} FROM state").fetchone()
        if row is None or not all(isinstance(value, int) and value >= 0 for value in row):
            raise damaged(self.path, "its counters are unreadable")
        return dict(zip(_STATE, row, strict=True))

    def _count(self, what: str, parameters: Sequence[Any] = ()) -> int:
        count: int = self._connection.execute(f"SELECT count(*) FROM {what}", parameters).fetchone()[0]
        return count

    def _label(self, name: str) -> bytes:
        return name.encode() if self._cipher is None else self._cipher.label(name)

    def _person(self, name: str) -> int | None:
        row = self._connection.execute("SELECT person FROM people WHERE label = ?", (self._label(name),)).fetchone()
        return None if row is None else row[0]

    def _samples_of(self, person: int | None, revision: int) -> Samples:
        count = 0 if person is None else self._count("samples WHERE person = ?", (person,))
        samples = self._read("WHERE person = ?", (person,), count, revision)
        if len(samples.names) != (person is not None):
            raise damaged(self.path, "a person's samples do not belong together")
        return samples

    def _names(self, where: str, parameters: Sequence[Any]) -> tuple[npt.NDArray[np.int64], NameTable]:
        """Numbers of people, ascending, and their names in the same order."""
        numbers: list[npt.NDArray[np.int64]] = []
        parts: list[NameTable] = []
        cursor = self._connection.execute(
            f"SELECT person, label, sealed, checksum FROM people {where} ORDER BY person", parameters
        )
        while rows := cursor.fetchmany(_ROWS):
            people, labels, sealed, checksums = zip(*rows, strict=True)
            # As `person_checksum`, without a call of Python for every row.
            if tuple(map(zlib.crc32, sealed, map(zlib.crc32, labels, people))) != checksums:
                raise damaged(self.path, "the checksum of a person does not fit")
            if self._cipher is not None:
                open_name = self._cipher.open
                labels = tuple(open_name(text, person_place(one)) for one, text in zip(people, sealed, strict=True))
            numbers.append(np.array(people, np.int64))
            parts.append(NameTable(labels))  # a hundred thousand small objects would leave the memory in pieces
        return np.concatenate([np.zeros(0, np.int64), *numbers]), NameTable.joined(parts)

    def _records(self, where: str, parameters: Sequence[Any]) -> Iterator[list[bytes]]:
        """Intact, opened records, in ascending order of id."""
        cipher = self._cipher
        # The id is only needed to open what is sealed, and every further column costs time on each row.
        columns = "record" if cipher is None else "record, id"
        cursor = self._connection.execute(f"SELECT {columns} FROM samples {where} ORDER BY id", parameters)
        while rows := cursor.fetchmany(_ROWS):
            if cipher is None:
                batch = [row[0] for row in rows]
            else:
                batch = [cipher.open(sealed, sample_place(sample)) for sealed, sample in rows]
            if not all(map(records.is_intact, batch)):
                raise damaged(self.path, "the checksum of a sample does not fit")
            yield batch

    def _read(self, where: str, parameters: Sequence[Any], count: int, revision: int) -> Samples:
        """`count` samples into arrays that are allocated once: the vectors are never in memory twice."""
        dimension = int(self.metadata().get(DIMENSION, 0))
        ids, people = np.empty(count, np.int64), np.empty(count, np.int64)
        quality, added = np.empty(count, np.float32), np.empty(count, np.float64)
        vectors = np.empty((count, dimension), np.float32)
        start = 0
        for batch in self._records(where, parameters):
            if start + len(batch) > count or any(len(record) != 4 * dimension + records.OVERHEAD for record in batch):
                raise damaged(self.path, "a sample is of another size than the others, or one too many")
            table = records.unpack(batch, dimension)
            here = slice(start, start + len(batch))
            ids[here], people[here] = table["id"], table["person"]
            quality[here], added[here], vectors[here] = table["quality"], table["added"], table["vector"]
            start += len(batch)
        if start != count or (np.diff(ids) <= 0).any():
            raise damaged(self.path, f"{count} samples are due, {start} are there")
        choose = f"WHERE person IN (SELECT person FROM samples {where})" if where else ""
        numbers, names = self._names(choose, parameters)
        index = np.searchsorted(numbers, people)
        if count and (len(numbers) == 0 or (numbers[np.minimum(index, len(numbers) - 1)] != people).any()):
            raise damaged(self.path, "a sample belongs to nobody")
        return Samples(ids, index.astype(np.int32), names, vectors, quality, added, revision)

    def _check_key(self) -> None:
        """Refuse a missing, a wrong and an unwanted key."""
        metadata = self.metadata()
        check = metadata.get(KEY_CHECK)
        if self._cipher is None:
            if check is not None:
                raise GalleryError(
                    f"the gallery {self.path} is encrypted; give its key (key=..., --key-file or EDGECV_GALLERY_KEY)"
                )
        elif check is None and (self.read_only or self._state()["revision"] > 0 or DIMENSION in metadata):
            raise GalleryError(
                f"the gallery {self.path} is not encrypted, but a key was given; open it without one, or export it "
                "and import that into a new encrypted gallery"
            )
        elif check is not None and check != self._cipher.check:
            raise GalleryError(f"the key does not fit the gallery {self.path}: it was made with another one")
