"""Boxes: read by the decoder that is named, compared after decoding and suppression."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from edgecv.models.registry import Preprocessing
from edgecv_export.tasks.base import Compared, Task, within_limit
from edgecv_export.tasks.matched_boxes import matches
from edgecv_runtime.annotations import AnnotatedImages, read_annotated_images
from edgecv_runtime.errors import InputError
from edgecv_runtime.manifest import DecoderSpec, TensorSpec

if TYPE_CHECKING:
    from edgecv_export.reference_dense import BoxReference
    from edgecv_export.sources.base import Source

# What a decision that went the other way may move a map of scores or a sum of them by: in float32 a region that is
# taken for its neighbour, with rounded weights an object that the network itself was not sure of.
DECISION = {"fp16": 0.35}


class DetectionTask(Task):
    """Agreement is the share of objects that both found: equal class, overlap of at least `MATCH_IOU`."""

    name: ClassVar[str] = "detection"
    title: ClassVar[str] = "a detector"
    of_objects: ClassVar[bool] = True

    def usual_decoder(self, outputs: Sequence[TensorSpec], preprocessing: Preprocessing) -> DecoderSpec:
        names = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in outputs)
        raise InputError(
            f"how a detector's outputs are read must be said: decoder=('ssd', {{...}}), say; its outputs are {names}"
        )

    def check(self, compared: Compared) -> None:
        """No output may differ by more than the precision's limit, or, where the artefact decides, by one decision."""
        least = DECISION.get(compared.plan.precision, 0.0) if compared.decisions else 0.0
        for (name, largest), wanted in zip(compared.largest.items(), compared.wanted, strict=True):
            within_limit(compared.plan, name, largest, wanted, alone=len(compared.names) == 1, least=least)

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
