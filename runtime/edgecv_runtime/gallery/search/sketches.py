"""Vectors as strings of bits: the signs of their products with random directions.

Charikar 2002, "Similarity Estimation Techniques from Rounding Algorithms", section 3: for vectors at an angle θ each
sign differs with probability p = θ / π, whatever the data are. To count how many differ takes three passes over the
bits; sketches of 8 bits for each value were tried and are slower than the exact search, because numpy multiplies
integers without the processor's instructions for it.

Directions that are orthogonal to each other scatter less than independent ones (Ji et al. 2012, "Super-Bit
Locality-Sensitive Hashing"). How much less: of two vectors turned by a whole rotation, the lengths and the inner
product are what they were. So of the variance p (1 - p) of one bit, what depends on the squares and the product of the
two coordinates cancels out over the rotation: with s and t, the halved sum and difference at unit variance, the bit's
covariances with s² and t² are ∓ sin θ / π, their variances 2, and the part that they explain is (sin θ / π)². m
directions of a rotation of D have m p (1 - p) - m²/D (sin θ / π)².
"""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt

from edgecv_runtime.gallery.search.base import Matrix, Rows, as_rows
from edgecv_runtime.gallery.search.sharing import share_out

Words = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.unsignedinteger]

WORD = 64  # bits
_PIECE = 1 << 12  # rows that are sketched at once
_BLOCK = 1 << 16  # rows: what is counted of them stays in the cache
_SEED = 20150703


class Sketches:
    """One string of bits for each row; they are numbered, added and removed as the rows are.

    Parameters
    ----------
    dimension : int
    words : int
        Length of a sketch in words of 64 bits.
    rows : int
        How many will be added at first.
    alone : bool
        Count in the calling thread only.
    """

    def __init__(self, dimension: int, words: int, rows: int = 0, *, alone: bool = False) -> None:
        self._dimension = dimension
        self._directions = _directions(dimension, WORD * words)
        self._words: Words = np.empty((words, rows), np.uint64)
        self._count = 0
        self._alone = alone

    @property
    def words(self) -> int:
        return len(self._words)

    @property
    def nbytes(self) -> int:
        return self._words.nbytes

    def __len__(self) -> int:
        return self._count

    def add(self, vectors: Matrix) -> None:
        room = self._words.shape[1]
        if self._count + len(vectors) > room:
            larger = np.empty((self.words, max(self._count + len(vectors), room + room // 16)), np.uint64)
            larger[:, : self._count] = self._words[:, : self._count]
            self._words = larger
        for start in range(0, len(vectors), _PIECE):
            block = vectors[start : start + _PIECE]
            self._words[:, self._count : self._count + len(block)] = self.of(block)
            self._count += len(block)

    def remove(self, rows: Rows) -> None:
        self._words = np.delete(self._words[:, : self._count], rows, axis=1)
        self._count -= len(rows)

    def of(self, vectors: Matrix) -> Words:
        """(words, N): the sketches of these (N, D) vectors."""
        signs = np.packbits(vectors @ self._directions > 0, axis=1)
        return np.ascontiguousarray(signs.view(np.uint64).T)

    def most_differing(self, cosine: float, words: int, z: float) -> int:
        """In so many words, bits that a vector at this cosine or nearer exceeds with the probability 1 - Φ(z).

        Mean, standard deviation and, for the skewness, the first term of Cornish and Fisher's expansion.
        """
        bits = WORD * words
        angle = math.acos(min(1.0, max(-1.0, cosine)))
        share = angle / math.pi
        whole, part = divmod(bits, self._dimension)
        cancelled = (whole * self._dimension + part**2 / self._dimension) * (math.sin(angle) / math.pi) ** 2
        deviation = math.sqrt(max(0.0, bits * share * (1 - share) - cancelled))
        return math.ceil(bits * share + z * deviation + (z**2 - 1) / 6 * (1 - 2 * share))

    def differing(self, query: Words, most: int, out: Counts, start: int = 0) -> None:
        """In how many bits each row differs from the query, in words from `start` up to `most`.

        Parameters
        ----------
        query : (words,) uint64
        most : int
            Words that are compared.
        out : (N,) uint8 or uint16
            The counts up to `start`, to which the others are added. One byte is enough for three words.
        start : int
        """

        def count(begin: int) -> None:
            part = out[begin : begin + _BLOCK]
            rows = slice(begin, begin + len(part))
            unequal, ones = np.empty(len(part), np.uint64), np.empty(len(part), np.uint8)
            for place in range(start, most):
                np.bitwise_xor(self._words[place, rows], query[place], out=unequal)
                _count_ones(unequal, ones if place else part)
                if place:
                    np.add(part, ones, out=part)

        share_out(range(0, self._count, _BLOCK), count, alone=self._alone)

    def rest(self, query: Words, rows: Rows, start: int) -> npt.NDArray[np.uint16]:
        """(len(rows),): the differing bits of these rows in the words from `start` on."""
        bits = np.zeros(len(rows), np.uint16)
        ones = np.empty(len(rows), np.uint8)
        for place in range(start, self.words):
            _count_ones(self._words[place].take(rows) ^ query[place], ones)
            bits += ones
        return bits


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
        bits = _table()[words.view(np.uint16)]
        out[:] = bits.reshape(-1, 4).sum(axis=1, dtype=np.uint8)


@functools.cache
def _table() -> npt.NDArray[np.uint8]:
    """Bits that are set in each 16-bit number."""
    bits = np.unpackbits(np.arange(1 << 16, dtype=np.uint16).view(np.uint8)).reshape(-1, 16)
    return np.asarray(bits.sum(axis=1, dtype=np.uint8))
