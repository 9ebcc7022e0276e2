"""Prove an artefact against its float source, and make the parity contract that travels with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_export.plan import Plan
from edgecv_export.tasks import Compared, Reader, task_of
from edgecv_runtime.decoders import make_decoder
from edgecv_runtime.images import Image, cv2
from edgecv_runtime.model import Model
from edgecv_runtime.parity import Golden, differences

# Pictures in the contract: enough to see a systematic difference, few enough to travel; fewer where the float source's
# answers to them, which travel too, are large (a score at every pixel).
IMAGES = 4
_MOST_BYTES = 8 << 20

# The contract's tolerance: this much more than was measured when it was made, since another CPU sums in another
# order, and at least a floor.
_MARGIN = (2.0, 1.5)  # of the largest difference, and of the steadier root-mean-square one
_FLOORS = {"fp32": (1e-4, 1e-5), "fp16": (5e-3, 5e-4), "dynamic": (2e-2, 2e-3)}
# Integer artefacts compare logits: floors as shares of their standard deviation.
_INTEGER_FLOORS = {"int8": (0.2, 0.02), "mixed": (0.2, 0.02), "int16x8": (0.05, 0.005)}
# An integer artefact from elsewhere may end at probabilities, whose deviation among many classes is far below one of
# its own steps: between two classes so much may go over (less than half a logit; the softmax's slope is 1/4 at most).
_PROBABILITY_FLOOR = 0.1


@dataclass(frozen=True, eq=False)
class Proof:
    """The contract, and what was measured.

    Attributes
    ----------
    golden : Golden
    largest : Mapping of str to float
        Largest difference of each output as the device finishes it (of a probability, say).
    figures : Mapping of str to float or None
        How far the results agree, as the task says (`Task.figures`).
    """

    golden: Golden
    largest: Mapping[str, float]
    figures: Mapping[str, float | None]

    @property
    def max_abs(self) -> float:
        """The largest difference of any output."""
        return max(self.largest.values())

    @property
    def agreement(self) -> float | None:
        """The share of results that are the float source's; None where the task has another figure."""
        return self.figures.get("agreement")

    def to_dict(self) -> dict[str, Any]:
        """As in ``report.json``."""
        return {
            "images": len(self.golden.images),
            "origin": self.golden.origin,
            "max_abs": self.max_abs,
            **({"outputs": dict(self.largest)} if len(self.largest) > 1 else {}),
            "agreement": self.agreement,
            **{name: value for name, value in self.figures.items() if name != "agreement"},
        }


def choose_images(images: Sequence[Image], size: tuple[int, int] | None, numbers: int = 0) -> tuple[Image, ...]:
    """A few images, evenly spaced, no larger than the input needs: the contract travels to the device.

    Parameters
    ----------
    images : sequence of (H, W, 3) uint8 RGB
    size : (height, width) of the input, or None
        None: they are signals or volumes, which have the input's size.
    numbers : int
        That the model answers to one of them.
    """
    fitting = max(1, _MOST_BYTES // max(1, 4 * numbers))
    count = min(IMAGES, fitting, len(images))
    chosen = [images[index] for index in np.linspace(0, len(images) - 1, count).astype(int)]
    return tuple(chosen) if size is None else tuple(_shrunk(image, size) for image in chosen)


def _shrunk(image: Image, size: tuple[int, int]) -> Image:
    # One seventh more than the input on the shorter side, so that a crop still has something to cut off.
    factor = 8 / 7 * max(size[0] / image.shape[0], size[1] / image.shape[1])
    if factor >= 1:
        return image
    opencv = cv2("making a parity contract")
    shape = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    shrunk: Image = opencv.resize(image, shape, interpolation=opencv.INTER_AREA)
    return shrunk


def prove(
    model: Model, plan: Plan, images: Sequence[Image], expected: Sequence[npt.NDArray[np.float32]], origin: str
) -> Proof:
    """Compare an artefact with its float source, and write the contract.

    Parameters
    ----------
    model : Model
        The artefact, loaded.
    plan : Plan
    images : sequence of (H, W, 3) uint8 RGB
    expected : sequence of (N, ...) float32
        The float source's values where the artefact ends, for each output.
    origin : str
        Where the images come from.

    Raises
    ------
    CheckFailedError
        The artefact differs from its source by more than its precision explains.
    """
    measured = differences(model, images, expected)
    task = task_of(model.task)
    compared = _compared(model, plan, images, expected)
    task.check(compared)
    least = np.array([floors(plan, output) for output in model.comparable(expected)])
    tolerance = np.maximum(measured * _MARGIN, least)
    return Proof(Golden(tuple(images), tuple(expected), tolerance, origin), compared.largest, task.figures(compared))


def _compared(
    model: Model, plan: Plan, images: Sequence[Image], expected: Sequence[npt.NDArray[np.float32]]
) -> Compared:
    """Both sides of every picture, as outputs and as results."""
    raw = [model.raw_outputs(image) for image in images]

    def read() -> list[tuple[Any, Any]]:
        reader = Reader(model.manifest)
        theirs = [[output[index] for output in expected] for index in range(len(images))]
        ours = [[output[0] for output in row] for row in raw]
        return [
            (reader.read(image, mine), reader.read(image, other))
            for image, mine, other in zip(images, ours, theirs, strict=True)
        ]

    answers = [np.concatenate(column) for column in zip(*raw, strict=True)]
    wanted = [output.copy() for output in expected]  # activated in place, some of it
    # Of lists of objects, whose order last digits change, the decoder's steadier form is compared.
    steady = task_of(model.task).of_objects and make_decoder(model.manifest).decides
    finish = model.comparable if steady else model.activate
    return Compared(
        plan,
        tuple(spec.name for spec in model.manifest.outputs),
        answers=tuple(finish(answers)),
        wanted=tuple(finish(wanted)),
        read=read,
        decisions=steady,
    )


def floors(plan: Plan, expected: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The least tolerance of the largest and of the root-mean-square difference."""
    if plan.integer and _are_probabilities(expected):
        return np.array([1.0, np.sqrt(2 / expected.shape[-1])]) * _PROBABILITY_FLOOR
    if plan.integer:
        return np.array(_INTEGER_FLOORS[plan.precision]) * max(float(expected.std()), 1e-6)
    return np.array(_FLOORS[plan.precision]) * max(1.0, float(np.abs(expected).max()))


def _are_probabilities(outputs: npt.NDArray[np.float32]) -> bool:
    """Whether they are (N, classes) that sum to one, but for what is lost where many are rounded to 1/256."""
    if outputs.ndim != 2 or outputs.shape[1] < 2 or outputs.min(initial=0) < 0:
        return False
    sums = outputs.sum(axis=1)
    return bool(((sums > 0.5) & (sums < 1.1)).all())
