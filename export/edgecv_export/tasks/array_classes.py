"""One vector of class scores per signal or volume."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from edgecv.models.registry import Preprocessing
from edgecv_export.tasks.classification import ClassificationTask
from edgecv_runtime.evaluate import Labelled
from edgecv_runtime.labelled_arrays import read_labelled_arrays
from edgecv_runtime.manifest import DecoderSpec, Layout, TensorSpec

if TYPE_CHECKING:
    from edgecv_export.sources.base import Source


class SignalTask(ClassificationTask):
    """Agreement is an equal best class; accuracy is top-1."""

    name: ClassVar[str] = "signal-classification"
    title: ClassVar[str] = "a classifier of signals"
    layout: ClassVar[Layout] = "NWC"
    trainable: ClassVar[bool] = False

    def usual_decoder(self, outputs: Sequence[TensorSpec], preprocessing: Preprocessing) -> DecoderSpec:
        return DecoderSpec(self.name, super().usual_decoder(outputs, preprocessing).parameters)

    def read_evaluation(self, source: Source, folder: str | Path, labels: tuple[str, ...] | None) -> Sequence[Labelled]:
        return read_labelled_arrays(folder, labels, source.classes, source.input_spec)


class VolumeTask(SignalTask):
    """The same of volumes and clips."""

    name: ClassVar[str] = "volume-classification"
    title: ClassVar[str] = "a classifier of volumes"
    layout: ClassVar[Layout] = "NDHWC"
