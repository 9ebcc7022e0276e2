"""Samples that pull two people together.

A gallery answers with the nearest sample. One photograph of Bo under Ada's name, by mistake or on purpose, and Bo walks
in as Ada. Such a sample gives itself away: it is nearer to Bo's samples than to the rest of Ada's. A person's only
sample has no rest to compare with; it is suspicious where it reaches the threshold of recognition with somebody else:
one face under two names.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from edgecv_runtime.gallery.distances import Distance
    from edgecv_runtime.gallery.store import Samples

_SCORES = 1 << 22  # in one block


@dataclass(frozen=True)
class Suspicion:
    """A sample that is nearer to another person than to its own.

    Attributes
    ----------
    name : str
        Whose sample it is.
    other : str
        Whom it is nearer to.
    own_score : float or None
        Its best similarity to the other samples of its own person; None where it is their only one.
    other_score : float
        Its best similarity to the other person's samples.
    sample : int or None
        Its id; None before it is stored.
    """

    name: str
    other: str
    own_score: float | None
    other_score: float
    sample: int | None = None

    @property
    def summary(self) -> str:
        """One line for people."""
        if self.own_score is None:
            return f"{self.name}: the only sample would be recognised as {self.other} ({self.other_score:.3f})"
        return f"{self.name}: nearer to {self.other} ({self.other_score:.3f}) than to their own ({self.own_score:.3f})"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def suspicious_samples(samples: Samples, metric: Distance, threshold: float | None = None) -> list[Suspicion]:
    """Every stored sample that is nearer to another person than to the rest of its own.

    The work grows with the square of the number of samples: 10,000 take seconds, 100,000 minutes.

    Parameters
    ----------
    samples : Samples
    metric : Distance
        The gallery's.
    threshold : float, optional
        Score of recognition. Given, a person's only sample is listed where another person's reaches it.

    Returns
    -------
    list of Suspicion
        The plainest first: by how much nearer it is to the other; only samples last.
    """
    found = [
        Suspicion(
            samples.names[int(samples.people[row])],
            samples.names[int(samples.people[nearest])],
            None if own == -np.inf else own,
            other,
            int(samples.ids[row]),
        )
        for row, own, nearest, other in _compared(samples.vectors, samples.people, metric)
        if (other > own if own > -np.inf else threshold is not None and other >= threshold)
    ]
    return sorted(found, key=lambda one: (one.own_score is None, (one.own_score or 0.0) - one.other_score))


def _compared(
    vectors: npt.NDArray[np.float32], people: npt.NDArray[np.integer], metric: Distance
) -> list[tuple[int, float, int, float]]:
    """Each row with its best score among its own person's others, and the nearest row of anybody else with its score.

    -inf stands for no such row; a gallery of one person compares nothing.
    """
    count = len(people)
    if not count or (people == people[0]).all():
        return []
    compared = []
    step = max(1, _SCORES // count)
    for start in range(0, count, step):
        rows = np.arange(start, min(start + step, count))
        if metric.score is None:
            scores = vectors[rows] @ vectors.T
        else:
            scores = np.stack([metric.similarity(vectors[row], vectors) for row in rows.tolist()])
        scores[rows - start, rows] = -np.inf
        same = people[rows][:, None] == people
        own = np.where(same, scores, -np.inf).max(axis=1)
        scores[same] = -np.inf
        nearest = scores.argmax(axis=1)
        others = scores[np.arange(len(rows)), nearest]
        compared += list(zip(rows.tolist(), own.tolist(), nearest.tolist(), others.tolist(), strict=True))
    return compared
