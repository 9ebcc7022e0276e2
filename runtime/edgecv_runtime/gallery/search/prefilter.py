"""Approximate search: a sketch of every row is compared, and what may be nearest is scored exactly.

A sketch is the signs of the vector's products with B random directions (Charikar 2002, "Similarity Estimation
Techniques from Rounding Algorithms", section 3): for vectors at an angle θ each sign differs with probability θ / π,
whatever the data are. B bits take 1/16 of the memory that a float32 vector of B / 2 values does, and to count how many
differ takes three passes over them. Sketches of 8 bits for each value were tried and are slower than the exact search:
numpy multiplies integers without the processor's instructions for it.

The count also says when to stop. If the best of the rows scored so far has the score s = cos θ, a row that is nearer
differs from the query, of B bits, in at most ::

    B θ/π + z √(B θ/π (1 - θ/π))

bits, with the probability Φ(z) (a binomial distribution's normal approximation; directions that are orthogonal to each
other scatter less). The first half of every sketch is counted, the other half only where the first is within this
bound. All rows within it are scored; where they are too many, because nothing near the query is there,
every row is. So the probability to miss the nearest row is bounded for each query, also for one of a stranger. The rows
behind it are the best of those that were scored.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.gallery.search.base import Found, Matrix, Rows, Vector, as_rows, check_query
from edgecv_runtime.gallery.search.exact import ExactIndex, best

Words = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.unsignedinteger]

_LEAST_BITS, _MOST_BITS = 256, 512
_WORD = 64
_PROBE = 1 << 12  # rows from which the distribution of counts is read
_FIRST = 4e-4  # share of the rows that is scored first …
_AT_LEAST, _FOR_EACH = 64, 16  # … and how many at least, in all and for each row of the answer
_PASSED, _MOST_PASSED = 1 / 32, 1 / 4  # share of the rows whose sketches are read to the end at first, and at most
_TOO_MANY = 1 / 16  # share of the rows beyond which single rows cost as much as all of them
_BLOCK = 1 << 15  # rows: what is counted of them stays in the cache
_SEED = 20150703


class PrefilterIndex:
    """The nearest rows by cosine, with a stated probability.

    Parameters
    ----------
    vectors : (N, D) float32
        Unit vectors; taken over without a copy.
    confidence : float
        Probability, for each query, that the nearest row is not missed.
    bits : int, optional
        Length of a sketch, a multiple of 64. Default: 2 D, between 256 and 512.
    threads : {None, 1}
        As for `ExactIndex`.
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
        chosen = bits or min(_MOST_BITS, max(_LEAST_BITS, -(-2 * self.dimension // _WORD) * _WORD))
        if chosen < _WORD or chosen % _WORD:
            raise InputError(f"bits must be a multiple of {_WORD}; received {bits}")
        # The nearest row must pass twice, by its first bits and by all: each may miss it half as often.
        self._bits, self._z = chosen, NormalDist().inv_cdf((1 + confidence) / 2)
        self._first = -(-chosen // (2 * _WORD))  # words that are counted of every row
        # One byte holds up to 255: of 256 bits the very opposite of the query counts as 0. It is then scored, and last.
        self._counter = np.uint8 if _WORD * self._first <= 256 else np.uint16
        self._spare: list[Counts] = []  # counts of an earlier search: fresh memory comes page by page
        self._directions = _directions(self.dimension, chosen)
        self._words: Words = np.empty((chosen // _WORD, len(self)), np.uint64)
        for start, block in self._exact.rows.blocks(_PROBE):
            self._words[:, start : start + len(block)] = self._sketch(block)
        self._count = len(self)

    @property
    def dimension(self) -> int:
        return self._exact.dimension

    @property
    def nbytes(self) -> int:
        return self._exact.nbytes + self._words.nbytes + sum(array.nbytes for array in self._spare)

    def __len__(self) -> int:
        return len(self._exact)

    def add(self, vectors: npt.ArrayLike) -> None:
        new = self._exact.rows.add(vectors)
        room = self._words.shape[1]
        if self._count + len(new) > room:
            larger = np.empty((len(self._words), max(self._count + len(new), room + room // 8)), np.uint64)
            larger[:, : self._count] = self._words[:, : self._count]
            self._words = larger
        for start in range(0, len(new), _PROBE):
            block = new[start : start + _PROBE]
            self._words[:, self._count : self._count + len(block)] = self._sketch(block)
            self._count += len(block)

    def remove(self, rows: npt.ArrayLike) -> None:
        gone = self._exact.rows.remove(rows)
        self._words = np.delete(self._words[:, : self._count], gone, axis=1)
        self._count -= len(gone)

    def vectors(self, rows: npt.ArrayLike) -> Matrix:
        return self._exact.vectors(rows)

    def search(self, query: npt.ArrayLike, k: int = 1) -> Found:
        """See `SearchIndex.search`."""
        vector = check_query(query, self.dimension, k)
        count = self._count
        first = max(int(_FIRST * count), _FOR_EACH * k, _AT_LEAST)
        length = math.sqrt(float(vector.dot(vector)))
        if first > _TOO_MANY * count or not length:
            return self._exact.search(vector, k)
        sketch = self._sketch(vector[None])[:, 0]
        differing = self._differing(sketch)
        found = self._near(vector, length, sketch, differing, first, k)
        if not self._spare:  # one is kept; each of several threads that search at once takes or makes its own
            self._spare.append(differing)
        return self._exact.search(vector, k) if found is None else found

    def _near(self, query: Vector, length: float, sketch: Words, differing: Counts, first: int, k: int) -> Found | None:
        """The best of the rows that can be nearest; None where they are too many or too few to be worth it."""
        probe = np.sort(differing[:: max(1, self._count // _PROBE)])
        bar = int(probe[min(len(probe) - 1, int(_PASSED * len(probe)))])
        passed = self._passed(differing, bar, probe, sketch)
        if passed is None:
            return None
        rows, bits = passed
        if len(rows) < max(k, first):
            return None
        found = self._scored(query, rows[np.argpartition(bits, first - 1)[:first]] if first < len(rows) else rows, k)
        cosine = float(found[1][0]) / length
        needed = self._needed(cosine, _WORD * self._first)
        if needed > bar:
            passed = self._passed(differing, needed, probe, sketch)
            if passed is None:
                return None
            rows, bits = passed
        rows = rows[bits <= self._needed(cosine, self._bits)]
        if len(rows) > _TOO_MANY * self._count:
            return None
        return found if len(rows) < k else self._better(found, self._scored(query, rows, k))

    @staticmethod
    def _better(one: Found, other: Found) -> Found:
        """The one whose best row is nearer."""
        return one if float(one[1][0]) > float(other[1][0]) else other

    def _passed(
        self, differing: Counts, most: int, probe: Counts, sketch: Words
    ) -> tuple[Rows, npt.NDArray[np.uint16]] | None:
        """Rows whose first bits differ in at most so many places, and in how many places of all they do."""
        if int(probe.searchsorted(most, "right")) > _MOST_PASSED * len(probe):
            return None
        rows = np.flatnonzero(differing <= most)
        bits = differing[rows].astype(np.uint16)
        ones = np.empty(len(rows), np.uint8)
        for place in range(self._first, len(sketch)):
            _count_ones(self._words[place].take(rows) ^ sketch[place], ones)
            bits += ones
        return rows, bits

    def _needed(self, cosine: float, bits: int) -> int:
        """Of so many bits, those in which a row that is as near as this may differ; the formula above."""
        share = math.acos(min(1.0, max(-1.0, cosine))) / math.pi
        return math.ceil(bits * share + self._z * math.sqrt(bits * share * (1 - share)))

    def _scored(self, query: Vector, rows: Rows, k: int) -> Found:
        places, scores = best(self._exact.rows.take(rows).dot(query), k)
        return rows[places], scores

    def _sketch(self, vectors: Matrix) -> Words:
        """(B / 64, N)."""
        signs = np.packbits(vectors @ self._directions > 0, axis=1)
        return np.ascontiguousarray(signs.view(np.uint64).T)

    def _differing(self, query: Words) -> Counts:
        """(N,): in how many of the first bits each row differs from the query."""
        counts: Counts = self._spare.pop() if self._spare else np.empty(0, self._counter)
        if len(counts) != self._count:
            counts = np.empty(self._count, self._counter)
        size = min(_BLOCK, self._count)
        words, ones = np.empty(size, np.uint64), np.empty(size, np.uint8)
        for start in range(0, self._count, _BLOCK):
            part = counts[start : start + _BLOCK]
            unequal, bits = words[: len(part)], ones[: len(part)]
            for place, word in enumerate(query[: self._first]):
                np.bitwise_xor(self._words[place, start : start + len(part)], word, out=unequal)
                _count_ones(unequal, bits)
                if place:
                    np.add(part, bits, out=part)
                else:
                    part[:] = bits
        return counts


@functools.cache
def _directions(dimension: int, bits: int) -> Matrix:
    """(D, B) float32: random rotations side by side, the same ones every time."""
    generator = np.random.default_rng(_SEED)
    turned = [np.linalg.qr(generator.standard_normal((dimension, dimension)))[0] for _ in range(-(-bits // dimension))]
    return as_rows(np.concatenate(turned, axis=1)[:, :bits].astype(np.float32))


def _count_ones(words: Words, out: npt.NDArray[np.uint8]) -> None:
    """Bits that are set in each word."""
    if hasattr(np, "bitwise_count"):  # since numpy 2.0
        np.bitwise_count(words, out=out)
    else:
        out[:] = _table()[words.view(np.uint16)].reshape(-1, 4).sum(axis=1, dtype=np.uint8)


@functools.cache
def _table() -> npt.NDArray[np.uint8]:
    """Bits that are set in each 16-bit number."""
    bits = np.unpackbits(np.arange(1 << 16, dtype=np.uint16).view(np.uint8)).reshape(-1, 16)
    return np.asarray(bits.sum(axis=1, dtype=np.uint8))
