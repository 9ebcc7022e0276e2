"""How well vectors tell people apart: true accepts at a given rate of false ones, over all pairs.

Definitions as in Huang et al. 2007 (Labeled Faces in the Wild) and ISO/IEC 19795-1: a *genuine* pair shows one person,
an *impostor* pair two; a pair is accepted where its similarity reaches the threshold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError

FAR = 1e-3  # the false-accept rate that one figure is given at
RATES = (1e-1, 1e-2, 1e-3)

# Similarities are counted on a grid: however many pairs there are, the counts take 32 MiB. Its step of 1e-6 is the
# rounding error of a float32 dot product; similarities that are nearer to each other count as equal.
_LEVELS = 1 << 21
_BLOCK = 1 << 22  # similarities that are held at once


@dataclass(frozen=True, eq=False)
class Roc:
    """The receiver operating characteristic, strictest threshold first; it starts at (0, 0) and ends at (1, 1).

    Attributes
    ----------
    far, tar : (P,) float64
        Shares of the impostor and of the genuine pairs that are accepted.
    thresholds : (P,) float64
        Least cosine similarity that is accepted; infinite at the first point.
    """

    far: npt.NDArray[np.float64]
    tar: npt.NDArray[np.float64]
    thresholds: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.far)


@dataclass(frozen=True, eq=False)
class VerificationRates:
    """What a threshold on the similarity of two vectors is worth.

    Attributes
    ----------
    far : (F,) float64
        The false-accept rates asked for.
    tar : (F,) float64
        Share of the genuine pairs accepted at the loosest threshold whose false-accept rate is no higher.
    thresholds : (F,) float64
        Those thresholds, cosine similarity.
    accuracy : float
        Best over all thresholds of the mean of true-accept and true-reject rate: as if there were as many impostor
        pairs as genuine ones.
    accuracy_threshold : float
        Where that is.
    eer : float
        The equal error rate: false accepts and false rejects are equally frequent.
    genuine, impostor : int
        Pairs.
    roc : Roc
    """

    far: npt.NDArray[np.float64]
    tar: npt.NDArray[np.float64]
    thresholds: npt.NDArray[np.float64]
    accuracy: float
    accuracy_threshold: float
    eer: float
    genuine: int
    impostor: int
    roc: Roc

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the curve."""
        columns = (self.far.tolist(), self.tar.tolist(), self.thresholds.tolist())
        return {
            "rates": [{"far": f, "tar": t, "threshold": s} for f, t, s in zip(*columns, strict=True)],
            "accuracy": self.accuracy,
            "accuracy_threshold": self.accuracy_threshold,
            "eer": self.eer,
            "genuine": self.genuine,
            "impostor": self.impostor,
        }


def verification_rates(
    embeddings: npt.NDArray[Any], labels: npt.NDArray[Any] | Sequence[Any], far: Sequence[float] = RATES
) -> VerificationRates:
    """Compare every vector with every other by the cosine of their angle.

    Parameters
    ----------
    embeddings : (N, D) float
        Of any length; a zero vector is like none.
    labels : (N,)
        Who each is of.
    far : sequence of float in (0, 1]
        False-accept rates to report. Below one over the impostor pairs, no impostor is accepted.

    Raises
    ------
    InputError
        Shapes that do not fit, values that are not finite, a rate outside (0, 1], or no genuine or no impostor pair.

    Examples
    --------
    >>> found = verification_rates(np.array([[1, 0], [1, 0.1], [0, 1]]), ["ann", "ann", "bob"], far=[0.5])
    >>> found.tar.tolist(), found.genuine, found.impostor
    ([1.0], 1, 2)
    """
    vectors, people = _checked(embeddings, labels)
    wanted = np.asarray(far, np.float64)
    if wanted.ndim != 1 or not len(wanted) or not ((wanted > 0) & (wanted <= 1)).all():
        raise InputError(f"false-accept rates must be in (0, 1]; received {list(far)!r:.80}")
    genuine, impostor = _count_pairs(vectors, people)
    if not genuine.sum() or not impostor.sum():
        raise InputError(
            "verification needs pairs of one person and pairs of two: at least two people, one of them with two "
            f"pictures; received {len(vectors)} pictures of {people.max(initial=-1) + 1} people"
        )
    roc = _curve(genuine, impostor)
    # The last point whose rate is no higher; a tolerance, since 1e-3 × 40,000 must mean 40 pairs.
    places = np.searchsorted(roc.far, wanted * (1 + 1e-9), side="right") - 1
    balanced = (roc.tar + 1 - roc.far) / 2
    best = int(balanced.argmax())
    return VerificationRates(
        wanted,
        roc.tar[places],
        np.minimum(roc.thresholds[places], 1.0),
        float(balanced[best]),
        float(min(roc.thresholds[best], 1.0)),
        _equal_error_rate(roc),
        int(genuine.sum()),
        int(impostor.sum()),
        roc,
    )


def _checked(
    embeddings: npt.NDArray[Any], labels: npt.NDArray[Any] | Sequence[Any]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Unit vectors, and people as numbers from 0."""
    vectors = np.asarray(embeddings, np.float32)
    names = np.asarray(labels)
    if vectors.ndim != 2 or names.shape != vectors.shape[:1]:
        raise InputError(f"embeddings must be (N, D) with N labels; received shapes {vectors.shape} and {names.shape}")
    if not np.isfinite(vectors).all():
        raise InputError("embeddings must be finite; received NaN or infinity")
    return unit_vectors(vectors), np.unique(names, return_inverse=True)[1].astype(np.int64)


def unit_vectors(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(N, D) vectors brought to length one; a zero vector stays zero."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    unit: npt.NDArray[np.float64] = np.divide(vectors, lengths, out=np.zeros(vectors.shape), where=lengths > 0)
    return unit.astype(np.float32)


def _count_pairs(
    vectors: npt.NDArray[np.float32], people: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Genuine and impostor pairs by level of similarity, each pair once."""
    genuine, impostor = np.zeros(_LEVELS, np.int64), np.zeros(_LEVELS, np.int64)
    for rows in _blocks(len(vectors)):
        later = slice(rows.start, None)
        similarity = vectors[rows] @ vectors[later].T
        levels = (
            np.rint((similarity.astype(np.float64) + 1) * ((_LEVELS - 1) / 2)).clip(0, _LEVELS - 1).astype(np.int64)
        )
        once = np.arange(levels.shape[1]) > np.arange(levels.shape[0])[:, None]
        same = people[rows, None] == people[None, later]
        genuine += np.bincount(levels[once & same], minlength=_LEVELS)
        impostor += np.bincount(levels[once & ~same], minlength=_LEVELS)
    return genuine, impostor


def _blocks(count: int) -> Iterator[slice]:
    """Rows whose similarities to all later rows fit the memory."""
    start = 0
    while start < count:
        stop = min(count, start + max(1, _BLOCK // (count - start)))
        yield slice(start, stop)
        start = stop


def _curve(genuine: npt.NDArray[np.int64], impostor: npt.NDArray[np.int64]) -> Roc:
    """From counts by level to rates by threshold: one point for every level that occurs."""
    there = np.flatnonzero(genuine + impostor)[::-1]
    tar, far = (np.cumsum(counts[there]) / counts.sum() for counts in (genuine, impostor))
    thresholds = there * (2 / (_LEVELS - 1)) - 1
    return Roc(np.append(0.0, far), np.append(0.0, tar), np.append(np.inf, thresholds))


def _equal_error_rate(roc: Roc) -> float:
    """Where false accepts meet false rejects, on the straight line between the two points around it."""
    gap = roc.far - (1 - roc.tar)  # rises from -1 to 1
    after = int((gap >= 0).argmax())
    before = after - 1
    share = -gap[before] / (gap[after] - gap[before])
    return float(roc.far[before] + share * (roc.far[after] - roc.far[before]))
