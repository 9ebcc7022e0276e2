"""Prove an artefact against its float source, and make the parity contract that travels with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_export.plan import Plan
from edgecv_runtime.errors import CheckFailedError
from edgecv_runtime.images import Image, cv2
from edgecv_runtime.metrics.verification import unit_vectors
from edgecv_runtime.model import Model
from edgecv_runtime.parity import Golden, differences

# Pictures in the contract: enough to see a systematic difference, few enough to travel.
IMAGES = 4

# What an artefact may differ from its float source by (largest absolute difference of an activated output) before
# the export is refused: far more than rounding explains, even in a network with wild random weights. What an artefact
# really differs by stands in its contract.
LIMITS = {"fp32": 1e-3, "fp16": 5e-2, "dynamic": 0.5, "int8": 0.8, "mixed": 0.8, "int16x8": 0.5}

# The contract's tolerance: this much more than was measured when it was made, since another CPU sums in another
# order, and at least a floor.
_MARGIN = (2.0, 1.5)  # of the largest difference, and of the steadier root-mean-square one
_FLOORS = {"fp32": (1e-4, 1e-5), "fp16": (5e-3, 5e-4), "dynamic": (2e-2, 2e-3)}
# Integer artefacts compare logits: floors as shares of their standard deviation.
_INTEGER_FLOORS = {"int8": (0.2, 0.02), "mixed": (0.2, 0.02), "int16x8": (0.05, 0.005)}


@dataclass(frozen=True, eq=False)
class Proof:
    """The contract, and what was measured.

    Attributes
    ----------
    golden : Golden
    max_abs : float
        Largest difference of an activated output (of a probability, say).
    agreement : float or None
        Share of the images whose best class is the float source's; None for an embedder.
    cosine : float or None
        Of an embedder: least similarity of a vector to the float source's.
    """

    golden: Golden
    max_abs: float
    agreement: float | None
    cosine: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As in ``report.json``."""
        return {
            "images": len(self.golden.images),
            "origin": self.golden.origin,
            "max_abs": self.max_abs,
            "agreement": self.agreement,
            **({} if self.cosine is None else {"cosine": self.cosine}),
        }


def choose_images(images: Sequence[Image], size: tuple[int, int]) -> tuple[Image, ...]:
    """A few images, evenly spaced, no larger than the input needs: the contract travels to the device."""
    chosen = [images[index] for index in np.linspace(0, len(images) - 1, min(IMAGES, len(images))).astype(int)]
    return tuple(_shrunk(image, size) for image in chosen)


def _shrunk(image: Image, size: tuple[int, int]) -> Image:
    # One seventh more than the input on the shorter side, so that a crop still has something to cut off.
    factor = 8 / 7 * max(size[0] / image.shape[0], size[1] / image.shape[1])
    if factor >= 1:
        return image
    opencv = cv2("making a parity contract")
    shape = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    shrunk: Image = opencv.resize(image, shape, interpolation=opencv.INTER_AREA)
    return shrunk


def prove(model: Model, plan: Plan, images: Sequence[Image], expected: npt.NDArray[np.float32], origin: str) -> Proof:
    """Compare an artefact with its float source, and write the contract.

    Parameters
    ----------
    model : Model
        The artefact, loaded.
    plan : Plan
    images : sequence of (H, W, 3) uint8 RGB
    expected : (N, ...) float32
        The float source's values where the artefact ends.
    origin : str
        Where the images come from.

    Raises
    ------
    CheckFailedError
        The artefact differs from its source by more than its precision explains.
    """
    measured = differences(model, images, [expected])
    wanted = model.activate([expected])[0]
    answers = np.concatenate([model.outputs(image)[0] for image in images])
    largest = float(np.abs(answers - wanted).max())
    if model.task == "embedding":
        agreement, cosine = None, _least_cosine(plan, answers, wanted)
    else:
        agreement, cosine = _agreement(plan, largest, answers, wanted), None
    tolerance = np.maximum(measured * _MARGIN, [floors(plan, expected)])
    return Proof(Golden(tuple(images), (expected,), tolerance, origin), largest, agreement, cosine)


def _agreement(plan: Plan, largest: float, answers: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]) -> float:
    """The share of equal best classes, where the largest difference is within the limit.

    Raises
    ------
    CheckFailedError
    """
    # Probabilities count as they are; raw scores, which reach further, in proportion.
    limit = LIMITS[plan.precision] * max(1.0, float(np.abs(wanted).max()))
    if not largest <= limit:
        raise CheckFailedError(
            f"the {plan.format} {plan.precision} artefact differs from its float source by {largest:.3g} "
            f"(at most {limit:g} is accepted): nothing was written"
        )
    return float((answers.argmax(-1) == wanted.argmax(-1)).mean())


def _least_cosine(plan: Plan, answers: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]) -> float:
    """What counts of vectors is their direction.

    Raises
    ------
    CheckFailedError
        One points elsewhere by more than the precision explains.
    """
    cosine = float(np.einsum("nd,nd->n", unit_vectors(answers), unit_vectors(wanted)).min())
    limit = 1 - LIMITS[plan.precision]
    if not cosine >= limit:
        raise CheckFailedError(
            f"a vector of the {plan.format} {plan.precision} artefact has a cosine of {cosine:.3g} to its float "
            f"source's (at least {limit:g} is required): nothing was written"
        )
    return cosine


def floors(plan: Plan, expected: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The least tolerance of the largest and of the root-mean-square difference."""
    if plan.integer:
        return np.array(_INTEGER_FLOORS[plan.precision]) * max(float(expected.std()), 1e-6)
    return np.array(_FLOORS[plan.precision]) * max(1.0, float(np.abs(expected).max()))
