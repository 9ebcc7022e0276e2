"""Mean intersection over union of masks, from one confusion matrix over all pixels of all pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError

IGNORED = 255  # pixels of the truth that count neither way, as Pascal VOC marks outlines


@dataclass(frozen=True)
class SegmentationAccuracy:
    """How well masks fit.

    Attributes
    ----------
    miou : float
        Mean over the classes that occur, in the truth or in the answers, of intersection over union.
    pixel_accuracy : float
        Share of the pixels with the right class.
    by_class : tuple of (class index, IoU)
    n : int
        Pictures.
    skipped : int
        Pictures that could not be read.
    """

    miou: float
    pixel_accuracy: float
    by_class: tuple[tuple[int, float], ...]
    n: int
    skipped: int = 0

    @property
    def score(self) -> float:
        """The figure that a budget is about."""
        return self.miou

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        rows = [{"class": index, "iou": value} for index, value in self.by_class]
        return {
            "miou": self.miou,
            "pixel_accuracy": self.pixel_accuracy,
            "n": self.n,
            "skipped": self.skipped,
            "by_class": rows,
        }


class Confusion:
    """Counts of pixels by true and answered class."""

    def __init__(self, classes: int = 256) -> None:
        self._counts = np.zeros((classes, classes), np.int64)
        self._pictures = 0

    def add(self, truth: npt.NDArray[Any], answer: npt.NDArray[Any]) -> None:
        """Count one picture: two (H, W) masks of class indices; truth 255 is left out.

        Raises
        ------
        InputError
            The masks differ in size.
        """
        if truth.shape != answer.shape:
            raise InputError(f"a mask must have the picture's size {answer.shape}; received {truth.shape}")
        counted = truth != IGNORED
        classes = len(self._counts)
        joint = truth[counted].astype(np.int64) * classes + answer[counted].astype(np.int64)
        self._counts += np.bincount(joint, minlength=classes * classes).reshape(classes, classes)
        self._pictures += 1

    def accuracy(self, skipped: int = 0) -> SegmentationAccuracy:
        """What the counts amount to.

        Raises
        ------
        InputError
            Nothing was counted.
        """
        counts = self._counts
        if counts.sum() == 0:
            raise InputError("mean IoU needs at least one labelled pixel; there is none")
        right, union = np.diag(counts), counts.sum(0) + counts.sum(1) - np.diag(counts)
        # What the model did not look at (a crop) counts as wrong, but is no class.
        there = [index for index in np.flatnonzero(union).tolist() if index != IGNORED]
        values = tuple((index, float(right[index] / union[index])) for index in there)
        mean = float(np.mean([value for _, value in values]))
        return SegmentationAccuracy(mean, float(right.sum() / counts.sum()), values, self._pictures, skipped)
