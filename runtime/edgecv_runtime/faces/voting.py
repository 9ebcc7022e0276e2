"""Several frames decide together: faces are followed from frame to frame, and each frame casts its vote."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.results import Detections
from edgecv_runtime.tracking import Tracker

_FRAME_RATE = 30.0  # a second, as far as the tracker is concerned: patience is counted in frames


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


class Voting:
    """The votes of every track over its latest frames; `Tracker` follows the faces.

    Parameters
    ----------
    window : int
        Votes that count for a track; older ones are forgotten.
    patience : int
        Frames for which a face that is not found is remembered.
    """

    def __init__(self, window: int = 30, patience: int = 10) -> None:
        if window < 1:
            raise InputError(f"window must be at least 1 frame; received {window}")
        if patience < 0:
            raise InputError(f"patience must be at least 0 frames; received {patience}")
        self._window, self._patience = window, patience
        # A face that the detector found is sure, and its first vote counts. Half a frame stands off rounding.
        self._tracker = Tracker(0.0, 0.0, keep_lost=(patience + 1.5) / _FRAME_RATE, min_hits=1)
        self._frame = 0
        self._votes: dict[int, deque[Vote]] = {}
        self._missed: dict[int, int] = {}

    def update(self, boxes: npt.NDArray[Any], votes: Iterable[Vote | None]) -> list[tuple[int, Verdict]]:
        """Track and verdict of every face of the next frame.

        Parameters
        ----------
        boxes : (N, 4) xyxy
        votes : N Votes
            None for a face that has none: the quality gate refused it. Its track's earlier votes stand.

        Returns
        -------
        list of N (int, Verdict)
            Numbers of tracks from 1; none is used twice.
        """
        found = np.asarray(boxes, np.float32).reshape(-1, 4)
        count = len(found)
        faces = Detections(found, np.ones(count, np.float32), np.zeros(count, np.int64))
        followed = self._tracker.update(faces, self._frame / _FRAME_RATE)
        self._frame += 1
        tracks = [] if followed.ids is None else followed.ids.tolist()
        answers = []
        for track, vote in zip(tracks, votes, strict=True):
            cast = self._votes.setdefault(track, deque(maxlen=self._window))
            if vote is not None:
                cast.append(vote)
            answers.append((track, count_votes(cast)))
        self._missed = {track: 0 if track in tracks else self._missed.get(track, 0) + 1 for track in self._votes}
        for track in [track for track, missed in self._missed.items() if missed > self._patience]:
            del self._votes[track], self._missed[track]
        return answers
