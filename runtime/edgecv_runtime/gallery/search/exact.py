"""Exact search: every row is looked at.

For one query the work is a matrix-vector product, and memory sets its pace. The linear algebra library does it as well
as it can be done; what is saved is around it: the scores go into memory that is there already, and the best of them
are found by two passes at the speed of the cache instead of a partition of all.

A library that shares the product out over the cores waits for the last of them. Beside a model that keeps the cores
busy that wait is many times the work; with ``threads=1`` the rows are read in blocks so small that none is shared out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.gallery.search.base import Found, Matrix, Vector, check_query, check_row_numbers
from edgecv_runtime.gallery.search.segments import Segments

Score = Callable[[Vector, Matrix], npt.NDArray[np.floating]]

_BLOCK = 1 << 17  # values: 512 KiB, within a second-level cache, and below where OpenBLAS starts threads
_SMALL = 1 << 20  # values: the scores of so few rows are made anew more quickly than looked after
_STRIPES = 64
_STRIPED_FROM = 1 << 13  # scores: a partition of fewer is quicker


class ExactIndex:
    """The nearest rows by inner product, or by another score.

    Parameters
    ----------
    vectors : (N, D) float32
        Taken over without a copy; do not change it afterwards.
    score : callable, optional
        ``score(query, block) -> (len(block),)``, higher is nearer; see `Distance.similarity`. Default: the inner
        product, which for unit vectors is the cosine of the angle.
    threads : {None, 1}
        None leaves it to the linear algebra library; 1 keeps each search in the calling thread, which is quicker where
        other work fills the cores.

    Examples
    --------
    >>> index = ExactIndex(np.eye(3, dtype=np.float32))
    >>> rows, scores = index.search(np.array([0, 0.5, 0.75], np.float32), k=2)
    >>> rows.tolist(), scores.tolist()
    ([2, 1], [0.75, 0.5])
    """

    exact = True

    def __init__(self, vectors: npt.ArrayLike, *, score: Score | None = None, threads: int | None = None) -> None:
        if threads not in (None, 1):
            raise InputError(f"threads must be None (as the linear algebra library likes) or 1; received {threads!r}")
        self.rows = Segments(vectors)
        self._score = score
        self._block = max(1, _BLOCK // self.rows.dimension)
        self._whole = threads is None and score is None
        self._spare: list[Vector] = []  # scores of an earlier search: fresh memory comes page by page

    @property
    def dimension(self) -> int:
        dimension: int = self.rows.dimension
        return dimension

    @property
    def nbytes(self) -> int:
        return self.rows.nbytes + sum(array.nbytes for array in self._spare)

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, vectors: npt.ArrayLike) -> None:
        self.rows.add(vectors)

    def remove(self, rows: npt.ArrayLike) -> None:
        self.rows.remove(rows)

    def vectors(self, rows: npt.ArrayLike) -> Matrix:
        return self.rows.take(check_row_numbers(rows, len(self)))

    def search(self, query: npt.ArrayLike, k: int = 1) -> Found:
        """See `SearchIndex.search`. Among equal scores the lower row is first."""
        vector = check_query(query, self.rows.dimension, k)
        arrays = self.rows.arrays()
        if self._whole and len(arrays) == 1:
            rows = arrays[0][1]
            if rows.size <= _SMALL:
                return best(rows @ vector, k)
        count = arrays[-1][0] + len(arrays[-1][1])
        scores = spare_or_new(self._spare, count, np.float32)
        for start, rows in arrays:
            out = scores[start : start + len(rows)]
            if self._whole:
                np.dot(rows, vector, out=out)
            elif self._score is None:
                _products(rows, vector, self._block, out)
            else:
                for begin in range(0, len(rows), self._block):
                    part = slice(begin, begin + self._block)
                    out[part] = self._score(vector, rows[part])
        found = best(scores, k)
        if not self._spare:  # one is kept; each of several threads that search at once takes or makes its own
            self._spare.append(scores)
        return found


def spare_or_new(spare: list[Any], count: int, dtype: npt.DTypeLike) -> Any:
    """(count,): the last of the spare arrays if it is as long, else a new one; another thread may be as quick."""
    try:
        kept = spare.pop()
    except IndexError:
        return np.empty(count, dtype)
    return kept if len(kept) == count else np.empty(count, dtype)


def _products(rows: Matrix, query: Vector, block: int, out: Vector) -> None:
    """Inner products of all rows into `out`: one call, in which numpy goes from block to block by itself."""
    whole = len(rows) // block * block
    if whole:
        np.matmul(rows[:whole].reshape(-1, block, len(query)), query, out=out[:whole].reshape(-1, block))
    if whole < len(rows):
        np.dot(rows[whole:], query, out=out[whole:])


def best(scores: npt.NDArray[np.floating], k: int) -> Found:
    """The k highest of (N,) scores, best first; among equal ones the lower row.

    Of many scores most are struck out first: they are laid out as `_STRIPES` rows of a table, and the k-th highest of
    the columns' maxima, each another score, is at most the k-th highest of all.
    """
    count = len(scores)
    if k == 1 and count:
        place = int(scores.argmax())
        return np.array([place]), scores[place : place + 1].astype(np.float32)
    if k >= count:
        rows = np.arange(count)
    else:
        tops = scores
        if count >= _STRIPED_FROM and k < count // (4 * _STRIPES):
            tops = scores[: count // _STRIPES * _STRIPES].reshape(_STRIPES, -1).max(axis=0)
        bar = np.partition(tops, -k)[-k]
        rows = (scores >= bar).nonzero()[0]
    kept = scores[rows]
    order = (-kept).argsort(kind="stable")[:k]
    return rows[order], kept[order].astype(np.float32, copy=False)
