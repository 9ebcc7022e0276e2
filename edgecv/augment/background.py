"""Another background behind the same objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecv.augment.sample import Sample
from edgecv_runtime.errors import InputError
from edgecv_runtime.images import cv2


def replace_background(
    image: npt.NDArray[np.uint8],
    foreground: npt.NDArray[np.bool_],
    background: npt.NDArray[np.uint8],
    feather: float = 1.0,
) -> npt.NDArray[np.uint8]:
    """The foreground of one picture in front of another.

    Parameters
    ----------
    image : (H, W, C) uint8
    foreground : (H, W) bool
    background : (h, w, C) uint8
        Is brought to the picture's size.
    feather : float
        Standard deviation in pixels of the blur of the outline; 0 cuts hard. A hard cut is an edge that a network
        may learn to look for.

    Raises
    ------
    InputError
        Shapes do not fit.
    """
    if foreground.shape != image.shape[:2] or background.ndim != 3 or background.shape[2] != image.shape[2]:
        raise InputError(
            f"foreground must be {image.shape[:2]} and background (h, w, {image.shape[2]}); "
            f"received {foreground.shape} and {background.shape}"
        )
    opencv = cv2("replacing a background")
    height, width = image.shape[:2]
    behind = background
    if background.shape[:2] != (height, width):
        behind = opencv.resize(background, (width, height), interpolation=opencv.INTER_AREA).reshape(image.shape)
    share = foreground.astype(np.float32)
    if feather > 0:
        share = opencv.GaussianBlur(share, (0, 0), feather)
    share = share[:, :, None]
    return np.rint(share * image + (1 - share) * behind).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class ReplaceBackground:
    """One of several backgrounds behind a sample's objects: all pixels of a mask, or of a class other than 0.

    Attributes
    ----------
    backgrounds : sequence of (h, w, C) uint8
    probability : float in [0, 1]
    feather : float
        As of `replace_background`.
    """

    backgrounds: Sequence[npt.NDArray[np.uint8]]
    probability: float = 0.5
    feather: float = 1.0

    def __post_init__(self) -> None:
        if not len(self.backgrounds):
            raise InputError("at least one background is required; received none")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if sample.masks is None:
            raise InputError("replacing the background needs masks; the sample has none")
        if rng.random() >= self.probability:
            return sample
        background = self.backgrounds[int(rng.integers(len(self.backgrounds)))]
        foreground = np.asarray(sample.masks.any(axis=0) if sample.by_object else sample.masks > 0)
        return sample.with_image(replace_background(sample.image, foreground, background, self.feather))
