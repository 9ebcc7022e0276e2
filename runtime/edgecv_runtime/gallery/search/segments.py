"""Rows of float32 vectors that grow and shrink without ever being held twice."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.gallery.search.base import Matrix, Rows, as_rows, check_row_numbers

# Bytes below which all rows stay in one array (to copy them is cheaper than to search in pieces), and the most room
# that one addition makes beyond what it needs.
_WHOLE = 4 << 20
_LEAST_ROOM = 64  # rows
_SLACK = 16  # at most 1/16 of the rows may be room: with sketches, a gallery may take 1.2 × its vectors
_PIECE = 1 << 12  # rows that are moved at once


class Segments:
    """(N, D) rows in one array or several.

    The array that it is made of is taken over and not copied; the caller must not change it afterwards. New rows of a
    large gallery go into further arrays, because one that is enlarged would for a moment exist twice.

    Parameters
    ----------
    vectors : (N, D) float32
    """

    def __init__(self, vectors: npt.ArrayLike) -> None:
        first = as_rows(vectors)
        self.dimension = first.shape[1]
        self._arrays: list[Matrix] = [first]
        self._used = [len(first)]

    def __len__(self) -> int:
        return sum(self._used)

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self._arrays)

    def arrays(self) -> list[tuple[int, Matrix]]:
        """Each array's first row number and its rows; views."""
        if len(self._arrays) == 1:
            return [(0, self._arrays[0][: self._used[0]])]
        starts = accumulate(self._used, initial=0)
        return [(start, a[:used]) for start, a, used in zip(starts, self._arrays, self._used, strict=False)]

    def blocks(self, rows: int) -> Iterator[tuple[int, Matrix]]:
        """The same in views of at most so many rows."""
        for start, array in self.arrays():
            for offset in range(0, len(array), rows):
                yield start + offset, array[offset : offset + rows]

    def add(self, vectors: npt.ArrayLike) -> Matrix:
        """Append rows; return them as they were checked."""
        new = as_rows(vectors)
        if new.shape[1] != self.dimension:
            raise InputError(f"vectors must have {self.dimension} values as the gallery's; received {new.shape[1]}")
        done = 0
        while done < len(new):
            array, used = self._arrays[-1], self._used[-1]
            fits = min(len(new) - done, len(array) - used) if array.flags.writeable else 0
            if not fits:
                self._enlarge(len(new) - done)
                continue
            array[used : used + fits] = new[done : done + fits]
            self._used[-1] += fits
            done += fits
        return new

    def _enlarge(self, needed: int) -> None:
        count, width = len(self), 4 * self.dimension
        room = max(needed, _LEAST_ROOM, min(count // _SLACK, _WHOLE // width))
        if len(self._arrays) == 1 and (not count or (count + room) * width <= _WHOLE):
            larger = np.empty((count + room, self.dimension), np.float32)
            larger[:count] = self._arrays[0][:count]
            self._arrays = [larger]
        else:
            self._arrays.append(np.empty((room, self.dimension), np.float32))
            self._used.append(0)

    def remove(self, rows: npt.ArrayLike) -> Rows:
        """Drop rows; return their numbers, ascending, each once."""
        gone = np.unique(check_row_numbers(rows, len(self)))
        for place, (start, array) in enumerate(self.arrays()):
            inside = gone[(gone >= start) & (gone < start + len(array))] - start
            if len(inside) and array.flags.writeable:
                self._used[place] = _close_gaps(array, inside)
            elif len(inside):
                self._arrays[place] = np.delete(array, inside, axis=0)
                self._used[place] = len(self._arrays[place])
        if len(self._arrays) > 1 and (
            0 in self._used or sum(map(len, self._arrays[:-1])) - sum(self._used[:-1]) > len(self) // _SLACK
        ):
            self._compact()
        return gone

    def _compact(self) -> None:
        """Move rows forward into the room before them, and give back arrays that are empty then."""
        old, used = self._arrays, self._used
        self._arrays, self._used = [old[0]], [used[0]]
        for array, count in zip(old[1:], used[1:], strict=True):
            done = 0
            while done < count and len(self._arrays[-1]) > self._used[-1] and self._arrays[-1].flags.writeable:
                target, filled = self._arrays[-1], self._used[-1]
                fits = min(count - done, len(target) - filled, _PIECE)
                target[filled : filled + fits] = array[done : done + fits]
                self._used[-1] += fits
                done += fits
            if done < count:
                array[: count - done] = array[done:count]
                array[count - done : count] = 0
                self._arrays.append(array)
                self._used.append(count - done)

    def take(self, rows: Rows) -> Matrix:
        """(len(rows), D): copies of these rows."""
        arrays = self.arrays()
        if len(arrays) == 1:
            return arrays[0][1].take(rows, axis=0)
        taken = np.empty((len(rows), self.dimension), np.float32)
        of = np.array([start for start, _ in arrays]).searchsorted(rows, "right") - 1
        for place in np.unique(of):
            here = of == place
            start, array = arrays[place]
            taken[here] = array.take(rows[here] - start, axis=0)
        return taken


def _close_gaps(array: Matrix, gone: Rows) -> int:
    """Move the other rows together, in pieces so that they are never there twice; how many are left."""
    target = int(gone[0])
    edges = [*gone.tolist(), len(array)]
    for before, after in pairwise(edges):
        for start in range(before + 1, after, _PIECE):
            stop = min(start + _PIECE, after)
            array[target : target + stop - start] = array[start:stop]  # numpy minds the overlap
            target += stop - start
    array[target:] = 0  # what stood there last is a template that was removed or moved: it must not linger
    return target
