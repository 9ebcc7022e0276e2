"""What every search index of a gallery must do.

An index holds N vectors as rows and answers which are nearest to a query. Its rows are numbered as in an array: `add`
appends, `remove` closes the gaps (as ``numpy.delete`` would), so that a list kept beside the index stays in step by
the same two operations.
"""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError

Vector = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Found = tuple[Rows, Vector]


@runtime_checkable
class SearchIndex(Protocol):
    """Nearest rows to a query.

    Attributes
    ----------
    exact : bool
        Whether `search` always returns the true nearest rows.
    dimension : int
        D, the length of a vector.
    nbytes : int
        Memory that vectors and auxiliary structures take.
    """

    @property
    def exact(self) -> bool: ...

    @property
    def dimension(self) -> int: ...

    @property
    def nbytes(self) -> int: ...

    def __len__(self) -> int: ...

    def search(self, query: Vector, k: int = 1) -> Found:
        """The nearest rows, best first.

        Parameters
        ----------
        query : (D,) float32
            Finite; a unit vector where the rows are.
        k : int
            Most rows, at least 1.

        Returns
        -------
        rows : (min(k, N),) int64
        scores : (min(k, N),) float32
            Similarity, higher is nearer: the inner product, or a distance with its sign changed.
        """
        ...

    def add(self, vectors: Matrix) -> None:
        """Append (M, D) float32 rows; they are copied."""
        ...

    def remove(self, rows: npt.ArrayLike) -> None:
        """Drop rows by number; those behind move up, as with ``numpy.delete``."""
        ...

    def vectors(self, rows: npt.ArrayLike) -> Matrix:
        """(len(rows), D) float32: a copy of these rows, to rounding."""
        ...


def as_rows(vectors: npt.ArrayLike) -> Matrix:
    """(N, D) float32, C-contiguous; the same array where it is that already.

    Raises
    ------
    InputError
        Not a matrix, without columns, or not finite.
    """
    matrix: Matrix = np.ascontiguousarray(vectors, np.float32)
    if matrix.ndim != 2 or not matrix.shape[1]:
        raise InputError(f"vectors must be (N, D) with D of at least 1; received shape {matrix.shape}")
    # A sum meets every value and allocates nothing; it may overflow although each value is finite.
    if not math.isfinite(float(matrix.sum())) and not np.isfinite(matrix).all():
        raise InputError("vectors must be finite; received NaN or infinity")
    return matrix


def check_query(query: npt.ArrayLike, dimension: int, k: int) -> Vector:
    """(D,) float32.

    Raises
    ------
    InputError
        Of another shape or not finite, or k below 1.
    """
    vector: Vector = np.asarray(query, np.float32)
    if vector.shape != (dimension,):
        raise InputError(f"a query must be ({dimension},) as the gallery's vectors are; received shape {vector.shape}")
    if not math.isfinite(vector.dot(vector)) and not np.isfinite(vector).all():
        raise InputError("a query must be finite; received NaN or infinity")
    if k < 1:
        raise InputError(f"k must be at least 1; received {k}")
    return vector


def check_row_numbers(rows: npt.ArrayLike, count: int) -> Rows:
    """(M,) int64, within 0 to count - 1.

    Raises
    ------
    InputError
        A number beyond the rows, or not whole.
    """
    numbers = np.asarray(rows)
    if not numbers.size:
        return np.zeros(0, np.int64)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or numbers.min() < 0 or numbers.max() >= count:
        raise InputError(f"rows must be a list of whole numbers from 0 to {count - 1}; received {rows!r:.80}")
    return numbers.astype(np.int64)
