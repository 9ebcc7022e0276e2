"""Steps that change values and move nothing: light, colour, noise, blur."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.augment.sample import Sample
from edgecv_runtime.errors import InputError
from edgecv_runtime.images import cv2

_MIDDLE = 127.5
_GAMMA = 2.2  # between linear light and pixel values, as sRGB nearly has it


def _changed(sample: Sample, values: npt.NDArray[Any]) -> Sample:
    return sample.with_image(np.rint(values).clip(0, 255).astype(np.uint8))


def _check(name: str, value: float, most: float | None = None) -> None:
    if value < 0 or (most is not None and value > most):
        wanted = "at least 0" if most is None else f"from 0 to {most:g}"
        raise InputError(f"{name} must be {wanted}; received {value}")


@dataclass(frozen=True)
class Brightness:
    """The same is added to every pixel: up to ± `amount` × 255."""

    amount: float = 0.2

    def __post_init__(self) -> None:
        _check("amount", self.amount, 1)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return _changed(sample, sample.image + np.float32(255 * self.amount * rng.uniform(-1, 1)))


@dataclass(frozen=True)
class Contrast:
    """Distances from mid-grey are multiplied by up to 1 ± `amount`."""

    amount: float = 0.25

    def __post_init__(self) -> None:
        _check("amount", self.amount, 1)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        factor = np.float32(1 + self.amount * rng.uniform(-1, 1))
        return _changed(sample, (sample.image - np.float32(_MIDDLE)) * factor + np.float32(_MIDDLE))


@dataclass(frozen=True)
class Exposure:
    """The light is multiplied by 2^EV, EV up to ± `stops`, and too bright pixels saturate, as in a camera.

    Pixels are v = light^(1/2.2), hence v' = v · 2^(EV/2.2).
    """

    stops: float = 0.5

    def __post_init__(self) -> None:
        _check("stops", self.stops)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return _changed(sample, sample.image * np.float32(2 ** (self.stops * rng.uniform(-1, 1) / _GAMMA)))


@dataclass(frozen=True)
class ColorShift:
    """Each channel by an amount of its own, up to ± `amount` × 255."""

    amount: float = 0.08

    def __post_init__(self) -> None:
        _check("amount", self.amount, 1)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        shift = np.float32(255 * self.amount) * rng.uniform(-1, 1, sample.image.shape[2])
        return _changed(sample, sample.image + np.asarray(shift, np.float32))


@dataclass(frozen=True)
class PrincipalColors:
    """Eigenvalues and eigenvectors of the covariance of R, G and B, with pixels counted 0..1.

    The defaults are those that the field uses for ImageNet.

    Attributes
    ----------
    values : (3,) floats
    vectors : 3 × (3,) floats
        One eigenvector a row, of length 1, in the order of the values.
    """

    values: tuple[float, ...] = (0.2175, 0.0188, 0.0045)
    vectors: tuple[tuple[float, ...], ...] = (
        (-0.5675, -0.5808, -0.5836),
        (0.7192, -0.0045, -0.6948),
        (0.4009, -0.8140, 0.4203),
    )


def principal_colors(images: Iterable[npt.NDArray[np.uint8]]) -> PrincipalColors:
    """The principal components of the colours of (H, W, 3) uint8 pictures, the largest first.

    Raises
    ------
    InputError
        There is no picture.
    """
    count, total, products = 0, np.zeros(3), np.zeros((3, 3))
    for image in images:
        pixels = image.reshape(-1, 3).astype(np.float64) / 255
        count, total, products = count + len(pixels), total + pixels.sum(axis=0), products + pixels.T @ pixels
    if count == 0:
        raise InputError("at least one picture is required; received none")
    mean = total / count
    values, vectors = np.linalg.eigh(products / count - np.outer(mean, mean))
    return PrincipalColors(
        tuple(max(0.0, value) for value in values[::-1].tolist()), tuple(map(tuple, vectors.T[::-1].tolist()))
    )


@dataclass(frozen=True)
class PcaColor:
    """To every pixel [p1, p2, p3] [α1 λ1, α2 λ2, α3 λ3]ᵀ is added (Krizhevsky et al. 2012, section 4.1).

    Attributes
    ----------
    sigma : float
        Standard deviation of α; 0.1 in the paper.
    colors : PrincipalColors
        p and λ.
    """

    sigma: float = 0.1
    colors: PrincipalColors = field(default_factory=PrincipalColors)

    def __post_init__(self) -> None:
        _check("sigma", self.sigma)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if sample.image.shape[2] != 3:
            raise InputError(f"PCA colour noise is for RGB pictures; received {sample.image.shape[2]} channel(s)")
        amounts = rng.normal(0, self.sigma, 3) * self.colors.values
        return _changed(sample, sample.image + np.asarray(255 * amounts @ np.array(self.colors.vectors), np.float32))


@dataclass(frozen=True)
class Noise:
    """Gaussian noise, independent in every value; its standard deviation is drawn up to `levels` of 255."""

    levels: float = 8.0

    def __post_init__(self) -> None:
        _check("levels", self.levels)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        strength = rng.uniform(0, self.levels)
        return _changed(sample, sample.image + rng.normal(0, strength, sample.image.shape).astype(np.float32))


@dataclass(frozen=True)
class Blur:
    """A Gaussian whose standard deviation is drawn up to `pixels`."""

    pixels: float = 1.0

    def __post_init__(self) -> None:
        _check("pixels", self.pixels)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        sigma = rng.uniform(0, self.pixels)
        if sigma < 0.1:  # narrower than a pixel can show
            return sample
        blurred = cv2("blurring").GaussianBlur(sample.image, (0, 0), sigma, borderType=cv2("blurring").BORDER_REFLECT)
        return sample.with_image(blurred.reshape(sample.image.shape))
