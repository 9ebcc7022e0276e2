"""Light augmentation of uint8 pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a training picture.

    Attributes
    ----------
    mirror : bool
        Mirrored left to right, every second time. Not for digits and letters.
    shift : float
        Largest shift in each direction, as a share of the shorter side, 0 to 0.5; the edge is reflected.
    """

    mirror: bool = False
    shift: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.shift <= 0.5:
            raise InputError(f"shift must be a share of the side from 0 to 0.5; received {self.shift}")

    @property
    def changes(self) -> bool:
        """Whether it does anything at all."""
        return self.mirror or self.shift > 0

    def apply(self, pixels: Pixels, generator: np.random.Generator) -> Pixels:
        """Each of (N, H, W, C) pictures in its own way, as a new array."""
        changed = pixels
        height, width = pixels.shape[1:3]
        reach = round(self.shift * min(height, width))
        if reach:
            padded = np.pad(pixels, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="reflect")
            changed = np.empty_like(pixels)
            for index, (y, x) in enumerate(generator.integers(0, 2 * reach + 1, (len(pixels), 2))):
                changed[index] = padded[index, y : y + height, x : x + width]
        if self.mirror:
            flip = (generator.random(len(pixels)) < 0.5)[:, None, None, None]
            changed = np.where(flip, changed[:, :, ::-1], changed)
        return changed
