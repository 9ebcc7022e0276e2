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
from edgecv_runtime.metrics.keypoint_accuracy import KeypointAccuracy
from edgecv_runtime.metrics.matching import OVERLAPS, RECALLS, Floats, Picture, accumulate, match
from edgecv_runtime.metrics.overlaps import box_overlaps, mask_areas, mask_overlaps

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
    masks : (N, H, W) bool, or None
        Of the picture's size.
    keypoints : (N, K, 3) float64, or None
        x, y in pixels, and 0 not labelled, 1 hidden, 2 seen.
    """

    boxes: Floats
    classes: npt.NDArray[np.int64]
    areas: Floats
    crowd: npt.NDArray[np.bool_]
    masks: npt.NDArray[np.bool_] | None = None
    keypoints: Floats | None = None

    def __post_init__(self) -> None:
        count = len(self.classes)
        if self.boxes.shape != (count, 4) or self.areas.shape != (count,) or self.crowd.shape != (count,):
            raise InputError(
                "boxes, classes, areas and crowd must share their length; received "
                f"{self.boxes.shape}, {self.classes.shape}, {self.areas.shape} and {self.crowd.shape}"
            )
        if self.masks is not None and (self.masks.ndim != 3 or len(self.masks) != count):
            raise InputError(f"masks must be ({count}, H, W); received shape {self.masks.shape}")
        points = self.keypoints
        if points is not None and (points.ndim != 3 or len(points) != count or points.shape[2] != 3):
            raise InputError(f"keypoints must be ({count}, K, 3); received shape {points.shape}")

    @classmethod
    def of(cls, boxes: npt.ArrayLike, classes: npt.ArrayLike) -> Truth:
        """From (N, 4) xyxy boxes and (N,) classes; areas are those of the boxes."""
        corners = np.asarray(boxes, np.float64).reshape(-1, 4)
        sides = corners[:, 2:] - corners[:, :2]
        count = len(corners)
        return cls(corners, np.asarray(classes, np.int64), sides[:, 0] * sides[:, 1], np.zeros(count, np.bool_))


@dataclass(frozen=True, eq=False)
class Found:
    """What a model found in one picture: (N, 4) xyxy pixels, (N,) scores, (N,) classes.

    And, where it finds them, (N, H, W) masks and (N, K, 3) keypoints: x, y in pixels, and a score.
    """

    boxes: Floats
    scores: Floats
    classes: npt.NDArray[np.int64]
    masks: npt.NDArray[np.bool_] | None = None
    keypoints: Floats | None = None


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
    masks : DetectionAccuracy, or None
        The same by masks, where both the model and the data have them.
    keypoints : KeypointAccuracy, or None
        By keypoints, likewise.
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
    masks: DetectionAccuracy | None = None
    keypoints: KeypointAccuracy | None = None

    @property
    def score(self) -> float:
        """The figure that a budget is about."""
        return self.map50

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        parts = {"masks": self.masks, "keypoints": self.keypoints}
        names = [name for name in self.__dataclass_fields__ if name != "by_class" and name not in parts]
        rows = [{"class": index, "map": whole, "map50": half} for index, whole, half in self.by_class]
        known = {name: part.to_dict() for name, part in parts.items() if part is not None}
        return {name: getattr(self, name) for name in names} | {"by_class": rows} | known


def average_precision(
    truths: Sequence[Truth], found: Sequence[Found], skipped: int = 0, *, by: str = "boxes"
) -> DetectionAccuracy:
    """Evaluate detections.

    Parameters
    ----------
    truths, found : sequences, one item a picture, in one order
        Equal scores rank in that order.
    skipped : int
        Handed on.
    by : {"boxes", "masks"}
        What must overlap.

    Raises
    ------
    InputError
        The sequences differ in length, there is no object to be found, or masks are missing.
    """
    if len(truths) != len(found):
        raise InputError(f"there must be one answer a picture; received {len(truths)} and {len(found)}")
    collected = AveragePrecision(by)
    for truth, answer in zip(truths, found, strict=True):
        collected.add(truth, answer)
    return collected.accuracy(skipped)


class AveragePrecision:
    """`average_precision` picture by picture: masks are compared as they come, and need not be kept.

    Parameters
    ----------
    by : {"boxes", "masks"}
    """

    def __init__(self, by: str = "boxes") -> None:
        if by not in ("boxes", "masks"):
            raise InputError(f"detections are compared by boxes or masks; received {by!r}")
        self._by = by
        self._pictures: dict[int, list[Picture]] = {}
        self._classes: set[int] = set()
        self._count = self._objects = 0

    def add(self, truth: Truth, found: Found) -> None:
        """Count one picture.

        Raises
        ------
        InputError
            Masks are missing, or of another size.
        """
        there = {int(index) for index in truth.classes}
        for index in there | {int(index) for index in found.classes}:
            self._pictures.setdefault(index, []).append(_of_class(truth, found, index, self._by))
        self._classes |= there
        self._count += 1
        self._objects += int((~truth.crowd).sum())

    def accuracy(self, skipped: int = 0) -> DetectionAccuracy:
        """What the pictures amount to.

        Raises
        ------
        InputError
            There was no object to be found.
        """
        classes = sorted(self._classes)
        if not classes:
            raise InputError("average precision needs at least one labelled object; there is none")
        shape = (len(OVERLAPS), len(classes), len(SIZES), len(MOST))
        precision = np.full((shape[0], len(RECALLS), *shape[1:]), -1.0)
        recall = np.full(shape, -1.0)
        for k, index in enumerate(classes):
            for a, limits in enumerate(SIZES.values()):
                matched = [match(picture, limits) for picture in self._pictures[index]]
                for m, most in enumerate(MOST):
                    curve = accumulate(matched, most)
                    if curve is not None:
                        precision[:, :, k, a, m], recall[:, k, a, m] = curve
        return _summary(precision, recall, classes, (self._count, self._objects, skipped))


def _summary(precision: Floats, recall: Floats, classes: list[int], counts: tuple[int, int, int]) -> DetectionAccuracy:
    most = len(MOST) - 1
    sizes = {name: place for place, name in enumerate(SIZES)}
    return DetectionAccuracy(
        map=mean_of(precision[:, :, :, 0, most]),
        map50=mean_of(precision[0, :, :, 0, most]),
        map75=mean_of(precision[5, :, :, 0, most]),
        map_small=mean_of(precision[:, :, :, sizes["small"], most]),
        map_medium=mean_of(precision[:, :, :, sizes["medium"], most]),
        map_large=mean_of(precision[:, :, :, sizes["large"], most]),
        ar1=mean_of(recall[:, :, 0, 0]),
        ar10=mean_of(recall[:, :, 0, 1]),
        ar100=mean_of(recall[:, :, 0, most]),
        ar_small=mean_of(recall[:, :, sizes["small"], most]),
        ar_medium=mean_of(recall[:, :, sizes["medium"], most]),
        ar_large=mean_of(recall[:, :, sizes["large"], most]),
        by_class=tuple(
            (index, mean_of(precision[:, :, k, 0, most]), mean_of(precision[0, :, k, 0, most]))
            for k, index in enumerate(classes)
        ),
        n=counts[0],
        objects=counts[1],
        skipped=counts[2],
    )


def mean_of(values: Floats) -> float:
    """Of those that are defined; -1 stands for a class without an object to find."""
    there = values[values > -1]
    return float(there.mean()) if there.size else float("nan")


def _of_class(truth: Truth, answer: Found, index: int, by: str) -> Picture:
    there, chosen = truth.classes == index, np.flatnonzero(answer.classes == index)
    order = chosen[np.argsort(-answer.scores[chosen], kind="stable")][: MOST[-1]]
    boxes, crowd = answer.boxes[order].astype(np.float64), truth.crowd[there]
    if by == "boxes":
        sides = boxes[:, 2:] - boxes[:, :2]
        overlaps, sizes = box_overlaps(boxes, truth.boxes[there], crowd), sides[:, 0] * sides[:, 1]
    else:
        masks = _masks(truth, answer)
        overlaps, sizes = mask_overlaps(masks[1][order], masks[0][there], crowd), mask_areas(masks[1][order])
    return Picture(overlaps, answer.scores[order], sizes, truth.areas[there], crowd, crowd)


def _masks(truth: Truth, answer: Found) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Those of objects and of detections; (0, H, W) of none."""
    if (truth.masks is None and len(truth.classes)) or (answer.masks is None and len(answer.classes)):
        raise InputError("a mask of every object and of every detection is required; some have none")
    one, other = (
        np.zeros((0, 1, 1), np.bool_) if masks is None or not len(masks) else masks
        for masks in (truth.masks, answer.masks)
    )
    if len(one) and len(other) and one.shape[1:] != other.shape[1:]:
        raise InputError(f"masks must have the picture's size {one.shape[1:]}; received {other.shape[1:]}")
    size = (one if len(one) else other).shape[1:]
    return one.reshape(-1, *size), other.reshape(-1, *size)
