"""Average precision and recall as COCO defines them, on numpy alone.

Detections of a class are matched, best first, to the boxes of the ground truth that they overlap most; precision is
averaged over 101 recalls, over the classes and over ten overlaps from 0.50 to 0.95. The arithmetic, its order and its
small print (ignored boxes, crowds, sizes) follow the reference evaluation, so that figures agree to the last digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError

Floats = npt.NDArray[np.float64]

# round: 0.05 steps as decimal numbers would have them.
OVERLAPS: Floats = np.linspace(0.5, 0.95, 10)
RECALLS: Floats = np.linspace(0.0, 1.0, 101)

# Areas in square pixels of the source image.
SIZES = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
MOST = (1, 10, 100)  # detections of a class in a picture


@dataclass(frozen=True, eq=False)
class Truth:
    """The objects of one picture.

    Attributes
    ----------
    boxes : (N, 4) float64, xyxy pixels
    classes : (N,) int64
    areas : (N,) float64
        What counts as the object's size: of its outline where that is known, else of the box.
    crowd : (N,) bool
        The box holds many objects of the class: what is found in it counts neither way.
    """

    boxes: Floats
    classes: npt.NDArray[np.int64]
    areas: Floats
    crowd: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        count = len(self.classes)
        if self.boxes.shape != (count, 4) or self.areas.shape != (count,) or self.crowd.shape != (count,):
            raise InputError(
                "boxes, classes, areas and crowd must share their length; received "
                f"{self.boxes.shape}, {self.classes.shape}, {self.areas.shape} and {self.crowd.shape}"
            )

    @classmethod
    def of(cls, boxes: npt.ArrayLike, classes: npt.ArrayLike) -> Truth:
        """From (N, 4) xyxy boxes and (N,) classes; areas are those of the boxes."""
        corners = np.asarray(boxes, np.float64).reshape(-1, 4)
        sides = corners[:, 2:] - corners[:, :2]
        count = len(corners)
        return cls(corners, np.asarray(classes, np.int64), sides[:, 0] * sides[:, 1], np.zeros(count, np.bool_))


@dataclass(frozen=True, eq=False)
class Found:
    """What a model found in one picture: (N, 4) xyxy pixels, (N,) scores, (N,) classes."""

    boxes: Floats
    scores: Floats
    classes: npt.NDArray[np.int64]


@dataclass(frozen=True)
class DetectionAccuracy:
    """Average precision (AP) and recall (AR), fractions; NaN where there is nothing to find.

    Attributes
    ----------
    map : float
        AP averaged over overlaps 0.50, 0.55, … 0.95.
    map50, map75 : float
        AP at overlap 0.50 and 0.75.
    map_small, map_medium, map_large : float
        As `map`, of objects below 32², up to 96², and above that many pixels.
    ar1, ar10, ar100 : float
        AR with so many detections of a class in a picture.
    ar_small, ar_medium, ar_large : float
        As `ar100`, by size.
    by_class : tuple of (class index, AP, AP at 0.50)
        Of the classes that occur.
    n : int
        Pictures.
    objects : int
        Objects to be found, without crowds.
    skipped : int
        Pictures that could not be read.
    """

    map: float
    map50: float
    map75: float
    map_small: float
    map_medium: float
    map_large: float
    ar1: float
    ar10: float
    ar100: float
    ar_small: float
    ar_medium: float
    ar_large: float
    by_class: tuple[tuple[int, float, float], ...]
    n: int
    objects: int
    skipped: int = 0

    @property
    def score(self) -> float:
        """The figure that a budget is about."""
        return self.map50

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        names = [name for name in self.__dataclass_fields__ if name != "by_class"]
        rows = [{"class": index, "map": whole, "map50": half} for index, whole, half in self.by_class]
        return {name: getattr(self, name) for name in names} | {"by_class": rows}


def average_precision(truths: Sequence[Truth], found: Sequence[Found], skipped: int = 0) -> DetectionAccuracy:
    """Evaluate detections.

    Parameters
    ----------
    truths, found : sequences, one item a picture, in one order
        Equal scores rank in that order.
    skipped : int
        Handed on.

    Raises
    ------
    InputError
        The sequences differ in length, or there is no object to be found.
    """
    if len(truths) != len(found):
        raise InputError(f"there must be one answer a picture; received {len(truths)} and {len(found)}")
    classes = sorted({int(index) for truth in truths for index in truth.classes})
    if not classes:
        raise InputError("average precision needs at least one labelled object; there is none")
    shape = (len(OVERLAPS), len(classes), len(SIZES), len(MOST))
    precision = np.full((shape[0], len(RECALLS), *shape[1:]), -1.0)
    recall = np.full(shape, -1.0)
    for k, index in enumerate(classes):
        pictures = [_of_class(truth, answer, index) for truth, answer in zip(truths, found, strict=True)]
        for a, limits in enumerate(SIZES.values()):
            matched = [_match(picture, limits) for picture in pictures]
            for m, most in enumerate(MOST):
                curve = _accumulate(matched, most)
                if curve is not None:
                    precision[:, :, k, a, m], recall[:, k, a, m] = curve
    return _summary(precision, recall, classes, truths, skipped)


def _summary(
    precision: Floats, recall: Floats, classes: list[int], truths: Sequence[Truth], skipped: int
) -> DetectionAccuracy:
    most = len(MOST) - 1
    sizes = {name: place for place, name in enumerate(SIZES)}
    return DetectionAccuracy(
        map=_mean(precision[:, :, :, 0, most]),
        map50=_mean(precision[0, :, :, 0, most]),
        map75=_mean(precision[5, :, :, 0, most]),
        map_small=_mean(precision[:, :, :, sizes["small"], most]),
        map_medium=_mean(precision[:, :, :, sizes["medium"], most]),
        map_large=_mean(precision[:, :, :, sizes["large"], most]),
        ar1=_mean(recall[:, :, 0, 0]),
        ar10=_mean(recall[:, :, 0, 1]),
        ar100=_mean(recall[:, :, 0, most]),
        ar_small=_mean(recall[:, :, sizes["small"], most]),
        ar_medium=_mean(recall[:, :, sizes["medium"], most]),
        ar_large=_mean(recall[:, :, sizes["large"], most]),
        by_class=tuple(
            (index, _mean(precision[:, :, k, 0, most]), _mean(precision[0, :, k, 0, most]))
            for k, index in enumerate(classes)
        ),
        n=len(truths),
        objects=sum(int((~truth.crowd).sum()) for truth in truths),
        skipped=skipped,
    )


def _mean(values: Floats) -> float:
    """Of those that are defined; -1 stands for a class without an object to find."""
    there = values[values > -1]
    return float(there.mean()) if there.size else float("nan")


@dataclass(frozen=True, eq=False)
class _Picture:
    """One class in one picture; detections best first, no more than the most that count."""

    overlaps: Floats  # (D, G)
    scores: Floats
    sizes: Floats  # areas of the detections
    areas: Floats
    crowd: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Matched:
    scores: Floats  # (D,)
    hit: npt.NDArray[np.bool_]  # (overlaps, D)
    ignored: npt.NDArray[np.bool_]  # (overlaps, D)
    wanted: int  # objects that count


def _of_class(truth: Truth, answer: Found, index: int) -> _Picture:
    there, chosen = truth.classes == index, answer.classes == index
    scores = answer.scores[chosen]
    order = np.argsort(-scores, kind="stable")[: MOST[-1]]
    boxes = answer.boxes[chosen][order].astype(np.float64)
    sides = boxes[:, 2:] - boxes[:, :2]
    return _Picture(
        overlaps=box_overlaps(boxes, truth.boxes[there], truth.crowd[there]),
        scores=scores[order],
        sizes=sides[:, 0] * sides[:, 1],
        areas=truth.areas[there],
        crowd=truth.crowd[there],
    )


def box_overlaps(found: Floats, truth: Floats, crowd: npt.NDArray[np.bool_]) -> Floats:
    """(D, G) overlap: over the union, with a crowd over the detection's own area."""
    a, b = found[:, None], truth[None]
    width = np.maximum(np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0]), 0)
    height = np.maximum(np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1]), 0)
    shared = width * height
    own = (a[..., 2] - a[..., 0]) * (a[..., 3] - a[..., 1])
    union = np.where(crowd, own, own + (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1]) - shared)
    overlaps: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return overlaps


def _match(picture: _Picture, limits: tuple[float, float]) -> _Matched:
    """Greedily, best detection first: each takes the free object that it overlaps most, at least by the threshold.

    Objects outside the limits and crowds are ignored, and so are detections matched to them; one that counts is
    preferred to one that does not. A crowd can be matched again and again.
    """
    low, high = limits
    ignore = picture.crowd | (picture.areas < low) | (picture.areas > high)
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
    return _Matched(picture.scores, hit, ignored, int((~ignore).sum()))


def _accumulate(pictures: Sequence[_Matched], most: int) -> tuple[Floats, Floats] | None:
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
