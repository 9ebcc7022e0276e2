"""Labelled vectors compared with each other as a gallery would: every sample is a probe against every person.

A probe's own person is compared without the probe itself (leave one out), so that a *genuine* trial is what happens at
a door on the next day. A person is represented as the gallery does it: by all their samples, of which the nearest
counts, or by a template. Thresholds found on single pairs of photographs let in more impostors than wished where people
have many samples; these do not.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.gallery.templates import check_template, mean, robust_mean

Floats = npt.NDArray[np.float32]
Score = Callable[[Floats, Floats], npt.NDArray[np.floating]]

_MOST = 1 << 24  # trials; more people than that allows are drawn at random
_SEED = 0


@dataclass(frozen=True, eq=False)
class Trials:
    """Scores of N probes against P people, higher is nearer.

    Attributes
    ----------
    scores : (N, P) float32
        -inf where a probe's person has no other sample to compare with.
    owners : (N,) int64
        The column of each probe's own person.
    labels : tuple
        P labels of people, as they were given.
    left_out : int
        People who were not drawn, because there are so many.
    """

    scores: Floats
    owners: npt.NDArray[np.int64]
    labels: tuple[Hashable, ...]
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.owners)

    @property
    def own(self) -> Floats:
        """(N,): each probe against its own person."""
        mated: Floats = self.scores[np.arange(len(self)), self.owners]
        return mated

    @property
    def genuine(self) -> Floats:
        """(G,): scores of genuine trials."""
        own = self.own
        return own[np.isfinite(own)]

    @property
    def impostor(self) -> Floats:
        """(I,): scores of impostor trials."""
        return self.scores[self.others]

    @property
    def others(self) -> npt.NDArray[np.bool_]:
        """(N, P): which trials are an impostor's."""
        mask = np.ones(self.scores.shape, np.bool_)
        mask[np.arange(len(self)), self.owners] = False
        return mask

    @property
    def best_other(self) -> Floats:
        """(N,): each probe's best score among the people it is not of."""
        highest: Floats = np.where(self.others, self.scores, -np.inf).max(axis=1)
        return highest

    def rank1(self) -> float:
        """Share of the probes with a genuine trial whose own person scores highest: closed-set identification."""
        own, other = self.own, self.best_other
        mated = np.isfinite(own)
        return float(np.mean(own[mated] > other[mated]))


def run_trials(
    vectors: npt.ArrayLike,
    people: Sequence[Hashable] | npt.NDArray[np.integer],
    *,
    score: Score | None = None,
    template: str = "all",
    unit: bool = True,
    most: int = _MOST,
) -> Trials:
    """Compare every sample with every person.

    Parameters
    ----------
    vectors : (N, D) float32
        As the gallery keeps them: unit vectors for the cosine.
    people : sequence of N labels
        Whose each is.
    score : callable, optional
        ``score(query (D,), rows (M, D)) -> (M,)``, higher is nearer. Default: the inner product.
    template : {"all", "mean", "robust-mean"}
    unit : bool
        Templates are brought to length 1.
    most : int
        Trials above which people are drawn at random, always the same ones.

    Raises
    ------
    InputError
        Fewer than two people, nobody with two samples, or lengths that differ.
    """
    rows = np.ascontiguousarray(vectors, np.float32)
    names = np.asarray(people).tolist()
    if rows.ndim != 2 or len(names) != len(rows):
        raise InputError(f"trials need (N, D) vectors and N labels; received {rows.shape} and {len(names)} labels")
    if not np.isfinite(rows).all():
        raise InputError("vectors must be finite; received NaN or infinity")
    labels: list[Hashable] = list(dict.fromkeys(names))
    number = {label: place for place, label in enumerate(labels)}
    owners = np.array([number[name] for name in names], np.int64)
    counts = np.bincount(owners, minlength=len(labels)) if len(owners) else np.zeros(0, np.int64)
    if len(labels) < 2 or counts.max() < 2:
        raise InputError(
            f"trials need two people or more, one of them with two samples or more; received {len(names)} samples of "
            f"{len(labels)} people"
        )
    check_template(template)
    everybody = len(labels)
    if len(rows) * everybody > most:
        rows, owners, labels = _draw(rows, owners, labels, counts, most)
    by_person = np.argsort(owners, kind="stable")
    rows, owners = rows[by_person], owners[by_person]
    scores = _all(rows, owners, score) if template == "all" else _averaged(rows, owners, score, template, unit)
    return Trials(scores, owners, tuple(labels), everybody - len(labels))


def _draw(
    rows: Floats, owners: npt.NDArray[np.int64], labels: list[Hashable], counts: npt.NDArray[np.int64], most: int
) -> tuple[Floats, npt.NDArray[np.int64], list[Hashable]]:
    """So many people at random that there are at most `most` trials, those with one sample only last."""
    order = np.random.default_rng(_SEED).permutation(len(labels))
    order = order[np.argsort(counts[order] < 2, kind="stable")]
    trials = np.cumsum(counts[order]) * np.arange(1, len(order) + 1)
    chosen = np.sort(order[: max(2, int(trials.searchsorted(most, "right")))])
    place = np.full(len(labels), -1)
    place[chosen] = np.arange(len(chosen))
    kept = place[owners] >= 0
    return rows[kept], place[owners[kept]], [labels[index] for index in chosen.tolist()]


def _scores(rows: Floats, against: Floats, score: Score | None) -> Floats:
    """(N, M)."""
    if score is None:
        return rows @ against.T
    return np.stack([np.asarray(score(row, against), np.float32) for row in rows])


def _all(rows: Floats, owners: npt.NDArray[np.int64], score: Score | None) -> Floats:
    """The nearest sample of each person; `owners` ascend."""
    people, starts = np.unique(owners, return_index=True)
    made = np.empty((len(rows), len(people)), np.float32)
    step = max(1, (1 << 22) // len(rows))
    for start in range(0, len(rows), step):
        part = np.arange(start, min(start + step, len(rows)))
        compared = _scores(rows[part], rows, score)
        compared[part - start, part] = -np.inf  # a probe is not compared with itself
        made[part] = np.maximum.reduceat(compared, starts, axis=1)
    return made


def _averaged(rows: Floats, owners: npt.NDArray[np.int64], score: Score | None, template: str, unit: bool) -> Floats:
    """Against a template of each person, of a probe's own person one that is made without it; `owners` ascend."""
    average = mean if template == "mean" else robust_mean
    groups = np.split(np.arange(len(rows)), np.flatnonzero(np.diff(owners)) + 1)
    made = _scores(rows, np.stack([average(rows[group], unit=unit) for group in groups]), score)
    for owner, group in enumerate(groups):
        for probe in group.tolist():
            rest = group[group != probe]
            made[probe, owner] = -np.inf
            if len(rest):
                own = average(rows[rest], unit=unit)[None]
                made[probe, owner] = _scores(rows[probe : probe + 1], own, score)[0, 0]
    return made
