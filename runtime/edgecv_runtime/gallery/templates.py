"""What stands for a person in a search: every sample, their mean, or a mean that an odd sample does not move.

- ``all``: each sample for itself; a person is as near as the nearest of them.
- ``mean``: their mean. Noise averages out, and the search is as
  long as the list of people.
- ``robust-mean``: the same with weights that an outlier loses, by iteratively reweighted least squares with Huber's
  weights w = min(1, c / r) (Huber 1964, "Robust Estimation of a Location Parameter"; c = 1.345), r the distance to the
  present mean in units of the median distance. Two samples have no outlier: their mean.

Of unit vectors the mean is brought to length 1 again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.gallery.distances import Distance

Floats = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]
MakeTemplate = Callable[[Floats, Floats], Floats]

TEMPLATES = ("all", "mean", "robust-mean")

_HUBER = 1.345
_ROUNDS = 20
_LEAST_WEIGHT = 0.05  # what was taken in counts at least so much
_NO_DIRECTION = 1e-6  # length of a mean of unit vectors below which it points nowhere


def check_template(name: str) -> str:
    """The name, if it is one of a template strategy.

    Raises
    ------
    InputError
        It is not.
    """
    if name not in TEMPLATES:
        raise InputError(f"a template strategy must be one of {', '.join(TEMPLATES)}; received {name!r}")
    return name


def template_maker(name: str, distance: Distance) -> MakeTemplate | None:
    """How one vector is made of a person's samples.

    Parameters
    ----------
    name : {"all", "mean", "robust-mean"}
    distance : Distance
        The gallery's: of unit vectors a unit vector is made.

    Returns
    -------
    callable or None
        ``make(vectors (M, D), quality (M,)) -> (D,)`` with M at least 1; None for "all": nothing is made.

    Examples
    --------
    >>> from edgecv_runtime.gallery.distances import get_distance
    >>> make = template_maker("mean", get_distance("euclidean"))
    >>> make(np.array([[1, 0], [0, 1]], np.float32), np.ones(2, np.float32)).tolist()
    [0.5, 0.5]
    """
    if check_template(name) == "all":
        return None
    average = mean if name == "mean" else robust_mean
    return lambda vectors, quality: average(vectors, quality, unit=distance.unit)


def mean(vectors: Floats, quality: npt.ArrayLike | None = None, *, unit: bool = True) -> Floats:
    """(D,): the mean of (M, D) samples, with weights where every (M,) quality is known (not NaN).

    Unit vectors that cancel each other have no mean direction: the first then stands for them.
    """
    return np.asarray(_weighted(vectors.astype(np.float64), _weights(quality, len(vectors)), unit), np.float32)


def robust_mean(vectors: Floats, quality: npt.ArrayLike | None = None, *, unit: bool = True) -> Floats:
    """(D,): as `mean`, without following an outlier; it starts at the sample that is nearest to all others."""
    if len(vectors) < 3:
        return mean(vectors, quality, unit=unit)
    wide, weights = vectors.astype(np.float64), _weights(quality, len(vectors))
    middle = wide[_medoid(wide)]
    for _ in range(_ROUNDS):
        apart = np.linalg.norm(wide - middle, axis=1)
        scale = float(np.median(apart))
        if scale == 0:  # half of the samples are one and the same
            break
        following = _weighted(wide, weights * np.minimum(1, _HUBER * scale / np.maximum(apart, 1e-12)), unit)
        moved, middle = float(np.abs(following - middle).max()), following
        if moved < 1e-7:
            break
    return np.asarray(middle, np.float32)


def _weights(quality: npt.ArrayLike | None, count: int) -> Wide:
    known = np.full(count, np.nan) if quality is None else np.asarray(quality, np.float64)
    return np.ones(count) if np.isnan(known).any() else known.clip(_LEAST_WEIGHT, 1)


def _weighted(vectors: Wide, weights: Wide, unit: bool) -> Wide:
    middle: Wide = weights @ vectors / weights.sum()
    if not unit:
        return middle
    length = float(np.linalg.norm(middle))
    return np.asarray(vectors[0] if length < _NO_DIRECTION else middle / length)


def _medoid(vectors: Wide) -> int:
    squares = np.einsum("nd,nd->n", vectors, vectors)
    between = np.sqrt(np.maximum(squares[:, None] + squares - 2 * vectors @ vectors.T, 0))
    return int(between.sum(axis=1).argmin())
