"""The float source on labelled pictures: what every candidate is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edgecv_export.sources.base import Source
from edgecv_runtime.evaluate import ClassificationAccuracy, Labelled, readable
from edgecv_runtime.evaluate_faces import VerificationAccuracy
from edgecv_runtime.metrics.coco import DetectionAccuracy
from edgecv_runtime.metrics.miou import SegmentationAccuracy
from edgecv_runtime.model import Model
from edgecv_runtime.progress import track
from edgecv_runtime.results import Classification

_CHUNK = 32  # pictures that the float source answers to at once
_WORST = 8  # pictures that the report shows


Accuracy: TypeAlias = ClassificationAccuracy | VerificationAccuracy | SegmentationAccuracy | DetectionAccuracy


@dataclass(frozen=True, eq=False)
class Fidelity:
    """An artefact beside its float source, on the same pictures.

    Attributes
    ----------
    accuracy : Accuracy
        The artefact's.
    agreement : float in [0, 1]
        Share of the pictures whose best class is the float source's; of an embedder, share of the pairs of one person
        that are judged as by the float source; of a segmenter, of the pixels; of a detector, of the objects.
    gained, lost : int
        Pictures (pairs, pixels) that only the artefact, or only the float source, classifies correctly (accepts);
        objects that only one of them finds.
    worst : tuple of dict
        Pictures on which a classifier's answer lost most probability; empty for other tasks.
    """

    accuracy: Accuracy
    agreement: float
    gained: int
    lost: int
    worst: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            **self.accuracy.to_dict(),
            "agreement": self.agreement,
            "gained": self.gained,
            "lost": self.lost,
        }


@dataclass(frozen=True, eq=False)
class Reference:
    """Labelled pictures, and the float source's answers to them.

    Attributes
    ----------
    items : tuple of Labelled
        Those that can be read.
    scores : (N, classes) float32
    skipped : int
    labels : tuple of str, or None
    """

    items: tuple[Labelled, ...]
    scores: npt.NDArray[np.float32]
    skipped: int
    labels: tuple[str, ...] | None = None

    @classmethod
    def of(cls, source: Source, items: Sequence[Labelled], labels: tuple[str, ...] | None = None) -> Reference:
        """Ask the float source.

        Raises
        ------
        InputError
            Not one picture can be read.

        Warns
        -----
        RuntimeWarning
            For each picture that cannot be read; it is skipped and counted.
        """
        found, answers = ask(source, items)
        return cls(tuple(found), answers, len(items) - len(found), labels)

    @property
    def trials(self) -> int:
        """How many chances to fail the accuracy is a share of."""
        return len(self.items)

    @property
    def trial(self) -> str:
        """One of them, in words."""
        return "picture"

    @property
    def truth(self) -> npt.NDArray[np.int64]:
        """(N,) class indices."""
        return np.array([item.class_index for item in self.items])

    @property
    def accuracy(self) -> ClassificationAccuracy:
        """The float source's own."""
        best = [Classification.from_scores(row).top(5).indices for row in self.scores]
        first = np.mean([row[0] == item.class_index for row, item in zip(best, self.items, strict=True)])
        fifth = np.mean([item.class_index in row for row, item in zip(best, self.items, strict=True)])
        return ClassificationAccuracy(float(first), float(fifth), len(self.items), self.skipped)

    def compare(self, model: Model, text: str = "evaluating") -> Fidelity:
        """Run an artefact on the same pictures, through the whole road of the device."""
        artefact = Reference(self.items, ask_artefact(model, self.items, text), self.skipped, self.labels)
        mine, others = artefact.scores.argmax(-1), self.scores.argmax(-1)
        right, right_before = mine == self.truth, others == self.truth
        return Fidelity(
            artefact.accuracy,
            float((mine == others).mean()),
            int((right & ~right_before).sum()),
            int((right_before & ~right).sum()),
            self._worst(artefact.scores),
        )

    def _worst(self, scores: npt.NDArray[np.float32]) -> tuple[dict[str, Any], ...]:
        rows = np.arange(len(scores))
        best = self.scores.argmax(-1)
        drops = self.scores[rows, best] - scores[rows, best]
        order = np.argsort(-drops, kind="stable")[:_WORST]
        return tuple(
            {
                "file": self.items[index].path.name,
                "truth": self._label(self.items[index].class_index),
                "float_label": self._label(int(best[index])),
                "artefact_label": self._label(int(scores[index].argmax())),
                "probability_drop": float(drops[index]),
            }
            for index in order.tolist()
        )

    def _label(self, index: int) -> str:
        return f"class {index}" if self.labels is None else self.labels[index]


def ask(source: Source, items: Sequence[Labelled]) -> tuple[list[Labelled], npt.NDArray[np.float32]]:
    """The pictures that can be read, and the float source's answers (N, D) to them.

    Raises
    ------
    InputError
        Not one can be read.

    Warns
    -----
    RuntimeWarning
        For each that cannot.
    """
    found: list[Labelled] = []
    pending: list[npt.NDArray[np.uint8]] = []
    answers = []
    text = "evaluating the float source"
    for item, image in readable([(item, item) for item in items], text, read=lambda item: item.read()):
        found.append(item)
        pending.append(source.pixels([image])[0])
        if len(pending) == _CHUNK:
            answers.append(_rows(source.predict_pixels(np.stack(pending))))
            pending = []
    if pending:
        answers.append(_rows(source.predict_pixels(np.stack(pending))))
    return found, np.concatenate(answers)


def ask_artefact(model: Model, items: Sequence[Labelled], text: str) -> npt.NDArray[np.float32]:
    """(N, D): an artefact's answers to pictures, through the whole road of the device."""
    answers = [model.outputs(item.read())[0] for item in track(items, len(items), text, "images")]
    return _rows(np.concatenate(answers))


def _rows(answers: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(N, D): without dimensions of one between."""
    return answers.reshape(len(answers), -1)
