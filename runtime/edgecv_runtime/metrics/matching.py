"""How detections meet objects: the greedy assignment and the curves of COCO's reference evaluation, for any overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

# round: 0.05 steps as decimal numbers would have them.
OVERLAPS: Floats = np.linspace(0.5, 0.95, 10)
RECALLS: Floats = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, eq=False)
class Picture:
    """One class in one picture.

    Attributes
    ----------
    overlaps : (D, G) float64
        Of detections, best first and no more than the most that count, with objects.
    scores, sizes : (D,) float64
        Sizes are areas in square pixels.
    areas : (G,) float64
    crowd : (G,) bool
        Can be matched again and again, and counts neither way.
    ignored : (G,) bool
        Counts neither way; crowds are among them.
    """

    overlaps: Floats
    scores: Floats
    sizes: Floats
    areas: Floats
    crowd: Flags
    ignored: Flags


@dataclass(frozen=True, eq=False)
class Matched:
    """What became of the D detections of a picture at every overlap, and the number of objects that count."""

    scores: Floats  # (D,)
    hit: Flags  # (overlaps, D)
    ignored: Flags  # (overlaps, D)
    wanted: int


def match(picture: Picture, limits: tuple[float, float]) -> Matched:
    """Greedily, best detection first: each takes the free object that it overlaps most, at least by the threshold.

    Objects outside the limits and crowds are ignored, and so are detections matched to them; one that counts is
    preferred to one that does not. A crowd can be matched again and again.
    """
    low, high = limits
    ignore = picture.ignored | (picture.areas < low) | (picture.areas > high)
    order = np.argsort(ignore, kind="stable")
    ignore, crowd, overlaps = ignore[order], picture.crowd[order], picture.overlaps[:, order]
    count, objects = overlaps.shape
    hit = np.zeros((len(OVERLAPS), count), np.bool_)
    ignored = np.zeros_like(hit)
    outside = (picture.sizes < low) | (picture.sizes > high)
    for t, threshold in enumerate(OVERLAPS.tolist()):
        taken = [False] * objects
        for d in range(count):
            best, chosen = min(threshold, 1 - 1e-10), -1
            for g in range(objects):
                if taken[g] and not crowd[g]:
                    continue
                if chosen > -1 and not ignore[chosen] and ignore[g]:
                    break  # one that counts was found; those that follow do not
                if overlaps[d, g] >= best:
                    best, chosen = float(overlaps[d, g]), g
            if chosen > -1:
                taken[chosen] = hit[t, d] = True
                ignored[t, d] = ignore[chosen]
            else:
                ignored[t, d] = outside[d]
    return Matched(picture.scores, hit, ignored, int((~ignore).sum()))


def accumulate(pictures: Sequence[Matched], most: int) -> tuple[Floats, Floats] | None:
    """Precision at the 101 recalls (overlaps, 101), and the last recall (overlaps,); None without an object."""
    wanted = sum(picture.wanted for picture in pictures)
    if wanted == 0:
        return None
    scores = np.concatenate([picture.scores[:most] for picture in pictures])
    order = np.argsort(-scores, kind="stable")
    hit = np.concatenate([picture.hit[:, :most] for picture in pictures], axis=1)[:, order]
    ignored = np.concatenate([picture.ignored[:, :most] for picture in pictures], axis=1)[:, order]
    right = np.cumsum(hit & ~ignored, axis=1).astype(np.float64)
    wrong = np.cumsum(~hit & ~ignored, axis=1).astype(np.float64)
    recall = right / wanted
    precision = right / (right + wrong + np.spacing(1))
    # From the right: the best precision at this recall or a higher one.
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    curve, last = np.zeros((len(OVERLAPS), len(RECALLS))), np.zeros(len(OVERLAPS))
    for t in range(len(OVERLAPS)):
        places = np.searchsorted(recall[t], RECALLS, side="left")
        there = places < recall.shape[1]
        curve[t, there] = precision[t, places[there]]
        last[t] = recall[t, -1] if recall.shape[1] else 0.0
    return curve, last
