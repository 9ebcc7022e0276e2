"""Two pictures in one: mixup and cutmix of batches, superposition of two samples."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.augment.sample import Sample
from edgecv_runtime.errors import InputError

Pixels = npt.NDArray[np.uint8]
Targets = npt.NDArray[np.float32]


def mixup(images: Pixels, targets: Targets, rng: np.random.Generator, alpha: float = 0.2) -> tuple[Pixels, Targets]:
    """λ x_i + (1 − λ) x_j for pictures and labels alike, λ from Beta(α, α) (Zhang et al. 2018, section 2).

    Parameters
    ----------
    images : (N, H, W, C) uint8
    targets : (N, K) float32
        One-hot rows, or whatever else adds up to 1.
    rng : numpy.random.Generator
    alpha : float
        Above 0.

    Returns
    -------
    images, targets
        As they came in; every row of targets adds up to what it did.

    Raises
    ------
    InputError
    """
    _check(images, targets, alpha)
    partner = rng.permutation(len(images))
    share = rng.beta(alpha, alpha, len(images)).astype(np.float32)
    wide, flat = share[:, None, None, None], share[:, None]
    mixed = wide * images + (1 - wide) * images[partner]
    return np.rint(mixed).astype(np.uint8), flat * targets + (1 - flat) * targets[partner]


def cutmix(
    images: Pixels,
    targets: Targets,
    rng: np.random.Generator,
    alpha: float = 1.0,
    masks: npt.NDArray[Any] | None = None,
) -> Any:
    """A rectangle of each picture is taken from another one (Yun et al. 2019, eq. 1 and 2).

    The rectangle has the picture's aspect and, before it is cut at the border, a share 1 − λ of its area, λ from
    Beta(α, α). Labels are mixed by the pixels that it really has.

    Parameters
    ----------
    images : (N, H, W, C) uint8
    targets : (N, K) float32
    rng : numpy.random.Generator
    alpha : float
        Above 0.
    masks : (N, H, W), optional
        Maps of classes, cut along.

    Returns
    -------
    images, targets, and masks where they were given

    Raises
    ------
    InputError
    """
    _check(images, targets, alpha)
    count, height, width = images.shape[:3]
    partner = rng.permutation(count)
    side = np.sqrt(1 - rng.beta(alpha, alpha, count))
    x, y = rng.uniform(0, width, count), rng.uniform(0, height, count)
    left, right = (np.rint(x + sign * side * width / 2).clip(0, width).astype(int) for sign in (-1, 1))
    top, bottom = (np.rint(y + sign * side * height / 2).clip(0, height).astype(int) for sign in (-1, 1))
    mixed = images.copy()
    cut = None if masks is None else masks.copy()
    for index, other in enumerate(partner.tolist()):
        where = (slice(top[index], bottom[index]), slice(left[index], right[index]))
        mixed[index][where] = images[other][where]
        if cut is not None and masks is not None:
            cut[index][where] = masks[other][where]
    share = (1 - (right - left) * (bottom - top) / (height * width)).astype(np.float32)[:, None]
    blended = share * targets + (1 - share) * targets[partner]
    return (mixed, blended) if cut is None else (mixed, blended, cut)


def superpose(first: Sample, second: Sample, share: float = 0.5) -> Sample:
    """Both pictures on top of each other, with the objects of both (Zhang et al. 2019, "Bag of Freebies", section 3.1).

    Parameters
    ----------
    first, second : Sample
        Of one size, and with the same kinds of labels. Maps of classes cannot be superposed.
    share : float in [0, 1]
        Of the first.

    Raises
    ------
    InputError
    """
    if first.image.shape != second.image.shape:
        raise InputError(f"pictures must have one shape; received {first.image.shape} and {second.image.shape}")
    if not 0 <= share <= 1:
        raise InputError(f"share must be from 0 to 1; received {share}")
    image = np.rint(share * first.image.astype(np.float32) + (1 - share) * second.image).astype(np.uint8)
    joined: dict[str, Any] = {}
    for name in ("boxes", "classes", "masks", "keypoints"):
        own, other = getattr(first, name), getattr(second, name)
        if (own is None) != (other is None):
            raise InputError(f"both samples must have {name}, or neither")
        if own is None:
            continue
        if name == "masks" and own.ndim == 2:
            raise InputError("maps of classes cannot be superposed: a pixel has one class (cutmix moves them)")
        joined[name] = np.concatenate([own, other])
    return replace(first, image=image, **joined)


def _check(images: Pixels, targets: Targets, alpha: float) -> None:
    if images.ndim != 4 or images.dtype != np.uint8:
        raise InputError(f"images must be (N, H, W, C) uint8; received {images.shape} {images.dtype}")
    if targets.ndim != 2 or len(targets) != len(images):
        raise InputError(f"targets must be ({len(images)}, K) shares of the classes; received shape {targets.shape}")
    if not alpha > 0:
        raise InputError(f"alpha must be above 0; received {alpha}")
