"""A picture for a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from edgecv.models.registry import Preprocessing
from edgecv_export.tasks.base import Compared, Task
from edgecv_export.tasks.classification import only
from edgecv_runtime.errors import InputError
from edgecv_runtime.manifest import DecoderSpec, TensorSpec


class ImageTask(Task):
    """Agreement is the mean difference of a pixel from the float source's, of 255."""

    name: ClassVar[str] = "image"
    title: ClassVar[str] = "an image model"
    labelled: ClassVar[bool] = False

    def usual_decoder(self, outputs: Sequence[TensorSpec], preprocessing: Preprocessing) -> DecoderSpec:
        shape = only(outputs, self.title).shape
        raise InputError(
            f"what a value of the picture {['N', *shape[1:]]} stands for must be said: decoder=('image', "
            "{'scale': 255.0}) where 0..1 are its pixels"
        )

    def figures(self, compared: Compared) -> dict[str, float | None]:
        differences = [np.abs(a.image.astype(int) - b.image.astype(int)).mean() for a, b in compared.results]
        return {"agreement": None, "pixel_difference": float(np.mean(differences))}
