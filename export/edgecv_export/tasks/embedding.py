"""A vector for a picture; what counts of it is its direction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgecv.models.registry import Preprocessing
from edgecv_export.tasks.base import LIMITS, Compared, Task
from edgecv_export.tasks.classification import only
from edgecv_runtime.errors import CheckFailedError, InputError
from edgecv_runtime.evaluate import LabelledImage
from edgecv_runtime.evaluate_faces import read_identities
from edgecv_runtime.manifest import DecoderSpec, TensorSpec
from edgecv_runtime.metrics.verification import unit_vectors

if TYPE_CHECKING:
    from edgecv_export.reference_faces import FaceReference
    from edgecv_export.sources.base import Source


class EmbeddingTask(Task):
    """Agreement is the least cosine of a vector to the float source's; accuracy is the true-accept rate."""

    name: ClassVar[str] = "embedding"
    title: ClassVar[str] = "an embedder"
    labelled: ClassVar[bool] = False
    output_names: ClassVar[tuple[str, str] | None] = ("scores", "logits")

    def usual_decoder(self, outputs: Sequence[TensorSpec], preprocessing: Preprocessing) -> DecoderSpec:
        shape = only(outputs, self.title).shape
        if len(shape) < 2 or sum(size != 1 for size in shape[1:]) > 1:
            raise InputError(f"{self.title} must give (N, D); received {['N', *shape[1:]]}")
        return DecoderSpec("embedding", {"normalize": True})

    def check(self, compared: Compared) -> None:
        cosine, limit = _least_cosine(compared), 1 - LIMITS[compared.plan.precision]
        if not cosine >= limit:
            raise CheckFailedError(
                f"a vector of the {compared.plan.format} {compared.plan.precision} artefact has a cosine of "
                f"{cosine:.3g} to its float source's (at least {limit:g} is required): nothing was written"
            )

    def figures(self, compared: Compared) -> dict[str, float | None]:
        return {"agreement": None, "cosine": _least_cosine(compared)}

    def read_evaluation(
        self, source: Source, folder: str | Path, labels: tuple[str, ...] | None
    ) -> Sequence[LabelledImage]:
        return read_identities(folder)

    def evaluation(self, source: Source, items: Any, labels: tuple[str, ...] | None) -> FaceReference:
        from edgecv_export.reference_faces import FaceReference

        return FaceReference.of(source, items)


def _least_cosine(compared: Compared) -> float:
    (answers,), (wanted,) = compared.answers, compared.wanted
    ours, theirs = (unit_vectors(values.reshape(len(values), -1)) for values in (answers, wanted))
    return float(np.einsum("nd,nd->n", ours, theirs).min())
