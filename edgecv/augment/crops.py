"""Parts of a picture: random crops, crops brought to size, and the ten of AlexNet's test."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgecv.augment.geometric import Mirror
from edgecv.augment.sample import Sample
from edgecv.augment.warp import Border, Warp, moved, translation, warp
from edgecv_runtime.errors import InputError

_ATTEMPTS = 10


def crop(sample: Sample, top: int, left: int, height: int, width: int) -> Sample:
    """A part that lies inside the picture, with the objects of which a quarter is in it.

    Raises
    ------
    InputError
        The part is empty or reaches beyond the picture.
    """
    if min(top, left) < 0 or min(height, width) < 1 or top + height > sample.size[0] or left + width > sample.size[1]:
        raise InputError(
            f"a crop must lie inside the picture of {sample.size[0]}x{sample.size[1]}; received {height}x{width} "
            f"at row {top}, column {left}"
        )
    image = np.ascontiguousarray(sample.image[top : top + height, left : left + width])
    masks = sample.masks
    if masks is not None:
        masks = np.ascontiguousarray(masks[..., top : top + height, left : left + width])
    return moved(sample, image, masks, lambda points: points - np.array([left, top]), upright=True)


@dataclass(frozen=True)
class RandomCrop:
    """A part of fixed size anywhere in the picture.

    Attributes
    ----------
    height, width : int, optional
        Default: the picture's own, which with `padding` shifts it at random (He et al. 2016, section 4.2: 4 pixels).
    padding : int
        Pixels added around it first.
    border : {"auto", "reflect", "edge", "grey"}
        What is added.
    """

    height: int | None = None
    width: int | None = None
    padding: int = 0
    border: Border = "auto"

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise InputError(f"padding must be at least 0; received {self.padding}")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        height, width = self.height or sample.size[0], self.width or sample.size[1]
        room = (sample.size[0] + 2 * self.padding - height, sample.size[1] + 2 * self.padding - width)
        if min(room) < 0:
            raise InputError(
                f"a crop of {height}x{width} does not fit a picture of {sample.size[0]}x{sample.size[1]} with "
                f"{self.padding} pixels around it"
            )
        top, left = (int(rng.integers(space + 1)) - self.padding for space in room)
        if self.padding == 0:
            return crop(sample, top, left, height, width)
        return warp(sample, Warp(translation(-left, -top), (height, width)), border=self.border)


@dataclass(frozen=True)
class ResizedCrop:
    """A part of random area and aspect, brought to the picture's size (Szegedy et al. 2015, section 6).

    Attributes
    ----------
    area : (low, high)
        Share of the picture.
    aspect : (low, high)
        Width over height of the part, relative to the picture's; drawn evenly on a logarithmic scale.
    """

    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise InputError(f"area must be two shares above 0 and up to 1, in order; received {self.area}")
        if not 0 < self.aspect[0] <= self.aspect[1]:
            raise InputError(f"aspect must be two ratios above 0, in order; received {self.aspect}")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        height, width = sample.size
        wide = high = 1.0
        for _ in range(_ATTEMPTS):
            area = rng.uniform(*self.area)
            ratio = math.exp(rng.uniform(math.log(self.aspect[0]), math.log(self.aspect[1])))
            if math.sqrt(area * ratio) <= 1 and math.sqrt(area / ratio) <= 1:
                wide, high = math.sqrt(area * ratio), math.sqrt(area / ratio)
                break
        left, top = rng.uniform(0, 1, 2) * (width * (1 - wide), height * (1 - high))
        scale = np.diag([1 / wide, 1 / high, 1.0])
        return warp(sample, Warp(scale @ translation(-left, -top), sample.size), border="edge")


def ten_crop(sample: Sample, height: int, width: int) -> list[Sample]:
    """The four corners and the middle, then their mirror images (Krizhevsky et al. 2012, section 4.1).

    In the order of the runtime's view ``ten-crop``: left top, right top, left bottom, right bottom, middle.

    Parameters
    ----------
    sample : Sample
    height, width : int
        Of a crop; 224 of 256 in the paper.

    Raises
    ------
    InputError
        Larger than the picture.
    """
    bottom, right = sample.size[0] - height, sample.size[1] - width
    places = ((0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2))
    crops = [crop(sample, top, left, height, width) for top, left in places]
    return crops + [Mirror().apply(part) for part in crops]
