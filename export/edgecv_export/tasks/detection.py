"""Boxes: read by the decoder that is named, compared after decoding and suppression."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgecv.models.registry import Preprocessing
from edgecv_export.tasks.base import Compared, Task
from edgecv_runtime.annotations import AnnotatedImages, read_annotated_images
from edgecv_runtime.errors import InputError
from edgecv_runtime.manifest import DecoderSpec, TensorSpec
from edgecv_runtime.results import Detections
from edgecv_runtime.suppression.overlap import iou

if TYPE_CHECKING:
    from edgecv_export.reference_dense import BoxReference
    from edgecv_export.sources import Source

MATCH_IOU = 0.5  # overlap of two boxes that are the same object


class DetectionTask(Task):
    """Agreement is the share of objects that both found: equal class, overlap of at least `MATCH_IOU`."""

    name: ClassVar[str] = "detection"
    title: ClassVar[str] = "a detector"

    def usual_decoder(self, outputs: Sequence[TensorSpec], preprocessing: Preprocessing) -> DecoderSpec:
        names = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in outputs)
        raise InputError(
            f"how a detector's outputs are read must be said: decoder=('ssd', {{...}}), say; its outputs are {names}"
        )

    def figures(self, compared: Compared) -> dict[str, float | None]:
        found = both = 0
        for ours, theirs in compared.results:
            both += 2 * matches(ours, theirs)
            found += len(ours) + len(theirs)
        return {
            "agreement": both / found if found else None,
            "objects": sum(len(theirs) for _, theirs in compared.results),
        }

    def read_evaluation(self, source: Source, folder: str | Path, labels: tuple[str, ...] | None) -> AnnotatedImages:
        return read_annotated_images(folder)

    def evaluation(self, source: Source, items: Any, labels: tuple[str, ...] | None) -> BoxReference:
        from edgecv_export.reference_dense import BoxReference

        return BoxReference.of(source, items, labels)


def matches(one: Detections, other: Detections, least: float = MATCH_IOU) -> int:
    """How many objects are in both: pairs of one class that overlap, each in one pair only, best scores first."""
    if not len(one) or not len(other):
        return 0
    overlap = iou(one.boxes.astype(np.float64)[:, None], other.boxes.astype(np.float64)[None])
    overlap[one.classes[:, None] != other.classes[None]] = 0
    count = 0
    for row in overlap:
        best = int(row.argmax())
        if row[best] >= least:
            overlap[:, best] = 0
            count += 1
    return count
