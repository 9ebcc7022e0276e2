"""Approximate search on a graph: usearch's HNSW (Malkov and Yashunin 2018) behind the same interface.

The graph holds its own copy of the vectors in int8; the float rows stay beside it and score what the graph finds
exactly. A search looks at a few hundred rows whatever the size. The price: to build it takes more than a second for
every 10,000 vectors, each time a gallery is opened, and it takes a multiple of a small gallery's memory. So it is for a
server that stays up, not for a device that restarts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime._require import require
from edgecv_runtime.gallery.search.base import Found, Matrix, check_query, check_row_numbers
from edgecv_runtime.gallery.search.exact import best
from edgecv_runtime.gallery.search.segments import Segments

_CONNECTIVITY = 16
_EXPANSION_ADD, _EXPANSION_SEARCH = 128, 128
_CANDIDATES = 32  # scored exactly for each query, at least: int8 confuses close neighbours
_BATCH = 1 << 14  # rows


class ApproximateIndex:
    """The nearest rows by cosine, found on a graph; needs ``usearch``.

    Parameters
    ----------
    vectors : (N, D) float32
        Unit vectors; taken over without a copy.
    expansion : int
        Nodes that a search keeps in view: more finds more and takes longer.
    threads : int
        For building; 0 means every core.

    Raises
    ------
    MissingPackageError
        usearch is not installed.
    """

    exact = False

    def __init__(self, vectors: npt.ArrayLike, *, expansion: int = _EXPANSION_SEARCH, threads: int = 0) -> None:
        library = require("usearch.index", install="edgecv-runtime[gallery]", purpose="the graph index of a gallery")
        self.rows = Segments(vectors)
        self._threads = threads
        self._graph: Any = library.Index(
            ndim=self.rows.dimension, metric="cos", dtype="i8", connectivity=_CONNECTIVITY,
            expansion_add=_EXPANSION_ADD, expansion_search=expansion,
        )  # fmt: skip
        # Keys of the graph are given once; which row a key means changes as rows before it go.
        self._keys = np.zeros(0, np.uint64)
        self._next = 0
        for _, block in self.rows.blocks(_BATCH):
            self._insert(block)

    @property
    def dimension(self) -> int:
        dimension: int = self.rows.dimension
        return dimension

    @property
    def nbytes(self) -> int:
        return self.rows.nbytes + int(self._graph.memory_usage) + self._keys.nbytes

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, vectors: npt.ArrayLike) -> None:
        new = self.rows.add(vectors)
        for start in range(0, len(new), _BATCH):
            self._insert(new[start : start + _BATCH])

    def remove(self, rows: npt.ArrayLike) -> None:
        gone = np.unique(check_row_numbers(rows, len(self)))
        if len(gone):
            self._graph.remove(self._keys[gone])
            self._keys = np.delete(self._keys, gone)
            self.rows.remove(gone)

    def vectors(self, rows: npt.ArrayLike) -> Matrix:
        return self.rows.take(check_row_numbers(rows, len(self)))

    def search(self, query: npt.ArrayLike, k: int = 1) -> Found:
        """See `SearchIndex.search`."""
        vector = check_query(query, self.dimension, k)
        wanted = min(max(_CANDIDATES, 2 * k), len(self))
        if not wanted:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        keys = np.sort(np.asarray(self._graph.search(vector, wanted).keys))
        rows = self._keys.searchsorted(keys)  # keys grow with the rows
        places, scores = best(self.rows.take(rows).dot(vector), k)
        return rows[places], scores

    def _insert(self, block: Matrix) -> None:
        keys = np.arange(self._next, self._next + len(block), dtype=np.uint64)
        self._graph.add(keys, block, threads=self._threads)
        self._keys = np.append(self._keys, keys)
        self._next += len(block)
