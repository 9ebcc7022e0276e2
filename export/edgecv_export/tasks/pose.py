"""Keypoints of one figure: from heat maps, or regressed as shares of the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from edgecv.models.registry import Preprocessing
from edgecv_export.tasks.base import Compared, Task
from edgecv_export.tasks.classification import only
from edgecv_runtime.errors import InputError
from edgecv_runtime.manifest import DecoderSpec, TensorSpec


class PoseTask(Task):
    """Agreement is the mean distance of a keypoint from the float source's, in pixels of the picture."""

    name: ClassVar[str] = "pose"
    title: ClassVar[str] = "a pose model"

    def usual_decoder(self, outputs: Sequence[TensorSpec], preprocessing: Preprocessing) -> DecoderSpec:
        shape = only(outputs, self.title).shape
        if len(shape) == 4:
            return DecoderSpec("heatmap-pose", {"layout": "NHWC"})
        if len(shape) == 2 and shape[1] is not None and shape[1] % 2 == 0:
            return DecoderSpec("regression-pose", {})
        raise InputError(
            "a pose model must give (N, H, W, keypoints) heat maps, or (N, 2 x keypoints) shares of the input; "
            f"received {['N', *shape[1:]]}"
        )

    def figures(self, compared: Compared) -> dict[str, float | None]:
        distances = [
            np.linalg.norm(ours.keypoints - theirs.keypoints, axis=1).mean() for ours, theirs in compared.results
        ]
        return {"agreement": None, "keypoint_distance": float(np.mean(distances))}
