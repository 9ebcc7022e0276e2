"""Stable numbers for what a detector finds in one frame after the other.

Association as in ByteTrack (Zhang et al. 2022, algorithm 1): first the sure boxes with all tracks, then the unsure
boxes with the tracks that are left, so that a person half hidden, and scored low for it, keeps the number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.results import Detections
from edgecv_runtime.suppression.overlap import iou
from edgecv_runtime.tracking.assignment import assign
from edgecv_runtime.tracking.kalman import BoxFilter

_RATE = 30.0  # frames a second that the filter's noise is stated for
_OVERLAP_SURE, _OVERLAP_UNSURE, _OVERLAP_NEW = 0.2, 0.5, 0.3


@dataclass(eq=False)
class _Track:
    number: int
    class_index: int
    filter: BoxFilter
    hits: int = 1
    last_seen: float = 0.0
    lost: bool = False


class Tracker:
    """Gives detections numbers that stay.

    Parameters
    ----------
    high : float
        Boxes that score at least this are sure: they are matched first, and found new tracks.
    low : float
        Boxes below it are left out.
    keep_lost : float
        Seconds after which a track that is not seen again is forgotten, and its number with it.
    min_hits : int
        Frames in a row in which something must be seen before it is given out: a flicker gets no number.

    Raises
    ------
    InputError
        A score, time or count out of range.

    Examples
    --------
    >>> tracker = Tracker()
    >>> with ert.load("yolox_nano.edgecv") as model, ert.open_stream("people.mp4") as frames:   # doctest: +SKIP
    ...     for frame in frames:
    ...         found = tracker.update(model(frame.image), frame.timestamp)
    ...         print(found.ids)
    """

    def __init__(self, high: float = 0.5, low: float = 0.1, *, keep_lost: float = 1.0, min_hits: int = 2) -> None:
        if not 0 <= low <= high <= 1:
            raise InputError(f"scores must be 0 <= low <= high <= 1; received low={low}, high={high}")
        if keep_lost < 0 or min_hits < 1:
            raise InputError(f"keep_lost must be 0 or more, min_hits 1 or more; received {keep_lost} and {min_hits}")
        self.high, self.low, self.keep_lost, self.min_hits = high, low, keep_lost, min_hits
        self._tracks: list[_Track] = []
        self._next = 1
        self._now: float | None = None

    def update(self, found: Detections, timestamp: float | None = None) -> Detections:
        """The next frame's detections, with numbers.

        Parameters
        ----------
        found : Detections
            The detector's score threshold should be at or below `low`.
        timestamp : float, optional
            Seconds, by the stream's clock; frames may be missing. Default: a thirtieth of a second after the last.

        Returns
        -------
        Detections
            With `ids`: those that belong to a track, best first.

        Raises
        ------
        InputError
            Time runs backwards.
        """
        first = self._now is None
        frames = self._advance(timestamp)
        self._tracks = [track for track in self._tracks if not self._forgotten(track)]
        for track in self._tracks:
            track.filter.predict(frames)
        boxes = found.boxes.astype(np.float64)
        sure = np.flatnonzero(found.scores >= self.high).tolist()
        unsure = np.flatnonzero((found.scores < self.high) & (found.scores >= self.low)).tolist()
        known = [track for track in self._tracks if track.hits >= self.min_hits or track.lost]
        fresh = [track for track in self._tracks if track not in known]
        numbers = np.zeros(len(found), np.int64)

        sure, left = self._match(known, sure, _OVERLAP_SURE, found, boxes, numbers)
        _, missed = self._match([one for one in left if not one.lost], unsure, _OVERLAP_UNSURE, found, boxes, numbers)
        sure, gone = self._match(fresh, sure, _OVERLAP_NEW, found, boxes, numbers)
        for track in missed:
            track.lost = True
        self._tracks = [track for track in self._tracks if track not in gone]
        for row in sure:
            self._found(row, found, boxes, numbers, confirmed=first)
        return self._numbered(found, numbers)

    def reset(self) -> None:
        """Forget everything; numbers go on from where they are."""
        self._tracks, self._now = [], None

    def _advance(self, timestamp: float | None) -> float:
        """Frames of a thirtieth of a second since the last update."""
        before = self._now
        if timestamp is None:
            timestamp = 0.0 if before is None else before + 1 / _RATE
        if before is not None and timestamp < before:
            raise InputError(
                f"time must not run backwards: received {timestamp:.3f} s after {before:.3f} s; reset() begins anew"
            )
        self._now = float(timestamp)
        return 0.0 if before is None else (self._now - before) * _RATE

    def _forgotten(self, track: _Track) -> bool:
        return track.lost and self._now is not None and self._now - track.last_seen > self.keep_lost

    def _match(
        self,
        tracks: list[_Track],
        rows: list[int],
        overlap: float,
        found: Detections,
        boxes: npt.NDArray[np.float64],
        numbers: npt.NDArray[np.int64],
    ) -> tuple[list[int], list[_Track]]:
        """Match tracks with boxes of their class; the boxes and the tracks that are left."""
        if not tracks or not rows:
            return rows, tracks
        predicted = np.stack([track.filter.box for track in tracks])
        shared = iou(predicted[:, None], boxes[None, rows])
        same = np.array([track.class_index for track in tracks])[:, None] == found.classes[None, rows]
        pairs = assign(np.where(same, 1 - shared, 2.0), 1 - overlap)
        for place, column in pairs:
            track, row = tracks[place], rows[column]
            track.filter.update(boxes[row])
            track.hits += 1
            track.last_seen, track.lost = self._now or 0.0, False
            numbers[row] = track.number if track.hits >= self.min_hits else 0
        matched_tracks, matched_rows = {place for place, _ in pairs}, {column for _, column in pairs}
        return (
            [row for column, row in enumerate(rows) if column not in matched_rows],
            [track for place, track in enumerate(tracks) if place not in matched_tracks],
        )

    def _found(self, row: int, found: Detections, boxes: Any, numbers: Any, *, confirmed: bool) -> None:
        """A new track; in the very first frame everything is given out at once."""
        hits = self.min_hits if confirmed else 1
        track = _Track(self._next, int(found.classes[row]), BoxFilter(boxes[row]), hits, self._now or 0.0)
        self._next += 1
        self._tracks.append(track)
        numbers[row] = track.number if track.hits >= self.min_hits else 0

    @staticmethod
    def _numbered(found: Detections, numbers: npt.NDArray[np.int64]) -> Detections:
        rows = np.flatnonzero(numbers)
        return replace(found._take(rows), ids=numbers[rows])
