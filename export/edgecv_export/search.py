"""Search for an integer artefact within an accuracy budget, cheapest on the device first.

Every candidate is converted and run as the device will run it, on the evaluation pictures; the first one within the
budget is taken. Candidates that cost the device nothing come first (how ranges are found, equalization), then those
that cost size or speed (layers in float, 16-bit activations), then quantization-aware training, which costs the
workstation's time and needs training pictures.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_export.figure import figure
from edgecv_export.plan import Plan
from edgecv_export.quantize.recipe import Recipe
from edgecv_export.reference import Fidelity
from edgecv_export.sources.base import Source
from edgecv_export.tasks.base import Evaluation
from edgecv_export.training import TrainingPictures
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.bench import measure_latency, noise_image
from edgecv_runtime.errors import CheckFailedError, UnsupportedError
from edgecv_runtime.manifest import Manifest
from edgecv_runtime.model import Model

_LATENCY_RUNS = 20
_SENSITIVITY_IMAGES = 16
_LEAST_SHARE = 4  # a quarter of the calibration images is tried where it is at least this many
_BLAMED = 3  # layers that a failure names


@dataclass(frozen=True, eq=False)
class Candidate:
    """One thing to try."""

    name: str
    plan: Plan
    recipe: Recipe
    note: str = ""


@dataclass(frozen=True, eq=False)
class Attempt:
    """A candidate that was tried.

    Attributes
    ----------
    candidate : Candidate
    fidelity : Fidelity or None
        None where the format refused it; `note` says why.
    artefact, manifest
        What was made.
    drop : float
        Points of the task's figure (top-1, mIoU, mAP50, TAR at FAR) that it loses; infinite where it was refused.
    met : bool
        Within the budget.
    """

    candidate: Candidate
    fidelity: Fidelity | None = None
    artefact: Artefact | None = None
    manifest: Manifest | None = None
    latency_ms: float | None = None
    seconds: float = 0.0
    drop: float = float("inf")
    met: bool = False
    note: str = ""

    @property
    def merit(self) -> tuple[float, float]:
        """Larger is better: accuracy kept, then agreement with the float source."""
        return -self.drop, self.fidelity.agreement if self.fidelity is not None else 0.0

    def to_dict(self, chosen: bool) -> dict[str, Any]:
        """As in ``report.json``."""
        return {
            "name": self.candidate.name,
            "precision": self.candidate.plan.precision,
            "recipe": self.candidate.recipe.to_dict(),
            **({"top1": None} if self.fidelity is None else figure(self.fidelity.accuracy.to_dict()).to_dict()),
            "agreement": None if self.fidelity is None else self.fidelity.agreement,
            "size": None if self.artefact is None else self.artefact.size,
            "latency_ms": self.latency_ms,
            "seconds": self.seconds,
            "met": self.met,
            "chosen": chosen,
            "note": self.note or self.candidate.note,
        }


@dataclass(eq=False)
class Search:
    """A search within a budget.

    Parameters
    ----------
    source : Source
    plan : Plan
        int8 or mixed.
    pixels : (N, H, W, C) uint8
        Calibration images at the input's size.
    reference : Evaluation
        The evaluation pictures and the float source's answers.
    max_drop : float
        Points of accuracy that may be lost.
    describe : callable
        From plan and artefact to the manifest.
    training : TrainingPictures, optional
    seed : int
        For the training.
    notify : callable, optional
        Is given every attempt as soon as it is made.
    """

    source: Source
    plan: Plan
    pixels: npt.NDArray[np.uint8]
    reference: Evaluation
    max_drop: float
    describe: Callable[[Plan, Artefact], Manifest]
    training: TrainingPictures | None = None
    seed: int = 0
    notify: Callable[[Attempt], None] | None = None
    attempts: list[Attempt] = field(default_factory=list)

    def run(self) -> Attempt:
        """Try one candidate after the other, and return the first within the budget.

        Raises
        ------
        CheckFailedError
            None is; the message says by how much, which layers are to blame, and what may help. The error's `report`
            holds every attempt.
        UnsupportedError
            Mixed is asked of a source whose sensitive layers are not known.

        Warns
        -----
        RuntimeWarning
            The budget is finer than the evaluation pictures can tell.
        """
        one = 100 / self.reference.trials
        if 0 < self.max_drop < one:
            warnings.warn(
                f"one of {self.reference.trials} evaluation {self.reference.trial}s is {one:.2f} points: a budget of "
                f"{self.max_drop:g} allows no {self.reference.trial} to be lost; give more pictures",
                RuntimeWarning,
                stacklevel=3,
            )
        for candidate in self._candidates():
            attempt = self._try(candidate)
            if self.notify is not None:
                self.notify(attempt)
            self.attempts.append(attempt)
            if attempt.met:
                return attempt
        if not self.attempts:
            raise UnsupportedError(
                "mixed within a budget needs a Keras model, whose sensitive layers can be found: use int8, or name "
                "what stays in float (--float-layers)"
            )
        error = CheckFailedError(self._failure())
        error.report = {"search": self.to_dict(None), "layers": self._sensitivity_rows()}
        raise error

    def to_dict(self, chosen: Attempt | None) -> list[dict[str, Any]]:
        """The attempts, as in ``report.json``."""
        return [attempt.to_dict(attempt is chosen) for attempt in self.attempts]

    @cached_property
    def sensitivities(self) -> dict[str, float]:
        """What quantizing one layer alone costs, most sensitive first; empty for a source without layers."""
        return self.source.sensitivities(self.pixels[:_SENSITIVITY_IMAGES], self._best_recipe())

    @property
    def known_sensitivities(self) -> dict[str, float] | None:
        """The sensitivities, where the search has needed them."""
        return self.__dict__.get("sensitivities")

    # -- candidates ------------------------------------------------------------------------------------------------

    def _candidates(self) -> Iterator[Candidate]:
        if self.plan.precision == "int8":
            yield from self._post_training()
        yield from self._selective()
        if self.plan.format == "tflite" and self.source.sixteen_bit:
            yield Candidate("16-bit activations", Plan("tflite", "int16x8"), Recipe(), "int16x8: slower kernels")
        if self.training is not None and self.source.trainable:
            yield self._trained(self.training)

    def _post_training(self) -> Iterator[Candidate]:
        """What costs the device nothing."""
        yield Candidate("minmax ranges", self.plan, Recipe())
        if self.source.equalizable:
            yield Candidate("channels equalized", self.plan, Recipe(equalize=True))
        base = self._best_recipe()
        for estimator in ("mse", "percentile", "entropy"):
            yield Candidate(f"{estimator} ranges", self.plan, replace(base, estimator=estimator))
        if (few := len(self.pixels) // 4) >= _LEAST_SHARE:
            best = self._best_recipe()
            yield Candidate(f"{best.estimator} ranges, {few} images", self.plan, replace(best, images=few))

    def _selective(self) -> Iterator[Candidate]:
        """The most sensitive layers in float: 1, 2, 4 … of them, up to half."""
        layers = list(self.sensitivities)
        plan, count = Plan(self.plan.format, "mixed"), 1
        while count <= len(layers) // 2:
            kept = tuple(layers[:count])
            name = f"{kept[0]} in float" if count == 1 else f"{count} layers in float"
            yield Candidate(name, plan, replace(self._best_recipe(), float_layers=kept), f"in float: {', '.join(kept)}")
            count *= 2

    def _trained(self, training: TrainingPictures) -> Candidate:
        plan = Plan(self.plan.format, "int8")
        recipe, note = self.source.train(plan, training, self.pixels, self.seed)
        return Candidate("quantization-aware training", plan, recipe, note)

    def _best_recipe(self) -> Recipe:
        """Of the int8 candidates so far."""
        done = [attempt for attempt in self.attempts if attempt.candidate.plan.precision == "int8"]
        return max(done, key=lambda attempt: attempt.merit).candidate.recipe if done else Recipe()

    # -- one attempt -----------------------------------------------------------------------------------------------

    def _try(self, candidate: Candidate) -> Attempt:
        started = time.perf_counter()
        try:
            artefact = self.source.convert(candidate.plan, self.pixels, candidate.recipe)
        except UnsupportedError as refusal:
            return Attempt(candidate, seconds=time.perf_counter() - started, note=f"refused: {refusal}")
        manifest = self.describe(candidate.plan, artefact)
        with Model(artefact, manifest) as model:
            fidelity = self.reference.compare(model, f"evaluating: {candidate.name}")
            (latency,) = measure_latency([model], [noise_image(model)], _LATENCY_RUNS)
        drop = 100 * (self.reference.accuracy.score - fidelity.accuracy.score)
        return Attempt(
            candidate,
            fidelity,
            artefact,
            manifest,
            latency.p50_ms,
            time.perf_counter() - started,
            drop,
            drop <= self.max_drop + 1e-9,
        )

    # -- failure ---------------------------------------------------------------------------------------------------

    def _failure(self) -> str:
        best = max(self.attempts, key=lambda attempt: attempt.merit)
        if best.fidelity is None:
            return f"no candidate could be made: {best.note}; nothing was written"
        before, after = self.reference.accuracy.score, best.fidelity.accuracy.score
        name = figure(best.fidelity.accuracy.to_dict()).name
        blamed = list(self.sensitivities)[:_BLAMED]
        blame = f"; most sensitive: {', '.join(blamed)}" if blamed else ""
        helps = [] if self.training is not None or not self.source.trainable else ["training pictures (--train DIR)"]
        helps += ["more calibration pictures", "fp16"]
        return (
            f"none of {len(self.attempts)} candidates is within {self.max_drop:g} points: the best "
            f"({best.candidate.name}) takes {name} from {100 * before:.2f} % to {100 * after:.2f} %, "
            f"{best.drop:.2f} points{blame}; what may help: {', '.join(helps)}; nothing was written"
        )

    def _sensitivity_rows(self) -> list[dict[str, Any]]:
        return [{"name": name, "sensitivity": value} for name, value in self.sensitivities.items()]
