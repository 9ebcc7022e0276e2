"""The threshold for a wished false-accept rate, from labelled vectors, and how far it can be trusted.

Terms are those of ISO/IEC 19795-1. *Verification* (1:1): the false accept rate FAR is the share of impostor trials that
reach the threshold, the true accept rate TAR that of genuine ones. *Open-set identification* (1:N): FPIR is the share
of searches by people who are not in the gallery that name somebody nevertheless, FNIR that of searches by people who
are in it that do not name them.

Trials are not independent: one odd face is in a hundred of them. So intervals come from drawing *people* with
replacement (Bolle, Ratha and Pankanti 2004, "Error analysis of pattern recognition systems: the subsets bootstrap") and
are never narrower than Wilson's score interval for as many independent trials.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, fields
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.gallery.trials import Score, Trials, run_trials

Wide = npt.NDArray[np.float64]

_DRAWS = 500
_TAIL = 20_000  # impostor trials, the highest, among which a drawn threshold is looked for
_CURVE = 80  # points of a stored curve


@dataclass(frozen=True)
class Rate:
    """A measured share and the interval that it lies in with 95 % confidence (or as asked).

    Attributes
    ----------
    value, low, high : float
        0 to 1.
    count : int
        Trials or searches it was measured on.
    """

    value: float
    low: float
    high: float
    count: int

    @property
    def summary(self) -> str:
        """One line for people: ``0.00102 (0.0004 to 0.0021, of 12,480)``."""
        return f"{self.value:.4g} ({self.low:.3g} to {self.high:.3g}, of {self.count:,})"


@dataclass(frozen=True)
class CurvePoint:
    """A threshold and what follows from it."""

    threshold: float
    far: float
    tar: float


@dataclass(frozen=True)
class Calibration:
    """A threshold that was measured, and for what it holds.

    Attributes
    ----------
    threshold : float
        Least score that is accepted.
    threshold_low, threshold_high : float
        Where the threshold would lie with other people of the same kind.
    wished_far : float
    far, tar : Rate
        Verification at the threshold.
    fpir, fnir : Rate
        Open-set identification at the threshold, among `people` people.
    rank1 : float
        Share of the probes that are nearest to their own person, whatever the threshold.
    people, samples : int
    distance, template : str
        The gallery's, for which alone the threshold holds.
    confidence : float
        Of the intervals.
    curve : tuple of CurvePoint
        FAR and TAR by threshold, for a picture (`edgecv_runtime.gallery.curves`); thresholds descend.
    """

    threshold: float
    threshold_low: float
    threshold_high: float
    wished_far: float
    far: Rate
    tar: Rate
    fpir: Rate
    fnir: Rate
    rank1: float
    people: int
    samples: int
    distance: str
    template: str
    confidence: float
    curve: tuple[CurvePoint, ...]

    @property
    def summary(self) -> str:
        """One line for people."""
        return (
            f"threshold {self.threshold:.4f} ({self.threshold_low:.4f} to {self.threshold_high:.4f}) for FAR "
            f"{self.wished_far:g}: FAR {self.far.summary}, TAR {self.tar.summary}; of {self.people} people FPIR "
            f"{self.fpir.summary}, FNIR {self.fnir.summary}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def to_json(self) -> str:
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """What `to_json` wrote.

        Raises
        ------
        InputError
            It is something else.
        """
        try:
            read = json.loads(text)
            rates = {name: Rate(**read[name]) for name in ("far", "tar", "fpir", "fnir")}
            curve = tuple(CurvePoint(**point) for point in read["curve"])
            known = {field.name for field in fields(cls)}
            return cls(**{**{key: read[key] for key in read if key in known}, **rates, "curve": curve})
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"a stored calibration cannot be read ({error!r}); run edgecv gallery calibrate") from None


def calibrate(
    vectors: npt.ArrayLike,
    people: Sequence[Hashable] | npt.NDArray[np.integer],
    *,
    far: float = 1e-3,
    distance: str = "cosine",
    template: str = "all",
    score: Score | None = None,
    unit: bool = True,
    confidence: float = 0.95,
    seed: int = 0,
) -> Calibration:
    """Find the threshold for a wished false-accept rate.

    Parameters
    ----------
    vectors : (N, D) float32
        As the gallery keeps them.
    people : sequence of N labels
    far : float
        Wished share of impostor trials that are accepted.
    distance, template : str
        Written into the result; `score` and `unit` are what they mean: see `run_trials`.
    confidence : float
        Of the intervals.
    seed : int
        Of the draws of people.

    Raises
    ------
    InputError
        Too few people, or too few impostor trials for so small a rate.

    Examples
    --------
    >>> generator = np.random.default_rng(0)
    >>> people = np.repeat(np.arange(60), 4)
    >>> vectors = np.eye(60)[people] + generator.normal(0, 0.1, (240, 60))
    >>> found = calibrate(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), people, far=0.01)
    >>> found.far.value <= 0.01, found.tar.value
    (True, 1.0)
    """
    trials = run_trials(vectors, people, score=score, template=template, unit=unit)
    return calibrate_trials(trials, far=far, distance=distance, template=template, confidence=confidence, seed=seed)


def calibrate_trials(
    trials: Trials,
    *,
    far: float = 1e-3,
    distance: str = "cosine",
    template: str = "all",
    confidence: float = 0.95,
    seed: int = 0,
) -> Calibration:
    """As `calibrate`, of trials that were run already."""
    if not 0 < far < 1:
        raise InputError(f"far must be between 0 and 1; received {far}")
    if not 0 < confidence < 1:
        raise InputError(f"confidence must be between 0 and 1; received {confidence}")
    impostor = np.sort(trials.impostor.astype(np.float64))[::-1]
    if len(impostor) * far < 1:
        raise InputError(
            f"a false-accept rate of {far:g} needs {math.ceil(1 / far):,} impostor trials or more; received "
            f"{len(impostor):,} of {len(trials.labels)} people: ask for {2 / len(impostor):.1g} or bring more people"
        )
    threshold = threshold_at(impostor, far)
    draws = _draws(len(trials.labels), seed)
    low, high = _threshold_interval(trials, far, draws, confidence, threshold)
    genuine = np.sort(trials.genuine.astype(np.float64))
    return Calibration(
        threshold=threshold, threshold_low=low, threshold_high=high, wished_far=far,
        **rates_at(trials, threshold, confidence=confidence, seed=seed),
        rank1=trials.rank1(), people=len(trials.labels), samples=len(trials), distance=distance, template=template,
        confidence=confidence, curve=_curve(impostor, genuine),
    )  # fmt: skip


def threshold_at(impostor: Wide, far: float) -> float:
    """The least threshold at which at most this share of the impostor scores (descending) is accepted.

    It is the float32 just above the first score that is not: scores are float32, and would be compared as such.
    """
    refused = float(impostor[min(len(impostor) - 1, math.floor(far * len(impostor) + 1e-9))])
    return float(np.nextafter(np.float32(refused), np.float32(np.inf)))


def rates_at(trials: Trials, threshold: float, *, confidence: float = 0.95, seed: int = 0) -> dict[str, Rate]:
    """FAR, TAR, FPIR and FNIR at a threshold.

    Returns
    -------
    dict
        ``far``, ``tar``, ``fpir``, ``fnir`` : Rate. A search finds its person where they are the nearest of all and
        reach the threshold (rank 1).
    """
    own, other = trials.own, trials.best_other
    mated = np.isfinite(own)
    draws = _draws(len(trials.labels), seed)
    of_probes = draws[:, trials.owners]  # how often each probe is drawn
    accepted = (trials.scores >= threshold) & trials.others
    drawn_trials = of_probes.sum(axis=1) * draws.sum(axis=1) - (of_probes * draws[:, trials.owners]).sum(axis=1)
    drawn_accepted = ((of_probes @ accepted.astype(np.float32)) * draws).sum(axis=1)
    far = _rate(int(accepted.sum()), int(trials.others.sum()), drawn_accepted / np.maximum(drawn_trials, 1), confidence)

    def of(hits: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> Rate:
        drawn = (of_probes @ (hits & among)) / np.maximum(of_probes @ among, 1e-12)
        return _rate(int((hits & among).sum()), int(among.sum()), drawn, confidence)

    return {
        "far": far,
        "tar": of(own >= threshold, mated),
        "fpir": of(other >= threshold, np.ones_like(mated)),
        "fnir": of(~((own >= threshold) & (own > other)), mated),
    }


def wilson(hits: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927, "Probable Inference, the Law of Succession").

    Examples
    --------
    >>> [round(edge, 4) for edge in wilson(0, 100)]
    [0.0, 0.037]
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, spread = hits / count, z * z / count
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return (0.0 if hits == 0 else max(0.0, middle - half)), (1.0 if hits == count else min(1.0, middle + half))


def _draws(people: int, seed: int) -> Wide:
    """(draws, P): how often each person is drawn."""
    chosen = np.random.default_rng(seed).multinomial(people, np.full(people, 1 / people), _DRAWS)
    return chosen.astype(np.float64)


def _rate(hits: int, count: int, drawn: Wide, confidence: float) -> Rate:
    low, high = wilson(hits, count, confidence)
    tail = (1 - confidence) / 2
    edges = np.quantile(drawn, [tail, 1 - tail])
    return Rate(hits / count, min(low, float(edges[0])), max(high, float(edges[1])), count)


def _threshold_interval(
    trials: Trials, far: float, draws: Wide, confidence: float, threshold: float
) -> tuple[float, float]:
    """Where the threshold falls as people are drawn anew."""
    others = trials.others
    probes, against = np.nonzero(others)
    scores = trials.scores[others]
    highest = np.argsort(-scores, kind="stable")[: max(_TAIL, int(10 * far * len(scores)))]
    first, second = trials.owners[probes[highest]], against[highest]
    samples = np.bincount(trials.owners, minlength=draws.shape[1])
    found = []
    for draw in draws:
        # Pairs of different people, each as often as both were drawn.
        total = float((draw * samples).sum() * draw.sum() - (draw * draw * samples).sum())
        reached = np.cumsum(draw[first] * draw[second])
        if total > 0:
            place = int(reached.searchsorted(far * total, "right"))
            found.append(float(scores[highest[min(place, len(highest) - 1)]]))
    tail = (1 - confidence) / 2
    edges = np.quantile(found, [tail, 1 - tail])
    return min(threshold, float(edges[0])), max(threshold, float(edges[1]))


def _curve(impostor: Wide, genuine: Wide) -> tuple[CurvePoint, ...]:
    """FAR and TAR where the FAR takes values that are evenly spaced on a logarithmic axis."""
    wished = np.geomspace(1 / len(impostor), 1, _CURVE)
    thresholds = sorted({float(impostor[max(0, math.ceil(share * len(impostor) - 1e-9) - 1)]) for share in wished})
    return tuple(
        CurvePoint(
            threshold,
            float(np.searchsorted(-impostor, -threshold, "right") / len(impostor)),
            float(1 - np.searchsorted(genuine, threshold, "left") / len(genuine)),
        )
        for threshold in reversed(thresholds)
    )
