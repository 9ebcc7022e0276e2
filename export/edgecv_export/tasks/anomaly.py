"""Anomalies by reconstruction: the score is what must not move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from edgecv.models.registry import Preprocessing
from edgecv_export.tasks.base import Compared, Task
from edgecv_export.tasks.classification import only
from edgecv_runtime.errors import InputError
from edgecv_runtime.manifest import DecoderSpec, TensorSpec


class AnomalyTask(Task):
    """Agreement is the largest difference of a picture's score from the float source's."""

    name: ClassVar[str] = "anomaly"
    title: ClassVar[str] = "an anomaly model"
    labelled: ClassVar[bool] = False

    def usual_decoder(self, outputs: Sequence[TensorSpec], preprocessing: Preprocessing) -> DecoderSpec:
        shape = only(outputs, self.title).shape
        if len(shape) != 4:
            raise InputError(
                f"an anomaly model must rebuild its input, (N, height, width, channels); received {['N', *shape[1:]]}"
            )
        # The scale in which the network sees the picture and rebuilds it.
        return DecoderSpec("anomaly", {"mean": list(preprocessing.mean), "std": list(preprocessing.std)})

    def figures(self, compared: Compared) -> dict[str, float | None]:
        differences = [abs(a.score - b.score) for a, b in compared.results]
        return {"agreement": None, "score_difference": max(differences)}
