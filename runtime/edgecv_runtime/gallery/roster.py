"""The gallery in memory: who is searched, kept in step with the store by what it says has changed.

Beside the search index stand a few bytes for each sample, in numpy arrays: 128-d vectors take 512 bytes, and Python
objects for a name and two numbers would add a third of that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecv_runtime.gallery.names import NameTable
from edgecv_runtime.gallery.search import SearchIndex
from edgecv_runtime.gallery.store import Changes, Floats, Ids, Samples
from edgecv_runtime.gallery.templates import MakeTemplate

MakeIndex = Callable[[Floats], SearchIndex]
FetchSamples = Callable[[str], Samples]


@dataclass(frozen=True)
class Candidate:
    """A person that a search came upon: their best score, and the sample it is from (None for a template)."""

    name: str
    score: float
    sample: int | None


class Roster:
    """Everybody in a gallery, ready to be searched.

    Parameters
    ----------
    samples : Samples
        Their vectors are taken over, not copied.
    make_index : callable
        Makes a search index of (N, D) float32 rows, N at least 1.
    make_template : callable or None
        One vector for each person, of all of theirs and their qualities; None: every sample is searched.
    fetch : callable
        The samples of one person as the store has them; used where a template changes.
    """

    def __init__(
        self, samples: Samples, make_index: MakeIndex, make_template: MakeTemplate | None, fetch: FetchSamples
    ) -> None:
        self._make_index, self._make_template, self._fetch = make_index, make_template, fetch
        self.revision = samples.revision
        self._names = samples.names if isinstance(samples.names, NameTable) else NameTable(samples.names)
        self._ids: Ids = samples.ids  # of every sample …
        self._owners = samples.people  # … and which name is theirs
        self._counts = np.bincount(samples.people, minlength=len(self._names)).astype(np.int32)
        vectors, owners = samples.vectors, samples.people
        if make_template is not None:
            vectors, owners = _templates(samples, make_template)
        self._rows = owners  # the name that each row of the index belongs to
        self._index = make_index(vectors) if len(vectors) else None

    def __len__(self) -> int:
        """How many people."""
        return int(np.count_nonzero(self._counts))

    @property
    def samples(self) -> int:
        return len(self._ids)

    @property
    def exact(self) -> bool:
        return self._index is None or self._index.exact

    @property
    def nbytes(self) -> int:
        """Memory for vectors and all that stands beside them."""
        arrays = {id(array): array.nbytes for array in (self._ids, self._owners, self._rows, self._counts)}
        return sum(arrays.values()) + self._names.nbytes + (0 if self._index is None else self._index.nbytes)

    def names(self) -> list[str]:
        """In the order of their first sample."""
        order = np.argsort(self._ids)
        owners, first = np.unique(self._owners[order], return_index=True)
        return [self._names[int(owner)] for owner in owners[np.argsort(first)]]

    def known(self, names: Sequence[str]) -> list[bool]:
        """Which of these names are somebody's."""
        return [slot >= 0 for slot in self._names.find_all(names)]

    def vectors_of(self, name: str) -> Floats:
        """(M, D): what is searched of one person."""
        rows = np.flatnonzero(self._rows == self._names.find(name))
        if self._index is None or not len(rows):
            return np.zeros((0, 0), np.float32)
        return self._index.vectors(rows)

    def search(self, query: Floats, k: int) -> list[Candidate]:
        """The k nearest people, best first, each by their nearest row."""
        if self._index is None:
            return []
        asked = k if k == 1 or self._make_template is not None else 4 * k
        while True:
            rows, scores = self._index.search(query, asked)
            owners, first = np.unique(self._rows[rows], return_index=True)
            if len(owners) >= k or len(rows) < asked or asked >= len(self._index):
                break
            asked *= 4  # a few people with many samples fill the list
        order = np.sort(first)[:k]
        return [
            Candidate(
                self._names[int(self._rows[rows[place]])],
                float(scores[place]),
                int(self._ids[rows[place]]) if self._make_template is None else None,
            )
            for place in order
        ]

    # -- following the store ---------------------------------------------------------------------------

    def apply(self, changes: Changes) -> None:
        """Come to the revision that `changes` leads to. Samples that are known already are replaced."""
        changed = changes.changed
        gone = np.flatnonzero(np.isin(self._ids, np.concatenate([changes.removed, changed.ids])))
        touched = set(self._owners[gone].tolist())
        self._drop(gone)
        slots = self._slots(changed.names)
        owners = slots[changed.people] if len(changed) else np.zeros(0, np.int32)
        self._ids = np.concatenate([self._ids, changed.ids])
        self._owners = np.concatenate([self._owners, owners])
        np.add.at(self._counts, owners, 1)
        if self._make_template is None:
            self._rows = self._owners
            self._add_rows(changed.vectors)
        else:
            self._renew_templates(touched | set(owners.tolist()))
        for slot in sorted(touched):
            if not self._counts[slot]:
                self._names.set(slot, "")
        self.revision = changed.revision

    def _drop(self, positions: npt.NDArray[np.int64]) -> None:
        np.subtract.at(self._counts, self._owners[positions], 1)
        self._ids = np.delete(self._ids, positions)
        self._owners = np.delete(self._owners, positions)
        if self._make_template is None:
            self._drop_rows(positions)

    def _slots(self, names: Sequence[str]) -> npt.NDArray[np.int32]:
        """Where each name stands; those that are new are put at the end."""
        slots = np.array(self._names.find_all(names), np.int32)
        new = np.flatnonzero(slots < 0)
        slots[new] = len(self._names) + np.arange(len(new))
        self._names.extend([names[index] for index in new.tolist()])
        self._counts = np.concatenate([self._counts, np.zeros(len(new), np.int32)])
        return slots

    def _renew_templates(self, slots: set[int]) -> None:
        make = self._make_template
        old = np.flatnonzero(np.isin(self._rows, list(slots)))
        self._rows = np.delete(self._rows, old)
        self._drop_rows(old)
        living = sorted(slot for slot in slots if self._counts[slot])
        for slot in living:
            samples = self._fetch(self._names[slot])
            if make is not None and len(samples):  # else another process has removed them; that news will come
                self._rows = np.append(self._rows, np.int32(slot))
                self._add_rows(make(samples.vectors, samples.quality)[None])

    def _drop_rows(self, rows: npt.NDArray[np.int64]) -> None:
        if self._index is None or not len(rows):
            return
        if len(rows) == len(self._index):
            self._index = None
        else:
            self._index.remove(rows)

    def _add_rows(self, vectors: Floats) -> None:
        if not len(vectors):
            return
        if self._index is None:
            self._index = self._make_index(np.array(vectors, np.float32))
        else:
            self._index.add(vectors)


def _templates(samples: Samples, make: MakeTemplate) -> tuple[Floats, npt.NDArray[np.int32]]:
    """One row for each person, (P, D), and the name that each belongs to."""
    order = np.argsort(samples.people, kind="stable")
    owners, starts = np.unique(samples.people[order], return_index=True)
    made = np.empty((len(owners), samples.vectors.shape[1]), np.float32)
    for row, own in enumerate(np.split(order, starts[1:])[: len(owners)]):
        made[row] = make(samples.vectors[own], samples.quality[own])
    return made, owners.astype(np.int32)
