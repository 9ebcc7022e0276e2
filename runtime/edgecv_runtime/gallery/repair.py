"""A new gallery from what can be trusted of a damaged one, and an account of what was lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgecv_runtime.errors import MissingFileError, OutputError
from edgecv_runtime.gallery import records
from edgecv_runtime.gallery.encryption import Cipher
from edgecv_runtime.gallery.sqlite_pages import INDEX_INTERIOR, INDEX_LEAF, TABLE_LEAF, Row, read_rows
from edgecv_runtime.gallery.sqlite_reader import KEY_CHECK, person_place, sample_place
from edgecv_runtime.gallery.sqlite_schema import metadata_checksum, person_checksum
from edgecv_runtime.gallery.sqlite_store import SQLiteStore
from edgecv_runtime.gallery.store import CREATED, DIMENSION, FINGERPRINT, GalleryError, NewSample


@dataclass(frozen=True)
class Repair:
    """What a repair saved and what it could not.

    Attributes
    ----------
    samples, people : int
        Saved.
    lost_samples : int or None
        None: the damaged file no longer says how many there were.
    incomplete : Mapping of str to int
        People of whom samples are known to be lost → how many. Those who lost all are not among the saved.
    nameless : Mapping of str to int
        Placeholder name → samples of somebody whose name is lost.
    settings_lost : tuple of str
        Settings every gallery has, of which nothing was found.
    """

    samples: int
    people: int
    lost_samples: int | None
    incomplete: Mapping[str, int] = field(default_factory=dict)
    nameless: Mapping[str, int] = field(default_factory=dict)
    settings_lost: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether nothing was lost."""
        return not (self.lost_samples is None or self.lost_samples or self.nameless or self.settings_lost)

    def to_dict(self) -> dict[str, Any]:
        return {
            "complete": self.complete,
            "samples": self.samples,
            "people": self.people,
            "lost_samples": self.lost_samples,
            "incomplete": dict(self.incomplete),
            "nameless": dict(self.nameless),
            "settings_lost": list(self.settings_lost),
        }


@dataclass
class _Found:
    """What the pages of a file hold."""

    records: dict[int, bytes] = field(default_factory=dict)  # sample id → as stored
    people: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)  # number → label, sealed
    owners: dict[int, int] = field(default_factory=dict)  # sample id → person, as the index has it
    settings: dict[str, str] = field(default_factory=dict)
    samples_due: int | None = None


def repair_file(path: str | Path, output: str | Path, key: bytes | None = None) -> Repair:
    """Write a new gallery with every sample of a damaged one whose checksum fits.

    Parameters
    ----------
    path : str or Path
        Stays as it is.
    output : str or Path
        The new gallery; must not exist.
    key : bytes or None
        That of an encrypted gallery; the new one is encrypted with it too.

    Raises
    ------
    MissingFileError, OutputError
    GalleryError
        Nothing could be saved, or the key is missing or wrong.
    """
    path, output = Path(path), Path(output)
    if not path.is_file():
        raise MissingFileError(f"no gallery at {path}")
    if output.exists():
        raise OutputError(f"{output} is there already; a repair never overwrites, choose another name")
    try:
        found = _collect(read_rows(path))
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror or error}") from None
    cipher = _cipher_for(found, key, path)
    names = _names(found, cipher)
    intact = _intact(found, cipher)
    dimension = _dimension(found, intact, path)
    samples, owners = _samples(intact, names, dimension)
    try:
        _write(output, key, found, samples, dimension)
    except BaseException:
        for suffix in ("", "-wal", "-shm"):
            with suppress(OSError):
                Path(f"{output}{suffix}").unlink()
        raise
    return _account(found, names, samples, owners)


def _collect(rows: Iterable[Row]) -> _Found:
    """Sort rows by what they look like; those with a checksum of their own are checked here."""
    found = _Found()
    for row in rows:
        match (row.kind, row.values):
            case (kind, (None, int(), bytes() as record)) if kind == TABLE_LEAF:
                found.records[row.rowid] = record
            case (kind, (None, bytes() as label, bytes() as sealed, int() as checksum)) if kind == TABLE_LEAF:
                if person_checksum(row.rowid, label, sealed) == checksum:
                    found.people[row.rowid] = (label, sealed)
            case (kind, (None, int(), int(), int(), int() as samples, int())) if kind == TABLE_LEAF:
                found.samples_due = samples
            case (kind, (int() as person, int() as sample)) if kind in (INDEX_LEAF, INDEX_INTERIOR):
                found.owners[sample] = person
            case (kind, (str() as name, str() as value, int() as checksum)) if kind == INDEX_LEAF:
                if metadata_checksum(name, value) == checksum:
                    found.settings[name] = value
    return found


def _cipher_for(found: _Found, key: bytes | None, path: Path) -> Cipher | None:
    check = found.settings.get(KEY_CHECK)
    sealed = check is not None or any(sealed for _, sealed in found.people.values())
    if sealed and key is None:
        raise GalleryError(f"the gallery {path} is encrypted; give its key (--key-file or EDGECV_GALLERY_KEY)")
    if not sealed and key is not None and found.people:
        raise GalleryError(f"the gallery {path} is not encrypted; repair it without a key")
    cipher = None if key is None else Cipher(key)
    if cipher is not None and check not in (None, cipher.check):
        raise GalleryError(f"the key does not fit the gallery {path}: it was made with another one")
    return cipher


def _names(found: _Found, cipher: Cipher | None) -> dict[int, str]:
    names = {}
    for person, (label, sealed) in found.people.items():
        with suppress(GalleryError, UnicodeDecodeError):
            text = label if cipher is None else cipher.open(sealed, person_place(person))
            names[person] = text.decode()
    return names


def _intact(found: _Found, cipher: Cipher | None) -> dict[int, bytes]:
    intact = {}
    for sample, stored in found.records.items():
        with suppress(GalleryError):
            record = stored if cipher is None else cipher.open(stored, sample_place(sample))
            if records.is_intact(record) and records.dimension_of(record):
                intact[sample] = record
    return intact


def _dimension(found: _Found, intact: Mapping[int, bytes], path: Path) -> int:
    stated = found.settings.get(DIMENSION)
    if stated is not None:
        return int(stated)
    if not intact:
        raise GalleryError(f"nothing in {path} can be saved: no sample and no setting of a gallery was found in it")
    (size, _), *_ = Counter(map(len, intact.values())).most_common(1)
    return (size - records.OVERHEAD) // 4


def _samples(
    intact: Mapping[int, bytes], names: Mapping[int, str], dimension: int
) -> tuple[list[NewSample], dict[int, int]]:
    """Saved samples in order of id, and the person that each belonged to."""
    wanted = [(sample, intact[sample]) for sample in sorted(intact)]
    kept = [(sample, record) for sample, record in wanted if records.dimension_of(record) == dimension]
    table = records.unpack([record for _, record in kept], dimension)
    samples, owners = [], {}
    for (sample, _), row in zip(kept, table, strict=True):
        person = int(row["person"])
        name = names.get(person, _placeholder(person))
        vector = np.array(row["vector"], np.float32)
        samples.append(NewSample(name, vector, float(row["quality"]), float(row["added"])))
        owners[sample] = person
    return samples, owners


def _placeholder(person: int) -> str:
    return f"(name lost, person {person})"


def _write(output: Path, key: bytes | None, found: _Found, samples: list[NewSample], dimension: int) -> None:
    store = SQLiteStore(output, key=key)
    try:
        settings = {name: value for name, value in found.settings.items() if name != KEY_CHECK}
        store.initialise(settings | {DIMENSION: str(dimension)})
        store.add(samples)
    finally:
        store.close()


def _account(found: _Found, names: Mapping[int, str], samples: list[NewSample], owners: Mapping[int, int]) -> Repair:
    lost = Counter(person for sample, person in found.owners.items() if sample not in owners)
    nameless = Counter(person for person in owners.values() if person not in names)
    due = found.samples_due
    return Repair(
        samples=len(samples),
        people=len({sample.person for sample in samples}),
        # The index can know of more than a counter that was itself read from a damaged page.
        lost_samples=None if due is None else max(due - len(samples), sum(lost.values()), 0),
        incomplete={names.get(person, _placeholder(person)): count for person, count in sorted(lost.items())},
        nameless={_placeholder(person): count for person, count in sorted(nameless.items())},
        settings_lost=tuple(name for name in (DIMENSION, FINGERPRINT, CREATED) if name not in found.settings),
    )
