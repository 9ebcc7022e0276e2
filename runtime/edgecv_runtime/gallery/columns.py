"""Samples as columns, for stores whose places give and take rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.gallery.store import Floats, Ids, NewSample, Samples


@dataclass(frozen=True)
class Batch:
    """New samples as the columns of `Samples`, before they have ids."""

    people: npt.NDArray[np.int32]
    names: Sequence[str]
    vectors: Floats
    quality: Floats
    added: npt.NDArray[np.float64]

    def numbered(self, ids: Ids, revision: int) -> Samples:
        return Samples(ids, self.people, self.names, self.vectors, self.quality, self.added, revision)


def check_batch(samples: Sequence[NewSample], dimension: str | None) -> Batch:
    """Columns of new samples.

    Raises
    ------
    InputError
        The length of the vectors is not settled yet, or a vector has another.
    """
    if dimension is None:
        raise InputError("the length of the vectors must be set before the first sample is added")
    for sample in samples:
        if sample.vector.shape != (int(dimension),):
            raise InputError(f"a vector must have {dimension} values; received shape {sample.vector.shape}")
    rows = [(0, sample.person, sample.quality, sample.added) for sample in samples]
    vectors = np.array([sample.vector for sample in samples], np.float32).reshape(len(samples), int(dimension))
    made = samples_from_rows(rows, vectors, 0)
    return Batch(made.people, made.names, made.vectors, made.quality, made.added)


def samples_from_rows(rows: Sequence[tuple[int, str, float, float]], vectors: Floats, revision: int) -> Samples:
    """From (id, name, quality, added) rows in the order of their (N, D) vectors."""
    places: dict[str, int] = {}
    people = np.array([places.setdefault(row[1], len(places)) for row in rows], np.int32)
    return Samples(
        ids=np.array([row[0] for row in rows], np.int64),
        people=people,
        names=list(places),
        vectors=np.ascontiguousarray(vectors, np.float32),
        quality=np.array([row[2] for row in rows], np.float32),
        added=np.array([row[3] for row in rows], np.float64),
        revision=revision,
    )
