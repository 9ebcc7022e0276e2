"""Several frames decide together: faces are followed from frame to frame, and each frame casts its vote."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.suppression.overlap import iou


@dataclass(frozen=True)
class Vote:
    """What one frame says of one face.

    Attributes
    ----------
    name : str or None
        None: not recognised, which is a vote like any other.
    similarity : float
        Of the best match.
    weight : float
        Not negative; a large, sharp face counts for more.
    """

    name: str | None
    similarity: float
    weight: float


@dataclass(frozen=True)
class Verdict:
    """What the votes come to.

    Attributes
    ----------
    name : str or None
        Who has more than half of all weight; None: not recognised.
    similarity : float
        Mean over the votes that say so, by weight.
    share : float in [0, 1]
        Of the weight of those votes in all weight.
    votes : int
        Frames that voted.
    """

    name: str | None
    similarity: float
    share: float
    votes: int


def weight_of(area: float, sharpness: float) -> float:
    """The weight of a face's vote: its area in pixels times its sharpness, in thousands of each.

    Only the ratio between frames matters.
    """
    return max(0.0, area) / 1e3 * max(0.0, sharpness) / 1e3


def count_votes(votes: Iterable[Vote]) -> Verdict:
    """The verdict of votes of one face: whoever has more than half of the weight, or else nobody.

    Where no vote weighs anything, each counts the same.
    """
    cast = list(votes)
    weights = [vote.weight for vote in cast]
    if sum(weights) <= 0:
        weights = [1.0] * len(cast)
    total = sum(weights)
    sums: dict[str | None, float] = {}
    for vote, weight in zip(cast, weights, strict=True):
        sums[vote.name] = sums.get(vote.name, 0.0) + weight
    first = max(sums, key=lambda name: sums[name], default=None)
    # Two names with half each, or three with a third: nobody is believed.
    winner = first if sums and sums[first] > total / 2 else None
    chosen = [pair for pair in zip(cast, weights, strict=True) if pair[0].name == winner]
    weight = sum(weight for _, weight in chosen)
    similarity = sum(vote.similarity * share for vote, share in chosen) / weight if weight > 0 else 0.0
    return Verdict(winner, similarity, weight / total if total > 0 else 0.0, len(cast))


class Tracks:
    """Which box of a frame continues which of the frames before: the greatest overlap first.

    Parameters
    ----------
    overlap : float in (0, 1)
        Least IoU of a box with the last one of its track.
    patience : int
        Frames for which a track without a box is remembered.
    """

    def __init__(self, overlap: float = 0.3, patience: int = 10) -> None:
        if not 0 < overlap < 1:
            raise InputError(f"overlap must be in (0, 1); received {overlap}")
        if patience < 0:
            raise InputError(f"patience must be at least 0 frames; received {patience}")
        self._overlap, self._patience = overlap, patience
        self._boxes: dict[int, npt.NDArray[np.float64]] = {}
        self._missed: dict[int, int] = {}
        self._next = 0

    @property
    def alive(self) -> frozenset[int]:
        """Tracks that a box may still continue."""
        return frozenset(self._boxes)

    def update(self, boxes: npt.NDArray[Any]) -> list[int]:
        """The track of every box of the next frame; a box that continues none begins its own.

        Parameters
        ----------
        boxes : (N, 4) xyxy

        Returns
        -------
        list of N int
            Numbers from 0, none used twice.
        """
        found = np.asarray(boxes, np.float64).reshape(-1, 4)
        tracks = [-1] * len(found)
        before = list(self._boxes)
        if before and len(found):
            overlaps = iou(np.stack([self._boxes[track] for track in before])[:, None], found[None])
            for place in (-overlaps).argsort(axis=None, kind="stable").tolist():
                old, new = divmod(place, len(found))
                if overlaps[old, new] < self._overlap:
                    break
                if before[old] >= 0 and tracks[new] < 0:
                    tracks[new], before[old] = before[old], -1
        for row, track in enumerate(tracks):
            if track < 0:
                tracks[row], self._next = self._next, self._next + 1
            self._boxes[tracks[row]], self._missed[tracks[row]] = found[row], 0
        for track in [track for track in self._boxes if track not in tracks]:
            self._missed[track] += 1
            if self._missed[track] > self._patience:
                del self._boxes[track], self._missed[track]
        return tracks


class Voting:
    """The votes of every track over its latest frames.

    Parameters
    ----------
    window : int
        Votes that count for a track; older ones are forgotten.
    overlap, patience
        As in `Tracks`.
    """

    def __init__(self, window: int = 30, overlap: float = 0.3, patience: int = 10) -> None:
        if window < 1:
            raise InputError(f"window must be at least 1 frame; received {window}")
        self._window = window
        self._tracks = Tracks(overlap, patience)
        self._votes: dict[int, deque[Vote]] = {}

    def update(self, boxes: npt.NDArray[Any], votes: Iterable[Vote | None]) -> list[tuple[int, Verdict]]:
        """Track and verdict of every face of the next frame.

        Parameters
        ----------
        boxes : (N, 4) xyxy
        votes : N Votes
            None for a face that has none: the quality gate refused it. Its track's earlier votes stand.
        """
        tracks = self._tracks.update(boxes)
        answers = []
        for track, vote in zip(tracks, votes, strict=True):
            cast = self._votes.setdefault(track, deque(maxlen=self._window))
            if vote is not None:
                cast.append(vote)
            answers.append((track, count_votes(cast)))
        alive = self._tracks.alive
        self._votes = {track: cast for track, cast in self._votes.items() if track in alive}
        return answers
