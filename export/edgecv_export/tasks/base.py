"""What a task must do, and how its name leads to one."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from edgecv.models.registry import Preprocessing
from edgecv_export.plan import Plan
from edgecv_runtime.errors import CheckFailedError, UnsupportedError
from edgecv_runtime.manifest import DecoderSpec, Layout, TensorSpec

if TYPE_CHECKING:
    from edgecv_export.reference import Accuracy, Fidelity
    from edgecv_export.sources.base import Source
    from edgecv_runtime.model import Model

Floats = npt.NDArray[np.float32]

# Task name -> "module:class". Each task adds its line.
_TASKS = {
    "classification": "edgecv_export.tasks.classification:ClassificationTask",
    "embedding": "edgecv_export.tasks.embedding:EmbeddingTask",
    "segmentation": "edgecv_export.tasks.segmentation:SegmentationTask",
    "detection": "edgecv_export.tasks.detection:DetectionTask",
    "pose": "edgecv_export.tasks.pose:PoseTask",
    "anomaly": "edgecv_export.tasks.anomaly:AnomalyTask",
    "image": "edgecv_export.tasks.image:ImageTask",
    "signal-classification": "edgecv_export.tasks.array_classes:SignalTask",
    "volume-classification": "edgecv_export.tasks.array_classes:VolumeTask",
}

# What an artefact may differ from its float source by (largest absolute difference of an activated output) before
# the export is refused: far more than rounding explains, even in a network with wild random weights. What an artefact
# really differs by stands in its contract.
LIMITS = {"fp32": 1e-3, "fp16": 5e-2, "dynamic": 0.5, "int8": 0.8, "mixed": 0.8, "int16x8": 0.5}


@dataclass(frozen=True, eq=False)
class Compared:
    """An artefact's answers to the contract's pictures beside its float source's.

    Attributes
    ----------
    plan : Plan
    names : tuple of str
        Of the outputs.
    answers, wanted : tuple of (N, ...) float32
        The artefact's and the float source's outputs as the device finishes them, or, of lists of objects that the
        artefact chose itself, in the form that `Decoder.comparable` gives.
    read : callable
        Lets the runtime's decoder read both sides: (the artefact's result, the float source's) for each picture.
    decisions : bool
        Whether these are lists of objects that the artefact chose itself.
    """

    plan: Plan
    names: tuple[str, ...]
    answers: tuple[Floats, ...]
    wanted: tuple[Floats, ...]
    read: Callable[[], Sequence[tuple[Any, Any]]]
    decisions: bool = False

    @cached_property
    def results(self) -> Sequence[tuple[Any, Any]]:
        """What `read` gives, read once."""
        return self.read()

    @property
    def largest(self) -> dict[str, float]:
        """The largest absolute difference of each output."""
        pairs = zip(self.names, self.answers, self.wanted, strict=True)
        return {name: float(np.abs(ours - theirs).max(initial=0)) for name, ours, theirs in pairs}


class Evaluation(Protocol):
    """Labelled pictures and the float source's accuracy on them: what every candidate is compared with."""

    @property
    def accuracy(self) -> Accuracy:
        """The float source's own."""

    @property
    def trials(self) -> int:
        """How many chances to fail the accuracy is a share of."""

    @property
    def trial(self) -> str:
        """One of them, in words."""

    def compare(self, model: Model, text: str = "evaluating") -> Fidelity:
        """Run an artefact on the same pictures, through the whole road of the device."""


class Task(ABC):
    """What an export must know of a task."""

    name: ClassVar[str]
    title: ClassVar[str]  # of such a model, in a sentence
    labelled: ClassVar[bool] = True  # whether its results have names
    layout: ClassVar[Layout] = "NHWC"  # of the input: of pictures, unless a task says otherwise
    of_objects: ClassVar[bool] = False  # whether its results are lists of objects
    trainable: ClassVar[bool] = False  # whether quantization-aware training imitates its outputs
    # What the only output is called in a float and in an integer artefact; None: as the layer that makes it.
    output_names: ClassVar[tuple[str, str] | None] = None

    @abstractmethod
    def usual_decoder(self, outputs: Sequence[TensorSpec], preprocessing: Preprocessing) -> DecoderSpec:
        """How such outputs are read where nobody says.

        Raises
        ------
        InputError
            They are not what the task gives, or can be read in several ways.
        UnsupportedError
            There are too many.
        """

    def check(self, compared: Compared) -> None:
        """Refuse an artefact that is not what its source is.

        Unless a task says otherwise, no output may differ by more than the precision's limit.

        Raises
        ------
        CheckFailedError
        """
        for (name, largest), wanted in zip(compared.largest.items(), compared.wanted, strict=True):
            within_limit(compared.plan, name, largest, wanted, alone=len(compared.names) == 1)

    @abstractmethod
    def figures(self, compared: Compared) -> dict[str, float | None]:
        """How far the artefact's results agree with its source's, for the report; `agreement` is a share, if any."""

    def read_evaluation(self, source: Source, folder: str | Path, labels: tuple[str, ...] | None) -> Any:
        """The labelled pictures of a folder, in the form that `evaluation` takes.

        Raises
        ------
        UnsupportedError
            There is no figure of accuracy for the task.
        """
        raise UnsupportedError(
            f"there is no figure of accuracy for task {self.name!r}: leave out --eval and --max-drop; the report "
            "says how far the artefact agrees with its source"
        )

    def evaluation(self, source: Source, items: Any, labels: tuple[str, ...] | None) -> Evaluation:
        """Ask the float source about the pictures of `read_evaluation`."""
        raise UnsupportedError(f"there is no figure of accuracy for task {self.name!r}")


def within_limit(
    plan: Plan, name: str, largest: float, wanted: Floats, *, alone: bool = True, least: float = 0.0
) -> None:
    """Refuse an output whose largest difference is more than the precision, or `least`, explains.

    Raises
    ------
    CheckFailedError
    """
    # Probabilities count as they are; raw scores, which reach further, in proportion.
    limit = max(LIMITS[plan.precision], least) * max(1.0, float(np.abs(wanted).max(initial=0)))
    if not largest <= limit:
        place = "" if alone else f" in output {name!r}"
        raise CheckFailedError(
            f"the {plan.format} {plan.precision} artefact differs from its float source by {largest:.3g}{place} "
            f"(at most {limit:g} is accepted): nothing was written"
        )


def task_names() -> tuple[str, ...]:
    """Every task that is exported."""
    return tuple(_TASKS)


def task_of(name: str) -> Task:
    """The task of that name.

    Raises
    ------
    UnsupportedError
        It is not exported.
    """
    if name not in _TASKS:
        raise UnsupportedError(f"this version exports {', '.join(_TASKS)} models; received task {name!r}")
    module, _, attribute = _TASKS[name].partition(":")
    task: Task = getattr(importlib.import_module(module), attribute)()
    return task
