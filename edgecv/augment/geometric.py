"""Steps that move things: mirror, quarter turns, affine maps, elastic and local warps.

Each is a frozen dataclass that is called with a sample and a generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgecv.augment.sample import Sample
from edgecv.augment.warp import Border, Field, Warp, about_the_middle, moved, rotation, translation, warp
from edgecv_runtime.errors import InputError
from edgecv_runtime.images import cv2


@dataclass(frozen=True)
class Mirror:
    """Left and right, or top and bottom, change places.

    Attributes
    ----------
    probability : float in [0, 1]
    vertical : bool
    pairs : sequence of (int, int)
        Keypoints that change their meaning: a mirrored left eye is a right eye.
    """

    probability: float = 0.5
    vertical: bool = False
    pairs: Sequence[tuple[int, int]] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise InputError(f"probability must be from 0 to 1; received {self.probability}")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return self.apply(sample) if rng.random() < self.probability else sample

    def apply(self, sample: Sample) -> Sample:
        """Mirror without a draw: x' = W − x, or y' = H − y."""
        axis, side = (0, sample.size[0]) if self.vertical else (1, sample.size[1])
        scale = np.array([1.0, -1.0] if self.vertical else [-1.0, 1.0])
        offset = np.array([0.0, side] if self.vertical else [side, 0.0])
        image = np.ascontiguousarray(np.flip(sample.image, axis))
        masks = sample.masks
        if masks is not None:
            masks = np.ascontiguousarray(np.flip(masks, axis + masks.ndim - 2))
        result = moved(sample, image, masks, lambda points: points * scale + offset, upright=True, minimum_visible=0.0)
        if result.keypoints is None or not self.pairs:
            return result
        keypoints = result.keypoints.copy()
        for first, second in self.pairs:
            keypoints[:, [first, second]] = keypoints[:, [second, first]]
        return replace(result, keypoints=keypoints)


@dataclass(frozen=True)
class QuarterTurns:
    """Turned by 0, 90, 180 or 270 degrees; a picture that is not square only by 0 or 180.

    For pictures that have no up and down, such as those of a microscope.
    """

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        turns = int(rng.integers(4))
        if sample.size[0] != sample.size[1]:
            turns -= turns % 2
        return self.apply(sample, turns)

    @staticmethod
    def apply(sample: Sample, turns: int) -> Sample:
        """So many quarter turns counter-clockwise, without a draw; exact."""
        turns %= 4
        height, width = sample.size
        size = (width, height) if turns % 2 else (height, width)
        matrix = translation(size[1] / 2, size[0] / 2) @ rotation(90 * turns).round() @ translation(
            -width / 2, -height / 2
        )  # fmt: skip
        image = np.ascontiguousarray(np.rot90(sample.image, turns))
        masks = sample.masks
        if masks is not None:
            masks = np.ascontiguousarray(np.rot90(masks, turns, axes=(masks.ndim - 2, masks.ndim - 1)))
        return moved(sample, image, masks, Warp(matrix, size).to_result, upright=True, minimum_visible=0.0)


@dataclass(frozen=True)
class Affine:
    """Rotation, shear, zoom, stretch and shift in one matrix about the middle, and so in one resampling.

    Attributes
    ----------
    rotation : float
        Largest angle in degrees, to either side.
    shear : float
        Largest tangent: at 0.2 the upper edge moves by a tenth of the height, the lower one as far the other way.
    zoom : (low, high)
        Factor, drawn evenly on a logarithmic scale; above 1 things become larger.
    stretch : float
        Width and height are scaled apart by up to 1 ± this.
    shift : (x, y)
        Largest shift as a share of width and height.
    border : {"auto", "reflect", "edge", "grey"}
        As of `warp`.
    """

    rotation: float = 0.0
    shear: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    stretch: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    border: Border = "auto"

    def __post_init__(self) -> None:
        if not 0 < self.zoom[0] <= self.zoom[1]:
            raise InputError(f"zoom must be two factors above 0, the lower one first; received {self.zoom}")
        if not 0 <= self.stretch < 1:
            raise InputError(f"stretch must be from 0 to below 1; received {self.stretch}")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return warp(sample, self.draw(sample.size, rng), border=self.border)

    def draw(self, size: tuple[int, int], rng: np.random.Generator) -> Warp:
        """One warp of a (height, width) picture."""
        angle, slant = rng.uniform(-1, 1, 2) * (self.rotation, self.shear)
        factor = np.exp(rng.uniform(np.log(self.zoom[0]), np.log(self.zoom[1])))
        wide, high = factor * (1 + rng.uniform(-1, 1, 2) * self.stretch)
        x, y = rng.uniform(-1, 1, 2) * self.shift
        linear = rotation(float(angle)) @ np.array([[1.0, slant, 0], [0, 1, 0], [0, 0, 1]]) @ np.diag([wide, high, 1])
        return Warp(translation(x * size[1], y * size[0]) @ about_the_middle(size, linear), size)


@dataclass(frozen=True)
class Elastic:
    """A smooth random field of displacements (Simard, Steinkraus, Platt, ICDAR 2003, section 2).

    Noise is smoothed by a Gaussian and scaled, here to a standard deviation instead of the paper's factor α, so that
    strength and smoothness are set apart.

    Attributes
    ----------
    pixels : float
        Largest standard deviation of the displacements; each picture draws its own up to it.
    sigma : float
        Of the Gaussian, pixels. Below about 3 times `pixels` the picture may fold over.
    border : {"auto", "reflect", "edge", "grey"}
    """

    pixels: float = 1.3
    sigma: float = 4.5
    border: Border = "auto"

    def __post_init__(self) -> None:
        if self.pixels < 0 or not self.sigma > 0:
            raise InputError(f"pixels must be at least 0 and sigma above 0; received {self.pixels} and {self.sigma}")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return warp(sample, Warp(np.eye(3), sample.size, self.field(sample.size, rng)), border=self.border)

    def field(self, size: tuple[int, int], rng: np.random.Generator) -> Field:
        """(height, width, 2) float32 pixels."""
        noise = rng.normal(size=(*size, 2))
        smooth = cv2("elastic warping").GaussianBlur(noise, (0, 0), self.sigma)
        strength = rng.uniform(0, self.pixels)
        return (smooth * (strength / max(float(smooth.std()), 1e-12))).astype(np.float32)


@dataclass(frozen=True)
class GridWarp:
    """Local warping: the crossings of a coarse grid move, and what lies between follows by cubic interpolation.

    Ronneberger et al. 2015 (U-Net), section 3.1: displacements from a Gaussian of 10 pixels on a 3 by 3 grid.

    Attributes
    ----------
    crossings : int
        Along each side, at least 2.
    pixels : float
        Standard deviation of each crossing's displacement.
    border : {"auto", "reflect", "edge", "grey"}
    """

    crossings: int = 3
    pixels: float = 10.0
    border: Border = "auto"

    def __post_init__(self) -> None:
        if self.crossings < 2 or self.pixels < 0:
            raise InputError(
                f"crossings must be at least 2 and pixels at least 0; received {self.crossings} and {self.pixels}"
            )

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return warp(sample, Warp(np.eye(3), sample.size, self.field(sample.size, rng)), border=self.border)

    def field(self, size: tuple[int, int], rng: np.random.Generator) -> Field:
        """(height, width, 2) float32 pixels."""
        opencv = cv2("warping a picture")
        coarse = rng.normal(0, self.pixels, (self.crossings, self.crossings, 2)).astype(np.float32)
        field: Field = opencv.resize(coarse, (size[1], size[0]), interpolation=opencv.INTER_CUBIC)
        return field
