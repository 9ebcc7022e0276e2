"""A class for every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgecv.models.registry import Preprocessing
from edgecv_export.tasks.base import Compared, Task
from edgecv_export.tasks.classification import only
from edgecv_runtime.errors import CheckFailedError, InputError
from edgecv_runtime.manifest import DecoderSpec, TensorSpec

if TYPE_CHECKING:
    from edgecv_export.reference_dense import MaskedImage, MaskReference
    from edgecv_export.sources.base import Source


class SegmentationTask(Task):
    """Agreement is the share of pixels with an equal class; accuracy is the mean IoU."""

    name: ClassVar[str] = "segmentation"
    title: ClassVar[str] = "a segmentation model"

    def usual_decoder(self, outputs: Sequence[TensorSpec], preprocessing: Preprocessing) -> DecoderSpec:
        shape = only(outputs, self.title).shape
        if len(shape) != 4:
            raise InputError(
                f"a segmentation model must give (N, height, width, classes); received {['N', *shape[1:]]}"
            )
        return DecoderSpec("segmentation", {"layout": "NHWC"})

    def check(self, compared: Compared) -> None:
        super().check(compared)
        (answers,), (wanted,) = compared.answers, compared.wanted
        # Some pixel of thousands may be far off; all of them together may not be as wrong as a constant would be.
        error, spread = float(np.square(answers - wanted).mean()), float(wanted.var())
        if error > max(spread, 1e-12):
            raise CheckFailedError(
                f"the {compared.plan.format} {compared.plan.precision} artefact's error (mean square {error:.3g}) is "
                f"larger than what its float source's scores vary by ({spread:.3g}): nothing was written; try mixed "
                "(--eval DIR --max-drop PT), int16x8 or fp16"
            )

    def figures(self, compared: Compared) -> dict[str, float | None]:
        equal = [(a.mask == b.mask).mean() for a, b in compared.results]
        return {"agreement": float(np.mean(equal))}

    def read_evaluation(self, source: Source, folder: str | Path, labels: tuple[str, ...] | None) -> list[MaskedImage]:
        from edgecv_export.reference_dense import read_masks

        return read_masks(folder)

    def evaluation(self, source: Source, items: Any, labels: tuple[str, ...] | None) -> MaskReference:
        from edgecv_export.reference_dense import MaskReference

        return MaskReference.of(source, items)
