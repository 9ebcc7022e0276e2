"""Greedy suppression (hard and DIoU), exact and quick.

The definition is sequential: from the best box to the worst, keep a box unless one that was kept overlaps it by more
than the threshold. Three things make it quick without changing a single decision:

1. *Blocks.* The best boxes that are left are compared with each other in one matrix, decided there, and those kept
   strike out of the rest what they overlap. Each pair is looked at once at most.
2. *A sieve.* Overlap is tested in single precision and without a division: with c = t / (1 + t),
   ``I / (A + B - I) > t`` is ``I > c A + c B``. Every quantity there is a sum or product of numbers that are not
   negative and come from exact coordinates, so its relative error is at most a few units in the last place; pairs
   closer to the threshold than `_MARGIN` are decided again in double precision by the definition.
3. *A sweep.* Boxes that overlap by more than t have their centres near one another. The rest is sorted along one axis,
   and a group of kept boxes is compared only with the slice that it can reach.

The sequential part within a block works on bits of Python integers: less than a microsecond for each box that is kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.suppression.overlap import Boxes, Overlap, areas

Index = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.floating]

Measure = Callable[[Boxes, Boxes], Overlap]

# Relative distance from the threshold within which the sieve does not decide: its error is below 10 units in the last
# place (u = 2^-24 and 2^-53), the margin is 32 and more.
_MARGIN = {np.dtype(np.float32): 2e-6, np.dtype(np.float64): 4e-15}

# Where areas neither overflow nor lose digits in single precision.
_LARGEST, _SMALLEST_AREA = 1e18, 1e-30

_FIRST_BLOCK, _LAST_BLOCK = 48, 512
_SWEEP_FROM = 60_000  # pairs: below it sorting costs more than it saves
_GROUP = 8  # kept boxes that share a slice
_WHOLE = 192  # boxes: in a larger matrix the half below the diagonal is left out, in part
_CELLS = 1 << 16  # pairs in one matrix: its temporaries stay in the processor's cache
_SMALL_CLASSES = 128  # boxes: smaller classes are handled together


def greedy(
    boxes: npt.NDArray[np.floating],
    threshold: float,
    *,
    codes: npt.NDArray[np.intp] | None = None,
    measure: Measure,
    only_iou: bool,
    limit: int | None = None,
) -> Index:
    """Positions of the boxes that are kept, best first.

    Parameters
    ----------
    boxes : (N, 4) float32 or float64, xyxy, finite
        Best first.
    threshold : float in [0, 1]
    codes : (N,) int, optional
        Classes; boxes of different classes leave each other alone.
    measure : callable
        The overlap that counts, of boxes in pairs; never above their IoU.
    only_iou : bool
        The overlap that counts is the IoU itself.
    limit : int, optional
        Most boxes kept.
    """
    count = len(boxes)
    if threshold >= 1 or count < 2:  # an overlap is never above 1
        return np.arange(count)[:limit]
    problem = _Problem(boxes, threshold, codes, measure, only_iou)
    if codes is None:
        return problem.solve(problem.rows, np.arange(count), limit, mixed=False)[:limit]
    kept = [problem.solve(problem.rows.take(part, axis=1), part, limit, mixed) for part, mixed in _parts(codes)]
    return np.sort(np.concatenate(kept))[:limit]


def _parts(codes: npt.NDArray[np.intp]) -> list[tuple[Index, bool]]:
    """Positions class by class, in order; small classes together, and whether they are."""
    if len(codes) <= _SMALL_CLASSES:
        return [(np.arange(len(codes)), True)]
    order = codes.argsort(kind="stable")
    ordered = codes[order]
    starts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    edges = [0, *starts.tolist(), len(codes)]
    parts: list[tuple[Index, bool]] = []
    begin, classes = 0, 0
    for end, following in zip(edges[1:], [*edges[2:], None], strict=True):
        classes += 1
        if following is None or following - begin > _SMALL_CLASSES:
            part = order[begin:end]
            parts.append((np.sort(part) if classes > 1 else part, classes > 1))
            begin, classes = end, 0
    return parts


class _Scratch(threading.local):
    """Arrays that live on from call to call: fresh ones of this size would come from the system page by page."""

    def __init__(self) -> None:
        self._floats: dict[np.dtype[Any], npt.NDArray[Any]] = {}
        self._masks = np.empty((2, 0), np.bool_)

    def arrays(self, count: int, other: int, dtype: np.dtype[Any]) -> tuple[Any, Any, Any, Mask, Mask]:
        """Three arrays of numbers and two masks, each (count, other), contiguous, not initialised."""
        size = count * other
        floats = self._floats.get(dtype)
        if floats is None or floats.shape[1] < size:
            floats = self._floats[dtype] = np.empty((3, max(size, _CELLS)), dtype)
        if self._masks.shape[1] < size:
            self._masks = np.empty((2, max(size, _CELLS)), np.bool_)
        shape = (count, other)
        a, b, c = (row[:size].reshape(shape) for row in floats)
        d, e = (row[:size].reshape(shape) for row in self._masks)
        return a, b, c, d, e


_scratch = _Scratch()


class _Problem:
    """The boxes in the form that the sieve reads, and the definition for what it leaves open."""

    def __init__(
        self,
        boxes: npt.NDArray[np.floating],
        threshold: float,
        codes: npt.NDArray[np.intp] | None,
        measure: Measure,
        only_iou: bool,
    ) -> None:
        self._boxes, self._threshold, self._codes = boxes, threshold, codes
        self._measure, self._only_iou = measure, only_iou
        size = areas(boxes.astype(np.float64))
        narrow = boxes.dtype == np.float32 and float(np.abs(boxes).max()) < _LARGEST
        if narrow:
            smallest = float(size.min())
            if smallest < _SMALLEST_AREA:
                positive = size[size > 0]
                narrow = not len(positive) or float(positive.min()) > _SMALLEST_AREA
        dtype = np.dtype(np.float32 if narrow else np.float64)
        # x1, y1, x2, y2 and c·area, a little too small: what passes the sieve may overlap, what does not does not.
        self.rows: Rows = np.empty((5, len(boxes)), dtype)
        self.rows[:4] = boxes.T
        self.rows[4] = size * (threshold / (1 + threshold) * (1 - _MARGIN[dtype]))
        self._certain = dtype.type(1 + 2 * _MARGIN[dtype])

    def solve(self, rows: Rows, positions: Index, limit: int | None, mixed: bool) -> Index:
        """Those of `positions` (best first) that are kept; `mixed` where they are of several classes."""
        kept: list[Index] = []
        total, block = 0, _FIRST_BLOCK
        while True:
            size = min(block if len(positions) > 1.5 * block else len(positions), len(positions))
            chosen = _in_turn(self._matrix(rows[:, :size], positions[:size], mixed))
            kept.append(positions[chosen])
            total += len(chosen)
            if size == len(positions) or (limit is not None and total >= limit):
                return np.concatenate(kept) if len(kept) > 1 else kept[0]
            best = rows.take(chosen, axis=1)
            gone = self._struck(best, positions[chosen], rows[:, size:], positions[size:], mixed)
            left = np.flatnonzero(~gone) + size
            if not len(left):
                return np.concatenate(kept)
            rows, positions = rows.take(left, axis=1), positions.take(left)
            block = min(2 * block, _LAST_BLOCK)

    def _matrix(self, rows: Rows, positions: Index, mixed: bool) -> Mask:
        """(K, K): which of these overlap too much; the part below the diagonal is not filled in full."""
        count = rows.shape[1]
        if count <= _WHOLE:
            return self._over(rows, positions, rows, positions, mixed)
        matrix = np.zeros((count, count), np.bool_)
        step = count // 4
        for start in range(0, count, step):
            part = slice(start, start + step)
            matrix[part, start:] = self._over(rows[:, part], positions[part], rows[:, start:], positions[start:], mixed)
        return matrix

    def _struck(self, best: Rows, by: Index, rest: Rows, positions: Index, mixed: bool) -> Mask:
        """(M,): which of the rest one of the best overlaps too much."""
        count, left = best.shape[1], rest.shape[1]
        if count * left < _SWEEP_FROM:
            return _any(self._over(best, by, rest, positions, mixed))
        return self._sweep(best, by, rest, positions, mixed)

    def _sweep(self, best: Rows, by: Index, rest: Rows, positions: Index, mixed: bool) -> Mask:
        """As `_struck`, along the axis on which boxes reach the least."""
        axis = 0 if self._spread(best, rest, 0) <= self._spread(best, rest, 1) else 1
        centres = _centres(rest, axis)
        order = centres.argsort()
        centres = centres[order]
        ordered, places = rest.take(order, axis=1), positions[order]
        own, reach = _centres(best, axis), self._reach(best, rest, axis)
        # Boxes of a like reach together, so that a large one does not widen the slice of small ones.
        with np.errstate(divide="ignore"):
            level = np.floor(np.log2(reach))
        groups = np.lexsort((own, level))
        starts = np.arange(0, len(groups), _GROUP)
        first = centres.searchsorted(np.minimum.reduceat((own - reach)[groups], starts), "left").tolist()
        last = centres.searchsorted(np.maximum.reduceat((own + reach)[groups], starts), "right").tolist()
        gone = np.zeros(len(order), np.bool_)
        for start, begin, end in zip(starts.tolist(), first, last, strict=True):
            members = groups[start : start + _GROUP]
            some, names = best.take(members, axis=1), by[members]
            for left in range(begin, end, _CELLS // _GROUP):
                part = slice(left, min(end, left + _CELLS // _GROUP))
                gone[part] |= _any(self._over(some, names, ordered[:, part], places[part], mixed))
        struck = np.empty_like(gone)
        struck[order] = gone
        return struck

    def _spread(self, best: Rows, rest: Rows, axis: int) -> float:
        """How much of an axis a box reaches, roughly."""
        centres = _centres(rest, axis)
        extent = float(centres.max() - centres.min())
        return float(self._reach(best, rest, axis).mean()) / extent if extent > 0 else np.inf

    def _reach(self, best: Rows, rest: Rows, axis: int) -> npt.NDArray[np.float64]:
        """How far from a kept box's centre the centre of a box that overlaps it by more than t can be.

        Such boxes share more than t of the longer of their sides (the intersection is at most that share of it times
        the shorter other side), and the sides are in a ratio above t: with sides w and v the centres are closer than
        (w + v) / 2 - t max(w, v), at most w (1 - t) max(1, 1 / (2 t)). They intersect at all only within (w + v) / 2.
        """
        threshold = self._threshold
        side = np.maximum(best[axis + 2].astype(np.float64) - best[axis], 0)
        longest = max(0.0, float((rest[axis + 2].astype(np.float64) - rest[axis]).max()))
        reach: npt.NDArray[np.float64] = (side + longest) / 2
        if threshold > 0:
            reach = np.minimum(reach, side * (1 - threshold) * max(1.0, 0.5 / threshold))
        # Generous by far more than rounding takes.
        slack = 1e-9 * max(float(np.abs(best[axis]).max()), float(np.abs(rest[axis]).max()))
        return reach * 1.001 + slack

    def _over(self, a: Rows, by: Index, b: Rows, of: Index, mixed: bool) -> Mask:
        """(K, M): whether a box of `a` and one of `b` overlap by more than the threshold; valid until the next call."""
        width, height, other, possible, certain = _scratch.arrays(a.shape[1], b.shape[1], a.dtype)
        np.minimum(a[2][:, None], b[2], out=width)
        np.maximum(a[0][:, None], b[0], out=other)
        width -= other
        np.greater(width, 0, out=certain)  # for one side is enough: a height below 0 makes the product 0 or less
        np.minimum(a[3][:, None], b[3], out=height)
        np.maximum(a[1][:, None], b[1], out=other)
        height -= other
        width *= height
        np.add(a[4][:, None], b[4], out=other)
        np.greater(width, other, out=possible)
        possible &= certain
        if mixed and self._codes is not None:
            possible &= self._codes[by][:, None] == self._codes[of]
        if self._only_iou:
            other *= self._certain
            np.greater(width, other, out=certain)
            certain &= possible
            if np.count_nonzero(certain) == np.count_nonzero(possible):
                return possible
            first, second = np.nonzero(possible & ~certain)
        else:
            first, second = np.nonzero(possible)
        if len(first):
            one, two = self._boxes[by[first]].astype(np.float64), self._boxes[of[second]].astype(np.float64)
            possible[first, second] = self._measure(one, two) > self._threshold
        return possible


def _any(mask: Mask) -> Mask:
    # Twice as quick as mask.any(0).
    struck: Mask = np.bitwise_or.reduce(mask, axis=0)
    return struck


def _centres(rows: Rows, axis: int) -> npt.NDArray[np.float64]:
    centres: npt.NDArray[np.float64] = 0.5 * (rows[axis].astype(np.float64) + rows[axis + 2])
    return centres


def _in_turn(matrix: Mask) -> Index:
    """The sequential rule within a block: row by row, keep what no kept row strikes out."""
    count = len(matrix)
    packed = np.packbits(matrix, axis=1, bitorder="little")
    content, step = packed.tobytes(), packed.shape[1]
    left = (1 << count) - 1
    kept = []
    while left:
        lowest = left & -left
        row = lowest.bit_length() - 1
        kept.append(row)
        left &= ~(int.from_bytes(content[row * step : (row + 1) * step], "little") | lowest)
    return np.array(kept, np.intp)
