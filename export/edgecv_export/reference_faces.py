"""The float embedder on pictures of known people: what every candidate is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from edgecv_export.reference import Fidelity, ask, ask_artefact
from edgecv_export.sources.base import Source
from edgecv_runtime.evaluate import Labelled
from edgecv_runtime.evaluate_faces import VerificationAccuracy, verification_accuracy
from edgecv_runtime.metrics.verification import FAR, unit_vectors
from edgecv_runtime.model import Model


@dataclass(frozen=True, eq=False)
class FaceReference:
    """Pictures of known people, and the float source's vectors of them; the counterpart of `Reference`.

    Attributes
    ----------
    items : tuple of Labelled
        Those that can be read; the class index says who it is.
    vectors : (N, D) float32
    skipped : int
    far : float
        The false-accept rate that the accuracy is taken at.
    """

    items: tuple[Labelled, ...]
    vectors: npt.NDArray[np.float32]
    skipped: int
    far: float = FAR

    @classmethod
    def of(cls, source: Source, items: Sequence[Labelled]) -> FaceReference:
        """Ask the float source; raises and warns as `Reference.of`."""
        readable, vectors = ask(source, items)
        return cls(tuple(readable), vectors, len(items) - len(readable))

    @property
    def trials(self) -> int:
        """How many chances to fail the accuracy is a share of."""
        return self.accuracy.rates.genuine

    @property
    def trial(self) -> str:
        """One of them, in words."""
        return "pair"

    @property
    def people(self) -> list[int]:
        """Who each picture is of."""
        return [item.class_index for item in self.items]

    @cached_property
    def accuracy(self) -> VerificationAccuracy:
        """The float source's own."""
        return verification_accuracy(self.vectors, self.people, self.far, self.skipped)

    @cached_property
    def accepted(self) -> npt.NDArray[np.bool_]:
        """(pairs of one person,) bool: which reach the threshold that gives the false-accept rate."""
        people = np.array(self.people)
        rows, columns = np.nonzero(np.triu(people[:, None] == people[None], 1))
        unit = unit_vectors(self.vectors)
        # The rates count on a grid of 1e-6; a pair on the threshold itself is accepted there.
        similarity = np.einsum("nd,nd->n", unit[rows], unit[columns])
        accepted: npt.NDArray[np.bool_] = similarity >= self.accuracy.rates.thresholds[0] - 1e-6
        return accepted

    def compare(self, model: Model, text: str = "evaluating") -> Fidelity:
        """Run an artefact on the same pictures, through the whole road of the device."""
        artefact = FaceReference(self.items, ask_artefact(model, self.items, text), self.skipped, self.far)
        mine, others = artefact.accepted, self.accepted
        return Fidelity(
            artefact.accuracy,
            float((mine == others).mean()),
            int((mine & ~others).sum()),
            int((others & ~mine).sum()),
            (),
        )
