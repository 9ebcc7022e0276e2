"""Approximate search: sketches of all rows are compared, and what may be nearest is scored exactly.

How many bits of two sketches differ says when to stop: a row that is nearer than the best one scored so far differs
from the query in at most so many bits, with a probability that is known (`Sketches.most_differing`). A search begins
with the first bits of every sketch and scores the rows that differ least. Where few rows are within the bound that
their best one sets, the other bits are compared of those only, and the ones that are still within it are scored. If
somebody near the query is in the gallery, this is all. For a stranger the bound lets too many pass, and more bits of
every sketch are compared until few are left; if all bits leave too many, every row is scored.

A row is struck out by one of two looks, each of which may miss the nearest half as often as both: so the probability to
miss it is bounded for each query. The rows behind it are the best of those that were scored.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.gallery.search.base import Found, Matrix, Rows, Vector, check_query
from edgecv_runtime.gallery.search.exact import ExactIndex, best, spare_or_new
from edgecv_runtime.gallery.search.sharing import share_out
from edgecv_runtime.gallery.search.sketches import WORD, Counts, Sketches, Words

_FOR_EACH_VALUE, _MOST_BITS = 4, 1024  # 1/8 of a float32 vector's memory; to sketch takes time when a gallery is opened
_FIRST_WORDS = 3  # three words of a stranger's sketch are a little, of a known person's nearly always enough
_PROBE = 1 << 12  # rows from which the distribution of counts is read, at least
_FIRST = 1 / 2048  # share of the rows that is scored first …
_AT_LEAST, _FOR_EACH = 64, 16  # … and how many at least, in all and for each row of the answer
_NEAR = 1 / 1024  # share of the rows that is looked at more closely in any case
_PASSED = 1 / 8  # share of the rows up to which sketches are read one by one …
_TOO_MANY = 1 / 16  # … and rows are scored one by one: beyond, all of them cost as much
_PIECE = 1 << 17  # values that are scored at once: below where OpenBLAS starts threads of its own


class PrefilterIndex:
    """The nearest rows by cosine, with a stated probability.

    Parameters
    ----------
    vectors : (N, D) float32
        Unit vectors; taken over without a copy.
    confidence : float
        Probability, for each query, that the nearest row is not missed.
    bits : int, optional
        Length of a sketch, a multiple of 64. Default: 4 D, at most 1024.
    threads : {None, 1}
        None uses the cores; 1 keeps each search in the calling thread.
    """

    exact = False

    def __init__(
        self,
        vectors: npt.ArrayLike,
        *,
        confidence: float = 0.9995,
        bits: int | None = None,
        threads: int | None = None,
    ) -> None:
        if not 0.5 <= confidence < 1:
            raise InputError(f"confidence must be at least 0.5 and below 1; received {confidence}")
        self._exact = ExactIndex(vectors, threads=threads)
        chosen = bits or min(_MOST_BITS, -(-_FOR_EACH_VALUE * self.dimension // WORD) * WORD)
        if chosen < WORD or chosen % WORD:
            raise InputError(f"bits must be a multiple of {WORD}; received {bits}")
        self._alone = threads == 1
        self._z = NormalDist().inv_cdf((1 + confidence) / 2)
        self._sketches = Sketches(self.dimension, chosen // WORD, len(self._exact), alone=self._alone)
        for _, block in self._exact.rows.arrays():
            self._sketches.add(block)
        self._stages = _stages(self._sketches.words)
        self._spare: list[Counts] = []  # counts of an earlier search: fresh memory comes page by page

    @property
    def dimension(self) -> int:
        return self._exact.dimension

    @property
    def nbytes(self) -> int:
        return self._exact.nbytes + self._sketches.nbytes + sum(array.nbytes for array in self._spare)

    def __len__(self) -> int:
        return len(self._exact)

    def add(self, vectors: npt.ArrayLike) -> None:
        self._sketches.add(self._exact.rows.add(vectors))

    def remove(self, rows: npt.ArrayLike) -> None:
        self._sketches.remove(self._exact.rows.remove(rows))

    def vectors(self, rows: npt.ArrayLike) -> Matrix:
        return self._exact.vectors(rows)

    def search(self, query: npt.ArrayLike, k: int = 1) -> Found:
        """See `SearchIndex.search`."""
        vector = check_query(query, self.dimension, k)
        first = max(int(_FIRST * len(self)), _FOR_EACH * k, _AT_LEAST)
        length = math.sqrt(float(vector.dot(vector)))
        if first > _TOO_MANY * len(self) or not length:
            return self._exact.search(vector, k)
        found = self._near(vector, length, first, k)
        return self._exact.search(vector, k) if found is None else found

    def _near(self, query: Vector, length: float, first: int, k: int) -> Found | None:
        """The best of the rows that can be nearest; None where those are too many."""
        sketch = self._sketches.of(query[None])[:, 0]
        found: Found | None = None
        counts: Counts = spare_or_new(self._spare, len(self), np.uint8)
        done = 0
        for words in self._stages:
            if done and counts.dtype == np.uint8:  # enough for the first words only
                self._keep(counts)
                counts = counts.astype(np.uint16)
            self._sketches.differing(sketch, words, counts, start=done)
            done = words
            probe = np.sort(counts[:: max(1, len(counts) // _PROBE)])
            place = int(max(first / len(counts), _NEAR) * len(probe))
            bar = int(probe[min(len(probe) - 1, place)])
            near = _lowest(counts, probe, bar)
            if near is None:
                continue
            found = self._better(found, self._scored(query, _lowest_of(*near, first), k))
            cosine = float(found[1][0]) / length
            needed = self._sketches.most_differing(cosine, words, self._z)
            if needed > bar:
                near = _lowest(counts, probe, needed)
            if near is None:
                continue
            rows = self._within(*near, needed, sketch, words, cosine)
            if len(rows) <= _TOO_MANY * len(counts):
                self._keep(counts)
                found = self._better(found, self._scored(query, rows, k))
                return found if len(found[0]) >= k else None
        return None

    def _within(self, rows: Rows, bits: Counts, most: int, sketch: Words, words: int, cosine: float) -> Rows:
        """Those of the rows that differ in at most so many of the bits of the first words, and in few enough of all."""
        low = bits <= most
        rows, total = rows[low], bits[low].astype(np.uint16)
        if words < len(sketch):
            total += self._sketches.rest(sketch, rows, words)
        return rows[total <= self._sketches.most_differing(cosine, len(sketch), self._z)]

    def _keep(self, counts: Counts) -> None:
        if not self._spare and counts.dtype == np.uint8:  # each of several threads that search at once takes its own
            self._spare.append(counts)

    @staticmethod
    def _better(one: Found | None, other: Found) -> Found:
        """The one whose best row is nearer, or that has more rows."""
        if one is None or not len(one[0]):
            return other
        if not len(other[0]) or len(other[0]) < len(one[0]):
            return one
        return one if float(one[1][0]) > float(other[1][0]) else other

    def _scored(self, query: Vector, rows: Rows, k: int) -> Found:
        scores = np.empty(len(rows), np.float32)
        piece = max(1, _PIECE // self.dimension)

        def score(start: int) -> None:
            part = slice(start, start + piece)
            np.dot(self._exact.rows.take(rows[part]), query, out=scores[part])

        share_out(range(0, len(rows), piece), score, alone=self._alone)
        places, nearest = best(scores, k)
        return rows[places], nearest


def _stages(words: int) -> tuple[int, ...]:
    """How many words of every sketch are compared at first, then, and at last: all of them."""
    stages = [min(_FIRST_WORDS, words)]
    while stages[-1] < words:
        further = 8 * stages[-1] // 3
        stages.append(further if 3 * further // 2 <= words else words)
    return tuple(stages)


def _lowest(counts: Counts, probe: Counts, most: int) -> tuple[Rows, Counts] | None:
    """Rows with at most so high a count, and the counts; None where that are too many by the sorted probe."""
    if int(probe.searchsorted(most, "right")) > _PASSED * len(probe):
        return None
    rows = np.flatnonzero(counts <= most)
    return rows, counts.take(rows)


def _lowest_of(rows: Rows, bits: Counts, wanted: int) -> Rows:
    """About so many of the rows: those with the lowest counts."""
    return rows if len(rows) <= wanted else rows[np.argpartition(bits, wanted)[:wanted]]
